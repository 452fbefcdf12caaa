/* Gradients into S, or into the exact gradient (docs/method.md section 3). */
#include "base/status.h"
#include "base/threads.h"
#include "optim/handle.h"

enum { TOKENS_PER_ITEM = 32, ROWS_PER_ITEM = 64, COLUMNS_PER_ITEM = 256 };

/* What every item of an accumulation sees. */
typedef struct job {
    vlorp_optimizer *o;
    const vlorpi_slot *slot;
    const float *in;   /* G, X, dY, or rows to scatter */
    int64_t ld_in;
    int64_t first_row; /* of G that in begins with */
    int64_t n_rows;    /* rows of in */
    float *out;        /* where it goes, row stride ld_out */
    int64_t ld_out;
    int64_t width;     /* of a row that is added as it is */
    const int32_t *ids;
} job;

/* Checks what all accumulating calls share and finds the slot. */
static vlorp_status begin(vlorp_optimizer *o, int id, bool vector, int64_t T, vlorpi_slot **slot, vlorp_err *err)
{
    *slot = vlorpi_optimizer_slot(o, id, err);
    if (*slot == NULL) {
        return VLORP_E_ARG;
    }
    const char *name = (*slot)->name;
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: gradients cannot be accumulated before commit", name);
    }
    if (o->reduced) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: gradients cannot be accumulated between norm and step", name);
    }
    if (o->n_probes > 0) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: gradients cannot be accumulated while a probe is begun", name);
    }
    if ((*slot)->is_vector != vector) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s is %s", name, vector ? "a matrix, not a vector" : "a vector, not a matrix");
    }
    if ((*slot)->is_lent) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: its gradient is lent by the caller; nothing can be accumulated", name);
    }
    if (T < 0 || T > o->config.max_tokens) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: %lld tokens in one call; max_tokens is %lld", name, (long long)T,
                   (long long)o->config.max_tokens);
    }
    if (vlorpi_slot_is_probed(*slot) && (*slot)->basis_refresh != vlorpi_refresh(o, *slot)) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: svd needs a probe before this step's first gradient", name);
    }
    VLORP_TRY(vlorpi_take_room(o, *slot, err));
    (*slot)->holds_sums = true;
    vlorpi_open_sums(o, *slot);
    return VLORP_OK;
}

static void add_rows_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t end = vlorpi_min(j->n_rows, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) {
        j->o->kernels->axpy(j->out + i * j->ld_out, 1.0f, j->in + i * j->ld_in, j->width);
    }
}

static void project_rows_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t i = item * ROWS_PER_ITEM;
    j->o->kernels->project_right(j->out + i * j->ld_out, j->ld_out, true, j->in + i * j->ld_in, j->ld_in,
                                 j->o->scratch.pt, vlorpi_padded(j->slot->proj.d), vlorpi_slot_slices(j->slot),
                                 vlorpi_min(ROWS_PER_ITEM, j->n_rows - i));
}

/* S[q,b,:] += P[a,q] row, for row number i = a c + b of a left gradient, columns [j0, j0 + n). */
static void add_left_row(const job *j, int64_t i, const float *row, int64_t j0, int64_t n)
{
    const vlorp_projection_used *p = &j->slot->proj;
    for (int64_t q = 0; q < p->r; q++) {
        float *S = j->out + (q * p->c + i % p->c) * p->u_dim + j0;
        j->o->kernels->axpy(S, j->o->scratch.p[i / p->c * p->r + q], row + j0, n);
    }
}

static void project_columns_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t j0 = item * COLUMNS_PER_ITEM;
    for (int64_t i = 0; i < j->n_rows; i++) {
        add_left_row(j, j->first_row + i, j->in + i * j->ld_in, j0, vlorpi_min(COLUMNS_PER_ITEM, j->slot->m - j0));
    }
}

