#include "train/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/system_memory.h"
#include "train/report_plot.h"

/* Everything that is read back from metrics.jsonl. */
typedef struct curves {
    int64_t last_step, n_tokens;
    double seconds;
    vlorpi_plot_series loss, held, lr, norm, speed;
    vlorpi_plot_series accuracy[VLORPI_TASK_EVAL_MAX]; /* of the job's tasks, in their order */
} curves;

/* The number behind "key": in a line that metrics.c wrote; false when it has none. */
static bool number_of(const char *line, const char *key, double *out)
{
    char pattern[48];
    (void)snprintf(pattern, sizeof pattern, "\"%s\": ", key);
    const char *at = strstr(line, pattern);
    if (at == NULL) {
        return false;
    }
    char *end;
    *out = strtod(at + strlen(pattern), &end);
    return end != at + strlen(pattern);
}

static void take(vlorpi_plot_series *series, const char *line, const char *key, double step)
{
    double value;
    if (number_of(line, key, &value)) {
        vlorpi_plot_add(series, step, value);
    }
}

static bool is_about(const char *line, const vlorpi_task *task)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, "\"task\": \"%s\"", task->name);
    return strstr(line, pattern) != NULL;
}

/* Two passes: the first finds where the curves end. */
static void read_metrics(curves *c, const vlorpi_task_eval *tasks, FILE *file)
{
    char line[2048];
    double step;
    while (fgets(line, sizeof line, file) != NULL) {
        if (number_of(line, "step", &step) && (int64_t)step > c->last_step) {
            c->last_step = (int64_t)step;
        }
    }
    vlorpi_plot_series *all[] = {&c->loss, &c->held, &c->lr, &c->norm, &c->speed};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        all[i]->last_x = (double)c->last_step;
    }
    for (int i = 0; i < tasks->n_runs; i++) {
        c->accuracy[i].last_x = (double)c->last_step;
    }
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        double number = 0;
        if (!number_of(line, "step", &step)) {
            continue;
        }
        take(&c->loss, line, "loss", step);
        take(&c->held, line, "eval_loss", step);
        take(&c->lr, line, "lr", step);
        take(&c->norm, line, "grad_norm", step);
        take(&c->speed, line, "tokens_per_second", step);
        for (int i = 0; i < tasks->n_runs; i++) {
            if (is_about(line, tasks->runs[i].task)) {
                take(&c->accuracy[i], line, "accuracy", step);
            }
        }
        c->n_tokens += number_of(line, "tokens", &number) ? (int64_t)number : 0;
        c->seconds += number_of(line, "seconds", &number) ? number : 0;
    }
}

/* Text of the user's as HTML. */
static void put_text(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '&': (void)fputs("&amp;", out); break;
        case '<': (void)fputs("&lt;", out); break;
        case '>': (void)fputs("&gt;", out); break;
        case '"': (void)fputs("&quot;", out); break;
        default: (void)fputc((unsigned char)*c < ' ' ? ' ' : *c, out);
        }
    }
}

static const char style[] =
    ":root{--paper:#fff;--ink:#1c1f23;--dim:#667;--grid:#e3e5e8;--first:#1f5fbf;--second:#c2410c}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e4e6e8;--dim:#99a;--grid:#2c3136;--first:#7ab0ff;"
    "--second:#ff9d6b}}\n"
    "body{background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2em auto;"
    "padding:0 1em}\nh1{font-size:1.4em;overflow-wrap:anywhere}h2{font-size:1.1em;margin-top:2em}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:1em}\n"
    "figure{margin:0}figcaption{font-weight:600}svg{width:100%}svg text{font-size:12px;fill:var(--dim)}\n"
    ".grid{stroke:var(--grid)}polyline{fill:none;stroke-width:1.6}polyline.first{stroke:var(--first)}"
    "polyline.second{stroke:var(--second)}circle.first{fill:var(--first)}circle.second{fill:var(--second)}\n"
    ".key.second{color:var(--second);font-weight:400}table{border-collapse:collapse}"
    "td,th{padding:.15em .9em .15em 0;text-align:left;border-bottom:1px solid var(--grid);overflow-wrap:anywhere}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.dim{color:var(--dim)}\n";

