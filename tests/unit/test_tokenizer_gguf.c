/* A tokenizer as GGUF metadata: it reads back as the same tokenizer, and where llama.cpp's own vocabulary
 * file is at hand the keys are the same. */
#include "support.h"

#include "base/mapped_file.h"
#include "format/json.h"
#include "text/tokenizer.h"

static vlorpi_mem mem;

/* A file in memory. */
typedef struct image {
    unsigned char *bytes;
    size_t n, capacity;
} image;

static vlorp_status append(void *ctx, const void *bytes, size_t n_bytes, vlorp_err *err)
{
    image *file = ctx;
    (void)err;
    if (n_bytes > file->capacity - file->n) {
        file->capacity = 2 * (file->capacity + n_bytes);
        file->bytes = realloc(file->bytes, file->capacity);
        assert_non_null(file->bytes);
    }
    memcpy(file->bytes + file->n, bytes, n_bytes);
    file->n += n_bytes;
    return VLORP_OK;
}

/* The tokenizer's keys as a GGUF file without tensors, counted first. */
static vlorp_status make_image(image *file, const vlorpi_tokenizer *tokenizer, int64_t n_vocab, vlorp_err *err)
{
    vlorpi_gguf_writer counter = {.err = err};
    vlorpi_gguf_put_head(&counter, 0, 0);
    VLORP_TRY(vlorpi_tokenizer_put_gguf(&counter, tokenizer, n_vocab, err));
    vlorpi_gguf_writer w = {.sink = append, .ctx = file, .err = err};
    vlorpi_gguf_put_head(&w, 0, counter.n_keys);
    VLORP_TRY(vlorpi_tokenizer_put_gguf(&w, tokenizer, n_vocab, err));
    assert_int_equal(w.n_bytes, counter.n_bytes);
    assert_int_equal(w.n_bytes, file->n);
    return VLORP_OK;
}

static void expect_same_ids(const vlorpi_tokenizer *a, const vlorpi_tokenizer *b, const char *text, size_t n_bytes)
{
    vlorp_err err = {0};
    for (int special = 0; special < 2; special++) {
        vlorpi_tokens x = {.mem = &mem};
        vlorpi_tokens y = {.mem = &mem};
        vlorpi_encode_options options = {.add_special = special == 1, .parse_special = special == 1};
        ASSERT_OK(vlorpi_tokenizer_encode(a, &x, text, n_bytes, options, &err));
        ASSERT_OK(vlorpi_tokenizer_encode(b, &y, text, n_bytes, options, &err));
        assert_int_equal(x.n, y.n);
        for (int64_t i = 0; i < x.n; i++) {
            assert_int_equal(x.items[i].id, y.items[i].id);
        }
        vlorpi_tokens_deinit(&x);
        vlorpi_tokens_deinit(&y);
    }
}

