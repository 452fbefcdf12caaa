/* bus_error.c - a mapped file that is cut short while it is read ends the program with a message.
 *
 * Model and data files are mapped.  When one loses bytes that were there when it was opened (another
 * program truncates it, its disk fails), touching them raises SIGBUS.  There is no way on from there, but
 * the error can be told: the file is found in /proc/self/maps by the address.  Only calls that a signal
 * handler may make are made here. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"

enum { FIELDS_BEFORE_PATH = 5, EXIT_FAILED = 1 };

/* /proc/self/maps, character by character. */
typedef struct reader {
    int fd;
    char buffer[4096];
    ssize_t n, at;
} reader;

/* -1 at the end. */
static int next_char(reader *r)
{
    if (r->at == r->n) {
        r->n = read(r->fd, r->buffer, sizeof r->buffer);
        r->at = 0;
    }
    return r->n > 0 ? (unsigned char)r->buffer[r->at++] : -1;
}

/* A hexadecimal number and the character after it. */
static uintptr_t next_hex(reader *r, int *after)
{
    uintptr_t value = 0;
    for (;;) {
        int c = next_char(r);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            *after = c;
            return value;
        }
        value = value << 4 | (uintptr_t)digit;
    }
}

/* The rest of a line "PERMISSIONS OFFSET DEVICE INODE   PATH" into path, control characters as '?'. */
static void read_path(reader *r, char *path, size_t n_path)
{
    size_t n = 0;
    int n_fields = 1; /* the addresses */
    bool blank = true;
    for (int c = next_char(r); c >= 0 && c != '\n'; c = next_char(r)) {
        if (c == ' ' && n == 0) {
            blank = true;
            continue;
        }
        n_fields += blank && n_fields <= FIELDS_BEFORE_PATH;
        blank = false;
        if (n_fields > FIELDS_BEFORE_PATH && n + 1 < n_path) {
            path[n++] = (char)(c < 0x20 || c == 0x7F ? '?' : c);
        }
    }
    path[n] = '\0';
}

/* The path of the file that is mapped at the address; empty when there is none. */
static void find_path(char *path, size_t n_path, uintptr_t address)
{
    reader r = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    path[0] = '\0';
    while (r.fd >= 0) {
        int after;
        uintptr_t begin = next_hex(&r, &after);
        uintptr_t end = after == '-' ? next_hex(&r, &after) : 0;
        if (after < 0) {
            break;
        }
        char found[PATH_MAX];
        read_path(&r, found, sizeof found);
        if (address >= begin && address < end) {
            memcpy(path, found, strlen(found) + 1 < n_path ? strlen(found) + 1 : n_path);
            path[n_path - 1] = '\0';
            break;
        }
    }
    if (r.fd >= 0) {
        (void)close(r.fd);
    }
}

static void tell(int signal_number, siginfo_t *info, void *context)
{
    static const char before[] = "vlorp: error: ";
    static const char after[] = ": the file was cut short, or its disk failed, while it was read\n";
    char text[sizeof before + PATH_MAX + sizeof after];
    char path[PATH_MAX];
    static atomic_flag told = ATOMIC_FLAG_INIT;
    (void)context;
    if (info->si_code != BUS_ADRERR) { /* not about a file: as without us */
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number);
        return;
    }
    while (atomic_flag_test_and_set(&told)) { /* another thread ends the process */
        (void)pause();
    }
    find_path(path, sizeof path, (uintptr_t)info->si_addr);
    const char *name = path[0] != '\0' ? path : "a mapped file";
    size_t n_name = strlen(name);
    memcpy(text, before, sizeof before - 1);
    memcpy(text + sizeof before - 1, name, n_name);
    memcpy(text + sizeof before - 1 + n_name, after, sizeof after - 1);
    ssize_t ignored = write(STDERR_FILENO, text, sizeof before + sizeof after - 2 + n_name);
    (void)ignored;
    _exit(EXIT_FAILED);
}

void vlorpi_bus_error_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = tell;
    action.sa_flags = SA_SIGINFO;
    (void)sigaction(SIGBUS, &action, NULL);
}
