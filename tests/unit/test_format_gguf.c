/* GGUF: every metadata type, tensors, and what is refused with which words. */
#include "support.h"

#include "byte_builder.h"
#include "format/gguf.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

static vlorpi_mem mem;

static void build_head(builder *b, uint64_t n_tensors, uint64_t n_keys)
{
    build_bytes(b, "GGUF", 4);
    build_u32(b, 3);
    build_u64(b, n_tensors);
    build_u64(b, n_keys);
}

/* A key with a value whose bytes are given. */
static void build_key(builder *b, const char *name, uint32_t type, const void *value, size_t n)
{
    build_string(b, name);
    build_u32(b, type);
    build_bytes(b, value, n);
}

static void build_array_head(builder *b, const char *name, uint32_t item_type, uint64_t n)
{
    build_key(b, name, ARRAY, NULL, 0);
    build_u32(b, item_type);
    build_u64(b, n);
}

/* One 2-dimensional tensor's entry; inner is the length of a row. */
static void build_tensor(builder *b, const char *name, uint64_t inner, uint64_t outer, uint32_t type, uint64_t offset)
{
    build_string(b, name);
    build_u32(b, 2);
    build_u64(b, inner);
    build_u64(b, outer);
    build_u32(b, type);
    build_u64(b, offset);
}

static void build_padding(builder *b, size_t alignment)
{
    build_zeros(b, (alignment - b->n % alignment) % alignment);
}

/* Parses, expects the status and the words, and that the account is back where it was. */
static void expect_failure(builder *b, vlorp_status status, const char *part)
{
    vlorp_err err = {0};
    vlorpi_gguf *file = (vlorpi_gguf *)1;
    unsigned char *copy = exact_copy(b->bytes, b->n);
    vlorp_status got = vlorpi_gguf_parse(&file, &mem, copy, b->n, "t.gguf", &err);
    free(copy);
    if (got != status || strstr(err.text, part) == NULL) {
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", (int)got, err.text, (int)status, part);
    }
    assert_null(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    build_free(b);
}

/* Keys of all types, then two tensors. */
static void build_full(builder *b)
{
    build_head(b, 2, 16);
    build_key(b, "u8", U8, &(uint8_t){200}, 1);
    build_key(b, "i8", I8, &(int8_t){-3}, 1);
    build_key(b, "u16", U16, &(uint16_t){65535}, 2);
    build_key(b, "i16", I16, &(int16_t){-32768}, 2);
    build_key(b, "u32", U32, &(uint32_t){4000000000u}, 4);
    build_key(b, "i32", I32, &(int32_t){-7}, 4);
    build_key(b, "f32", F32, &(float){0.5f}, 4);
    build_key(b, "bool", BOOL, &(uint8_t){1}, 1);
    build_key(b, "u64", U64, &(uint64_t){1u}, 8);
    build_key(b, "big", U64, &(uint64_t){UINT64_MAX}, 8);
    build_key(b, "i64", I64, &(int64_t){INT64_MIN}, 8);
    build_key(b, "f64", F64, &(double){-2.25}, 8);
    build_key(b, "string", STRING, NULL, 0);
    build_string(b, "two\nlines");
    build_array_head(b, "strings", STRING, 3);
    build_string(b, "a");
    build_string(b, "");
    build_string(b, "ccc");
    build_array_head(b, "ints", I16, 2);
    build_bytes(b, (int16_t[]){-1, 300}, 4);
    build_array_head(b, "nested", ARRAY, 2);
    build_u32(b, STRING);
    build_u64(b, 1);
    build_string(b, "inside");
    build_u32(b, F32);
    build_u64(b, 0);
    build_tensor(b, "second", 4, 2, 0, 32);
    build_tensor(b, "first", 32, 1, 3, 0);
    build_padding(b, 32);
    build_zeros(b, 32);
    build_bytes(b, (float[]){1, 2, 3, 4, 5, 6, 7, 8}, 32);
}

static void check_metadata(const vlorpi_gguf *file)
{
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"u8", 200}, {"i8", -3}, {"u16", 65535}, {"i16", -32768}, {"u32", 4000000000}, {"i32", -7},
                {"bool", 1}, {"u64", 1}, {"i64", INT64_MIN}};
    int64_t value;
    double real;
    vlorpi_bytes text;
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        assert_true(vlorpi_gguf_get_int(file, ints[i].key, &value));
        assert_true(value == ints[i].value);
    }
    assert_false(vlorpi_gguf_get_int(file, "big", &value));
    assert_false(vlorpi_gguf_get_int(file, "f32", &value));
    assert_false(vlorpi_gguf_get_int(file, "string", &value));
    assert_false(vlorpi_gguf_get_int(file, "ints", &value));
    assert_false(vlorpi_gguf_get_int(file, "absent", &value));
    assert_true(vlorpi_gguf_get_double(file, "f32", &real) && real == 0.5);
    assert_true(vlorpi_gguf_get_double(file, "f64", &real) && real == -2.25);
    assert_false(vlorpi_gguf_get_double(file, "u8", &real));
    assert_true(vlorpi_gguf_get_string(file, "string", &text) && text.n_bytes == 9);
    assert_true(vlorpi_gguf_array_length(file, "strings") == 3 && vlorpi_gguf_array_length(file, "u8") == -1);
    assert_true(vlorpi_gguf_array_string(file, "strings", 2, &text) && text.n_bytes == 3);
    assert_memory_equal(text.text, "ccc", 3);
    assert_true(vlorpi_gguf_array_string(file, "strings", 1, &text) && text.n_bytes == 0);
    assert_false(vlorpi_gguf_array_string(file, "strings", 3, &text));
    assert_false(vlorpi_gguf_array_string(file, "strings", -1, &text));
    assert_false(vlorpi_gguf_array_string(file, "nested", 0, &text));
    assert_true(vlorpi_gguf_array_length(file, "nested") == 2);
    assert_true(vlorpi_gguf_array_int(file, "ints", 0, &value) && value == -1);
    assert_true(vlorpi_gguf_array_int(file, "ints", 1, &value) && value == 300);
    assert_false(vlorpi_gguf_array_double(file, "ints", 1, &real));
}

