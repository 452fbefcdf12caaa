/* blas.h - the CBLAS behind the function pointer of vlorpi_gemm_ctx.
 *
 * Layer 2, of the program: libvlorp does not contain it.  Without a BLAS (VLORP_BLAS=OFF) the same
 * call says that there is none.
 */
#ifndef VLORPI_KERNEL_BLAS_BLAS_H
#define VLORPI_KERNEL_BLAS_BLAS_H

#include "kernel/gemm.h"

/* The function to put into vlorpi_gemm_ctx.blas; NULL when the program was built without a BLAS. */
vlorpi_gemm_blas_fn *vlorpi_blas_gemm(void);

/* The library and its build, for the run's header; "none" without one. */
const char *vlorpi_blas_name(void);

#endif
