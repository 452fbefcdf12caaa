#include "checkpoint/new_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "checkpoint/beside.h"
#include "checkpoint/file_writer.h"

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

void vlorpi_remove_tree(const char *path)
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

static bool holds(const char *path, const char *name)
{
    struct stat info;
    char inner[PATH_MAX + 32];
    (void)snprintf(inner, sizeof inner, "%s/%s", path, name);
    return stat(inner, &info) == 0;
}

/* Only a model folder, an adapter's or an empty one is ever replaced: a mistyped path must not cost more. */
static vlorp_status check_place(const vlorpi_new_folder *folder, vlorp_err *err)
{
    struct stat info;
    if (lstat(folder->place, &info) != 0) {
        return errno == ENOENT ? VLORP_OK : fail(folder->place, err);
    }
    if (!folder->overwrite) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: exists already", folder->place);
        vlorpi_err_hint(err, "choose another place, or --overwrite to replace it");
        return VLORP_E_IO;
    }
    if (!S_ISDIR(info.st_mode) || !(holds(folder->place, "config.json") || holds(folder->place, "adapter_config.json") ||
                                    is_empty(folder->place))) {
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

/* Puts the new folder in the place of the old one in a single step, which then lies where the new one was made.
 * false: there is none to replace, or the file system cannot. */
static bool exchange(const vlorpi_new_folder *folder)
{
    return syscall(SYS_renameat2, AT_FDCWD, folder->path, AT_FDCWD, folder->place, RENAME_EXCHANGE) == 0;
}

/* Moves what is in the place aside; *aside is empty when nothing was. */
static vlorp_status move_aside(const vlorpi_new_folder *folder, char *aside, size_t n_aside, vlorp_err *err)
{
    VLORP_TRY(vlorpi_beside_name(aside, n_aside, folder->place, "old", 0, err));
    if (rename(folder->place, aside) != 0) {
        aside[0] = '\0';
        return errno == ENOENT ? VLORP_OK : fail(folder->place, err);
    }
    return VLORP_OK;
}

static vlorp_status put_in_place(const vlorpi_new_folder *folder, char *aside, size_t n_aside, vlorp_err *err)
{
    VLORP_TRY(move_aside(folder, aside, n_aside, err));
    if (rename(folder->path, folder->place) == 0) {
        return VLORP_OK;
    }
    vlorp_status status = fail(folder->place, err);
    if (aside[0] != '\0') {
        (void)rename(aside, folder->place);
    }
    return status;
}

vlorp_status vlorpi_new_folder_commit(vlorpi_new_folder *folder, vlorp_err *err)
{
    char aside[PATH_MAX] = "";
    vlorp_status status = sync_files(folder, err);
    if (status == VLORP_OK) {
        status = check_place(folder, err); /* again: a save takes time */
    }
    if (status == VLORP_OK && exchange(folder)) {
        (void)snprintf(aside, sizeof aside, "%s", folder->path);
    } else if (status == VLORP_OK) {
        status = put_in_place(folder, aside, sizeof aside, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(folder);
        return status;
    }
    (void)close(folder->fd);
    folder->fd = -1;
    vlorpi_beside_sync(folder->place); /* before the old folder goes */
    if (aside[0] != '\0') {
        vlorpi_remove_tree(aside);
    }
    return VLORP_OK;
}
void vlorpi_new_folder_abandon(vlorpi_new_folder *folder)
{
    if (folder->fd >= 0) {
        (void)close(folder->fd);
        folder->fd = -1;
        vlorpi_remove_tree(folder->path);
    }
}

static vlorp_status copy_file(const vlorpi_new_folder *folder, const char *from, const char *name,
                              unsigned char *buffer, size_t capacity, vlorp_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", from, name);
    int fd = n > 0 && (size_t)n < sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0) {
        return fail(path, err);
    }
    vlorpi_file_writer writer;
    vlorp_status status = vlorpi_file_writer_open(&writer, folder->fd, folder->place, name, NULL, 0, err);
    ssize_t got = 1;
    while (status == VLORP_OK && got > 0) {
        got = read(fd, buffer, capacity);
        if (got < 0) {
            status = fail(path, err);
        } else {
            status = vlorpi_file_writer_put(&writer, buffer, (size_t)got, err);
        }
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
    return vlorpi_file_writer_close(&writer, status, err);
}

vlorp_status vlorpi_new_folder_take(const vlorpi_new_folder *folder, const char *from, const char *name,
                                    unsigned char *buffer, size_t capacity, vlorp_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", from, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s/%s: the path is too long", from, name);
    }
    if (linkat(AT_FDCWD, path, folder->fd, name, 0) == 0) {
        return VLORP_OK;
    }
    return copy_file(folder, from, name, buffer, capacity, err);
}

/* "NAME.partial-12-0" and "NAME.old-12-0". */
static bool is_leftover(const char *name)
{
    static const char *const tags[] = {".partial-", ".old-"};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        const char *at = strstr(name, tags[i]);
        if (at == NULL) {
            continue;
        }
        at += strlen(tags[i]);
        size_t n_pid = strspn(at, "0123456789");
        size_t n_attempt = at[n_pid] == '-' ? strspn(at + n_pid + 1, "0123456789") : 0;
        if (n_pid > 0 && n_attempt > 0 && at[n_pid + 1 + n_attempt] == '\0') {
            return true;
        }
    }
    return false;
}

void vlorpi_new_folder_clean(const char *parent)
{
    char path[PATH_MAX];
    DIR *dir = opendir(parent);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int n = snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        if (is_leftover(entry->d_name) && n > 0 && (size_t)n < sizeof path) {
            vlorpi_remove_tree(path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}
