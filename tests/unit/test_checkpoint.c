/* Saving a model folder: what is written reads back equal to the bit, and every failure leaves the
 * disk as it was. */
#include "checkpoint_support.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoint/inspect.h"
#include "checkpoint/save.h"
#include "format/json.h"

enum { VOCABULARY = 300, WIDTH = 521 }; /* the embedding takes more than one chunk */

/* A source folder, a table of parameters and the buffers of a save. */
typedef struct fixture {
    vlorpi_source *source;
    vlorpi_params params;
    vlorpi_model_config config;
    vlorpi_checkpoint_saver saver;
    vlorpi_checkpoint_model model;
    vlorpi_arena weights, buffers;
} fixture;

static void expect_text(const char *name, const char *text)
{
    char read[4096] = {0};
    FILE *file = fopen(path_of(name), "rb");
    if (file == NULL) {
        fail_msg("%s is missing", path_of(name));
    }
    (void)fread(read, 1, sizeof read - 1, file);
    (void)fclose(file);
    assert_string_equal(read, text);
}

static void fill(const vlorpi_params *params)
{
    uint64_t seed = 11;
    for (int i = 0; i < params->n; i++) {
        const vlorpi_param *p = &params->items[i];
        for (int64_t k = 0; k < vlorpi_param_n_elements(p); k++) {
            float value = test_uniform(&seed);
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            uint16_t upper = (uint16_t)(bits >> 16);
            if (p->dtype == VLORP_F32) {
                ((float *)p->data)[k] = value;
            } else {
                ((uint16_t *)p->data)[k] = upper;
            }
        }
    }
}

#define CONFIG_OF(dtype) \
    "{\"model_type\": \"x\", \"inner\": {\"dtype\": \"float64\"},\n \"torch_dtype\" : \"" dtype "\"}\n"

static void open_fixture(fixture *f, vlorp_dtype held)
{
    static const struct {
        const char *name;
        vlorpi_role role;
        int n_dims;
        int64_t n, m;
    } table[] = {{"model.embed_tokens.weight", VLORPI_ROLE_EMBED, 2, VOCABULARY, WIDTH},
                 {"model.layers.0.mlp.up_proj.weight", VLORPI_ROLE_MLP, 2, 7, WIDTH},
                 {"model.norm.weight", VLORPI_ROLE_NORM, 1, WIDTH, 1}};
    vlorp_err err;
    *f = (fixture){.config = {.dtype = VLORP_F32}};
    assert_int_equal(mkdir(path_of("source"), 0777), 0);
    assert_int_equal(mkdir(path_of("source/onnx"), 0777), 0);
    write_text("source/config.json", CONFIG_OF("float32"));
    write_text("source/tokenizer.json", "{\"not\": \"read here\"}");
    write_text("source/chat_template.jinja", "{{ x }}");
    write_text("source/pytorch_model.bin", "weights");
    ASSERT_OK(vlorpi_source_open(&f->source, &mem, path_of("source"), 0, &err));
    vlorpi_params_init(&f->params, &mem);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int index;
        ASSERT_OK(vlorpi_params_add(&f->params, &index, table[i].name, table[i].role, -1, table[i].n_dims, table[i].n,
                                    table[i].m, held, &err));
    }
    vlorpi_arena weights = vlorpi_arena_counter();
    vlorpi_arena buffers = vlorpi_arena_counter();
    vlorpi_params_layout(&f->params, &weights);
    vlorpi_checkpoint_layout(&f->saver, &buffers, &f->params, NULL);
    ASSERT_OK(vlorpi_arena_init(&f->weights, &mem, VLORPI_MEM_WEIGHTS, weights.peak_bytes, &err));
    ASSERT_OK(vlorpi_arena_init(&f->buffers, &mem, VLORPI_MEM_WORKSPACE, buffers.peak_bytes, &err));
    vlorpi_params_layout(&f->params, &f->weights);
    vlorpi_checkpoint_layout(&f->saver, &f->buffers, &f->params, NULL);
    fill(&f->params);
    f->model = (vlorpi_checkpoint_model){.params = &f->params, .dtype = VLORP_F32, .config = &f->config,
                                         .source = f->source, .kernels = vlorpi_kernels_select(NULL)};
}

