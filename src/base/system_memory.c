#include "base/system_memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* The files of the two versions of memory cgroups, and how /proc/self/cgroup names their line. */
typedef struct cgroup_version {
    const char *root;       /* where the hierarchy is mounted */
    const char *controller; /* between the colons of its line; "" is version 2's only line */
    const char *limit, *used;
    const char *inactive, *active; /* cached file pages, in memory.stat */
} cgroup_version;

static const cgroup_version versions[] = {
    {"/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file %llu", "active_file %llu"},
    {"/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file %llu",
     "total_active_file %llu"},
};

/* Whether the comma-separated list holds the word; the empty list holds the empty word. */
static bool lists(const char *list, size_t n, const char *word)
{
    size_t n_word = strlen(word);
    for (const char *item = list;;) {
        const char *comma = memchr(item, ',', (size_t)(list + n - item));
        const char *end = comma != NULL ? comma : list + n;
        if ((size_t)(end - item) == n_word && memcmp(item, word, n_word) == 0) {
            return true;
        }
        if (comma == NULL) {
            return false;
        }
        item = comma + 1;
    }
}

/* The folder of this process's cgroup: the root's when it has no line or, in a container, none that is mounted here. */
static void cgroup_folder(const cgroup_version *version, char *path, size_t n_bytes)
{
    (void)snprintf(path, n_bytes, "%s", version->root);
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL) {
        return;
    }
    char line[1024];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *place = list != NULL ? strchr(list + 1, ':') : NULL;
        if (place != NULL && lists(list + 1, (size_t)(place - list - 1), version->controller)) {
            char folder[1200];
            (void)snprintf(folder, sizeof folder, "%s%s", version->root, place + 1);
            if (access(folder, X_OK) == 0) {
                (void)snprintf(path, n_bytes, "%s", folder);
            }
            break;
        }
    }
    (void)fclose(file);
}

/* What a cgroup holds of cached file pages, which the kernel takes back before it lets anybody fail. */
static size_t cached_files(const cgroup_version *version, const char *folder)
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
        if (sscanf(line, version->inactive, &value) == 1 || sscanf(line, version->active, &value) == 1) {
            n_bytes += (size_t)value;
        }
    }
    (void)fclose(file);
    return n_bytes;
}

/* What the tightest limit between this cgroup and the root leaves; SIZE_MAX without one. */
static size_t cgroup_headroom(const cgroup_version *version)
{
    char folder[2048];
    cgroup_folder(version, folder, sizeof folder);
    size_t least = SIZE_MAX;
    while (strlen(folder) >= strlen(version->root)) {
        char path[2100];
        size_t limit = 0;
        size_t used = 0;
        (void)snprintf(path, sizeof path, "%s/%s", folder, version->limit);
        bool limited = read_number(path, &limit);
        (void)snprintf(path, sizeof path, "%s/%s", folder, version->used);
        if (limited && read_number(path, &used)) {
            size_t cached = cached_files(version, folder);
            used -= cached < used ? cached : used;
            size_t left = limit > used ? limit - used : 0;
            least = left < least ? left : least;
        }
        char *slash = strrchr(folder, '/');
        *slash = '\0';
    }
    return least;
}

/* What `ulimit -v` or `ulimit -d` leaves of what the process has in the line `key`; SIZE_MAX without a limit. */
static size_t rlimit_headroom(int resource, const char *key)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return SIZE_MAX;
    }
    size_t used = read_kib_line("/proc/self/status", key);
    return limit.rlim_cur > used ? (size_t)limit.rlim_cur - used : 0;
}

size_t vlorpi_limited_memory(void)
{
    size_t space = rlimit_headroom(RLIMIT_AS, "VmSize");
    size_t data = rlimit_headroom(RLIMIT_DATA, "VmData");
    return space < data ? space : data;
}

size_t vlorpi_available_memory(void)
{
    size_t left[] = {read_kib_line("/proc/meminfo", "MemAvailable"), cgroup_headroom(&versions[0]),
                     cgroup_headroom(&versions[1]), vlorpi_limited_memory()};
    size_t least = left[0] > 0 ? left[0] : SIZE_MAX; /* 0: no /proc */
    for (size_t i = 1; i < sizeof left / sizeof left[0]; i++) {
        least = left[i] < least ? left[i] : least;
    }
    return least;
}

void vlorpi_prefer_large_pages(void *memory, size_t n_bytes)
{
#ifdef MADV_HUGEPAGE
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t skip = (page - (uintptr_t)memory % page) % page;
    if (n_bytes > skip) { /* a system without large pages says no, which changes nothing */
        (void)madvise((unsigned char *)memory + skip, (n_bytes - skip) / page * page, MADV_HUGEPAGE);
    }
#else
    (void)memory, (void)n_bytes;
#endif
}
