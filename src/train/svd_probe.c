#include "train/svd_probe.h"

#include <inttypes.h>

enum { PROBE_EXAMPLES = 8 };

/* One repetition of the passes. */
typedef struct probing {
    vlorpi_job *job;
    bool whole; /* all examples are in one micro-batch */
} probing;

/* Whether a matrix's gradient is whole after a single call of the sink. */
static bool comes_whole(const probing *p, int param)
{
    const vlorpi_param *w = &vlorpi_model_trained(p->job->model)->items[param];
    return p->whole && w->role != VLORPI_ROLE_HEAD && !w->tied;
}

/* A matrix that is to be probed in this call alone: *begun; with no room it waits for the next repetition. */
static vlorp_status begin_alone(const probing *p, int param, bool *begun, vlorp_err *err)
{
    *begun = false;
    return comes_whole(p, param) ? vlorp_optimizer_probe_begin(p->job->optimizer, param, begun, err) : VLORP_OK;
}

/* What a layer hands over: a linear layer's factors, or rows of an embedding by their ids. */
typedef struct handed {
    const float *dy;
    int64_t ldy;
    const float *x;
    int64_t ldx;
    const int32_t *ids; /* NULL: factors */
    int64_t n_tokens;
} handed;

static vlorp_status take(const probing *p, int param, const handed *h, vlorp_err *err)
{
    vlorp_optimizer *optimizer = p->job->optimizer;
    if (!vlorp_optimizer_wants_probe(optimizer, param)) {
        return VLORP_OK;
    }
    bool alone;
    VLORP_TRY(begin_alone(p, param, &alone, err));
    if (alone || vlorp_optimizer_probe_is_begun(optimizer, param)) {
        vlorp_status status =
            h->ids != NULL
                ? vlorp_optimizer_probe_add_rows(optimizer, param, h->ids, h->dy, h->ldy, h->n_tokens, err)
                : vlorp_optimizer_probe_add_factors(optimizer, param, h->dy, h->ldy, h->x, h->ldx, h->n_tokens, err);
        VLORP_TRY(status);
    }
    return alone ? vlorp_optimizer_probe_end(optimizer, param, err) : VLORP_OK;
}

static vlorp_status take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                                int64_t n_tokens, vlorp_err *err)
{
    const handed factors = {.dy = dy, .ldy = ldy, .x = x, .ldx = ldx, .n_tokens = n_tokens};
    return take(ctx, param, &factors, err);
}

static vlorp_status take_rows(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens,
                              vlorp_err *err)
{
    const handed rows = {.dy = dy, .ids = ids, .n_tokens = n_tokens};
    return take(ctx, param, &rows, err);
}

static vlorp_status take_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    (void)ctx;
    (void)param;
    (void)dw;
    (void)err;
    return VLORP_OK;
}

static int n_wanting(const vlorpi_job *job)
{
    int n = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        n += vlorp_optimizer_wants_probe(job->optimizer, id);
    }
    return n;
}

/* Begins as many of the matrices that are held from pass to pass as there is room for. */
static vlorp_status begin_held(const probing *p, vlorp_err *err)
{
    vlorp_optimizer *optimizer = p->job->optimizer;
    for (int id = 0; id < vlorp_optimizer_n_parameters(optimizer); id++) {
        if (vlorp_optimizer_wants_probe(optimizer, id) && !comes_whole(p, id)) {
            bool begun;
            VLORP_TRY(vlorp_optimizer_probe_begin(optimizer, id, &begun, err));
        }
    }
    return VLORP_OK;
}

static vlorp_status end_held(const probing *p, vlorp_err *err)
{
    vlorp_optimizer *optimizer = p->job->optimizer;
    for (int id = 0; id < vlorp_optimizer_n_parameters(optimizer); id++) {
        if (vlorp_optimizer_probe_is_begun(optimizer, id)) {
            VLORP_TRY(vlorp_optimizer_probe_end(optimizer, id, err));
        }
    }
    return VLORP_OK;
}

static bool next_batch(vlorpi_job *job, int64_t *place, int64_t end)
{
    return vlorpi_batch_next(&job->batch, job->data, job->settings.seed, place, end, job->sizes.max_examples,
                             job->sizes.micro_tokens);
}

/* Every micro-batch once. */
static vlorp_status repeat(probing *p, int64_t place, int64_t end, vlorp_err *err)
{
    vlorpi_sink sink = {.ctx = p, .linear = take_linear, .rows = take_rows, .vector = take_vector};
    VLORP_TRY(begin_held(p, err));
    while (next_batch(p->job, &place, end)) {
        double loss_sum;
        VLORP_TRY(vlorpi_model_loss(p->job->model, &p->job->batch, &sink, &loss_sum, err));
    }
    return end_held(p, err);
}

vlorp_status vlorpi_svd_probe(vlorpi_job *job, int64_t step, vlorp_err *err)
{
    if (n_wanting(job) == 0) {
        return VLORP_OK;
    }
    int64_t n_examples = job->settings.total_batch_size;
    int64_t begin = step * n_examples;
    int64_t end = begin + (n_examples < PROBE_EXAMPLES ? n_examples : PROBE_EXAMPLES);
    int64_t place = begin;
    probing p = {.job = job};
    p.whole = next_batch(job, &place, end) && place == end && job->batch.n_targets > 0;
    for (int wanting = n_wanting(job); wanting > 0;) {
        vlorp_status status = repeat(&p, begin, end, err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "step %" PRId64 ", the probe of svd", step + 1);
            return status;
        }
        int left = n_wanting(job);
        p.whole = p.whole && left < wanting; /* a matrix that no layer handed over has a gradient of zero */
        wanting = left;
    }
    return VLORP_OK;
}
