#include "kernel/blas/blas.h"

#include <stddef.h>

vlorpi_gemm_blas_fn *vlorpi_blas_gemm(void)
{
    return NULL;
}

const char *vlorpi_blas_name(void)
{
    return "none";
}
