/* Text generation on stories260K: the published greedy text, streaming, limits. */
#include "support.h"

#include "base/threads.h"
#include "eval/generate.h"
#include "text/token_text.h"

typedef struct collected {
    char text[8192];
    size_t n_bytes;
    int n_writes;
} collected;

static vlorp_status collect(void *ctx, const char *text, size_t n_bytes, vlorp_err *err)
{
    (void)err;
    collected *c = ctx;
    assert_true(n_bytes > 0 && c->n_bytes + n_bytes < sizeof c->text);
    assert_true(vlorpi_utf8_valid(text, n_bytes));
    memcpy(c->text + c->n_bytes, text, n_bytes);
    c->n_bytes += n_bytes;
    c->n_writes++;
    return VLORP_OK;
}

static vlorpi_mem mem;
static vlorp_exec threads;
static vlorpi_machine machine;

static vlorp_status generate(collected *c, vlorpi_generate_result *result, const char *path, const char *prompt,
                             int64_t max_new_tokens, vlorpi_sampling sampling, vlorp_err *err)
{
    vlorpi_loaded_model loaded;
    VLORP_TRY(vlorpi_loaded_model_open(&loaded, &machine, path, -1, err));
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    assert_int_equal(
        vlorpi_tokenizer_encode(loaded.tokenizer, &tokens, prompt, strlen(prompt), options, err), VLORP_OK);
    int32_t ids[1024];
    assert_in_range(tokens.n, 1, 1024);
    for (int64_t i = 0; i < tokens.n; i++) {
        ids[i] = tokens.items[i].id;
    }
    vlorpi_generate_request request = {
        .prompt = ids, .n_prompt = tokens.n, .max_new_tokens = max_new_tokens, .sampling = sampling};
    memset(c, 0, sizeof *c);
    vlorpi_text_sink sink = {.write = collect, .ctx = c};
    vlorpi_generator generator;
    vlorp_status status =
        vlorpi_generator_open(&generator, &loaded, machine.kernels, loaded.config.max_positions, tokens.n, err);
    if (status == VLORP_OK) {
        status = vlorpi_generator_run(result, &generator, &request, &sink, err);
    }
    vlorpi_generator_close(&generator);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_loaded_model_close(&loaded);
    return status;
}

static const vlorpi_sampling greedy = {.temperature = 0, .top_p = 1};

static void test_greedy_text(void **state)
{
    (void)state;
    char expected[1024];
    FILE *file = fopen(shared_data("models/stories260K/expected_greedy_200.txt"), "rb");
    assert_non_null(file);
    size_t n_expected = fread(expected, 1, sizeof expected, file);
    (void)fclose(file);
    const char *paths[] = {"models/stories260K-hf", "models/stories260K-gguf/stories260K.gguf"};
    for (int i = 0; i < 2; i++) {
        vlorp_err err = {0};
        collected c;
        vlorpi_generate_result result;
        ASSERT_OK(generate(&c, &result, shared_data(paths[i]), "", 200, greedy, &err));
        assert_int_equal(c.n_bytes, n_expected);
        assert_memory_equal(c.text, expected, n_expected);
        assert_int_equal(result.n_new, 200);
        assert_int_equal(result.finish, VLORPI_FINISH_LENGTH);
        assert_true(c.n_writes > 100); /* it streams */
    }
}

/* What follows a prompt is the text that greedy generation from BOS had there, blanks included. */
static void test_continues_a_prompt(void **state)
{
    (void)state;
    vlorp_err err = {0};
    collected whole;
    collected rest;
    vlorpi_generate_result result;
    const char *path = shared_data("models/stories260K-hf");
    ASSERT_OK(generate(&whole, &result, path, "", 60, greedy, &err));
    char prompt[64];
    (void)snprintf(prompt, sizeof prompt, "%.*s", 16, whole.text); /* "Once upon a time" */
    ASSERT_OK(generate(&rest, &result, path, prompt, 20, greedy, &err));
    assert_true(rest.n_bytes > 10);
    assert_memory_equal(rest.text, whole.text + 16, rest.n_bytes);
}

static void test_limits(void **state)
{
    (void)state;
    vlorp_err err = {0};
    collected c;
    vlorpi_generate_result result;
    const char *path = shared_data("models/stories260K-hf");
    ASSERT_OK(generate(&c, &result, path, "Once", 100000, greedy, &err));
    assert_int_equal(result.finish, VLORPI_FINISH_CONTEXT);
    assert_in_range(result.n_new, 500, 511); /* of 512 positions */
    char long_prompt[2048];
    memset(long_prompt, 'x', sizeof long_prompt);
    long_prompt[900] = '\0';
    assert_int_equal(generate(&c, &result, path, long_prompt, 1, greedy, &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "512 positions"));
}

static void test_sampling(void **state)
{
    (void)state;
    vlorp_err err = {0};
    collected a;
    collected b;
    vlorpi_generate_result result;
    const char *path = shared_data("models/stories260K-hf");
    vlorpi_sampling sampling = {.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seed = 1};
    ASSERT_OK(generate(&a, &result, path, "Once", 40, sampling, &err));
    ASSERT_OK(generate(&b, &result, path, "Once", 40, sampling, &err));
    assert_string_equal(a.text, b.text);
    sampling.seed = 2;
    ASSERT_OK(generate(&b, &result, path, "Once", 40, sampling, &err));
    assert_string_not_equal(a.text, b.text);
}

