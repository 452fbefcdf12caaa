/* The next token from its logits: greedy, cuts, and frequencies against the softmax. */
#include "support.h"

#include "eval/sample.h"

enum { V = 7 };
static const float logits[V] = {0.5f, 2.0f, -1.0f, 2.0f, 0.0f, 1.5f, -3.0f};
static int32_t scratch[V];

static void count(int64_t hits[V], vlorpi_sampling s, int64_t n)
{
    memset(hits, 0, V * sizeof hits[0]);
    for (int64_t i = 0; i < n; i++) {
        int32_t id = vlorpi_sample(&s, logits, V, (uint64_t)i, scratch);
        assert_in_range(id, 0, V - 1);
        hits[id]++;
    }
}

static void test_greedy(void **state)
{
    (void)state;
    vlorpi_sampling s = {.temperature = 0, .top_k = 3, .top_p = 0.5, .seed = 1};
    assert_int_equal(vlorpi_sample(&s, logits, V, 0, scratch), 1); /* the lowest id among equals */
    s = (vlorpi_sampling){.temperature = 5, .top_k = 1, .top_p = 1};
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(vlorpi_sample(&s, logits, V, i, scratch), 1);
    }
    s = (vlorpi_sampling){.temperature = 5, .top_p = 1e-6};
    assert_int_equal(vlorpi_sample(&s, logits, V, 9, scratch), 1);
}

/* Every count within five standard deviations of what the probabilities p (unnormalised) say. */
static void check_frequencies(const int64_t hits[V], const double p[V], int64_t n)
{
    double total = 0;
    for (int i = 0; i < V; i++) {
        total += p[i];
    }
    for (int i = 0; i < V; i++) {
        double expected = (double)n * p[i] / total;
        double deviation = sqrt(expected * (1 - p[i] / total));
        ASSERT_BELOW(fabs((double)hits[i] - expected), 5 * deviation);
    }
}

static void test_frequencies(void **state)
{
    (void)state;
    enum { N = 40000 };
    int64_t hits[V];
    double p[V];
    double temperatures[] = {1.0, 0.4, 3.0};
    for (int t = 0; t < 3; t++) {
        double total = 0;
        for (int i = 0; i < V; i++) {
            p[i] = exp((double)logits[i] / temperatures[t]);
            total += p[i];
        }
        count(hits, (vlorpi_sampling){.temperature = temperatures[t], .top_p = 1, .seed = 42}, N);
        check_frequencies(hits, p, N);

        /* the same through the heap: a cut that keeps all but the least likely one */
        double kept[V];
        memcpy(kept, p, sizeof kept);
        kept[6] = 0;
        count(hits, (vlorpi_sampling){.temperature = temperatures[t], .top_k = V - 1, .top_p = 1, .seed = 43}, N);
        check_frequencies(hits, kept, N);
        count(hits, (vlorpi_sampling){.temperature = temperatures[t], .top_p = 1 - 0.5 * p[6] / total, .seed = 44}, N);
        check_frequencies(hits, p, N);
        count(hits, (vlorpi_sampling){.temperature = temperatures[t], .top_p = 1 - 1.5 * p[6] / total, .seed = 45}, N);
        check_frequencies(hits, kept, N);
    }
}

static void test_cuts(void **state)
{
    (void)state;
    int64_t hits[V];
    count(hits, (vlorpi_sampling){.temperature = 2, .top_k = 3, .top_p = 1, .seed = 7}, 2000);
    assert_true(hits[1] > 0 && hits[3] > 0 && hits[5] > 0);
    assert_int_equal(hits[1] + hits[3] + hits[5], 2000);

    /* top_p cuts what top_k left: of 1, 3, 5 with weights 1, 1, exp(-1/2) the first two hold 0.77 */
    count(hits, (vlorpi_sampling){.temperature = 1, .top_k = 3, .top_p = 0.76, .seed = 7}, 2000);
    assert_int_equal(hits[1] + hits[3], 2000);
    count(hits, (vlorpi_sampling){.temperature = 1, .top_k = 3, .top_p = 0.78, .seed = 7}, 2000);
    assert_true(hits[5] > 0);
}

static void test_repeatable(void **state)
{
    (void)state;
    int differ_by_seed = 0;
    int differ_by_index = 0;
    for (uint64_t i = 0; i < 100; i++) {
        vlorpi_sampling s = {.temperature = 1, .top_p = 1, .seed = 3};
        int32_t first = vlorpi_sample(&s, logits, V, i, scratch);
        assert_int_equal(vlorpi_sample(&s, logits, V, i, scratch), first);
        differ_by_index += vlorpi_sample(&s, logits, V, i + 1, scratch) != first;
        s.seed = 4;
        differ_by_seed += vlorpi_sample(&s, logits, V, i, scratch) != first;
    }
    assert_true(differ_by_seed > 20);
    assert_true(differ_by_index > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_repeatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
