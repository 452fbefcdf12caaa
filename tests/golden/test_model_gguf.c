/* What GGUF metadata says of the families: rotary scaling, windows, biases, and what is refused. */
#include "support.h"

#include <unistd.h>

#include "model/config.h"
#include "unit/byte_builder.h"

enum { GGUF_U32 = 4, GGUF_F32 = 6, GGUF_STRING = 8 };
enum { HEADS = 4, WIDTH = 32, HEAD_WIDTH = 16, VOCABULARY = 3 };

/* What a file has besides sizes. */
typedef struct gguf_case {
    const char *arch;
    const char *scaling;    /* .rope.scaling.type */
    float factor;           /* .rope.scaling.factor; 0: absent */
    uint32_t window;        /* .attention.sliding_window; 0: absent */
    bool pattern;           /* .attention.sliding_window_pattern beside it */
    const float *divisors;  /* rope_freqs.weight [n_divisors] */
    int n_divisors;
    const char *vector;     /* one more tensor, [WIDTH] */
} gguf_case;

static char path[] = "/tmp/vlorp-gguf-XXXXXX";

static void key(builder *b, const gguf_case *c, const char *suffix, uint32_t type, const void *value)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.%s", c->arch, suffix);
    build_string(b, name);
    build_u32(b, type);
    if (type == GGUF_STRING) {
        build_string(b, value);
    } else {
        build_bytes(b, value, 4);
    }
}

static void key_u32(builder *b, const gguf_case *c, const char *suffix, uint32_t value)
{
    key(b, c, suffix, GGUF_U32, &value);
}

static void tensor(builder *b, const char *name, int n_dims, const uint64_t *shape, uint64_t *offset)
{
    uint64_t n_bytes = 4;
    build_string(b, name);
    build_u32(b, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) {
        build_u64(b, shape[i]);
        n_bytes *= shape[i];
    }
    build_u32(b, 0); /* F32 */
    build_u64(b, *offset);
    *offset += (n_bytes + 31) / 32 * 32;
}

static void build_keys(builder *b, const gguf_case *c)
{
    build_string(b, "general.architecture");
    build_u32(b, GGUF_STRING);
    build_string(b, c->arch);
    key_u32(b, c, "embedding_length", WIDTH);
    key_u32(b, c, "block_count", 2);
    key_u32(b, c, "feed_forward_length", 40);
    key_u32(b, c, "context_length", 256);
    key_u32(b, c, "attention.head_count", HEADS);
    key_u32(b, c, "attention.key_length", HEAD_WIDTH);
    key_u32(b, c, "attention.value_length", HEAD_WIDTH);
    key_u32(b, c, "rope.dimension_count", HEAD_WIDTH);
    key(b, c, "attention.layer_norm_rms_epsilon", GGUF_F32, &(float){1e-5f});
    key(b, c, "rope.freq_base", GGUF_F32, &(float){500});
    if (c->scaling != NULL) {
        key(b, c, "rope.scaling.type", GGUF_STRING, c->scaling);
    }
    if (c->factor != 0) {
        key(b, c, "rope.scaling.factor", GGUF_F32, &c->factor);
    }
    if (c->window != 0) {
        key_u32(b, c, "attention.sliding_window", c->window);
    }
    if (c->pattern) {
        key_u32(b, c, "attention.sliding_window_pattern", 6);
    }
}

static void build_file(builder *b, const gguf_case *c)
{
    uint64_t offset = 0;
    int n_keys = 11 + (c->scaling != NULL) + (c->factor != 0) + (c->window != 0) + c->pattern;
    build_bytes(b, "GGUF", 4);
    build_u32(b, 3);
    build_u64(b, 1 + (c->divisors != NULL ? 1u : 0u) + (c->vector != NULL ? 1u : 0u));
    build_u64(b, (uint64_t)n_keys);
    build_keys(b, c);
    tensor(b, "token_embd.weight", 2, (const uint64_t[]){WIDTH, VOCABULARY}, &offset);
    if (c->divisors != NULL) {
        tensor(b, "rope_freqs.weight", 1, &(uint64_t){(uint64_t)c->n_divisors}, &offset);
    }
    if (c->vector != NULL) {
        tensor(b, c->vector, 1, &(uint64_t){WIDTH}, &offset);
    }
    build_zeros(b, (32 - b->n % 32) % 32);
    build_zeros(b, (size_t)WIDTH * VOCABULARY * 4);
    if (c->divisors != NULL) {
        size_t n_bytes = (size_t)c->n_divisors * 4;
        build_bytes(b, c->divisors, n_bytes);
        build_zeros(b, (32 - n_bytes % 32) % 32);
    }
    if (c->vector != NULL) {
        build_zeros(b, (size_t)WIDTH * 4);
    }
}

