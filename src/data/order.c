#include "data/order.h"

#include <assert.h>

vlorpi_order vlorpi_order_make(int64_t n, uint64_t seed, vlorp_stream stream, uint64_t epoch)
{
    assert(n >= 1);
    /* Halves of at least three bits: a smaller network has too few permutations to draw from. */
    vlorpi_order order = {.n = n, .half_bits = 3};
    while ((int64_t)1 << (2 * order.half_bits) < n) {
        order.half_bits++;
    }
    vlorp_rng rng = vlorp_rng_make(seed, vlorp_rng_hash("order"), stream, epoch);
    for (int r = 0; r < VLORPI_ORDER_ROUNDS; r++) {
        order.keys[r] = vlorp_rng_u64(&rng, (uint64_t)r);
    }
    return order;
}

/* The round function: any map will do for a bijection, a well mixed one for a good shuffle. */
static uint64_t mix(uint64_t half, uint64_t key)
{
    uint64_t z = (half + 1) * 0x9E3779B97F4A7C15u + key;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int64_t permute(const vlorpi_order *order, int64_t place)
{
    uint64_t mask = ((uint64_t)1 << order->half_bits) - 1;
    uint64_t left = (uint64_t)place >> order->half_bits;
    uint64_t right = (uint64_t)place & mask;
    for (int r = 0; r < VLORPI_ORDER_ROUNDS; r++) {
        uint64_t next = left ^ (mix(right, order->keys[r]) & mask);
        left = right;
        right = next;
    }
    return (int64_t)(left << order->half_bits | right);
}

int64_t vlorpi_order_at(const vlorpi_order *order, int64_t place)
{
    assert(place >= 0 && place < order->n);
    if (order->n == 1) {
        return 0; /* the walk through the smallest network would be long */
    }
    /* The walk ends: it stays on the cycle that place itself, which is below n, lies on. */
    do {
        place = permute(order, place);
    } while (place >= order->n);
    return place;
}
