/* levels.h - the tables that each level defines; kernel.c collects them.
 *
 * Layer 2.  A level's files define its own three tables and know no other level's.
 */
#ifndef VLORPI_KERNEL_LEVELS_H
#define VLORPI_KERNEL_LEVELS_H

#include "kernel/gemm.h"
#include "kernel/model_kernels.h"
#include "kernel/optim_kernels.h"

extern const vlorpi_gemm_kernels vlorpi_gemm_kernels_ref;
extern const vlorpi_gemm_kernels vlorpi_gemm_kernels_avx2;
extern const vlorpi_gemm_kernels vlorpi_gemm_kernels_avx512;
extern const vlorpi_gemm_kernels vlorpi_gemm_kernels_neon;

extern const vlorpi_model_kernels vlorpi_model_kernels_ref;
extern const vlorpi_model_kernels vlorpi_model_kernels_avx2;
extern const vlorpi_model_kernels vlorpi_model_kernels_avx512;
extern const vlorpi_model_kernels vlorpi_model_kernels_neon;

extern const vlorpi_optim_kernels vlorpi_optim_kernels_ref;
extern const vlorpi_optim_kernels vlorpi_optim_kernels_avx2;
extern const vlorpi_optim_kernels vlorpi_optim_kernels_avx512;
extern const vlorpi_optim_kernels vlorpi_optim_kernels_neon;

#endif
