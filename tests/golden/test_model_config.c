/* Configurations: both forms of one model agree, what is missing takes transformers' defaults, and what
 * is wrong or not supported is refused by name; weights that do not fit are refused by tensor. */
#include "golden/tiny_models.h"
#include "model_fixture.h"

#include <unistd.h>

static char folder[] = "/tmp/vlorp-config-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static const char *in_folder(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(in_folder("config.json"));
    (void)unlink(in_folder("model.safetensors"));
    return rmdir(folder);
}

#define SIZES                                                                                          \
    "\"hidden_size\": 64, \"num_hidden_layers\": 2, \"intermediate_size\": 96, \"vocab_size\": 100, " \
    "\"num_attention_heads\": 4"
#define LLAMA "{\"model_type\": \"llama\", " SIZES
#define QWEN2 "{\"model_type\": \"qwen2\", " SIZES
#define MISTRAL "{\"model_type\": \"mistral\", " SIZES
#define QWEN3 "{\"model_type\": \"qwen3\", " SIZES

static vlorp_status load(vlorpi_model_config *config, const char *text, vlorp_err *err)
{
    FILE *file = fopen(in_folder("config.json"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_source *source = NULL;
    vlorp_status status = vlorpi_source_open(&source, &mem, in_folder("config.json"), 0, err);
    if (status == VLORP_OK) {
        status = vlorpi_model_config_load(config, source, err);
    }
    vlorpi_source_close(source);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    return status;
}

static void test_defaults(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, LLAMA "}", &err));
    assert_string_equal(c.arch->model_type, "llama");
    assert_true(c.G == 4 && c.E == 16 && c.max_positions == 2048 && c.rope.theta == 10000);
    assert_true(!c.tied && !c.qkv_bias && !c.out_bias && !c.mlp_bias && c.dtype == VLORP_F32);
    assert_true(c.norm_eps == 1e-6f && c.init_std == 0.02);

    ASSERT_OK(load(&c, LLAMA ", \"head_dim\": 8, \"num_key_value_heads\": 2, \"attention_bias\": true,"
                       "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5},"
                       "\"rope_scaling\": null, \"dtype\": \"bfloat16\", \"tie_word_embeddings\": true}", &err));
    assert_true(c.G == 2 && c.E == 8 && c.rope.theta == 5e5 && c.qkv_bias && c.out_bias && !c.mlp_bias);
    assert_true(c.dtype == VLORP_BF16 && c.tied);
}

static void test_rope(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, LLAMA ", \"rope_theta\": 2e4, \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2}}",
                   &err));
    assert_true(c.rope.theta == 2e4 && c.rope.kind == VLORPI_ROPE_LINEAR && c.rope.factor == 2);
    /* where both are there, rope_scaling wins; the original context may stand at top level, or nowhere */
    static const char llama3[] =
        LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1,"
              "\"high_freq_factor\": 4, \"rope_theta\": 3e4}, \"rope_parameters\": {\"type\": \"yarn\"}%s}";
    char text[1024];
    (void)snprintf(text, sizeof text, llama3, ", \"original_max_position_embeddings\": 77");
    ASSERT_OK(load(&c, text, &err));
    assert_true(c.rope.theta == 3e4 && c.rope.kind == VLORPI_ROPE_LLAMA3 && c.rope.original == 77);
    (void)snprintf(text, sizeof text, llama3, "");
    ASSERT_OK(load(&c, text, &err));
    assert_int_equal(c.rope.original, 2048);
}

