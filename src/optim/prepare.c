/* The projection in force and the small matrices that follow from it. */
#include <string.h>

#include "base/threads.h"
#include "optim/handle.h"

/* Entries of P made by one item: a multiple of every generator's block. */
enum { FILL_ENTRIES = 512 };

typedef struct filling {
    float *p;
    uint64_t first; /* entry of the stream that p[0] is */
    int64_t n;
    vlorp_rng rng;
    vlorp_distribution distribution;
} filling;

static void fill_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const filling *f = arg;
    int64_t begin = item * FILL_ENTRIES;
    int64_t n = vlorpi_min(FILL_ENTRIES, f->n - begin);
    if (f->distribution == VLORP_RADEMACHER) {
        vlorp_rng_signs(f->p + begin, &f->rng, f->first + (uint64_t)begin, n);
    } else {
        vlorp_rng_normals(f->p + begin, &f->rng, f->first + (uint64_t)begin, n);
    }
}

/* The same numbers as vlorp_projection_fill, on all threads. */
void vlorpi_projection_make(const vlorp_optimizer *o, const vlorpi_slot *slot, vlorp_stream stream, float *p,
                            int64_t number, int64_t j0, int64_t n)
{
    int64_t r = slot->proj.r;
    if (slot->proj.exact) {
        p[0] = 1.0f;
        return;
    }
    if (vlorpi_slot_is_svd(slot)) {
        memcpy(p, slot->basis + j0 * r, (size_t)(n * r) * sizeof *p);
        return;
    }
    filling f = {p, (uint64_t)(j0 * r), n * r,
                 vlorp_rng_make(o->config.seed, slot->name_hash, stream, (uint64_t)number),
                 slot->distribution};
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(f.n, FILL_ENTRIES), fill_item, &f);
}

/* Whether scratch.p holds all of P; else it is made where it is needed, some rows at a time. */
static bool is_whole(const vlorpi_slot *slot)
{
    return !vlorpi_slot_is_coarse(slot) || slot->proj.d <= VLORPI_P_FLOATS / slot->proj.r;
}

const float *vlorpi_projection_rows(vlorp_optimizer *o, const vlorpi_slot *slot, int64_t j0, int64_t n)
{
    if (vlorpi_slot_is_svd(slot)) {
        return slot->basis + j0 * slot->proj.r;
    }
    if (is_whole(slot)) {
        vlorpi_prepare_projection(o, slot);
        return o->scratch.p + j0 * slot->proj.r;
    }
    o->scratch.p_slot = -1;
    vlorpi_projection_make(o, slot, VLORP_STREAM_PROJECTION, o->scratch.p, vlorpi_refresh(o, slot), j0, n);
    return o->scratch.p;
}

void vlorpi_prepare_projection(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    if (is_whole(slot) && !(vlorpi_slot_is_coarse(slot) && vlorpi_slot_is_svd(slot))) {
        vlorpi_prepare_projection_of(o, slot, VLORP_STREAM_PROJECTION, vlorpi_refresh(o, slot));
    }
}

void vlorpi_prepare_projection_of(vlorp_optimizer *o, const vlorpi_slot *slot, vlorp_stream stream, int64_t number)
{
    vlorpi_scratch *s = &o->scratch;
    if (s->p_slot == slot->id && s->p_refresh == number && s->p_stream == stream) {
        return;
    }
    vlorpi_projection_make(o, slot, stream, s->p, number, 0, slot->proj.d);
    s->p_slot = slot->id;
    s->p_refresh = number;
    s->p_stream = stream;
    if (!vlorpi_slot_is_right(slot) || vlorpi_slot_is_coarse(slot)) {
        return;
    }
    int64_t d = slot->proj.d;
    int64_t r = slot->proj.r;
    int64_t ldp = vlorpi_padded(d);
    for (int64_t q = 0; q < r; q++) {
        for (int64_t j = 0; j < ldp; j++) {
            s->pt[q * ldp + j] = j < d ? s->p[j * r + q] : 0.0f;
        }
    }
}

typedef struct gram_rows {
    double *k;
    const float *p;
    int64_t d, r;
    bool accumulate;
} gram_rows;

/* Row q of K, from its diagonal on, over d rows of P. */
static void gram_item(void *arg, int64_t q, int thread)
{
    (void)thread;
    const gram_rows *g = arg;
    double *row = g->k + q * g->r;
    if (!g->accumulate) {
        memset(row, 0, (size_t)g->r * sizeof *row);
    }
    for (int64_t j = 0; j < g->d; j++) {
        const float *p_j = g->p + j * g->r;
        double p_q = (double)p_j[q];
        for (int64_t e = q; e < g->r; e++) {
            row[e] += p_q * (double)p_j[e];
        }
    }
}

