/* The rule adafactor (Shazeer and Stern, arXiv 1804.04235), as transformers' Adafactor computes it with
 * scale_parameter and relative_step off.  With R and C the moving means of g^2 over rows and columns,
 *     u = g / sqrt(R C^T / mean R) = g / (a b^T),   a = sqrt(R / mean R),  b = sqrt(C).
 * R and C have the same mean, so it does not matter which of the two the rows of the stored weight are.
 * Sums that cross rows are made in chunks of rows whose number depends on the shape alone. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { COLUMNS_PER_ITEM = 256 };
static const double TINY = 1e-30;      /* added to the squares */
static const double DECAY_RATE = -0.8; /* of the weight of the past */
static const double CLIP_RMS = 1.0;

typedef struct job {
    const vlorp_optimizer *o;
    vlorpi_slot *slot;
    int64_t n_rows, width; /* as the weight is stored */
    int64_t rows_per_chunk, n_chunks;
    float *by_row, *by_column; /* R and C of the stored weight */
    float *roots;              /* b [width] */
    double keep;               /* of the old means */
    double scale;              /* of the gradient: mean and clipping */
    double mean;               /* of R */
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

static void move_mean(float *mean, const job *j, double squares, int64_t n)
{
    double fresh = squares * j->scale * j->scale / (double)n + TINY;
    *mean = (float)(j->keep * (double)*mean + (1 - j->keep) * fresh);
}

static int64_t chunk_end(const job *j, int64_t chunk)
{
    return vlorpi_min(j->n_rows, (chunk + 1) * j->rows_per_chunk);
}

/* R of the chunk's rows, and its part of the column sums. */
static void rows_item(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *j = arg;
    float *part = j->o->scratch.columns + chunk * j->width;
    memset(part, 0, (size_t)j->width * sizeof *part);
    for (int64_t i = chunk * j->rows_per_chunk; i < chunk_end(j, chunk); i++) {
        move_mean(&j->by_row[i], j, j->o->kernels->add_squares(part, j->slot->grad + i * j->width, j->width), j->width);
    }
}

static void columns_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t end = vlorpi_min(j->width, (item + 1) * COLUMNS_PER_ITEM);
    for (int64_t c = item * COLUMNS_PER_ITEM; c < end; c++) {
        double sum = 0;
        for (int64_t chunk = 0; chunk < j->n_chunks; chunk++) {
            sum += (double)j->o->scratch.columns[chunk * j->width + c];
        }
        move_mean(&j->by_column[c], j, sum, j->n_rows);
        j->roots[c] = sqrtf(j->by_column[c]);
    }
}

/* a of a row. */
static double row_root(const job *j, int64_t i)
{
    return sqrt((double)j->by_row[i] / j->mean);
}

/* The chunk's part of the sum of u^2, without the scale. */
static void squares_item(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *j = arg;
    double sum = 0;
    for (int64_t i = chunk * j->rows_per_chunk; i < chunk_end(j, chunk); i++) {
        double a = row_root(j, i);
        sum += j->o->kernels->sum_ratio_squares(j->slot->grad + i * j->width, j->roots, j->width) / (a * a);
    }
    j->o->scratch.partial[chunk] = sum;
}

static void update_item(void *arg, int64_t i, int thread)
{
    (void)thread;
    const job *j = arg;
    float *g = j->slot->grad + i * j->width;
    vlorpi_update update = j->update;
    update.a = (float)row_root(j, i);
    vlorpi_update_row(j->o, j->slot, j->rng, i, 0, j->width, g, j->roots, update);
    memset(g, 0, (size_t)j->width * sizeof *g);
}

static double rms_of_update(const job *j)
{
    double sum = 0;
    vlorpi_for_each(&j->o->config.exec, j->n_chunks, squares_item, (void *)(uintptr_t)j);
    for (int64_t chunk = 0; chunk < j->n_chunks; chunk++) {
        sum += j->o->scratch.partial[chunk];
    }
    return j->scale * sqrt(sum / ((double)j->n_rows * (double)j->width));
}

static job make_job(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step, vlorp_rng *rng)
{
    job j = {.o = o,
             .slot = slot,
             .n_rows = vlorpi_slot_n_stored_rows(slot),
             .width = vlorpi_slot_stored_width(slot),
             .by_row = slot->transposed ? slot->col_sums : slot->row_sums,
             .by_column = slot->transposed ? slot->row_sums : slot->col_sums,
             .keep = 1 - pow((double)step->t, DECAY_RATE),
             .scale = step->gradient_scale,
             .rng = vlorpi_rounding_rng(o, slot, step->t, rng)};
    j.rows_per_chunk = vlorpi_divide_up(j.n_rows, VLORPI_WEIGHT_CHUNKS);
    j.n_chunks = vlorpi_divide_up(j.n_rows, j.rows_per_chunk);
    j.roots = o->scratch.columns + VLORPI_WEIGHT_CHUNKS * j.width;
    return j;
}

void vlorpi_adafactor_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    const vlorp_exec *exec = &o->config.exec;
    double lr = step->lr * slot->lr_factor;
    vlorp_rng rng;
    job j = make_job(o, slot, step, &rng);
    vlorpi_for_each(exec, j.n_chunks, rows_item, &j);
    vlorpi_for_each(exec, vlorpi_divide_up(j.width, COLUMNS_PER_ITEM), columns_item, &j);
    for (int64_t i = 0; i < j.n_rows; i++) {
        j.mean += (double)j.by_row[i] / (double)j.n_rows;
    }
    j.update.step = (float)(lr * j.scale / fmax(1, rms_of_update(&j) / CLIP_RMS));
    j.update.shrink = (float)(lr * slot->weight_decay);
    vlorpi_for_each(exec, j.n_rows, update_item, &j);
}
