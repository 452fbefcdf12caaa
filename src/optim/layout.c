/* The sizes of everything a handle holds.  One walk serves both uses: over cursors without memory
 * it is the plan, over real blocks it hands out the pointers. */
#include <string.h>

#include "base/status.h"
#include "base/threads.h"
#include "kernel/optim_codes.h"
#include "optim/handle.h"

enum { ALIGNMENT = 64 };

/* One block being cut; base NULL: counting. */
typedef struct cursor {
    unsigned char *base;
    size_t used; /* SIZE_MAX after an overflow */
} cursor;

/* n_items * item_bytes from the block, 64-byte aligned. */
static void *take(cursor *c, int64_t n_items, size_t item_bytes)
{
    if (n_items == 0 || c->used == SIZE_MAX) {
        return NULL;
    }
    if (n_items < 0 || (size_t)n_items > (SIZE_MAX / 2 - c->used - ALIGNMENT) / item_bytes) {
        c->used = SIZE_MAX;
        return NULL;
    }
    size_t at = c->used;
    c->used += ((size_t)n_items * item_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return c->base != NULL ? c->base + at : NULL;
}

static float *take_f32(cursor *c, int64_t n)
{
    return take(c, n, sizeof(float));
}

int64_t vlorpi_slot_chunk(const vlorpi_slot *slot)
{
    enum { MOST_CHUNKS = 16, LEAST = 64, STEP = 16, MOST_FLOATS = 1 << 20 };
    int64_t u = slot->proj.u_dim;
    int64_t parts = vlorpi_max(1, vlorpi_min(MOST_CHUNKS, MOST_FLOATS / slot->proj.r / slot->proj.M));
    int64_t chunk = vlorpi_max(LEAST, vlorpi_divide_up(u, parts));
    return vlorpi_divide_up(chunk, STEP) * STEP;
}

int64_t vlorpi_slot_n_chunks(const vlorpi_slot *slot)
{
    return vlorpi_divide_up(slot->proj.u_dim, vlorpi_slot_chunk(slot));
}

/* Moments as codes: bytes, and one number per block. */
static void codes_layout(vlorpi_slot *slot, cursor *state, bool real)
{
    int64_t n = vlorpi_product(slot->n, slot->m);
    for (int i = 0; i < 2; i++) {
        uint8_t *codes = take(state, n, 1);
        float *most = take_f32(state, vlorpi_slot_n_blocks(slot));
        if (real) {
            slot->codes[i] = codes;
            slot->most[i] = most;
        }
    }
}

/* Everything of a parameter but what is shaped as S. */
static void slot_layout(vlorpi_slot *slot, cursor *c, bool real)
{
    const vlorpi_rule_traits *rule = slot->traits;
    cursor *state = &c[VLORP_MEMORY_OPTIMIZER_STATE];
    int64_t n_grad = slot->is_lent || slot->shares_gradient ? 0 : vlorpi_slot_gradient_elements(slot);
    float *grad = NULL;
    float *moment = NULL;
    float *moment2 = NULL;
    if (rule->gradient == VLORPI_SHAPE_WEIGHT) {
        grad = take_f32(&c[VLORP_MEMORY_GRADIENTS], n_grad);
    }
    if (slot->in_codes) {
        codes_layout(slot, state, real);
    }
    if (rule->moment == VLORPI_SHAPE_WEIGHT && !slot->in_codes) {
        moment = take_f32(state, vlorpi_slot_elements(slot, rule->moment));
    }
    if (rule->moment2 == VLORPI_SHAPE_WEIGHT && !slot->in_codes) {
        moment2 = take_f32(state, vlorpi_slot_elements(slot, rule->moment2));
    }
    float *row_sums = take_f32(state, rule->row_column_sums ? slot->n : 0);
    float *col_sums = take_f32(state, rule->row_column_sums ? slot->m : 0);
    float *update_norm = take_f32(state, rule->limited);
    float *basis = NULL;
    if (vlorpi_slot_is_svd(slot)) {
        basis = take_f32(&c[VLORP_MEMORY_PROJECTION], vlorpi_product(slot->proj.d, slot->proj.r));
    }
    if (real) {
        slot->grad = grad;
        slot->moment = moment;
        slot->moment2 = moment2;
        slot->row_sums = row_sums;
        slot->col_sums = col_sums;
        slot->update_norm = update_norm;
        slot->basis = basis;
    }
}

/* What is shaped as S, of the matrix with M numbers per row; moments stand together. */
static void sums_layout(vlorpi_slot *slot, int64_t M, cursor *sums, cursor *moments, bool real)
{
    const vlorpi_rule_traits *rule = slot->traits;
    int64_t n = vlorpi_product(slot->proj.u_dim, M);
    size_t width = slot->narrow ? sizeof(uint16_t) : sizeof(float);
    void *grad = rule->gradient == VLORPI_SHAPE_SUMS ? take(sums, n, width) : NULL;
    size_t begin = moments->used;
    void *moment = rule->moment == VLORPI_SHAPE_SUMS ? take(moments, n, width) : NULL;
    float *moment2 = rule->moment2 == VLORPI_SHAPE_SUMS ? take_f32(moments, n) : NULL;
    if (!real) {
        return;
    }
    slot->pooled = moments->base != NULL ? moments->base + begin : NULL;
    if (rule->gradient == VLORPI_SHAPE_SUMS) {
        slot->grad16 = slot->narrow ? grad : NULL;
        slot->grad = slot->narrow ? NULL : grad; /* narrow: set to the shared buffers once they are cut */
    }
    if (rule->moment == VLORPI_SHAPE_SUMS) {
        slot->moment16 = slot->narrow ? moment : NULL;
        slot->moment = slot->narrow ? NULL : moment;
    }
    slot->moment2 = rule->moment2 == VLORPI_SHAPE_SUMS ? moment2 : slot->moment2;
}

vlorpi_pool_bytes vlorpi_slot_pool_bytes(const vlorpi_slot *slot, int64_t M)
{
    vlorpi_slot copy = *slot;
    cursor sums = {0};
    cursor moments = {0};
    sums_layout(&copy, M, &sums, &moments, false);
    return (vlorpi_pool_bytes){sums.used, moments.used};
}

/* Narrow parameters work in the buffers that all of them share. */
static void share_wide(vlorp_optimizer *o)
{
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->grad = slot->grad16 != NULL ? o->scratch.wide_grad : slot->grad;
        slot->moment = slot->moment16 != NULL ? o->scratch.wide_moment : slot->moment;
    }
}