static void put_summary(FILE *out, const vlorpi_job *job, const curves *c)
{
    (void)fprintf(out, "<p>%" PRId64 " of %" PRId64 " steps, %" PRId64 " tokens", c->last_step, job->sizes.n_steps,
                  c->n_tokens);
    if (c->seconds > 0) {
        (void)fprintf(out, " in %.0f s of steps (%.0f tokens/s)", c->seconds, (double)c->n_tokens / c->seconds);
    }
    (void)fputs(".", out);
    if (c->loss.n_points > 0) {
        (void)fprintf(out, " Training loss %.4f at first, %.4f at last.", c->loss.first, c->loss.last);
    }
    if (c->held.n_points > 0) {
        (void)fprintf(out, " Held-out loss %.4f before, %.4f after.", c->held.first, c->held.last);
    }
    (void)fputs("</p>\n", out);
    const vlorpi_dataset_report *r = &job->data_report;
    (void)fputs("<p>Data: ", out);
    put_text(out, r->form);
    (void)fputs(" (", out);
    put_text(out, r->columns);
    (void)fprintf(out, "), %" PRId64 " examples, %" PRId64 " tokens, %" PRId64 " of them to predict; %" PRId64
                  " cut, %" PRId64 " dropped with nothing to predict.</p>\n", r->n_examples, r->n_tokens, r->n_targets,
                  r->n_truncated, r->n_without_target);
}

static void put_memory(FILE *out, const vlorpi_job *job)
{
    vlorpi_mem_usage ledger = vlorpi_mem_peak(job->mem);
    (void)fputs("<h2>Memory</h2>\n<table><tr><th>MiB</th><th class=\"n\">plan</th><th class=\"n\">ledger</th>"
                "<th class=\"n\">process</th></tr>\n", out);
    for (int row = 0; row < VLORPI_ROW_N; row++) {
        (void)fprintf(out, "<tr><td>%s</td><td class=\"n\">%.2f</td><td class=\"n\">%.2f</td><td></td></tr>\n",
                      vlorpi_mem_row_name((vlorpi_mem_row)row),
                      (double)vlorpi_mem_row_bytes(&job->plan.usage, (vlorpi_mem_row)row) * 0x1p-20,
                      (double)vlorpi_mem_row_bytes(&ledger, (vlorpi_mem_row)row) * 0x1p-20);
    }
    (void)fprintf(out,
                  "<tr><th>total</th><th class=\"n\">%.2f</th><th class=\"n\">%.2f</th><th class=\"n\">%.2f</th></tr></table>\n"
                  "<p class=\"dim\">The ledger's classes are those at the moment of its largest total. The process's peak "
                  "also holds pages of mapped files and what libraries take, and lacks pages that were never touched.</p>\n",
                  (double)job->plan.usage.total_bytes * 0x1p-20, (double)ledger.total_bytes * 0x1p-20,
                  (double)vlorpi_process_memory_now().peak_rss_bytes * 0x1p-20);
}

static void put_value(FILE *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING: put_text(out, json_string_value(value)); break;
    case JSON_INTEGER: (void)fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
    case JSON_REAL: (void)fprintf(out, "%.10g", json_real_value(value)); break;
    case JSON_TRUE: (void)fputs("true", out); break;
    default: (void)fputs("false", out);
    }
}

/* As the command line and the defaults gave them, then what was decided from model and data. */
static void put_settings(FILE *out, const vlorpi_job *job)
{
    const char *key;
    json_t *value;
    (void)fputs("<h2>Settings</h2>\n<table>\n", out);
    json_object_foreach(job->settings.record, key, value)
    {
        if (!json_is_null(value)) {
            (void)fprintf(out, "<tr><td>%s</td><td>", key);
            put_value(out, value);
            (void)fputs("</td></tr>\n", out);
        }
    }
    const vlorpi_job_sizes *s = &job->sizes;
    (void)fprintf(out, "</table>\n<p>Used: %s weights, examples of at most %" PRId64 " tokens, micro-batches of at most %" PRId64
                  " examples and %" PRId64 " tokens, %" PRId64 " steps of which %" PRId64 " warm up, %s, %d threads, %s "
                  "kernels.</p>\n", vlorpi_checkpoint_dtype_name(s->dtype), s->max_length, s->max_examples, s->micro_tokens,
                  s->n_steps, s->warmup_steps, s->activation_checkpointing ? "checkpointing" : "no checkpointing",
                  job->exec.n_threads, job->kernels->name);
}

