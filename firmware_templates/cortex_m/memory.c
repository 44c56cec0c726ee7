/* The four memory functions that compilers call on their own. There is no C library in the firmware. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* In each loop: keeps the compiler from seeing a memcpy in it and calling the very function it is in. */
#define LOOP_IS_OPAQUE() __asm volatile("" : : : "memory")

typedef uint32_t __attribute__((may_alias)) word;

static int aligned(const void *p)
{
    return ((uintptr_t)p & 3) == 0;
}

/* Upwards; right for overlapping memory too when `to` is the lower. */
static void copy_up(uint8_t *to, const uint8_t *from, size_t n)
{
    if (aligned(to) && aligned(from))
        for (; n >= 4; n -= 4, to += 4, from += 4) {
            *(word *)(void *)to = *(const word *)(const void *)from;
            LOOP_IS_OPAQUE();
        }
    while (n--) {
        *to++ = *from++;
        LOOP_IS_OPAQUE();
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    copy_up(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if ((uintptr_t)t - (uintptr_t)f >= n)   /* `to` is lower, or beyond the end of `from` */
        copy_up(t, f, n);
    else
        while (n--) {
            t[n] = f[n];
            LOOP_IS_OPAQUE();
        }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *t = to;
    const uint32_t four = (uint8_t)value * UINT32_C(0x01010101);

    if (aligned(t))
        for (; n >= 4; n -= 4, t += 4) {
            *(word *)(void *)t = four;
            LOOP_IS_OPAQUE();
        }
    while (n--) {
        *t++ = (uint8_t)value;
        LOOP_IS_OPAQUE();
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n; n--, x++, y++) {
        if (*x != *y)
            return *x - *y;
        LOOP_IS_OPAQUE();
    }
    return 0;
}