void vlorpi_layout_pools(vlorp_optimizer *o)
{
    cursor c[VLORP_MEMORY_N_CLASSES];
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        c[i] = (cursor){o->blocks[i], o->pool_begin[i]};
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_projects(slot)) {
            sums_layout(slot, slot->proj.M, &c[VLORP_MEMORY_GRADIENTS], &c[VLORP_MEMORY_OPTIMIZER_STATE], true);
        }
    }
    share_wide(o);
}

/* The largest of each scratch buffer over all parameters. */
typedef struct needs {
    int64_t p, p_old, pt, kw, rr, q, factors, u, s, row, partial, tile, wide, wide_moment, direction, whole, dd, d,
        columns, maps;
} needs;

static void coarse_needs(needs *most, const vlorpi_slot *slot, const vlorp_optimizer *o)
{
    const vlorp_projection_used *proj = &slot->proj;
    int64_t whole = vlorpi_product(proj->d, proj->r);
    int64_t rows = vlorpi_coarse_extent(slot) * (vlorpi_slot_is_right(slot) ? 1 : proj->f);
    int64_t p = whole >= 0 && whole <= VLORPI_P_FLOATS ? whole : vlorpi_product(rows, proj->r);
    most->p = p < 0 ? p : vlorpi_max(most->p, p);
    if (vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_TRANSPORT) {
        most->p_old = p < 0 ? p : vlorpi_max(most->p_old, p);
    }
    most->tile = vlorpi_max(most->tile, vlorpi_coarse_tile_floats(slot, o->config.max_tokens));
    most->u = vlorpi_max(most->u, slot->n);
    most->s = vlorpi_max(most->s, slot->m);
}

