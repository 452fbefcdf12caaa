/* half.h - one element between fp32 and its 16-bit formats, to the bit.
 *
 * Layer 2.  What the hardware's conversions do: to nearest even, subnormals kept, a NaN stays a NaN
 * (quiet, with the upper bits of its payload), overflow gives infinity.
 */
#ifndef VLORPI_KERNEL_HALF_H
#define VLORPI_KERNEL_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t vlorpi_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float vlorpi_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float vlorpi_bf16_to_f32(uint16_t x)
{
    return vlorpi_f32_from_bits((uint32_t)x << 16);
}

static inline uint16_t vlorpi_f32_to_bf16(float x)
{
    uint32_t u = vlorpi_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(u >> 16 | 0x40u);
    }
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float vlorpi_f16_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    uint32_t exponent = x >> 10 & 0x1fu;
    uint32_t fraction = x & 0x3ffu;
    if (exponent == 31) {
        uint32_t quiet = fraction != 0 ? 0x400000u : 0;
        return vlorpi_f32_from_bits(sign | 0x7f800000u | quiet | fraction << 13);
    }
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in fp32 */
        return vlorpi_f32_from_bits(sign | vlorpi_f32_bits((float)fraction * 0x1p-24f));
    }
    return vlorpi_f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint16_t vlorpi_f32_to_f16(float x)
{
    uint32_t u = vlorpi_f32_bits(x);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    }
    if (magnitude >= 0x47800000u) { /* 65536 and above; what rounds up to it carries over below */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        uint32_t sum = vlorpi_f32_bits(vlorpi_f32_from_bits(magnitude) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u;
    return (uint16_t)(sign | rounded >> 13);
}

#endif
