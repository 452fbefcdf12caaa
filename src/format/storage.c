#include "format/tensor_info.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are little-endian and read in place");

enum { BLOCK = 32, SUPER_BLOCK = 256 };

/* One block of the file's bytes as fp32. */
typedef void read_block(float *out, const unsigned char *block);

static float bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t load_u16(const unsigned char *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* IEEE binary16 to binary32, exact; subnormals are normalised by one exact multiplication. */
static float f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1Fu;
    uint32_t mantissa = half & 0x3FFu;
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    uint32_t widened = exponent == 0x1Fu ? 0xFFu : exponent + 112u;
    return bits_to_f32(sign | widened << 23 | mantissa << 13);
}

static float load_f16(const unsigned char *bytes)
{
    return f16_to_f32(load_u16(bytes));
}

/* d, 16 bytes of nibbles: x = d (q - 8); the low nibbles come first. */
static void read_q4_0(float *out, const unsigned char *block)
{
    float d = load_f16(block);
    for (int i = 0; i < BLOCK / 2; i++) {
        int q = block[2 + i];
        out[i] = (float)((q & 15) - 8) * d;
        out[i + BLOCK / 2] = (float)((q >> 4) - 8) * d;
    }
}

/* d, m, 16 bytes of nibbles: x = d q + m */
static void read_q4_1(float *out, const unsigned char *block)
{
    float d = load_f16(block);
    float m = load_f16(block + 2);
    for (int i = 0; i < BLOCK / 2; i++) {
        int q = block[4 + i];
        out[i] = (float)(q & 15) * d + m;
        out[i + BLOCK / 2] = (float)(q >> 4) * d + m;
    }
}

/* The fifth bits of a block, least significant first, and its nibbles, as 32 numbers in [0, 32). */
static void unpack_5_bits(int *out, const unsigned char *high, const unsigned char *nibbles)
{
    for (int i = 0; i < BLOCK; i++) {
        int low = i < BLOCK / 2 ? nibbles[i] & 15 : nibbles[i - BLOCK / 2] >> 4;
        out[i] = low | ((high[i / 8] >> (i % 8)) & 1) << 4;
    }
}

/* d, 4 bytes of fifth bits, 16 bytes of nibbles: x = d (q - 16) */
static void read_q5_0(float *out, const unsigned char *block)
{
    float d = load_f16(block);
    int q[BLOCK];
    unpack_5_bits(q, block + 2, block + 6);
    for (int i = 0; i < BLOCK; i++) {
        out[i] = (float)(q[i] - 16) * d;
    }
}

/* d, m, 4 bytes of fifth bits, 16 bytes of nibbles: x = d q + m */
static void read_q5_1(float *out, const unsigned char *block)
{
    float d = load_f16(block);
    float m = load_f16(block + 2);
    int q[BLOCK];
    unpack_5_bits(q, block + 4, block + 8);
    for (int i = 0; i < BLOCK; i++) {
        out[i] = (float)q[i] * d + m;
    }
}

static int signed_byte(unsigned char byte)
{
    return byte < 128 ? byte : (int)byte - 256;
}

/* d, 32 signed bytes: x = d q */
static void read_q8_0(float *out, const unsigned char *block)
{
    float d = load_f16(block);
    for (int i = 0; i < BLOCK; i++) {
        out[i] = (float)signed_byte(block[2 + i]) * d;
    }
}

/* The j-th of eight 6-bit scales and minimums that 12 bytes hold. */
static void unpack_scale_min(int *scale, int *minimum, const unsigned char *packed, int j)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *minimum = packed[j + 4] & 63;
    } else {
        *scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
        *minimum = packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
    }
}

/* d, dmin, 12 bytes of scales and minimums, then the numbers; eight groups of 32, of which each 32
 * bytes of nibbles hold two; high: 32 bytes of fifth bits, group g in bit g, or NULL:
 * x = d scale q - dmin minimum */
