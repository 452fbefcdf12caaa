/* test_tokenizer.c - known ids: llama.cpp's vectors for five tokenizers, stories260K's golden text. */
#include "support.h"

#include "base/mapped_file.h"
#include "format/json.h"
#include "text/tokenizer.h"

static vlorpi_mem mem;

static vlorpi_tokenizer *open_shared(const char *relative)
{
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, shared_data(relative), &err));
    return tokenizer;
}

/* Encodes text without special tokens and compares with a line of ids. */
static bool same_ids(const vlorpi_tokenizer *tokenizer, const char *text, size_t n_bytes, const char *line,
                     size_t n_line)
{
    vlorp_err err = {0};
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = false, .parse_special = false};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, n_bytes, options, &err));
    bool same = true;
    const char *at = line;
    for (int64_t i = 0; i < tokens.n; i++) {
        char *next;
        long id = strtol(at, &next, 10);
        same = same && next > at && next <= line + n_line && id == tokens.items[i].id;
        at = next;
    }
    while (at < line + n_line) {
        same = same && *at++ == ' ';
    }
    if (!same) {
        print_message("text: '%.*s'\nwant: %.*s\ngot: ", (int)n_bytes, text, (int)n_line, line);
        for (int64_t i = 0; i < tokens.n; i++) {
            print_message(" %d", (int)tokens.items[i].id);
        }
        print_message("\n");
    }
    vlorpi_tokens_deinit(&tokens);
    return same;
}

/* Texts are divided by a line "__ggml_vocab_test__"; ids by lines. */
static void check_vectors(const char *tokenizer_path, const char *name)
{
    static const char divider[] = "\n__ggml_vocab_test__\n";
    char path[200];
    vlorp_err err = {0};
    vlorpi_mapped_file in;
    vlorpi_mapped_file out;
    (void)snprintf(path, sizeof path, "tokenizers/vectors/llama.cpp/ggml-vocab-%s.gguf.inp", name);
    ASSERT_OK(vlorpi_mapped_file_open(&in, shared_data(path), &err));
    (void)snprintf(path, sizeof path, "tokenizers/vectors/llama.cpp/ggml-vocab-%s.gguf.out", name);
    ASSERT_OK(vlorpi_mapped_file_open(&out, shared_data(path), &err));
    vlorpi_tokenizer *tokenizer = open_shared(tokenizer_path);
    const char *text = (const char *)in.bytes;
    const char *text_end = text + in.n_bytes;
    const char *line = (const char *)out.bytes;
    const char *line_end = line + out.n_bytes;
    int n = 0;
    int n_same = 0;
    while (text < text_end && line < line_end) {
        const char *end = text;
        while (end < text_end && strncmp(end, divider, sizeof divider - 1) != 0) {
            end++;
        }
        const char *newline = memchr(line, '\n', (size_t)(line_end - line));
        newline = newline != NULL ? newline : line_end;
        n_same += same_ids(tokenizer, text, (size_t)(end - text), line, (size_t)(newline - line));
        n++;
        text = end + sizeof divider - 1;
        line = newline + 1;
    }
    assert_int_equal(n, 46);
    assert_int_equal(n_same, n);
    vlorpi_tokenizer_free(tokenizer);
    vlorpi_mapped_file_close(&in);
    vlorpi_mapped_file_close(&out);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void vectors_gpt2_gguf(void **state)
{
    (void)state;
    check_vectors("tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf", "gpt-2");
}

static void vectors_gpt2_folder(void **state)
{
    (void)state;
    check_vectors("tokenizers/gpt2", "gpt-2");
}

static void vectors_llama_spm_gguf(void **state)
{
    (void)state;
    check_vectors("tokenizers/gguf-vocab/ggml-vocab-llama-spm.gguf", "llama-spm");
}

static void vectors_llama_spm_json(void **state)
{
    (void)state;
    check_vectors("tokenizers/llama2", "llama-spm");
}

static void vectors_llama_spm_model(void **state)
{
    (void)state;
    check_vectors("tokenizers/llama2/tokenizer.model", "llama-spm");
}

static void vectors_llama_bpe(void **state)
{
    (void)state;
    check_vectors("tokenizers/llama3", "llama-bpe");
}

static void vectors_qwen2(void **state)
{
    (void)state;
    check_vectors("tokenizers/qwen3", "qwen2");
}

static void vectors_roberta(void **state)
{
    (void)state;
    check_vectors("tokenizers/opt", "roberta-bpe");
}

/* The ids of golden.json are the first of its text, with BOS. */
static void check_golden(const char *path)
{
    vlorp_err err = {0};
    json_t *golden;
    ASSERT_OK(vlorpi_json_load(&golden, shared_data("models/stories260K-hf/golden.json"), &err));
    const json_t *text = json_object_get(golden, "text");
    const json_t *ids = json_object_get(golden, "ids");
    vlorpi_tokenizer *tokenizer = open_shared(path);
    vlorpi_tokens tokens = {.mem = &mem};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, json_string_value(text), json_string_length(text),
                                      (vlorpi_encode_options){.add_special = true}, &err));
    assert_true(json_array_size(ids) == 256 && tokens.n >= 256);
    for (size_t i = 0; i < 256; i++) {
        assert_int_equal(tokens.items[i].id, json_integer_value(json_array_get(ids, i)));
    }
    assert_int_equal(vlorpi_tokenizer_bos(tokenizer), 1);
    assert_int_equal(vlorpi_tokenizer_eos(tokenizer), 2);
    assert_true(vlorpi_tokenizer_is_end(tokenizer, 2) && !vlorpi_tokenizer_is_end(tokenizer, 1));
    assert_int_equal(vlorpi_tokenizer_vocab_size(tokenizer), 512);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
    json_decref(golden);
}

