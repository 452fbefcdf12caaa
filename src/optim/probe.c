/* svd's P: the leading eigenvectors of the re-read gradient's Gram matrix (docs/method.md section 2).
 * The gradients of probes that are begun lie one behind the other in scratch.tile. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/threads.h"
#include "optim/handle.h"

bool vlorp_optimizer_wants_probe(const vlorp_optimizer *o, int id)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, NULL);
    return slot != NULL && o->committed && vlorpi_slot_is_probed(slot) &&
           slot->basis_refresh != vlorpi_refresh(o, slot);
}

bool vlorp_optimizer_probe_is_begun(const vlorp_optimizer *o, int id)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, NULL);
    return slot != NULL && slot->probe != NULL;
}

/* What all probing calls check.  T: tokens that come with the call. */
static vlorp_status find(const vlorp_optimizer *o, int id, int64_t T, vlorpi_slot **slot, vlorp_err *err)
{
    *slot = vlorpi_optimizer_slot(o, id, err);
    if (*slot == NULL) {
        return VLORP_E_ARG;
    }
    const char *name = (*slot)->name;
    if (!vlorpi_slot_is_probed(*slot)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s is not projected by the svd of a probe", name);
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

static vlorp_status find_begun(const vlorp_optimizer *o, int id, int64_t T, vlorpi_slot **slot, vlorp_err *err)
{
    VLORP_TRY(find(o, id, T, slot, err));
    if ((*slot)->probe == NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: its probe was not begun", (*slot)->name);
    }
    return VLORP_OK;
}

static int64_t n_elements(const vlorpi_slot *slot)
{
    return slot->n * slot->m;
}

/* false: there is no room. */
static bool take_room(vlorp_optimizer *o, vlorpi_slot *slot)
{
    if (n_elements(slot) > o->scratch.tile_floats - o->probe_floats) {
        return false;
    }
    slot->probe = o->scratch.tile + o->probe_floats;
    o->probe_floats += n_elements(slot);
    o->n_probes++;
    vlorpi_clear(o, slot->probe, (size_t)n_elements(slot) * sizeof(float));
    return true;
}

/* A hole below another's G is free again when that one ends. */
static void give_room_back(vlorp_optimizer *o, vlorpi_slot *slot)
{
    slot->probe = NULL;
    o->n_probes--;
    o->probe_floats = 0;
    for (const vlorpi_slot *other = o->first; other != NULL; other = other->next) {
        if (other->probe != NULL) {
            o->probe_floats = vlorpi_max(o->probe_floats, other->probe - o->scratch.tile + n_elements(other));
        }
    }
}

vlorp_status vlorp_optimizer_probe_begin(vlorp_optimizer *o, int id, bool *begun, vlorp_err *err)
{
    vlorpi_slot *slot;
    *begun = false;
    VLORP_TRY(find(o, id, 0, &slot, err));
    if (slot->probe != NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: its probe is begun already", slot->name);
    }
    *begun = take_room(o, slot);
    return VLORP_OK;
}

/* Scales G so that its largest entry is 1, which keeps squares in range; false: not finite. */
static bool normalise(const vlorpi_slot *slot)
{
    float *g = slot->probe;
    float largest = 0;
    for (int64_t i = 0; i < n_elements(slot); i++) {
        if (!isfinite(g[i])) {
            return false;
        }
        largest = fabsf(g[i]) > largest ? fabsf(g[i]) : largest;
    }
    for (int64_t i = 0; largest > 0 && i < n_elements(slot); i++) {
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

/* P from G [n, m]: row-major, the re-read matrix is the same numbers as [.., d] or [d, ..]. */
static vlorp_status finish(vlorp_optimizer *o, vlorpi_slot *slot, vlorp_err *err)
{
    const vlorpi_scratch *s = &o->scratch;
    int64_t d = slot->proj.d;
    int64_t length = n_elements(slot) / d;
    if (!normalise(slot)) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "%s: its probe gradient has a value that is not finite", slot->name);
    }
    bool right = vlorpi_slot_is_right(slot);
    vlorpi_gemm_operand rows = vlorpi_gemm_rows(slot->probe, VLORP_F32, right ? d : length);
    vlorpi_gemm_operand columns = vlorpi_gemm_transposed(slot->probe, VLORP_F32, right ? d : length);
    vlorpi_gemm(&o->gemm, s->gram32, d, false, right ? columns : rows, right ? rows : columns, d, d, length);
    for (int64_t i = 0; i < d; i++) {
        for (int64_t j = 0; j <= i; j++) {
            s->eigen[i * d + j] = s->eigen[j * d + i] = (double)s->gram32[i * d + j];
        }
    }
    float *p = s->gram32; /* [d, r] fits in [d, d] */
    if (!vlorpi_eigen_leading(&o->config.exec, p, s->eigen, s->eigen + d * d, d, slot->proj.r)) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "%s: the eigenvectors of its probe gradient were not found", slot->name);
    }
    if (vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_TRANSPORT && vlorpi_slot_has_subspace_moment(slot) &&
        o->steps_taken > 0) {
        carry(o, slot, p);
    }
    memcpy(slot->basis, p, (size_t)(d * slot->proj.r) * sizeof *p);
    slot->basis_refresh = vlorpi_refresh(o, slot);
    o->scratch.p_slot = -1;
    return VLORP_OK;
}

