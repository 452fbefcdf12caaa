#include "check_support.h"

enum { N_POS = 50 };
static const int64_t head_widths[] = {2, 6, 8, 16, 18, 32, 34, 62, 64, 66, 128};
enum { N_WIDTHS = sizeof head_widths / sizeof head_widths[0] };

typedef void filler(check_array *a, uint64_t *state);

/* Both directions; exact: integer inputs, so that every level must give the reference's bits. */
static void check_shape(const vlorpi_model_kernels *k, int64_t N, int64_t H, int64_t E, int64_t gap, bool exact,
                        uint64_t *state, double *worst)
{
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    filler *fill = exact ? check_fill_integers : check_fill_uniform;
    check_array cosines = check_array_new(N_POS, E / 2, E / 2, gap);
    check_array sines = check_array_new(N_POS, E / 2, E / 2, gap);
    check_array got = check_array_new(N, H * E, H * E + gap, gap);
    fill(&cosines, state);
    fill(&sines, state);
    fill(&got, state);
    check_array want = check_array_copy(&got);
    int32_t pos[64];
    for (int t = 0; t < 64; t++) {
        pos[t] = (int32_t)(test_random(state) % N_POS);
    }
    k->rope_fwd(got.data, got.ld, pos, cosines.data, sines.data, N, H, E);
    ref->rope_fwd(want.data, want.ld, pos, cosines.data, sines.data, N, H, E);
    check_close(&got, &want, exact ? 0 : 2e-7, worst, "rope_fwd");
    memcpy(got.block, want.block, (size_t)got.n_block * sizeof(float));
    k->rope_bwd(got.data, got.ld, pos, cosines.data, sines.data, N, H, E);
    ref->rope_bwd(want.data, want.ld, pos, cosines.data, sines.data, N, H, E);
    check_close(&got, &want, exact ? 0 : 2e-7, worst, "rope_bwd");
    check_array_free(&cosines);
    check_array_free(&sines);
    check_array_free(&got);
    check_array_free(&want);
}

static void test_shapes(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 12;
        double worst = 0;
        for (int e = 0; e < N_WIDTHS; e++) {
            for (int64_t gap = 0; gap < 4; gap += 3) {
                for (int exact = 0; exact < 2; exact++) {
                    check_shape(k->model, 0, 3, head_widths[e], gap, exact, &state, &worst);
                    check_shape(k->model, 1, 1, head_widths[e], gap, exact, &state, &worst);
                    check_shape(k->model, 13, 3, head_widths[e], gap, exact, &state, &worst);
                }
            }
        }
        (void)fprintf(stderr, "  %-7s %.1e\n", k->name, worst);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
