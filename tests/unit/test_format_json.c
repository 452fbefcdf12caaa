/* The JSON wrapper: limits, places in errors, reading record by record, the account. */
#include "support.h"

#include "byte_builder.h"
#include "format/json.h"

static vlorpi_mem mem;

static json_t *parse_ok(const char *text)
{
    vlorp_err err;
    json_t *value = NULL;
    ASSERT_OK(vlorpi_json_parse(&value, text, strlen(text), "t.json", &err));
    return value;
}

static void expect_failure(const char *text, vlorp_status status, const char *part)
{
    vlorp_err err = {0};
    json_t *value = (json_t *)1;
    size_t before = vlorpi_mem_now(&mem).total_bytes;
    unsigned char *copy = exact_copy((const unsigned char *)text, strlen(text));
    vlorp_status got = vlorpi_json_parse(&value, (const char *)copy, strlen(text), "t.json", &err);
    free(copy);
    if (got != status || strstr(err.text, part) == NULL) {
        fail_msg("%.60s: status %d, \"%s\"; expected %d, \"%s\"", text, (int)got, err.text, (int)status, part);
    }
    assert_null(value);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, before);
}

static void test_errors(void **state)
{
    (void)state;
    expect_failure("", VLORP_E_FORMAT, "t.json: line 1");
    expect_failure("   \n ", VLORP_E_FORMAT, "t.json: line 2");
    expect_failure("{\"a\": 1,\n \"b\": }", VLORP_E_FORMAT, "t.json: line 2, column 7");
    expect_failure("{\"a\": 1, \"a\": 2}", VLORP_E_FORMAT, "duplicate object key");
    expect_failure("[1, 2", VLORP_E_FORMAT, "line 1");
    expect_failure("[1] [2]", VLORP_E_FORMAT, "end of file expected");
    expect_failure("[1}", VLORP_E_FORMAT, "line 1");
    expect_failure("\"open", VLORP_E_FORMAT, "line 1");
    expect_failure("\"end\\", VLORP_E_FORMAT, "line 1");
    expect_failure("{\"a\\u0000b\": 1}", VLORP_E_FORMAT, "line 1");
    expect_failure("\"\xff\"", VLORP_E_FORMAT, "line 1");
    expect_failure("nul", VLORP_E_FORMAT, "line 1");
    expect_failure("-", VLORP_E_FORMAT, "line 1");
    expect_failure("}", VLORP_E_FORMAT, "line 1");
}

static void test_depth(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    char *text = malloc(MANY + 1);
    assert_non_null(text);
    memset(text, '[', MANY);
    text[MANY] = '\0';
    expect_failure(text, VLORP_E_LIMIT, "nested deeper than 64");
    for (int depth = VLORPI_JSON_MAX_DEPTH; depth <= VLORPI_JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth == VLORPI_JSON_MAX_DEPTH) {
            json_decref(parse_ok(text));
        } else {
            expect_failure(text, VLORP_E_LIMIT, "nested");
        }
    }
    free(text);
    json_decref(parse_ok("{\"brackets in strings\": "
                         "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"\"}"));
}

/* Integers that fit stay integers, larger ones become reals, digits in strings stay text. */
static void test_numbers(void **state)
{
    (void)state;
    json_t *v = parse_ok("{\"n\": [9223372036854775807, -9223372036854775808, 9223372036854775808, "
                         "1000000000000000019884624838656, -123456789012345678901234567890, 1e3, 12],"
                         " \"99999999999999999999999\": \"99999999999999999999999\", \"end\":99999999999999999999}");
    json_t *n = json_object_get(v, "n");
    assert_true(json_integer_value(json_array_get(n, 0)) == INT64_MAX);
    assert_true(json_integer_value(json_array_get(n, 1)) == INT64_MIN);
    assert_true(json_real_value(json_array_get(n, 2)) == 0x1p63);
    assert_true(json_real_value(json_array_get(n, 3)) == 1e30);
    assert_true(json_real_value(json_array_get(n, 4)) == -123456789012345678901234567890.0);
    assert_true(json_real_value(json_array_get(n, 5)) == 1e3);
    assert_true(json_integer_value(json_array_get(n, 6)) == 12);
    assert_string_equal(json_string_value(json_object_get(v, "99999999999999999999999")), "99999999999999999999999");
    assert_true(json_real_value(json_object_get(v, "end")) == 1e20);
    json_decref(v);
    /* across the pieces in which jansson is fed */
    char text[5000];
    for (int pad = 1000; pad < 1050; pad++) {
        (void)snprintf(text, sizeof text, "[\"%0*d\",1000000000000000019884624838656,2]", pad, 7);
        v = parse_ok(text);
        assert_true(json_real_value(json_array_get(v, 1)) == 1e30);
        assert_true(json_integer_value(json_array_get(v, 2)) == 2);
        json_decref(v);
    }
}

static void test_prefix(void **state)
{
    (void)state;
    static const char text[] = "  {\"a\": [1, \"}\"]}\n{\"b\": 2} 17 \"x\\\"y\" true,[]";
    static const size_t ends[] = {17, 26, 29, 36, 41};
    vlorp_err err;
    size_t at = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        json_t *value;
        size_t n_used;
        ASSERT_OK(vlorpi_json_parse_prefix(&value, &n_used, text + at, strlen(text) - at, "t.jsonl", &err));
        at += n_used;
        assert_int_equal(at, ends[i]);
        json_decref(value);
    }
    json_t *value;
    size_t n_used;
    static const char bad[] = "{\"a\":\n 1 2}\n{}";
    assert_int_equal(vlorpi_json_parse_prefix(&value, &n_used, bad, strlen(bad), "t.jsonl", &err), VLORP_E_FORMAT);
    assert_non_null(strstr(err.text, "t.jsonl: line 2"));
    assert_null(value);
}

static void test_account(void **state)
{
    (void)state;
    vlorp_err err;
    static const char text[] = "{\"name\": [1.5, \"text\", {\"k\": null, \"big\": 1000000000000000019884624838656}]}";
    size_t before = vlorpi_mem_now(&mem).total_bytes;
    json_t *value = parse_ok(text);
    assert_true(vlorpi_mem_now(&mem).total_bytes > before + sizeof text);
    json_decref(value);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, before);
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        mem.fail_at = n;
        vlorp_status status = vlorpi_json_parse(&value, text, strlen(text), "t.json", &err);
        mem.fail_at = 0;
        if (status == VLORP_OK) {
            break;
        }
        assert_int_equal(status, VLORP_E_NOMEM);
        assert_null(value);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, before);
        failures++;
    }
    json_decref(value);
    assert_true(failures > 5);
    mem.limit_bytes = vlorpi_mem_now(&mem).total_bytes + 200;
    assert_int_equal(vlorpi_json_parse(&value, text, strlen(text), "t.json", &err), VLORP_E_LIMIT);
    mem.limit_bytes = 0;
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors), cmocka_unit_test(test_depth),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_prefix), cmocka_unit_test(test_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
