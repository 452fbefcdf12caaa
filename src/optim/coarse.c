/* Factors below one, c = 1 / f: G is re-read, row-major, as [n / f, f m] (right) or [f n, m / f] (left)
 * and projected with one slice.  With b < f and w = m / f:
 *
 *   right:  row i f + b of G is part b of row i of the re-read, so  S[i,:]  = sum_b G[i f + b, :] P_b,
 *           P_b = rows [b m, (b + 1) m) of P;   S = sum_b dY_b^T (X P_b),  dY_b = columns b, b + f, ...
 *   left:   part b of row i of G is row i f + b of the re-read, so  S[:,j] = sum_b P_b^T G[:, b w + j],
 *           P_b = rows b, b + f, ... of P;      S = sum_b (dY P_b)^T X[:, b w ..]
 *
 * Nothing here is shared with the fine slices but the idea, because there P is small and S is wide. */
#include <string.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { LEAST_COLUMNS = VLORPI_OPTIM_DRAWS, COLUMNS_PER_ITEM = 256, ROWS_PER_ITEM = 16 };

int64_t vlorpi_coarse_extent(const vlorpi_slot *slot)
{
    int64_t r = slot->proj.r;
    if (vlorpi_slot_is_right(slot)) {
        int64_t columns = VLORPI_P_FLOATS / r / LEAST_COLUMNS * LEAST_COLUMNS;
        return vlorpi_min(slot->m, vlorpi_max(LEAST_COLUMNS, columns));
    }
    return vlorpi_min(slot->n, vlorpi_max(1, VLORPI_P_FLOATS / r / slot->proj.f));
}

int64_t vlorpi_coarse_rows(const vlorpi_slot *slot)
{
    bool right = vlorpi_slot_is_right(slot);
    int64_t width = right ? vlorpi_coarse_extent(slot) : slot->m;
    int64_t rows = vlorpi_max(ROWS_PER_ITEM, VLORPI_TILE_FLOATS / width);
    return vlorpi_min(right ? slot->proj.u_dim : vlorpi_coarse_extent(slot), rows);
}

int64_t vlorpi_coarse_tile_floats(const vlorpi_slot *slot, int64_t max_tokens)
{
    bool right = vlorpi_slot_is_right(slot);
    int64_t ghat = vlorpi_coarse_rows(slot) * (right ? vlorpi_coarse_extent(slot) : slot->m);
    return vlorpi_max(ghat, right ? max_tokens * slot->proj.u_dim : 0);
}

/* A range of P that belongs together: part b, columns (right) or rows (left) [begin, begin + n) of W. */
typedef struct piece {
    int64_t b, begin, n;
    const float *p; /* right: [n, r]; left: row i of the part is at p + i f r */
    int64_t ldp;
} piece;

/* Steps through all pieces of a right P, or of part b of a left one; start with n = 0. */
static bool next_piece(vlorp_optimizer *o, const vlorpi_slot *slot, piece *at)
{
    const vlorp_projection_used *p = &slot->proj;
    bool right = vlorpi_slot_is_right(slot);
    int64_t length = right ? slot->m : slot->n;
    at->begin += at->n;
    if (at->begin == length) {
        at->begin = 0;
        at->b++;
    }
    if (at->b == p->f) {
        return false;
    }
    at->n = vlorpi_min(vlorpi_coarse_extent(slot), length - at->begin);
    if (right) {
        at->p = vlorpi_projection_rows(o, slot, at->b * slot->m + at->begin, at->n);
        at->ldp = p->r;
    } else {
        at->p = vlorpi_projection_rows(o, slot, at->begin * p->f, at->n * p->f) + at->b * p->r;
        at->ldp = p->f * p->r;
    }
    return true;
}

