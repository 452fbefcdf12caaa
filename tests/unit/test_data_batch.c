/* Micro-batches: the same examples however a step is cut, in bounds, from any starting point. */
#include "support.h"

#include "data/batch.h"
#include "data/order.h"

static vlorp_err err;
static vlorpi_mem mem;
static vlorpi_tokenizer *tokenizer;
static vlorpi_dataset *dataset;
static vlorpi_dataset_report report;

static vlorpi_dataset *open_data(void)
{
    vlorpi_dataset *opened;
    vlorpi_dataset_config config = {.what = shared_data("instruct/seed_tasks.jsonl"), .max_length = 512};
    ASSERT_OK(vlorpi_dataset_open(&opened, &report, &mem, tokenizer, &config, &err));
    return opened;
}

/* Opened once, by the first test that finds the shared data. */
static void require_data(void)
{
    if (dataset == NULL) {
        const char *folder = shared_data("models/stories260K-hf");
        vlorpi_mem_init(&mem);
        ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, folder, &err));
        dataset = open_data();
    }
}

/* A batch of its own arena. */
typedef struct owned_batch {
    vlorpi_arena arena;
    vlorpi_token_batch batch;
} owned_batch;

static owned_batch make_batch(int64_t max_tokens, int64_t max_segments)
{
    owned_batch b;
    vlorpi_arena counter = vlorpi_arena_counter();
    vlorpi_batch_layout(&b.batch, &counter, max_tokens, max_segments);
    ASSERT_OK(vlorpi_arena_init(&b.arena, &mem, VLORPI_MEM_DATA, counter.peak_bytes, &err));
    vlorpi_batch_layout(&b.batch, &b.arena, max_tokens, max_segments);
    assert_int_equal(b.arena.peak_bytes, counter.peak_bytes);
    return b;
}

static void free_batch(owned_batch *b)
{
    vlorpi_arena_deinit(&b->arena, &mem);
}

/* Every segment is the example that stands at its place of the stream. */
static int64_t check_segments(const vlorpi_token_batch *b, uint64_t seed, int64_t place)
{
    int64_t n_targets = 0;
    assert_int_equal(b->segment_begin[0], 0);
    assert_int_equal(b->segment_begin[b->n_segments], b->n_tokens);
    for (int64_t s = 0; s < b->n_segments; s++) {
        vlorpi_example e = vlorpi_dataset_example(dataset, vlorpi_dataset_stream(dataset, seed, place + s));
        assert_int_equal(b->segment_begin[s + 1] - b->segment_begin[s], e.n_tokens);
        for (int64_t t = 0; t < e.n_tokens; t++) {
            int64_t at = b->segment_begin[s] + t;
            assert_int_equal(b->ids[at], vlorpi_example_id(&e, t));
            assert_int_equal(b->positions[at], t);
            assert_int_equal(b->targets[at], vlorpi_example_target(&e, t));
            n_targets += b->targets[at] >= 0;
        }
    }
    assert_int_equal(b->n_targets, n_targets);
    return place + b->n_segments;
}

static void every_cut_covers_the_step(void **state)
{
    (void)state;
    require_data();
    int64_t n = vlorpi_dataset_n_examples(dataset);
    static const int64_t examples[] = {1, 2, 5, 32, 100};
    for (size_t k = 0; k < sizeof examples / sizeof examples[0]; k++) {
        for (int tight = 0; tight < 2; tight++) {
            int64_t max_tokens = tight ? report.longest : examples[k] * report.longest;
            owned_batch b = make_batch(max_tokens, examples[k]);
            static const int64_t steps[] = {0, 1, 7};
            for (int i = 0; i < 4; i++) {
                int64_t first = i < 3 ? 32 * steps[i] : n - 10; /* the last one crosses into the next epoch */
                int64_t place = first;
                int64_t cursor = first;
                while (vlorpi_batch_next(&b.batch, dataset, 42, &cursor, first + 32, examples[k], max_tokens)) {
                    assert_in_range(b.batch.n_segments, 1, examples[k]);
                    assert_in_range(b.batch.n_tokens, 1, max_tokens);
                    place = check_segments(&b.batch, 42, place);
                    assert_int_equal(cursor, place);
                    /* as full as it can be */
                    if (place < first + 32 && b.batch.n_segments < examples[k]) {
                        vlorpi_example next =
                            vlorpi_dataset_example(dataset, vlorpi_dataset_stream(dataset, 42, place));
                        assert_true(b.batch.n_tokens + next.n_tokens > max_tokens);
                    }
                }
                assert_int_equal(place, first + 32);
                assert_int_equal(b.batch.n_segments, 0);
            }
            free_batch(&b);
        }
    }
}

/* The same micro-batch whatever was filled before. */
static void independent_of_history(void **state)
{
    (void)state;
    require_data();
    owned_batch a = make_batch(4 * report.longest, 8);
    owned_batch b = make_batch(4 * report.longest, 8);
    for (int64_t start = 320; start < 352; start += 8) {
        int64_t place = start;
        assert_true(vlorpi_batch_next(&a.batch, dataset, 9, &place, 352, 8, 4 * report.longest));
        place = 0;
        assert_true(vlorpi_batch_next(&b.batch, dataset, 9, &place, 32, 8, 4 * report.longest));
        place = start;
        assert_true(vlorpi_batch_next(&b.batch, dataset, 9, &place, 352, 8, 4 * report.longest));
        assert_int_equal(a.batch.n_tokens, b.batch.n_tokens);
        assert_memory_equal(a.batch.ids, b.batch.ids, (size_t)a.batch.n_tokens * sizeof(int32_t));
        assert_memory_equal(a.batch.targets, b.batch.targets, (size_t)a.batch.n_tokens * sizeof(int32_t));
    }
    free_batch(&a);
    free_batch(&b);
}

