#include "exp_probe.h"

#include <stddef.h>
#include <string.h>

typedef struct probe_row {
    const char *level;
    exp_probe *probe;
} probe_row;

static const probe_row rows[] = {
    {"ref", NULL},
#if defined(VLORPI_HAVE_AVX2)
    {"avx2", exp_probe_avx2},
#endif
#if defined(VLORPI_HAVE_AVX512)
    {"avx512", exp_probe_avx512},
#endif
#if defined(VLORPI_HAVE_NEON)
    {"neon", exp_probe_neon},
#endif
};

exp_probe *exp_probe_find(const char *level)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].level, level) == 0) {
            return rows[i].probe;
        }
    }
    return NULL;
}
