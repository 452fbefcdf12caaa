/* Texts of many prompts at once on stories260K: each the text that its prompt gets alone, cut at a stop text; the
 * published greedy text among them. */
#include "support.h"

#include "base/threads.h"
#include "eval/complete.h"
#include "eval/generate.h"

enum { N_PROMPTS = 9, MAX_TEXT = 2048, N_POSITIONS = 256, MAX_NEW = 200 };

static const char *const prompts[N_PROMPTS] = {
    "", "Once upon a time, there was a little girl", "Once upon a time, there was a big", "Tom and his dog",
    "Once upon a time, there was a little girl named Lily", "The end", "One day, a bird", "Lily said", "Once"};

typedef struct text {
    char bytes[MAX_TEXT];
    size_t n_bytes;
    int64_t n_new;
    vlorpi_finish finish;
} text;

typedef struct work {
    int32_t ids[N_PROMPTS][64];
    int64_t n_ids[N_PROMPTS];
    const char *stop;
    int64_t n_next, n_done;
    text texts[N_PROMPTS];
    bool fails;
} work;

static vlorpi_mem mem;
static vlorp_exec threads;
static vlorpi_machine machine;

static int64_t max_new_tokens(int64_t i)
{
    return MAX_NEW - 20 * i;
}

static vlorp_status next(void *ctx, vlorpi_completion_request *request, bool *more, vlorp_err *err)
{
    (void)err;
    work *w = ctx;
    int64_t i = w->n_next++;
    *more = i < N_PROMPTS;
    if (*more) {
        *request = (vlorpi_completion_request){.tag = i,
                                               .ids = w->ids[i],
                                               .n_ids = w->n_ids[i],
                                               .max_new_tokens = max_new_tokens(i),
                                               .stop = w->stop};
    }
    return VLORP_OK;
}

static vlorp_status done(void *ctx, const vlorpi_completion *completion, vlorp_err *err)
{
    work *w = ctx;
    if (w->fails) {
        VLORP_FAIL(err, VLORP_E_IO, "nobody reads");
    }
    text *t = &w->texts[completion->tag];
    assert_in_range(completion->n_bytes, 0, MAX_TEXT);
    memcpy(t->bytes, completion->text, completion->n_bytes);
    t->n_bytes = completion->n_bytes;
    t->n_new = completion->n_new;
    t->finish = completion->finish;
    w->n_done++;
    return VLORP_OK;
}

static void encode_prompts(work *w, const vlorpi_tokenizer *tokenizer)
{
    vlorp_err err = {0};
    vlorpi_tokens tokens = {.mem = &mem};
    for (int i = 0; i < N_PROMPTS; i++) {
        tokens.n = 0;
        vlorpi_encode_options options = {.add_special = true};
        ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, prompts[i], strlen(prompts[i]), options, &err));
        assert_in_range(tokens.n, 1, 64);
        w->n_ids[i] = tokens.n;
        for (int64_t t = 0; t < tokens.n; t++) {
            w->ids[i][t] = tokens.items[t].id;
        }
    }
    vlorpi_tokens_deinit(&tokens);
}

static vlorp_status collect(void *ctx, const char *bytes, size_t n_bytes, vlorp_err *err)
{
    (void)err;
    text *t = ctx;
    assert_true(t->n_bytes + n_bytes <= MAX_TEXT);
    memcpy(t->bytes + t->n_bytes, bytes, n_bytes);
    t->n_bytes += n_bytes;
    return VLORP_OK;
}

static void complete_alone(text *alone, const work *w, vlorpi_loaded_model *loaded)
{
    vlorp_err err = {0};
    vlorpi_generator generator;
    ASSERT_OK(vlorpi_generator_open(&generator, loaded, machine.kernels, N_POSITIONS, 16, &err));
    for (int i = 0; i < N_PROMPTS; i++) {
        alone[i] = (text){.n_bytes = 0};
        vlorpi_text_sink sink = {.write = collect, .ctx = &alone[i]};
        vlorpi_generate_request request = {
            .prompt = w->ids[i], .n_prompt = w->n_ids[i], .max_new_tokens = max_new_tokens(i)};
        vlorpi_generate_result result;
        ASSERT_OK(vlorpi_generator_run(&result, &generator, &request, &sink, &err));
        alone[i].finish = result.finish;
        alone[i].n_new = result.n_new;
    }
    vlorpi_generator_close(&generator);
}