/* Rows of P that scratch.p has room for. */
static int64_t rows_at_once(const vlorpi_slot *slot)
{
    if (is_whole(slot)) {
        return slot->proj.d;
    }
    return vlorpi_coarse_extent(slot) * (vlorpi_slot_is_right(slot) ? 1 : slot->proj.f);
}

void vlorpi_prepare_gram(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    vlorpi_scratch *s = &o->scratch;
    int64_t r = slot->proj.r;
    int64_t M = slot->proj.M;
    int64_t step = rows_at_once(slot);
    for (int64_t j = 0; j < slot->proj.d; j += step) {
        int64_t n = vlorpi_min(step, slot->proj.d - j);
        gram_rows g = {s->k, vlorpi_projection_rows(o, slot, j, n), n, r, j > 0};
        vlorpi_for_each(&o->config.exec, r, gram_item, &g);
    }
    for (int64_t q = 0; q < r; q++) {
        for (int64_t e = 0; e < q; e++) {
            s->k[q * r + e] = s->k[e * r + q];
        }
    }
    for (int64_t lag = 0; lag < r; lag++) {
        for (int64_t q = 0; q < r; q++) {
            double weight = q + lag < r ? (lag == 0 ? 1.0 : 2.0) * s->k[q * r + q + lag] : 0.0;
            for (int64_t k = 0; k < slot->proj.c; k++) {
                s->kw[lag * M + k * r + q] = (float)weight;
            }
        }
    }
}

void vlorpi_bridge_rows(vlorp_optimizer *o, const vlorpi_slot *slot, const float *p_old, const float *p, int64_t n,
                        bool accumulate)
{
    int64_t r = slot->proj.r;
    vlorpi_gemm(&o->gemm, o->scratch.bridge, r, accumulate, vlorpi_gemm_transposed(p_old, VLORP_F32, r),
                vlorpi_gemm_rows(p, VLORP_F32, r), r, r, n);
}

void vlorpi_prepare_bridge(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    vlorpi_scratch *s = &o->scratch;
    int64_t step = rows_at_once(slot);
    for (int64_t j = 0; j < slot->proj.d; j += step) {
        int64_t n = vlorpi_min(step, slot->proj.d - j);
        vlorpi_projection_make(o, slot, VLORP_STREAM_PROJECTION, s->p_old, vlorpi_refresh(o, slot) - 1, j, n);
        vlorpi_bridge_rows(o, slot, s->p_old, vlorpi_projection_rows(o, slot, j, n), n, j > 0);
    }
    for (int64_t e = 0; e < slot->proj.r * slot->proj.r; e++) {
        s->bridge[e] *= (float)vlorpi_slot_s(slot);
    }
}

/* One chunk of u_dim: rows of a right S, columns of a left one. */
typedef struct sums_job {
    vlorp_optimizer *o;
    const vlorpi_slot *slot;
    bool want_u_sums;
    vlorpi_chunk_task *after_chunk;
    void *arg;
} sums_job;

static void sums_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const sums_job *job = arg;
    const vlorpi_slot *slot = job->slot;
    const vlorpi_scratch *s = &job->o->scratch;
    vlorpi_slices slices = vlorpi_slot_slices(slot);
    int64_t chunk = vlorpi_slot_chunk(slot);
    int64_t begin = item * chunk;
    int64_t n = vlorpi_min(chunk, slot->proj.u_dim - begin);
    int64_t rM = slot->proj.r * slot->proj.M;
    float *q = s->q + item * rM;
    float *u_sums = job->want_u_sums ? s->u_sums + begin : NULL;
    memset(q, 0, (size_t)rM * sizeof *q);
    if (vlorpi_slot_is_right(slot)) {
        job->o->kernels->sums_right(u_sums, q, slot->grad + begin * slot->proj.M, s->kw, slices, n);
    } else {
        job->o->kernels->sums_left(u_sums, q, slot->grad + begin, slot->proj.u_dim, s->kw, slices, n);
    }
    if (job->after_chunk != NULL) {
        job->after_chunk(job->arg, begin, begin + n);
    }
}

void vlorpi_projected_sums(vlorp_optimizer *o, const vlorpi_slot *slot, bool want_u_sums,
                           vlorpi_chunk_task *after_chunk, void *arg)
{
    sums_job job = {o, slot, want_u_sums, after_chunk, arg};
    int64_t n_chunks = vlorpi_slot_n_chunks(slot);
    int64_t rM = slot->proj.r * slot->proj.M;
    vlorpi_for_each(&o->config.exec, n_chunks, sums_item, &job);
    for (int64_t i = 1; i < n_chunks; i++) {
        o->kernels->axpy(o->scratch.q, 1.0f, o->scratch.q + i * rM, rM);
    }
}
