/* adaptive_budget: the bytes of S and its moments, divided anew among the matrices at every refresh
 * (docs/method.md section 4; the rule stands at vlorp_division in optimizer.h).
 *
 * Projected matrix l costs u_l M_l numbers, and its estimate has the variance (s_l + c_l) / M_l ||G_l||^2.  The sum of
 * variances at given sum of u_l M_l is least where M_l is proportional to
 *     q_l = sqrt((s_l + c_l) ||G_l||^2 / u_l)
 * The next number of a matrix with M lowers the sum by u q^2 / (M M'), per number q^2 / (M M'): taking the largest of
 * these until nothing fits is that proportion, rounded so that the pool is full. */
#include <string.h>

#include "base/status.h"
#include "optim/handle.h"

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t vlorpi_division_after(const vlorpi_slot *slot, int64_t M)
{
    if (M >= slot->proj.s_dim) {
        return 0;
    }
    int64_t unit = 1; /* of numbers of three significant bits */
    while (8 * unit <= M) {
        unit *= 2;
    }
    return vlorpi_min((M / unit + 1) * unit, slot->proj.s_dim);
}

vlorp_projection_used vlorpi_division_projection(const vlorpi_slot *slot, int64_t M)
{
    vlorp_projection_used u = slot->registered;
    if (M == u.M) {
        return u;
    }
    u.M = M;
    u.exact = M >= u.s_dim;
    u.c = u.exact ? u.s_dim : gcd(M, u.s_dim);
    u.r = M / u.c;
    u.d = u.s_dim / u.c;
    u.adjusted = false;
    return u;
}

vlorp_status vlorpi_division_check_new(const vlorp_optimizer *o, const vlorpi_slot *want, const char *name,
                                       vlorp_err *err)
{
    const vlorpi_slot *other = o->first;
    while (other != NULL && !vlorpi_slot_projects(other)) {
        other = other->next;
    }
    if (!want->traits->adapts || (other != NULL && other->rule != want->rule)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                   "%s: adaptive_budget is for projfactor, vlorp_os, vlorp_ss or vlorp_sgd, one of them for all", name);
    }
    if (want->distribution == VLORP_SVD) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: adaptive_budget needs normal or rademacher projections, not svd", name);
    }
    if (vlorpi_slot_is_coarse(want)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: adaptive_budget needs factors from 1 on", name);
    }
    return VLORP_OK;
}

/* Whether M is one that the matrix may have. */
static bool may_have(const vlorpi_slot *slot, int64_t M)
{
    int64_t at = 1;
    while (at != 0 && at < M) {
        at = vlorpi_division_after(slot, at);
    }
    return M == slot->registered.M || (M >= 1 && at == M);
}

static vlorpi_pool_bytes add(vlorpi_pool_bytes a, vlorpi_pool_bytes b)
{
    return (vlorpi_pool_bytes){a.sums + b.sums, a.moments + b.moments};
}

/* The pools, and what the division that is about to be takes of them. */
static void count_pools(const vlorp_optimizer *o, vlorpi_pool_bytes *pool, vlorpi_pool_bytes *used)
{
    *pool = *used = (vlorpi_pool_bytes){0, 0};
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot)) {
            *pool = add(*pool, vlorpi_slot_pool_bytes(slot, slot->registered.M));
            *used = add(*used, vlorpi_slot_pool_bytes(slot, slot->next_division.budget));
        }
    }
}

static bool fits(vlorpi_pool_bytes used, vlorpi_pool_bytes pool)
{
    return used.sums <= pool.sums && used.moments <= pool.moments;
}

vlorp_status vlorpi_division_check_next(const vlorp_optimizer *o, vlorp_err *err)
{
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        const vlorp_division *d = &slot->next_division;
        if (!vlorpi_slot_adapts(o, slot)) {
            continue;
        }
        if (!may_have(slot, d->budget) || d->since < 0 || !(d->norm_sum >= 0)) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s: a budget of %lld since step %lld cannot be", slot->name,
                       (long long)d->budget, (long long)d->since);
        }
    }
    vlorpi_pool_bytes pool, used;
    count_pools(o, &pool, &used);
    if (!fits(used, pool)) {
        VLORP_FAIL(err, VLORP_E_ARG, "the division takes more bytes than the matrices were registered with");
    }
    return VLORP_OK;
}

void vlorpi_division_swap(vlorp_optimizer *o)
{
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot)) {
            vlorp_division before = {slot->proj.M, slot->since, slot->norm_sum};
            slot->proj = vlorpi_division_projection(slot, slot->next_division.budget);
            slot->since = slot->next_division.since;
            slot->norm_sum = slot->next_division.norm_sum;
            slot->next_division = before;
        }
    }
    vlorpi_layout_pools(o);
    o->scratch.p_slot = -1;
}

