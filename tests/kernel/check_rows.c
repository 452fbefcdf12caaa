/* add, embed, gather, scatter, argmax, find_nonfinite: exact, so every level gives the same bits. */
#include "check_support.h"

static const int64_t widths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 129, 300};
enum { N_WIDTHS = sizeof widths / sizeof widths[0], N_ROWS = 11, N_IDS = 17 };

static void test_add(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 15;
        for (int i = 0; i < N_WIDTHS; i++) {
            check_array y = check_array_new(1, widths[i], widths[i], i % 2);
            check_array x = check_array_new(1, widths[i], widths[i], 1);
            check_fill_uniform(&y, &state);
            check_fill_uniform(&x, &state);
            check_array want = check_array_copy(&y);
            for (int64_t d = 0; d < widths[i]; d++) {
                want.data[d] += x.data[d];
            }
            k->model->add(y.data, x.data, widths[i]);
            check_guards(&y, "add");
            check_same_bits(&y, &want, "add");
            check_array_free(&y);
            check_array_free(&x);
            check_array_free(&want);
        }
    }
}

static void check_row_width(const vlorpi_model_kernels *k, int64_t D, int64_t gap, uint64_t *state)
{
    check_array table = check_array_new(N_ROWS, D, D, gap);
    check_array wide = check_array_new(N_ROWS, D, D + gap, gap);
    check_array y = check_array_new(N_IDS, D, D, gap);
    uint16_t table_bf16[N_ROWS * 300];
    int32_t ids[N_IDS];
    check_fill_integers(&table, state); /* exact in bf16 */
    check_fill_integers(&wide, state);
    for (int64_t i = 0; i < N_ROWS * D; i++) {
        table_bf16[i] = check_bf16(table.data[i]);
    }
    for (int t = 0; t < N_IDS; t++) {
        ids[t] = (int32_t)(test_random(state) % N_ROWS);
    }
    check_array want = check_array_copy(&y);
    check_array sums = check_array_copy(&wide);
    for (int t = 0; t < N_IDS; t++) {
        for (int64_t d = 0; d < D; d++) {
            want.data[t * D + d] = table.data[ids[t] * D + d];
            sums.data[ids[t] * sums.ld + d] += want.data[t * D + d];
        }
    }
    k->embed_fwd_f32(y.data, table.data, ids, N_IDS, D);
    check_same_bits(&y, &want, "embed_fwd_f32");
    check_fill_nan(&y);
    k->embed_fwd_bf16(y.data, table_bf16, ids, N_IDS, D);
    check_same_bits(&y, &want, "embed_fwd_bf16");
    k->scatter_add_rows(wide.data, wide.ld, y.data, ids, N_IDS, D);
    check_guards(&wide, "scatter_add_rows");
    check_same_bits(&wide, &sums, "scatter_add_rows");
    k->gather_rows(y.data, wide.data, wide.ld, ids, N_IDS, D);
    check_guards(&y, "gather_rows");
    for (int t = 0; t < N_IDS; t++) {
        assert_memory_equal(y.data + t * D, wide.data + ids[t] * wide.ld, (size_t)D * sizeof(float));
    }
    k->gather_rows(y.data, wide.data, wide.ld, ids, 0, D);
    k->scatter_add_rows(wide.data, wide.ld, y.data, ids, 0, D);
    check_same_bits(&wide, &sums, "no rows");
    check_array *const all[] = {&table, &wide, &y, &want, &sums};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

static void test_rows(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 16;
        for (int i = 0; i < N_WIDTHS; i++) {
            check_row_width(k->model, widths[i], 0, &state);
            check_row_width(k->model, widths[i], 3, &state);
        }
    }
}

static void test_argmax(void **unused)
{
    (void)unused;
    enum { MAX = 131 };
    float x[MAX];
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        assert_int_equal(k->model->argmax(x, 0), 0);
        for (int n = 1; n <= MAX; n++) {
            for (int at = 0; at < n; at++) {
                for (int i = 0; i < n; i++) {
                    x[i] = i % 5 == 3 ? NAN : -2.0f - (float)(i % 3);
                }
                x[at] = -1.0f;
                x[n - 1 - (n - 1 - at) / 2] = -1.0f; /* an equal one behind */
                assert_int_equal(k->model->argmax(x, n), at);
            }
        }
        for (int i = 0; i < MAX; i++) {
            x[i] = i % 2 == 0 ? NAN : -INFINITY;
        }
        assert_int_equal(k->model->argmax(x, MAX), 0);
        x[77] = INFINITY;
        assert_int_equal(k->model->argmax(x, MAX), 77);
    }
}

static void test_find_nonfinite(void **unused)
{
    (void)unused;
    enum { MAX = 300 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float x[MAX];
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        for (int i = 0; i < MAX; i++) {
            x[i] = i % 2 == 0 ? 3.4e38f : -0x1p-149f;
        }
        assert_int_equal(k->model->find_nonfinite(x, 0), -1);
        assert_int_equal(k->model->find_nonfinite(x, MAX), -1);
        for (int at = 0; at < MAX; at++) {
            float kept = x[at];
            x[at] = bad[at % 3];
            assert_int_equal(k->model->find_nonfinite(x, MAX), at);
            assert_int_equal(k->model->find_nonfinite(x, at), -1);
            assert_int_equal(k->model->find_nonfinite(x, at + 1), at);
            x[at] = kept;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_add), cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_argmax), cmocka_unit_test(test_find_nonfinite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
