#include "base/system_memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The number after `key` in a file of "Key:   123 kB" lines, in bytes. */
static size_t read_kib_line(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    char line[256];
    size_t n_bytes = 0;
    size_t key_length = strlen(key);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long kib = 0;
        if (strncmp(line, key, key_length) == 0 && sscanf(line + key_length, ": %llu kB", &kib) == 1) {
            n_bytes = (size_t)kib * 1024;
            break;
        }
    }
    (void)fclose(file);
    return n_bytes;
}

vlorpi_process_memory vlorpi_process_memory_now(void)
{
    static const char status[] = "/proc/self/status";
    return (vlorpi_process_memory){
        .rss_anon_bytes = read_kib_line(status, "RssAnon"),
        .rss_file_bytes = read_kib_line(status, "RssFile"),
        .peak_rss_bytes = read_kib_line(status, "VmHWM"),
    };
}

/* One number in a file; false for "max", a missing file, or anything else. */
static bool read_number(const char *path, size_t *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    unsigned long long value = 0;
    bool ok = fscanf(file, "%llu", &value) == 1;
    (void)fclose(file);
    *out = (size_t)value;
    return ok;
}

/* The folder of this process's cgroup (version 2), or false. */
static bool cgroup_folder(char *path, size_t n_bytes)
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL) {
        return false;
    }
    char line[1024];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            int n = snprintf(path, n_bytes, "/sys/fs/cgroup%s", line + 3);
            found = n > 0 && (size_t)n < n_bytes;
        }
    }
    (void)fclose(file);
    return found;
}

/* What a cgroup holds of cached file pages, which the kernel takes back before it lets anybody fail. */
static size_t cached_files(const char *folder)
{
    char path[2100];
    (void)snprintf(path, sizeof path, "%s/memory.stat", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    size_t n_bytes = 0;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long value = 0;
        if (sscanf(line, "inactive_file %llu", &value) == 1 || sscanf(line, "active_file %llu", &value) == 1) {
            n_bytes += (size_t)value;
        }
    }
    (void)fclose(file);
    return n_bytes;
}

/* What the tightest limit between this cgroup and the root leaves; SIZE_MAX without one. */
static size_t cgroup_headroom(void)
{
    char folder[2048];
    if (!cgroup_folder(folder, sizeof folder)) {
        (void)snprintf(folder, sizeof folder, "/sys/fs/cgroup");
    }
    size_t least = SIZE_MAX;
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        char path[2100];
        size_t limit = 0;
        size_t used = 0;
        (void)snprintf(path, sizeof path, "%s/memory.max", folder);
        bool limited = read_number(path, &limit);
        (void)snprintf(path, sizeof path, "%s/memory.current", folder);
        if (limited && read_number(path, &used)) {
            size_t cached = cached_files(folder);
            used -= cached < used ? cached : used;
            size_t left = limit > used ? limit - used : 0;
            least = left < least ? left : least;
        }
        char *slash = strrchr(folder, '/');
        *slash = '\0';
    }
    return least;
}

size_t vlorpi_available_memory(void)
{
    size_t machine = read_kib_line("/proc/meminfo", "MemAvailable");
    size_t headroom = cgroup_headroom();
    return headroom < machine ? headroom : machine;
}
