/* Eigenvectors of a symmetric matrix: Householder tridiagonalisation and the implicit QL method
 * (Bowdler, Martin, Reinsch and Wilkinson, Numerische Mathematik 11, 1968; tred2 and tql2).  About
 * 5 d^3 operations, in double.  v is kept by columns, v[j d + k] = V(k, j), so that inner loops are contiguous.
 *
 * All loops but the first half of a reflection are cut for threads so that no sum changes its order.  A sweep's rotations
 * are collected and then applied to a few rows of V at a time, which stay in a core's cache meanwhile. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "optim/handle.h"

enum {
    COLUMNS_PER_ITEM = 32, /* of V, in a reflection */
    ROWS_PER_ITEM = 64     /* of V, in a sweep */
};

typedef struct eigen {
    const vlorp_exec *exec;
    double *v;       /* [d, d] */
    double *diag;    /* [d] */
    double *e;       /* [d] */
    double *cs;      /* [d, 2]: rotation i, of columns i and i + 1, of a sweep */
    int64_t d;
    int64_t i;       /* the reflection in work */
    int64_t from, to; /* rotations to - 1 down to from are to be applied */
} eigen;

/* V -= f e' + g diag', the lower triangle of columns [j0, j0 + COLUMNS_PER_ITEM), f = diag and g = e of the column. */
static void update_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const eigen *w = arg;
    int64_t end = vlorpi_min(w->i, (item + 1) * COLUMNS_PER_ITEM);
    for (int64_t j = item * COLUMNS_PER_ITEM; j < end; j++) {
        double *column = w->v + j * w->d;
        double f = w->diag[j];
        double g = w->e[j];
        for (int64_t k = j; k < w->i; k++) {
            column[k] -= f * w->e[k] + g * w->diag[k];
        }
    }
}

/* One Householder step: eliminates row i to the left of the subdiagonal.  diag and e as in tred2. */
static void eliminate(eigen *w, int64_t i)
{
    double *v = w->v;
    double *diag = w->diag;
    double *e = w->e;
    int64_t d = w->d;
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
    w->i = i;
    vlorpi_for_each(w->exec, vlorpi_divide_up(i, COLUMNS_PER_ITEM), update_item, w);
    for (int64_t j = 0; j < i; j++) {
        diag[j] = v[j * d + i - 1];
        v[j * d + i] = 0;
    }
    diag[i] = h;
}

/* Columns [j0, j0 + COLUMNS_PER_ITEM) of the reflections' product take reflection i, whose vector is column i + 1. */
static void reflect_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const eigen *w = arg;
    const double *next = w->v + (w->i + 1) * w->d;
    int64_t end = vlorpi_min(w->i + 1, (item + 1) * COLUMNS_PER_ITEM);
    for (int64_t j = item * COLUMNS_PER_ITEM; j < end; j++) {
        double *column = w->v + j * w->d;
        double g = 0;
        for (int64_t k = 0; k <= w->i; k++) {
            g += next[k] * column[k];
        }
        for (int64_t k = 0; k <= w->i; k++) {
            column[k] -= g * w->diag[k];
        }
    }
}

/* v becomes the product of the reflections, diag and e the tridiagonal matrix. */
static void tridiagonal(eigen *w)
{
    double *v = w->v;
    int64_t d = w->d;
    for (int64_t j = 0; j < d; j++) {
        w->diag[j] = v[j * d + d - 1];
    }
    for (int64_t i = d - 1; i > 0; i--) {
        eliminate(w, i);
    }
    for (int64_t i = 0; i < d - 1; i++) {
        double *next = v + (i + 1) * d;
        v[i * d + d - 1] = v[i * d + i];
        v[i * d + i] = 1;
        double h = w->diag[i + 1];
        if (h != 0) {
            for (int64_t k = 0; k <= i; k++) {
                w->diag[k] = next[k] / h;
            }
            w->i = i;
            vlorpi_for_each(w->exec, vlorpi_divide_up(i + 1, COLUMNS_PER_ITEM), reflect_item, w);
        }
        memset(next, 0, (size_t)(i + 1) * sizeof *next);
    }
    for (int64_t j = 0; j < d; j++) {
        w->diag[j] = v[j * d + d - 1];
        v[j * d + d - 1] = 0;
    }
    v[d * d - 1] = 1;
    w->e[0] = 0;
}

static void rotate(double *a, double *b, double c, double s, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double h = b[k];
        b[k] = s * a[k] + c * h;
        a[k] = c * a[k] - s * h;
    }
}

static void rotate_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const eigen *w = arg;
    int64_t k = item * ROWS_PER_ITEM;
    int64_t n = vlorpi_min(ROWS_PER_ITEM, w->d - k);
    for (int64_t i = w->to - 1; i >= w->from; i--) {
        rotate(w->v + i * w->d + k, w->v + (i + 1) * w->d + k, w->cs[2 * i], w->cs[2 * i + 1], n);
    }
}

/* One QL sweep over [l, m]; *shift collects what was taken off the diagonal. */
static void sweep(eigen *w, int64_t l, int64_t m, double *shift)
{
    double *diag = w->diag;
    double *e = w->e;
    double g = diag[l];
    double p = (diag[l + 1] - g) / (2 * e[l]);
    double r = p < 0 ? -hypot(p, 1) : hypot(p, 1);
    diag[l] = e[l] / (p + r);
    diag[l + 1] = e[l] * (p + r);
    double dl1 = diag[l + 1];
    double h = g - diag[l];
    for (int64_t i = l + 2; i < w->d; i++) {
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
        w->cs[2 * i] = c;
        w->cs[2 * i + 1] = s;
    }
    p = dl1 != 0 ? -s * s2 * c3 * el1 * e[l] / dl1 : 0;
    e[l] = s * p;
    diag[l] = c * p;
    w->from = l;
    w->to = m;
    vlorpi_for_each(w->exec, vlorpi_divide_up(w->d, ROWS_PER_ITEM), rotate_item, w);
}

static bool diagonal(eigen *w)
{
    enum { MOST_SWEEPS = 200 };
    double *diag = w->diag;
    double *e = w->e;
    double shift = 0;
    double largest = 0;
    memmove(e, e + 1, (size_t)(w->d - 1) * sizeof *e);
    e[w->d - 1] = 0;
    for (int64_t l = 0; l < w->d; l++) {
        largest = fmax(largest, fabs(diag[l]) + fabs(e[l]));
        int64_t m = l;
        while (fabs(e[m]) > DBL_EPSILON * largest) {
            m++; /* ends: the last e is zero */
        }
        for (int n = 0; m > l && fabs(e[l]) > DBL_EPSILON * largest; n++) {
            if (n == MOST_SWEEPS) {
                return false;
            }
            sweep(w, l, m, &shift);
        }
        diag[l] += shift;
        e[l] = 0;
    }
    return true;
}

bool vlorpi_eigen_leading(const vlorp_exec *exec, float *p, double *a, double *work, int64_t d, int64_t r)
{
    eigen w = {.exec = exec, .v = a, .diag = work, .e = work + d, .cs = work + 2 * d, .d = d};
    double *diag = w.diag;
    for (int64_t i = 0; i < d * d; i++) {
        if (!isfinite(a[i])) {
            return false;
        }
    }
    tridiagonal(&w);
    if (!diagonal(&w)) {
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
