/* Eigenvectors of a symmetric matrix: Householder tridiagonalisation and the implicit QL method
 * (Bowdler, Martin, Reinsch and Wilkinson, Numerische Mathematik 11, 1968; tred2 and tql2).  About
 * 5 d^3 operations, in double.  v is kept by columns, v[j d + k] = V(k, j), so that inner loops are contiguous. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "optim/handle.h"

/* One Householder step: eliminates row i to the left of the subdiagonal.  e, f [d] as in tred2. */
static void eliminate(double *v, double *diag, double *e, int64_t d, int64_t i)
{
    double scale = 0;
    double h = 0;
    for (int64_t k = 0; k < i; k++) {
        scale += fabs(diag[k]);
    }
    if (scale == 0) {
        e[i] = diag[i - 1];
        for (int64_t j = 0; j < i; j++) {
            diag[j] = v[j * d + i - 1];
            v[j * d + i] = 0;
            v[i * d + j] = 0;
        }
        diag[i] = 0;
        return;
    }
    for (int64_t k = 0; k < i; k++) {
        diag[k] /= scale;
        h += diag[k] * diag[k];
    }
    double f = diag[i - 1];
    double g = f > 0 ? -sqrt(h) : sqrt(h);
    e[i] = scale * g;
    h -= f * g;
    diag[i - 1] = f - g;
    memset(e, 0, (size_t)i * sizeof *e);
    for (int64_t j = 0; j < i; j++) {
        f = diag[j];
        v[i * d + j] = f;
        g = e[j] + v[j * d + j] * f;
        for (int64_t k = j + 1; k < i; k++) {
            g += v[j * d + k] * diag[k];
            e[k] += v[j * d + k] * f;
        }
        e[j] = g;
    }
    f = 0;
    for (int64_t j = 0; j < i; j++) {
        e[j] /= h;
        f += e[j] * diag[j];
    }
    double hh = f / (h + h);
    for (int64_t j = 0; j < i; j++) {
        e[j] -= hh * diag[j];
    }
    for (int64_t j = 0; j < i; j++) {
        f = diag[j];
        g = e[j];
        for (int64_t k = j; k < i; k++) {
            v[j * d + k] -= f * e[k] + g * diag[k];
        }
        diag[j] = v[j * d + i - 1];
        v[j * d + i] = 0;
    }
    diag[i] = h;
}

/* v becomes the product of the reflections, diag and e the tridiagonal matrix. */
static void tridiagonal(double *v, double *diag, double *e, int64_t d)
{
    for (int64_t j = 0; j < d; j++) {
        diag[j] = v[j * d + d - 1];
    }
    for (int64_t i = d - 1; i > 0; i--) {
        eliminate(v, diag, e, d, i);
    }
    for (int64_t i = 0; i < d - 1; i++) {
        double *next = v + (i + 1) * d;
        v[i * d + d - 1] = v[i * d + i];
        v[i * d + i] = 1;
        double h = diag[i + 1];
        if (h != 0) {
            for (int64_t k = 0; k <= i; k++) {
                diag[k] = next[k] / h;
            }
            for (int64_t j = 0; j <= i; j++) {
                double g = 0;
                for (int64_t k = 0; k <= i; k++) {
                    g += next[k] * v[j * d + k];
                }
                for (int64_t k = 0; k <= i; k++) {
                    v[j * d + k] -= g * diag[k];
                }
            }
        }
        memset(next, 0, (size_t)(i + 1) * sizeof *next);
    }
    for (int64_t j = 0; j < d; j++) {
        diag[j] = v[j * d + d - 1];
        v[j * d + d - 1] = 0;
    }
    v[d * d - 1] = 1;
    e[0] = 0;
}

static void rotate(double *a, double *b, double c, double s, int64_t d)
{
    for (int64_t k = 0; k < d; k++) {
        double h = b[k];
        b[k] = s * a[k] + c * h;
        a[k] = c * a[k] - s * h;
    }
}

/* One QL sweep over [l, m]; *shift collects what was taken off the diagonal. */
static void sweep(double *v, double *diag, double *e, int64_t d, int64_t l, int64_t m, double *shift)
{
    double g = diag[l];
    double p = (diag[l + 1] - g) / (2 * e[l]);
    double r = p < 0 ? -hypot(p, 1) : hypot(p, 1);
    diag[l] = e[l] / (p + r);
    diag[l + 1] = e[l] * (p + r);
    double dl1 = diag[l + 1];
    double h = g - diag[l];
    for (int64_t i = l + 2; i < d; i++) {
        diag[i] -= h;
    }
    *shift += h;
    p = diag[m];
    double c = 1;
    double c2 = 1;
    double c3 = 1;
    double el1 = e[l + 1];
    double s = 0;
    double s2 = 0;
    for (int64_t i = m - 1; i >= l; i--) {
        c3 = c2;
        c2 = c;
        s2 = s;
        g = c * e[i];
        h = c * p;
        r = hypot(p, e[i]);
        e[i + 1] = s * r;
        s = r > 0 ? e[i] / r : 0;
        c = r > 0 ? p / r : 1;
        p = c * diag[i] - s * g;
        diag[i + 1] = h + s * (c * g + s * diag[i]);
        rotate(v + i * d, v + (i + 1) * d, c, s, d);
    }
    p = dl1 != 0 ? -s * s2 * c3 * el1 * e[l] / dl1 : 0;
    e[l] = s * p;
    diag[l] = c * p;
}

static bool diagonal(double *v, double *diag, double *e, int64_t d)
{
    enum { MOST_SWEEPS = 200 };
    double shift = 0;
    double largest = 0;
    memmove(e, e + 1, (size_t)(d - 1) * sizeof *e);
    e[d - 1] = 0;
    for (int64_t l = 0; l < d; l++) {
        largest = fmax(largest, fabs(diag[l]) + fabs(e[l]));
        int64_t m = l;
        while (fabs(e[m]) > DBL_EPSILON * largest) {
            m++; /* ends: the last e is zero */
        }
        for (int n = 0; m > l && fabs(e[l]) > DBL_EPSILON * largest; n++) {
            if (n == MOST_SWEEPS) {
                return false;
            }
            sweep(v, diag, e, d, l, m, &shift);
        }
        diag[l] += shift;
        e[l] = 0;
    }
    return true;
}

bool vlorpi_eigen_leading(float *p, double *a, double *work, int64_t d, int64_t r)
{
    double *diag = work;
    double *e = work + d;
    for (int64_t i = 0; i < d * d; i++) {
        if (!isfinite(a[i])) {
            return false;
        }
    }
    tridiagonal(a, diag, e, d);
    if (!diagonal(a, diag, e, d)) {
        return false;
    }
    for (int64_t q = 0; q < r; q++) {
        int64_t best = 0;
        for (int64_t j = 1; j < d; j++) {
            best = diag[j] > diag[best] ? j : best;
        }
        diag[best] = -HUGE_VAL;
        const double *vector = a + best * d;
        double largest = 0;
        for (int64_t k = 0; k < d; k++) {
            largest = fabs(vector[k]) > fabs(largest) ? vector[k] : largest;
        }
        for (int64_t k = 0; k < d; k++) {
            p[k * r + q] = (float)(largest < 0 ? -vector[k] : vector[k]);
        }
    }
    return true;
}
