#include "train/job_sizes.h"

#include <inttypes.h>
#include <math.h>

#include "train/optimizers.h"

enum { DEFAULT_LENGTH = 1024, DEFAULT_MICRO_TOKENS = 2048 };

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void vlorpi_job_size_method(vlorpi_job *job)
{
    enum { DEFAULT_GAP = 30 };
    const vlorpi_train_settings *s = &job->settings;
    const vlorpi_optimizer_row *row = vlorpi_optimizer_find(s->optimizer);
    vlorpi_job_sizes *sizes = &job->sizes;
    sizes->projection = vlorpi_optimizer_projection(s, job->model_config.D);
    sizes->update_gap = s->update_proj_gap != VLORPI_AUTO ? s->update_proj_gap
                        : row->update_gap != 0            ? row->update_gap
                                                          : DEFAULT_GAP;
    sizes->scale = s->scale > 0 ? s->scale : row->scale > 0 ? row->scale : 1;
}

vlorp_status vlorpi_job_size_examples(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    vlorpi_job_sizes *sizes = &job->sizes;
    sizes->dtype = s->dtype == VLORPI_AUTO ? job->model_config.dtype : (vlorp_dtype)s->dtype;
    if (sizes->dtype == VLORP_F16) {
        if (s->dtype != VLORPI_AUTO) {
            (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "--dtype float16: weights are not trained in float16");
            vlorpi_err_hint(err, "use bfloat16 or float32; float16 checkpoints are read as bfloat16");
            return VLORP_E_UNSUPPORTED;
        }
        sizes->dtype = VLORP_BF16;
    }
    int64_t positions = job->model_config.max_positions;
    sizes->max_length = s->max_length == VLORPI_AUTO ? (positions < DEFAULT_LENGTH ? positions : DEFAULT_LENGTH)
                                                     : s->max_length;
    if (sizes->max_length < 2 || sizes->max_length > positions) {
        VLORP_FAIL(err, VLORP_E_ARG, "--max_length %" PRId64 ": the model takes 2 .. %" PRId64 " tokens",
                   sizes->max_length, positions);
    }
    return VLORP_OK;
}

static vlorp_status size_run(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    vlorpi_job_sizes *sizes = &job->sizes;
    sizes->n_steps = s->num_training_steps;
    if (s->max_train_tokens > 0 && job->data != NULL && vlorpi_dataset_n_examples(job->data) > 0) {
        int64_t examples = vlorpi_batch_examples_for(job->data, s->seed, s->max_train_tokens);
        sizes->n_steps = (examples + s->total_batch_size - 1) / s->total_batch_size;
    } else if (s->num_training_steps == VLORPI_AUTO && job->data != NULL) {
        double examples = ceil(s->epochs * (double)vlorpi_dataset_n_examples(job->data));
        sizes->n_steps = (int64_t)ceil(examples / (double)s->total_batch_size);
    }
    if (job->data != NULL && vlorpi_dataset_n_examples(job->data) < 1) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "%s: no example is left to train on", s->dataset);
        if (job->data_report.n_without_target > 0) {
            vlorpi_err_hint(err, "%" PRId64 " examples have no answer within %" PRId64 " tokens: raise --max_length",
                            job->data_report.n_without_target, sizes->max_length);
        }
        return VLORP_E_ARG;
    }
    sizes->warmup_steps = s->warmup < 1 ? (int64_t)ceil(s->warmup * (double)sizes->n_steps) : (int64_t)s->warmup;
    if (sizes->n_steps > 0 && sizes->warmup_steps > sizes->n_steps) {
        vlorpi_log_warn(job->log, "warm-up takes %" PRId64 " of %" PRId64 " steps: the full rate is never reached",
                        sizes->warmup_steps, sizes->n_steps);
    }
    return VLORP_OK;
}

/* The micro-batches of a rule that updates inside the backward pass: all of a step. */
static vlorp_status size_whole_steps(vlorpi_job *job, int64_t longest, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    vlorpi_job_sizes *sizes = &job->sizes;
    sizes->max_examples = s->total_batch_size;
    sizes->micro_tokens = sizes->max_examples * sizes->max_length;
    if (job->data != NULL) {
        sizes->micro_tokens = largest(longest, vlorpi_batch_largest(job->data, s->seed, s->total_batch_size,
                                                                    sizes->n_steps, sizes->max_examples, longest));
    }
    if (s->micro_tokens != VLORPI_AUTO && s->micro_tokens < sizes->micro_tokens) {
        (void)vlorpi_err_set(err, VLORP_E_ARG,
                             "--micro_tokens %" PRId64 ": a step of %s is one micro-batch, here of up to %" PRId64 " tokens",
                             s->micro_tokens, vlorpi_optimizer_text(s->optimizer), sizes->micro_tokens);
        vlorpi_err_hint(err, "lower --total_batch_size, or take --optimizer sgd");
        return VLORP_E_ARG;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_job_size_batches(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    vlorpi_job_sizes *sizes = &job->sizes;
    VLORP_TRY(size_run(job, err));
    int64_t longest = sizes->max_length;
    if (job->data != NULL) {
        /* a proposal of a smaller max_length is planned with the data as it was read */
        longest = smallest(sizes->max_length, largest(job->data_report.longest, job->held_report.longest));
    }
    if (vlorpi_optimizer_at_once(s->optimizer)) {
        return size_whole_steps(job, longest, err);
    }
    bool choose = s->batch_size == VLORPI_AUTO;
    if (job->data == NULL) {
        sizes->max_examples = choose ? largest(1, DEFAULT_MICRO_TOKENS / sizes->max_length) : s->batch_size;
        sizes->micro_tokens = sizes->max_examples * sizes->max_length;
    } else {
        sizes->max_examples = choose || s->batch_size > s->total_batch_size ? s->total_batch_size : s->batch_size;
        sizes->max_examples = s->packing ? sizes->max_examples : 1;
        sizes->micro_tokens = choose ? DEFAULT_MICRO_TOKENS
                                     : vlorpi_batch_largest(job->data, s->seed, s->total_batch_size, sizes->n_steps,
                                                            sizes->max_examples, longest);
        sizes->micro_tokens = largest(sizes->micro_tokens, longest);
    }
    if (s->micro_tokens != VLORPI_AUTO) {
        if (s->micro_tokens < longest) {
            VLORP_FAIL(err, VLORP_E_ARG,
                       "--micro_tokens %" PRId64 ": the longest example has %" PRId64
                       " tokens; raise it, or lower --max_length",
                       s->micro_tokens, longest);
        }
        sizes->micro_tokens = s->micro_tokens;
    }
    return VLORP_OK;
}