/* Where fields are missing, what transformers takes for the family. */
static void test_families(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_model_config c;
    ASSERT_OK(load(&c, QWEN2 ", \"num_key_value_heads\": null, \"attention_bias\": true}", &err));
    assert_true(c.G == 4 && c.E == 16 && c.max_positions == 32768 && c.qkv_bias && !c.out_bias && c.window == 0);
    assert_int_equal(load(&c, QWEN2 "}", &err), VLORP_E_FORMAT); /* 32 key-value heads for 4 */
    ASSERT_OK(load(&c, MISTRAL ", \"num_key_value_heads\": null}", &err));
    assert_true(c.G == 4 && c.max_positions == 131072 && c.window == 4096 && vlorpi_model_window(&c, 0) == 4096);
    ASSERT_OK(load(&c, MISTRAL ", \"num_key_value_heads\": 2, \"sliding_window\": null, \"attention_bias\": true}",
                   &err));
    assert_true(c.G == 2 && c.E == 16 && c.window == 0 && !c.qkv_bias);
    ASSERT_OK(load(&c, QWEN3 ", \"num_key_value_heads\": 2, \"use_sliding_window\": true}", &err));
    assert_true(c.G == 2 && c.E == 128 && !c.qkv_bias && c.window == 4096 && c.window_begin == 28);
    ASSERT_OK(load(&c, QWEN3 ", \"num_key_value_heads\": 2, \"use_sliding_window\": true, \"sliding_window\": 5,"
                             "\"layer_types\": [\"full_attention\", \"sliding_attention\"]}", &err));
    assert_true(vlorpi_model_window(&c, 0) == 0 && vlorpi_model_window(&c, 1) == 5);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        vlorp_status status;
        const char *named;
    } cases[] = {
        {"{}", VLORP_E_FORMAT, "model_type"},
        {"[]", VLORP_E_FORMAT, "config.json"},
        {"{\"model_type\": \"mamba\"}", VLORP_E_UNSUPPORTED, "llama"},
        {"{\"model_type\": \"llama\"}", VLORP_E_FORMAT, "hidden_size"},
        {LLAMA ", \"head_dim\": 7}", VLORP_E_FORMAT, "head_dim"},
        {LLAMA ", \"head_dim\": 1000000}", VLORP_E_FORMAT, "head_dim"},
        {LLAMA ", \"head_dim\": -2}", VLORP_E_FORMAT, "head_dim"},
        {LLAMA ", \"num_key_value_heads\": 3}", VLORP_E_FORMAT, "num_key_value_heads"},
        {LLAMA ", \"num_key_value_heads\": 0}", VLORP_E_FORMAT, "num_key_value_heads"},
        {LLAMA ", \"num_key_value_heads\": 8}", VLORP_E_FORMAT, "num_key_value_heads"},
        {LLAMA ", \"rms_norm_eps\": 0}", VLORP_E_FORMAT, "rms_norm_eps"},
        {LLAMA ", \"rms_norm_eps\": \"1e-5\"}", VLORP_E_FORMAT, "rms_norm_eps"},
        {LLAMA ", \"rope_theta\": -1}", VLORP_E_FORMAT, "rope_theta"},
        {LLAMA ", \"max_position_embeddings\": 1e3}", VLORP_E_FORMAT, "max_position_embeddings"},
        {LLAMA ", \"tie_word_embeddings\": 1}", VLORP_E_FORMAT, "tie_word_embeddings"},
        {LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}", VLORP_E_FORMAT, "low_freq_factor"},
        {LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4,"
               "\"high_freq_factor\": 4}}",
         VLORP_E_FORMAT, "high_freq_factor"},
        {LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1,"
               "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}}",
         VLORP_E_FORMAT, "original_max_position_embeddings"},
        {LLAMA ", \"rope_scaling\": {\"type\": \"linear\"}}", VLORP_E_FORMAT, "factor"},
        {LLAMA ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}}", VLORP_E_FORMAT, "factor"},
        {LLAMA ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}}", VLORP_E_UNSUPPORTED,
         "rope_scaling has the type dynamic"},
        {LLAMA ", \"rope_scaling\": {\"type\": 3}}", VLORP_E_FORMAT, "rope_scaling"},
        {LLAMA ", \"rope_scaling\": \"linear\"}", VLORP_E_FORMAT, "rope_scaling"},
        {QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 0}", VLORP_E_FORMAT, "sliding_window"},
        {QWEN2 ", \"num_key_value_heads\": 4, \"use_sliding_window\": true, \"sliding_window\": 1000000000}",
         VLORP_E_FORMAT, "sliding_window"},
        {QWEN2 ", \"use_sliding_window\": 1}", VLORP_E_FORMAT, "use_sliding_window"},
        {QWEN2 ", \"num_key_value_heads\": 4, \"max_window_layers\": -1}", VLORP_E_FORMAT, "max_window_layers"},
        {QWEN3 ", \"layer_types\": [\"full_attention\"]}", VLORP_E_FORMAT, "layer_types"},
        {QWEN3 ", \"layer_types\": [\"full_attention\", \"linear_attention\"]}", VLORP_E_UNSUPPORTED,
         "linear_attention"},
        {QWEN3 ", \"layer_types\": [\"sliding_attention\", \"full_attention\"], \"use_sliding_window\": true}",
         VLORP_E_UNSUPPORTED, "layer_types"},
        {QWEN3 ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", VLORP_E_FORMAT,
         "use_sliding_window"},
        {LLAMA ", \"rope_parameters\": {\"rope_type\": \"yarn\"}}", VLORP_E_UNSUPPORTED, "yarn"},
        {LLAMA ", \"partial_rotary_factor\": 0.5}", VLORP_E_UNSUPPORTED, "partial_rotary_factor"},
        {LLAMA ", \"hidden_act\": \"gelu\"}", VLORP_E_UNSUPPORTED, "gelu"},
        {LLAMA ", \"torch_dtype\": \"float8\"}", VLORP_E_UNSUPPORTED, "float8"},
        {LLAMA ", \"quantization_config\": {\"bits\": 4}}", VLORP_E_UNSUPPORTED, "quantization_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlorp_err err = {0};
        vlorpi_model_config config;
        vlorp_status status = load(&config, cases[i].text, &err);
        if (status != cases[i].status || strstr(err.text, cases[i].named) == NULL ||
            strstr(err.text, "config.json") == NULL) {
            fail_msg("%s: status %d: %s", cases[i].text, (int)status, err.text);
        }
    }
}