/* svd: all of G, the Gram matrix and its vectors. */
static void probe_needs(needs *most, const vlorpi_slot *slot)
{
    most->tile = vlorpi_max(most->tile, vlorpi_product(slot->n, slot->m));
    most->dd = vlorpi_max(most->dd, vlorpi_product(slot->proj.d, slot->proj.d));
    most->d = vlorpi_max(most->d, slot->proj.d);
}

/* What a rule takes beyond the projection: S and Adam's direction where the whole gradient is kept, the update where it
 * is scaled as a whole, S and its moment where they are widened. */
static void rule_needs(needs *most, const vlorpi_slot *slot)
{
    int64_t n_sums = vlorpi_slot_elements(slot, VLORPI_SHAPE_SUMS);
    bool late = vlorpi_slot_projects_late(slot);
    most->direction = vlorpi_max(most->direction, late ? n_sums : 0);
    most->wide = vlorpi_max(most->wide, late || slot->narrow ? n_sums : 0);
    if (slot->narrow && vlorpi_slot_has_subspace_moment(slot)) {
        most->wide_moment = vlorpi_max(most->wide_moment, n_sums);
    }
    if (slot->traits->fresh) {
        most->whole = vlorpi_max(most->whole, slot->n * slot->m);
        most->partial = vlorpi_max(most->partial, VLORPI_WEIGHT_CHUNKS);
    }
    if (late || slot->traits->fresh) {
        most->partial = vlorpi_max(most->partial, vlorpi_divide_up(slot->n * slot->m, VLORPI_SQUARES_PER_PART));
    }
}

static void exact_needs(needs *most, const vlorpi_slot *slot)
{
    int64_t parts = vlorpi_divide_up(slot->n * slot->m, VLORPI_SQUARES_PER_PART);
    most->partial = vlorpi_max(most->partial, parts);
    if (slot->traits->sums_are_means) {
        most->partial = vlorpi_max(most->partial, VLORPI_WEIGHT_CHUNKS);
        most->columns = vlorpi_max(most->columns, (VLORPI_WEIGHT_CHUNKS + 1) * vlorpi_slot_stored_width(slot));
    }
    most->maps = slot->in_codes ? 2 : most->maps;
}

static void projected_needs(needs *most, const vlorpi_slot *slot, const vlorp_optimizer *o)
{
    const vlorp_projection_used *proj = &slot->proj;
    int64_t rM = vlorpi_product(proj->r, proj->M);
    if (vlorpi_slot_is_coarse(slot)) {
        coarse_needs(most, slot, o);
    } else {
        most->p = vlorpi_max(most->p, proj->d * proj->r);
        bool transports = vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_TRANSPORT;
        most->p_old = vlorpi_max(most->p_old, transports ? proj->d * proj->r : 0);
    }
    if (!vlorpi_slot_is_coarse(slot) && vlorpi_slot_is_right(slot)) {
        most->pt = vlorpi_max(most->pt, vlorpi_padded(proj->d) * proj->r);
    }
    if (vlorpi_slot_is_svd(slot)) {
        probe_needs(most, slot);
    }
    if (slot->transposed) {
        most->tile = vlorpi_max(most->tile, vlorpi_product(slot->m, VLORPI_TRANSPOSE_ROWS));
        most->row = vlorpi_max(most->row, slot->n);
    }
    rule_needs(most, slot);
    if (vlorpi_slot_keeps_sums(slot)) {
        most->kw = vlorpi_max(most->kw, rM);
        most->rr = vlorpi_max(most->rr, vlorpi_product(proj->r, proj->r));
        most->q = vlorpi_max(most->q, vlorpi_product(rM, vlorpi_slot_n_chunks(slot)));
        most->factors = vlorpi_max(most->factors, proj->exact ? 0 : vlorpi_product(o->config.max_tokens, proj->M));
    }
    most->u = vlorpi_max(most->u, proj->u_dim);
    most->s = vlorpi_max(most->s, proj->s_dim);
    most->row = vlorpi_max(most->row, slot->m);
}

