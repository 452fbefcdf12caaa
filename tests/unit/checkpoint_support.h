/* checkpoint_support.h - a folder of its own for every test that writes models, and models compared. */
#ifndef VLORP_TESTS_CHECKPOINT_SUPPORT_H
#define VLORP_TESTS_CHECKPOINT_SUPPORT_H

#include "support.h"

#include <dirent.h>

#include "checkpoint/convert.h"
#include "format/source.h"

static vlorpi_mem mem;
static char root[64];

static inline int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s/vlorp-checkpoint-XXXXXX", P_tmpdir);
    return mkdtemp(root) != NULL ? 0 : 1;
}

static inline int remove_root(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

/* A path under root, in a static buffer of which four are live. */
static inline const char *path_of(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static inline void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline int n_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int n = 0;
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n - 2;
}

/* Every tensor of the one model is in the other, with the same type and bytes. */
static inline void expect_same_tensors(const char *a, const char *b)
{
    vlorp_err err;
    vlorpi_source *want;
    vlorpi_source *have;
    ASSERT_OK(vlorpi_source_open(&want, &mem, a, 1, &err));
    ASSERT_OK(vlorpi_source_open(&have, &mem, b, 1, &err));
    assert_int_equal(vlorpi_source_n_tensors(want), vlorpi_source_n_tensors(have));
    for (int64_t i = 0; i < vlorpi_source_n_tensors(want); i++) {
        const vlorpi_tensor_info *x = vlorpi_source_tensor(want, i);
        const vlorpi_tensor_info *y = vlorpi_source_find(have, x->name);
        assert_non_null(y);
        assert_string_equal(x->storage_name, y->storage_name);
        assert_int_equal(x->n_bytes, y->n_bytes);
        assert_memory_equal(x->bytes, y->bytes, x->n_bytes);
    }
    vlorpi_source_close(want);
    vlorpi_source_close(have);
}

#endif
