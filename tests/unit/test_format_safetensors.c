/* safetensors: reading, writing of headers, and what is refused with which words. */
#include "support.h"

#include "byte_builder.h"
#include "format/json.h"
#include "format/safetensors.h"

static vlorpi_mem mem;

static const char GOOD[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                           "\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},"
                           "\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[8,8]},"
                           "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[32,40]}}   ";

static void test_good(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_safetensors *file;
    builder b = {0};
    build_safetensors(&b, GOOD, 40);
    ASSERT_OK(vlorpi_safetensors_parse(&file, &mem, b.bytes, b.n, "t.safetensors", &err));
    assert_int_equal(vlorpi_safetensors_n_tensors(file), 4);
    const vlorpi_tensor_info *tensor = vlorpi_safetensors_tensor(file, 0);
    assert_string_equal(tensor->name, "b");
    assert_int_equal(tensor->storage, VLORPI_STORAGE_F32);
    assert_true(tensor->n_dims == 2 && tensor->shape[0] == 2 && tensor->shape[1] == 3 && tensor->n_elements == 6);
    assert_ptr_equal(tensor->bytes, b.bytes + 8 + strlen(GOOD) + 8);
    assert_int_equal(vlorpi_safetensors_tensor(file, 2)->n_elements, 0);
    tensor = vlorpi_safetensors_tensor(file, 3);
    assert_int_equal(tensor->storage, VLORPI_STORAGE_OTHER);
    assert_string_equal(tensor->storage_name, "I64");
    assert_true(tensor->n_dims == 0 && tensor->n_elements == 1 && tensor->n_bytes == 8);
    const json_t *format = json_object_get(vlorpi_safetensors_metadata(file), "format");
    assert_string_equal(json_string_value(format), "pt");
    vlorpi_safetensors_close(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *copy = exact_copy(b.bytes, n);
        assert_int_equal(vlorpi_safetensors_parse(&file, &mem, copy, n, "t", &err), VLORP_E_FORMAT);
        free(copy);
    }
    for (uint64_t n = 1;; n++) {
        mem.fail_at = n;
        vlorp_status status = vlorpi_safetensors_parse(&file, &mem, b.bytes, b.n, "t", &err);
        mem.fail_at = 0;
        if (status == VLORP_OK) {
            break;
        }
        assert_int_equal(status, VLORP_E_NOMEM);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    vlorpi_safetensors_close(file);
    build_free(&b);
}

static void expect_failure(const char *header, size_t n_data, vlorp_status status, const char *part)
{
    vlorp_err err = {0};
    vlorpi_safetensors *file = (vlorpi_safetensors *)1;
    builder b = {0};
    build_safetensors(&b, header, n_data);
    unsigned char *copy = exact_copy(b.bytes, b.n);
    vlorp_status got = vlorpi_safetensors_parse(&file, &mem, copy, b.n, "t", &err);
    if (got != status || strstr(err.text, part) == NULL) {
        fail_msg("%.200s: status %d, \"%s\"; expected %d, \"%s\"", header, (int)got, err.text, (int)status, part);
    }
    assert_null(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    free(copy);
    build_free(&b);
}

#define ONE(dtype, shape, offsets) "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_hostile(void **state)
{
    (void)state;
    expect_failure("", 0, VLORP_E_FORMAT, "line 1");
    expect_failure("[1]", 0, VLORP_E_FORMAT, "not a JSON object");
    expect_failure("{\"x\":1}", 0, VLORP_E_FORMAT, "tensor x: dtype is missing");
    expect_failure("{\"x\":{},\"x\":{}}", 0, VLORP_E_FORMAT, "duplicate");
    expect_failure("{\"\":{}}", 0, VLORP_E_FORMAT, "the name is empty");
    expect_failure("{\"a\\u001b[2J\":{}}", 0, VLORP_E_FORMAT, "control characters");
    expect_failure("{\"__metadata__\":{\"n\":1}}", 0, VLORP_E_FORMAT, "__metadata__ is not a table of strings");
    expect_failure(ONE("\"F99\"", "[1]", "[0,4]"), 4, VLORP_E_UNSUPPORTED, "unknown dtype F99");
    expect_failure(ONE("\"F32\"", "3", "[0,4]"), 4, VLORP_E_FORMAT, "shape is missing or not a list");
    expect_failure(ONE("\"F32\"", "[1,1,1,1,1]", "[0,4]"), 4, VLORP_E_UNSUPPORTED, "5 dimensions");
    expect_failure(ONE("\"F32\"", "[-1]", "[0,4]"), 4, VLORP_E_FORMAT, "shape[0] is not a whole number");
    expect_failure(ONE("\"F32\"", "[1.5]", "[0,4]"), 4, VLORP_E_FORMAT, "shape[0] is not a whole number");
    expect_failure(ONE("\"F32\"", "[18446744073709551617]", "[0,4]"), 4, VLORP_E_FORMAT, "shape[0] is not");
    expect_failure(ONE("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, VLORP_E_FORMAT, "product is beyond");
    expect_failure(ONE("\"F32\"", "[4611686018427387904]", "[0,0]"), 0, VLORP_E_FORMAT, "do not take the 0 bytes");
    expect_failure(ONE("\"F32\"", "[2]", "[0,4]"), 4, VLORP_E_FORMAT, "2 elements of F32 do not take the 4 bytes");
    expect_failure(ONE("\"F32\"", "[2]", "[0,8]"), 4, VLORP_E_FORMAT, "not inside the file's 4 data bytes");
    expect_failure(ONE("\"F32\"", "[1]", "[4,8]"), 8, VLORP_E_FORMAT, "begins at data byte 4");
    expect_failure(ONE("\"F32\"", "[1]", "[0,4]"), 8, VLORP_E_FORMAT, "tensors end at data byte 4 of 8");
    expect_failure(ONE("\"F32\"", "[1]", "[4,0]"), 8, VLORP_E_FORMAT, "not inside");
    expect_failure(ONE("\"F32\"", "[1]", "[-4,0]"), 8, VLORP_E_FORMAT, "not inside");
    expect_failure(ONE("\"F32\"", "[1]", "[9223372036854775804,9223372036854775807]"), 8, VLORP_E_FORMAT, "not inside");
    expect_failure(ONE("\"F32\"", "[1]", "[0,4,8]"), 8, VLORP_E_FORMAT, "list of two");
    expect_failure(ONE("\"F4\"", "[3]", "[0,1]"), 1, VLORP_E_FORMAT, "do not take");
    expect_failure("{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                   "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, VLORP_E_FORMAT,
                   "tensor y: begins at data byte 2, the one before ends at 4");
}

static void test_hostile_lengths(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_safetensors *file;
    static const uint64_t lengths[] = {1, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        builder b = {0};
        build_u64(&b, lengths[i]);
        assert_int_equal(vlorpi_safetensors_parse(&file, &mem, b.bytes, b.n, "t", &err), VLORP_E_FORMAT);
        assert_non_null(strstr(err.text, "truncated"));
        build_free(&b);
    }
    builder b = {0};
    build_u64(&b, VLORPI_SAFETENSORS_MAX_HEADER_BYTES + 1);
    build_zeros(&b, VLORPI_SAFETENSORS_MAX_HEADER_BYTES + 1);
    assert_int_equal(vlorpi_safetensors_parse(&file, &mem, b.bytes, b.n, "t", &err), VLORP_E_LIMIT);
    build_free(&b);
}

/* 100000 tensors, written by vlorpi_safetensors_header and read back. */
static void test_header_round_trip(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    vlorp_err err;
    vlorpi_safetensors *file;
    vlorpi_tensor_info *infos = calloc(MANY, sizeof *infos);
    char(*names)[48] = calloc(MANY, sizeof *names);
    assert_non_null(infos);
    assert_non_null(names);
    size_t n_data = 0;
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "layer.%d.\"w\\%d\"", i, i % 7);
        infos[i] = (vlorpi_tensor_info){.name = names[i], .storage = i % 2 ? VLORPI_STORAGE_F32 : VLORPI_STORAGE_BF16,
                                        .n_dims = 2, .shape = {i % 3, 2}};
        n_data += (size_t)(i % 3) * 2 * (i % 2 ? 4 : 2);
    }
    size_t n_header = vlorpi_safetensors_header(NULL, 0, infos, MANY);
    assert_int_equal(n_header % 8, 0);
    builder b = {0};
    build_zeros(&b, n_header + n_data);
    assert_int_equal(vlorpi_safetensors_header(b.bytes, n_header, infos, MANY), n_header);
    ASSERT_OK(vlorpi_safetensors_parse(&file, &mem, b.bytes, b.n, "t", &err));
    assert_int_equal(vlorpi_safetensors_n_tensors(file), MANY);
    for (int i = 0; i < MANY; i++) {
        const vlorpi_tensor_info *read = vlorpi_safetensors_tensor(file, i);
        assert_string_equal(read->name, names[i]);
        assert_true(read->storage == infos[i].storage && read->shape[0] == i % 3 && read->shape[1] == 2);
    }
    vlorpi_safetensors_close(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    build_free(&b);
    free(infos);
    free(names);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_header_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