static void test_reads_back(void **state)
{
    (void)state;
    static const struct {
        const char *path, *model, *pre;
    } cases[] = {{"tokenizers/gpt2", "gpt2", "gpt-2"},
                 {"tokenizers/llama3/tokenizer.json", "gpt2", "llama-bpe"},
                 {"tokenizers/qwen3/tokenizer.json", "gpt2", "qwen2"},
                 {"tokenizers/llama2", "llama", "default"},
                 {"tokenizers/llama2/tokenizer.model", "llama", "default"},
                 {"models/stories260K-hf", "llama", "default"}};
    vlorp_err err = {0};
    vlorpi_mapped_file texts;
    ASSERT_OK(vlorpi_mapped_file_open(&texts, shared_data("tokenizers/vectors/llama.cpp/ggml-vocab-gpt-2.gguf.inp"),
                                      &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlorpi_tokenizer *first;
        vlorpi_tokenizer *second;
        vlorpi_gguf *gguf;
        vlorpi_bytes text;
        image file = {0};
        ASSERT_OK(vlorpi_tokenizer_open(&first, &mem, shared_data(cases[i].path), &err));
        int64_t n = vlorpi_tokenizer_vocab_size(first) + 5;
        ASSERT_OK(make_image(&file, first, n, &err));
        ASSERT_OK(vlorpi_gguf_parse(&gguf, &mem, file.bytes, file.n, "image", &err));
        assert_true(vlorpi_gguf_get_string(gguf, "tokenizer.ggml.model", &text));
        assert_memory_equal(text.text, cases[i].model, strlen(cases[i].model));
        assert_true(vlorpi_gguf_get_string(gguf, "tokenizer.ggml.pre", &text));
        assert_memory_equal(text.text, cases[i].pre, strlen(cases[i].pre));
        assert_int_equal(vlorpi_gguf_array_length(gguf, "tokenizer.ggml.tokens"), n);
        ASSERT_OK(vlorpi_tokenizer_from_gguf(&second, &mem, gguf, "image", &err));
        assert_int_equal(vlorpi_tokenizer_bos(first), vlorpi_tokenizer_bos(second));
        assert_int_equal(vlorpi_tokenizer_eos(first), vlorpi_tokenizer_eos(second));
        expect_same_ids(first, second, (const char *)texts.bytes, texts.n_bytes);
        expect_same_ids(first, second, "<s>x</s> <|im_start|>user\n<|eot_id|>", 37);
        vlorpi_tokenizer_free(second);
        vlorpi_gguf_close(gguf);
        vlorpi_tokenizer_free(first);
        free(file.bytes);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    vlorpi_mapped_file_close(&texts);
}

/* Tokens and types, one by one; what a key holds besides, merges or the order of scores, too. */
static void test_same_keys_as_llama_cpp(void **state)
{
    (void)state;
    static const char *const files[] = {"tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf",
                                        "tokenizers/gguf-vocab/ggml-vocab-llama-spm.gguf"};
    vlorp_err err = {0};
    for (int f = 0; f < 2; f++) {
        vlorpi_mapped_file mapped;
        vlorpi_gguf *theirs;
        vlorpi_gguf *ours;
        vlorpi_tokenizer *tokenizer;
        image file = {0};
        ASSERT_OK(vlorpi_mapped_file_open(&mapped, shared_data(files[f]), &err));
        ASSERT_OK(vlorpi_gguf_parse(&theirs, &mem, mapped.bytes, mapped.n_bytes, files[f], &err));
        ASSERT_OK(vlorpi_tokenizer_from_gguf(&tokenizer, &mem, theirs, files[f], &err));
        int64_t n = vlorpi_tokenizer_vocab_size(tokenizer);
        ASSERT_OK(make_image(&file, tokenizer, n, &err));
        ASSERT_OK(vlorpi_gguf_parse(&ours, &mem, file.bytes, file.n, "image", &err));
        static const char *const texts[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"};
        for (int k = 0; k < (f == 0 ? 2 : 1); k++) {
            int64_t length = vlorpi_gguf_array_length(theirs, texts[k]);
            assert_int_equal(vlorpi_gguf_array_length(ours, texts[k]), length);
            for (int64_t i = 0; i < length; i++) {
                vlorpi_bytes x = {0};
                vlorpi_bytes y = {0};
                assert_true(vlorpi_gguf_array_string(theirs, texts[k], i, &x));
                assert_true(vlorpi_gguf_array_string(ours, texts[k], i, &y));
                assert_int_equal(x.n_bytes, y.n_bytes);
                assert_memory_equal(x.text, y.text, x.n_bytes);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t x = -1;
            int64_t y = -2;
            assert_true(vlorpi_gguf_array_int(theirs, "tokenizer.ggml.token_type", i, &x));
            assert_true(vlorpi_gguf_array_int(ours, "tokenizer.ggml.token_type", i, &y));
            assert_int_equal(x, y);
        }
        vlorpi_gguf_close(ours);
        vlorpi_tokenizer_free(tokenizer);
        vlorpi_gguf_close(theirs);
        vlorpi_mapped_file_close(&mapped);
        free(file.bytes);
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void refuse(const char *json, int64_t n, vlorp_status status, const char *text)
{
    vlorp_err err = {0};
    image file = {0};
    vlorpi_tokenizer *tokenizer;
    ASSERT_OK(vlorpi_tokenizer_from_json(&tokenizer, &mem, json, strlen(json), "test", &err));
    assert_int_equal(make_image(&file, tokenizer, n, &err), status);
    if (strstr(err.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, text);
    }
    vlorpi_tokenizer_free(tokenizer);
    free(file.bytes);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

#define VOCAB "{\"<unk>\": 0, \"a\": 1, \"b\": 2, \"c\": 3, \"ab\": 4, \"abc\": 5, \"bc\": 6}"
#define PIECES(merges)                                                                                              \
    "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"},"    \
    "\"model\": {\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": " merges "}}"
#define BYTES(split) \
    "{\"pre_tokenizer\": " split ", \"model\": {\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": []}}"

static void test_refusals(void **state)
{
    (void)state;
    refuse(PIECES("[\"a b\", \"b c\"]"), 7, VLORP_E_UNSUPPORTED, "does not merge tokens");
    refuse(PIECES("[\"a b\", \"b c\", \"ab c\", \"a bc\"]"), 6, VLORP_E_SHAPE, "ids up to 6, the model has 6");
    refuse(BYTES("null"), 7, VLORP_E_UNSUPPORTED, "neither byte-level BPE nor SentencePiece");
    refuse(BYTES("{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"use_regex\": true}"), 7, VLORP_E_UNSUPPORTED,
           "way of splitting");
    refuse(BYTES("{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"), 7,
           VLORP_E_UNSUPPORTED, "way of splitting");
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_back),
        cmocka_unit_test(test_same_keys_as_llama_cpp),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
