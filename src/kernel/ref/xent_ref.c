#include <math.h>

#include "kernel/ref/model_ref.h"

/* Largest logit and sum of exponentials below it.  A NaN logit makes the sum NaN. */
static double softmax_sum(double *largest, const real *logits, int64_t V)
{
    double m = -INFINITY;
    for (int64_t v = 0; v < V; v++) {
        m = (double)logits[v] > m ? (double)logits[v] : m;
    }
    double sum = 0;
    for (int64_t v = 0; v < V; v++) {
        sum += exp((double)logits[v] - m);
    }
    *largest = m;
    return sum;
}

void REF(vlorpi_xent_fwd)(real *loss, const real *logits, const int32_t *target, int64_t N, int64_t V)
{
    for (int64_t t = 0; t < N; t++) {
        const real *x = logits + t * V;
        double m;
        double sum = softmax_sum(&m, x, V);
        loss[t] = (real)(log(sum) + (m - (double)x[target[t]]));
    }
}

void REF(vlorpi_xent_fwd_bwd)(real *loss, real *logits, const int32_t *target, int64_t N, int64_t V)
{
    for (int64_t t = 0; t < N; t++) {
        real *x = logits + t * V;
        double m;
        double sum = softmax_sum(&m, x, V);
        loss[t] = (real)(log(sum) + (m - (double)x[target[t]]));
        for (int64_t v = 0; v < V; v++) {
            double onehot = v == target[t] ? 1 : 0;
            x[v] = (real)(exp((double)x[v] - m) / sum - onehot);
        }
    }
}
