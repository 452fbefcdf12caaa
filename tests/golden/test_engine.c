/* Many sequences at once against each of them alone: scores, greedy texts, shared beginnings, small caches. */
#include "model_fixture.h"

#include "eval/engine.h"
#include "golden/tiny_models.h"

enum { N_GROUPS = 5, N_OPTIONS = 4, N_SEQUENCES = N_GROUPS * N_OPTIONS, MAX_LENGTH = 48, MAX_V = 83, VOCABULARY = 53 };

/* Sequences in groups of options after one question; the questions of neighbours begin alike. */
typedef struct work {
    int32_t ids[N_SEQUENCES][MAX_LENGTH];
    vlorpi_sequence sequences[N_SEQUENCES];
    int64_t n_next, n_done;
    double log_likelihood[N_SEQUENCES];
    bool greedy[N_SEQUENCES];
    int32_t texts[N_SEQUENCES][MAX_LENGTH];
    int64_t n_text[N_SEQUENCES];
    int64_t n_shared; /* all together */
    int64_t n_tokens; /* generated, as the source saw them */
    int64_t stop_after;
    int64_t n_texts_new[N_SEQUENCES];
} work;

static void make_work(work *w, int64_t max_new_tokens)
{
    uint64_t random = 11;
    memset(w, 0, sizeof *w);
    w->stop_after = MAX_LENGTH;
    for (int i = 0; i < N_SEQUENCES; i++) {
        int group = i / N_OPTIONS;
        int64_t n_prompt = 9 + 3 * group;
        for (int t = 0; t < MAX_LENGTH; t++) {
            w->ids[i][t] = (int32_t)(test_random(&random) % VOCABULARY);
            if (i > 0 && t < n_prompt && (i % N_OPTIONS > 0 || t < 7)) {
                w->ids[i][t] = w->ids[i - 1][t];
            }
        }
        w->sequences[i] = (vlorpi_sequence){.tag = i,
                                            .ids = w->ids[i],
                                            .n_ids = n_prompt + (max_new_tokens > 0 ? i % 2 : 1 + i * 5 % 7),
                                            .n_prompt = n_prompt,
                                            .max_new_tokens = max_new_tokens > 0 ? 1 + i % max_new_tokens : 0};
    }
    /* an option that is the beginning of the next one, and one that is the same */
    memcpy(w->ids[1], w->ids[0], sizeof w->ids[0]);
    memcpy(w->ids[2], w->ids[0], sizeof w->ids[0]);
    w->sequences[2].n_ids = w->sequences[0].n_ids;
}

static vlorp_status next(void *ctx, vlorpi_sequence *sequence, bool *more, vlorp_err *err)
{
    (void)err;
    work *w = ctx;
    *more = w->n_next < N_SEQUENCES;
    if (*more) {
        *sequence = w->sequences[w->n_next++];
    }
    return VLORP_OK;
}

static vlorp_status done(void *ctx, const vlorpi_sequence_result *result, vlorp_err *err)
{
    (void)err;
    work *w = ctx;
    int64_t n = result->n_ids + result->n_new;
    assert_int_equal(result->n_ids, w->sequences[result->tag].n_ids);
    assert_true(n <= MAX_LENGTH && w->n_text[result->tag] == 0);
    assert_int_equal(result->n_new, w->n_texts_new[result->tag]);
    memcpy(w->texts[result->tag], result->ids, (size_t)n * sizeof(int32_t));
    w->n_text[result->tag] = n;
    w->log_likelihood[result->tag] = result->log_likelihood;
    w->greedy[result->tag] = result->greedy;
    w->n_shared += result->n_shared;
    w->n_done++;
    return VLORP_OK;
}

static vlorp_status token(void *ctx, int64_t tag, const int32_t *ids, int64_t n, bool *stop, vlorp_err *err)
{
    (void)err;
    work *w = ctx;
    assert_int_equal(n, w->sequences[tag].n_ids + w->n_texts_new[tag] + 1);
    assert_in_range(ids[n - 1], 0, MAX_V - 1);
    w->n_tokens++;
    *stop = ++w->n_texts_new[tag] == w->stop_after;
    return VLORP_OK;
}

/* -log p of ids[t + 1] behind ids[0 .. t] for each t, and the likeliest token there: one pass without a cache. */
static void score_alone(model_fixture *f, const int32_t *ids, int64_t n, double *losses, int32_t *best)
{
    static float logits[MAX_LENGTH * MAX_V];
    int64_t V = vlorpi_model_config_of(f->model)->V;
    int32_t rows[MAX_LENGTH];
    int32_t targets[MAX_LENGTH];
    for (int32_t t = 0; t < n; t++) {
        rows[t] = t;
        targets[t] = -1;
    }
    vlorp_err err = {0};
    vlorpi_token_batch batch = fixture_batch(ids, targets, &n, 1);
    ASSERT_OK(vlorpi_model_logits(f->model, &batch, rows, n, logits, &err));
    fixture_batch_free(&batch);
    for (int64_t t = 0; t < n; t++) {
        const float *row = logits + t * V;
        double sum = 0;
        best[t] = 0;
        for (int32_t v = 0; v < V; v++) {
            sum += exp((double)row[v]);
            best[t] = row[v] > row[best[t]] ? v : best[t];
        }
        losses[t] = t + 1 < n ? log(sum) - (double)row[ids[t + 1]] : 0;
    }
}

