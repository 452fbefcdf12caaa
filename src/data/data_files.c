#include "data/data_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Where a built-in data set lies, best first: a file, or with a star every entry of a folder that
 * has the rest of the path (a file behind a folder, or an ending). */
typedef struct builtin {
    const char *name;
    vlorpi_form form;
    const char *places[3];
} builtin;

static const builtin builtins[] = {
    {"commonsense", VLORPI_FORM_ALPACA,
     {"commonsense_170k.json", "commonsense/commonsense_170k.json", "commonsense/*/train.json"}},
    {"gsm8k", VLORPI_FORM_QA, {"gsm8k/train.jsonl"}},
    {"mmlu", VLORPI_FORM_MMLU, {"mmlu/auxiliary_train/*.csv", "mmlu/dev/*.csv"}},
};

enum { N_BUILTINS = sizeof builtins / sizeof builtins[0], N_PLACES = 3 };

void vlorpi_data_files_deinit(vlorpi_data_files *files)
{
    for (int i = 0; i < files->n; i++) {
        vlorpi_mem_free(files->mem, files->paths[i]);
    }
    vlorpi_mem_free(files->mem, files->paths);
    *files = (vlorpi_data_files){0};
}

static vlorp_status add_path(vlorpi_data_files *files, const char *path, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(files->mem, VLORPI_MEM_DATA, &files->paths, (size_t)files->n + 1,
                              sizeof files->paths[0], err));
    files->paths[files->n] = vlorpi_mem_strdup(files->mem, VLORPI_MEM_DATA, path);
    if (files->paths[files->n] == NULL) {
        return vlorpi_mem_fail(files->mem, VLORPI_MEM_DATA, strlen(path) + 1, err);
    }
    files->n++;
    return VLORP_OK;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text);
    size_t m = strlen(ending);
    return n > m && strcmp(text + n - m, ending) == 0;
}

/* Adds every file that pattern, which has one star, stands for; none when the folder is not there. */
static vlorp_status add_matches(vlorpi_data_files *files, const char *data_dir, const char *pattern, vlorp_err *err)
{
    const char *star = strchr(pattern, '*');
    char folder[PATH_MAX];
    char path[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s/%.*s", data_dir, (int)(star - pattern - 1), pattern) >= PATH_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", data_dir);
    }
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return VLORP_OK;
    }
    vlorp_status status = VLORP_OK;
    for (struct dirent *entry; status == VLORP_OK && (entry = readdir(directory)) != NULL;) {
        bool folders = star[1] == '/';
        if (entry->d_name[0] == '.' || (!folders && !ends_with(entry->d_name, star + 1)) ||
            snprintf(path, sizeof path, "%s/%s%s", folder, entry->d_name, folders ? star + 1 : "") >= PATH_MAX ||
            !is_file(path)) {
            continue;
        }
        status = add_path(files, path, err);
    }
    (void)closedir(directory);
    if (files->n > 0) {
        qsort(files->paths, (size_t)files->n, sizeof files->paths[0], compare_paths);
    }
    return status;
}

/* Adds what lies at one place; nothing when it is not there. */
static vlorp_status add_place(vlorpi_data_files *files, const char *data_dir, const char *place, vlorp_err *err)
{
    char path[PATH_MAX];
    if (strchr(place, '*') != NULL) {
        return add_matches(files, data_dir, place, err);
    }
    if (snprintf(path, sizeof path, "%s/%s", data_dir, place) < PATH_MAX && is_file(path)) {
        return add_path(files, path, err);
    }
    return VLORP_OK;
}

static vlorp_status refuse_missing(const char *what, const char *data_dir, const char *looked_for, const char *remedy,
                                   vlorp_err *err)
{
    vlorp_status status = data_dir == NULL
        ? vlorpi_err_set(err, VLORP_E_ARG, "data set %s: no folder to look for it was given", what)
        : vlorpi_err_set(err, VLORP_E_ARG, "data set %s: %s holds none of %s", what, data_dir, looked_for);
    vlorpi_err_hint(err, "name the folder that holds it with --data_dir%s", remedy);
    return status;
}

static vlorp_status find_builtin(vlorpi_data_files *files, const builtin *set, const char *data_dir, vlorp_err *err)
{
    char looked_for[256] = "";
    files->form = set->form;
    for (int i = 0; i < N_PLACES && set->places[i] != NULL && data_dir != NULL && files->n == 0; i++) {
        VLORP_TRY(add_place(files, data_dir, set->places[i], err));
        size_t n = strlen(looked_for);
        (void)snprintf(looked_for + n, sizeof looked_for - n, "%s%s", n > 0 ? ", " : "", set->places[i]);
    }
    return files->n > 0 ? VLORP_OK
                        : refuse_missing(set->name, data_dir, looked_for, ", or give a file of your own as --dataset",
                                         err);
}

vlorp_status vlorpi_data_files_at(vlorpi_data_files *files, vlorpi_mem *mem, const char *what, const char *data_dir,
                                  const char *place, vlorpi_form form, vlorp_err *err)
{
    *files = (vlorpi_data_files){.mem = mem, .form = form};
    if (data_dir != NULL) {
        VLORP_TRY(add_place(files, data_dir, place, err));
    }
    return files->n > 0 ? VLORP_OK : refuse_missing(what, data_dir, place, "", err);
}

vlorp_status vlorpi_data_files_find(vlorpi_data_files *files, vlorpi_mem *mem, const char *what, const char *data_dir,
                                    vlorp_err *err)
{
    *files = (vlorpi_data_files){.mem = mem, .form = VLORPI_FORM_ANY};
    for (int i = 0; i < N_BUILTINS; i++) {
        if (strcmp(what, builtins[i].name) == 0) {
            return find_builtin(files, &builtins[i], data_dir, err);
        }
    }
    struct stat info;
    if (stat(what, &info) != 0) {
        vlorp_status status = vlorpi_err_set(err, VLORP_E_IO, "%s: %s", what, strerror(errno));
        vlorpi_err_hint(err, "--dataset takes a file, or one of commonsense, gsm8k, mmlu");
        return status;
    }
    if (S_ISDIR(info.st_mode)) {
        vlorp_status status = vlorpi_err_set(err, VLORP_E_ARG, "%s: a folder, where one file of data is wanted", what);
        vlorpi_err_hint(err, "--dataset takes a file, or one of commonsense, gsm8k, mmlu under --data_dir");
        return status;
    }
    return add_path(files, what, err);
}