/* Tokens drawn almost evenly are mostly single bytes: what is written must be whole characters all the
 * same (collect checks it). */
static void test_whole_characters(void **state)
{
    (void)state;
    vlorp_err err = {0};
    collected c;
    vlorpi_generate_result result;
    int64_t n_new = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        vlorpi_sampling sampling = {.temperature = 100, .top_p = 1, .seed = seed};
        ASSERT_OK(generate(&c, &result, shared_data("models/stories260K-hf"), "Once", 200, sampling, &err));
        n_new += result.n_new;
    }
    assert_true(n_new > 200);
}

static vlorp_status refuse(void *ctx, const char *text, size_t n_bytes, vlorp_err *err)
{
    (void)ctx;
    (void)text;
    (void)n_bytes;
    VLORP_FAIL(err, VLORP_E_IO, "nobody reads");
}

static void test_sink_error_ends_it(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_loaded_model loaded;
    ASSERT_OK(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, &err));
    int32_t bos = 1;
    vlorpi_generate_request request = {.prompt = &bos, .n_prompt = 1, .max_new_tokens = 5, .sampling = greedy};
    vlorpi_text_sink sink = {.write = refuse};
    vlorpi_generate_result result;
    vlorpi_generator generator;
    ASSERT_OK(vlorpi_generator_open(&generator, &loaded, machine.kernels, 8, 1, &err));
    assert_int_equal(vlorpi_generator_run(&result, &generator, &request, &sink, &err), VLORP_E_IO);
    vlorpi_generator_close(&generator);
    vlorpi_loaded_model_close(&loaded);
}

static bool stop_after_three(void *ctx)
{
    int *n = ctx;
    return ++*n > 3;
}

/* A second prompt that goes on from the first is not computed again, and gives what a fresh computation gives; a
 * prompt that differs early takes nothing over. */
static void test_cache_is_kept(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_loaded_model loaded;
    vlorpi_generator g;
    vlorpi_generate_result result;
    collected first = {.n_bytes = 0};
    collected again = {.n_bytes = 0};
    ASSERT_OK(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, &err));
    ASSERT_OK(vlorpi_generator_open(&g, &loaded, machine.kernels, 256, 4, &err)); /* passes of 4 tokens */
    int32_t ids[64] = {1, 403, 407, 261, 378};
    vlorpi_generate_request request = {.prompt = ids, .n_prompt = 5, .max_new_tokens = 20, .sampling = greedy};
    vlorpi_text_sink sink = {.write = collect, .ctx = &first};
    ASSERT_OK(vlorpi_generator_run(&result, &g, &request, &sink, &err));
    assert_int_equal(result.n_reused, 0);
    assert_int_equal(result.n_new, 20);
    /* the first 10 new tokens as part of the prompt: the other 10 follow, from the cache */
    memcpy(ids + 5, g.engine.slots[0].ids + 5, 10 * sizeof(int32_t));
    request.n_prompt = 15;
    request.max_new_tokens = 10;
    sink.ctx = &again;
    ASSERT_OK(vlorpi_generator_run(&result, &g, &request, &sink, &err));
    assert_int_equal(result.n_reused, 14);
    assert_true(again.n_bytes > 5 && again.n_bytes < first.n_bytes);
    assert_memory_equal(again.text, first.text + first.n_bytes - again.n_bytes, again.n_bytes);
    /* another second token: only BOS stays; then the whole conversation anew gives the same once more */
    ids[1] = 404;
    ASSERT_OK(vlorpi_generator_run(&result, &g, &request, &sink, &err));
    assert_int_equal(result.n_reused, 1);
    ids[1] = 403;
    collected third = {.n_bytes = 0};
    sink.ctx = &third;
    ASSERT_OK(vlorpi_generator_run(&result, &g, &request, &sink, &err));
    assert_int_equal(result.n_reused, 1);
    assert_memory_equal(third.text, first.text + first.n_bytes - third.n_bytes, third.n_bytes);
    int n_asked = 0;
    request.wants_stop = stop_after_three;
    request.stop_ctx = &n_asked;
    ASSERT_OK(vlorpi_generator_run(&result, &g, &request, &sink, &err));
    assert_int_equal(result.finish, VLORPI_FINISH_STOPPED);
    assert_int_equal(result.n_new, 3);
    vlorpi_generator_close(&g);
    vlorpi_loaded_model_close(&loaded);
}

/* Every test gives back all it took. */
static int check_account(void **state)
{
    (void)state;
    return vlorpi_mem_now(&mem).total_bytes == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_greedy_text, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_continues_a_prompt, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_limits, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_sampling, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_whole_characters, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_sink_error_ends_it, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_cache_is_kept, NULL, check_account),
    };
    vlorpi_mem_init(&mem);
    threads = vlorpi_threads_exec(2);
    machine = (vlorpi_machine){.mem = &mem, .kernels = vlorpi_kernels_select(NULL), .exec = &threads};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
