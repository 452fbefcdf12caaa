/* The key-value cache: greedy text of stories260K, and passes that extend one or several texts against
 * recomputation, wherever in the cache their tokens lie. */
#include "model_fixture.h"

#include "golden/tiny_models.h"
#include "text/tokenizer.h"

static const char *stories_path(int gguf)
{
    return shared_data(gguf != 0 ? "models/stories260K-gguf/stories260K.gguf" : "models/stories260K-hf");
}

static int32_t largest(const model_fixture *f, const float *logits)
{
    return (int32_t)vlorpi_kernels_select(NULL)->model->argmax(logits, vlorpi_model_config_of(f->model)->V);
}

/* Extends the text in the cache by its tokens [n_past, n), in passes of at most `most`; the logits after the last. */
static void extend(model_fixture *f, const int32_t *ids, const int32_t *rows, int64_t n_past, int64_t n, int64_t most,
                   float *logits)
{
    vlorp_err err = {0};
    int32_t last = 0;
    while (n_past < n) {
        int64_t chunk = n - n_past < most ? n - n_past : most;
        vlorpi_cached_segment segment = {.ids = ids + n_past, .n = chunk, .rows = rows, .n_past = n_past};
        ASSERT_OK(vlorpi_model_extend(f->model, &segment, 1, &err));
        n_past += chunk;
        last = (int32_t)(chunk - 1);
    }
    ASSERT_OK(vlorpi_model_extend_logits(f->model, &last, 1, logits, &err));
}

/* Greedy continuation of n_prompt ids up to n in all. */
static void continue_greedily(model_fixture *f, int32_t *ids, int64_t n_prompt, int64_t n, int64_t most)
{
    int32_t rows[512];
    float logits[512];
    for (int32_t t = 0; t < n; t++) {
        rows[t] = (int32_t)n - 1 - t;
    }
    extend(f, ids, rows, 0, n_prompt, most, logits);
    for (int64_t t = n_prompt; t < n; t++) {
        ids[t] = largest(f, logits);
        if (t + 1 < n) {
            extend(f, ids, rows, t, t + 1, most, logits);
        }
    }
}

static void test_greedy_text(void **state)
{
    (void)state;
    char expected[1024];
    FILE *file = fopen(shared_data("models/stories260K/expected_greedy_200.txt"), "rb");
    assert_non_null(file);
    size_t n_expected = fread(expected, 1, sizeof expected, file);
    (void)fclose(file);
    for (int gguf = 0; gguf < 2; gguf++) {
        vlorpi_model_usage usage = {.max_tokens = 16, .max_segments = 1, .max_positions = 256, .cache_tokens = 256};
        model_fixture *f = model_fixture_open(stories_path(gguf), NULL, VLORP_F32, &usage);
        int32_t ids[201] = {1};
        continue_greedily(f, ids, 1, 201, 16);
        vlorp_err err = {0};
        vlorpi_tokenizer *tokenizer = NULL;
        ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &f->mem, stories_path(gguf), &err));
        char *text = NULL;
        size_t n_bytes = 0;
        ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_bytes, ids, 201, true, &err));
        assert_int_equal(n_bytes, n_expected);
        assert_memory_equal(text, expected, n_expected);
        vlorpi_mem_free(&f->mem, text);
        vlorpi_tokenizer_free(tokenizer);
        model_fixture_close(f);
    }
}

static void test_greedy_ids(void **state)
{
    (void)state;
    vlorp_err err = {0};
    json_t *golden = NULL;
    ASSERT_OK(vlorpi_json_load(&golden, shared_data("models/stories260K-hf/golden.json"), &err));
    int64_t n_prompt = 0;
    int64_t n = 0;
    int32_t *prompt = fixture_ids(golden, "greedy_prompt_ids", &n_prompt);
    int32_t *expected = fixture_ids(golden, "greedy_ids", &n);
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    assert_non_null(ids);
    memcpy(ids, prompt, (size_t)n_prompt * sizeof *ids);
    vlorpi_model_usage usage = {.max_tokens = 3, .max_segments = 1, .max_positions = n, .cache_tokens = n};
    model_fixture *f = model_fixture_open(stories_path(0), "ref", VLORP_F32, &usage);
    continue_greedily(f, ids, n_prompt, n, 3);
    assert_memory_equal(ids, expected, (size_t)n * sizeof *ids);
    model_fixture_close(f);
    free(ids);
    free(prompt);
    free(expected);
    json_decref(golden);
}

enum { N_STEPS = 60, MAX_V = 83, VOCABULARY = 53, N_TEXTS = 4, N_CACHE = 80 };

/* Logits [N_STEPS, V] of all tokens in one pass without a cache. */
static void logits_of_all(model_fixture *f, const int32_t *ids, float *logits)
{
    vlorp_err err = {0};
    int32_t rows[N_STEPS];
    int32_t targets[N_STEPS];
    for (int t = 0; t < N_STEPS; t++) {
        rows[t] = t;
        targets[t] = -1;
    }
    int64_t length = N_STEPS;
    vlorpi_token_batch batch = fixture_batch(ids, targets, &length, 1);
    ASSERT_OK(vlorpi_model_logits(f->model, &batch, rows, N_STEPS, logits, &err));
    fixture_batch_free(&batch);
}

/* Four texts in two passes: their first 20 tokens are the same and are computed once, by the first text, in the pass that
 * the others begin in; their own parts differ in length.  Then: losses and likeliest tokens of two targets. */