/* Scores and greedy texts of every sequence are those of the sequence alone. */
static void check_results(model_fixture *f, const work *w)
{
    double losses[MAX_LENGTH];
    int32_t best[MAX_LENGTH];
    assert_int_equal(w->n_done, N_SEQUENCES);
    for (int i = 0; i < N_SEQUENCES; i++) {
        const vlorpi_sequence *s = &w->sequences[i];
        int64_t n_new = s->max_new_tokens < w->stop_after ? s->max_new_tokens : w->stop_after;
        assert_int_equal(w->n_text[i], s->n_ids + n_new);
        score_alone(f, w->texts[i], w->n_text[i], losses, best);
        double expected = 0;
        bool greedy = true;
        for (int64_t t = s->n_prompt - 1; t + 1 < s->n_ids; t++) {
            expected -= losses[t];
            greedy = greedy && best[t] == s->ids[t + 1];
        }
        ASSERT_BELOW(fabs(w->log_likelihood[i] - expected), 1e-5 * (1 + fabs(expected)));
        assert_int_equal(w->greedy[i], greedy);
        assert_memory_equal(w->texts[i], s->ids, (size_t)s->n_ids * sizeof(int32_t));
        for (int64_t t = s->n_ids; t < w->n_text[i]; t++) {
            assert_int_equal(w->texts[i][t], best[t - 1]);
        }
    }
}

static void check_engine(const char *folder, const char *level, vlorp_dtype dtype, const vlorpi_engine_limits *limits)
{
    vlorpi_model_usage usage = vlorpi_engine_usage(limits);
    usage.max_tokens = usage.max_tokens < MAX_LENGTH ? MAX_LENGTH : usage.max_tokens;
    model_fixture *f = model_fixture_open(folder, level, dtype, &usage);
    vlorpi_engine engine = {0};
    vlorpi_arena arena = vlorpi_arena_counter();
    vlorp_err err = {0};
    vlorpi_engine_layout(&engine, f->model, vlorpi_kernels_select(level), limits, &arena);
    size_t planned = arena.peak_bytes;
    ASSERT_OK(vlorpi_arena_init(&arena, &f->mem, VLORPI_MEM_WORKSPACE, planned, &err));
    vlorpi_engine_layout(&engine, f->model, vlorpi_kernels_select(level), limits, &arena);
    assert_int_equal(arena.peak_bytes, planned);
    static work w;
    vlorpi_engine_source source = {.ctx = &w, .next = next, .done = done, .token = token};
    for (int i = 0; i < 3; i++) { /* scores, then texts, then texts that are stopped; the cache stays from one to the next */
        make_work(&w, i == 0 ? 0 : 9);
        w.stop_after = i == 2 ? 4 : MAX_LENGTH;
        uint64_t n_allocations = f->mem.n_allocations;
        ASSERT_OK(vlorpi_engine_run(&engine, &source, &err));
        assert_int_equal(f->mem.n_allocations, n_allocations);
        check_results(f, &w);
        assert_true(w.n_shared > (N_OPTIONS - 1) * N_GROUPS * 8); /* each question once */
    }
    vlorpi_engine_forget(&engine);
    assert_int_equal(engine.n_free, limits->cache_tokens);
    make_work(&w, 0);
    w.sequences[7].n_prompt = 0;
    assert_int_equal(vlorpi_engine_run(&engine, &source, &err), VLORP_E_ARG);
    make_work(&w, 0);
    ASSERT_OK(vlorpi_engine_run(&engine, &source, &err));
    check_results(f, &w);
    vlorpi_arena_deinit(&arena, &f->mem);
    model_fixture_close(f);
}

/* One sequence at a time, all at once, passes that cut prompts, a cache that holds hardly one sequence. */
static void test_tiny_models(void **state)
{
    (void)state;
    static const vlorpi_engine_limits limits[] = {
        {.max_sequences = 1, .max_positions = MAX_LENGTH, .cache_tokens = MAX_LENGTH, .pass_tokens = 5},
        {.max_sequences = 32, .max_positions = MAX_LENGTH, .cache_tokens = 1000, .pass_tokens = 600},
        {.max_sequences = 7, .max_positions = MAX_LENGTH, .cache_tokens = 200, .pass_tokens = 13},
        {.max_sequences = 5, .max_positions = MAX_LENGTH, .cache_tokens = MAX_LENGTH + 3, .pass_tokens = 40},
    };
    for (int i = 0; i < N_TINY_MODELS; i++) {
        for (int j = 0; j < 4; j++) {
            check_engine(tiny_models[i].folder, NULL, VLORP_F32, &limits[j]);
        }
        check_engine(tiny_models[i].folder, "ref", VLORP_F32, &limits[2]);
        check_engine(tiny_models[i].folder, NULL, VLORP_BF16, &limits[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
