#include "train/estimate.h"

#include "base/clock.h"
#include "base/system_memory.h"
#include "train/fit.h"
#include "train/made_up.h"

/* The piece is larger than caches, and its steps short: a step has about step_operations, but no
 * micro-batch is so small that products would run slower than the whole model's. */
enum { PIECE_ELEMENTS = 24 << 20, PIECE_VOCABULARY = 32 << 20, LEAST_TOKENS = 256, MOST_SEGMENTS = 64, LEAST_REPEATS = 2, MOST_REPEATS = 5 };
static const double step_operations = 2e11;
static const double enough_seconds = 2;

static int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Tokens of an average example, and how many of them are predicted. */
static void average_example(const vlorpi_job *job, double *n_tokens, double *n_targets)
{
    const vlorpi_dataset_report *r = &job->data_report;
    double n = job->data != NULL ? (double)r->n_examples : 0;
    *n_tokens = n > 0 ? (double)r->n_tokens / n : (double)job->sizes.max_length;
    *n_targets = n > 0 ? (double)r->n_targets / n : *n_tokens - 1;
    if (*n_tokens > (double)job->sizes.max_length) { /* planned shorter than it was read */
        *n_targets *= (double)job->sizes.max_length / *n_tokens;
        *n_tokens = (double)job->sizes.max_length;
    }
}

/* The whole step's operations, from those of a micro-batch of average examples. */
static vlorpi_step_work whole_work(const vlorpi_job *job, double *n_tokens)
{
    double length, targets;
    average_example(job, &length, &targets);
    int64_t n = (int64_t)((double)job->sizes.micro_tokens / length);
    n = largest(1, smallest(n, smallest(job->sizes.max_examples, MOST_SEGMENTS)));
    int32_t begin[MOST_SEGMENTS + 1];
    for (int64_t s = 0; s <= n; s++) {
        begin[s] = (int32_t)((double)s * length);
    }
    vlorpi_token_batch batch = {.segment_begin = begin, .n_segments = n};
    batch.n_tokens = begin[n];
    batch.n_targets = (int64_t)((double)n * targets);
    vlorpi_step_work work = {0};
    vlorpi_work_add(&work, job, &batch);
    double times = (double)job->settings.total_batch_size / (double)n;
    *n_tokens = times * (double)batch.n_tokens;
    return (vlorpi_step_work){.forward = times * work.forward, .head = times * work.head,
                              .backward = times * work.backward, .recompute = times * work.recompute,
                              .gradients = times * work.gradients};
}

/* Elements of the matrices of one layer. */
static int64_t layer_elements(const vlorpi_job *job)
{
    const vlorpi_params *params = vlorpi_model_params(job->model);
    int64_t n = 0;
    for (int i = 0; i < params->n; i++) {
        vlorpi_role role = params->items[i].role;
        if (role == VLORPI_ROLE_ATTN || role == VLORPI_ROLE_MLP) {
            n += vlorpi_param_n_elements(&params->items[i]);
        }
    }
    return n / job->model_config.L;
}

/* How much of the model, and of a micro-batch, is measured. */
typedef struct piece {
    vlorpi_job job;
    vlorpi_mem mem;
    int64_t n_segments, length;
} piece;