static void the_largest_is_reached(void **state)
{
    (void)state;
    require_data();
    int64_t largest = vlorpi_batch_largest(dataset, 42, 32, 20, 8, INT64_MAX);
    owned_batch b = make_batch(8 * report.longest, 8);
    int64_t most = 0;
    for (int64_t step = 0; step < 20; step++) {
        int64_t place = 32 * step;
        while (vlorpi_batch_next(&b.batch, dataset, 42, &place, 32 * step + 32, 8, 8 * report.longest)) {
            most = b.batch.n_tokens > most ? b.batch.n_tokens : most;
        }
    }
    assert_int_equal(largest, most);
    assert_int_equal(vlorpi_batch_largest(dataset, 42, 32, 0, 8, INT64_MAX), 0);
    free_batch(&b);
}

static void full_batches_refuse(void **state)
{
    (void)state;
    require_data();
    vlorpi_example e = vlorpi_dataset_example(dataset, 0);
    owned_batch b = make_batch(2 * e.n_tokens, 3);
    vlorpi_batch_clear(&b.batch);
    assert_true(vlorpi_batch_add(&b.batch, &e));
    assert_true(vlorpi_batch_add(&b.batch, &e));
    assert_false(vlorpi_batch_add(&b.batch, &e));
    assert_int_equal(b.batch.n_segments, 2);
    free_batch(&b);
    b = make_batch(9 * e.n_tokens, 1);
    vlorpi_batch_clear(&b.batch);
    assert_true(vlorpi_batch_add(&b.batch, &e));
    assert_false(vlorpi_batch_add(&b.batch, &e));
    free_batch(&b);
}

/* Each epoch holds every example once, in another order. */
static void epochs(void **state)
{
    (void)state;
    require_data();
    int64_t n = vlorpi_dataset_n_examples(dataset);
    int64_t same = 0;
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        char *seen = calloc((size_t)n, 1);
        assert_non_null(seen);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = vlorpi_dataset_stream(dataset, 42, epoch * n + i);
            assert_true(at >= 0 && at < n && !seen[at]);
            seen[at] = 1;
            same += epoch > 0 && at == vlorpi_dataset_stream(dataset, 42, i);
        }
        free(seen);
    }
    assert_in_range(same, 0, 12);
}

/* Where each held-out example lies in the common store, counted in tokens from its first; every
 * example of the store is in exactly one part. */
static void places_of_held(int64_t *places, uint64_t seed)
{
    enum { HELD = 20 };
    int64_t n = vlorpi_dataset_n_examples(dataset);
    vlorpi_dataset *whole = open_data();
    vlorpi_dataset *held;
    ASSERT_OK(vlorpi_dataset_hold_out(whole, &held, HELD, seed, &err));
    assert_int_equal(vlorpi_dataset_n_examples(held), HELD);
    assert_int_equal(vlorpi_dataset_n_examples(whole), n - HELD);
    int64_t i = 0;
    int64_t j = 0;
    int64_t place = 0;
    while (i + j < n) {
        vlorpi_example original = vlorpi_dataset_example(dataset, i + j);
        bool in_kept = false;
        if (i < n - HELD) {
            vlorpi_example kept = vlorpi_dataset_example(whole, i);
            in_kept = kept.n_tokens == original.n_tokens &&
                      memcmp(kept.codes, original.codes, (size_t)kept.n_tokens * sizeof(int32_t)) == 0;
        }
        if (in_kept) {
            i++;
        } else {
            vlorpi_example out = vlorpi_dataset_example(held, j);
            assert_int_equal(out.n_tokens, original.n_tokens);
            assert_memory_equal(out.codes, original.codes, (size_t)out.n_tokens * sizeof(int32_t));
            places[j++] = place;
        }
        place += original.n_tokens;
    }
    vlorpi_dataset_free(held);
    vlorpi_dataset_free(whole);
}

static void held_out_is_disjoint_and_stable(void **state)
{
    (void)state;
    require_data();
    int64_t first[20];
    int64_t again[20];
    int64_t other[20];
    places_of_held(first, 42);
    places_of_held(again, 42);
    places_of_held(other, 43);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
}

static void hold_out_limits(void **state)
{
    (void)state;
    require_data();
    vlorpi_dataset *held;
    int64_t n = vlorpi_dataset_n_examples(dataset);
    static const int64_t bad[] = {-1, 0, 1000000};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vlorpi_dataset_hold_out(dataset, &held, bad[i], 42, &err), VLORP_E_ARG);
        assert_null(held);
    }
    assert_int_equal(vlorpi_dataset_hold_out(dataset, &held, n, 42, &err), VLORP_E_ARG);
    assert_int_equal(vlorpi_dataset_n_examples(dataset), n);
}

static int close_all(void **state)
{
    (void)state;
    if (dataset == NULL) {
        return 0;
    }
    vlorpi_dataset_free(dataset);
    vlorpi_tokenizer_free(tokenizer);
    return vlorpi_mem_now(&mem).total_bytes == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_covers_the_step), cmocka_unit_test(independent_of_history),
        cmocka_unit_test(the_largest_is_reached),    cmocka_unit_test(full_batches_refuse),
        cmocka_unit_test(epochs),                    cmocka_unit_test(held_out_is_disjoint_and_stable),
        cmocka_unit_test(hold_out_limits),
    };
    return cmocka_run_group_tests(tests, NULL, close_all);
}
