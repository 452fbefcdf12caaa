/* address_space.c - a limit on address space that the BLAS would not survive is refused before it is loaded.
 *
 * OpenBLAS maps a buffer per processor in its constructor, and tries again for ever where the system refuses one
 * (`ulimit -v`, `ulimit -d`): a program that never says why it does not start.  Functions in .preinit_array run before
 * the constructors of libraries; only what libc does without help is used here.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#endif
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system_memory.h"

/* Sanitizers have no constructors yet either, and no use for a limit on address space. */
#if defined(__GLIBC__) && defined(VLORPI_HAVE_BLAS) && !defined(__SANITIZE_ADDRESS__)

enum { BUFFER_BYTES = 128 << 20, OTHER_BYTES = 16 << 20 };

/* One for each thread of OpenMP.  getenv does not work yet. */
static long buffers(char **environment)
{
    static const char name[] = "OMP_NUM_THREADS=";
    for (; *environment != NULL; environment++) {
        long n = strncmp(*environment, name, sizeof name - 1) == 0 ? strtol(*environment + sizeof name - 1, NULL, 10) : 0;
        if (n > 0) {
            return n;
        }
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

static void check_address_space(int argc, char **argv, char **environment)
{
    (void)argc;
    (void)argv;
    size_t left = vlorpi_limited_memory();
    if (left == SIZE_MAX) {
        return;
    }
    long n = buffers(environment);
    size_t need = (size_t)n * BUFFER_BYTES + OTHER_BYTES;
    if (left < need) {
        char text[400];
        int n_bytes = snprintf(text, sizeof text,
                               "vlorp: error: the limit on address space (ulimit -v or -d) leaves %zu MiB: the BLAS of %ld "
                               "threads takes %zu MiB before anything runs\nhint: raise the limit%s\n",
                               left >> 20, n, need >> 20, n > 1 ? ", or set OMP_NUM_THREADS=1" : "");
        (void)!write(STDERR_FILENO, text, (size_t)n_bytes);
        _exit(EXIT_FAILURE);
    }
}

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(int, char **, char **) =
    check_address_space;

#endif