void vlorpi_coarse_accumulate(vlorp_optimizer *o, const vlorpi_slot *slot, const float *g, int64_t ldg)
{
    const vlorp_projection_used *p = &slot->proj;
    for (piece at = {0}; next_piece(o, slot, &at);) {
        if (vlorpi_slot_is_right(slot)) {
            vlorpi_gemm(&o->gemm, slot->grad, p->r, true,
                        vlorpi_gemm_rows(g + at.b * ldg + at.begin, VLORP_F32, p->f * ldg),
                        vlorpi_gemm_rows(at.p, VLORP_F32, at.ldp), p->u_dim, p->r, at.n);
        } else {
            vlorpi_gemm(&o->gemm, slot->grad, p->u_dim, true, vlorpi_gemm_transposed(at.p, VLORP_F32, at.ldp),
                        vlorpi_gemm_rows(g + at.begin * ldg + at.b * p->u_dim, VLORP_F32, ldg), p->r, p->u_dim, at.n);
        }
    }
}

/* scratch.factors [T, r] = x times part at->b of P, x [T, m] (right) or dY [T, n] (left); true while
 * there are parts. */
static bool next_part(vlorp_optimizer *o, const vlorpi_slot *slot, piece *at, const float *x, int64_t ldx, int64_t T)
{
    int64_t length = vlorpi_slot_is_right(slot) ? slot->m : slot->n;
    do {
        if (!next_piece(o, slot, at)) {
            return false;
        }
        vlorpi_gemm(&o->gemm, o->scratch.factors, slot->proj.r, at->begin > 0,
                    vlorpi_gemm_rows(x + at->begin, VLORP_F32, ldx), vlorpi_gemm_rows(at->p, VLORP_F32, at->ldp), T,
                    slot->proj.r, at->n);
    } while (at->begin + at->n < length);
    return true;
}

typedef struct gathering {
    float *out;
    const float *in;
    int64_t n, step, ld;
} gathering;

/* Row t of dY_b. */
static void gather_item(void *arg, int64_t t, int thread)
{
    (void)thread;
    const gathering *g = arg;
    for (int64_t i = 0; i < g->n; i++) {
        g->out[t * g->n + i] = g->in[t * g->ld + i * g->step];
    }
}

void vlorpi_coarse_factors(vlorp_optimizer *o, const vlorpi_slot *slot, const float *dy, int64_t ldy, const float *x,
                           int64_t ldx, int64_t T)
{
    const vlorp_projection_used *p = &slot->proj;
    const float *z = o->scratch.factors;
    piece at = {0};
    if (!vlorpi_slot_is_right(slot)) {
        while (next_part(o, slot, &at, dy, ldy, T)) {
            vlorpi_gemm(&o->gemm, slot->grad, p->u_dim, true, vlorpi_gemm_transposed(z, VLORP_F32, p->r),
                        vlorpi_gemm_rows(x + at.b * p->u_dim, VLORP_F32, ldx), p->r, p->u_dim, T);
        }
        return;
    }
    while (next_part(o, slot, &at, x, ldx, T)) {
        gathering g = {o->scratch.tile, dy + at.b, p->u_dim, p->f, ldy};
        vlorpi_for_each(&o->config.exec, T, gather_item, &g);
        vlorpi_gemm(&o->gemm, slot->grad, p->r, true, vlorpi_gemm_transposed(g.out, VLORP_F32, p->u_dim),
                    vlorpi_gemm_rows(z, VLORP_F32, p->r), p->u_dim, p->r, T);
    }
}

void vlorpi_coarse_scatter(vlorp_optimizer *o, const vlorpi_slot *slot, const int32_t *ids, const float *dy,
                           int64_t ldy, int64_t T)
{
    const vlorp_projection_used *p = &slot->proj;
    piece at = {0};
    if (vlorpi_slot_is_right(slot)) {
        while (next_part(o, slot, &at, dy, ldy, T)) {
            for (int64_t t = 0; t < T; t++) {
                if (ids[t] % p->f == at.b) {
                    o->kernels->axpy(slot->grad + ids[t] / p->f * p->r, 1.0f, o->scratch.factors + t * p->r, p->r);
                }
            }
        }
        return;
    }
    for (int64_t t = 0; t < T; t++) {
        const float *rows = vlorpi_projection_rows(o, slot, ids[t] * p->f, p->f);
        for (int64_t b = 0; b < p->f; b++) {
            for (int64_t q = 0; q < p->r; q++) {
                o->kernels->axpy(slot->grad + q * p->u_dim, rows[b * p->r + q], dy + t * ldy + b * p->u_dim, p->u_dim);
            }
        }
    }
}