static needs find_needs(const vlorp_optimizer *o)
{
    needs most = {0};
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (!vlorpi_slot_projects(slot)) {
            exact_needs(&most, slot);
            continue;
        }
        vlorpi_slot copy = *slot;
        copy.proj = slot->registered;
        projected_needs(&most, &copy, o);
        for (int64_t M = 1; M > 0 && vlorpi_slot_adapts(o, slot); M = vlorpi_division_after(slot, M)) {
            copy.proj = vlorpi_division_projection(slot, M);
            projected_needs(&most, &copy, o);
        }
    }
    return most;
}

static vlorpi_scratch scratch_layout(const vlorp_optimizer *o, cursor *c)
{
    needs most = find_needs(o);
    vlorpi_scratch s = {.p_slot = -1, .row_stride = vlorpi_padded(most.row) + VLORPI_OPTIM_PAD};
    s.p = take_f32(c, most.p);
    s.pt = take_f32(c, most.pt);
    s.kw = take_f32(c, most.kw);
    s.p_old = take_f32(c, most.p_old);
    s.bridge = take_f32(c, most.p_old > 0 ? most.rr : 0);
    s.k = take(c, most.rr, sizeof(double));
    s.gram = take(c, most.rr, sizeof(double));
    s.q = take_f32(c, most.q);
    s.factors = take_f32(c, most.factors);
    s.u_sums = take_f32(c, most.u);
    s.s_sums = take_f32(c, most.s);
    s.root = take_f32(c, most.row);
    if (most.row > 0) {
        s.rows = take_f32(c, vlorpi_product(o->n_threads, 2 * s.row_stride));
    }
    s.tile = take_f32(c, most.tile > 0 ? most.tile + VLORPI_OPTIM_PAD : most.tile);
    s.tile_floats = most.tile;
    s.wide_grad = take_f32(c, most.wide);
    s.wide_moment = take_f32(c, most.wide_moment);
    s.direction = take_f32(c, most.direction);
    s.whole = take_f32(c, most.whole);
    s.eigen = take(c, most.dd > 0 ? most.dd + 4 * most.d : most.dd, sizeof(double));
    s.gram32 = take_f32(c, most.dd);
    s.partial = take(c, most.partial, sizeof(double));
    s.columns = take_f32(c, most.columns);
    s.maps = take(c, most.maps, sizeof(vlorpi_code_map));
    if (!o->gemm_is_borrowed) {
        s.gemm = take(c, (int64_t)vlorpi_gemm_scratch_bytes(o->n_threads), 1);
    }
    return s;
}

/* One walk over everything that commit allocates, as it is at first.  real: sets the slots' pointers, and where
 * the pools begin. */
static vlorpi_scratch walk(const vlorp_optimizer *o, cursor *c, bool real, size_t pool_begin[VLORP_MEMORY_N_CLASSES])
{
    int64_t shared = 0;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot_layout(slot, c, real);
        shared = slot->shares_gradient ? vlorpi_max(shared, vlorpi_slot_gradient_elements(slot)) : shared;
    }
    float *shared_grad = take_f32(&c[VLORP_MEMORY_GRADIENTS], shared);
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        pool_begin[i] = c[i].used;
    }
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_projects(slot)) {
            sums_layout(slot, slot->registered.M, &c[VLORP_MEMORY_GRADIENTS], &c[VLORP_MEMORY_OPTIMIZER_STATE], real);
        }
    }
    (void)take(&c[VLORP_MEMORY_OTHER], o->n_slots, sizeof(vlorpi_slot *));
    vlorpi_scratch s = scratch_layout(o, &c[VLORP_MEMORY_WORKSPACE]);
    s.shared_grad = shared_grad;
    return s;
}

static vlorp_status count(const vlorp_optimizer *o, size_t bytes[VLORP_MEMORY_N_CLASSES], vlorp_err *err)
{
    cursor c[VLORP_MEMORY_N_CLASSES] = {{0}};
    size_t pool_begin[VLORP_MEMORY_N_CLASSES];
    (void)walk(o, c, false, pool_begin);
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        if (c[i].used == SIZE_MAX) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "the optimizer's buffers do not fit an address space");
        }
        bytes[i] = c[i].used;
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_memory_use(const vlorp_optimizer *o, vlorp_optimizer_memory *use, vlorp_err *err)
{
    vlorp_optimizer_memory sum = {{0}, {0}};
    VLORP_TRY(count(o, sum.bytes, err));
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        sum.n_blocks[i] = sum.bytes[i] > 0;
    }
    sum.bytes[VLORP_MEMORY_OTHER] += (sizeof *o + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    sum.n_blocks[VLORP_MEMORY_OTHER] += 1 + o->n_slots;
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        sum.bytes[VLORP_MEMORY_OTHER] += slot->n_bytes;
    }
    *use = sum;
    return VLORP_OK;
}