static void read_scaled_groups(float *out, const unsigned char *block, const unsigned char *high,
                               const unsigned char *low)
{
    float d = load_f16(block);
    float d_min = load_f16(block + 2);
    for (int group = 0; group < SUPER_BLOCK / BLOCK; group++) {
        const unsigned char *nibbles = low + group / 2 * BLOCK;
        int shift = group % 2 * 4;
        int scale;
        int minimum;
        unpack_scale_min(&scale, &minimum, block + 4, group);
        float step = d * (float)scale;
        float offset = d_min * (float)minimum;
        for (int i = 0; i < BLOCK; i++) {
            int fifth = high != NULL ? (high[i] >> group) & 1 : 0;
            out[group * BLOCK + i] = step * (float)(((nibbles[i] >> shift) & 15) | fifth << 4) - offset;
        }
    }
}

static void read_q4_k(float *out, const unsigned char *block)
{
    read_scaled_groups(out, block, NULL, block + 16);
}

static void read_q5_k(float *out, const unsigned char *block)
{
    read_scaled_groups(out, block, block + 16, block + 16 + BLOCK);
}

/* Element i of 64 bytes of two-bit numbers: two halves of 128, each four runs of 32 at its own shift. */
static int two_bits(const unsigned char *packed, int i)
{
    return (packed[i / 128 * BLOCK + i % BLOCK] >> (i % 128 / BLOCK * 2)) & 3;
}

/* 16 bytes of scales (low nibble) and minimums (high), one per 16 elements, 64 bytes of two-bit
 * numbers, d, dmin: x = d scale q - dmin minimum */
static void read_q2_k(float *out, const unsigned char *block)
{
    float d = load_f16(block + 80);
    float d_min = load_f16(block + 82);
    for (int i = 0; i < SUPER_BLOCK; i++) {
        float step = d * (float)(block[i / 16] & 15);
        float offset = d_min * (float)(block[i / 16] >> 4);
        out[i] = step * (float)two_bits(block + 16, i) - offset;
    }
}

/* 32 bytes of inverted third bits (run r of 32 in bit r), 64 bytes of two-bit numbers, 12 bytes of
 * 6-bit scales (eight of low nibbles, four of upper two bits), d: x = d (scale - 32) q */
static void read_q3_k(float *out, const unsigned char *block)
{
    const unsigned char *scales = block + 96;
    float d = load_f16(block + 108);
    for (int i = 0; i < SUPER_BLOCK; i++) {
        int j = i / 16;
        int low = (scales[j % 8] >> (j / 8 * 4)) & 15;
        int high = (scales[8 + j % 4] >> (j / 4 * 2)) & 3;
        int third = (block[i % BLOCK] >> (i / BLOCK)) & 1;
        float step = d * (float)((low | high << 4) - 32);
        out[i] = step * (float)(two_bits(block + 32, i) - (third != 0 ? 0 : 4));
    }
}

/* 128 bytes of nibbles, 64 of upper two bits, 16 signed scales (one per 16 elements), d; two halves
 * of 128 elements, each four runs of 32: x = d scale (q - 32) */
static void read_q6_k(float *out, const unsigned char *block)
{
    const unsigned char *scales = block + 192;
    float d = load_f16(block + 208);
    for (int half = 0; half < 2; half++) {
        const unsigned char *low = block + half * 64;
        const unsigned char *high = block + 128 + half * 32;
        for (int run = 0; run < 4; run++) {
            for (int i = 0; i < BLOCK; i++) {
                int nibble = (low[run % 2 * BLOCK + i] >> (run / 2 * 4)) & 15;
                int q = (nibble | ((high[i] >> (run * 2)) & 3) << 4) - 32;
                float step = d * (float)signed_byte(scales[half * 8 + run * 2 + i / 16]);
                out[half * 128 + run * BLOCK + i] = step * (float)q;
            }
        }
    }
}