static void walk_right(vlorp_optimizer *o, const vlorpi_slot *slot, const float *s_like, vlorpi_tile_task *task,
                       void *arg)
{
    const vlorp_projection_used *p = &slot->proj;
    int64_t rows = vlorpi_coarse_rows(slot);
    for (piece at = {0}; next_piece(o, slot, &at);) {
        for (int64_t i = 0; i < p->u_dim; i += rows) {
            int64_t n = vlorpi_min(rows, p->u_dim - i);
            vlorpi_gemm(&o->gemm, o->scratch.tile, at.n, false, vlorpi_gemm_rows(s_like + i * p->r, VLORP_F32, p->r),
                        vlorpi_gemm_transposed(at.p, VLORP_F32, at.ldp), n, at.n, p->r);
            vlorpi_tile tile = {o->scratch.tile, at.n, i * p->f + at.b, p->f, n, at.begin, at.n};
            task(arg, &tile);
        }
    }
}

static void walk_left(vlorp_optimizer *o, const vlorpi_slot *slot, const float *s_like, vlorpi_tile_task *task,
                      void *arg)
{
    const vlorp_projection_used *p = &slot->proj;
    int64_t rows = vlorpi_coarse_rows(slot);
    for (int64_t i = 0; i < slot->n; i += rows) {
        int64_t n = vlorpi_min(rows, slot->n - i);
        const float *P = vlorpi_projection_rows(o, slot, i * p->f, n * p->f);
        for (int64_t b = 0; b < p->f; b++) {
            vlorpi_gemm(&o->gemm, o->scratch.tile + b * p->u_dim, slot->m, false,
                        vlorpi_gemm_rows(P + b * p->r, VLORP_F32, p->f * p->r),
                        vlorpi_gemm_rows(s_like, VLORP_F32, p->u_dim), n, p->u_dim, p->r);
        }
        vlorpi_tile tile = {o->scratch.tile, slot->m, i, 1, n, 0, slot->m};
        task(arg, &tile);
    }
}

void vlorpi_coarse_walk(vlorp_optimizer *o, const vlorpi_slot *slot, const float *s_like, vlorpi_tile_task *task,
                        void *arg)
{
    if (vlorpi_slot_is_right(slot)) {
        walk_right(o, slot, s_like, task, arg);
    } else {
        walk_left(o, slot, s_like, task, arg);
    }
}

typedef struct summing {
    vlorp_optimizer *o;
    const vlorpi_tile *tile;
} summing;

static void rows_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const summing *s = arg;
    const vlorpi_tile *t = s->tile;
    int64_t end = vlorpi_min(t->n_rows, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) {
        s->o->scratch.u_sums[t->first_row + i * t->row_step] +=
            (float)s->o->kernels->sum_squares(t->values + i * t->ld, t->n_cols);
    }
}

static void columns_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const summing *s = arg;
    const vlorpi_tile *t = s->tile;
    int64_t begin = item * COLUMNS_PER_ITEM;
    int64_t end = vlorpi_min(t->n_cols, begin + COLUMNS_PER_ITEM);
    float *sums = s->o->scratch.s_sums + t->first_col;
    for (int64_t i = 0; i < t->n_rows; i++) {
        const float *row = t->values + i * t->ld;
        for (int64_t j = begin; j < end; j++) {
            sums[j] += row[j] * row[j];
        }
    }
}

static void sum_tile(void *arg, const vlorpi_tile *tile)
{
    summing *s = arg;
    s->tile = tile;
    vlorpi_for_each(&s->o->config.exec, vlorpi_divide_up(tile->n_rows, ROWS_PER_ITEM), rows_item, s);
    vlorpi_for_each(&s->o->config.exec, vlorpi_divide_up(tile->n_cols, COLUMNS_PER_ITEM), columns_item, s);
}

void vlorpi_coarse_sums(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    summing s = {.o = o};
    memset(o->scratch.u_sums, 0, (size_t)slot->n * sizeof(float));
    memset(o->scratch.s_sums, 0, (size_t)slot->m * sizeof(float));
    vlorpi_coarse_walk(o, slot, slot->grad, sum_tile, &s);
}