static void golden_stories(void **state)
{
    (void)state;
    check_golden("models/stories260K-hf");
    check_golden("models/stories260K-gguf/stories260K.gguf");
}

static void encode_file(const vlorpi_tokenizer *tokenizer, vlorpi_tokens *tokens, const vlorpi_mapped_file *file)
{
    vlorp_err err = {0};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, tokens, (const char *)file->bytes, file->n_bytes,
                                      (vlorpi_encode_options){0}, &err));
}

/* Decoding gives the text back; offsets cover it without holes, whole characters each. */
static void check_round_trip(const char *tokenizer_path, const char *text_path)
{
    vlorp_err err = {0};
    vlorpi_mapped_file file;
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_tokenizer *tokenizer = open_shared(tokenizer_path);
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data(text_path), &err));
    encode_file(tokenizer, &tokens, &file);
    int32_t *ids = vlorpi_mem_alloc(&mem, VLORPI_MEM_DATA, (size_t)tokens.n * sizeof *ids);
    assert_non_null(ids);
    int64_t covered = 0;
    for (int64_t i = 0; i < tokens.n; i++) {
        ids[i] = tokens.items[i].id;
        assert_true(tokens.items[i].begin <= covered && tokens.items[i].end >= covered);
        assert_true(tokens.items[i].begin < tokens.items[i].end);
        int64_t end = tokens.items[i].end;
        assert_int_not_equal(file.bytes[tokens.items[i].begin] & 0xC0, 0x80);
        assert_true(end == (int64_t)file.n_bytes || (file.bytes[end] & 0xC0) != 0x80);
        covered = tokens.items[i].end;
    }
    assert_int_equal(covered, file.n_bytes);
    char *text;
    size_t n_text;
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_text, ids, tokens.n, false, &err));
    assert_int_equal(n_text, file.n_bytes);
    assert_memory_equal(text, file.bytes, n_text);
    vlorpi_mem_free(&mem, text);
    vlorpi_mem_free(&mem, ids);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
    vlorpi_mapped_file_close(&file);
}

