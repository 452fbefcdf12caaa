/* Philox against the vectors of its authors; the derived numbers against their definition. */
#include "support.h"

#include <vlorp/rng.h>

static void check_block(uint64_t block, uint32_t number, uint32_t stream, uint32_t k0, uint32_t k1,
                        const uint32_t expected[4])
{
    vlorp_rng rng = {.key = {k0, k1}, .number = number, .stream = stream};
    uint32_t words[4];
    vlorp_rng_block(words, &rng, block);
    assert_memory_equal(words, expected, sizeof words);
}

/* Random123's kat_vectors, philox4x32 with 10 rounds. */
static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    check_block(0, 0, 0, 0, 0, (const uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check_block(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
                (const uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check_block(0x85a308d3243f6a88, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
                (const uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

static void names_hash_as_fnv1a(void **state)
{
    (void)state;
    assert_int_equal(vlorp_rng_hash(""), 0xcbf29ce484222325);
    assert_int_equal(vlorp_rng_hash("a"), 0xaf63dc4c8601ec8c);
    assert_int_equal(vlorp_rng_hash("foobar"), 0x85944171f73967e8);
}

static void any_range_gives_the_same_entries(void **state)
{
    (void)state;
    vlorp_rng rng = vlorp_rng_make(1, vlorp_rng_hash("w"), VLORP_STREAM_PROJECTION, 3);
    float all[300];
    float part[300];
    vlorp_rng_normals(all, &rng, 0, 300);
    for (int first = 0; first < 10; first++) {
        vlorp_rng_normals(part, &rng, (uint64_t)first, 300 - first);
        assert_memory_equal(part, all + first, (size_t)(300 - first) * sizeof *part);
    }
    vlorp_rng_signs(all, &rng, 0, 300);
    vlorp_rng_signs(part, &rng, 131, 300 - 131);
    assert_memory_equal(part, all + 131, (size_t)(300 - 131) * sizeof *part);
}

/* Every argument of make must change the sequence. */
static void sequences_differ(void **state)
{
    (void)state;
    const vlorp_stream stream = VLORP_STREAM_PROJECTION;
    vlorp_rng rngs[] = {vlorp_rng_make(1, 2, stream, 3), vlorp_rng_make(2, 2, stream, 3),
                        vlorp_rng_make(1, 3, stream, 3), vlorp_rng_make(1, 2, VLORP_STREAM_ROUNDING, 3),
                        vlorp_rng_make(1, 2, stream, 4)};
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(vlorp_rng_u64(&rngs[i], 0), vlorp_rng_u64(&rngs[j], 0));
        }
    }
}

/* Bounds are five standard errors of a million draws. */
static void normals_have_the_moments_of_a_normal(void **state)
{
    (void)state;
    enum { N = 1000000 };
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    vlorp_rng rng = vlorp_rng_make(7, vlorp_rng_hash("moments"), VLORP_STREAM_PROJECTION, 0);
    vlorp_rng_normals(x, &rng, 0, N);
    double sum[5] = {0};
    double lagged = 0;
    int beyond_two = 0;
    for (int i = 0; i < N; i++) {
        double power = 1;
        for (int p = 0; p < 5; p++) {
            sum[p] += power / N;
            power *= (double)x[i];
        }
        lagged += i > 0 ? (double)x[i] * (double)x[i - 1] / N : 0;
        beyond_two += fabsf(x[i]) > 2;
    }
    free(x);
    ASSERT_BELOW(fabs(sum[1]), 5e-3);
    ASSERT_BELOW(fabs(sum[2] - 1), 5 * sqrt(2.0 / N));
    ASSERT_BELOW(fabs(sum[3]), 5 * sqrt(15.0 / N));
    ASSERT_BELOW(fabs(sum[4] - 3), 5 * sqrt(96.0 / N));
    ASSERT_BELOW(fabs(lagged), 5e-3);
    ASSERT_BELOW(fabs((double)beyond_two / N - 0.0455003), 5 * sqrt(0.0455 * 0.9545 / N));
}

static void integers_below_a_bound_cover_it_evenly(void **state)
{
    (void)state;
    enum { N = 70000, BOUND = 7 };
    vlorp_rng rng = vlorp_rng_make(9, 0, VLORP_STREAM_SHUFFLE, 0);
    int count[BOUND] = {0};
    for (uint64_t i = 0; i < N; i++) {
        uint64_t x = vlorp_rng_below(&rng, i, BOUND);
        assert_true(x < BOUND);
        count[x]++;
        double u = vlorp_rng_uniform(&rng, i);
        assert_true(u >= 0 && u < 1);
        assert_int_equal((uint64_t)(u * BOUND), x);
    }
    for (int i = 0; i < BOUND; i++) {
        ASSERT_BELOW(abs(count[i] - N / BOUND), 5 * sqrt(N / BOUND));
    }
    /* the high half of x * (2^64 - 1) is x - 1, or 0 */
    uint64_t x = vlorp_rng_u64(&rng, 5);
    assert_int_equal(vlorp_rng_below(&rng, 5, UINT64_MAX), x - (x != 0));
    assert_int_equal(vlorp_rng_below(&rng, 5, (uint64_t)1 << 63), x >> 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(names_hash_as_fnv1a),
        cmocka_unit_test(any_range_gives_the_same_entries),
        cmocka_unit_test(sequences_differ),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(integers_below_a_bound_cover_it_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
