#include <vlorp/rng.h>

#include <math.h>
#include <string.h>

/* Philox4x32-10: John K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
static const uint32_t PHILOX_M0 = 0xD2511F53u;
static const uint32_t PHILOX_M1 = 0xCD9E8D57u;
static const uint32_t PHILOX_W0 = 0x9E3779B9u;
static const uint32_t PHILOX_W1 = 0xBB67AE85u;
enum { PHILOX_ROUNDS = 10 };

uint64_t vlorp_rng_hash(const char *name)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (const unsigned char *p = (const unsigned char *)name; *p != '\0'; p++) {
        hash = (hash ^ *p) * 0x100000001B3u;
    }
    return hash;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

vlorp_rng vlorp_rng_make(uint64_t seed, uint64_t name_hash, vlorp_stream stream, uint64_t number)
{
    uint64_t key = mix(seed ^ mix(name_hash + (uint64_t)stream * 0x9E3779B97F4A7C15u));
    return (vlorp_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                       .number = (uint32_t)number,
                       .stream = (uint32_t)stream};
}

void vlorp_rng_block(uint32_t words[4], const vlorp_rng *rng, uint64_t block)
{
    uint32_t c0 = (uint32_t)block;
    uint32_t c1 = (uint32_t)(block >> 32);
    uint32_t c2 = rng->number;
    uint32_t c3 = rng->stream;
    uint32_t k0 = rng->key[0];
    uint32_t k1 = rng->key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* ln u of u = (x + 1) * 2^-24, x < 2^24; see rng.h. */
static inline float log_of_uniform(uint32_t x)
{
    float u = (float)(x + 1) * 0x1p-24f;
    uint32_t bits;
    memcpy(&bits, &u, sizeof bits);
    /* Shifting by sqrt(1/2)'s mantissa makes the exponent step there instead of at 1. */
    uint32_t shifted = bits - 0x3F3504F3u;
    int32_t k = (int32_t)shifted >> 23;
    bits = (shifted & 0x007FFFFFu) + 0x3F3504F3u;
    float f;
    memcpy(&f, &bits, sizeof f);
    float g = f - 1.0f;
    float t = g / (2.0f + g);
    float z = t * t;
    float series = 1.0f + z * (1.0f / 3.0f + z * (1.0f / 5.0f + z * (1.0f / 7.0f + z * (1.0f / 9.0f))));
    return (float)k * 0.693147180559945309f + (2.0f * t) * series;
}

static inline void normal_pair(float pair[2], uint32_t x, uint32_t y)
{
    float radius = sqrtf(-2.0f * log_of_uniform(x >> 8));
    float a = ((float)((y & 0x3FFFFFFFu) >> 6) * 0x1p-24f - 0.5f) * 1.57079632679489662f;
    float w = a * a;
    float c = 1.0f + w * (-0.5f + w * (1.0f / 24.0f + w * (-1.0f / 720.0f + w * (1.0f / 40320.0f))));
    float s = a * (1.0f + w * (-1.0f / 6.0f + w * (1.0f / 120.0f + w * (-1.0f / 5040.0f + w * (1.0f / 362880.0f)))));
    uint32_t quadrant = y >> 30;
    float first = (quadrant & 1u) != 0 ? s : c;
    float second = (quadrant & 1u) != 0 ? c : s;
    pair[0] = radius * (quadrant == 1 || quadrant == 2 ? -first : first);
    pair[1] = radius * (quadrant >= 2 ? -second : second);
}

/* Blocks whose numbers are made together, in loops that compilers turn into vectors. */
enum { GROUP_BLOCKS = 16, GROUP_PAIRS = 2 * GROUP_BLOCKS };

/* out [4 GROUP_BLOCKS] = the normals of GROUP_BLOCKS blocks from `block` on. */
static void normal_group(float *out, const vlorp_rng *rng, uint64_t block)
{
    uint32_t words[2 * GROUP_PAIRS];
    float pairs[2][GROUP_PAIRS];
    for (int b = 0; b < GROUP_BLOCKS; b++) {
        vlorp_rng_block(words + 4 * b, rng, block + (uint64_t)b);
    }
    for (int i = 0; i < GROUP_PAIRS; i++) {
        float pair[2];
        normal_pair(pair, words[2 * i], words[2 * i + 1]);
        pairs[0][i] = pair[0];
        pairs[1][i] = pair[1];
    }
    for (int i = 0; i < GROUP_PAIRS; i++) {
        out[2 * i] = pairs[0][i];
        out[2 * i + 1] = pairs[1][i];
    }
}

void vlorp_rng_normals(float *out, const vlorp_rng *rng, uint64_t first, int64_t n)
{
    for (int64_t i = 0; i < n;) {
        float group[2 * GROUP_PAIRS];
        uint64_t entry = first + (uint64_t)i;
        int64_t skip = (int64_t)(entry % 4);
        int64_t here = n - i < 2 * GROUP_PAIRS - skip ? n - i : 2 * GROUP_PAIRS - skip;
        normal_group(group, rng, entry / 4);
        memcpy(out + i, group + skip, (size_t)here * sizeof *out);
        i += here;
    }
}

void vlorp_rng_signs(float *out, const vlorp_rng *rng, uint64_t first, int64_t n)
{
    for (int64_t i = 0; i < n;) {
        uint64_t entry = first + (uint64_t)i;
        uint32_t words[4];
        vlorp_rng_block(words, rng, entry / 128);
        for (uint64_t e = entry % 128; e < 128 && i < n; e++, i++) {
            out[i] = (words[e / 32] >> (e % 32) & 1u) != 0 ? -1.0f : 1.0f;
        }
    }
}

uint64_t vlorp_rng_u64(const vlorp_rng *rng, uint64_t index)
{
    uint32_t words[4];
    vlorp_rng_block(words, rng, index / 2);
    const uint32_t *pair = words + 2 * (index % 2);
    return (uint64_t)pair[1] << 32 | pair[0];
}

uint64_t vlorp_rng_below(const vlorp_rng *rng, uint64_t index, uint64_t bound)
{
    uint64_t x = vlorp_rng_u64(rng, index);
    uint64_t x_low = (uint32_t)x;
    uint64_t b_low = (uint32_t)bound;
    uint64_t low_high = x_low * (bound >> 32);
    uint64_t high_low = (x >> 32) * b_low;
    uint64_t carry = (x_low * b_low >> 32) + (uint32_t)low_high + (uint32_t)high_low;
    return (x >> 32) * (bound >> 32) + (low_high >> 32) + (high_low >> 32) + (carry >> 32);
}

double vlorp_rng_uniform(const vlorp_rng *rng, uint64_t index)
{
    return (double)(vlorp_rng_u64(rng, index) >> 11) * 0x1p-53;
}

uint32_t vlorp_rng_draw16(const vlorp_rng *rng, uint32_t row, uint32_t col)
{
    uint32_t words[4];
    uint32_t half = col % 128 / 16;
    vlorp_rng_block(words, rng, (uint64_t)row << 32 | (col / 128 * 16 + col % 16));
    return words[half / 2] >> (16 * (half % 2)) & 0xFFFFu;
}
