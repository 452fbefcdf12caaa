/* The handle's table: creation, registration, queries. */
#include <vlorp/vlorp.h>

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/allocator.h"
#include "base/status.h"
#include "optim/handle.h"

enum { LARGEST_NAME = 1024 };
static const int64_t LARGEST_DIM = INT32_MAX;

const char *vlorp_version(void)
{
#define TEXT(x) #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)
    return DOTTED(VLORP_VERSION_MAJOR, VLORP_VERSION_MINOR, VLORP_VERSION_PATCH);
#undef DOTTED
#undef TEXT
}

vlorp_optimizer_config vlorp_optimizer_config_default(void)
{
    return (vlorp_optimizer_config){.seed = 42,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-6,
                                    .adamw_eps = 1e-6,
                                    .scale = 1,
                                    .update_gap = 30,
                                    .momentum = VLORP_MOMENTUM_RESET,
                                    .rounding = VLORP_ROUND_STOCHASTIC};
}

vlorp_matrix vlorp_matrix_default(void)
{
    return (vlorp_matrix){
        .rule = VLORP_RULE_PROJFACTOR, .projection = vlorp_projection_default(), .lr_factor = 1, .weight_decay = 0};
}

vlorp_vector vlorp_vector_default(void)
{
    return (vlorp_vector){.lr_factor = 1};
}

/* Errors name the field; comparisons are written so that NaN fails them. */
static vlorp_status check_config(const vlorp_optimizer_config *c, vlorp_err *err)
{
    if (!(c->beta1 >= 0 && c->beta1 < 1) || !(c->beta2 >= 0 && c->beta2 < 1)) {
        VLORP_FAIL(err, VLORP_E_ARG, "betas %g and %g: each must be in [0, 1)", c->beta1, c->beta2);
    }
    if (!(c->eps > 0 && c->eps < 1) || !(c->adamw_eps > 0 && c->adamw_eps < 1)) {
        VLORP_FAIL(err, VLORP_E_ARG, "eps %g and adamw_eps %g: each must be in (0, 1)", c->eps, c->adamw_eps);
    }
    if (!(c->scale > 0) || !isfinite(c->scale)) {
        VLORP_FAIL(err, VLORP_E_ARG, "scale %g: it must be above 0", c->scale);
    }
    if (c->update_gap < 1) {
        VLORP_FAIL(err, VLORP_E_ARG, "update_gap %lld: it must be at least 1", (long long)c->update_gap);
    }
    if (c->max_tokens < 0 || c->max_tokens > LARGEST_DIM) {
        VLORP_FAIL(err, VLORP_E_ARG, "max_tokens %lld: it must be between 0 and %lld", (long long)c->max_tokens,
                   (long long)LARGEST_DIM);
    }
    if (c->momentum < VLORP_MOMENTUM_RESET || c->momentum > VLORP_MOMENTUM_KEEP ||
        c->rounding < VLORP_ROUND_STOCHASTIC || c->rounding > VLORP_ROUND_NEAREST) {
        VLORP_FAIL(err, VLORP_E_ARG, "momentum %d or rounding %d is no known policy", (int)c->momentum,
                   (int)c->rounding);
    }
    if (c->state_dtype != VLORP_F32 && c->state_dtype != VLORP_BF16) {
        VLORP_FAIL(err, VLORP_E_ARG, "state_dtype %d: it is float32 or bfloat16", (int)c->state_dtype);
    }
    if (c->exec.for_each != NULL && c->exec.n_threads < 1) {
        VLORP_FAIL(err, VLORP_E_ARG, "exec: n_threads is %d", c->exec.n_threads);
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_create(vlorp_optimizer **out, const vlorp_optimizer_config *config, vlorp_err *err)
{
    *out = NULL;
    VLORP_TRY(check_config(config, err));
    const vlorpi_kernels *kernels = vlorpi_kernels_select(config->cpu_level);
    if (kernels == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "cpu_level %s is not known; levels are ref, avx2, avx512, neon",
                   config->cpu_level != NULL ? config->cpu_level : "(none)");
    }
    vlorp_allocator allocator = vlorpi_allocator_or_libc(&config->allocator);
    vlorp_optimizer *o = allocator.alloc(allocator.ctx, VLORP_MEMORY_OTHER, (sizeof *o + 63) / 64 * 64);
    if (o == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "out of memory: an optimizer needs %zu bytes", sizeof *o);
    }
    *o = (vlorp_optimizer){.config = *config, .allocator = allocator, .kernels = kernels->optim, .bad_slot = -1};
    o->config.cpu_level = kernels->name;
    o->n_threads = config->exec.for_each != NULL ? config->exec.n_threads : 1;
    o->gemm = (vlorpi_gemm_ctx){.kernels = kernels->gemm, .exec = config->exec};
    o->gemm.exec.n_threads = o->n_threads;
    o->scratch.p_slot = -1;
    *out = o;
    return VLORP_OK;
}