static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {"text/tinyshakespeare.txt", "text/wikitext-2/test.txt", "text/c4_demo.jsonl"};
    static const char *const tokenizers[] = {"tokenizers/gpt2", "tokenizers/llama2", "tokenizers/qwen3",
                                             "models/stories260K-gguf/stories260K.gguf"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t k = 0; k < sizeof tokenizers / sizeof tokenizers[0]; k++) {
            check_round_trip(tokenizers[k], texts[i]);
        }
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* What a GGUF's tokenizer is written as encodes as it does. */
static void check_written(const char *path, const char *text_path)
{
    char folder[] = "/tmp/vlorp-test-XXXXXX";
    char file_path[64];
    vlorp_err err = {0};
    vlorpi_mapped_file file;
    vlorpi_tokens a = {.mem = &mem};
    vlorpi_tokens b = {.mem = &mem};
    vlorpi_tokenizer *written;
    vlorpi_tokenizer *tokenizer = open_shared(path);
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data(text_path), &err));
    assert_non_null(mkdtemp(folder));
    ASSERT_OK(vlorpi_tokenizer_write_json(tokenizer, folder, &err));
    ASSERT_OK(vlorpi_tokenizer_open(&written, &mem, folder, &err));
    encode_file(tokenizer, &a, &file);
    encode_file(written, &b, &file);
    assert_int_equal(a.n, b.n);
    for (int64_t i = 0; i < a.n; i++) {
        assert_int_equal(a.items[i].id, b.items[i].id);
        assert_int_equal(a.items[i].end, b.items[i].end);
    }
    assert_int_equal(vlorpi_tokenizer_bos(tokenizer), vlorpi_tokenizer_bos(written));
    assert_int_equal(vlorpi_tokenizer_eos(tokenizer), vlorpi_tokenizer_eos(written));
    assert_int_equal(vlorpi_tokenizer_write_json(written, folder, &err), VLORP_E_STATE);
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(file_path, sizeof file_path, "%s/%s", folder, names[i]);
        assert_int_equal(remove(file_path), 0);
    }
    assert_int_equal(remove(folder), 0);
    assert_int_equal(vlorpi_tokenizer_write_json(tokenizer, folder, &err), VLORP_E_IO);
    vlorpi_tokens_deinit(&a);
    vlorpi_tokens_deinit(&b);
    vlorpi_tokenizer_free(tokenizer);
    vlorpi_tokenizer_free(written);
    vlorpi_mapped_file_close(&file);
}

static void written_from_gguf(void **state)
{
    (void)state;
    check_written("tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf", "text/c4_demo.jsonl");
    check_written("tokenizers/gguf-vocab/ggml-vocab-llama-spm.gguf", "text/c4_demo.jsonl");
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* Special tokens in the text count when asked for; other added tokens always. */
static void tokens_in_text(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer = open_shared("tokenizers/qwen3");
    const char *text = "<|im_start|>hi<think>";
    vlorpi_tokens tokens = {.mem = &mem};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, strlen(text),
                                      (vlorpi_encode_options){.parse_special = true}, &err));
    assert_int_equal(tokens.n, 3);
    assert_int_equal(tokens.items[0].id, 151644);
    assert_int_equal(tokens.items[1].begin, 12);
    assert_int_equal(tokens.items[2].id, 151667);
    tokens.n = 0;
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, strlen(text), (vlorpi_encode_options){0}, &err));
    assert_int_not_equal(tokens.items[0].id, 151644);
    assert_int_equal(tokens.items[tokens.n - 1].id, 151667);
    const int32_t ids[] = {151644, 6023};
    char *decoded;
    size_t n_decoded;
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &decoded, &n_decoded, ids, 2, true, &err));
    assert_string_equal(decoded, "hi");
    vlorpi_mem_free(&mem, decoded);
    assert_true(vlorpi_tokenizer_is_end(tokenizer, 151645) && vlorpi_tokenizer_is_end(tokenizer, 151643));
    assert_int_equal(vlorpi_tokenizer_id(tokenizer, "<|im_end|>"), vlorpi_tokenizer_eos(tokenizer));
    assert_int_equal(vlorpi_tokenizer_id(tokenizer, "no such token"), -1);
    assert_non_null(strstr(vlorpi_tokenizer_chat_template(tokenizer), "<|im_start|>"));
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_gpt2_gguf),       cmocka_unit_test(vectors_gpt2_folder),
        cmocka_unit_test(vectors_llama_spm_gguf),  cmocka_unit_test(vectors_llama_spm_json),
        cmocka_unit_test(vectors_llama_spm_model), cmocka_unit_test(vectors_llama_bpe),
        cmocka_unit_test(vectors_qwen2),           cmocka_unit_test(vectors_roberta),
        cmocka_unit_test(golden_stories),          cmocka_unit_test(round_trips),
        cmocka_unit_test(written_from_gguf),       cmocka_unit_test(tokens_in_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
