/* Reading stored elements as fp32: against the gguf package's values, and against the definition. */
#include "support.h"

#include "base/mapped_file.h"
#include "format/gguf.h"

static const vlorpi_tensor_info *find(const vlorpi_gguf *file, const char *name)
{
    for (int64_t i = 0; i < vlorpi_gguf_n_tensors(file); i++) {
        if (strcmp(vlorpi_gguf_tensor(file, i)->name, name) == 0) {
            return vlorpi_gguf_tensor(file, i);
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Every type, whole and in pieces, equals to the bit what make_quants.py stored beside it. */
static void test_against_reference(void **state)
{
    (void)state;
    static const char *const types[] = {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1",
                                        "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"};
    vlorp_err err;
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_mapped_file mapped;
    vlorpi_gguf *file;
    ASSERT_OK(vlorpi_mapped_file_open(&mapped, "tests/golden/data/quants.gguf", &err));
    ASSERT_OK(vlorpi_gguf_parse(&file, &mem, mapped.bytes, mapped.n_bytes, "quants.gguf", &err));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s.read", types[i]);
        const vlorpi_tensor_info *stored = find(file, types[i]);
        const vlorpi_tensor_info *expected = find(file, name);
        assert_string_equal(stored->storage_name, types[i]);
        assert_int_equal(stored->n_elements, 1024);
        assert_int_equal(stored->shape[0], 2);
        assert_int_equal(stored->shape[1], 512);
        float want[1024];
        float whole[1024];
        float pieces[1024];
        ASSERT_OK(vlorpi_tensor_read_f32(want, expected, 0, 1024, &err));
        ASSERT_OK(vlorpi_tensor_read_f32(whole, stored, 0, 1024, &err));
        for (int64_t at = 0; at < 1024; at += 256) {
            ASSERT_OK(vlorpi_tensor_read_f32(pieces + at, stored, at, 256, &err));
        }
        for (int k = 0; k < 1024; k++) {
            if (memcmp(&want[k], &whole[k], 4) != 0 || memcmp(&want[k], &pieces[k], 4) != 0) {
                fail_msg("%s[%d]: %.9g and %.9g, expected %.9g", types[i], k, (double)whole[k], (double)pieces[k],
                         (double)want[k]);
            }
        }
    }
    vlorpi_gguf_close(file);
    vlorpi_mapped_file_close(&mapped);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* All 65536 halves, against the definition of binary16 in double. */
static void test_every_half(void **state)
{
    (void)state;
    vlorp_err err;
    for (int bits = 0; bits < 65536; bits++) {
        unsigned char bytes[2] = {(unsigned char)(bits & 255), (unsigned char)(bits >> 8)};
        vlorpi_tensor_info info = {.name = "x", .storage = VLORPI_STORAGE_F16, .storage_name = "F16",
                                   .n_elements = 1, .bytes = bytes, .n_bytes = 2};
        float value;
        ASSERT_OK(vlorpi_tensor_read_f32(&value, &info, 0, 1, &err));
        int exponent = bits >> 10 & 31;
        double mantissa = bits & 1023;
        double want = exponent == 31 ? (mantissa > 0 ? (double)NAN : (double)INFINITY)
                      : exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
        want = bits >> 15 != 0 ? -want : want;
        bool same = isnan(want) ? isnan(value) : (double)value == want && !signbit(value) == !signbit(want);
        if (!same) {
            fail_msg("half %04x: %.9g, expected %.9g", (unsigned)bits, (double)value, want);
        }
    }
}

static void test_refusals(void **state)
{
    (void)state;
    vlorp_err err;
    float out[64];
    unsigned char bytes[40] = {0};
    vlorpi_tensor_info info = {.name = "x", .storage = VLORPI_STORAGE_Q4_1, .storage_name = "Q4_1",
                               .n_elements = 64, .bytes = bytes, .n_bytes = 40};
    ASSERT_OK(vlorpi_tensor_read_f32(out, &info, 64, 0, &err));
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, 16, 32, &err), VLORP_E_ARG);
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, 0, 48, &err), VLORP_E_ARG);
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, 32, 64, &err), VLORP_E_ARG);
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, -32, 32, &err), VLORP_E_ARG);
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, 32, INT64_MAX - 31, &err), VLORP_E_ARG);
    info.storage = VLORPI_STORAGE_OTHER;
    info.storage_name = "IQ3_S";
    assert_int_equal(vlorpi_tensor_read_f32(out, &info, 0, 32, &err), VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "IQ3_S"));
    assert_non_null(strstr(err.hint, "Q2_K"));
    assert_int_equal(vlorpi_storage_block_elements(VLORPI_STORAGE_Q6_K), 256);
    assert_int_equal(vlorpi_storage_block_bytes(VLORPI_STORAGE_Q4_1), 20);
    assert_int_equal(vlorpi_storage_block_elements(VLORPI_STORAGE_OTHER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
