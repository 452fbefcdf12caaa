/* Settings per matrix: a table of what is asked and what is used. */
#include "support.h"

#include <vlorp/projector.h>

typedef struct row {
    int64_t n, m;
    vlorp_side side;
    int64_t factor, rank, budget;
    vlorp_status status;
    vlorp_side used_side;
    int64_t c, r, d;
    bool exact, adjusted;
} row;

static const row rows[] = {
    /* asked as it fits */
    {576, 576, VLORP_SIDE_AUTO, 64, 1, 0, VLORP_OK, VLORP_SIDE_RIGHT, 64, 1, 9, false, false},
    {576, 1536, VLORP_SIDE_AUTO, 64, 1, 0, VLORP_OK, VLORP_SIDE_LEFT, 64, 1, 9, false, false},
    {1536, 576, VLORP_SIDE_LEFT, 16, 4, 0, VLORP_OK, VLORP_SIDE_LEFT, 16, 4, 96, false, false},
    {192, 576, VLORP_SIDE_RIGHT, 1, 8, 0, VLORP_OK, VLORP_SIDE_RIGHT, 1, 8, 576, false, false},
    /* c does not divide: gcd, M kept */
    {576, 576, VLORP_SIDE_AUTO, 256, 1, 0, VLORP_OK, VLORP_SIDE_RIGHT, 64, 4, 9, false, true},
    {100, 100, VLORP_SIDE_AUTO, 64, 1, 0, VLORP_OK, VLORP_SIDE_RIGHT, 4, 16, 25, false, true},
    {97, 97, VLORP_SIDE_AUTO, 8, 2, 0, VLORP_OK, VLORP_SIDE_RIGHT, 1, 16, 97, false, true},
    /* the budget */
    {576, 576, VLORP_SIDE_AUTO, 0, 0, 64, VLORP_OK, VLORP_SIDE_RIGHT, 64, 1, 9, false, false},
    {576, 576, VLORP_SIDE_AUTO, 0, 0, 256, VLORP_OK, VLORP_SIDE_RIGHT, 64, 4, 9, false, false},
    {576, 576, VLORP_SIDE_AUTO, 16, 0, 64, VLORP_OK, VLORP_SIDE_RIGHT, 16, 4, 36, false, false},
    {576, 576, VLORP_SIDE_AUTO, 0, 2, 64, VLORP_OK, VLORP_SIDE_RIGHT, 32, 2, 18, false, false},
    {576, 576, VLORP_SIDE_AUTO, 32, 2, 64, VLORP_OK, VLORP_SIDE_RIGHT, 32, 2, 18, false, false},
    /* M reaches the dimension: exact */
    {192, 576, VLORP_SIDE_AUTO, 0, 0, 256, VLORP_OK, VLORP_SIDE_LEFT, 192, 1, 1, true, false},
    {64, 64, VLORP_SIDE_AUTO, 64, 1, 0, VLORP_OK, VLORP_SIDE_RIGHT, 64, 1, 1, true, true},
    {1, 16, VLORP_SIDE_AUTO, 0, 0, 16, VLORP_OK, VLORP_SIDE_LEFT, 1, 1, 1, true, false},
    /* disagreements */
    {576, 576, VLORP_SIDE_AUTO, 64, 2, 64, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, 48, 0, 64, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, 0, 3, 64, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, 0, 0, 0, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, 64, 0, 0, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, -1, 1, 0, VLORP_E_ARG, 0, 0, 0, 0, false, false},
    {576, 576, VLORP_SIDE_AUTO, INT64_MAX, 2, 0, VLORP_E_ARG, 0, 0, 0, 0, false, false},
};

static void every_row_resolves_as_stated(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *t = &rows[i];
        vlorp_projection asked = vlorp_projection_default();
        asked.side = t->side;
        asked.factor = t->factor;
        asked.rank = t->rank;
        asked.budget = t->budget;
        vlorp_projection_used used;
        vlorp_err err = {0};
        vlorp_status status = vlorp_projection_resolve(&used, &asked, "w", t->n, t->m, &err);
        if (status != t->status) {
            fail_msg("row %zu: status %d: %s", i, (int)status, err.text);
        }
        if (status != VLORP_OK) {
            continue;
        }
        if (used.side != t->used_side || used.c != t->c || used.r != t->r || used.d != t->d ||
            used.exact != t->exact || used.adjusted != t->adjusted) {
            fail_msg("row %zu: side %d c %lld r %lld d %lld exact %d adjusted %d", i, (int)used.side,
                     (long long)used.c, (long long)used.r, (long long)used.d, used.exact, used.adjusted);
        }
        assert_int_equal(used.c * used.d, used.s_dim);
        assert_int_equal(used.c * used.r, used.M);
        assert_int_equal(used.s_dim * used.u_dim, t->n * t->m);
    }
}

static void strict_names_matrix_shape_and_neighbours(void **state)
{
    (void)state;
    vlorp_projection asked = vlorp_projection_default();
    asked.factor = 50;
    asked.rank = 1;
    asked.strict = true;
    vlorp_projection_used used;
    vlorp_err err = {0};
    assert_int_equal(vlorp_projection_resolve(&used, &asked, "layers.0.q", 576, 576, &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "layers.0.q [576, 576]"));
    assert_non_null(strstr(err.hint, "48, 64"));
    asked.factor = 48;
    ASSERT_OK(vlorp_projection_resolve(&used, &asked, "layers.0.q", 576, 576, &err));
    asked.factor = 576;
    assert_int_equal(vlorp_projection_resolve(&used, &asked, "layers.0.q", 576, 576, &err), VLORP_E_ARG);
    asked.factor = 0;
    asked.rank = 0;
    asked.budget = 1024;
    ASSERT_OK(vlorp_projection_resolve(&used, &asked, "layers.0.q", 576, 576, &err));
    assert_true(used.exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_resolves_as_stated),
        cmocka_unit_test(strict_names_matrix_shape_and_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