void vlorpi_optimizer_use_gemm(vlorp_optimizer *o, const vlorpi_gemm_ctx *ctx)
{
    o->gemm = *ctx;
    o->gemm_is_borrowed = true;
}

static vlorp_status check_new(const vlorp_optimizer *o, const vlorpi_slot *want, const char *name, vlorp_err *err)
{
    if (o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "parameters cannot be added after commit");
    }
    if (name == NULL || name[0] == '\0' || strlen(name) > LARGEST_NAME) {
        VLORP_FAIL(err, VLORP_E_ARG, "a parameter's name must have 1 to %d bytes", (int)LARGEST_NAME);
    }
    if (want->n < 1 || want->m < 1 || want->n > LARGEST_DIM || want->m > LARGEST_DIM) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: shape [%lld, %lld] is out of range", name, (long long)want->n,
                   (long long)want->m);
    }
    int64_t width = want->transposed ? want->n : want->m;
    if (want->ld < width) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: leading dimension %lld is below the row's %lld elements", name,
                   (long long)want->ld, (long long)width);
    }
    if (want->dtype != VLORP_F32 && want->dtype != VLORP_BF16) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: weights are updated in float32 or bfloat16 only", name);
    }
    if (!(want->lr_factor >= 0) || !isfinite(want->lr_factor) || !(want->weight_decay >= 0) ||
        !isfinite(want->weight_decay)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: lr_factor %g or weight_decay %g is negative or not finite", name,
                   want->lr_factor, want->weight_decay);
    }
    uint64_t hash = vlorp_rng_hash(name);
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (slot->name_hash == hash) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s: a parameter of this name is registered already", name);
        }
    }
    return VLORP_OK;
}

static vlorp_status append(vlorp_optimizer *o, const vlorpi_slot *want, const char *name, int *id, vlorp_err *err)
{
    size_t length = strlen(name) + 1;
    size_t n_bytes = (offsetof(vlorpi_slot, name) + length + 63) / 64 * 64;
    n_bytes = n_bytes < sizeof(vlorpi_slot) ? (sizeof(vlorpi_slot) + 63) / 64 * 64 : n_bytes;
    vlorpi_slot *slot = o->allocator.alloc(o->allocator.ctx, VLORP_MEMORY_OTHER, n_bytes);
    if (slot == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "out of memory: %s needs %zu bytes", name, n_bytes);
    }
    *slot = *want;
    memcpy(slot->name, name, length);
    slot->name_hash = vlorp_rng_hash(name);
    slot->n_bytes = n_bytes;
    slot->id = o->n_slots++;
    if (o->last != NULL) {
        o->last->next = slot;
    } else {
        o->first = slot;
    }
    o->last = slot;
    *id = slot->id;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_add_matrix(vlorp_optimizer *o, const vlorp_matrix *matrix, int *id, vlorp_err *err)
{
    int64_t width = matrix->transposed ? matrix->n : matrix->m;
    vlorpi_slot want = {.n = matrix->n,
                        .m = matrix->m,
                        .ld = matrix->ld != 0 ? matrix->ld : width,
                        .dtype = matrix->dtype,
                        .transposed = matrix->transposed,
                        .weight = matrix->weight,
                        .rule = matrix->rule,
                        .traits = vlorpi_rule_find(matrix->rule),
                        .basis_refresh = -1,
                        .lr_factor = matrix->lr_factor,
                        .weight_decay = matrix->weight_decay,
                        .is_lent = matrix->lent_gradient};
    VLORP_TRY(check_new(o, &want, matrix->name, err));
    if (want.traits == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: rule %d is not known", matrix->name, (int)matrix->rule);
    }
    if (want.is_lent && !want.traits->takes_lent) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: only the rule adamw takes a lent gradient", matrix->name);
    }
    if (vlorpi_slot_projects(&want)) {
        if (matrix->projection.distribution < VLORP_NORMAL || matrix->projection.distribution > VLORP_SVD) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s: distribution %d is not known", matrix->name,
                       (int)matrix->projection.distribution);
        }
        want.distribution = matrix->projection.distribution;
        VLORP_TRY(vlorp_projection_resolve(&want.proj, &matrix->projection, matrix->name, matrix->n, matrix->m, err));
        if (want.transposed && vlorpi_slot_is_coarse(&want)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: a transposed matrix takes factors from 1 on", matrix->name);
        }
        if (want.traits->fine && vlorpi_slot_is_coarse(&want)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: its rule takes factors from 1 on", matrix->name);
        }
        if (want.traits->fresh && vlorpi_slot_is_svd(&want)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                       "%s: its rule draws P anew in every step: normal or rademacher, not svd", matrix->name);
        }
        want.narrow = o->config.state_dtype == VLORP_BF16;
        want.registered = want.proj;
        if (o->config.adaptive_budget) {
            VLORP_TRY(vlorpi_division_check_new(o, &want, matrix->name, err));
        }
    }
    if (matrix->keeps_gradient && !want.traits->at_once) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: keeps_gradient is lomo's; other rules keep theirs", matrix->name);
    }
    want.shares_gradient = want.traits->at_once && !matrix->keeps_gradient;
    want.in_codes = want.traits->codes && want.n * want.m >= VLORPI_LEAST_CODED;
    return append(o, &want, matrix->name, id, err);
}

