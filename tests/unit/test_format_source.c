/* Models on disk: folders, shards and their index, GGUF, a config alone, and what is refused. */
#include "support.h"

#include <dirent.h>
#include <unistd.h>

#include "byte_builder.h"
#include "format/json.h"
#include "format/source.h"

static vlorpi_mem mem;
static char folder[64];

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

/* One F32 tensor of one element per name, of the given value. */
static void write_shard(const char *file, const char *const *names, int n, float value)
{
    char header[1024] = "{";
    for (int i = 0; i < n; i++) {
        size_t at = strlen(header);
        (void)snprintf(header + at, sizeof header - at,
                       "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                       i > 0 ? "," : "", names[i], 4 * i, 4 * i + 4);
    }
    (void)strcat(header, "}");
    builder b = {0};
    build_safetensors(&b, header, 0);
    for (int i = 0; i < n; i++) {
        build_bytes(&b, &value, sizeof value);
    }
    write_file(file, b.bytes, b.n);
    build_free(&b);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/vlorp-source-XXXXXX", P_tmpdir);
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(dir);
    return rmdir(folder);
}

static void expect_failure(const char *path, vlorp_status status, const char *part, const char *hint)
{
    vlorp_err err = {0};
    vlorpi_source *source;
    vlorp_status got = vlorpi_source_open(&source, &mem, path, 1, &err);
    if (got != status || strstr(err.text, part) == NULL || strstr(err.hint, hint) == NULL) {
        fail_msg("status %d, \"%s\" (%s); expected %d, \"%s\" (%s)", (int)got, err.text, err.hint, (int)status, part,
                 hint);
    }
    assert_null(source);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static float value_of(const vlorpi_source *source, const char *name)
{
    vlorp_err err;
    float value = NAN;
    const vlorpi_tensor_info *info = vlorpi_source_find(source, name);
    assert_non_null(info);
    ASSERT_OK(vlorpi_tensor_read_f32(&value, info, 0, 1, &err));
    vlorpi_source_drop(source, info);
    return value;
}

static void test_single_file(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_source *source;
    write_text("config.json", "{\"model_type\": \"llama\"}");
    expect_failure(folder, VLORP_E_IO, "neither model.safetensors nor", "download");
    ASSERT_OK(vlorpi_source_open(&source, &mem, folder, 0, &err));
    assert_int_equal(vlorpi_source_n_tensors(source), 0);
    assert_null(vlorpi_source_find(source, "a"));
    vlorpi_source_close(source);
    write_text("pytorch_model.bin", "");
    expect_failure(folder, VLORP_E_UNSUPPORTED, "pickled", "save_pretrained");
    write_shard("model.safetensors", (const char *[]){"a", "b"}, 2, 1.5f);
    ASSERT_OK(vlorpi_source_open(&source, &mem, folder, 1, &err));
    assert_int_equal(vlorpi_source_kind_of(source), VLORPI_SOURCE_FOLDER);
    assert_int_equal(vlorpi_source_n_tensors(source), 2);
    assert_true(value_of(source, "b") == 1.5f);
    assert_null(vlorpi_source_find(source, "c"));
    assert_null(vlorpi_source_gguf(source));
    assert_string_equal(json_string_value(json_object_get(vlorpi_source_config(source), "model_type")), "llama");
    size_t n_bytes;
    assert_int_equal(vlorpi_source_n_files(source), 1);
    assert_string_equal(vlorpi_source_file(source, 0, &n_bytes), "model.safetensors");
    assert_int_equal(n_bytes, vlorpi_source_mapped_bytes(source));
    vlorpi_source_close(source);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void test_shards(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_source *source;
    write_text("config.json", "{}");
    write_shard("m-1.safetensors", (const char *[]){"a", "b", "extra"}, 3, 1.0f);
    write_shard("m-2.safetensors", (const char *[]){"c", "a"}, 2, 2.0f);
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"a\": \"m-2.safetensors\", \"b\": \"m-1.safetensors\", "
               "\"c\": \"m-2.safetensors\"}}");
    ASSERT_OK(vlorpi_source_open(&source, &mem, folder, 1, &err));
    assert_int_equal(vlorpi_source_n_tensors(source), 3);
    assert_true(value_of(source, "a") == 2.0f && value_of(source, "b") == 1.0f && value_of(source, "c") == 2.0f);
    assert_null(vlorpi_source_find(source, "extra"));
    assert_int_equal(vlorpi_source_n_files(source), 2);
    vlorpi_source_close(source);
    for (uint64_t n = 1;; n++) {
        mem.fail_at = n;
        vlorp_status status = vlorpi_source_open(&source, &mem, folder, 1, &err);
        mem.fail_at = 0;
        if (status == VLORP_OK) {
            break;
        }
        if (status != VLORP_E_NOMEM) {
            fail_msg("allocation %d failing: status %d: %s", (int)n, (int)status, err.text);
        }
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    vlorpi_source_close(source);
}

static void test_hostile_index(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        vlorp_status status;
        const char *part;
    } cases[] = {
        {"{", VLORP_E_FORMAT, "index.json: line 1"},
        {"[]", VLORP_E_FORMAT, "weight_map is missing"},
        {"{\"weight_map\": {}}", VLORP_E_FORMAT, "weight_map is missing or empty"},
        {"{\"weight_map\": {\"a\": 1}}", VLORP_E_FORMAT, "the shard of tensor a is not a plain file name"},
        {"{\"weight_map\": {\"a\": \"../m.safetensors\"}}", VLORP_E_FORMAT, "not a plain file name"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", VLORP_E_FORMAT, "not a plain file name"},
        {"{\"weight_map\": {\"a\": \"..\"}}", VLORP_E_FORMAT, "not a plain file name"},
        {"{\"weight_map\": {\"a\": \"\"}}", VLORP_E_FORMAT, "not a plain file name"},
        {"{\"weight_map\": {\"a\": \"gone.safetensors\"}}", VLORP_E_IO, "gone.safetensors: No such file"},
        {"{\"weight_map\": {\"a\": \"m.safetensors\", \"z\": \"m.safetensors\"}}", VLORP_E_FORMAT,
         "puts tensor z into m.safetensors, which does not hold it"},
        {"{\"weight_map\": {\"a\": \"m.safetensors\", \"a\": \"m.safetensors\"}}", VLORP_E_FORMAT, "duplicate"},
    };
    write_text("config.json", "{}");
    write_shard("m.safetensors", (const char *[]){"a"}, 1, 1.0f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text("model.safetensors.index.json", cases[i].index);
        expect_failure(folder, cases[i].status, cases[i].part, "");
    }
}

static void test_paths(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_source *source;
    char path[512];
    expect_failure(folder, VLORP_E_IO, "without config.json", "give a Hugging Face");
    write_text("x.gguf", "GGUF");
    expect_failure(folder, VLORP_E_IO, "without config.json", "holds x.gguf");
    (void)snprintf(path, sizeof path, "%s/x.gguf", folder);
    expect_failure(path, VLORP_E_FORMAT, "x.gguf: byte 4", "");
    (void)snprintf(path, sizeof path, "%s/gone", folder);
    expect_failure(path, VLORP_E_IO, "No such file", "on this machine");
    write_text("w.bin", "x");
    (void)snprintf(path, sizeof path, "%s/w.bin", folder);
    expect_failure(path, VLORP_E_UNSUPPORTED, "pickled", "transformers");
    write_text("w.safetensors", "x");
    (void)snprintf(path, sizeof path, "%s/w.safetensors", folder);
    expect_failure(path, VLORP_E_UNSUPPORTED, "not a model", "give the folder");
    write_text("config.json", "[1]");
    expect_failure(folder, VLORP_E_FORMAT, "not a JSON object", "");
    write_text("config.json", "{}");
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    expect_failure(path, VLORP_E_IO, "without weights", "--init random");
    ASSERT_OK(vlorpi_source_open(&source, &mem, path, 0, &err));
    assert_int_equal(vlorpi_source_kind_of(source), VLORPI_SOURCE_CONFIG);
    assert_int_equal(vlorpi_source_n_tensors(source), 0);
    vlorpi_source_close(source);
}

/* The same model in both forms: the same tensors by number and bytes, and equal embeddings. */
static void test_real_models(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_source *hf;
    vlorpi_source *gguf;
    ASSERT_OK(vlorpi_source_open(&hf, &mem, shared_data("models/stories260K-hf"), 1, &err));
    ASSERT_OK(vlorpi_source_open(&gguf, &mem, shared_data("models/stories260K-gguf/stories260K.gguf"), 1, &err));
    assert_int_equal(vlorpi_source_kind_of(gguf), VLORPI_SOURCE_GGUF);
    assert_int_equal(vlorpi_source_n_tensors(hf), 47);
    assert_int_equal(vlorpi_source_n_tensors(gguf), 47);
    const vlorpi_tensor_info *a = vlorpi_source_find(hf, "model.embed_tokens.weight");
    const vlorpi_tensor_info *b = vlorpi_source_find(gguf, "token_embd.weight");
    assert_true(a->n_bytes == 512 * 64 * 4 && b->n_bytes == a->n_bytes && b->shape[0] == 512 && b->shape[1] == 64);
    assert_memory_equal(a->bytes, b->bytes, a->n_bytes);
    int64_t length;
    assert_true(vlorpi_gguf_get_int(vlorpi_source_gguf(gguf), "llama.context_length", &length) && length == 512);
    vlorpi_source_close(hf);
    vlorpi_source_close(gguf);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_single_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_shards, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_hostile_index, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_paths, make_folder, remove_folder),
        cmocka_unit_test(test_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
