/* exp_probe.h - vf_exp of each level over an array, for check_exp.c. */
#ifndef VLORP_TESTS_KERNEL_EXP_PROBE_H
#define VLORP_TESTS_KERNEL_EXP_PROBE_H

#include <stdint.h>

/* n must be a multiple of 16. */
typedef void exp_probe(float *y, const float *x, int64_t n);

exp_probe exp_probe_avx2, exp_probe_avx512, exp_probe_neon;

/* The probe of a level, or NULL for ref, which uses libm. */
exp_probe *exp_probe_find(const char *level);

#endif
