#include <math.h>

#include "kernel/ref/model_ref.h"

void REF(vlorpi_rmsnorm_fwd)(real *y, real *rstd, const real *x, const real *w, int64_t N, int64_t D, float eps)
{
    for (int64_t t = 0; t < N; t++) {
        const real *x_d = x + t * D;
        real *y_d = y + t * D;
        double sum = 0;
        for (int64_t d = 0; d < D; d++) {
            sum += (double)x_d[d] * (double)x_d[d];
        }
        double r = 1.0 / sqrt(sum / (double)D + (double)eps);
        for (int64_t d = 0; d < D; d++) {
            y_d[d] = (real)((double)x_d[d] * r * (double)w[d]);
        }
        if (rstd != NULL) {
            rstd[t] = (real)r;
        }
    }
}

void REF(vlorpi_rmsnorm_bwd_x)(real *dx, const real *dy, const real *x, const real *w, const real *rstd, int64_t N,
                               int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        const real *x_d = x + t * D;
        const real *dy_d = dy + t * D;
        real *dx_d = dx + t * D;
        double dot = 0;
        for (int64_t d = 0; d < D; d++) {
            dot += (double)dy_d[d] * (double)w[d] * (double)x_d[d];
        }
        double r = (double)rstd[t];
        double mean = dot * r * r / (double)D;
        for (int64_t d = 0; d < D; d++) {
            dx_d[d] = (real)((double)dx_d[d] + r * ((double)w[d] * (double)dy_d[d] - (double)x_d[d] * mean));
        }
    }
}

void REF(vlorpi_rmsnorm_bwd_w)(real *dw, const real *dy, const real *x, const real *rstd, int64_t N, int64_t D,
                               int64_t d_begin, int64_t d_end)
{
    for (int64_t d = d_begin; d < d_end; d++) {
        double sum = (double)dw[d];
        for (int64_t t = 0; t < N; t++) {
            sum += (double)dy[t * D + d] * (double)x[t * D + d] * (double)rstd[t];
        }
        dw[d] = (real)sum;
    }
}