vlorp_status vlorp_optimizer_add_vector(vlorp_optimizer *o, const vlorp_vector *vector, int *id, vlorp_err *err)
{
    /* One row of n elements, so that the rules see a matrix. */
    vlorpi_slot want = {.n = 1,
                        .m = vector->n,
                        .ld = vector->n,
                        .dtype = vector->dtype,
                        .weight = vector->weight,
                        .rule = VLORP_RULE_ADAMW,
                        .traits = vlorpi_rule_find(VLORP_RULE_ADAMW),
                        .is_vector = true,
                        .lr_factor = vector->lr_factor,
                        .is_lent = vector->lent_gradient};
    VLORP_TRY(check_new(o, &want, vector->name, err));
    return append(o, &want, vector->name, id, err);
}

vlorpi_slot *vlorpi_optimizer_slot(const vlorp_optimizer *o, int id, vlorp_err *err)
{
    if (id < 0 || id >= o->n_slots) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "parameter %d does not exist; there are %d", id, o->n_slots);
        return NULL;
    }
    if (o->slots != NULL) {
        return o->slots[id];
    }
    vlorpi_slot *slot = o->first;
    while (slot->id != id) {
        slot = slot->next;
    }
    return slot;
}

vlorp_status vlorp_optimizer_set_weight(vlorp_optimizer *o, int id, void *weight, vlorp_err *err)
{
    vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    slot->weight = weight;
    return VLORP_OK;
}

int vlorp_optimizer_n_parameters(const vlorp_optimizer *o)
{
    return o->n_slots;
}

vlorp_status vlorp_optimizer_parameter(const vlorp_optimizer *o, int id, vlorp_parameter_info *info, vlorp_err *err)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    *info = (vlorp_parameter_info){.name = slot->name,
                                   .n = slot->is_vector ? slot->m : slot->n,
                                   .m = slot->is_vector ? 1 : slot->m,
                                   .is_vector = slot->is_vector,
                                   .rule = slot->rule,
                                   .projection = slot->proj,
                                   .distribution = slot->distribution};
    return VLORP_OK;
}

int64_t vlorp_optimizer_steps_taken(const vlorp_optimizer *o)
{
    return o->steps_taken;
}

vlorp_status vlorp_optimizer_set_steps_taken(vlorp_optimizer *o, int64_t steps, vlorp_err *err)
{
    if (steps < 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "%lld steps taken: it cannot be negative", (long long)steps);
    }
    o->steps_taken = steps;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->basis_refresh = steps % o->config.update_gap != 0 ? vlorpi_refresh(o, slot) : -1;
    }
    o->scratch.p_slot = -1;
    return VLORP_OK;
}

/* A shape as the header states it. */
static void set_shape(vlorp_state_tensor *t, const vlorpi_slot *slot, vlorpi_shape shape)
{
    const vlorp_projection_used *p = &slot->proj;
    if (shape == VLORPI_SHAPE_WEIGHT) {
        t->n_dims = slot->is_vector ? 1 : 2;
        t->shape[0] = slot->is_vector ? slot->m : vlorpi_slot_n_stored_rows(slot);
        t->shape[1] = slot->is_vector ? 0 : vlorpi_slot_stored_width(slot);
        return;
    }
    t->n_dims = 3;
    t->shape[0] = vlorpi_slot_is_right(slot) ? p->u_dim : p->r;
    t->shape[1] = p->c;
    t->shape[2] = vlorpi_slot_is_right(slot) ? p->r : p->u_dim;
}

enum { MOST_TENSORS = 4 }; /* of one parameter */

/* Moments that are codes: bytes and the largest magnitude of each block. */
static int code_tensors(const vlorpi_slot *slot, vlorp_state_tensor t[MOST_TENSORS])
{
    static const char *const fields[2][2] = {{"exp_avg", "exp_avg_max"}, {"exp_avg_sq", "exp_avg_sq_max"}};
    for (int i = 0; i < 2; i++) {
        t[2 * i] = (vlorp_state_tensor){
            .parameter = slot->name, .field = fields[i][0], .data = slot->codes[i], .dtype = VLORP_U8};
        set_shape(&t[2 * i], slot, VLORPI_SHAPE_WEIGHT);
        t[2 * i + 1] = (vlorp_state_tensor){.parameter = slot->name, .field = fields[i][1], .data = slot->most[i],
                                            .dtype = VLORP_F32, .n_dims = 1, .shape = {vlorpi_slot_n_blocks(slot)}};
    }
    return 4;
}