static void close_fixture(fixture *f)
{
    vlorpi_params_deinit(&f->params);
    vlorpi_source_close(f->source);
    vlorpi_arena_deinit(&f->weights, &mem);
    vlorpi_arena_deinit(&f->buffers, &mem);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static float param_value(const vlorpi_param *p, int64_t i)
{
    if (p->dtype == VLORP_F32) {
        return ((const float *)p->data)[i];
    }
    uint32_t bits = (uint32_t)((const uint16_t *)p->data)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Every element as the stored dtype has it: equal to the bit where it can hold the value, else
 * within half a unit in the last place. */
static void expect_written(const fixture *f, const char *name)
{
    static const char *const storage[] = {"F32", "BF16", "F16"};
    vlorp_err err;
    vlorpi_source *read;
    double unit = f->model.dtype == VLORP_BF16 ? 0x1p-8 : 0x1p-11;
    bool exact = f->model.dtype == VLORP_F32 || f->model.dtype == f->params.items[0].dtype;
    ASSERT_OK(vlorpi_source_open(&read, &mem, path_of(name), 1, &err));
    assert_int_equal(vlorpi_source_n_tensors(read), f->params.n);
    for (int i = 0; i < f->params.n; i++) {
        const vlorpi_param *p = &f->params.items[i];
        const vlorpi_tensor_info *info = vlorpi_source_find(read, p->name);
        assert_non_null(info);
        assert_string_equal(info->storage_name, storage[f->model.dtype]);
        assert_int_equal(info->n_dims, p->n_dims);
        assert_true(info->shape[0] == p->n && (p->n_dims == 1 || info->shape[1] == p->m));
        for (int64_t k = 0; k < info->n_elements; k++) {
            float stored;
            float value = param_value(p, k);
            ASSERT_OK(vlorpi_tensor_read_f32(&stored, info, k, 1, &err));
            double limit = exact ? 0 : unit * (fabs((double)value) + 0x1p-14);
            if (!(fabs((double)stored - (double)value) <= limit)) {
                fail_msg("%s[%lld]: %.9g, was %.9g", p->name, (long long)k, (double)stored, (double)value);
            }
        }
    }
    vlorpi_source_close(read);
}

static void test_every_dtype(void **state)
{
    (void)state;
    static const char *const configs[] = {
        [VLORP_F32] = CONFIG_OF("float32"), [VLORP_BF16] = CONFIG_OF("bfloat16"), [VLORP_F16] = CONFIG_OF("float16")};
    vlorp_err err;
    for (vlorp_dtype held = VLORP_F32; held <= VLORP_BF16; held++) {
        fixture f;
        open_fixture(&f, held);
        for (vlorp_dtype stored = VLORP_F32; stored <= VLORP_F16; stored++) {
            f.model.dtype = stored;
            uint64_t n_allocations = mem.n_allocations;
            ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out/"), &err));
            assert_int_equal(mem.n_allocations, n_allocations);
            expect_written(&f, "out");
            expect_text("out/config.json", configs[stored]);
            expect_text("out/tokenizer.json", "{\"not\": \"read here\"}");
            expect_text("out/chat_template.jinja", "{{ x }}");
            assert_int_equal(n_entries(path_of("out")), 4);
            assert_int_equal(n_entries(root), 2);
            f.model.overwrite = true; /* from the second time on */
        }
        close_fixture(&f);
        (void)remove_root(NULL);
        assert_int_equal(mkdir(root, 0700), 0);
    }
}

static void test_shards(void **state)
{
    (void)state;
    vlorp_err err;
    fixture f;
    open_fixture(&f, VLORP_F32);
    f.model.shard_bytes = 4 * WIDTH * 8; /* the embedding alone, the two others together */
    ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err));
    expect_written(&f, "out");
    assert_int_equal(n_entries(path_of("out")), 6);
    assert_int_equal(access(path_of("out/model-00002-of-00002.safetensors"), R_OK), 0);
    json_t *index;
    ASSERT_OK(vlorpi_json_load(&index, path_of("out/model.safetensors.index.json"), &err));
    json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    assert_int_equal(json_integer_value(total), (VOCABULARY + 8) * WIDTH * 4);
    json_decref(index);
    close_fixture(&f);
}