static vlorp_status end(vlorp_optimizer *o, vlorpi_slot *slot, vlorp_err *err)
{
    vlorp_status status = finish(o, slot, err);
    give_room_back(o, slot);
    return status;
}

vlorp_status vlorp_optimizer_probe_end(vlorp_optimizer *o, int id, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find_begun(o, id, 0, &slot, err));
    return end(o, slot, err);
}

static void add(const vlorp_optimizer *o, const vlorpi_slot *slot, const float *g, int64_t ldg)
{
    for (int64_t i = 0; i < vlorpi_slot_n_stored_rows(slot); i++) {
        const float *row = g + i * ldg;
        if (!slot->transposed) {
            o->kernels->axpy(slot->probe + i * slot->m, 1.0f, row, slot->m);
            continue;
        }
        for (int64_t j = 0; j < slot->n; j++) {
            slot->probe[j * slot->m + i] += row[j];
        }
    }
}

static void add_factors(vlorp_optimizer *o, const vlorpi_slot *slot, const float *dy, int64_t ldy, const float *x,
                        int64_t ldx, int64_t T)
{
    vlorpi_gemm(&o->gemm, slot->probe, slot->m, true, vlorpi_gemm_transposed(dy, VLORP_F32, ldy),
                vlorpi_gemm_rows(x, VLORP_F32, ldx), slot->n, slot->m, T);
}

static void add_rows(const vlorp_optimizer *o, const vlorpi_slot *slot, const int32_t *ids, const float *dy,
                     int64_t ldy, int64_t T)
{
    for (int64_t t = 0; t < T; t++) {
        o->kernels->axpy(slot->probe + ids[t] * slot->m, 1.0f, dy + t * ldy, slot->m);
    }
}

vlorp_status vlorp_optimizer_probe_add(vlorp_optimizer *o, int id, const float *g, int64_t ldg, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find_begun(o, id, 0, &slot, err));
    VLORP_TRY(vlorpi_check_gradient(slot, &ldg, err));
    add(o, slot, g, ldg);
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_probe_add_factors(vlorp_optimizer *o, int id, const float *dy, int64_t ldy,
                                               const float *x, int64_t ldx, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find_begun(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_factors(slot, &ldy, &ldx, err));
    add_factors(o, slot, dy, ldy, x, ldx, T);
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_probe_add_rows(vlorp_optimizer *o, int id, const int32_t *ids, const float *dy,
                                            int64_t ldy, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find_begun(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_rows(slot, ids, &ldy, T, err));
    add_rows(o, slot, ids, dy, ldy, T);
    return VLORP_OK;
}

/* The start of a probe in one call. */
static vlorp_status begin(vlorp_optimizer *o, vlorpi_slot *slot, vlorp_err *err)
{
    if (slot->probe != NULL || !take_room(o, slot)) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: probes that were begun must end first", slot->name);
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_probe(vlorp_optimizer *o, int id, const float *g, int64_t ldg, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find(o, id, 0, &slot, err));
    VLORP_TRY(vlorpi_check_gradient(slot, &ldg, err));
    VLORP_TRY(begin(o, slot, err));
    add(o, slot, g, ldg);
    return end(o, slot, err);
}

vlorp_status vlorp_optimizer_probe_factors(vlorp_optimizer *o, int id, const float *dy, int64_t ldy, const float *x,
                                           int64_t ldx, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_factors(slot, &ldy, &ldx, err));
    VLORP_TRY(begin(o, slot, err));
    add_factors(o, slot, dy, ldy, x, ldx, T);
    return end(o, slot, err);
}

vlorp_status vlorp_optimizer_probe_rows(vlorp_optimizer *o, int id, const int32_t *ids, const float *dy, int64_t ldy,
                                        int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(find(o, id, T, &slot, err));
    VLORP_TRY(vlorpi_check_rows(slot, ids, &ldy, T, err));
    VLORP_TRY(begin(o, slot, err));
    add_rows(o, slot, ids, dy, ldy, T);
    return end(o, slot, err);
}

/* Whether P is that of the very gradient of the step. */
static bool is_of_the_step(const vlorpi_slot *slot)
{
    return vlorpi_slot_is_svd(slot) && vlorpi_slot_projects_late(slot);
}

/* A failure leaves no P behind that the step did not use. */
vlorp_status vlorpi_probe_whole_gradients(vlorp_optimizer *o, vlorp_err *err)
{
    vlorp_status status = VLORP_OK;
    for (vlorpi_slot *slot = o->first; slot != NULL && status == VLORP_OK; slot = slot->next) {
        if (is_of_the_step(slot) && slot->basis_refresh != vlorpi_refresh(o, slot)) {
            (void)take_room(o, slot); /* no probe is begun at a step, and one matrix always fits */
            add(o, slot, slot->grad, vlorpi_slot_stored_width(slot));
            status = end(o, slot, err);
        }
    }
    for (vlorpi_slot *slot = o->first; slot != NULL && status != VLORP_OK; slot = slot->next) {
        if (is_of_the_step(slot) && o->steps_taken % o->config.update_gap == 0) {
            slot->basis_refresh = -1;
        }
    }
    return status;
}