/* The state of one parameter; returns how many tensors it has. */
static int slot_tensors(const vlorpi_slot *slot, vlorp_state_tensor t[MOST_TENSORS])
{
    const vlorp_state_tensor empty = {.parameter = slot->name, .dtype = VLORP_F32};
    const vlorpi_rule_traits *rule = slot->traits;
    int n = 0;
    if (slot->in_codes) {
        return code_tensors(slot, t);
    }
    if (rule->moment != VLORPI_SHAPE_NONE) {
        t[n] = empty;
        t[n].field = rule->moment2 == VLORPI_SHAPE_NONE ? "momentum" : "exp_avg";
        t[n].data = slot->moment16 != NULL ? (void *)slot->moment16 : (void *)slot->moment;
        t[n].dtype = vlorpi_slot_has_subspace_moment(slot) && slot->narrow ? VLORP_BF16 : VLORP_F32;
        set_shape(&t[n++], slot, rule->moment);
    }
    if (rule->moment2 != VLORPI_SHAPE_NONE) {
        t[n] = empty;
        t[n].field = "exp_avg_sq";
        t[n].data = slot->moment2;
        set_shape(&t[n++], slot, rule->moment2);
    }
    for (int i = 0; i < 2 && rule->row_column_sums; i++) {
        t[n] = empty;
        t[n].field = rule->sums_are_means ? (i == 0 ? "row_means" : "column_means")
                                          : (i == 0 ? "row_sums" : "column_sums");
        t[n].data = i == 0 ? slot->row_sums : slot->col_sums;
        t[n].n_dims = 1;
        t[n++].shape[0] = i == 0 ? slot->n : slot->m;
    }
    if (rule->limited) {
        t[n] = empty;
        t[n].field = "update_norm";
        t[n].data = slot->update_norm;
        t[n].n_dims = 1;
        t[n++].shape[0] = 1;
    }
    if (vlorpi_slot_is_svd(slot)) {
        t[n] = empty;
        t[n].field = "projection";
        t[n].data = slot->basis;
        t[n].n_dims = 2;
        t[n].shape[0] = slot->proj.d;
        t[n++].shape[1] = slot->proj.r;
    }
    return n;
}

int vlorp_optimizer_n_tensors(const vlorp_optimizer *o)
{
    int n = 0;
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        vlorp_state_tensor t[MOST_TENSORS];
        n += slot_tensors(slot, t);
    }
    return n;
}

vlorp_status vlorp_optimizer_tensor(const vlorp_optimizer *o, int index, vlorp_state_tensor *tensor, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer has no state before commit");
    }
    int left = index;
    for (const vlorpi_slot *slot = o->first; slot != NULL && left >= 0; slot = slot->next) {
        vlorp_state_tensor t[MOST_TENSORS];
        int n = slot_tensors(slot, t);
        if (left < n) {
            *tensor = t[left];
            return VLORP_OK;
        }
        left -= n;
    }
    VLORP_FAIL(err, VLORP_E_ARG, "state tensor %d does not exist", index);
}

vlorp_status vlorp_optimizer_gradient(const vlorp_optimizer *o, int id, vlorp_state_tensor *tensor, vlorp_err *err)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer has no gradients before commit");
    }
    if (slot->is_lent) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: its gradient is lent by the caller", slot->name);
    }
    if (slot->shares_gradient && o->sharer != slot) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s holds no gradient", slot->name);
    }
    *tensor = (vlorp_state_tensor){
        .parameter = slot->name, .field = "gradient", .data = slot->grad, .dtype = VLORP_F32};
    if (slot->grad16 != NULL) {
        tensor->data = slot->grad16;
        tensor->dtype = VLORP_BF16;
    }
    set_shape(tensor, slot, slot->traits->gradient);
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_projection(const vlorp_optimizer *o, int id, float *p, vlorp_err *err)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    if (!vlorpi_slot_projects(slot)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s is not projected", slot->name);
    }
    if (vlorpi_slot_is_svd(slot)) {
        if (!o->committed) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s: svd has no projection before commit", slot->name);
        }
        memcpy(p, slot->basis, (size_t)(slot->proj.d * slot->proj.r) * sizeof *p);
        return VLORP_OK;
    }
    vlorp_projection_fill(p, &slot->proj, slot->distribution, o->config.seed, slot->name,
                          (uint64_t)vlorpi_refresh(o, slot));
    return VLORP_OK;
}
