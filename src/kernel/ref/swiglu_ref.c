#include <math.h>

#include "kernel/ref/model_ref.h"

void REF(vlorpi_swiglu_fwd)(real *y, const real *gate, const real *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double z = (double)gate[i];
        y[i] = (real)(z / (1.0 + exp(-z)) * (double)up[i]);
    }
}

/* silu'(z) = s (1 + z (1 - s)) with s the logistic function. */
void REF(vlorpi_swiglu_bwd)(real *dgate, real *dup, const real *dy, const real *gate, const real *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double z = (double)gate[i];
        double s = 1.0 / (1.0 + exp(-z));
        double d = (double)dy[i];
        double u = (double)up[i];
        dgate[i] = (real)(d * u * (s * (1.0 + z * (1.0 - s))));
        dup[i] = (real)(d * (z * s));
    }
}
