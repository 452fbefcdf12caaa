/* Token ids to text one at a time: every write whole characters, all writes together the text. */
#include "support.h"

#include "eval/text_stream.h"
#include "text/token_text.h"

typedef struct collected {
    char text[4096];
    size_t n_bytes;
    int64_t n_writes;
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

static const char *const texts[] = {
    "plain words, and  two blanks",
    "na\u00efve caf\u00e9",
    "\u4f60\u597d\u4e16\u754c\uff0c\u6211\u4eec\u5b66\u4e60\u9f98\u9f98", /* rare ones are single bytes */
    "\U0001F600\U0001F9D1\u200D\U0001F680 \U0001F1E9\U0001F1EA!\U0001F600\U0001F600",
    "\u0e01\u0e33\u0e25\u0e31\u0e07 mixed \u0928\u092e\u0938\u094d\u0924\u0947 \ufb01n",
    "tabs\tand\nlines\r\n\n  end ",
    "a\U00010348b\U0001D11Ec",
};

/* Ids of prompt and rest, pushed one by one behind the prompt. */
static void check_text(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, const char *prompt, const char *rest)
{
    vlorp_err err = {0};
    vlorpi_encode_options options = {.add_special = false, .parse_special = false};
    vlorpi_tokens tokens = {.mem = mem};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, prompt, strlen(prompt), options, &err));
    int64_t n_prompt = tokens.n;
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, rest, strlen(rest), options, &err));
    int32_t ids[1024];
    assert_in_range(tokens.n, 1, 1024);
    for (int64_t i = 0; i < tokens.n; i++) {
        ids[i] = tokens.items[i].id;
    }
    /* what all of it decodes to, less what the prompt does */
    char *whole = NULL;
    char *before = NULL;
    size_t n_whole;
    size_t n_before;
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &whole, &n_whole, ids, tokens.n, true, &err));
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &before, &n_before, ids, n_prompt, true, &err));

    static collected c;
    memset(&c, 0, sizeof c);
    vlorpi_text_sink sink = {.write = collect, .ctx = &c};
    vlorpi_text_stream stream = vlorpi_text_stream_begin(tokenizer, mem, &sink, n_prompt);
    for (int64_t i = n_prompt; i < tokens.n; i++) {
        ASSERT_OK(vlorpi_text_stream_push(&stream, ids, i + 1, &err));
    }
    ASSERT_OK(vlorpi_text_stream_end(&stream, ids, tokens.n, &err));
    assert_string_equal(c.text, whole + n_before);
    assert_null(strstr(c.text, "\xEF\xBF\xBD"));
    assert_non_null(strstr(whole, rest));
    vlorpi_mem_free(mem, whole);
    vlorpi_mem_free(mem, before);
    vlorpi_tokens_deinit(&tokens);
}

/* A character whose last byte never comes becomes one U+FFFD at the end, and is held back until then. */
static void check_unfinished(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, int64_t n_held)
{
    vlorp_err err = {0};
    vlorpi_encode_options options = {.add_special = false, .parse_special = false};
    vlorpi_tokens tokens = {.mem = mem};
    const char *text = "x\U0001D11E"; /* a clef: four tokens of a byte, or two of more */
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, strlen(text), options, &err));
    assert_true(tokens.n > n_held);
    int32_t ids[16];
    static collected c;
    memset(&c, 0, sizeof c);
    vlorpi_text_sink sink = {.write = collect, .ctx = &c};
    vlorpi_text_stream stream = vlorpi_text_stream_begin(tokenizer, mem, &sink, 0);
    int64_t n = 0;
    while (n + 1 < tokens.n) {
        ids[n] = tokens.items[n].id;
        n++;
        ASSERT_OK(vlorpi_text_stream_push(&stream, ids, n, &err));
    }
    assert_null(strstr(c.text, "\xEF\xBF\xBD"));
    ASSERT_OK(vlorpi_text_stream_end(&stream, ids, n, &err));
    assert_non_null(strstr(c.text, "x\xEF\xBF\xBD"));
    vlorpi_tokens_deinit(&tokens);
}

static void check_tokenizer(const char *path)
{
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_tokenizer *tokenizer = NULL;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, path, &err));
    size_t n = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < n; i++) {
        check_text(tokenizer, &mem, texts[(i + 1) % n], texts[i]);
        check_text(tokenizer, &mem, texts[i], texts[i]);
    }
    check_unfinished(tokenizer, &mem, 1);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void test_byte_level(void **state)
{
    (void)state;
    check_tokenizer(shared_data("tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf"));
}

static void test_byte_fallback(void **state)
{
    (void)state;
    check_tokenizer(shared_data("tokenizers/llama2"));
}

static void test_small_vocabulary(void **state)
{
    (void)state;
    check_tokenizer(shared_data("models/stories260K-hf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_small_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