static void check_texts(model_fixture *f, const int32_t *ids, double limit)
{
    enum { N_SHARED = 20, N_OWN = 5 };
    static const int64_t own[N_TEXTS] = {N_OWN, 0, 1, 4};
    static float expected[N_STEPS * MAX_V];
    int64_t V = vlorpi_model_config_of(f->model)->V;
    int32_t texts[N_TEXTS][N_STEPS];
    int32_t rows[N_TEXTS][N_STEPS];
    vlorpi_cached_segment first[N_TEXTS];
    vlorpi_cached_segment second[N_TEXTS];
    int32_t row = 0;
    for (int s = 0; s < N_TEXTS; s++) {
        int64_t n = N_SHARED + own[s];
        for (int t = 0; t < N_STEPS; t++) {
            texts[s][t] = t < N_SHARED ? ids[t] : ids[(t + 11 * s) % N_STEPS];
            rows[s][t] = s > 0 && t < N_SHARED ? rows[0][t] : t <= n ? row++ : -1;
        }
        int64_t n_past = s == 0 ? 0 : N_SHARED;
        first[s] = (vlorpi_cached_segment){.ids = texts[s] + n_past, .n = n - n_past, .rows = rows[s], .n_past = n_past};
        second[s] = (vlorpi_cached_segment){.ids = texts[s] + n, .n = 1, .rows = rows[s], .n_past = n};
    }
    vlorp_err err = {0};
    float logits[N_TEXTS * MAX_V];
    int32_t tokens[N_TEXTS] = {0, 1, 2, 3};
    ASSERT_OK(vlorpi_model_extend(f->model, first, N_TEXTS, &err));
    ASSERT_OK(vlorpi_model_extend(f->model, second, N_TEXTS, &err));
    ASSERT_OK(vlorpi_model_extend_logits(f->model, tokens, N_TEXTS, logits, &err));
    float losses[2];
    int32_t best[2];
    int32_t targets[2] = {3, largest(f, logits + 2 * V)};
    ASSERT_OK(vlorpi_model_extend_scores(f->model, (int32_t[2]){2, 2}, targets, 2, losses, best, &err));
    assert_true(best[0] == targets[1] && best[1] == targets[1]);
    ASSERT_BELOW(fabs((double)(losses[0] - losses[1]) - (double)(logits[2 * V + targets[1]] - logits[2 * V + 3])), 1e-5);
    for (int s = 0; s < N_TEXTS; s++) {
        logits_of_all(f, texts[s], expected);
        ASSERT_BELOW(relative_error(logits + s * V, expected + (N_SHARED + own[s]) * V, V), limit);
    }
    assert_int_equal(vlorpi_model_extend_logits(f->model, tokens, 1, logits, &err), VLORP_E_ARG);
    first[1] = (vlorpi_cached_segment){.ids = ids, .n = N_STEPS, .rows = rows[0]};
    assert_int_equal(vlorpi_model_extend(f->model, first, 2, &err), VLORP_E_LIMIT);
    first[1] = (vlorpi_cached_segment){.ids = ids, .n = 1, .rows = (int32_t[1]){N_CACHE}};
    assert_int_equal(vlorpi_model_extend(f->model, first, 2, &err), VLORP_E_LIMIT);
    assert_int_equal(vlorpi_model_extend(f->model, first, N_TEXTS + 1, &err), VLORP_E_LIMIT);
}

/* Any way of cutting a text into steps gives after each step the logits of one pass over all, on every
 * CPU level that differs. */
static void check_steps(const char *path, const char *level, vlorp_dtype dtype, double limit)
{
    static float expected[N_STEPS * MAX_V];
    float logits[MAX_V];
    int32_t ids[N_STEPS];
    uint64_t random = 3;
    for (int t = 0; t < N_STEPS; t++) {
        ids[t] = (int32_t)(test_random(&random) % VOCABULARY);
    }
    vlorpi_model_usage usage = {
        .max_tokens = N_STEPS, .max_segments = N_TEXTS, .max_positions = N_STEPS, .cache_tokens = N_CACHE};
    model_fixture *f = model_fixture_open(path, level, dtype, &usage);
    int64_t V = vlorpi_model_config_of(f->model)->V;
    assert_in_range(V, VOCABULARY, MAX_V);
    logits_of_all(f, ids, expected);
    static const int step[] = {N_STEPS, 1, 2, 7, 25}; /* and what is left */
    double worst = 0;
    for (int i = 0; i < 5; i++) {
        int32_t rows[N_STEPS];
        for (int32_t t = 0; t < N_STEPS; t++) {
            rows[t] = (t * 7 + i) % N_CACHE;
        }
        for (int at = 0; at < N_STEPS;) {
            int n = N_STEPS - at < step[i] ? N_STEPS - at : step[i];
            extend(f, ids, rows, at, at + n, n, logits);
            at += n;
            double error = relative_error(logits, expected + (at - 1) * V, V);
            worst = error > worst ? error : worst;
            ASSERT_BELOW(error, limit);
        }
    }
    print_message("%s: worst relative error %.2g\n", path, worst);
    check_texts(f, ids, limit);
    model_fixture_close(f);
}

static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        check_steps(tiny_models[i].folder, NULL, VLORP_F32, 1e-5);
        check_steps(tiny_models[i].folder, "ref", VLORP_F32, 1e-5);
        check_steps(tiny_models[i].folder, NULL, VLORP_BF16, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_text),
        cmocka_unit_test(test_greedy_ids),
        cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
