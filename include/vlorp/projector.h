/* projector.h - the VLoRP projection of one weight's gradient: what is asked, what is used.
 *
 * arXiv 2505.01744, section 3.  A gradient G [n, m] is compressed along one dimension of length
 * s_dim, cut into c slices of d = s_dim / c, each projected onto r random directions P [d, r]:
 *
 *   right (columns):  S[i,k,q] = sum_j G[i, k d + j] P[j,q]        S is [n, c, r]
 *   left (rows):      S[q,b,j] = sum_a P[a,q] G[a c + b, j]        S is [r, c, m]
 *
 * and read back as Ghat = s * (S with P), s = 1/r, so that E Ghat = G.  M = c r numbers are kept per
 * row (column) of the other dimension, u_dim.
 *
 * c below one, 1/f: G is first re-read, row-major, as [n / f, f m] (right) or [f n, m / f] (left) and
 * then projected with one slice, so d = f s_dim is longer than the dimension itself and f divides the
 * other one: S is [n / f, 1, r] or [r, 1, m / f].
 *
 * svd: P holds the top r right (left) singular vectors of the re-read gradient [.., d] of a probe
 * (vlorp_optimizer_probe), and s = 1.
 */
#ifndef VLORP_PROJECTOR_H
#define VLORP_PROJECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <vlorp/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlorp_side {
    VLORP_SIDE_AUTO = 0, /* the smaller dimension: right when n >= m */
    VLORP_SIDE_LEFT = 1,
    VLORP_SIDE_RIGHT = 2
} vlorp_side;

typedef enum vlorp_distribution {
    VLORP_NORMAL = 0,    /* entries N(0, 1) */
    VLORP_RADEMACHER = 1, /* entries +1 or -1 */
    VLORP_SVD = 2         /* singular vectors of a gradient: data, stored, saved */
} vlorp_distribution;

/* What is asked.  Zero means "not given"; see vlorp_projection_resolve. */
typedef struct vlorp_projection {
    vlorp_side side;
    vlorp_distribution distribution;
    int64_t factor; /* c; 0: auto, gcd(budget, s_dim) */
    int64_t rank;   /* r */
    int64_t budget; /* M = c r */
    bool strict;    /* an adjustment is an error */
    int64_t divisor; /* f > 1 with factor 1: c = 1 / f; 0 or 1: c = factor */
} vlorp_projection;

/* side auto, normal, nothing given. */
VLORP_API vlorp_projection vlorp_projection_default(void);

/* What is used for one matrix. */
typedef struct vlorp_projection_used {
    vlorp_side side;      /* left or right */
    int64_t c, r, d;      /* c d = s_dim */
    int64_t M;            /* c r */
    int64_t s_dim, u_dim; /* the compressed and the other dimension */
    bool exact;           /* kept whole, P = I: then c = s_dim, r = d = 1 and P is the number 1 */
    bool adjusted;        /* differs from the factor and rank that were asked */
    int64_t f; /* 1; above it c is 1 / f, and c, M, s_dim and u_dim above are those of the re-read
                  matrix: 1, r, f s_dim and u_dim / f */
} vlorp_projection_used;

/* Settings for a matrix [n, m]:
 *   factor and rank     M = factor * rank (a budget given too must agree)
 *   budget with one     the other is the quotient, which must be whole
 *   budget alone        c = gcd(budget, s_dim)
 *   divisor f           c = 1 / f; M = rank / f, so a budget gives rank = budget f
 * Where c does not divide s_dim: c' = gcd(c, s_dim), r' = M / c', so that M is kept.  Where
 * M >= s_dim the matrix is kept exact.  Where f does not divide u_dim: f' = gcd(f, u_dim) and r' = r f' / f,
 * rounded up.
 *   name  for messages; borrowed for the call
 * Errors: E_ARG for settings that disagree or are incomplete, and for an adjustment under strict;
 * the text names matrix, shape and valid values nearby.  *used is written only on VLORP_OK. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_projection_resolve(vlorp_projection_used *used,
                                                              const vlorp_projection *asked, const char *name,
                                                              int64_t n, int64_t m, vlorp_err *err);

/* p [d, r] row-major, overwritten: the projection of refresh number `refresh` of the parameter
 * `name`; entry (j, q) is entry j r + q of the projection stream (rng.h).  Exact: the number 1.  Not for
 * svd, whose P is data: vlorp_optimizer_projection gives it. */
VLORP_API void vlorp_projection_fill(float *p, const vlorp_projection_used *used, vlorp_distribution distribution,
                                     uint64_t seed, const char *name, uint64_t refresh);

#ifdef __cplusplus
}
#endif
#endif