static double weight_of(const vlorpi_slot *slot)
{
    const vlorp_projection_used *p = &slot->registered;
    return (double)(p->s_dim + p->c) * slot->norm_sum / (double)p->u_dim;
}

/* The matrix that gets its next M, or NULL when none fits; *after is then what the pools hold. */
static vlorpi_slot *choose(const vlorp_optimizer *o, vlorpi_pool_bytes pool, vlorpi_pool_bytes used,
                           vlorpi_pool_bytes *after)
{
    vlorpi_slot *best = NULL;
    double best_gain = -1;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        int64_t M = slot->next_division.budget;
        int64_t more = vlorpi_slot_adapts(o, slot) ? vlorpi_division_after(slot, M) : 0;
        if (more == 0) {
            continue;
        }
        double gain = weight_of(slot) / ((double)M * (double)more);
        if (!(gain > best_gain)) {
            continue;
        }
        vlorpi_pool_bytes old = vlorpi_slot_pool_bytes(slot, M);
        vlorpi_pool_bytes sum = add(used, vlorpi_slot_pool_bytes(slot, more));
        sum = (vlorpi_pool_bytes){sum.sums - old.sums, sum.moments - old.moments};
        if (fits(sum, pool)) {
            best = slot;
            best_gain = gain;
            *after = sum;
        }
    }
    return best;
}

/* Fills next_division of all matrices; false: there was no gradient to go by. */
static bool divide(vlorp_optimizer *o)
{
    bool any = false;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot)) {
            slot->next_division = (vlorp_division){.budget = 1, .since = slot->since};
            any = any || slot->norm_sum > 0;
        }
    }
    vlorpi_pool_bytes pool, used;
    count_pools(o, &pool, &used);
    vlorpi_slot *slot = NULL;
    while (any && (slot = choose(o, pool, used, &used)) != NULL) {
        slot->next_division.budget = vlorpi_division_after(slot, slot->next_division.budget);
    }
    return any;
}

static bool is_reshaped(const vlorpi_slot *slot)
{
    return slot->next_division.budget != slot->proj.M;
}

/* Moments whose shape stays go to their new places.  First to the front, in order, each behind the one before: none
 * passes over one that was not moved yet; then from the last on to where they belong, which is never further ahead. */
static void move_moments(vlorp_optimizer *o)
{
    unsigned char *front = NULL;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot) && slot->pooled != NULL) {
            size_t n_bytes = vlorpi_slot_pool_bytes(slot, slot->proj.M).moments;
            front = front == NULL ? slot->pooled : front;
            if (!is_reshaped(slot)) {
                memmove(front, slot->pooled, n_bytes);
                front += n_bytes;
            }
        }
    }
    vlorpi_division_swap(o); /* now next_division is what was */
    for (int id = o->n_slots - 1; id >= 0; id--) {
        vlorpi_slot *slot = o->slots[id];
        if (!vlorpi_slot_adapts(o, slot) || slot->pooled == NULL) {
            continue;
        }
        size_t n_bytes = vlorpi_slot_pool_bytes(slot, slot->proj.M).moments;
        if (!is_reshaped(slot)) {
            front -= n_bytes;
            memmove(slot->pooled, front, n_bytes);
        }
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot) && slot->pooled != NULL && is_reshaped(slot)) {
            vlorpi_clear(o, slot->pooled, vlorpi_slot_pool_bytes(slot, slot->proj.M).moments);
        }
    }
}

int64_t vlorpi_division_step(vlorp_optimizer *o, double grad_scale)
{
    int64_t n_changed = 0;
    if (!o->config.adaptive_budget) {
        return 0;
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->norm_sum += slot->squared * grad_scale * grad_scale;
    }
    if (o->steps_taken % o->config.update_gap != 0) {
        return 0;
    }
    if (divide(o)) {
        for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
            if (vlorpi_slot_adapts(o, slot) && is_reshaped(slot)) {
                slot->next_division.since = o->steps_taken;
                n_changed++;
            }
        }
        move_moments(o);
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->norm_sum = 0;
    }
    return n_changed;
}

vlorp_status vlorp_optimizer_division(const vlorp_optimizer *o, int id, vlorp_division *division, vlorp_err *err)
{
    const vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    *division = vlorpi_slot_adapts(o, slot) ? (vlorp_division){slot->proj.M, slot->since, slot->norm_sum}
                                            : (vlorp_division){0, 0, 0};
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_set_divisions(vlorp_optimizer *o, const vlorp_division *divisions, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer is not committed yet");
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (slot->holds_sums) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s holds gradients: step or discard before dividing", slot->name);
        }
        slot->next_division = divisions[slot->id];
    }
    VLORP_TRY(vlorpi_division_check_next(o, err));
    vlorpi_division_swap(o);
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_adapts(o, slot)) {
            vlorpi_clear(o, slot->pooled, vlorpi_slot_pool_bytes(slot, slot->proj.M).moments);
        }
    }
    return VLORP_OK;
}
