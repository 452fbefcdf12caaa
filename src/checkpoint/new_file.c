#include "checkpoint/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/beside.h"

enum { MAX_ATTEMPTS = 100 };

static vlorp_status fail(const char *path, vlorp_err *err)
{
    VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
}

/* Whether the file is empty or begins as GGUF does. */
static bool replaceable(const char *path)
{
    char magic[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, magic, sizeof magic) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return n == 0 || (n == (ssize_t)sizeof magic && memcmp(magic, "GGUF", sizeof magic) == 0);
}

/* Only a GGUF file or an empty one is ever replaced: a mistyped path must not cost more. */
static vlorp_status check_place(const vlorpi_new_file *file, vlorp_err *err)
{
    struct stat info;
    if (stat(file->place, &info) != 0) {
        return errno == ENOENT ? VLORP_OK : fail(file->place, err);
    }
    if (S_ISDIR(info.st_mode)) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: a folder is there", file->place);
        vlorpi_err_hint(err, "name the file to write, for example %.150s/model.gguf", file->place);
        return VLORP_E_IO;
    }
    if (!file->overwrite) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: exists already", file->place);
        vlorpi_err_hint(err, "choose another place, or --overwrite to replace it");
        return VLORP_E_IO;
    }
    if (!S_ISREG(info.st_mode) || !replaceable(file->place)) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: not a GGUF file, so it is not replaced", file->place);
    }
    return VLORP_OK;
}

/* A free name beside the place. */
static vlorp_status choose_name(vlorpi_new_file *file, vlorp_err *err)
{
    struct stat info;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        VLORP_TRY(vlorpi_beside_name(file->path, sizeof file->path, file->place, "partial", attempt, err));
        if (lstat(file->path, &info) != 0) {
            const char *slash = strrchr(file->path, '/');
            file->name = slash != NULL ? slash + 1 : file->path;
            return errno == ENOENT ? VLORP_OK : fail(file->path, err);
        }
    }
    VLORP_FAIL(err, VLORP_E_IO, "%s: no free name beside it", file->place);
}

vlorp_status vlorpi_new_file_begin(vlorpi_new_file *file, const char *place, bool overwrite, vlorp_err *err)
{
    size_t n = strlen(place);
    *file = (vlorpi_new_file){.folder_fd = -1, .overwrite = overwrite};
    if (n == 0 || n >= sizeof file->place) {
        VLORP_FAIL(err, VLORP_E_ARG, "the file to write has %s name", n == 0 ? "no" : "too long a");
    }
    memcpy(file->place, place, n + 1);
    VLORP_TRY(check_place(file, err));
    VLORP_TRY(choose_name(file, err));
    vlorpi_beside_parent(file->folder, sizeof file->folder, file->place);
    file->folder_fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder_fd < 0) {
        return fail(file->folder, err);
    }
    if (faccessat(file->folder_fd, ".", W_OK, 0) != 0) {
        vlorp_status status = fail(file->folder, err);
        (void)close(file->folder_fd);
        return status;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_new_file_commit(vlorpi_new_file *file, vlorp_err *err)
{
    vlorp_status status = check_place(file, err); /* again: a save takes time */
    if (status == VLORP_OK && rename(file->path, file->place) != 0) {
        status = fail(file->place, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_file_abandon(file);
        return status;
    }
    vlorpi_beside_sync(file->place);
    (void)close(file->folder_fd);
    return VLORP_OK;
}

void vlorpi_new_file_abandon(vlorpi_new_file *file)
{
    (void)unlinkat(file->folder_fd, file->name, 0);
    (void)close(file->folder_fd);
}