/* The folder is refused with these words, and nothing is left beside it. */
static void expect_failure(fixture *f, const char *place, vlorp_status status, const char *part)
{
    vlorp_err err = {0};
    int before = n_entries(root);
    size_t booked = vlorpi_mem_now(&mem).total_bytes;
    vlorp_status got = vlorpi_checkpoint_save_model(&f->saver, &f->model, path_of(place), &err);
    if (got != status || strstr(err.text, part) == NULL) {
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", (int)got, err.text, (int)status, part);
    }
    if (status == VLORP_E_IO) { /* what can be known beforehand is said beforehand, in the same words */
        assert_int_equal(vlorpi_checkpoint_check(&f->saver, &f->model, path_of(place), &err), status);
        assert_non_null(strstr(err.text, part));
    }
    assert_int_equal(n_entries(root), before);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, booked);
}

static void test_places(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, VLORP_F32);
    write_text("file", "mine");
    assert_int_equal(mkdir(path_of("empty"), 0777), 0);
    assert_int_equal(mkdir(path_of("home"), 0777), 0);
    write_text("home/letter", "mine");
    expect_failure(&f, "empty", VLORP_E_IO, "empty: exists already");
    expect_failure(&f, "file", VLORP_E_IO, "file: exists already");
    expect_failure(&f, "gone/out", VLORP_E_IO, "gone/out: No such file or directory");
    f.model.overwrite = true;
    expect_failure(&f, "file", VLORP_E_IO, "not a model folder");
    expect_failure(&f, "home", VLORP_E_IO, "not a model folder");
    expect_text("home/letter", "mine");
    vlorp_err err;
    ASSERT_OK(vlorpi_checkpoint_check(&f.saver, &f.model, path_of("empty"), &err));
    assert_int_equal(n_entries(path_of("empty")), 0);
    ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("empty"), &err));
    expect_written(&f, "empty");
    assert_int_equal(n_entries(root), 4);
    close_fixture(&f);
}

/* Writing stops after so many bytes of a file, as on a full disk; what was there before stays. */
static void test_failing_writes(void **state)
{
    (void)state;
    vlorp_err err;
    fixture f;
    open_fixture(&f, VLORP_F32);
    ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err));
    assert_int_equal(mkdir(path_of("out/inside"), 0777), 0);
    f.model.overwrite = true;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    static const rlim_t limits[] = {0, 10, 100, 1000, 500000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rlimit limit = {.rlim_cur = limits[i], .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        vlorp_status status = vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, VLORP_E_IO);
        assert_non_null(strstr(err.text, "out/model.safetensors: "));
        assert_int_equal(n_entries(root), 2);
        assert_int_equal(n_entries(path_of("out")), 5);
    }
    expect_written(&f, "out");
    ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err));
    assert_int_equal(n_entries(path_of("out")), 4);
    close_fixture(&f);
}

/* A table of 2^50 elements, whose bytes are never touched: the space is asked for first. */
static void test_too_little_space(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, VLORP_F32);
    f.params.items[1].n = (int64_t)1 << 41;
    expect_failure(&f, "out", VLORP_E_IO, "bytes and the disk has");
    f.params.items[1].n = 7;
    close_fixture(&f);
}

static void test_too_large_for_f16(void **state)
{
    (void)state;
    vlorp_err err;
    fixture f;
    open_fixture(&f, VLORP_F32);
    f.model.dtype = VLORP_F16;
    float *weight = f.params.items[1].data;
    weight[5] = 65519.0f; /* rounds to the largest half */
    ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err));
    weight[5] = -65520.0f;
    f.model.overwrite = true;
    expect_failure(&f, "out", VLORP_E_NUMERIC, "up_proj.weight: -65520 is too large for float16");
    close_fixture(&f);
}

