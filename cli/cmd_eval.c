/* cmd_eval.c - vlorp eval: perplexity of a text, or tasks. */
#include <string.h>

#include "base/clock.h"
#include "base/mapped_file.h"
#include "cli/command.h"
#include "cli/eval_tasks.h"
#include "cli/inference.h"
#include "eval/perplexity.h"

enum { DEFAULT_MAX_LENGTH = 1024 };

typedef struct watcher {
    vlorpi_cli *cli;
    double begin, last;
} watcher;

/* A line every few seconds; a long text takes minutes. */
static void windows_done(void *ctx, int64_t n_done, int64_t n_windows, double loss)
{
    enum { INTERVAL_SECONDS = 5 };
    watcher *w = ctx;
    double now = vlorpi_clock_seconds();
    if (n_done < n_windows && now - w->last >= INTERVAL_SECONDS) {
        char left[32];
        double seconds = (now - w->begin) * (double)(n_windows - n_done) / (double)n_done;
        vlorpi_log_info(&w->cli->log, "window %lld of %lld  loss %.4f  %s left", (long long)n_done,
                        (long long)n_windows, loss, vlorpi_output_seconds(left, sizeof left, seconds));
        w->last = now;
    }
}

static vlorp_status print_result(const vlorpi_cli *cli, const vlorpi_perplexity *result, int64_t max_length,
                                 double seconds, vlorp_err *err)
{
    if (vlorpi_options_bool(cli->options, "json")) {
        return vlorpi_output_json(json_pack("{s:s,s:f,s:f,s:I,s:I,s:I,s:I,s:f}", "task", "ppl", "loss", result->loss,
                                            "perplexity", result->perplexity, "tokens", (json_int_t)result->n_tokens,
                                            "text_tokens", (json_int_t)result->n_text_tokens, "windows",
                                            (json_int_t)result->n_windows, "max_length", (json_int_t)max_length,
                                            "seconds", seconds),
                                  err);
    }
    (void)printf("loss %.6f nats per token, perplexity %.4f over %lld tokens in %lld windows of %lld\n", result->loss,
                 result->perplexity, (long long)result->n_tokens, (long long)result->n_windows, (long long)max_length);
    return VLORP_OK;
}

static vlorp_status eval_text(vlorpi_cli *cli, vlorp_err *err)
{
    const char *path = vlorpi_options_text(cli->options, "data");
    if (path == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "--data: name the file whose text is to be predicted");
    }
    vlorpi_loaded_model loaded = {0};
    vlorpi_mapped_file file = {0};
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    double begin = vlorpi_clock_seconds();
    vlorp_status status = vlorpi_cli_load_model(&loaded, cli, err);
    if (status == VLORP_OK) {
        int64_t max_length = loaded.config.max_positions < DEFAULT_MAX_LENGTH ? loaded.config.max_positions
                                                                              : DEFAULT_MAX_LENGTH;
        if (vlorpi_options_has(cli->options, "max_length")) {
            max_length = vlorpi_options_int(cli->options, "max_length");
        }
        watcher w = {.cli = cli, .begin = vlorpi_clock_seconds(), .last = vlorpi_clock_seconds()};
        vlorpi_perplexity_watch watch = {.windows_done = windows_done, .ctx = &w};
        vlorpi_perplexity result;
        status = vlorpi_perplexity_measure(&result, &loaded, (const char *)file.bytes, file.n_bytes, max_length, &watch,
                                           err);
        if (status == VLORP_OK) {
            status = print_result(cli, &result, max_length, vlorpi_clock_seconds() - begin, err);
        } else if (status == VLORP_E_ARG || status == VLORP_E_NUMERIC) {
            vlorpi_err_prefix(err, "%s", path);
        }
    }
    vlorpi_loaded_model_close(&loaded);
    vlorpi_mapped_file_close(&file);
    return status;
}

vlorp_status vlorpi_cmd_eval(vlorpi_cli *cli, vlorp_err *err)
{
    const char *tasks = vlorpi_options_text(cli->options, "task");
    if (!vlorpi_options_lists(cli->options, "task", "ppl")) {
        return vlorpi_cli_eval_tasks(cli, err);
    }
    if (strcmp(tasks, "ppl") != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "--task %s: ppl goes alone", tasks);
    }
    return eval_text(cli, err);
}
