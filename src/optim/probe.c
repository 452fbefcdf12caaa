/* svd's P: the leading eigenvectors of the re-read gradient's Gram matrix (docs/method.md section 2). */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/threads.h"
#include "optim/handle.h"

bool vlorp_optimizer_wants_probe(const vlorp_optimizer *o, int id)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, NULL);
    return slot != NULL && o->committed && vlorpi_slot_is_svd(slot) && slot->basis_refresh != vlorpi_refresh(o);
}

static vlorp_status begin(const vlorp_optimizer *o, int id, int64_t T, vlorpi_slot **slot, vlorp_err *err)
{
    *slot = vlorpi_optimizer_slot(o, id, err);
    if (*slot == NULL) {
        return VLORP_E_ARG;
    }
    const char *name = (*slot)->name;
    if (!vlorpi_slot_is_svd(*slot)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s is not projected by svd", name);
    }
    if (!o->committed || o->reduced || (*slot)->holds_sums) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: a probe comes after commit and before the step's first gradient", name);
    }
    if (T < 0 || T > o->config.max_tokens) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: %lld tokens in one call; max_tokens is %lld", name, (long long)T,
                   (long long)o->config.max_tokens);
    }
    return VLORP_OK;
}

/* Scales scratch.tile so that its largest entry is 1, which keeps squares in range; false: not finite. */
static bool normalise(const vlorp_optimizer *o, const vlorpi_slot *slot)
{
    float *g = o->scratch.tile;
    float largest = 0;
    for (int64_t i = 0; i < slot->n * slot->m; i++) {
        if (!isfinite(g[i])) {
            return false;
        }
        largest = fabsf(g[i]) > largest ? fabsf(g[i]) : largest;
    }
    for (int64_t i = 0; largest > 0 && i < slot->n * slot->m; i++) {
        g[i] /= largest;
    }
    return true;
}

/* Carries the moment over to the basis p; 2^31 tells these draws from those of a step. */
static void carry(vlorp_optimizer *o, vlorpi_slot *slot, const float *p)
{
    vlorpi_open_moment(o, slot);
    vlorpi_bridge_rows(o, slot, slot->basis, p, slot->proj.d, false);
    vlorpi_momentum_transport(o, slot);
    vlorpi_close_moment(o, slot, (int64_t)(UINT64_C(1) << 31 | (uint64_t)o->steps_taken));
}

/* P from G [n, m] in scratch.tile: row-major, the re-read matrix is the same numbers as [.., d] or [d, ..]. */
static vlorp_status finish(vlorp_optimizer *o, vlorpi_slot *slot, vlorp_err *err)
{
    const vlorpi_scratch *s = &o->scratch;
    int64_t d = slot->proj.d;
    int64_t length = slot->n * slot->m / d;
    if (!normalise(o, slot)) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "%s: its probe gradient has a value that is not finite", slot->name);
    }
    bool right = vlorpi_slot_is_right(slot);
    vlorpi_gemm_operand rows = vlorpi_gemm_rows(s->tile, VLORP_F32, right ? d : length);
    vlorpi_gemm_operand columns = vlorpi_gemm_transposed(s->tile, VLORP_F32, right ? d : length);
    vlorpi_gemm(&o->gemm, s->gram32, d, false, right ? columns : rows, right ? rows : columns, d, d, length);
    for (int64_t i = 0; i < d; i++) {
        for (int64_t j = 0; j <= i; j++) {
            s->eigen[i * d + j] = s->eigen[j * d + i] = (double)s->gram32[i * d + j];
        }
    }
    float *p = s->gram32; /* [d, r] fits in [d, d] */
    if (!vlorpi_eigen_leading(p, s->eigen, s->eigen + d * d, d, slot->proj.r)) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "%s: the eigenvectors of its probe gradient were not found", slot->name);
    }
    if (o->config.momentum == VLORP_MOMENTUM_TRANSPORT && vlorpi_slot_has_subspace_moment(slot) && o->steps_taken > 0) {
        carry(o, slot, p);
    }
    memcpy(slot->basis, p, (size_t)(d * slot->proj.r) * sizeof *p);
    slot->basis_refresh = vlorpi_refresh(o);
    o->scratch.p_slot = -1;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_probe(vlorp_optimizer *o, int id, const float *g, int64_t ldg, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, 0, &slot, err));
    VLORP_TRY(vlorpi_check_gradient(slot, &ldg, err));
    if (slot->transposed) {
        vlorpi_transpose(o, o->scratch.tile, g, ldg, slot->n, slot->m);
    } else {
        for (int64_t i = 0; i < slot->n; i++) {
            memcpy(o->scratch.tile + i * slot->m, g + i * ldg, (size_t)slot->m * sizeof *g);
        }
    }
    return finish(o, slot, err);
}

vlorp_status vlorp_optimizer_probe_factors(vlorp_optimizer *o, int id, const float *dy, int64_t ldy, const float *x,
                                           int64_t ldx, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_factors(slot, &ldy, &ldx, err));
    vlorpi_gemm(&o->gemm, o->scratch.tile, slot->m, false, vlorpi_gemm_transposed(dy, VLORP_F32, ldy),
                vlorpi_gemm_rows(x, VLORP_F32, ldx), slot->n, slot->m, T);
    return finish(o, slot, err);
}

vlorp_status vlorp_optimizer_probe_rows(vlorp_optimizer *o, int id, const int32_t *ids, const float *dy, int64_t ldy,
                                        int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_rows(slot, ids, &ldy, T, err));
    vlorpi_clear(o, o->scratch.tile, (size_t)(slot->n * slot->m) * sizeof(float));
    for (int64_t t = 0; t < T; t++) {
        o->kernels->axpy(o->scratch.tile + ids[t] * slot->m, 1.0f, dy + t * ldy, slot->m);
    }
    return finish(o, slot, err);
}
