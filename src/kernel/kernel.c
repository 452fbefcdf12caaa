#include "kernel/kernel.h"

#include <stdbool.h>
#include <string.h>

#include "kernel/cpu.h"
#include "kernel/levels.h"

/* Every level that this build holds, lowest first. */
static const vlorpi_kernels levels[] = {
    {"ref", &vlorpi_gemm_kernels_ref, &vlorpi_model_kernels_ref, &vlorpi_optim_kernels_ref},
#if defined(VLORPI_HAVE_AVX2)
    {"avx2", &vlorpi_gemm_kernels_avx2, &vlorpi_model_kernels_avx2, &vlorpi_optim_kernels_avx2},
#endif
#if defined(VLORPI_HAVE_AVX512)
    {"avx512", &vlorpi_gemm_kernels_avx512, &vlorpi_model_kernels_avx512, &vlorpi_optim_kernels_avx512},
#endif
#if defined(VLORPI_HAVE_NEON)
    {"neon", &vlorpi_gemm_kernels_neon, &vlorpi_model_kernels_neon, &vlorpi_optim_kernels_neon},
#endif
};

enum { N_LEVELS = (int)(sizeof levels / sizeof levels[0]) };

/* A level that the CPU cannot run ends the climb: the ones above need its flags too. */
const vlorpi_kernels *vlorpi_kernels_at(int i)
{
    if (i < 0 || i >= N_LEVELS) {
        return NULL;
    }
    for (int lower = 0; lower <= i; lower++) {
        if (!vlorpi_cpu_runs(levels[lower].name)) {
            return NULL;
        }
    }
    return &levels[i];
}

/* A level of another architecture, or one that this CPU lacks, is a bound like any other. */
static bool is_level_name(const char *name)
{
    static const char *const names[] = {"ref", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

const vlorpi_kernels *vlorpi_kernels_select(const char *max_level)
{
    if (max_level != NULL && !is_level_name(max_level)) {
        return NULL;
    }
    const vlorpi_kernels *best = NULL;
    for (int i = 0; vlorpi_kernels_at(i) != NULL; i++) {
        best = vlorpi_kernels_at(i);
        if (max_level != NULL && strcmp(best->name, max_level) == 0) {
            break;
        }
    }
    return best;
}
