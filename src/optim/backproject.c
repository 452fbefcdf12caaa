/* The back-projection of something shaped as S, handed out row by row of the weight. */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { ROWS_PER_ITEM = 16 };

typedef struct job {
    vlorp_optimizer *o;
    const vlorpi_slot *slot;
    const float *s_like;
    vlorpi_row_task *task;
    void *arg;
    int64_t tile;              /* columns of a left row worked on at once */
    int64_t first_row, n_rows; /* of G, in one block of a transposed weight */
    const vlorpi_tile *part;   /* of a coarse one */
} job;

static float *row_of(const job *j, int thread)
{
    return j->o->scratch.rows + thread * 2 * j->o->scratch.row_stride;
}

static float *spare_of(const job *j, int thread)
{
    return row_of(j, thread) + j->o->scratch.row_stride;
}

static void right_row(const job *j, int64_t i, float *mh)
{
    const vlorpi_slot *slot = j->slot;
    j->o->kernels->backproject_right(mh, j->s_like + i * slot->proj.M, j->o->scratch.pt, vlorpi_padded(slot->proj.d),
                                     vlorpi_slot_slices(slot));
}

/* Columns [j0, j0 + n) of row i. */
static void left_row(const job *j, int64_t i, float *mh, int64_t j0, int64_t n)
{
    const vlorp_projection_used *p = &j->slot->proj;
    j->o->kernels->backproject_left(mh, j->o->scratch.p + i / p->c * p->r, j->s_like + i % p->c * p->u_dim + j0,
                                    p->c * p->u_dim, p->r, n);
}

static void right_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    float *mh = row_of(j, thread);
    int64_t end = vlorpi_min(j->slot->n, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) {
        right_row(j, i, mh);
        j->task(j->arg, i, 0, j->slot->m, mh, spare_of(j, thread));
    }
}

/* Rows a c + b of one b share r rows of S, so an item takes ROWS_PER_ITEM values of a for one b and
 * goes tile by tile over the columns: that part of S stays in the cache. */
static void left_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    const vlorp_projection_used *p = &j->slot->proj;
    int64_t per_slice = vlorpi_divide_up(p->d, ROWS_PER_ITEM);
    int64_t b = item / per_slice;
    int64_t begin = item % per_slice * ROWS_PER_ITEM;
    int64_t end = vlorpi_min(p->d, begin + ROWS_PER_ITEM);
    float *mh = row_of(j, thread);
    for (int64_t j0 = 0; j0 < j->slot->m; j0 += j->tile) {
        int64_t n = vlorpi_min(j->tile, j->slot->m - j0);
        for (int64_t a = begin; a < end; a++) {
            left_row(j, a * p->c + b, mh, j0, n);
            j->task(j->arg, a * p->c + b, j0, n, mh, spare_of(j, thread));
        }
    }
}

/* One row of G into its column of scratch.tile [m, VLORPI_TRANSPOSE_ROWS]. */
static void transpose_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    float *mh = row_of(j, thread);
    int64_t i = j->first_row + item;
    if (vlorpi_slot_is_right(j->slot)) {
        right_row(j, i, mh);
    } else {
        left_row(j, i, mh, 0, j->slot->m);
    }
    for (int64_t k = 0; k < j->slot->m; k++) {
        j->o->scratch.tile[k * VLORPI_TRANSPOSE_ROWS + item] = mh[k];
    }
}

static void stored_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    int64_t end = vlorpi_min(j->slot->m, (item + 1) * ROWS_PER_ITEM);
    for (int64_t k = item * ROWS_PER_ITEM; k < end; k++) {
        j->task(j->arg, k, j->first_row, j->n_rows, j->o->scratch.tile + k * VLORPI_TRANSPOSE_ROWS,
                spare_of(j, thread));
    }
}

static void transposed(job *j)
{
    const vlorp_exec *exec = &j->o->config.exec;
    for (int64_t i = 0; i < j->slot->n; i += VLORPI_TRANSPOSE_ROWS) {
        j->first_row = i;
        j->n_rows = vlorpi_min(VLORPI_TRANSPOSE_ROWS, j->slot->n - i);
        vlorpi_for_each(exec, j->n_rows, transpose_item, j);
        vlorpi_for_each(exec, vlorpi_divide_up(j->slot->m, ROWS_PER_ITEM), stored_item, j);
    }
}

static void part_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    const vlorpi_tile *t = j->part;
    int64_t end = vlorpi_min(t->n_rows, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) {
        j->task(j->arg, t->first_row + i * t->row_step, t->first_col, t->n_cols, t->values + i * t->ld,
                spare_of(j, thread));
    }
}

static void part(void *arg, const vlorpi_tile *tile)
{
    job *j = arg;
    j->part = tile;
    vlorpi_for_each(&j->o->config.exec, vlorpi_divide_up(tile->n_rows, ROWS_PER_ITEM), part_item, j);
}

void vlorpi_backproject(vlorp_optimizer *o, const vlorpi_slot *slot, const float *s_like, vlorpi_row_task *task,
                        void *arg)
{
    enum { TILE_FLOATS = 1 << 15, MOST = 2048 };
    job j = {.o = o, .slot = slot, .s_like = s_like, .task = task, .arg = arg};
    if (vlorpi_slot_is_coarse(slot)) {
        vlorpi_coarse_walk(o, slot, s_like, part, &j);
        return;
    }
    if (slot->transposed) {
        transposed(&j);
        return;
    }
    if (vlorpi_slot_is_right(slot)) {
        vlorpi_for_each(&o->config.exec, vlorpi_divide_up(slot->n, ROWS_PER_ITEM), right_item, &j);
        return;
    }
    int64_t tile = TILE_FLOATS / slot->proj.r / VLORPI_OPTIM_DRAWS * VLORPI_OPTIM_DRAWS;
    j.tile = vlorpi_max(VLORPI_OPTIM_DRAWS, vlorpi_min(tile, MOST));
    vlorpi_for_each(&o->config.exec, slot->proj.c * vlorpi_divide_up(slot->proj.d, ROWS_PER_ITEM), left_item, &j);
}

void vlorpi_update_row(const vlorp_optimizer *o, const vlorpi_slot *slot, const vlorp_rng *rng, int64_t row,
                       int64_t col0, int64_t n, const float *mh, const float *b, vlorpi_update update)
{
    int64_t at = row * slot->ld + col0;
    if (slot->dtype == VLORP_BF16) {
        o->kernels->update_bf16((uint16_t *)slot->weight + at, mh, b, update, n,
                                (vlorpi_rounding){rng, (uint32_t)row}, col0);
    } else {
        o->kernels->update_f32((float *)slot->weight + at, mh, b, update, n);
    }
}
