#include "checkpoint/file_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CACHED_BYTES = 64 << 20 }; /* so much of one file may wait in the system's cache */

static vlorp_status fail(const vlorpi_file_writer *writer, vlorp_err *err)
{
    int reason = errno;
    (void)vlorpi_err_set(err, VLORP_E_IO, "%s/%s: %s", writer->folder, writer->name, strerror(reason));
    if (reason == ENOSPC || reason == EDQUOT) {
        vlorpi_err_hint(err, "free some space, or write to another disk");
    }
    return VLORP_E_IO;
}

vlorp_status vlorpi_file_writer_open(vlorpi_file_writer *writer, int folder_fd, const char *folder, const char *name,
                                     unsigned char *buffer, size_t capacity, vlorp_err *err)
{
    *writer = (vlorpi_file_writer){.folder = folder, .name = name, .buffer = buffer, .capacity = capacity,
                                    .sum = vlorpi_checksum_begin(VLORPI_FILE_SALT)};
    writer->fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return writer->fd >= 0 ? VLORP_OK : fail(writer, err);
}

/* Syncs, and lets the system forget the pages. */
static vlorp_status sync_and_drop(vlorpi_file_writer *writer, vlorp_err *err)
{
    if (fsync(writer->fd) != 0) {
        return fail(writer, err);
    }
    (void)posix_fadvise(writer->fd, 0, 0, POSIX_FADV_DONTNEED);
    writer->n_cached = 0;
    return VLORP_OK;
}

static vlorp_status write_all(vlorpi_file_writer *writer, const unsigned char *bytes, size_t n_bytes, vlorp_err *err)
{
    while (n_bytes > 0) {
        ssize_t n = write(writer->fd, bytes, n_bytes < CACHED_BYTES ? n_bytes : CACHED_BYTES);
        if (n < 0 && errno != EINTR) {
            return fail(writer, err);
        }
        if (n > 0) {
            bytes += n;
            n_bytes -= (size_t)n;
            writer->n_cached += (uint64_t)n;
        }
        if (writer->n_cached >= CACHED_BYTES) {
            VLORP_TRY(sync_and_drop(writer, err));
        }
    }
    return VLORP_OK;
}

static vlorp_status flush(vlorpi_file_writer *writer, vlorp_err *err)
{
    size_t n = writer->n;
    writer->n = 0;
    return write_all(writer, writer->buffer, n, err);
}

vlorp_status vlorpi_file_writer_put(vlorpi_file_writer *writer, const void *bytes, size_t n_bytes, vlorp_err *err)
{
    vlorpi_checksum_add(&writer->sum, bytes, n_bytes);
    writer->n_bytes += n_bytes;
    if (n_bytes > writer->capacity - writer->n) {
        VLORP_TRY(flush(writer, err));
    }
    if (n_bytes > writer->capacity) {
        return write_all(writer, bytes, n_bytes, err);
    }
    if (n_bytes > 0) {
        memcpy(writer->buffer + writer->n, bytes, n_bytes);
        writer->n += n_bytes;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_file_writer_put_text(vlorpi_file_writer *writer, const char *text, vlorp_err *err)
{
    return vlorpi_file_writer_put(writer, text, strlen(text), err);
}

vlorp_status vlorpi_file_writer_close(vlorpi_file_writer *writer, vlorp_status status, vlorp_err *err)
{
    if (writer->fd < 0) {
        return status;
    }
    if (status == VLORP_OK) {
        status = flush(writer, err);
    }
    if (status == VLORP_OK) {
        status = sync_and_drop(writer, err);
    }
    if (close(writer->fd) != 0 && status == VLORP_OK) {
        status = fail(writer, err);
    }
    writer->fd = -1;
    return status;
}
