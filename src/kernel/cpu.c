#include "kernel/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Not every compiler's run-time check knows this one. */
static bool has_f16c(void)
{
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/* The compiler's run-time check covers the system's side too (XGETBV).  The lists are the flags that
 * the files of a level are compiled with. */
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool runs_neon(void)
{
    return false;
}
#else
static bool runs_avx2(void)
{
    return false;
}

static bool runs_avx512(void)
{
    return false;
}

/* Part of the base architecture of arm64. */
static bool runs_neon(void)
{
#if defined(__aarch64__)
    return true;
#else
    return false;
#endif
}
#endif

bool vlorpi_cpu_runs(const char *level)
{
    if (strcmp(level, "ref") == 0) {
        return true;
    }
    return (strcmp(level, "avx2") == 0 && runs_avx2()) || (strcmp(level, "avx512") == 0 && runs_avx512()) ||
           (strcmp(level, "neon") == 0 && runs_neon());
}
