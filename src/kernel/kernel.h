/* kernel.h - the kernel table: every operation that touches a tensor's bytes, per CPU level.
 *
 * Layer 2.  The seam to the device: model, projector and rules call through it and never index a
 * tensor's data.  A level starts from the reference and replaces what it does faster.  Kernels are
 * serial and work on ranges; the callers one layer up split outputs over an exec.
 */
#ifndef VLORPI_KERNEL_H
#define VLORPI_KERNEL_H

#include "kernel/gemm.h"
#include "kernel/model_kernels.h"
#include "kernel/optim_kernels.h"

typedef struct vlorpi_kernels {
    const char *name; /* ref, avx2, avx512, neon */
    const vlorpi_gemm_kernels *gemm;
    const vlorpi_model_kernels *model;
    const vlorpi_optim_kernels *optim;
} vlorpi_kernels;

/* The fastest table this CPU runs, not above the level named by max_level (NULL: no bound; an
 * unknown name gives NULL).  Points to constant data. */
const vlorpi_kernels *vlorpi_kernels_select(const char *max_level);

/* Table i of those this CPU runs, lowest (ref) first; NULL past the last.  For tests and bench. */
const vlorpi_kernels *vlorpi_kernels_at(int i);

#endif
