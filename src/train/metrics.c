#include "train/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

vlorp_status vlorpi_metrics_open(vlorpi_metrics *metrics, const char *path, vlorp_err *err)
{
    metrics->path = path;
    metrics->file = fopen(path, "a");
    if (metrics->file == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    char folder[sizeof metrics->events.path];
    const char *slash = strrchr(path, '/');
    int n = slash != NULL ? (int)(slash - path) : 0;
    (void)snprintf(folder, sizeof folder, "%.*s", n > 0 ? n : 1, n > 0 ? path : slash != NULL ? "/" : ".");
    struct stat info;
    bool fresh = fstat(fileno(metrics->file), &info) == 0 && info.st_size == 0;
    return vlorpi_event_file_open(&metrics->events, folder, fresh, err);
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
    VLORP_TRY(finish_line(metrics, n, err));
    VLORP_TRY(vlorpi_event_file_scalar(&metrics->events, "train/loss", step->step, step->loss, err));
    VLORP_TRY(vlorpi_event_file_scalar(&metrics->events, "train/learning_rate", step->step, step->lr, err));
    return vlorpi_event_file_scalar(&metrics->events, "train/grad_norm", step->step, step->grad_norm, err);
}

vlorp_status vlorpi_metrics_eval(vlorpi_metrics *metrics, int64_t step, double eval_loss, int64_t n_targets,
                                 vlorp_err *err)
{
    int n = fprintf(metrics->file, "{\"step\": %" PRId64 ", \"eval_loss\": %.9g, \"eval_tokens\": %" PRId64 "}\n", step,
                    eval_loss, n_targets);
    VLORP_TRY(finish_line(metrics, n, err));
    return vlorpi_event_file_scalar(&metrics->events, "eval/loss", step, eval_loss, err);
}

vlorp_status vlorpi_metrics_task(vlorpi_metrics *metrics, int64_t step, const char *name, const vlorpi_tally *tally,
                                 vlorp_err *err)
{
    char tag[64];
    double accuracy = vlorpi_tally_accuracy(tally);
    int n = fprintf(metrics->file,
                    "{\"step\": %" PRId64 ", \"task\": \"%s\", \"accuracy\": %.9g, \"correct\": %" PRId64
                    ", \"questions\": %" PRId64 "}\n", step, name, accuracy, tally->n_correct, tally->n);
    VLORP_TRY(finish_line(metrics, n, err));
    (void)snprintf(tag, sizeof tag, "eval/%s_accuracy", name);
    return vlorpi_event_file_scalar(&metrics->events, tag, step, accuracy, err);
}

vlorp_status vlorpi_metrics_sync(const vlorpi_metrics *metrics, int64_t *n_bytes, vlorp_err *err)
{
    off_t end = -1;
    if (fflush(metrics->file) != 0 || fsync(fileno(metrics->file)) != 0 ||
        (end = lseek(fileno(metrics->file), 0, SEEK_END)) < 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", metrics->path, strerror(errno));
    }
    *n_bytes = (int64_t)end;
    return VLORP_OK;
}

void vlorpi_metrics_close(vlorpi_metrics *metrics)
{
    vlorpi_event_file_close(&metrics->events);
    if (metrics->file != NULL) {
        (void)fclose(metrics->file);
        metrics->file = NULL;
    }
}