/* Rows [first_row, first_row + n_rows) of G into S, where S is not coarse. */
static void project_rows_of_g(vlorp_optimizer *o, const vlorpi_slot *slot, float *S, const float *g, int64_t ldg,
                              int64_t first_row, int64_t n_rows)
{
    bool right = vlorpi_slot_is_right(slot);
    job j = {.o = o, .slot = slot, .in = g, .ld_in = ldg, .first_row = first_row, .n_rows = n_rows, .width = slot->m};
    j.ld_out = right ? slot->proj.M : slot->m;
    j.out = S;
    if (slot->proj.exact || right) {
        j.out += first_row * j.ld_out;
        vlorpi_for_each(&o->config.exec, vlorpi_divide_up(n_rows, ROWS_PER_ITEM),
                        slot->proj.exact ? add_rows_item : project_rows_item, &j);
    } else {
        vlorpi_for_each(&o->config.exec, vlorpi_divide_up(slot->m, COLUMNS_PER_ITEM), project_columns_item, &j);
    }
}

typedef struct transposing {
    float *out;      /* [n, m] */
    const float *in; /* column j of out is its row j */
    int64_t ld, n, m;
} transposing;

static void transpose_row_item(void *arg, int64_t i, int thread)
{
    (void)thread;
    const transposing *t = arg;
    for (int64_t j = 0; j < t->m; j++) {
        t->out[i * t->m + j] = t->in[j * t->ld + i];
    }
}

/* out [n, m] = the transpose of in [m, n] with row stride ld. */
static void transpose(const vlorp_optimizer *o, float *out, const float *in, int64_t ld, int64_t n, int64_t m)
{
    transposing t = {out, in, ld, n, m};
    vlorpi_for_each(&o->config.exec, n, transpose_row_item, &t);
}

/* S += the projection of G as one product of matrices per slice; a transposed left G has no such slices but one. */
static void project_by_gemm(vlorp_optimizer *o, const vlorpi_slot *slot, float *S, const float *g, int64_t ldg)
{
    const vlorp_projection_used *p = &slot->proj;
    vlorpi_gemm_operand P = vlorpi_gemm_rows(o->scratch.p, VLORP_F32, p->r);
    vlorpi_gemm_operand Pt = vlorpi_gemm_transposed(o->scratch.p, VLORP_F32, p->r);
    for (int64_t k = 0; k < p->c; k++) {
        if (vlorpi_slot_is_right(slot)) {
            vlorpi_gemm_operand slice = slot->transposed ? vlorpi_gemm_transposed(g + k * p->d * ldg, VLORP_F32, ldg)
                                                         : vlorpi_gemm_rows(g + k * p->d, VLORP_F32, ldg);
            vlorpi_gemm(&o->gemm, S + k * p->r, p->M, true, slice, P, p->u_dim, p->r, p->d);
        } else {
            vlorpi_gemm_operand slice = slot->transposed ? vlorpi_gemm_transposed(g, VLORP_F32, ldg)
                                                         : vlorpi_gemm_rows(g + k * ldg, VLORP_F32, p->c * ldg);
            vlorpi_gemm(&o->gemm, S + k * p->u_dim, p->c * p->u_dim, true, Pt, slice, p->r, p->u_dim, p->d);
        }
    }
}

void vlorpi_project(vlorp_optimizer *o, const vlorpi_slot *slot, float *S, const float *g, int64_t ldg)
{
    bool has_slices = !slot->transposed || vlorpi_slot_is_right(slot) || slot->proj.c == 1;
    if (slot->proj.r >= VLORPI_GEMM_RANK && has_slices && !slot->proj.exact) {
        project_by_gemm(o, slot, S, g, ldg);
    } else if (!slot->transposed) {
        project_rows_of_g(o, slot, S, g, ldg, 0, slot->n);
    } else {
        for (int64_t i = 0; i < slot->n; i += VLORPI_TRANSPOSE_ROWS) {
            int64_t n = vlorpi_min(VLORPI_TRANSPOSE_ROWS, slot->n - i);
            transpose(o, o->scratch.tile, g + i, ldg, n, slot->m);
            project_rows_of_g(o, slot, S, o->scratch.tile, slot->m, i, n);
        }
    }
}

