/* vec.h - one vector type for every instruction set, so that each kernel is written once.
 *
 * Layer 2, included by simd sources only.  VLORPI_ISA is the suffix of this compilation (avx2,
 * avx512, neon); NAME(x) is x_avx2 and so on.  vf holds VF_N floats, vi as many int32.  Arithmetic
 * is written with the compiler's vector operators; what they lack is below.
 */
#ifndef VLORPI_KERNEL_SIMD_VEC_H
#define VLORPI_KERNEL_SIMD_VEC_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VEC_CAT2(a, b) a##_##b
#define VEC_CAT(a, b) VEC_CAT2(a, b)
#define NAME(x) VEC_CAT(x, VLORPI_ISA)

#if defined(VLORPI_ISA_avx2)
#include <immintrin.h>
enum { VF_N = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
static inline vf vf_max(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline void vf_store_f16(uint16_t *p, vf a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph((__m256)a, _MM_FROUND_TO_NEAREST_INT));
}
static inline vf vf_sqrt(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
static inline vf vf_load_bf16(const uint16_t *p)
{
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
}
/* stores the upper halves of u */
static inline void vu_store_high16(uint16_t *p, vu u)
{
    __m256i v = _mm256_srli_epi32((__m256i)u, 16);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)(void *)p, packed);
}
typedef uint64_t vq __attribute__((vector_size(32)));
/* the 64-bit products of the low halves of each element */
static inline vq vq_mul_low(vq a, vq b) { return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#elif defined(VLORPI_ISA_avx512)
#include <immintrin.h>
enum { VF_N = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
static inline vf vf_max(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline void vf_store_f16(uint16_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph((__m512)a, _MM_FROUND_TO_NEAREST_INT));
}
static inline vf vf_sqrt(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
static inline vf vf_load_bf16(const uint16_t *p)
{
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
static inline void vu_store_high16(uint16_t *p, vu u)
{
    __m512i v = _mm512_srli_epi32((__m512i)u, 16);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(v));
}
typedef uint64_t vq __attribute__((vector_size(64)));
static inline vq vq_mul_low(vq a, vq b) { return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif defined(VLORPI_ISA_neon)
#include <arm_neon.h>
enum { VF_N = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
static inline vf vf_max(vf a, vf b) { return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
static inline vf vf_load_f16(const uint16_t *p) { return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline void vf_store_f16(uint16_t *p, vf a)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)a)));
}
static inline vf vf_sqrt(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
static inline vf vf_load_bf16(const uint16_t *p) { return (vf)vshll_n_u16(vld1_u16(p), 16); }
static inline void vu_store_high16(uint16_t *p, vu u) { vst1_u16(p, vshrn_n_u32((uint32x4_t)u, 16)); }
typedef uint64_t vq __attribute__((vector_size(16)));
static inline vq vq_mul_low(vq a, vq b)
{
    return (vq)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}
#else
#error "compile this file through vlorp_simd_sources"
#endif

static inline vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf vf_set(float x)
{
    return x - (vf){0};
}

static inline vf vf_zero(void)
{
    return (vf){0};
}

static inline vi vi_set(int32_t x)
{
    return x - (vi){0};
}

/* 0, 1, 2, ... */
static inline vi vi_lanes(void)
{
    vi v;
    for (int i = 0; i < VF_N; i++) {
        v[i] = i;
    }
    return v;
}

/* a where the comparison held, b elsewhere; mask is what a vector comparison gives */
static inline vf vf_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* x with its upper half rounded to nearest even, the lower half to be dropped; NaN stays NaN */
static inline vu vu_round_bf16(vf x)
{
    vu u = (vu)x;
    vu rounded = u + 0x7fffu + (u >> 16 & 1u);
    vu quiet = u | 0x400000u;
    vu is_nan = (vu)(x != x);
    return (quiet & is_nan) | (rounded & ~is_nan);
}

static inline bool vi_any(vi mask)
{
    uint64_t word[VF_N / 2];
    memcpy(word, &mask, sizeof word);
    uint64_t any = 0;
    for (int i = 0; i < VF_N / 2; i++) {
        any |= word[i];
    }
    return any != 0;
}

/* The first n < VF_N elements, the lanes above zero; nothing beyond p + n is read. */
static inline vf vf_load_n(const float *p, int64_t n)
{
    float lane[VF_N] = {0};
    for (int64_t i = 0; i < n; i++) {
        lane[i] = p[i];
    }
    return vf_load(lane);
}

static inline void vf_store_n(float *p, vf v, int64_t n)
{
    float lane[VF_N];
    vf_store(lane, v);
    for (int64_t i = 0; i < n; i++) {
        p[i] = lane[i];
    }
}

/* Both halve the vector down to four lanes, then to two, then to one. */
typedef float vec_quad __attribute__((vector_size(16)));

static inline float vf_sum(vf v)
{
    vec_quad part[VF_N / 4];
    memcpy(part, &v, sizeof v);
    for (int width = VF_N / 8; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            part[i] += part[i + width];
        }
    }
    return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

/* NaN lanes may be passed over. */
static inline float vf_hmax(vf v)
{
    vec_quad part[VF_N / 4];
    memcpy(part, &v, sizeof v);
    for (int i = 1; i < VF_N / 4; i++) {
        for (int l = 0; l < 4; l++) {
            part[0][l] = part[i][l] > part[0][l] ? part[i][l] : part[0][l];
        }
    }
    float even = part[0][0] > part[0][2] ? part[0][0] : part[0][2];
    float odd = part[0][1] > part[0][3] ? part[0][1] : part[0][3];
    return even > odd ? even : odd;
}

/* exp(r) for |r| <= ln2 / 2: a minimax polynomial, in pairs so that the chain is short. */
static inline vf vec_exp_reduced(vf r)
{
    vf r2 = r * r;
    vf high = vf_fma(vf_set(1.9875691500e-4f), r, vf_set(1.3981999507e-3f));
    vf middle = vf_fma(vf_set(8.3334519073e-3f), r, vf_set(4.1665795894e-2f));
    vf low = vf_fma(vf_set(1.6666665459e-1f), r, vf_set(5.0000001201e-1f));
    vf p = vf_fma(vf_fma(high, r2, middle), r2, low);
    return vf_fma(p, r2, r) + vf_set(1.0f);
}

/* exp(x) to 1 ulp for x <= 88, which is what a softmax and a logistic function ask for.  Results
 * below 2^-126.5 become 0; NaN stays NaN, for vf_max returns its second argument when a NaN is in it.
 * ln2 is taken in two parts, the first of 14 bits, so that the remainder is exact.
 * Adding 1.5 * 2^23 rounds to an integer n and leaves n + 127, the exponent of 2^n, in the low bits. */
static inline vf vf_exp(vf x)
{
    const vf magic = vf_set(0x1.8p+23f + 127.0f);
    x = vf_max(vf_set(-88.0f), x);
    vf shifted = vf_fma(x, vf_set(0x1.715476p+0f), magic);
    vf n = shifted - magic;
    vf r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), vf_fma(n, vf_set(-0x1.62e4p-1f), x));
    return vec_exp_reduced(r) * (vf)((vi)shifted << 23);
}

#endif
