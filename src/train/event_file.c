#include "train/event_file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* CRC-32C (Castagnoli), bit by bit: a few bytes a step. */
static uint32_t crc32c(const unsigned char *bytes, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

/* TFRecord masks its sums, because data may itself hold sums. */
static uint32_t masked_crc(const unsigned char *bytes, size_t n)
{
    uint32_t crc = crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* A protobuf message under construction. */
typedef struct message {
    unsigned char bytes[256];
    size_t n;
} message;

static void put_byte(message *m, unsigned byte)
{
    m->bytes[m->n++] = (unsigned char)byte;
}

static void put_varint(message *m, uint64_t value)
{
    while (value >= 0x80) {
        put_byte(m, (unsigned)(value & 0x7F) | 0x80);
        value >>= 7;
    }
    put_byte(m, (unsigned)value);
}

static void put_little_endian(message *m, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        put_byte(m, (unsigned)(value >> 8 * i) & 0xFF);
    }
}

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 }; /* wire types */

static void put_key(message *m, unsigned field, unsigned wire_type)
{
    put_byte(m, field << 3 | wire_type);
}

static void put_bytes(message *m, unsigned field, const void *bytes, size_t n)
{
    put_key(m, field, LENGTH);
    put_varint(m, n);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

/* Event: wall_time = 1 (double), step = 2, file_version = 3 (string), summary = 5, session_log = 7. */
static message event_now(int64_t step)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    message event = {.n = 0};
    put_key(&event, 1, FIXED64);
    put_little_endian(&event, bits, 8);
    if (step != 0) {
        put_key(&event, 2, VARINT);
        put_varint(&event, (uint64_t)step);
    }
    return event;
}

static vlorp_status write_record(vlorpi_event_file *events, const message *event, vlorp_err *err)
{
    message head = {.n = 0};
    put_little_endian(&head, event->n, 8);
    put_little_endian(&head, masked_crc(head.bytes, 8), 4);
    message tail = {.n = 0};
    put_little_endian(&tail, masked_crc(event->bytes, event->n), 4);
    if (fwrite(head.bytes, 1, head.n, events->file) != head.n || fwrite(event->bytes, 1, event->n, events->file) != event->n ||
        fwrite(tail.bytes, 1, tail.n, events->file) != tail.n || fflush(events->file) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", events->path, strerror(errno));
    }
    return VLORP_OK;
}

static const char name_begin[] = "events.out.tfevents.";
static const char name_end[] = ".vlorp";

/* Files of other programs, and what cannot be removed, stay. */
static void remove_old(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (strncmp(entry->d_name, name_begin, sizeof name_begin - 1) == 0 && n > sizeof name_end &&
            strcmp(entry->d_name + n - (sizeof name_end - 1), name_end) == 0) {
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    (void)closedir(directory);
}

vlorp_status vlorpi_event_file_open(vlorpi_event_file *events, const char *folder, bool fresh, vlorp_err *err)
{
    static const char version[] = "brain.Event:2";
    if (fresh) {
        remove_old(folder);
    }
    events->started = false;
    char host[256] = "host";
    (void)gethostname(host, sizeof host - 1);
    int n = snprintf(events->path, sizeof events->path, "%s/%s%010lld.%s.%ld%s", folder, name_begin,
                     (long long)time(NULL), host, (long)getpid(), name_end);
    events->file = NULL;
    if (n < 0 || (size_t)n >= sizeof events->path) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: the path of its event file is too long", folder);
    }
    events->file = fopen(events->path, "wb");
    if (events->file == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", events->path, strerror(errno));
    }
    message event = event_now(0);
    put_bytes(&event, 3, version, sizeof version - 1);
    return write_record(events, &event, err);
}

vlorp_status vlorpi_event_file_scalar(vlorpi_event_file *events, const char *tag, int64_t step, double value,
                                      vlorp_err *err)
{
    if (!events->started) { /* SessionLog: status = 1, of which 1 is START */
        static const unsigned char start[] = {1 << 3 | VARINT, 1};
        message session = event_now(step);
        put_bytes(&session, 7, start, sizeof start);
        VLORP_TRY(write_record(events, &session, err));
        events->started = true;
    }
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    message entry = {.n = 0}; /* Summary.Value: tag = 1, simple_value = 2 (float) */
    put_bytes(&entry, 1, tag, strnlen(tag, 63));
    put_key(&entry, 2, FIXED32);
    put_little_endian(&entry, bits, 4);
    message summary = {.n = 0}; /* Summary: value = 1, repeated */
    put_bytes(&summary, 1, entry.bytes, entry.n);
    message event = event_now(step);
    put_bytes(&event, 5, summary.bytes, summary.n);
    return write_record(events, &event, err);
}

void vlorpi_event_file_close(vlorpi_event_file *events)
{
    if (events->file != NULL) {
        (void)fclose(events->file);
        events->file = NULL;
    }
}