vlorp_status vlorpi_check_gradient(const vlorpi_slot *slot, int64_t *ldg, vlorp_err *err)
{
    int64_t width = vlorpi_slot_stored_width(slot);
    *ldg = *ldg != 0 ? *ldg : width;
    if (*ldg < width) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: ldg %lld is below the row's %lld elements", slot->name, (long long)*ldg,
                   (long long)width);
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_accumulate(vlorp_optimizer *o, int id, const float *g, int64_t ldg, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, false, 0, &slot, err));
    VLORP_TRY(vlorpi_check_gradient(slot, &ldg, err));
    if (!vlorpi_slot_keeps_sums(slot)) {
        int64_t width = vlorpi_slot_stored_width(slot);
        job j = {.o = o, .slot = slot, .in = g, .ld_in = ldg, .n_rows = vlorpi_slot_n_stored_rows(slot),
                 .out = slot->grad, .ld_out = width, .width = width};
        vlorpi_for_each(&o->config.exec, vlorpi_divide_up(j.n_rows, ROWS_PER_ITEM), add_rows_item, &j);
        return VLORP_OK;
    }
    vlorpi_prepare_projection(o, slot);
    if (vlorpi_slot_is_coarse(slot)) {
        vlorpi_coarse_accumulate(o, slot, g, ldg);
    } else {
        vlorpi_project(o, slot, slot->grad, g, ldg);
    }
    vlorpi_close_sums(o, slot);
    return VLORP_OK;
}

static void project_tokens_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    const vlorpi_optim_kernels *kernels = j->o->kernels;
    vlorpi_slices slices = vlorpi_slot_slices(j->slot);
    int64_t t = item * TOKENS_PER_ITEM;
    int64_t T = vlorpi_min(TOKENS_PER_ITEM, j->n_rows - t);
    float *z = j->out + t * j->ld_out;
    const float *x = j->in + t * j->ld_in;
    if (vlorpi_slot_is_right(j->slot)) {
        kernels->project_right(z, j->ld_out, false, x, j->ld_in, j->o->scratch.pt, vlorpi_padded(slices.d), slices, T);
    } else {
        kernels->project_left(z, j->ld_out, x, j->ld_in, j->o->scratch.p, slices, T);
    }
}

/* scratch.factors [T, M] = Xt of x (right) or Dt of dY (left).  Many directions make it a product of
 * matrices; slice b of a left one is contiguous only when there is one slice. */
static void project_tokens(vlorp_optimizer *o, const vlorpi_slot *slot, const float *x, int64_t ldx, int64_t T)
{
    const vlorp_projection_used *p = &slot->proj;
    float *z = o->scratch.factors;
    vlorpi_prepare_projection(o, slot);
    if (p->r >= VLORPI_GEMM_RANK && (vlorpi_slot_is_right(slot) || p->c == 1)) {
        for (int64_t k = 0; k < p->c; k++) {
            vlorpi_gemm(&o->gemm, z + k * p->r, p->M, false, vlorpi_gemm_rows(x + k * p->d, VLORP_F32, ldx),
                        vlorpi_gemm_rows(o->scratch.p, VLORP_F32, p->r), T, p->r, p->d);
        }
        return;
    }
    job j = {.o = o, .slot = slot, .in = x, .ld_in = ldx, .n_rows = T, .out = z, .ld_out = p->M};
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(T, TOKENS_PER_ITEM), project_tokens_item, &j);
}

vlorp_status vlorpi_check_factors(const vlorpi_slot *slot, int64_t *ldy, int64_t *ldx, vlorp_err *err)
{
    *ldy = *ldy != 0 ? *ldy : slot->n;
    *ldx = *ldx != 0 ? *ldx : slot->m;
    if (*ldy < slot->n || *ldx < slot->m) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s [%lld, %lld]: ldy %lld or ldx %lld is too small", slot->name,
                   (long long)slot->n, (long long)slot->m, (long long)*ldy, (long long)*ldx);
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_accumulate_factors(vlorp_optimizer *o, int id, const float *dy, int64_t ldy,
                                                const float *x, int64_t ldx, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, false, T, &slot, err));
    VLORP_TRY(vlorpi_check_factors(slot, &ldy, &ldx, err));
    if (vlorpi_slot_is_coarse(slot)) {
        vlorpi_prepare_projection(o, slot);
        vlorpi_coarse_factors(o, slot, dy, ldy, x, ldx, T);
        vlorpi_close_sums(o, slot);
        return VLORP_OK;
    }
    /* S or G = left^T right, with one of the two replaced by its projection. */
    const float *factor[2] = {dy, x};
    int64_t ld[2] = {ldy, ldx};
    int64_t width[2] = {slot->n, slot->m};
    if (vlorpi_slot_keeps_sums(slot) && !slot->proj.exact) {
        int side = vlorpi_slot_is_right(slot) ? 1 : 0;
        project_tokens(o, slot, factor[side], ld[side], T);
        factor[side] = o->scratch.factors;
        ld[side] = slot->proj.M;
        width[side] = slot->proj.M;
    }
    int first = slot->transposed && !vlorpi_slot_keeps_sums(slot) ? 1 : 0;
    int second = 1 - first;
    vlorpi_gemm(&o->gemm, slot->grad, width[second], true,
                vlorpi_gemm_transposed(factor[first], VLORP_F32, ld[first]),
                vlorpi_gemm_rows(factor[second], VLORP_F32, ld[second]), width[first], width[second], T);
    vlorpi_close_sums(o, slot);
    return VLORP_OK;
}

