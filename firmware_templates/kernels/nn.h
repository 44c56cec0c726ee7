/* What every kernel shares: the types of the standard headers, alignment and small integer functions. C99. */
#ifndef NN_H
#define NN_H

#include <stddef.h>
#include <stdint.h>

/* Requantisation shifts negative numbers to the right and relies on the sign being kept, as every compiler for Arm does. */
typedef char nn_right_shift_is_arithmetic[((-1) >> 1) == -1 ? 1 : -1];

/* Of an output that lies apart from all that its kernel reads: the parameters then stay in registers while it is written. */
#if defined(__GNUC__)
#define NN_RESTRICT __restrict
#elif !defined(__cplusplus) && __STDC_VERSION__ >= 199901L
#define NN_RESTRICT restrict
#else
#define NN_RESTRICT
#endif

/* Of a function in assembly: the compiler adds nothing to it, and presumes nothing of it. */
#if defined(__GNUC__) && !defined(__clang__)
#define NN_NAKED __attribute__((naked, noinline, noipa))
#elif defined(__GNUC__)
#define NN_NAKED __attribute__((naked, noinline))
#endif

/* Of a function that, on the device, is to become part of each layer that calls it, and know its parameters there. */
#if defined(__GNUC__) && defined(__arm__)
#define NN_INLINE static inline __attribute__((always_inline))
#else
#define NN_INLINE static inline
#endif

/* A macro's value as text, in assembly. */
#define NN_TEXT_(macro) #macro
#define NN_TEXT(macro) NN_TEXT_(macro)

static inline int32_t nn_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t nn_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t nn_clamp(int32_t x, int32_t low, int32_t high) { return nn_min(nn_max(x, low), high); }

/* The nearest int8: one instruction where the core has it, which compilers do not find. */
static inline int32_t nn_saturated(int32_t x)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    __asm__("ssat %0, #8, %1" : "=r"(x) : "r"(x));
    return x;
#else
    return nn_clamp(x, -128, 127);
#endif
}

/* The clamp of an activation, where it is narrower than int8. */
static inline void nn_clamp_values(int8_t *y, int32_t count, int32_t low, int32_t high)
{
    if (low > -128 || high < 127)
        for (int32_t i = 0; i < count; i++)
            y[i] = (int8_t)nn_clamp(y[i], low, high);
}

#endif