/* The dtype is put in where there is none, and other text stays as it is. */
static void test_config_text(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"{}", "{\n  \"torch_dtype\": \"bfloat16\"}"},
        {"  { \"a\": [\"dtype\"] }", "  {\n  \"torch_dtype\": \"bfloat16\", \"a\": [\"dtype\"] }"},
        {"{\"dtype\":null,\"x\":\"}\\\"{\"}", "{\"dtype\":\"bfloat16\",\"x\":\"}\\\"{\"}"},
        {"{\"torch_dtype\": \"float32\", \"dtype\": \"float32\"}",
         "{\"torch_dtype\": \"bfloat16\", \"dtype\": \"bfloat16\"}"},
        {"{\"x\": \"dtype\", \"dtype\":\"auto\"}", "{\"x\": \"dtype\", \"dtype\":\"bfloat16\"}"},
    };
    vlorp_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f;
        open_fixture(&f, VLORP_F32);
        write_text("source/config.json", cases[i].before);
        f.model.dtype = VLORP_BF16;
        ASSERT_OK(vlorpi_checkpoint_save_model(&f.saver, &f.model, path_of("out"), &err));
        expect_text("out/config.json", cases[i].after);
        close_fixture(&f);
        (void)remove_root(NULL);
        assert_int_equal(mkdir(root, 0700), 0);
    }
}

/* The same small model from GGUF and from its folder: equal tensors, and files that can be read. */
static void test_convert_gguf(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_storage stored;
    vlorp_exec serial = {.n_threads = 1};
    vlorpi_conversion conversion = {.model = shared_data("models/stories260K-gguf/stories260K.gguf"),
                                    .out = path_of("out"), .storage = VLORPI_STORAGE_F32,
                                    .kernels = vlorpi_kernels_select(NULL), .exec = &serial};
    ASSERT_OK(vlorpi_convert(&conversion, &mem, &stored, &err));
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    expect_same_tensors(shared_data("models/stories260K-hf"), conversion.out);
    static const char *const files[] = {"out/config.json", "out/generation_config.json", "out/tokenizer.json",
                                        "out/tokenizer_config.json"};
    for (int i = 0; i < 4; i++) {
        json_t *value;
        ASSERT_OK(vlorpi_json_load(&value, path_of(files[i]), &err));
        json_decref(value);
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void test_inspect(void **state)
{
    (void)state;
    vlorp_err err;
    json_t *report;
    ASSERT_OK(vlorpi_inspect(&report, &mem, shared_data("models/stories260K-gguf/stories260K.gguf"), &err));
    assert_string_equal(json_string_value(json_object_get(report, "kind")), "gguf");
    assert_int_equal(json_integer_value(json_object_get(report, "n_tensors")), 47);
    assert_int_equal(json_integer_value(json_object_get(report, "total_parameters")), 260032);
    const json_t *metadata = json_object_get(report, "metadata");
    assert_int_equal(json_integer_value(json_object_get(metadata, "llama.block_count")), 5);
    assert_string_equal(json_string_value(json_object_get(metadata, "general.architecture")), "llama");
    const json_t *row = json_object_get(json_object_get(report, "storage"), "F32");
    assert_int_equal(json_integer_value(json_object_get(row, "bytes")), 260032 * 4);
    json_decref(report);
    ASSERT_OK(vlorpi_inspect(&report, &mem, shared_data("models/stories260K-hf/model.safetensors"), &err));
    assert_string_equal(json_string_value(json_object_get(report, "kind")), "safetensors");
    assert_int_equal(json_array_size(json_object_get(report, "tensors")), 47);
    json_decref(report);
    const char *folder = shared_data("models/stories260K-hf");
    for (uint64_t n = 1;; n++) {
        mem.fail_at = n;
        vlorp_status status = vlorpi_inspect(&report, &mem, folder, &err);
        mem.fail_at = 0;
        if (status == VLORP_OK) {
            break;
        }
        assert_int_equal(status, VLORP_E_NOMEM);
        assert_null(report);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    assert_non_null(json_object_get(json_object_get(report, "config"), "hidden_size"));
    json_decref(report);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        WITH_ROOT(test_every_dtype),       WITH_ROOT(test_shards),       WITH_ROOT(test_places),
        WITH_ROOT(test_failing_writes),    WITH_ROOT(test_too_little_space), WITH_ROOT(test_too_large_for_f16),
        WITH_ROOT(test_config_text),       WITH_ROOT(test_convert_gguf), cmocka_unit_test(test_inspect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
