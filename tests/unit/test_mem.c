/* The memory account: growing arrays, limits, failures on demand, and that everything is given back. */
#include "support.h"

#include "base/mem.h"

static vlorpi_mem mem;

static int begin(void **state)
{
    (void)state;
    vlorpi_mem_init(&mem);
    return 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    return vlorpi_mem_now(&mem).total_bytes == 0 ? 0 : -1;
}

static void test_room(void **state)
{
    (void)state;
    enum { N = 100000 };
    vlorp_err err = {0};
    int32_t *items = NULL;
    int n_moves = 0;
    for (int32_t i = 0; i < N; i++) {
        const int32_t *before = items;
        ASSERT_OK(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &items, (size_t)i + 1, sizeof *items, &err));
        n_moves += items != before;
        items[i] = i * 7;
    }
    for (int32_t i = 0; i < N; i++) {
        assert_int_equal(items[i], i * 7);
    }
    assert_in_range(n_moves, 10, 20); /* log 400 kB / 256 to the base of 3/2 is 18 */
    assert_true(vlorpi_mem_now(&mem).total_bytes < 3 * N * sizeof *items / 2 + 1024);
    vlorpi_mem_free(&mem, items);
}

static void test_room_that_is_not_there(void **state)
{
    (void)state;
    vlorp_err err = {0};
    char *text = NULL;
    ASSERT_OK(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &text, 4, 1, &err));
    const char *before = text;
    memcpy(text, "abc", 4);
    assert_int_equal(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &text, SIZE_MAX / 2, 4, &err), VLORP_E_NOMEM);
    assert_int_equal(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &text, SIZE_MAX / 4, 3, NULL), VLORP_E_NOMEM);
    mem.limit_bytes = vlorpi_mem_now(&mem).total_bytes + 1000;
    assert_int_equal(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &text, 600, 1, &err), VLORP_E_LIMIT); /* half as large again */
    assert_non_null(strstr(err.text, "data needs 1156 bytes more"));
    mem.limit_bytes = 0;
    mem.fail_at = 1;
    assert_int_equal(vlorpi_mem_room(&mem, VLORPI_MEM_DATA, &text, 1000, 1, &err), VLORP_E_NOMEM);
    assert_ptr_equal(text, before);
    assert_string_equal(text, "abc");
    vlorpi_mem_free(&mem, text);
}

static void test_account(void **state)
{
    (void)state;
    void *weights = vlorpi_mem_alloc(&mem, VLORPI_MEM_WEIGHTS, 1000);
    void *data = vlorpi_mem_calloc(&mem, VLORPI_MEM_DATA, 10, 100);
    assert_int_equal((uintptr_t)weights % 64, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(((const char *)data)[i], 0);
    }
    assert_int_equal(vlorpi_mem_now(&mem).bytes[VLORPI_MEM_WEIGHTS], vlorpi_mem_footprint(1000));
    vlorpi_mem_free(&mem, weights);
    assert_true(vlorpi_mem_book(&mem, VLORPI_MEM_OTHER, 64)); /* below the peak: it stays the old one */
    vlorpi_mem_usage peak = vlorpi_mem_peak(&mem);
    assert_int_equal(peak.total_bytes, 2 * vlorpi_mem_footprint(1000));
    assert_int_equal(peak.bytes[VLORPI_MEM_OTHER], 0);
    vlorpi_mem_unbook(&mem, VLORPI_MEM_OTHER, 64);
    vlorpi_mem_free(&mem, data);
    vlorpi_mem_free(&mem, NULL);
    assert_null(vlorpi_mem_calloc(&mem, VLORPI_MEM_DATA, SIZE_MAX / 2, 4));
    assert_null(vlorpi_mem_alloc(&mem, VLORPI_MEM_DATA, SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_room, begin, nothing_is_left),
        cmocka_unit_test_setup_teardown(test_room_that_is_not_there, begin, nothing_is_left),
        cmocka_unit_test_setup_teardown(test_account, begin, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
