/* Which projection a matrix gets (docs/method.md section 2), and its numbers. */
#include <vlorp/projector.h>
#include <vlorp/rng.h>

#include <stdio.h>
#include <string.h>

#include "base/status.h"

vlorp_projection vlorp_projection_default(void)
{
    return (vlorp_projection){.side = VLORP_SIDE_AUTO, .distribution = VLORP_NORMAL};
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Fills factor (0: auto), rank (0 with auto) and budget from any valid combination. */
static vlorp_status complete(vlorp_projection *asked, vlorp_err *err)
{
    enum { LARGEST = 1 << 30 };
    int64_t c = asked->factor;
    int64_t r = asked->rank;
    int64_t M = asked->budget;
    int64_t f = asked->divisor > 1 ? asked->divisor : 1;
    if (asked->divisor < 0 || asked->divisor > LARGEST || (f > 1 && c > 1)) {
        VLORP_FAIL(err, VLORP_E_ARG, "factor %lld over %lld: a factor below one is 1 / n", (long long)c,
                   (long long)asked->divisor);
    }
    if (c < 0 || r < 0 || M < 0 || c > LARGEST || r > LARGEST || M > LARGEST) {
        VLORP_FAIL(err, VLORP_E_ARG, "factor %lld, rank %lld, budget %lld: each must be between 0 and %d", (long long)c,
                   (long long)r, (long long)M, (int)LARGEST);
    }
    if (f > 1) {
        if (r == 0 && (M == 0 || M > LARGEST / f)) {
            VLORP_FAIL(err, VLORP_E_ARG, "a factor of 1/%lld needs a rank, or a budget below %lld", (long long)f,
                       (long long)(LARGEST / f));
        }
        if (r > 0 && M > 0 && (M > LARGEST / f || r != M * f)) {
            VLORP_FAIL(err, VLORP_E_ARG, "factor 1/%lld times rank %lld is not the budget %lld", (long long)f,
                       (long long)r, (long long)M);
        }
        asked->factor = 1;
        asked->rank = r > 0 ? r : M * f;
        asked->budget = asked->rank; /* of the re-read matrix */
        return VLORP_OK;
    }
    if (c > 0 && r > 0) {
        if (M > 0 && M != c * r) {
            VLORP_FAIL(err, VLORP_E_ARG, "factor %lld times rank %lld is %lld, not the budget %lld", (long long)c,
                       (long long)r, (long long)(c * r), (long long)M);
        }
        asked->budget = c * r;
        return VLORP_OK;
    }
    if (M == 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "a projection needs a factor and a rank, or a budget");
    }
    int64_t given = c > 0 ? c : r;
    if (given == 0) {
        return VLORP_OK;
    }
    if (M % given != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "budget %lld is not a multiple of %s %lld", (long long)M,
                   c > 0 ? "factor" : "rank", (long long)given);
    }
    asked->factor = c > 0 ? c : M / r;
    asked->rank = r > 0 ? r : M / c;
    return VLORP_OK;
}

/* The divisors of s_dim next below and above c, for the message under strict. */
static vlorp_status refuse(const vlorp_projection *asked, const char *name, int64_t n, int64_t m, int64_t s_dim,
                           vlorp_err *err)
{
    int64_t c = asked->factor < s_dim ? asked->factor : s_dim;
    int64_t below = c;
    int64_t above = c;
    while (s_dim % below != 0) {
        below--;
    }
    while (s_dim % above != 0) {
        above++;
    }
    vlorp_status status = vlorpi_err_set(
        err, VLORP_E_ARG, "%s [%lld, %lld]: factor %lld, rank %lld do not fit its compressed dimension %lld", name,
        (long long)n, (long long)m, (long long)asked->factor, (long long)asked->rank, (long long)s_dim);
    vlorpi_err_hint(err, "factors that divide it: %lld, %lld; factor times rank must be below %lld", (long long)below,
                    (long long)above, (long long)s_dim);
    return status;
}

static void set_exact(vlorp_projection_used *used)
{
    used->exact = true;
    used->c = used->s_dim;
    used->r = 1;
    used->d = 1;
    used->M = used->s_dim;
}

vlorp_status vlorp_projection_resolve(vlorp_projection_used *used, const vlorp_projection *asked, const char *name,
                                      int64_t n, int64_t m, vlorp_err *err)
{
    vlorp_projection want = *asked;
    VLORP_TRY(complete(&want, err));
    vlorp_projection_used u = {.side = want.side, .f = 1};
    if (u.side == VLORP_SIDE_AUTO) {
        u.side = n >= m ? VLORP_SIDE_RIGHT : VLORP_SIDE_LEFT;
    }
    u.s_dim = u.side == VLORP_SIDE_RIGHT ? m : n;
    u.u_dim = u.side == VLORP_SIDE_RIGHT ? n : m;
    if (want.divisor > 1) {
        u.f = gcd(want.divisor, u.u_dim);
        if (u.s_dim > INT32_MAX / u.f) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s [%lld, %lld]: factor 1/%lld makes slices too long", name, (long long)n,
                       (long long)m, (long long)want.divisor);
        }
        int64_t rank = (want.rank * u.f + want.divisor - 1) / want.divisor;
        u.adjusted = u.f != want.divisor;
        if (u.adjusted && want.strict) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s [%lld, %lld]: factor 1/%lld: %lld does not divide %lld", name,
                       (long long)n, (long long)m, (long long)want.divisor, (long long)want.divisor,
                       (long long)u.u_dim);
        }
        if (rank >= u.f * u.s_dim) {
            u.f = 1;
            set_exact(&u);
            u.adjusted = true;
        } else {
            u.s_dim *= u.f;
            u.u_dim /= u.f;
            u.c = 1;
            u.r = u.M = rank;
            u.d = u.s_dim;
        }
    } else if (want.budget >= u.s_dim) {
        set_exact(&u);
        u.adjusted = want.factor > 0;
    } else {
        u.M = want.budget;
        u.c = gcd(want.factor > 0 ? want.factor : u.M, u.s_dim);
        u.r = u.M / u.c;
        u.d = u.s_dim / u.c;
        u.adjusted = want.factor > 0 && u.c != want.factor;
    }
    if (want.strict && u.adjusted) {
        return refuse(&want, name, n, m, u.s_dim, err);
    }
    *used = u;
    return VLORP_OK;
}

void vlorp_projection_fill(float *p, const vlorp_projection_used *used, vlorp_distribution distribution, uint64_t seed,
                           const char *name, uint64_t refresh)
{
    if (used->exact) {
        p[0] = 1.0f;
        return;
    }
    vlorp_rng rng = vlorp_rng_make(seed, vlorp_rng_hash(name), VLORP_STREAM_PROJECTION, refresh);
    if (distribution == VLORP_RADEMACHER) {
        vlorp_rng_signs(p, &rng, 0, used->d * used->r);
    } else {
        vlorp_rng_normals(p, &rng, 0, used->d * used->r);
    }
}
