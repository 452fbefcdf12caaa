#include "checkpoint/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SPARE_BYTES = 1 << 20 };

vlorp_status vlorpi_beside_name(char *out, size_t n_out, const char *place, const char *tag, int attempt,
                                vlorp_err *err)
{
    int n = snprintf(out, n_out, "%s.%s-%ld-%d", place, tag, (long)getpid(), attempt);
    if (n < 0 || (size_t)n >= n_out) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", place);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_beside_check_space(int fd, const char *place, size_t n_bytes, vlorp_err *err)
{
    struct statvfs disk;
    if (fstatvfs(fd, &disk) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", place, strerror(errno));
    }
    double free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    if ((double)n_bytes + SPARE_BYTES > free_bytes) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: needs %zu bytes and the disk has %.0f free", place, n_bytes,
                             free_bytes);
        vlorpi_err_hint(err, "free some space, or write to another disk");
        return VLORP_E_IO;
    }
    return VLORP_OK;
}

void vlorpi_beside_parent(char *out, size_t n_out, const char *place)
{
    const char *slash = strrchr(place, '/');
    int n = slash == NULL ? 1 : slash == place ? 1 : (int)(slash - place);
    (void)snprintf(out, n_out, "%.*s", n, slash == NULL ? "." : place);
}

void vlorpi_beside_sync(const char *place)
{
    char parent[PATH_MAX];
    vlorpi_beside_parent(parent, sizeof parent, place);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}
