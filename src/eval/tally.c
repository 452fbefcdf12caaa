#include "eval/tally.h"

#include <math.h>

void vlorpi_tally_add(vlorpi_tally *sum, const vlorpi_tally *more)
{
    sum->n += more->n;
    sum->n_correct += more->n_correct;
    sum->n_near += more->n_near;
}

double vlorpi_tally_accuracy(const vlorpi_tally *tally)
{
    return tally->n > 0 ? (double)tally->n_correct / (double)tally->n : 0;
}

vlorpi_interval vlorpi_tally_interval(const vlorpi_tally *tally)
{
    static const double z = 1.959963984540054; /* the normal distribution's 97.5 % */
    if (tally->n == 0) {
        return (vlorpi_interval){0, 1};
    }
    double n = (double)tally->n;
    double p = vlorpi_tally_accuracy(tally);
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return (vlorpi_interval){fmax(0, middle - half), fmin(1, middle + half)};
}