static const struct {
    int64_t block_elements;
    size_t block_bytes;
    read_block *read; /* NULL: read_plain knows it */
} storages[VLORPI_STORAGE_N] = {
    [VLORPI_STORAGE_F32] = {1, 4, NULL},
    [VLORPI_STORAGE_F16] = {1, 2, NULL},
    [VLORPI_STORAGE_BF16] = {1, 2, NULL},
    [VLORPI_STORAGE_Q4_0] = {BLOCK, 18, read_q4_0},
    [VLORPI_STORAGE_Q4_1] = {BLOCK, 20, read_q4_1},
    [VLORPI_STORAGE_Q5_0] = {BLOCK, 22, read_q5_0},
    [VLORPI_STORAGE_Q5_1] = {BLOCK, 24, read_q5_1},
    [VLORPI_STORAGE_Q8_0] = {BLOCK, 34, read_q8_0},
    [VLORPI_STORAGE_Q2_K] = {SUPER_BLOCK, 84, read_q2_k},
    [VLORPI_STORAGE_Q3_K] = {SUPER_BLOCK, 110, read_q3_k},
    [VLORPI_STORAGE_Q4_K] = {SUPER_BLOCK, 144, read_q4_k},
    [VLORPI_STORAGE_Q5_K] = {SUPER_BLOCK, 176, read_q5_k},
    [VLORPI_STORAGE_Q6_K] = {SUPER_BLOCK, 210, read_q6_k},
};

void vlorpi_storage_hint(vlorp_err *err)
{
    vlorpi_err_hint(err, "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K are read: take the model in "
                    "one of these, or llama-quantize --allow-requantize IN.gguf OUT.gguf F16");
}

int64_t vlorpi_storage_block_elements(vlorpi_storage storage)
{
    return storages[storage].block_elements;
}

size_t vlorpi_storage_block_bytes(vlorpi_storage storage)
{
    return storages[storage].block_bytes;
}

/* F32, F16 and BF16, of which an element is a block. */
static void read_plain(float *out, vlorpi_storage storage, const unsigned char *bytes, int64_t n)
{
    if (storage == VLORPI_STORAGE_F32) {
        memcpy(out, bytes, (size_t)n * sizeof *out);
    } else if (storage == VLORPI_STORAGE_F16) {
        for (int64_t i = 0; i < n; i++) {
            out[i] = load_f16(bytes + 2 * i);
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            out[i] = bits_to_f32((uint32_t)load_u16(bytes + 2 * i) << 16);
        }
    }
}

vlorp_status vlorpi_tensor_read_f32(float *out, const vlorpi_tensor_info *info, int64_t begin, int64_t n,
                                    vlorp_err *err)
{
    int64_t block_elements = storages[info->storage].block_elements;
    if (block_elements == 0) {
        (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "tensor %s: storage %s is not a weight type that can be read",
                             info->name, info->storage_name);
        vlorpi_storage_hint(err);
        return VLORP_E_UNSUPPORTED;
    }
    if (begin < 0 || n < 0 || begin > info->n_elements || n > info->n_elements - begin ||
        begin % block_elements != 0 || n % block_elements != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "tensor %s: %lld elements from %lld cannot be read of %lld in blocks of %lld",
                   info->name, (long long)n, (long long)begin, (long long)info->n_elements,
                   (long long)block_elements);
    }
    if (n == 0) {
        return VLORP_OK;
    }
    size_t block_bytes = storages[info->storage].block_bytes;
    const unsigned char *bytes = info->bytes + (size_t)(begin / block_elements) * block_bytes;
    read_block *read = storages[info->storage].read;
    if (read == NULL) {
        read_plain(out, info->storage, bytes, n);
        return VLORP_OK;
    }
    for (int64_t i = 0; i < n; i += block_elements) {
        read(out + i, bytes);
        bytes += block_bytes;
    }
    return VLORP_OK;
}
