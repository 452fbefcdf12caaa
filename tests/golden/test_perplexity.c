/* Perplexity of stories260K against the golden losses, and over windows. */
#include "support.h"

#include "base/threads.h"
#include "eval/perplexity.h"
#include "format/json.h"

static vlorpi_mem mem;
static vlorp_exec threads;
static vlorpi_machine machine;

static vlorp_status measure(vlorpi_perplexity *result, const char *text, size_t n_bytes, int64_t max_length,
                            vlorp_err *err)
{
    vlorpi_loaded_model loaded;
    VLORP_TRY(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, err));
    vlorp_status status = vlorpi_perplexity_measure(result, &loaded, text, n_bytes, max_length, NULL, err);
    vlorpi_loaded_model_close(&loaded);
    return status;
}

/* The first window of the golden text is the golden case: 256 tokens with BOS. */
static void test_golden_loss(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_perplexity result;
    json_t *golden = NULL;
    ASSERT_OK(vlorpi_json_load(&golden, shared_data("models/stories260K-hf/golden.json"), &err));
    const char *text = json_string_value(json_object_get(golden, "text"));
    /* the text goes on after the golden ids: find the prefix that has exactly those tokens */
    vlorpi_tokenizer *tokenizer = NULL;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, shared_data("models/stories260K-hf"), &err));
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, strlen(text), options, &err));
    json_t *ids = json_object_get(golden, "ids");
    assert_true(tokens.n >= 256);
    for (size_t i = 0; i < 256; i++) {
        assert_int_equal(tokens.items[i].id, json_integer_value(json_array_get(ids, i)));
    }
    size_t n_bytes = (size_t)tokens.items[255].end;
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);

    ASSERT_OK(measure(&result, text, n_bytes, 512, &err));
    assert_int_equal(result.n_tokens, 255);
    assert_int_equal(result.n_windows, 1);
    ASSERT_BELOW(fabs(result.loss - json_real_value(json_object_get(golden, "loss"))), 1e-5);
    ASSERT_BELOW(fabs(result.perplexity - exp(result.loss)), 1e-9);

    /* in windows of 64, the first token of each is not predicted; the first window is unchanged */
    ASSERT_OK(measure(&result, text, n_bytes, 64, &err));
    assert_int_equal(result.n_windows, 4);
    assert_int_equal(result.n_tokens, 4 * 63);
    json_decref(golden);
}

/* Windows run together or alone: the same loss, whatever their number. */
static void test_windows(void **state)
{
    (void)state;
    vlorp_err err = {0};
    FILE *file = fopen(shared_data("text/tinystories_sample.txt"), "rb");
    assert_non_null(file);
    char text[4096];
    size_t n_bytes = fread(text, 1, sizeof text, file);
    (void)fclose(file);

    vlorpi_perplexity all;
    enum { LENGTH = 50 };
    ASSERT_OK(measure(&all, text, n_bytes, LENGTH, &err));
    assert_int_equal(all.n_windows, (all.n_text_tokens + LENGTH - 1) / LENGTH);
    int64_t last = all.n_text_tokens % LENGTH;
    assert_int_equal(all.n_tokens, all.n_text_tokens / LENGTH * (LENGTH - 1) + (last > 0 ? last - 1 : 0));
    assert_true(all.loss > 0.5 && all.loss < 4);

    /* each window by itself through the model */
    vlorpi_loaded_model loaded;
    ASSERT_OK(vlorpi_loaded_model_open(&loaded, &machine, shared_data("models/stories260K-hf"), -1, &err));
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    ASSERT_OK(vlorpi_tokenizer_encode(loaded.tokenizer, &tokens, text, n_bytes, options, &err));
    vlorpi_model_usage usage = {.max_tokens = LENGTH, .max_segments = 1, .max_positions = LENGTH};
    ASSERT_OK(vlorpi_loaded_model_layout(&loaded, &usage, &err));
    double sum = 0;
    for (int64_t begin = 0; begin + 1 < tokens.n; begin += LENGTH) {
        int32_t ids[LENGTH], positions[LENGTH], targets[LENGTH];
        int32_t segments[2] = {0, 0};
        int32_t n = 0;
        for (; n < LENGTH && begin + n < tokens.n; n++) {
            ids[n] = tokens.items[begin + n].id;
            positions[n] = n;
            targets[n] = n + 1 < LENGTH && begin + n + 1 < tokens.n ? tokens.items[begin + n + 1].id : -1;
        }
        segments[1] = n;
        vlorpi_token_batch batch = {.max_tokens = LENGTH, .max_segments = 1, .n_tokens = n, .n_segments = 1,
                                    .n_targets = n - 1, .ids = ids, .positions = positions, .targets = targets,
                                    .segment_begin = segments};
        double loss;
        ASSERT_OK(vlorpi_model_loss(loaded.model, &batch, NULL, &loss, &err));
        sum += loss;
    }
    ASSERT_BELOW(fabs(sum / (double)all.n_tokens - all.loss), 1e-5);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_loaded_model_close(&loaded);
}

static void test_mistakes(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_perplexity result;
    assert_int_equal(measure(&result, "", 0, 64, &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "predicting takes two"));
    assert_int_equal(measure(&result, "Once upon", 9, 1, &err), VLORP_E_ARG);
    assert_int_equal(measure(&result, "Once upon", 9, 513, &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "2 .. 512"));
}

static int check_account(void **state)
{
    (void)state;
    return vlorpi_mem_now(&mem).total_bytes == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden_loss, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_windows, NULL, check_account),
        cmocka_unit_test_setup_teardown(test_mistakes, NULL, check_account),
    };
    vlorpi_mem_init(&mem);
    threads = vlorpi_threads_exec(2);
    machine = (vlorpi_machine){.mem = &mem, .kernels = vlorpi_kernels_select(NULL), .exec = &threads};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