static void read_config(vlorpi_model_config *config, const char *path)
{
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_source *source = NULL;
    ASSERT_OK(vlorpi_source_open(&source, &mem, path, 1, &err));
    ASSERT_OK(vlorpi_model_config_load(config, source, &err));
    vlorpi_source_close(source);
}

static void assert_same_config(const vlorpi_model_config *a, const vlorpi_model_config *b)
{
    assert_ptr_equal(a->arch, b->arch);
    assert_true(a->D == b->D && a->L == b->L && a->H == b->H && a->G == b->G && a->E == b->E && a->F == b->F);
    assert_true(a->V == b->V && a->max_positions == b->max_positions && a->tied == b->tied && a->dtype == b->dtype);
    assert_true(a->qkv_bias == b->qkv_bias && a->out_bias == b->out_bias && a->mlp_bias == b->mlp_bias);
    assert_true(a->norm_eps == b->norm_eps && a->init_std == b->init_std && a->rope.theta == b->rope.theta);
    assert_true(a->rope.kind == b->rope.kind && a->rope.factor == b->rope.factor && a->rope.low == b->rope.low);
    assert_true(a->rope.high == b->rope.high && a->rope.original == b->rope.original);
    for (int64_t l = 0; l < a->L; l++) {
        assert_int_equal(vlorpi_model_window(a, l), vlorpi_model_window(b, l));
    }
}

static void test_both_forms(void **state)
{
    (void)state;
    vlorpi_model_config hf;
    vlorpi_model_config gguf;
    read_config(&hf, shared_data("models/stories260K-hf"));
    read_config(&gguf, shared_data("models/stories260K-gguf/stories260K.gguf"));
    assert_same_config(&hf, &gguf);
    for (int i = 0; i < N_TINY_MODELS; i++) {
        if (tiny_models[i].gguf != NULL) {
            read_config(&hf, tiny_models[i].folder);
            read_config(&gguf, tiny_models[i].gguf);
            assert_same_config(&hf, &gguf);
        }
    }
}

/* What we write reads back the same, whichever form it came from. */
static void check_written(const char *path)
{
    vlorpi_model_config config;
    vlorpi_model_config again;
    read_config(&config, path);
    json_t *root = vlorpi_model_config_to_json(&config, VLORP_BF16, 1, 2);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "eos_token_id")), 2);
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    vlorp_err err = {0};
    ASSERT_OK(load(&again, text, &err));
    config.dtype = VLORP_BF16;
    assert_same_config(&config, &again);
    free(text);
    json_decref(root);
}

static void test_written(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        check_written(tiny_models[i].folder);
        if (tiny_models[i].gguf != NULL) {
            check_written(tiny_models[i].gguf);
        }
    }
}

