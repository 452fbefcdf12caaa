#include "checkpoint/checksums.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, LIST_BYTES = 1 << 19, LINE_BYTES = NAME_MAX + 64, SUM_DIGITS = 16 };
static const char first_line[] = "vlorp checkpoint 1\n";

vlorp_status vlorpi_checksums_open(vlorpi_checksums *list, const vlorpi_new_folder *folder, vlorp_err *err)
{
    VLORP_TRY(vlorpi_file_writer_open(&list->writer, folder->fd, folder->place, VLORPI_CHECKSUMS_NAME, NULL, 0, err));
    return vlorpi_file_writer_put_text(&list->writer, first_line, err);
}

static vlorp_status append_line(vlorpi_checksums *list, const char *name, uint64_t n_bytes, const vlorpi_checksum *sum,
                                vlorp_err *err)
{
    char line[LINE_BYTES];
    (void)snprintf(line, sizeof line, "%016" PRIx64 " %" PRIu64 " %s\n", vlorpi_checksum_value(sum), n_bytes, name);
    return vlorpi_file_writer_put_text(&list->writer, line, err);
}

vlorp_status vlorpi_checksums_add(vlorpi_checksums *list, const vlorpi_file_writer *file, vlorp_err *err)
{
    return list != NULL ? append_line(list, file->name, file->n_bytes, &file->sum, err) : VLORP_OK;
}

vlorp_status vlorpi_checksums_close(vlorpi_checksums *list, vlorp_status status, vlorp_err *err)
{
    char line[SUM_DIGITS + 2];
    if (status == VLORP_OK) {
        (void)snprintf(line, sizeof line, "%016" PRIx64 "\n", vlorpi_checksum_value(&list->writer.sum));
        status = vlorpi_file_writer_put_text(&list->writer, line, err);
    }
    return vlorpi_file_writer_close(&list->writer, status, err);
}

/* Opens folder/name for reading; *n_bytes is its size. */
static vlorp_status open_file(int *fd, uint64_t *n_bytes, int folder_fd, const char *folder, const char *name,
                              vlorp_err *err)
{
    struct stat info;
    *n_bytes = 0;
    *fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, &info) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s/%s: %s", folder, name, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s/%s: not a regular file", folder, name);
    }
    *n_bytes = (uint64_t)info.st_size;
    return VLORP_OK;
}