static void check_texts(const work *w, const text *alone)
{
    size_t n_stop = w->stop != NULL ? strlen(w->stop) : 0;
    int n_stopped = 0;
    assert_int_equal(w->n_done, N_PROMPTS);
    for (int i = 0; i < N_PROMPTS; i++) {
        size_t n = alone[i].n_bytes;
        vlorpi_finish finish = alone[i].finish;
        for (size_t at = 0; n_stop > 0 && at + n_stop <= n; at++) {
            if (memcmp(alone[i].bytes + at, w->stop, n_stop) == 0) {
                n = at;
                finish = VLORPI_FINISH_STOPPED;
            }
        }
        n_stopped += finish == VLORPI_FINISH_STOPPED;
        assert_int_equal(w->texts[i].n_bytes, n);
        assert_memory_equal(w->texts[i].bytes, alone[i].bytes, n);
        assert_int_equal(w->texts[i].finish, finish);
        assert_true(finish == VLORPI_FINISH_STOPPED || w->texts[i].n_new == alone[i].n_new);
    }
    assert_true((n_stopped > 0) == (n_stop > 0));
}

static void check_golden(const text *t)
{
    char expected[1024];
    FILE *file = fopen(shared_data("models/stories260K/expected_greedy_200.txt"), "rb");
    assert_non_null(file);
    size_t n_expected = fread(expected, 1, sizeof expected, file);
    (void)fclose(file);
    assert_int_equal(t->n_bytes, n_expected);
    assert_memory_equal(t->bytes, expected, n_expected);
}

static void test_texts(void **state)
{
    (void)state;
    static work w;
    static text alone[N_PROMPTS];
    static const char *const stops[] = {NULL, ". ", "Lily", "d"};
    static const vlorpi_engine_limits limits[] = {{4, N_POSITIONS, 3 * N_POSITIONS, 33}, {16, N_POSITIONS, 4000, 64}};
    vlorp_err err = {0};
    vlorpi_loaded_model loaded;
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, &err));
        encode_prompts(&w, loaded.tokenizer);
        complete_alone(alone, &w, &loaded);
        vlorpi_loaded_model_close(&loaded);
        ASSERT_OK(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, &err));
        vlorpi_engine engine;
        ASSERT_OK(vlorpi_engine_open(&engine, &loaded, machine.kernels, &limits[i], &err));
        vlorpi_completion_source source = {.ctx = &w, .next = next, .done = done};
        for (int j = 0; j < 4; j++) {
            w.n_next = w.n_done = 0;
            w.stop = stops[j];
            ASSERT_OK(vlorpi_complete(&engine, loaded.tokenizer, &mem, &source, &err));
            check_texts(&w, alone);
            if (j == 0) {
                check_golden(&w.texts[0]);
            }
        }
        w.n_next = 0;
        w.fails = true;
        assert_int_equal(vlorpi_complete(&engine, loaded.tokenizer, &mem, &source, &err), VLORP_E_IO);
        w.fails = false;
        vlorpi_engine_close(&engine);
        vlorpi_loaded_model_close(&loaded);
    }
}

/* Every test gives back all it took. */
static int check_account(void **state)
{
    (void)state;
    return vlorpi_mem_now(&mem).total_bytes == 0 ? 0 : -1;
}

int main(void)
{
    vlorpi_mem_init(&mem);
    threads = vlorpi_threads_exec(2);
    machine = (vlorpi_machine){.mem = &mem, .kernels = vlorpi_kernels_select(NULL), .exec = &threads};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_texts, check_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