static vlorp_status load(vlorpi_model_config *config, const gguf_case *c, vlorp_err *err)
{
    builder b = {0};
    build_file(&b, c);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(b.bytes, 1, b.n, file), b.n);
    assert_int_equal(fclose(file), 0);
    build_free(&b);
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_source *source = NULL;
    vlorp_status status = vlorpi_source_open(&source, &mem, path, 1, err);
    if (status == VLORP_OK) {
        status = vlorpi_model_config_load(config, source, err);
    }
    vlorpi_source_close(source);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    return status;
}

static void test_rope(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, &(gguf_case){.arch = "llama"}, &err));
    assert_true(c.rope.theta == 500 && c.rope.kind == VLORPI_ROPE_PLAIN && c.rope.factor == 1);
    ASSERT_OK(load(&c, &(gguf_case){.arch = "qwen2", .scaling = "none"}, &err));
    assert_string_equal(c.arch->model_type, "qwen2");
    assert_true(c.rope.kind == VLORPI_ROPE_PLAIN && c.qkv_bias && !c.out_bias && c.tied && c.window == 0);
    ASSERT_OK(load(&c, &(gguf_case){.arch = "qwen2", .scaling = "linear", .factor = 4}, &err));
    assert_true(c.rope.kind == VLORPI_ROPE_LINEAR && c.rope.factor == 4);
    assert_true(vlorpi_rope_frequency(&c.rope, HEAD_WIDTH, 0) == 0.25);
}

/* Divisors of several scalings are recognised, exactly where the numbers were round. */
static void test_divisors(void **state)
{
    (void)state;
    static const vlorpi_rope_config scalings[] = {
        {500, VLORPI_ROPE_LLAMA3, 8, 1, 4, 32},
        {500, VLORPI_ROPE_LLAMA3, 32, 1, 4, 64},
        {500, VLORPI_ROPE_LLAMA3, 2.5, 1, 16, 120},
    };
    for (size_t i = 0; i < sizeof scalings / sizeof scalings[0]; i++) {
        float divisors[HEAD_WIDTH / 2];
        for (int j = 0; j < HEAD_WIDTH / 2; j++) {
            divisors[j] = (float)vlorpi_rope_divisor(&scalings[i], HEAD_WIDTH, j);
        }
        assert_true(divisors[0] == 1 && divisors[HEAD_WIDTH / 2 - 1] == (float)scalings[i].factor);
        vlorp_err err = {0};
        vlorpi_model_config c;
        gguf_case file = {.arch = "llama", .divisors = divisors, .n_divisors = HEAD_WIDTH / 2};
        ASSERT_OK(load(&c, &file, &err));
        assert_true(c.rope.kind == VLORPI_ROPE_LLAMA3 && c.rope.factor == scalings[i].factor);
        assert_true(c.rope.low == 1 && c.rope.high == scalings[i].high && c.rope.original == scalings[i].original);

        divisors[3] *= 1.01f;
        assert_int_equal(load(&c, &file, &err), VLORP_E_UNSUPPORTED);
        assert_non_null(strstr(err.text, "rope_freqs.weight"));
    }
    /* LLaMA 3.1: heads of 128, as published */
    vlorpi_rope_config published = {500000, VLORPI_ROPE_LLAMA3, 8, 1, 4, 8192};
    vlorpi_rope_config found = vlorpi_rope_plain(500000);
    float divisors[64];
    for (int j = 0; j < 64; j++) {
        divisors[j] = (float)vlorpi_rope_divisor(&published, 128, j);
    }
    assert_true(vlorpi_rope_from_divisors(&found, 128, divisors));
    assert_true(found.kind == VLORPI_ROPE_LLAMA3 && found.original == 8192 && found.high == 4 && found.factor == 8);
    /* all ones: no scaling */
    for (int j = 0; j < 64; j++) {
        divisors[j] = 1;
    }
    assert_true(vlorpi_rope_from_divisors(&found, 128, divisors) && found.kind == VLORPI_ROPE_PLAIN);
}

