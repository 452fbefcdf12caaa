#include "base/mapped_file.h"

#include <errno.h>
#include <stdint.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

vlorp_status vlorpi_mapped_file_open(vlorpi_mapped_file *file, const char *path, vlorp_err *err)
{
    *file = (vlorpi_mapped_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer is refused, not waited for */
    if (fd < 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    struct stat info;
    if (fstat(fd, &info) != 0) {
        int reason = errno;
        (void)close(fd);
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(reason));
    }
    if (!S_ISREG(info.st_mode)) {
        (void)close(fd);
        VLORP_FAIL(err, VLORP_E_IO, "%s: not a regular file", path);
    }
    size_t n_bytes = (size_t)info.st_size;
    void *bytes = NULL;
    if (n_bytes > 0) {
        bytes = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            int reason = errno;
            (void)close(fd);
            VLORP_FAIL(err, VLORP_E_IO, "%s: cannot map %zu bytes: %s", path, n_bytes, strerror(reason));
        }
    }
    (void)close(fd);
    file->bytes = bytes;
    file->n_bytes = n_bytes;
    return VLORP_OK;
}

void vlorpi_mapped_file_close(vlorpi_mapped_file *file)
{
    if (file->bytes != NULL) {
        (void)munmap((void *)(uintptr_t)file->bytes, file->n_bytes);
    }
    *file = (vlorpi_mapped_file){0};
}

void vlorpi_mapped_file_drop(const vlorpi_mapped_file *file, size_t offset, size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (offset + page - 1) / page * page;
    size_t end = (offset + n_bytes) / page * page;
    if (file->bytes != NULL && begin < end && end <= file->n_bytes) {
        (void)madvise((void *)(uintptr_t)(file->bytes + begin), end - begin, MADV_DONTNEED);
    }
}
