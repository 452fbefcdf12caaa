/* optim_project.h - what optim_project.c gives to the table in optim_update.c, per level.
 *
 * Layer 2.
 */
#ifndef VLORPI_KERNEL_SIMD_OPTIM_PROJECT_H
#define VLORPI_KERNEL_SIMD_OPTIM_PROJECT_H

#include "kernel/optim_kernels.h"
#include "kernel/simd/vec.h"

void NAME(vlorpi_project_right)(float *z, int64_t ldz, bool accumulate, const float *x, int64_t ldx, const float *pt,
                                int64_t ldp, vlorpi_slices s, int64_t T);
void NAME(vlorpi_project_left)(float *z, int64_t ldz, const float *y, int64_t ldy, const float *p, vlorpi_slices s,
                               int64_t T);
void NAME(vlorpi_axpy)(float *y, float a, const float *x, int64_t n);
void NAME(vlorpi_sums_right)(float *row, float *q, const float *S, const float *kw, vlorpi_slices s, int64_t n);
void NAME(vlorpi_sums_left)(float *col, float *q, const float *S, int64_t ldS, const float *kw, vlorpi_slices s,
                            int64_t m);
void NAME(vlorpi_backproject_right)(float *mh, const float *ms, const float *pt, int64_t ldp, vlorpi_slices s);
void NAME(vlorpi_backproject_left)(float *mh, const float *p, const float *ms, int64_t ldq, int64_t r, int64_t n);
void NAME(vlorpi_quadratic)(float *out, int64_t k_stride, int64_t j_stride, const float *p, const float *q,
                            vlorpi_slices s, int64_t j0, int64_t j1);
double NAME(vlorpi_sum)(const float *x, int64_t n);
double NAME(vlorpi_sum_squares)(const float *x, int64_t n);
double NAME(vlorpi_add_squares)(float *y, const float *x, int64_t n);
double NAME(vlorpi_sum_ratio_squares)(const float *x, const float *b, int64_t n);

#endif
