#include "checkpoint/new_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/beside.h"

enum { MAX_ATTEMPTS = 100, MAX_TREE_DEPTH = 8 };

static vlorp_status fail(const char *path, vlorp_err *err)
{
    VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes what is inside the open folder.  Takes fd over. */
static void empty_folder(int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (is_dots(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0 || depth == MAX_TREE_DEPTH) {
            continue;
        }
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0) {
            empty_folder(inner, depth + 1);
            (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
    }
    (void)closedir(dir);
}

static void remove_tree(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        empty_folder(fd, 0);
    }
    (void)rmdir(path);
}

/* Whether the folder has nothing in it. */
static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    while (dir != NULL && n < 3 && readdir(dir) != NULL) {
        n++;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return dir != NULL && n <= 2; /* "." and ".." */
}

/* Only a model folder or an empty one is ever replaced: a mistyped path must not cost more. */
static vlorp_status check_place(const vlorpi_new_folder *folder, vlorp_err *err)
{
    struct stat info;
    char config[PATH_MAX + 16];
    if (lstat(folder->place, &info) != 0) {
        return errno == ENOENT ? VLORP_OK : fail(folder->place, err);
    }
    if (!folder->overwrite) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: exists already", folder->place);
        vlorpi_err_hint(err, "choose another place, or --overwrite to replace it");
        return VLORP_E_IO;
    }
    (void)snprintf(config, sizeof config, "%s/config.json", folder->place);
    if (!S_ISDIR(info.st_mode) || (stat(config, &info) != 0 && !is_empty(folder->place))) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: not a model folder, so it is not replaced", folder->place);
    }
    return VLORP_OK;
}

static vlorp_status make_beside(vlorpi_new_folder *folder, vlorp_err *err)
{
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        VLORP_TRY(vlorpi_beside_name(folder->path, sizeof folder->path, folder->place, "partial", attempt, err));
        if (mkdir(folder->path, 0777) == 0) {
            folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (folder->fd < 0) {
                vlorp_status status = fail(folder->path, err);
                (void)rmdir(folder->path);
                return status;
            }
            return VLORP_OK;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return fail(folder->place, err);
}

vlorp_status vlorpi_new_folder_begin(vlorpi_new_folder *folder, const char *place, bool overwrite, vlorp_err *err)
{
    size_t n = strlen(place);
    while (n > 1 && place[n - 1] == '/') {
        n--;
    }
    *folder = (vlorpi_new_folder){.fd = -1, .overwrite = overwrite};
    if (n == 0 || n >= sizeof folder->place) {
        VLORP_FAIL(err, VLORP_E_ARG, "the folder to write has %s name", n == 0 ? "no" : "too long a");
    }
    memcpy(folder->place, place, n);
    VLORP_TRY(check_place(folder, err));
    return make_beside(folder, err);
}

vlorp_status vlorpi_new_folder_check_space(const vlorpi_new_folder *folder, size_t n_bytes, vlorp_err *err)
{
    return vlorpi_beside_check_space(folder->fd, folder->place, n_bytes, err);
}

/* Syncs every file in the folder, whoever wrote it, and the folder itself. */
static vlorp_status sync_files(const vlorpi_new_folder *folder, vlorp_err *err)
{
    int fd = dup(folder->fd);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        vlorp_status failed = fail(folder->place, err);
        if (fd >= 0) {
            (void)close(fd);
        }
        return failed;
    }
    vlorp_status status = VLORP_OK;
    const struct dirent *entry;
    while (status == VLORP_OK && (entry = readdir(dir)) != NULL) {
        if (is_dots(entry->d_name)) {
            continue;
        }
        int file = openat(folder->fd, entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file < 0 || fsync(file) != 0) {
            status = fail(folder->place, err);
        }
        if (file >= 0) {
            (void)close(file);
        }
    }
    (void)closedir(dir);
    if (status == VLORP_OK && fsync(folder->fd) != 0) {
        status = fail(folder->place, err);
    }
    return status;
}

/* Moves what is in the place aside; *aside is empty when nothing was. */
static vlorp_status move_aside(const vlorpi_new_folder *folder, char *aside, size_t n_aside, vlorp_err *err)
{
    VLORP_TRY(check_place(folder, err)); /* again: a save takes time */
    VLORP_TRY(vlorpi_beside_name(aside, n_aside, folder->place, "old", 0, err));
    if (rename(folder->place, aside) != 0) {
        aside[0] = '\0';
        return errno == ENOENT ? VLORP_OK : fail(folder->place, err);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_new_folder_commit(vlorpi_new_folder *folder, vlorp_err *err)
{
    char aside[PATH_MAX] = "";
    vlorp_status status = sync_files(folder, err);
    if (status == VLORP_OK) {
        status = move_aside(folder, aside, sizeof aside, err);
    }
    if (status == VLORP_OK && rename(folder->path, folder->place) != 0) {
        status = fail(folder->place, err);
        if (aside[0] != '\0') {
            (void)rename(aside, folder->place);
        }
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(folder);
        return status;
    }
    (void)close(folder->fd);
    folder->fd = -1;
    vlorpi_beside_sync(folder->place); /* before the old folder goes */
    if (aside[0] != '\0') {
        remove_tree(aside);
    }
    return VLORP_OK;
}

void vlorpi_new_folder_abandon(vlorpi_new_folder *folder)
{
    if (folder->fd >= 0) {
        (void)close(folder->fd);
        folder->fd = -1;
        remove_tree(folder->path);
    }
}
