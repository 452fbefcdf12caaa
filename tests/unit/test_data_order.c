/* The order of the stream: a permutation for every n, another for every epoch, seed and use. */
#include "support.h"

#include "data/order.h"

static void is_a_permutation(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 63, 64, 65, 100, 255, 256, 257, 1000, 4096, 4097, 17754};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int64_t n = sizes[k];
        for (uint64_t epoch = 0; epoch < 4; epoch++) {
            vlorpi_order order = vlorpi_order_make(n, 42, VLORP_STREAM_SHUFFLE, epoch);
            char *seen = calloc((size_t)n, 1);
            assert_non_null(seen);
            for (int64_t i = 0; i < n; i++) {
                int64_t at = vlorpi_order_at(&order, i);
                assert_true(at >= 0 && at < n && !seen[at]);
                seen[at] = 1;
            }
            free(seen);
        }
    }
}

static int64_t n_equal(const vlorpi_order *a, const vlorpi_order *b)
{
    int64_t n = 0;
    for (int64_t i = 0; i < a->n; i++) {
        n += vlorpi_order_at(a, i) == vlorpi_order_at(b, i);
    }
    return n;
}

/* Two random permutations agree in one place on average; more than ten has odds below 1e-7. */
static void differs_by_epoch_seed_and_use(void **state)
{
    (void)state;
    vlorpi_order first = vlorpi_order_make(10000, 42, VLORP_STREAM_SHUFFLE, 0);
    vlorpi_order again = vlorpi_order_make(10000, 42, VLORP_STREAM_SHUFFLE, 0);
    assert_int_equal(n_equal(&first, &again), 10000);
    for (uint64_t i = 1; i <= 20; i++) {
        vlorpi_order epoch = vlorpi_order_make(10000, 42, VLORP_STREAM_SHUFFLE, i);
        vlorpi_order seed = vlorpi_order_make(10000, 42 + i, VLORP_STREAM_SHUFFLE, 0);
        assert_in_range(n_equal(&first, &epoch), 0, 10);
        assert_in_range(n_equal(&first, &seed), 0, 10);
    }
    vlorpi_order split = vlorpi_order_make(10000, 42, VLORP_STREAM_SPLIT, 0);
    assert_in_range(n_equal(&first, &split), 0, 10);
}

/* Where place 0 goes, and how far neighbours land apart, over many seeds: a fair shuffle puts it into
 * each of ten bins equally often.  Chi-square with 9 degrees of freedom; 27.9 is its 0.1 % point. */
static void is_uniform(void **state)
{
    (void)state;
    static const int64_t sizes[] = {10, 50, 1000, 30000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        enum { SEEDS = 5000, BINS = 10 };
        int64_t n = sizes[k];
        double landing[BINS] = {0};
        double apart[BINS] = {0};
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            vlorpi_order order = vlorpi_order_make(n, seed, VLORP_STREAM_SHUFFLE, 0);
            int64_t a = vlorpi_order_at(&order, 0);
            int64_t b = vlorpi_order_at(&order, 1);
            landing[a * BINS / n]++;
            /* b given a is uniform over the n - 1 others */
            apart[((b - a + n) % n - 1) * BINS / (n - 1)]++;
        }
        double chi_landing = 0;
        double chi_apart = 0;
        for (int i = 0; i < BINS; i++) {
            double expected = (double)SEEDS / BINS;
            int64_t slots = ((i + 1) * (n - 1) + BINS - 1) / BINS - (i * (n - 1) + BINS - 1) / BINS;
            double expected_apart = (double)SEEDS * (double)slots / (double)(n - 1);
            chi_landing += (landing[i] - expected) * (landing[i] - expected) / expected;
            chi_apart += slots == 0 ? 0 : (apart[i] - expected_apart) * (apart[i] - expected_apart) / expected_apart;
        }
        ASSERT_BELOW(chi_landing, 27.9);
        ASSERT_BELOW(chi_apart, 27.9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_permutation),
        cmocka_unit_test(differs_by_epoch_seed_and_use),
        cmocka_unit_test(is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
