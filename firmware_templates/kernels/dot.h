/* The innermost loops of everything with weights: four values at a time. */
#ifndef NN_DOT_H
#define NN_DOT_H

#include "nn.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)

/* Four neighbouring values, or their differences to a zero point (9 bits with the sign), in the halves of two registers.
 * Values and weights are split alike, so which meets which is kept. */
typedef struct {
    uint32_t even, odd;                 /* values 0 and 2; 1 and 3 */
} nn_four;

static inline nn_four nn_four_at(const int8_t *x)
{
    nn_four v;

    __builtin_memcpy(&v.odd, x, 4);     /* one load, from any address */
    __asm__("sxtb16 %0, %1" : "=r"(v.even) : "r"(v.odd));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(v.odd) : "r"(v.odd));
    return v;
}

static inline nn_four nn_four_centred(const int8_t *x, int32_t x_zero)
{
    const uint32_t zeros = (uint32_t)(uint16_t)x_zero * UINT32_C(0x10001);
    nn_four v = nn_four_at(x);

    __asm__("ssub16 %0, %0, %1" : "+r"(v.even) : "r"(zeros));
    __asm__("ssub16 %0, %0, %1" : "+r"(v.odd) : "r"(zeros));
    return v;
}

/* In one piece: taken apart, four of these in a row are loaded ahead until the registers run out. */
static inline int32_t nn_dot_four(int32_t acc, nn_four x, const int8_t *w)
{
    uint32_t even, odd;

    __asm__("ldr %2, %5\n\t"
            "sxtb16 %1, %2\n\t"
            "sxtb16 %2, %2, ror #8\n\t"
            "smlad %0, %3, %1, %0\n\t"
            "smlad %0, %4, %2, %0"
            : "+r"(acc), "=&r"(even), "=&r"(odd)
            : "r"(x.even), "r"(x.odd), "m"(*(const int8_t (*)[4])w));
    return acc;
}

static inline void nn_multiply_four(int32_t acc[4], nn_four x, const int8_t *w)
{
    const nn_four v = nn_four_at(w);

    __asm__("smlabb %0, %1, %2, %0" : "+r"(acc[0]) : "r"(x.even), "r"(v.even));
    __asm__("smlabb %0, %1, %2, %0" : "+r"(acc[1]) : "r"(x.odd), "r"(v.odd));
    __asm__("smlatt %0, %1, %2, %0" : "+r"(acc[2]) : "r"(x.even), "r"(v.even));
    __asm__("smlatt %0, %1, %2, %0" : "+r"(acc[3]) : "r"(x.odd), "r"(v.odd));
}

#else

/* Four neighbouring values less their zero point. */
typedef struct {
    int32_t value[4];
} nn_four;

static inline nn_four nn_four_centred(const int8_t *x, int32_t x_zero)
{
    const nn_four v = { { x[0] - x_zero, x[1] - x_zero, x[2] - x_zero, x[3] - x_zero } };
    return v;
}

/* acc + the sum of x[i] * w[i]. */
static inline int32_t nn_dot_four(int32_t acc, nn_four x, const int8_t *w)
{
    acc += x.value[0] * w[0];
    acc += x.value[1] * w[1];
    acc += x.value[2] * w[2];
    acc += x.value[3] * w[3];
    return acc;
}

/* acc[i] + x[i] * w[i]. */
static inline void nn_multiply_four(int32_t acc[4], nn_four x, const int8_t *w)
{
    acc[0] += x.value[0] * w[0];
    acc[1] += x.value[1] * w[1];
    acc[2] += x.value[2] * w[2];
    acc[3] += x.value[3] * w[3];
}

#endif

/* acc + the sum of (x[i] - x_zero) * w[i]. */
static inline int32_t nn_dot(int32_t acc, const int8_t *x, int32_t x_zero, const int8_t *w, int32_t count)
{
    for (; count >= 4; count -= 4, x += 4, w += 4)
        acc = nn_dot_four(acc, nn_four_centred(x, x_zero), w);
    for (; count > 0; count--)
        acc += (*x++ - x_zero) * *w++;
    return acc;
}

/* The same with four rows of weights, `w_next` from one to the next: x is read and centred once for all. */
static inline void nn_dot_rows(
    int32_t acc[4], const int8_t *x, int32_t x_zero, const int8_t *w, int32_t w_next, int32_t count)
{
    int32_t sum0 = acc[0], sum1 = acc[1], sum2 = acc[2], sum3 = acc[3];
    const int8_t *v = w + 2 * w_next;

    for (; count >= 4; count -= 4, x += 4, w += 4, v += 4) {
        const nn_four values = nn_four_centred(x, x_zero);
        sum0 = nn_dot_four(sum0, values, w);
        sum1 = nn_dot_four(sum1, values, w + w_next);
        sum2 = nn_dot_four(sum2, values, v);
        sum3 = nn_dot_four(sum3, values, v + w_next);
    }
    for (; count > 0; count--, x++, w++, v++) {
        const int32_t value = *x - x_zero;
        sum0 += value * w[0];
        sum1 += value * w[w_next];
        sum2 += value * v[0];
        sum3 += value * v[w_next];
    }
    acc[0] = sum0;
    acc[1] = sum1;
    acc[2] = sum2;
    acc[3] = sum3;
}

#endif