/* Tokens in order within an item's columns: repeated ids make no race and always the same sum. */
static void scatter_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t j0 = item * COLUMNS_PER_ITEM;
    int64_t n = vlorpi_min(COLUMNS_PER_ITEM, j->width - j0);
    for (int64_t t = 0; t < j->n_rows; t++) {
        j->o->kernels->axpy(j->out + j->ids[t] * j->ld_out + j0, 1.0f, j->in + t * j->ld_in + j0, n);
    }
}

static void scatter_left_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t j0 = item * COLUMNS_PER_ITEM;
    for (int64_t t = 0; t < j->n_rows; t++) {
        add_left_row(j, j->ids[t], j->in + t * j->ld_in, j0, vlorpi_min(COLUMNS_PER_ITEM, j->slot->m - j0));
    }
}

vlorp_status vlorpi_check_rows(const vlorpi_slot *slot, const int32_t *ids, int64_t *ldy, int64_t T, vlorp_err *err)
{
    if (slot->transposed) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: an embedding is not stored transposed", slot->name);
    }
    *ldy = *ldy != 0 ? *ldy : slot->m;
    if (*ldy < slot->m) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: ldy %lld is below the row's %lld elements", slot->name, (long long)*ldy,
                   (long long)slot->m);
    }
    for (int64_t t = 0; t < T; t++) {
        if (ids[t] < 0 || ids[t] >= slot->n) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s: id %d of token %lld is outside [0, %lld)", slot->name, (int)ids[t],
                       (long long)t, (long long)slot->n);
        }
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_accumulate_rows(vlorp_optimizer *o, int id, const int32_t *ids, const float *dy,
                                             int64_t ldy, int64_t T, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, false, T, &slot, err));
    VLORP_TRY(vlorpi_check_rows(slot, ids, &ldy, T, err));
    if (vlorpi_slot_is_coarse(slot)) {
        vlorpi_prepare_projection(o, slot);
        vlorpi_coarse_scatter(o, slot, ids, dy, ldy, T);
        vlorpi_close_sums(o, slot);
        return VLORP_OK;
    }
    job j = {.o = o,
             .slot = slot,
             .in = dy,
             .ld_in = ldy,
             .n_rows = T,
             .out = slot->grad,
             .ld_out = slot->m,
             .width = slot->m,
             .ids = ids};
    vlorp_task *task = scatter_item;
    if (vlorpi_slot_keeps_sums(slot) && !slot->proj.exact) {
        if (vlorpi_slot_is_right(slot)) {
            project_tokens(o, slot, dy, j.ld_in, T);
            j.in = o->scratch.factors;
            j.ld_in = j.ld_out = j.width = slot->proj.M;
        } else {
            vlorpi_prepare_projection(o, slot);
            task = scatter_left_item;
        }
    }
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(j.width, COLUMNS_PER_ITEM), task, &j);
    vlorpi_close_sums(o, slot);
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_accumulate_vector(vlorp_optimizer *o, int id, const float *g, vlorp_err *err)
{
    vlorpi_slot *slot;
    VLORP_TRY(begin(o, id, true, 0, &slot, err));
    o->kernels->axpy(slot->grad, 1.0f, g, slot->m);
    return VLORP_OK;
}
