#include "kernel/ref/model_ref.h"

/* direction 1 rotates forward, -1 back. */
static void rotate(real *x, int64_t ldx, const int32_t *pos, const real *cos, const real *sin, int64_t N, int64_t H,
                   int64_t E, double direction)
{
    int64_t half = E / 2;
    for (int64_t t = 0; t < N; t++) {
        const real *c = cos + pos[t] * half;
        const real *s = sin + pos[t] * half;
        for (int64_t h = 0; h < H; h++) {
            real *lower = x + t * ldx + h * E;
            real *upper = lower + half;
            for (int64_t i = 0; i < half; i++) {
                double a = (double)lower[i];
                double b = (double)upper[i];
                double ci = (double)c[i];
                double si = direction * (double)s[i];
                lower[i] = (real)(a * ci - b * si);
                upper[i] = (real)(b * ci + a * si);
            }
        }
    }
}

void REF(vlorpi_rope_fwd)(real *x, int64_t ldx, const int32_t *pos, const real *cos, const real *sin, int64_t N,
                          int64_t H, int64_t E)
{
    rotate(x, ldx, pos, cos, sin, N, H, E, 1);
}

void REF(vlorpi_rope_bwd)(real *dx, int64_t ldx, const int32_t *pos, const real *cos, const real *sin, int64_t N,
                          int64_t H, int64_t E)
{
    rotate(dx, ldx, pos, cos, sin, N, H, E, -1);
}