/* A changed configuration over the weights of tiny_biased. */
static vlorp_status load_weights(const char *field, json_t *value, char *text, size_t n_bytes)
{
    vlorp_err err = {0};
    json_t *root = NULL;
    ASSERT_OK(vlorpi_json_load(&root, "tests/golden/data/tiny_biased/config.json", &err));
    assert_int_equal(json_object_set_new(root, field, value), 0);
    assert_int_equal(json_dump_file(root, in_folder("config.json"), 0), 0);
    json_decref(root);
    char target[4096];
    assert_non_null(realpath("tests/golden/data/tiny_biased/model.safetensors", target));
    (void)unlink(in_folder("model.safetensors"));
    assert_int_equal(symlink(target, in_folder("model.safetensors")), 0);

    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_source *source = NULL;
    vlorpi_model_config config;
    vlorpi_model *model = NULL;
    ASSERT_OK(vlorpi_source_open(&source, &mem, folder, 1, &err));
    ASSERT_OK(vlorpi_model_config_load(&config, source, &err));
    ASSERT_OK(vlorpi_model_create(&model, &mem, vlorpi_kernels_select(NULL), NULL, &config, VLORP_BF16, &err));
    assert_int_equal(vlorpi_model_load(model, source, &err), VLORP_E_STATE);
    vlorpi_arena counter = vlorpi_arena_counter();
    vlorpi_params_layout(vlorpi_model_params(model), &counter);
    vlorpi_arena weights;
    ASSERT_OK(vlorpi_arena_init(&weights, &mem, VLORPI_MEM_WEIGHTS, counter.peak_bytes, &err));
    vlorpi_params_layout(vlorpi_model_params(model), &weights);
    vlorp_status status = vlorpi_model_load(model, source, &err);
    vlorpi_arena_deinit(&weights, &mem);
    vlorpi_model_free(model);
    vlorpi_source_close(source);
    (void)snprintf(text, n_bytes, "%s", err.text);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    return status;
}

static void test_weights(void **state)
{
    (void)state;
    char text[VLORP_ERR_TEXT_BYTES];
    assert_int_equal(load_weights("hidden_act", json_string("silu"), text, sizeof text), VLORP_OK);
    assert_int_equal(load_weights("num_hidden_layers", json_integer(3), text, sizeof text), VLORP_E_SHAPE);
    assert_non_null(strstr(text, "model.layers.2.input_layernorm.weight is missing"));
    assert_int_equal(load_weights("intermediate_size", json_integer(44), text, sizeof text), VLORP_E_SHAPE);
    assert_non_null(strstr(text, "mlp.gate_proj.weight has the shape [40, 24], the configuration needs [44, 24]"));
    assert_int_equal(load_weights("tie_word_embeddings", json_false(), text, sizeof text), VLORP_E_SHAPE);
    assert_non_null(strstr(text, "lm_head.weight is missing"));
}

/* Random weights: the spread that is asked for, norms one, and the same for the same seed. */
static void test_random_weights(void **state)
{
    (void)state;
    vlorpi_model_usage usage = {.max_tokens = 4, .max_segments = 1, .max_positions = 4};
    const char *path = "tests/golden/data/wide_vocabulary/config.json";
    model_fixture *a = model_fixture_open(path, NULL, VLORP_F32, &usage);
    model_fixture *b = model_fixture_open(path, NULL, VLORP_BF16, &usage);
    const vlorpi_param *embed = &vlorpi_model_params(a->model)->items[0];
    const float *w = embed->data;
    const uint16_t *w16 = vlorpi_model_params(b->model)->items[0].data;
    int64_t n = vlorpi_param_n_elements(embed);
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        uint16_t rounded;
        vlorpi_kernels_select("ref")->model->f32_to_bf16(&rounded, w + i, 1);
        assert_int_equal(rounded, w16[i]);
        sum += w[i];
        squares += (double)w[i] * (double)w[i];
    }
    ASSERT_BELOW(fabs(sum / (double)n), 5 * 0.3 / sqrt((double)n));
    ASSERT_BELOW(fabs(sqrt(squares / (double)n) - 0.3), 0.002);
    assert_true(((const float *)vlorpi_model_params(a->model)->items[1].data)[3] == 1.0f);
    model_fixture_close(a);
    model_fixture_close(b);
}

/* Whichever allocation fails, creating and filling a model reports it and gives everything back. */
static void test_no_memory(void **state)
{
    (void)state;
    vlorpi_model_config config;
    read_config(&config, "tests/golden/data/tiny_biased");
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorp_status status = VLORP_E_NOMEM;
    for (uint64_t fail_at = 1; status != VLORP_OK; fail_at++) {
        assert_true(fail_at < 1000);
        vlorp_err err = {0};
        vlorpi_model *model = NULL;
        mem.fail_at = fail_at;
        status = vlorpi_model_create(&model, &mem, vlorpi_kernels_select(NULL), NULL, &config, VLORP_BF16, &err);
        assert_true(status == VLORP_OK || status == VLORP_E_NOMEM);
        assert_true((model != NULL) == (status == VLORP_OK));
        vlorpi_model_free(model);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_rope),       cmocka_unit_test(test_families),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_both_forms), cmocka_unit_test(test_written),
        cmocka_unit_test(test_weights),  cmocka_unit_test(test_random_weights),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