/* Reads on until n bytes or the end; returns how many, or -1. */
static ssize_t read_block(int fd, unsigned char *buffer, size_t n)
{
    size_t used = 0;
    while (used < n) {
        ssize_t got = read(fd, buffer + used, n - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        used += (size_t)got;
    }
    return (ssize_t)used;
}

/* The checksum of an open file, read through buffer [capacity] and not kept in the system's cache. */
static vlorp_status sum_file(vlorpi_checksum *sum, int fd, const char *folder, const char *name, unsigned char *buffer,
                             size_t capacity, vlorp_err *err)
{
    *sum = vlorpi_checksum_begin(VLORPI_FILE_SALT);
    off_t at = 0;
    for (ssize_t n = (ssize_t)capacity; n == (ssize_t)capacity; at += n) {
        n = read_block(fd, buffer, capacity);
        if (n < 0) {
            VLORP_FAIL(err, VLORP_E_IO, "%s/%s: %s", folder, name, strerror(errno));
        }
        vlorpi_checksum_add(sum, buffer, (size_t)n);
        (void)posix_fadvise(fd, at, n, POSIX_FADV_DONTNEED);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_checksums_add_existing(vlorpi_checksums *list, const vlorpi_new_folder *folder, const char *name,
                                           unsigned char *buffer, size_t capacity, vlorp_err *err)
{
    int fd;
    uint64_t n_bytes;
    vlorpi_checksum sum;
    vlorp_status status = open_file(&fd, &n_bytes, folder->fd, folder->place, name, err);
    if (status == VLORP_OK) {
        status = sum_file(&sum, fd, folder->place, name, buffer, capacity, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return status == VLORP_OK ? append_line(list, name, n_bytes, &sum, err) : status;
}

static vlorp_status check_sum(int fd, uint64_t wanted, const char *folder, const char *name, unsigned char *buffer,
                              vlorp_err *err)
{
    vlorpi_checksum sum;
    VLORP_TRY(sum_file(&sum, fd, folder, name, buffer, BUFFER_BYTES, err));
    if (vlorpi_checksum_value(&sum) != wanted) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s/%s: it was changed or damaged after it was saved: its checksum differs",
                   folder, name);
    }
    return VLORP_OK;
}

static vlorp_status check_file(int folder_fd, const char *folder, const char *name, uint64_t wanted,
                               uint64_t wanted_bytes, unsigned char *buffer, vlorp_err *err)
{
    int fd;
    uint64_t n_bytes;
    vlorp_status status = open_file(&fd, &n_bytes, folder_fd, folder, name, err);
    if (status == VLORP_OK && n_bytes != wanted_bytes) {
        status = vlorpi_err_set(err, VLORP_E_FORMAT,
                                "%s/%s: it was changed after it was saved: it has %" PRIu64 " bytes, not %" PRIu64,
                                folder, name, n_bytes, wanted_bytes);
    }
    if (status == VLORP_OK) {
        status = check_sum(fd, wanted, folder, name, buffer, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

/* "0123456789abcdef", then a blank or a newline; false when it is something else. */
static bool read_sum(const char **at, uint64_t *sum)
{
    char digits[SUM_DIGITS + 1];
    if (strspn(*at, "0123456789abcdef") != SUM_DIGITS) {
        return false;
    }
    memcpy(digits, *at, SUM_DIGITS);
    digits[SUM_DIGITS] = '\0';
    *sum = strtoull(digits, NULL, 16);
    *at += SUM_DIGITS;
    return true;
}

/* A line "CHECKSUM BYTES NAME"; the name is ended in place.  false: it is none. */
static bool read_line(char **at, uint64_t *sum, uint64_t *n_bytes, const char **name)
{
    const char *text = *at;
    if (!read_sum(&text, sum) || *text != ' ' || text[1] < '0' || text[1] > '9') {
        return false;
    }
    char *end;
    *n_bytes = strtoull(text + 1, &end, 10);
    char *newline = strchr(end, '\n');
    if (*end != ' ' || newline == NULL || newline - end < 2 || newline - end > NAME_MAX) {
        return false;
    }
    *newline = '\0';
    *name = end + 1;
    *at = newline + 1;
    return strchr(*name, '/') == NULL;
}

/* Whether text [n] is a list whose last line fits what is before it; *body is where files begin. */
static bool is_whole(char *text, size_t n, char **body)
{
    uint64_t wanted;
    size_t n_last = SUM_DIGITS + 1;
    if (n < sizeof first_line - 1 + n_last || memcmp(text, first_line, sizeof first_line - 1) != 0 ||
        strlen(text) != n) {
        return false;
    }
    const char *last = text + n - n_last;
    vlorpi_checksum sum = vlorpi_checksum_begin(VLORPI_FILE_SALT);
    vlorpi_checksum_add(&sum, text, n - n_last);
    *body = text + sizeof first_line - 1;
    return read_sum(&last, &wanted) && *last == '\n' && wanted == vlorpi_checksum_value(&sum);
}

static vlorp_status fail_list(const char *folder, vlorp_err *err)
{
    VLORP_FAIL(err, VLORP_E_FORMAT, "%s/%s: the list of checksums was changed or damaged", folder,
               VLORPI_CHECKSUMS_NAME);
}

static vlorp_status verify_list(int folder_fd, const char *folder, const char *only, char *text, size_t n,
                                unsigned char *buffer, vlorp_err *err)
{
    char *at;
    bool found = only == NULL;
    if (!is_whole(text, n, &at)) {
        return fail_list(folder, err);
    }
    uint64_t sum;
    uint64_t n_bytes;
    const char *name;
    while (read_line(&at, &sum, &n_bytes, &name)) {
        if (only == NULL || strcmp(only, name) == 0) {
            VLORP_TRY(check_file(folder_fd, folder, name, sum, n_bytes, buffer, err));
            found = true;
        }
    }
    return found && strlen(at) == SUM_DIGITS + 1 ? VLORP_OK : fail_list(folder, err);
}

static vlorp_status verify_folder(int folder_fd, const char *folder, const char *only, unsigned char *buffer,
                                  char *text, vlorp_err *err)
{
    int fd;
    uint64_t n_bytes;
    vlorp_status status = open_file(&fd, &n_bytes, folder_fd, folder, VLORPI_CHECKSUMS_NAME, err);
    ssize_t n = status == VLORP_OK ? read_block(fd, (unsigned char *)text, LIST_BYTES - 1) : 0;
    if (n < 0) {
        status = vlorpi_err_set(err, VLORP_E_IO, "%s/%s: %s", folder, VLORPI_CHECKSUMS_NAME, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (status == VLORP_OK) {
        text[n] = '\0';
        status = verify_list(folder_fd, folder, only, text, (size_t)n, buffer, err);
    }
    return status;
}

vlorp_status vlorpi_checksums_verify(const char *folder, const char *only, vlorpi_mem *mem, vlorp_err *err)
{
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", folder, strerror(errno));
    }
    unsigned char *buffer = vlorpi_mem_alloc(mem, VLORPI_MEM_WORKSPACE, BUFFER_BYTES + LIST_BYTES);
    vlorp_status status = buffer != NULL
                              ? verify_folder(folder_fd, folder, only, buffer, (char *)buffer + BUFFER_BYTES, err)
                              : vlorpi_mem_fail(mem, VLORPI_MEM_WORKSPACE, BUFFER_BYTES + LIST_BYTES, err);
    vlorpi_mem_free(mem, buffer);
    (void)close(folder_fd);
    return status;
}
