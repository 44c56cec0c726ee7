/* 1x1 convolution, int8, NHWC, stride one, no padding, no groups, for cores with the DSP extension. Two pixels meet two output
 * channels at a time: each weight is loaded and widened once for both pixels, each pixel widened once for all channels.
 * Input channels are a multiple of four, output channels even. */
#ifndef NN_CONV2D_S8_1X1__DSP_H
#define NN_CONV2D_S8_1X1__DSP_H

#include "dot.h"
#include "weights.h"

typedef struct {
    int32_t pixels, x_c, y_c;
    nn_weights weights;
} conv2d_s8_1x1__dsp_params;

/* Two pixels' values less their zero point: of each four channels values 0, 2, 1, 3 of one pixel, then of the other. */
static inline void conv2d_s8_1x1__dsp_widen(int16_t *wide, const int8_t *a, const int8_t *b, int32_t x_zero, int32_t x_c)
{
    for (int32_t i = 0; i < x_c; i += 4, wide += 8) {
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)
        const nn_four v[2] = { nn_four_centred(a + i, x_zero), nn_four_centred(b + i, x_zero) };
        __builtin_memcpy(wide, v, sizeof v);
#else
        for (int32_t k = 0; k < 4; k++) {
            const int32_t place = (k & 1) * 2 + (k >> 1);
            wide[place] = (int16_t)(a[i + k] - x_zero);
            wide[4 + place] = (int16_t)(b[i + k] - x_zero);
        }
#endif
    }
}

/* sums[pixel][channel] of two wide pixels and two rows of weights. */
static inline void conv2d_s8_1x1__dsp_sums(int32_t sums[2][2], const int16_t *wide, const int8_t *w, int32_t x_c)
{
    int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    const int8_t *const end = w + x_c;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)
    while (w < end) {
        uint32_t a_even, a_odd, b_even, b_odd, even, odd;

        __asm__("ldrd %[ae], %[ao], [%[x]], #8\n\t"
                "ldrd %[be], %[bo], [%[x]], #8\n\t"
                "ldr %[o], [%[w], %[next]]\n\t"
                "sxtb16 %[e], %[o]\n\t"
                "sxtb16 %[o], %[o], ror #8\n\t"
                "smlad %[s01], %[ae], %[e], %[s01]\n\t"
                "smlad %[s11], %[be], %[e], %[s11]\n\t"
                "smlad %[s01], %[ao], %[o], %[s01]\n\t"
                "smlad %[s11], %[bo], %[o], %[s11]\n\t"
                "ldr %[o], [%[w]], #4\n\t"
                "sxtb16 %[e], %[o]\n\t"
                "sxtb16 %[o], %[o], ror #8\n\t"
                "smlad %[s00], %[ae], %[e], %[s00]\n\t"
                "smlad %[s10], %[be], %[e], %[s10]\n\t"
                "smlad %[s00], %[ao], %[o], %[s00]\n\t"
                "smlad %[s10], %[bo], %[o], %[s10]"
                : [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11), [x] "+r"(wide), [w] "+r"(w),
                  [ae] "=&r"(a_even), [ao] "=&r"(a_odd), [be] "=&r"(b_even), [bo] "=&r"(b_odd), [e] "=&r"(even),
                  [o] "=&r"(odd)
                : [next] "r"(x_c)
                : "memory");
    }
#else
    for (; w < end; w += 4, wide += 8)
        for (int32_t k = 0; k < 4; k++) {
            const int32_t place = (k & 1) * 2 + (k >> 1), a = wide[place], b = wide[4 + place];
            s00 += a * w[k];
            s01 += a * w[x_c + k];
            s10 += b * w[k];
            s11 += b * w[x_c + k];
        }
#endif
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[1][0] = s10;
    sums[1][1] = s11;
}

static inline void conv2d_s8_1x1__dsp(const conv2d_s8_1x1__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_weights *n = &p->weights;
    int16_t *const wide = (int16_t *)scratch; /* 2 x_c values */

    for (int32_t pixel = 0; pixel < p->pixels; pixel += 2) {
        /* An odd number of pixels ends with the last one twice. */
        const int32_t second = pixel + 1 < p->pixels;
        conv2d_s8_1x1__dsp_widen(wide, x, x + second * p->x_c, n->x_zero, p->x_c);
        for (int32_t o = 0; o < p->y_c; o += 2) {
            int32_t sums[2][2];
            conv2d_s8_1x1__dsp_sums(sums, wide, n->w + o * p->x_c, p->x_c);
            for (int32_t i = 0; i < 2; i++)
                for (int32_t k = 0; k <= second; k++) {
                    const int32_t acc = nn_rescale(n, o + i, nn_bias(n, o + i) + sums[k][i]);
                    y[k * p->y_c + o + i] = (int8_t)nn_clamp(acc, n->clamp_min, n->clamp_max);
                }
        }
        x += 2 * p->x_c;
        y += 2 * p->y_c;
    }
}

#endif
