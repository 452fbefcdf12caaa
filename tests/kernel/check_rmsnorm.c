#include "check_support.h"

static const int64_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 131, 257, 576, 2048};
enum { N_WIDTHS = sizeof widths / sizeof widths[0] };
static const float eps = 1e-5f;

typedef struct worst_errors {
    double y, dx, dw;
} worst_errors;

static void check_shape(const vlorpi_model_kernels *k, int64_t N, int64_t D, int64_t offset, uint64_t *state,
                        worst_errors *worst)
{
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    check_array x = check_array_new(N, D, D, offset);
    check_array dy = check_array_new(N, D, D, offset);
    check_array w = check_array_new(1, D, D, offset);
    check_array y = check_array_new(N, D, D, offset);
    check_array rstd = check_array_new(1, N, N, offset);
    check_array dx = check_array_new(N, D, D, offset);
    check_array dw = check_array_new(1, D, D, offset);
    check_fill_uniform(&x, state);
    check_fill_uniform(&dy, state);
    check_fill_uniform(&w, state);
    check_fill_nan(&y);
    check_fill_nan(&rstd);
    check_fill_uniform(&dx, state);
    check_fill_uniform(&dw, state);
    check_array y_ref = check_array_copy(&y);
    check_array rstd_ref = check_array_copy(&rstd);
    check_array dx_ref = check_array_copy(&dx);
    check_array dw_ref = check_array_copy(&dw);
    check_array dw_split = check_array_copy(&dw);

    k->rmsnorm_fwd(y.data, rstd.data, x.data, w.data, N, D, eps);
    ref->rmsnorm_fwd(y_ref.data, rstd_ref.data, x.data, w.data, N, D, eps);
    check_close(&y, &y_ref, 3e-7, &worst->y, "y");
    check_close(&rstd, &rstd_ref, 3e-7, &worst->y, "rstd");
    check_fill_nan(&y);
    k->rmsnorm_fwd(y.data, NULL, x.data, w.data, N, D, eps);
    check_close(&y, &y_ref, 3e-7, &worst->y, "y without rstd");
    check_array in_place = check_array_copy(&x);
    k->rmsnorm_fwd(in_place.data, NULL, in_place.data, w.data, N, D, eps);
    check_same_bits(&in_place, &y, "y in the place of x");

    k->rmsnorm_bwd_x(dx.data, dy.data, x.data, w.data, rstd_ref.data, N, D);
    ref->rmsnorm_bwd_x(dx_ref.data, dy.data, x.data, w.data, rstd_ref.data, N, D);
    check_close(&dx, &dx_ref, 5e-7, &worst->dx, "dx");

    int64_t middle = (int64_t)(test_random(state) % (uint64_t)(D + 1));
    k->rmsnorm_bwd_w(dw.data, dy.data, x.data, rstd_ref.data, N, D, 0, D);
    k->rmsnorm_bwd_w(dw_split.data, dy.data, x.data, rstd_ref.data, N, D, 0, middle);
    k->rmsnorm_bwd_w(dw_split.data, dy.data, x.data, rstd_ref.data, N, D, middle, D);
    ref->rmsnorm_bwd_w(dw_ref.data, dy.data, x.data, rstd_ref.data, N, D, 0, D);
    check_close(&dw, &dw_ref, 5e-7, &worst->dw, "dw");
    check_same_bits(&dw_split, &dw, "dw in two parts");

    check_array *const all[] = {&x,  &dy,    &w,        &y,      &rstd,   &dx,      &dw,
                                &y_ref, &rstd_ref, &dx_ref, &dw_ref, &dw_split, &in_place};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

static void test_shapes(void **unused)
{
    (void)unused;
    static const int64_t rows[] = {0, 1, 2, 5, 33};
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 11;
        worst_errors worst = {0};
        for (int d = 0; d < N_WIDTHS; d++) {
            for (int n = 0; n < 5; n++) {
                check_shape(k->model, rows[n], widths[d], d % 2, &state, &worst);
            }
        }
        (void)fprintf(stderr, "  %-7s y %.1e, dx %.1e, dw %.1e\n", k->name, worst.y, worst.dx, worst.dw);
    }
}

/* One NaN makes its row NaN, forward and backward, and no other. */
static void test_nan(void **unused)
{
    (void)unused;
    enum { D = 37 };
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        float x[2 * D], w[D], y[2 * D], rstd[2], dx[2 * D];
        for (int i = 0; i < 2 * D; i++) {
            x[i] = 1.0f + (float)i;
            dx[i] = 0;
            w[i % D] = 1;
        }
        x[D + D - 1] = NAN;
        k->model->rmsnorm_fwd(y, rstd, x, w, 2, D, eps);
        k->model->rmsnorm_bwd_x(dx, x, x, w, rstd, 2, D);
        assert_true(isfinite(rstd[0]) && isnan(rstd[1]));
        for (int i = 0; i < D; i++) {
            assert_true(isfinite(y[i]) && isnan(y[D + i]) && isfinite(dx[i]) && isnan(dx[D + i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_nan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
