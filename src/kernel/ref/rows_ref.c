/* Adding vectors, and picking and adding rows of a matrix. */
#include <string.h>

#include "kernel/ref/model_ref.h"

void REF(vlorpi_add)(real *y, const real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void REF(vlorpi_gather_rows)(real *y, const real *x, int64_t ldx, const int32_t *rows, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        memcpy(y + t * D, x + rows[t] * ldx, (size_t)D * sizeof(real));
    }
}

void REF(vlorpi_embed_fwd)(real *y, const real *table, const int32_t *ids, int64_t N, int64_t D)
{
    REF(vlorpi_gather_rows)(y, table, D, ids, N, D);
}

void REF(vlorpi_scatter_add_rows)(real *y, int64_t ldy, const real *x, const int32_t *rows, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        REF(vlorpi_add)(y + rows[t] * ldy, x + t * D, D);
    }
}
