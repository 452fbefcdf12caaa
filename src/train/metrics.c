#include "train/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

vlorp_status vlorpi_metrics_open(vlorpi_metrics *metrics, const char *path, vlorp_err *err)
{
    metrics->path = path;
    metrics->file = fopen(path, "a");
    if (metrics->file == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    return VLORP_OK;
}

static vlorp_status finish_line(const vlorpi_metrics *metrics, int written, vlorp_err *err)
{
    if (written < 0 || fflush(metrics->file) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", metrics->path, strerror(errno));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_metrics_step(vlorpi_metrics *metrics, const vlorpi_step_metrics *step, vlorp_err *err)
{
    int n = fprintf(metrics->file,
                    "{\"step\": %" PRId64 ", \"loss\": %.9g, \"lr\": %.9g, \"grad_norm\": %.9g, \"clip\": %.9g, "
                    "\"tokens\": %" PRId64 ", \"target_tokens\": %" PRId64
                    ", \"tokens_per_second\": %.6g, \"seconds\": %.6g, \"forward_seconds\": %.4g, \"head_seconds\": %.4g, "
                    "\"backward_seconds\": %.4g, \"recompute_seconds\": %.4g, \"gradient_seconds\": %.4g, "
                    "\"update_seconds\": %.4g, \"probe_seconds\": %.4g, \"flops\": %.6g, \"memory_bytes\": %zu}\n",
                    step->step, step->loss, step->lr, step->grad_norm, step->clip, step->n_tokens, step->n_targets,
                    step->tokens_per_second, step->seconds, step->parts.forward, step->parts.head,
                    step->parts.backward, step->parts.recompute, step->parts.gradients, step->parts.update,
                    step->parts.probe, step->flops, step->memory_bytes);
    return finish_line(metrics, n, err);
}

vlorp_status vlorpi_metrics_eval(vlorpi_metrics *metrics, int64_t step, double eval_loss, int64_t n_targets,
                                 vlorp_err *err)
{
    int n = fprintf(metrics->file, "{\"step\": %" PRId64 ", \"eval_loss\": %.9g, \"eval_tokens\": %" PRId64 "}\n", step,
                    eval_loss, n_targets);
    return finish_line(metrics, n, err);
}

void vlorpi_metrics_close(vlorpi_metrics *metrics)
{
    if (metrics->file != NULL) {
        (void)fclose(metrics->file);
        metrics->file = NULL;
    }
}