/* A window in a file of LLaMA's name makes it Mistral's. */
static void test_window(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, &(gguf_case){.arch = "llama", .window = 7}, &err));
    assert_string_equal(c.arch->model_type, "mistral");
    assert_true(vlorpi_model_window(&c, 0) == 7 && vlorpi_model_window(&c, 1) == 7);
    ASSERT_OK(load(&c, &(gguf_case){.arch = "qwen3", .window = 7}, &err));
    assert_string_equal(c.arch->model_type, "qwen3");
    assert_int_equal(vlorpi_model_window(&c, 0), 7);
    ASSERT_OK(load(&c, &(gguf_case){.arch = "llama"}, &err));
    assert_string_equal(c.arch->model_type, "llama");
}

/* A window and a scaling add three keys; a window that GGUF cannot say is refused. */
static void test_keys_written(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, &(gguf_case){.arch = "llama", .window = 7, .scaling = "linear", .factor = 4}, &err));
    vlorpi_gguf_writer counter = {0};
    ASSERT_OK(vlorpi_model_config_put_gguf(&counter, &c, &err));
    c.window = 0;
    c.rope = vlorpi_rope_plain(500);
    vlorpi_gguf_writer plain = {0};
    ASSERT_OK(vlorpi_model_config_put_gguf(&plain, &c, &err));
    assert_int_equal(counter.n_keys, plain.n_keys + 3);
    c.window = 7;
    c.window_begin = 1;
    assert_int_equal(vlorpi_model_config_put_gguf(&plain, &c, &err), VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "layer 1"));
    c.window_begin = c.L; /* no layer has it */
    ASSERT_OK(vlorpi_model_config_put_gguf(&plain, &c, &err));
}

static void test_refusals(void **state)
{
    (void)state;
    static const float ones[HEAD_WIDTH / 2] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const float nan_divisor[HEAD_WIDTH / 2] = {1, 1, 1, NAN, 1, 1, 1, 8};
    static const struct {
        gguf_case file;
        vlorp_status status;
        const char *named;
    } cases[] = {
        {{.arch = "gemma"}, VLORP_E_UNSUPPORTED, "gemma"},
        {{.arch = "llama", .scaling = "yarn", .factor = 4}, VLORP_E_UNSUPPORTED, "yarn"},
        {{.arch = "llama", .scaling = "linear"}, VLORP_E_FORMAT, "rope.scaling.factor"},
        {{.arch = "llama", .scaling = "linear", .factor = 0.5f}, VLORP_E_FORMAT, "rope.scaling.factor"},
        {{.arch = "llama", .scaling = "linear", .factor = 2, .divisors = ones, .n_divisors = 8},
         VLORP_E_UNSUPPORTED,
         "rope_freqs.weight"},
        {{.arch = "llama", .divisors = ones, .n_divisors = 7}, VLORP_E_SHAPE, "rope_freqs.weight"},
        {{.arch = "llama", .divisors = nan_divisor, .n_divisors = 8}, VLORP_E_UNSUPPORTED, "rope_freqs.weight"},
        {{.arch = "qwen3", .window = 7, .pattern = true}, VLORP_E_UNSUPPORTED, "sliding_window_pattern"},
        {{.arch = "llama", .vector = "blk.0.attn_q.bias"}, VLORP_E_UNSUPPORTED, "biases"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlorp_err err = {0};
        vlorpi_model_config config;
        vlorp_status status = load(&config, &cases[i].file, &err);
        if (status != cases[i].status || strstr(err.text, cases[i].named) == NULL || strstr(err.text, path) == NULL) {
            fail_msg("case %zu (%s): status %d: %s", i, cases[i].named, (int)status, err.text);
        }
    }
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_divisors),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_keys_written),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
