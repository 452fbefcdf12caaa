/* rng.h - random numbers without state: Philox4x32-10 (Salmon et al., SC 2011).
 *
 * Any number of any sequence can be made anywhere, in any order, by any thread or machine, so
 * nothing has to be stored or exchanged.  What follows is the whole definition; a program in
 * another language that does the same in IEEE binary32 gets the same bits.
 *
 * Sequence.  seed, a name, a stream and a number (a refresh or step number) choose it:
 *     hash  = FNV-1a, 64 bits, over the name's bytes
 *     key64 = mix(seed ^ mix(hash + stream * 0x9E3779B97F4A7C15))            mod 2^64
 *     mix(z): z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) * 0x94D049BB133111EB; z ^ z >> 31
 *     key   = { low half of key64, high half }
 *     block b (64 bits) = philox4x32_10(counter = { low half of b, high half of b, number, stream }, key)
 * giving four 32-bit words x0..x3 per block.
 *
 * Normals.  Entry e takes word pair (e % 4) / 2 of block e / 4: Box-Muller in binary32 from
 * + - * / and sqrt alone, every operation rounded once, none fused.  For a pair (x, y):
 *     u = ((x >> 8) + 1) * 2^-24                                    in (0, 1]
 *     u = 2^k * f with f in [float(sqrt 1/2), twice that)
 *     t = (f - 1) / (2 + (f - 1));  z = t * t
 *     L = 2 t * (1 + z (1/3 + z (1/5 + z (1/7 + z * 1/9)))) ; ln u = k * float(ln 2) + L
 *     R = sqrt(-2 ln u)
 *     a = (((y & 0x3FFFFFFF) >> 6) * 2^-24 - 0.5) * float(pi / 2);  w = a * a
 *     C = 1 + w (-1/2 + w (1/24 + w (-1/720 + w * 1/40320)))
 *     S = a * (1 + w (-1/6 + w (1/120 + w (-1/5040 + w * 1/362880))))
 *     quadrant y >> 30:  0: (C, S)   1: (-S, C)   2: (-C, -S)   3: (S, -C)
 *     the even entry is R * first, the odd one R * second
 * Fractions are the binary32 nearest to the quotient; products in L are (2 * t) * (...).
 *
 * Signs.  Entry e is bit e % 32 of word (e % 128) / 32 of block e / 128: 1 - 2 * bit.
 *
 * Rounding draws (16 bits) for element (row, col) of a matrix, with number = the step:
 *     block = row * 2^32 + (col / 128) * 16 + col % 16;  h = (col % 128) / 16
 *     word h / 2, its low half for even h, its high half for odd h
 * Element e of bfloat16 sums or moments is element (e / 2^20, e % 2^20).  A moment's number is the step
 * (from 1) after which it is stored.  The k-th rounding of a parameter's sums within a step (k from 0)
 * has that step for its number, and hash + k * 0xD1342543DE82EF95 in place of hash.
 * A binary32 with bits u becomes the bfloat16 (u + draw) >> 16; infinities and NaN are cut.
 */
#ifndef VLORP_RNG_H
#define VLORP_RNG_H

#include <stdint.h>

#include <vlorp/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Uses of random numbers; each has sequences of its own. */
typedef enum vlorp_stream {
    VLORP_STREAM_PROJECTION = 0,
    VLORP_STREAM_ROUNDING = 1,
    VLORP_STREAM_SHUFFLE = 2,
    VLORP_STREAM_SAMPLING = 3,
    VLORP_STREAM_DROPOUT = 4,
    VLORP_STREAM_INIT = 5,
    VLORP_STREAM_SPLIT = 6,  /* which examples are held out */
    VLORP_STREAM_SUMS = 7,   /* rounding of bfloat16 sums of gradients */
    VLORP_STREAM_MOMENTS = 8, /* rounding of bfloat16 moments */
    VLORP_STREAM_MOMENTUM = 9 /* the projection of a momentum that has one of its own (flora) */
} vlorp_stream;

/* One sequence; plain data, copied freely. */
typedef struct vlorp_rng {
    uint32_t key[2];
    uint32_t number;
    uint32_t stream;
} vlorp_rng;

/* 64-bit FNV-1a of a NUL-terminated name. */
VLORP_API uint64_t vlorp_rng_hash(const char *name);

/* number counts modulo 2^32. */
VLORP_API vlorp_rng vlorp_rng_make(uint64_t seed, uint64_t name_hash, vlorp_stream stream, uint64_t number);

/* The four words of one block. */
VLORP_API void vlorp_rng_block(uint32_t words[4], const vlorp_rng *rng, uint64_t block);

/* out[i] = entry first + i, for i < n; out is overwritten. */
VLORP_API void vlorp_rng_normals(float *out, const vlorp_rng *rng, uint64_t first, int64_t n);
VLORP_API void vlorp_rng_signs(float *out, const vlorp_rng *rng, uint64_t first, int64_t n);

/* 64 random bits: words 0, 1 of block index / 2 for even indices, words 2, 3 for odd ones; the
 * first of the two is the low half. */
VLORP_API uint64_t vlorp_rng_u64(const vlorp_rng *rng, uint64_t index);

/* An integer in [0, bound), bound > 0: the high 64 bits of vlorp_rng_u64 * bound. */
VLORP_API uint64_t vlorp_rng_below(const vlorp_rng *rng, uint64_t index, uint64_t bound);

/* In [0, 1): the upper 53 bits of vlorp_rng_u64 times 2^-53. */
VLORP_API double vlorp_rng_uniform(const vlorp_rng *rng, uint64_t index);

/* The 16-bit rounding draw of element (row, col); col < 2^32. */
VLORP_API uint32_t vlorp_rng_draw16(const vlorp_rng *rng, uint32_t row, uint32_t col);

#ifdef __cplusplus
}
#endif
#endif
