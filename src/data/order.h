/* order.h - a permutation of 0 .. n-1 fixed by (seed, stream, epoch), without memory.
 *
 * Layer 4.  Knows: Philox.  Does not know: examples.
 *
 * A balanced Feistel network over the smallest 2^(2h) >= n, walked until it lands below n (Black and
 * Rogaway 2002, "Ciphers with Arbitrary Finite Domains"): any place of any epoch in O(1), so that
 * neither a resumed run nor another rank has state to restore.
 */
#ifndef VLORPI_DATA_ORDER_H
#define VLORPI_DATA_ORDER_H

#include <stdint.h>

#include <vlorp/rng.h>

enum { VLORPI_ORDER_ROUNDS = 8 };

/* Plain storage, filled by vlorpi_order_make. */
typedef struct vlorpi_order {
    int64_t n;
    int half_bits;
    uint64_t keys[VLORPI_ORDER_ROUNDS];
} vlorpi_order;

/* n in [1, 2^62].  stream keeps two uses of one seed apart (SHUFFLE, SPLIT). */
vlorpi_order vlorpi_order_make(int64_t n, uint64_t seed, vlorp_stream stream, uint64_t epoch);

/* Where place in [0, n) goes: a bijection onto [0, n). */
int64_t vlorpi_order_at(const vlorpi_order *order, int64_t place);

#endif
