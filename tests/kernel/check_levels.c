/* The kernel table: which level is chosen, and that every level is whole. */
#include "support.h"

#include "kernel/cpu.h"
#include "kernel/kernel.h"

static void test_every_level_is_whole(void **unused)
{
    (void)unused;
    assert_string_equal(vlorpi_kernels_at(0)->name, "ref");
    assert_null(vlorpi_kernels_at(-1));
    assert_null(vlorpi_kernels_at(99));
    for (int i = 0; vlorpi_kernels_at(i) != NULL; i++) {
        const vlorpi_kernels *k = vlorpi_kernels_at(i);
        assert_true(vlorpi_cpu_runs(k->name));
        assert_non_null(k->gemm);
        assert_non_null(k->model);
        assert_non_null(k->optim);
    }
}

static void test_the_highest_level_wins(void **unused)
{
    (void)unused;
    const vlorpi_kernels *best = vlorpi_kernels_select(NULL);
    assert_non_null(best);
    int i = 0;
    while (vlorpi_kernels_at(i + 1) != NULL) {
        i++;
    }
    assert_ptr_equal(best, vlorpi_kernels_at(i));
}

static void test_a_name_bounds_the_level(void **unused)
{
    (void)unused;
    for (int i = 0; vlorpi_kernels_at(i) != NULL; i++) {
        assert_ptr_equal(vlorpi_kernels_select(vlorpi_kernels_at(i)->name), vlorpi_kernels_at(i));
    }
    /* the levels of another machine bound nothing here, but they are names */
    assert_non_null(vlorpi_kernels_select("avx512"));
    assert_non_null(vlorpi_kernels_select("neon"));
    assert_null(vlorpi_kernels_select("sse9"));
    assert_null(vlorpi_kernels_select(""));
    assert_false(vlorpi_cpu_runs("sse9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level_is_whole),
        cmocka_unit_test(test_the_highest_level_wins),
        cmocka_unit_test(test_a_name_bounds_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