static void test_full(void **state)
{
    (void)state;
    static const char *const shown[] = {"200", "-3", "65535", "-32768", "4000000000", "-7", "0.5", "true", "1",
                                        "18446744073709551615", "-9223372036854775808", "-2.25", "\"two\\nlines\"",
                                        "3 strings: \"a\", \"\", \"ccc\"", "2 i16: -1, 300", "2 arrays"};
    vlorp_err err;
    vlorpi_gguf *file;
    builder b = {0};
    build_full(&b);
    ASSERT_OK(vlorpi_gguf_parse(&file, &mem, b.bytes, b.n, "t.gguf", &err));
    check_metadata(file);
    assert_int_equal(vlorpi_gguf_n_keys(file), 16);
    for (int64_t i = 0; i < 16; i++) {
        char text[80];
        vlorpi_gguf_value_text(file, i, text, sizeof text);
        assert_string_equal(text, shown[i]);
        vlorpi_gguf_value_text(file, i, text, 4);
        assert_true(strlen(text) <= 3 && strncmp(text, shown[i], strlen(text)) == 0);
    }
    assert_int_equal(vlorpi_gguf_n_tensors(file), 2);
    const vlorpi_tensor_info *second = vlorpi_gguf_tensor(file, 0);
    assert_string_equal(second->name, "second");
    assert_true(second->shape[0] == 2 && second->shape[1] == 4 && second->n_bytes == 32);
    assert_ptr_equal(second->bytes + 32, b.bytes + b.n);
    float values[8];
    ASSERT_OK(vlorpi_tensor_read_f32(values, second, 0, 8, &err));
    assert_true(values[0] == 1 && values[7] == 8);
    assert_int_equal(vlorpi_gguf_tensor(file, 1)->n_bytes, 20);
    vlorpi_gguf_close(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    build_free(&b);
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    vlorp_err err;
    builder b = {0};
    build_full(&b);
    for (size_t n = 0; n < b.n; n++) {
        vlorpi_gguf *file;
        unsigned char *copy = exact_copy(b.bytes, n);
        assert_int_equal(vlorpi_gguf_parse(&file, &mem, copy, n, "t.gguf", &err), VLORP_E_FORMAT);
        assert_null(file);
        free(copy);
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    build_free(&b);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_gguf *file;
    builder b = {0};
    build_full(&b);
    uint64_t n = 1;
    for (;; n++) {
        mem.fail_at = n;
        vlorp_status status = vlorpi_gguf_parse(&file, &mem, b.bytes, b.n, "t.gguf", &err);
        mem.fail_at = 0;
        if (status == VLORP_OK) {
            break;
        }
        assert_int_equal(status, VLORP_E_NOMEM);
        assert_null(file);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    assert_true(n > 7);
    vlorpi_gguf_close(file);
    build_free(&b);
}

static void test_hostile_heads(void **state)
{
    (void)state;
    builder b = {0};
    expect_failure(&b, VLORP_E_FORMAT, "byte 0: the file ends inside the magic number");
    build_bytes(&b, "GGML\3\0\0\0", 8);
    expect_failure(&b, VLORP_E_FORMAT, "does not start with GGUF");
    build_bytes(&b, "GGUF\1\0\0\0", 8);
    expect_failure(&b, VLORP_E_UNSUPPORTED, "GGUF version 1;");
    build_bytes(&b, "GGUF\0\0\0\3", 8);
    expect_failure(&b, VLORP_E_UNSUPPORTED, "big-endian");
    build_head(&b, UINT64_MAX, 0);
    expect_failure(&b, VLORP_E_FORMAT, "do not fit");
    build_head(&b, 0, UINT64_MAX / 2);
    expect_failure(&b, VLORP_E_FORMAT, "do not fit");
    build_head(&b, 0, 100000);
    build_zeros(&b, 100000 * 20);
    expect_failure(&b, VLORP_E_LIMIT, "100000 keys");
}

static void test_hostile_keys(void **state)
{
    (void)state;
    builder b = {0};
    build_head(&b, 0, 1);
    build_u64(&b, UINT64_MAX - 3);
    build_zeros(&b, 64);
    expect_failure(&b, VLORP_E_FORMAT, "a key of 18446744073709551612 bytes");
    build_head(&b, 0, 1);
    build_key(&b, "", U8, "x", 1);
    build_zeros(&b, 64);
    expect_failure(&b, VLORP_E_FORMAT, "a key is empty");
    build_head(&b, 0, 1);
    build_key(&b, "a\033[2J", U8, "x", 1);
    expect_failure(&b, VLORP_E_FORMAT, "control characters");
    build_head(&b, 0, 2);
    build_key(&b, "twice", U8, "x", 1);
    build_key(&b, "twice", U8, "x", 1);
    expect_failure(&b, VLORP_E_FORMAT, "key twice comes twice");
    build_head(&b, 0, 1);
    build_key(&b, "a", 13, "x", 1);
    expect_failure(&b, VLORP_E_FORMAT, "unknown value type 13");
    build_head(&b, 0, 1);
    build_key(&b, "a", BOOL, "\2", 1);
    expect_failure(&b, VLORP_E_FORMAT, "a boolean of value 2");
    build_head(&b, 0, 1);
    build_array_head(&b, "a", U64, UINT64_MAX / 4);
    expect_failure(&b, VLORP_E_FORMAT, "an array of 4611686018427387903 elements");
    build_head(&b, 0, 1);
    build_array_head(&b, "a", STRING, 20);
    build_zeros(&b, 60);
    expect_failure(&b, VLORP_E_FORMAT, "ends inside an array of strings");
    build_head(&b, 0, 1);
    build_key(&b, "a", ARRAY, NULL, 0);
    for (int depth = 0; depth < 100000; depth++) {
        build_u32(&b, ARRAY);
        build_u64(&b, 1);
    }
    expect_failure(&b, VLORP_E_LIMIT, "nested deeper than");
    for (uint32_t alignment = 0; alignment <= 48; alignment += 24) {
        build_head(&b, 0, 1);
        build_key(&b, "general.alignment", U32, &alignment, 4);
        expect_failure(&b, VLORP_E_FORMAT, "general.alignment");
    }
}

static void expect_tensor_failure(uint64_t inner, uint64_t outer, uint32_t type, uint64_t offset, vlorp_status status,
                                  const char *part)
{
    builder b = {0};
    build_head(&b, 1, 0);
    build_tensor(&b, "t", inner, outer, type, offset);
    build_padding(&b, 32);
    build_zeros(&b, 128);
    expect_failure(&b, status, part);
}

static void test_hostile_tensors(void **state)
{
    (void)state;
    expect_tensor_failure((uint64_t)1 << 40, (uint64_t)1 << 40, 0, 0, VLORP_E_FORMAT, "product is beyond 2^63");
    expect_tensor_failure((uint64_t)1 << 30, (uint64_t)1 << 31, 0, 0, VLORP_E_FORMAT, "needs data bytes");
    expect_tensor_failure(UINT64_MAX, 1, 0, 0, VLORP_E_FORMAT, "beyond 2^63");
    expect_tensor_failure((uint64_t)1 << 62, 1, 28, 0, VLORP_E_FORMAT, "more than 2^64 bytes");
    expect_tensor_failure(33, 1, 0, 0, VLORP_E_FORMAT, "needs data bytes 0 to 132, the file has 128");
    expect_tensor_failure(32, 1, 0, 32, VLORP_E_FORMAT, "needs data bytes");
    expect_tensor_failure(32, 1, 0, UINT64_MAX - 31, VLORP_E_FORMAT, "beyond 2^64");
    expect_tensor_failure(4, 1, 0, 4, VLORP_E_FORMAT, "not a multiple of the alignment");
    expect_tensor_failure(48, 1, 3, 0, VLORP_E_FORMAT, "not whole blocks of Q4_1");
    expect_tensor_failure(32, 1, 99, 0, VLORP_E_UNSUPPORTED, "unknown type number 99");
    builder b = {0};
    for (int twice = 0; twice < 2; twice++) {
        build_head(&b, 3, 0);
        build_tensor(&b, "a", 16, 1, 0, 64);
        build_tensor(&b, "b", 16, 1, 0, 0);
        build_tensor(&b, twice ? "a" : "c", 16, 1, 0, 32);
        build_padding(&b, 32);
        build_zeros(&b, 128);
        expect_failure(&b, VLORP_E_FORMAT, twice ? "tensor a comes twice" : "tensors b and c share bytes");
    }
    build_head(&b, 1, 0);
    build_string(&b, "t");
    build_u32(&b, UINT32_MAX);
    build_zeros(&b, 64);
    expect_failure(&b, VLORP_E_FORMAT, "ends inside a tensor's entry");
    build_head(&b, 1, 0);
    build_string(&b, "t");
    build_u32(&b, 5);
    build_zeros(&b, 64);
    expect_failure(&b, VLORP_E_FORMAT, "5 dimensions");
}

/* 100000 tensors, in falling order of offset, are an ordinary file. */
static void test_many_tensors(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    vlorp_err err;
    vlorpi_gguf *file;
    builder b = {0};
    build_head(&b, MANY, 0);
    for (int i = 0; i < MANY; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "tensor.%d", i);
        build_tensor(&b, name, 8, 1, 0, (uint64_t)(MANY - 1 - i) * 32);
    }
    build_padding(&b, 32);
    build_zeros(&b, (size_t)MANY * 32);
    ASSERT_OK(vlorpi_gguf_parse(&file, &mem, b.bytes, b.n, "t.gguf", &err));
    assert_int_equal(vlorpi_gguf_n_tensors(file), MANY);
    assert_ptr_equal(vlorpi_gguf_tensor(file, 0)->bytes + 32, b.bytes + b.n);
    vlorpi_gguf_close(file);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    build_free(&b);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),           cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_failing_allocations), cmocka_unit_test(test_hostile_heads),
        cmocka_unit_test(test_hostile_keys),   cmocka_unit_test(test_hostile_tensors),
        cmocka_unit_test(test_many_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