/* --adaptive_budget: what is in force in the end. */
static void put_division(FILE *out, const vlorpi_job *job)
{
    if (!job->settings.adaptive_budget) {
        return;
    }
    (void)fputs("<h2>The budget as it is divided now</h2>\n<table><tr><th>matrix</th><th class=\"n\">shape</th>"
                "<th class=\"n\">c</th><th class=\"n\">r</th><th class=\"n\">M</th></tr>\n", out);
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, id, &info, NULL) != VLORP_OK || info.projection.M == 0) {
            continue;
        }
        const vlorp_projection_used *p = &info.projection;
        (void)fputs("<tr><td>", out);
        put_text(out, info.name);
        (void)fprintf(out, "</td><td class=\"n\">%" PRId64 " x %" PRId64 "</td><td class=\"n\">%" PRId64
                      "</td><td class=\"n\">%" PRId64 "</td><td class=\"n\">%" PRId64 "%s</td></tr>\n",
                      info.n, info.m, p->c, p->r, p->M, p->exact ? " (exact)" : "");
    }
    (void)fputs("</table>\n", out);
}

static void put_all(FILE *out, const vlorpi_job *job, const vlorpi_run_folder *folder, const curves *c)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                "content=\"width=device-width\"><title>", out);
    put_text(out, folder->path);
    (void)fprintf(out, "</title><style>\n%s</style></head><body>\n<h1>", style);
    put_text(out, folder->path);
    (void)fprintf(out, "</h1>\n<p class=\"dim\">vlorp %s, ", vlorp_version());
    put_text(out, job->settings.model);
    (void)fprintf(out, " trained with %s on ", vlorpi_optimizer_text(job->settings.optimizer));
    put_text(out, job->settings.dataset);
    (void)fputs("</p>\n", out);
    put_summary(out, job, c);
    (void)fputs("<div class=\"plots\">\n", out);
    vlorpi_plot_draw(out, "Loss", &c->loss, &c->held, "held-out");
    vlorpi_plot_draw(out, "Held-out loss", &c->held, NULL, "");
    for (int i = 0; i < job->tasks.n_runs; i++) {
        char title[64];
        (void)snprintf(title, sizeof title, "Accuracy: %s", job->tasks.runs[i].task->name);
        vlorpi_plot_draw(out, title, &c->accuracy[i], NULL, "");
    }
    vlorpi_plot_draw(out, "Learning rate", &c->lr, NULL, "");
    vlorpi_plot_draw(out, "Gradient norm", &c->norm, NULL, "");
    vlorpi_plot_draw(out, "Tokens per second", &c->speed, NULL, "");
    (void)fputs("</div>\n", out);
    put_memory(out, job);
    put_division(out, job);
    put_settings(out, job);
    (void)fputs("</body></html>\n", out);
}

vlorp_status vlorpi_report_write(const vlorpi_job *job, const vlorpi_run_folder *folder, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES + 16];
    char beside[VLORPI_PATH_BYTES + 24];
    (void)snprintf(path, sizeof path, "%s/report.html", folder->path);
    (void)snprintf(beside, sizeof beside, "%s.partial", path);
    curves c = {0};
    FILE *metrics = fopen(folder->metrics, "r");
    if (metrics != NULL) {
        read_metrics(&c, &job->tasks, metrics);
        (void)fclose(metrics);
    }
    FILE *out = fopen(beside, "w");
    if (out == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", beside, strerror(errno));
    }
    put_all(out, job, folder, &c);
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (failed || rename(beside, path) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", path, strerror(errno));
    }
    return VLORP_OK;
}