static vlorp_status plan_piece(piece *p, const vlorpi_job *job, vlorp_err *err)
{
    int64_t per_layer = layer_elements(job);
    double length, targets;
    vlorpi_mem_init(&p->mem);
    p->job = (vlorpi_job){.mem = &p->mem, .kernels = job->kernels, .exec = job->exec, .model_config = job->model_config};
    vlorpi_model_config *c = &p->job.model_config;
    c->L = smallest(c->L, largest(1, (PIECE_ELEMENTS + per_layer - 1) / per_layer));
    c->V = smallest(c->V, largest(c->D, PIECE_VOCABULARY / c->D)); /* as tall as the whole, or square */
    average_example(job, &length, &targets);
    double per_token = 6 * (double)(c->L * per_layer + c->V * c->D);
    int64_t n_tokens = largest(LEAST_TOKENS, (int64_t)(step_operations / per_token));
    n_tokens = smallest(n_tokens, job->sizes.micro_tokens);
    p->length = largest(2, smallest((int64_t)length, n_tokens));
    p->n_segments = largest(1, smallest(n_tokens / p->length, job->sizes.max_examples));
    vlorpi_train_settings s = job->settings;
    s.dataset = NULL;
    s.init_random = true;
    s.max_length = p->length;
    s.batch_size = p->n_segments;
    s.micro_tokens = VLORPI_AUTO;
    s.activation_checkpointing = job->sizes.activation_checkpointing ? VLORPI_YES : VLORPI_NO;
    s.projection = job->sizes.projection;
    if (s.projection.distribution == VLORP_SVD) {
        s.distribution = VLORP_NORMAL; /* made-up gradients have no basis worth the probe */
    }
    s.memory_limit_bytes = 0;
    VLORP_TRY(vlorpi_job_replan(&p->job, &s, err));
    size_t need = p->job.plan.usage.total_bytes;
    size_t limit = vlorpi_fit_limit(&p->job);
    if (need > limit) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "measuring a piece of the model needs %.1f MiB and %.1f MiB are available",
                   (double)need * 0x1p-20, (double)limit * 0x1p-20);
    }
    return vlorpi_job_allocate(&p->job, err);
}

/* The quickest of some steps: an estimate is of a machine that is left alone. */
static vlorp_status measure(piece *p, vlorpi_step_sums *best, vlorp_err *err)
{
    double quickest = 0;
    double spent = 0;
    for (int i = -1; i < LEAST_REPEATS || (i < MOST_REPEATS && spent < enough_seconds); i++) { /* the first warms up */
        vlorpi_step_sums sums;
        double begin = vlorpi_clock_seconds();
        VLORP_TRY(vlorpi_made_up_step(&p->job, p->n_segments, p->length, &sums, err));
        double seconds = vlorpi_clock_seconds() - begin;
        if (i >= 0 && (quickest == 0 || seconds < quickest)) {
            quickest = seconds;
            *best = sums;
        }
        spent += i >= 0 ? seconds : 0;
    }
    return VLORP_OK;
}

static double scaled(double seconds, double whole, double part)
{
    return part > 0 ? seconds * whole / part : 0;
}

vlorp_status vlorpi_estimate_step(vlorpi_estimate *estimate, const vlorpi_job *job, vlorp_err *err)
{
    piece p;
    vlorpi_step_sums sums = {0};
    double begin = vlorpi_clock_seconds();
    double n_tokens = 0;
    *estimate = (vlorpi_estimate){.n_examples = job->settings.total_batch_size};
    vlorp_status status = plan_piece(&p, job, err);
    if (status == VLORP_OK) {
        status = measure(&p, &sums, err);
    }
    if (status == VLORP_OK) {
        vlorpi_step_work work = whole_work(job, &n_tokens);
        const vlorpi_step_seconds *s = &sums.seconds;
        estimate->parts = (vlorpi_step_seconds){
            .forward = scaled(s->forward, work.forward, sums.work.forward),
            .head = scaled(s->head, work.head, sums.work.head),
            .backward = scaled(s->backward, work.backward, sums.work.backward),
            .recompute = scaled(s->recompute, work.recompute, sums.work.recompute),
            .gradients = scaled(s->gradients, work.gradients, sums.work.gradients),
            .update = scaled(s->update, vlorpi_work_update_bytes(job), vlorpi_work_update_bytes(&p.job)),
        };
        const vlorpi_step_seconds *e = &estimate->parts;
        estimate->seconds = e->forward + e->head + e->backward + e->recompute + e->gradients + e->update;
        estimate->n_tokens = (int64_t)n_tokens;
        estimate->n_layers = p.job.model_config.L;
        estimate->n_rows = p.job.model_config.V;
        estimate->n_piece_tokens = sums.n_tokens;
    }
    vlorpi_job_close(&p.job);
    estimate->spent_seconds = vlorpi_clock_seconds() - begin;
    return status;
}
