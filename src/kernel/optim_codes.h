/* optim_codes.h - numbers as 8-bit codes: the dynamic map of 8-bit optimizers (Dettmers et al., arXiv 2110.02861).
 *
 * Layer 2.  A block of VLORPI_CODE_BLOCK numbers is divided by its largest magnitude; each quotient x becomes the code
 * of the nearest number of a map.  The magnitudes of a map, by rank: 0; then seven decades i = 0 .. 6 from 10^(i-7) to
 * 10^(i-6), each cut in 2^i equal cells (signed) or 2^(i+1) (unsigned), whose centres they are; then 1.
 *   unsigned  code = rank, 0 .. 255
 *   signed    code = 127 + rank for x >= 0, 127 - rank below: ranks 0 .. 128, and -1 is missing
 */
#ifndef VLORPI_KERNEL_OPTIM_CODES_H
#define VLORPI_KERNEL_OPTIM_CODES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/optim_kernels.h"

enum { VLORPI_CODE_PIECES = 9, VLORPI_CODE_ZERO = 127 /* of the signed map */ };

/* Where ranks are linear in x: those with x >= from and below the next piece's have the rank
 * min(slope x + offset, last), cut to a whole number. */
typedef struct vlorpi_code_piece {
    float from, slope, offset, last;
} vlorpi_code_piece;

struct vlorpi_code_map {
    float values[256];                           /* by code */
    vlorpi_code_piece pieces[VLORPI_CODE_PIECES]; /* zero, the decades, one */
};

/* map overwritten. */
void vlorpi_code_map_make(vlorpi_code_map *map, bool is_signed);

/* The rank of x >= 0.  Vector code writes the same operations in the same order. */
static inline int32_t vlorpi_code_rank(const vlorpi_code_map *map, float x)
{
    vlorpi_code_piece p = map->pieces[0];
    for (int i = 1; i < VLORPI_CODE_PIECES; i++) {
        p = x >= map->pieces[i].from ? map->pieces[i] : p;
    }
    float rank = p.slope * x + p.offset;
    return (int32_t)(rank < p.last ? rank : p.last);
}

/* The code of m, of the block's largest magnitude most (> 0), in the signed map. */
static inline uint8_t vlorpi_code_signed(const vlorpi_code_map *map, float m, float most)
{
    int32_t rank = vlorpi_code_rank(map, fabsf(m) / most);
    if (m < 0) {
        return (uint8_t)(VLORPI_CODE_ZERO - (rank > VLORPI_CODE_ZERO ? VLORPI_CODE_ZERO : rank));
    }
    return (uint8_t)(VLORPI_CODE_ZERO + rank);
}

/* What a block of zeros is divided by. */
static inline float vlorpi_code_divisor(float most)
{
    return most > 0 ? most : 1.0f;
}

void vlorpi_adamw8_block_ref(uint8_t *m8, uint8_t *v8, float *m_most, float *v_most, float *g,
                             const vlorpi_code_map *maps, vlorpi_adamw u, int64_t n);

#endif
