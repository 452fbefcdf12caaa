/* replay.c - drives a fuzz target without libFuzzer.
 *
 * Usage: TARGET FOLDER [SEED].  For each file of the folder: the file; every truncation of it (of
 * the first 16 KiB); and damaged copies (bits flipped, bytes set to telling values, pieces moved).
 * The input lies in a block of exactly its size, so that a sanitizer sees every read past its end.
 */
#include <dirent.h>
#include <string.h>

#include "fuzz_target.h"

enum { MAX_TRUNCATIONS = 1 << 14, N_DAMAGED = 3000, MAX_DAMAGED_BYTES = 1 << 20, MAX_CHANGES = 8 };

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void run_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    FUZZ_EXPECT(copy != NULL);
    memcpy(copy, bytes, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void change(uint8_t *bytes, size_t n, uint64_t *state)
{
    static const uint8_t telling[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '{', '[', '\\', '0', '-'};
    size_t at = (size_t)(next_random(state) % n);
    switch (next_random(state) % 4) {
    case 0: bytes[at] ^= (uint8_t)(1u << (next_random(state) % 8)); break;
    case 1: bytes[at] = telling[next_random(state) % sizeof telling]; break;
    case 2: memset(bytes + at, (int)(next_random(state) & 0xFF), n - at < 8 ? n - at : 8); break;
    default: {
        size_t from = (size_t)(next_random(state) % n);
        size_t length = (size_t)(next_random(state) % 32) + 1;
        size_t room = n - (from > at ? from : at);
        memmove(bytes + at, bytes + from, length < room ? length : room);
        break;
    }
    }
}

static void run_damaged(const uint8_t *bytes, size_t n, uint64_t *state)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    FUZZ_EXPECT(copy != NULL);
    for (int i = 0; i < N_DAMAGED && n > 0 && n <= MAX_DAMAGED_BYTES; i++) {
        memcpy(copy, bytes, n);
        uint64_t n_changes = next_random(state) % MAX_CHANGES + 1;
        for (uint64_t k = 0; k < n_changes; k++) {
            change(copy, n, state);
        }
        (void)LLVMFuzzerTestOneInput(copy, n);
    }
    free(copy);
}

static void run_file(const char *path, uint64_t *state)
{
    FILE *file = fopen(path, "rb");
    FUZZ_EXPECT(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size_t n = (size_t)ftell(file);
    uint8_t *bytes = malloc(n > 0 ? n : 1);
    rewind(file);
    FUZZ_EXPECT(bytes != NULL && fread(bytes, 1, n, file) == n);
    (void)fclose(file);
    run_copy(bytes, n);
    for (size_t length = 0; length < n && length < MAX_TRUNCATIONS; length++) {
        run_copy(bytes, length);
    }
    run_damaged(bytes, n, state);
    free(bytes);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER [SEED]\n", argv[0]);
        return 2;
    }
    int n_files = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (entry->d_name[0] != '.') {
            uint64_t state = seed; /* per file, so that a new file changes nothing for the others */
            run_file(path, &state);
            n_files++;
        }
    }
    (void)closedir(folder);
    (void)printf("%d files, seed %llu\n", n_files, (unsigned long long)seed);
    return n_files > 0 ? 0 : 1;
}