static void free_blocks(vlorp_optimizer *o)
{
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        if (o->blocks[i] != NULL) {
            o->allocator.free(o->allocator.ctx, o->blocks[i]);
            o->blocks[i] = NULL;
        }
    }
}

/* Clears a block in parallel parts, which also spreads the first touch of its pages. */
enum { CLEAR_BYTES = 1 << 20 };

typedef struct clearing {
    unsigned char *memory;
    size_t n_bytes;
} clearing;

static void clear_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const clearing *c = arg;
    size_t begin = (size_t)item * CLEAR_BYTES;
    size_t length = c->n_bytes - begin < CLEAR_BYTES ? c->n_bytes - begin : CLEAR_BYTES;
    memset(c->memory + begin, 0, length);
}

void vlorpi_clear(const vlorp_optimizer *o, void *memory, size_t n_bytes)
{
    if (memory != NULL) {
        clearing c = {memory, n_bytes};
        vlorpi_for_each(&o->config.exec, (int64_t)((n_bytes + CLEAR_BYTES - 1) / CLEAR_BYTES), clear_item, &c);
    }
}

vlorp_status vlorp_optimizer_commit(vlorp_optimizer *o, vlorp_err *err)
{
    if (o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer is committed already");
    }
    size_t bytes[VLORP_MEMORY_N_CLASSES];
    VLORP_TRY(count(o, bytes, err));
    cursor c[VLORP_MEMORY_N_CLASSES] = {{0}};
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        if (bytes[i] == 0) {
            continue;
        }
        o->blocks[i] = o->allocator.alloc(o->allocator.ctx, (vlorp_memory_class)i, bytes[i]);
        if (o->blocks[i] == NULL) {
            free_blocks(o);
            VLORP_FAIL(err, VLORP_E_NOMEM, "out of memory: the optimizer needs %zu bytes more", bytes[i]);
        }
        c[i].base = o->blocks[i];
    }
    o->scratch = walk(o, c, true, o->pool_begin);
    for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
        vlorpi_clear(o, o->blocks[i], bytes[i]);
    }
    o->gradient_bytes = bytes[VLORP_MEMORY_GRADIENTS];
    o->slots = o->blocks[VLORP_MEMORY_OTHER];
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        o->slots[slot->id] = slot;
        slot->grad = slot->shares_gradient ? o->scratch.shared_grad : slot->grad;
    }
    share_wide(o);
    if (!o->gemm_is_borrowed) {
        o->gemm.scratch = o->scratch.gemm;
    }
    for (int i = 0; i < 2 && o->scratch.maps != NULL; i++) {
        vlorpi_code_map_make(&o->scratch.maps[i], i == 0);
    }
    o->committed = true;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_discard(vlorp_optimizer *o, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer is not committed yet");
    }
    vlorpi_clear(o, o->blocks[VLORP_MEMORY_GRADIENTS], o->gradient_bytes);
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->n_sums = 0;
        slot->holds_sums = false;
        slot->probe = NULL;
    }
    o->n_probes = 0;
    o->probe_floats = 0;
    vlorpi_return_lent(o);
    vlorpi_forget_begun(o);
    o->reduced = false;
    o->bad_slot = -1;
    return VLORP_OK;
}

void vlorp_optimizer_free(vlorp_optimizer *o)
{
    if (o == NULL) {
        return;
    }
    free_blocks(o);
    vlorp_allocator allocator = o->allocator;
    for (vlorpi_slot *slot = o->first; slot != NULL;) {
        vlorpi_slot *next = slot->next;
        allocator.free(allocator.ctx, slot);
        slot = next;
    }
    allocator.free(allocator.ctx, o);
}
