#include "train/made_up.h"

#include <vlorp/rng.h>

#include "base/clock.h"

/* n_segments examples of length tokens, every next token a target. */
static void fill_batch(vlorpi_job *job, int64_t n_segments, int64_t length)
{
    vlorpi_token_batch *batch = &job->batch;
    vlorp_rng rng = vlorp_rng_make(job->settings.seed, 0, VLORP_STREAM_SAMPLING, 0);
    batch->n_segments = n_segments;
    batch->n_tokens = n_segments * length;
    batch->n_targets = n_segments * (length - 1);
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        batch->ids[t] = (int32_t)vlorp_rng_below(&rng, (uint64_t)t, (uint64_t)job->model_config.V);
        batch->positions[t] = (int32_t)(t % length);
    }
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        batch->targets[t] = (t + 1) % length == 0 ? -1 : batch->ids[t + 1];
    }
    for (int64_t s = 0; s <= n_segments; s++) {
        batch->segment_begin[s] = (int32_t)(s * length);
    }
}

vlorp_status vlorpi_made_up_step(vlorpi_job *job, int64_t n_segments, int64_t length, vlorpi_step_sums *sums,
                                 vlorp_err *err)
{
    *sums = (vlorpi_step_sums){0};
    fill_batch(job, n_segments, length);
    VLORP_TRY(vlorpi_train_micro_batch(job, sums, err));
    vlorp_step step = vlorpi_train_update(job, sums->step, sums->n_targets);
    double begin = vlorpi_clock_seconds();
    VLORP_TRY(vlorp_optimizer_step(job->optimizer, &step, NULL, err));
    sums->seconds.update += vlorpi_clock_seconds() - begin;
    return VLORP_OK;
}
