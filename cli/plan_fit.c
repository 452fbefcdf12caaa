#include "cli/plan_fit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/option_values.h"
#include "cli/train_options.h"
#include "train/estimate.h"
#include "train/fit.h"
#include "train/notches.h"
#include "train/optimizers.h"

enum { COMMAND_BYTES = 4096 };

/* One update rule with the settings that were asked for, or the nearest that fit. */
typedef struct rule_fit {
    vlorpi_fit fit;
    char options[VLORPI_WAYS_BYTES]; /* that differ from what was asked */
    char refusal[VLORP_ERR_TEXT_BYTES]; /* why the rule does not take these settings at all; empty: it does */
} rule_fit;

typedef struct fit_report {
    const vlorpi_cli *cli;
    size_t limit;
    vlorpi_job job; /* planned with the proposal in the end */
    vlorpi_fit proposal;
    char command[COMMAND_BYTES]; /* of the proposal */
    rule_fit rules[VLORPI_N_OPTIMIZERS];
    vlorpi_estimate estimate;
    char no_estimate[VLORP_ERR_TEXT_BYTES]; /* why there is none; empty: there is */
} fit_report;

/* Settings that a search can begin from: nothing is left to be chosen by what fits. */
static vlorpi_train_settings decided(const vlorpi_train_settings *settings)
{
    vlorpi_train_settings s = *settings;
    if (s.activation_checkpointing == VLORPI_CHOOSE) {
        s.activation_checkpointing = VLORPI_NO;
    }
    return s;
}

/* Where c, r and M were left open the search begins at the largest M below half the width. */
static vlorpi_train_settings most_capable(const vlorpi_train_settings *settings, int64_t width)
{
    vlorpi_train_settings s = decided(settings);
    if (s.projection.factor == 0 && s.projection.rank == 0 && s.projection.budget == 0) {
        s.projection.budget = vlorpi_default_budget(width);
        while (4 * s.projection.budget <= width) {
            s.projection.budget *= 2;
        }
    }
    return s;
}

/* Adds a word and a blank before it, quoted where a shell would read it otherwise. */
static void add_word(char command[COMMAND_BYTES], const char *word)
{
    size_t n = strlen(command);
    bool plain = word[0] != '\0' &&
                 strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") == strlen(word);
    if (n > 0 && n + 1 < COMMAND_BYTES) {
        command[n++] = ' ';
    }
    if (plain) {
        (void)snprintf(command + n, COMMAND_BYTES - n, "%s", word);
        return;
    }
    n += (size_t)snprintf(command + n, COMMAND_BYTES - n, "'");
    for (const char *c = word; *c != '\0' && n + 6 < COMMAND_BYTES; c++) {
        n += (size_t)snprintf(command + n, COMMAND_BYTES - n, *c == '\'' ? "'\\''" : "%c", *c);
    }
    (void)snprintf(command + n, COMMAND_BYTES - n, "'");
}

/* Options that the proposal gives itself, or that are plan's alone. */
static bool is_proposed(const char *name)
{
    static const char *const names[] = {
        "model",      "fit",    "json",   "quiet",       "optimizer", "factor",     "rank",         "budget",
        "target",     "dtype",  "state_dtype", "max_length", "batch_size", "micro_tokens", "gradient_accumulation",
        "activation_checkpointing", "memory_limit", "total_batch_size",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return vlorpi_option_is_about_the_call(name);
}

/* What else the user said goes into the proposal as it is. */
static void add_given(char command[COMMAND_BYTES], const vlorpi_options *o)
{
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        const vlorpi_option_value *value = &o->values[i];
        if (row->name == NULL || (row->commands & VLORPI_CMD_PLAN) == 0 || row->no_meaning != NULL ||
            value->origin == VLORPI_ORIGIN_DEFAULT || !value->has || is_proposed(row->name)) {
            continue;
        }
        char name[64];
        (void)snprintf(name, sizeof name, "--%s%s", row->kind == VLORPI_OPTION_BOOL && value->integer == 0 ? "no_" : "",
                       row->name);
        add_word(command, name);
        if (row->kind != VLORPI_OPTION_BOOL) {
            add_word(command, value->text);
        }
    }
}

/* The value of --fit as it was typed. */
static const char *limit_text(const vlorpi_options *o)
{
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const char *name = vlorpi_option_table[i].name;
        if (name != NULL && strcmp(name, "fit") == 0) {
            return o->values[i].text;
        }
    }
    return "";
}

/* The proposal in full, so that no default decides. */
static void write_command(char command[COMMAND_BYTES], const vlorpi_cli *cli, const vlorpi_job *job)
{
    vlorpi_train_settings s = job->settings;
    char options[VLORPI_WAYS_BYTES];
    s.max_length = job->sizes.max_length;
    if (s.batch_size == VLORPI_AUTO && s.micro_tokens == VLORPI_AUTO) {
        s.batch_size = job->data == NULL ? job->sizes.max_examples : VLORPI_AUTO;
        s.micro_tokens = job->data == NULL ? VLORPI_AUTO : job->sizes.micro_tokens;
    }
    if (vlorpi_optimizer_projects(s.optimizer) && s.projection.factor == 0 && s.projection.rank == 0) {
        s.projection.budget = job->sizes.projection.budget;
    }
    vlorpi_ways_print(options, &s, NULL);
    (void)snprintf(command, COMMAND_BYTES, "vlorp train");
    add_word(command, vlorpi_options_text(cli->options, "model"));
    if (s.dataset == NULL) {
        add_word(command, "--dataset");
        add_word(command, "FILE");
    }
    add_given(command, cli->options);
    size_t n = strlen(command);
    (void)snprintf(command + n, COMMAND_BYTES - n, " %s --total_batch_size %" PRId64 " --memory_limit", options,
                   s.total_batch_size);
    add_word(command, limit_text(cli->options));
}

static vlorp_status fit_rules(fit_report *r, const vlorpi_train_settings *settings, vlorp_err *err)
{
    for (int name = 0; name < VLORPI_N_OPTIMIZERS; name++) {
        rule_fit *rule = &r->rules[name];
        vlorpi_train_settings s = decided(settings);
        vlorp_err refusal = {0};
        s.optimizer = (vlorpi_optimizer_name)name;
        vlorp_status status = vlorpi_fit_find(&rule->fit, &r->job, &s, r->limit, &refusal);
        if (status == VLORP_E_ARG || status == VLORP_E_UNSUPPORTED) {
            (void)snprintf(rule->refusal, sizeof rule->refusal, "%s", refusal.text);
            continue;
        }
        if (status != VLORP_OK) {
            *err = refusal;
            return status;
        }
        vlorpi_ways_print(rule->options, &rule->fit.settings, &s);
    }
    return VLORP_OK;
}

static void print_rules(const fit_report *r)
{
    char text[32];
    (void)printf("\n%-12s %10s\n", "update rule", "needs");
    for (int name = 0; name < VLORPI_N_OPTIMIZERS; name++) {
        const rule_fit *rule = &r->rules[name];
        (void)printf("%-12s ", vlorpi_optimizer_text((vlorpi_optimizer_name)name));
        if (rule->refusal[0] != '\0') {
            (void)printf("%10s  %s\n", "-", rule->refusal);
            continue;
        }
        (void)printf("%10s  ", vlorpi_output_bytes(text, sizeof text, rule->fit.need_bytes));
        (void)printf(rule->fit.as_asked ? "fits as asked%s\n"
                     : rule->fit.fits   ? "fits with %s\n"
                     : rule->options[0] ? "does not fit, at its leanest: %s\n"
                                        : "does not fit%s\n",
                     rule->fit.as_asked ? "" : rule->options);
    }
}

static void print_estimate(const fit_report *r)
{
    const vlorpi_estimate *e = &r->estimate;
    const vlorpi_model_config *c = &r->job.model_config;
    char text[32];
    if (r->no_estimate[0] != '\0') {
        (void)printf("time: no estimate, %s\n", r->no_estimate);
        return;
    }
    (void)printf("time: about %s a step of %" PRId64 " examples (%" PRId64 " tokens, %.0f tokens/s)\n",
                 vlorpi_output_seconds(text, sizeof text, e->seconds), e->n_examples, e->n_tokens,
                 (double)e->n_tokens / e->seconds);
    (void)printf("  an estimate: the speed of %" PRId64 " of %" PRId64 " layers and %" PRId64 " of %" PRId64
                 " rows of the vocabulary on %" PRId64 " tokens,\n  measured just now with %d threads in %.1f s, "
                 "times the operations of the whole step\n",
                 e->n_layers, c->L, e->n_rows, c->V, e->n_piece_tokens, r->job.exec.n_threads, e->spent_seconds);
}

static void print_report(const fit_report *r)
{
    const vlorpi_job *job = &r->job;
    char text[32];
    (void)printf("to fit %s:\n", vlorpi_output_bytes(text, sizeof text, r->limit));
    if (r->proposal.fits) {
        const char *titles[] = {"plan"};
        const vlorpi_mem_usage *columns[] = {&job->plan.usage};
        (void)printf("%s\n\n", r->command);
        vlorpi_print_projections(stdout, job);
        (void)printf("micro-batches of at most %" PRId64 " examples and %" PRId64 " tokens, examples of at most %" PRId64
                     ", %s, %s\n",
                     job->sizes.max_examples, job->sizes.micro_tokens, job->sizes.max_length,
                     vlorpi_checkpoint_dtype_name(job->sizes.dtype),
                     job->sizes.activation_checkpointing ? "checkpointing" : "no checkpointing");
        vlorpi_print_memory(stdout, titles, columns, 1, 0);
        if (job->data == NULL) {
            (void)printf("the tokenised data comes on top; give --dataset to have it counted\n");
        }
        print_estimate(r);
    }
    print_rules(r);
}

static json_t *rule_json(const rule_fit *rule)
{
    if (rule->refusal[0] != '\0') {
        return json_pack("{s:b, s:s}", "fits", 0, "refusal", rule->refusal);
    }
    return json_pack("{s:b, s:b, s:s, s:I}", "fits", rule->fit.fits, "as_asked", rule->fit.as_asked, "options",
                     rule->options, "total", (json_int_t)rule->fit.need_bytes);
}

static json_t *estimate_json(const fit_report *r)
{
    const vlorpi_estimate *e = &r->estimate;
    if (r->no_estimate[0] != '\0' || !r->proposal.fits) {
        return json_null();
    }
    return json_pack("{s:f, s:I, s:I, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:{s:I, s:I, s:I, s:i, s:f}}", "seconds",
                     e->seconds, "examples", (json_int_t)e->n_examples, "tokens", (json_int_t)e->n_tokens, "parts",
                     "forward", e->parts.forward, "head", e->parts.head, "backward", e->parts.backward, "recompute",
                     e->parts.recompute, "gradients", e->parts.gradients, "update", e->parts.update, "measured",
                     "layers", (json_int_t)e->n_layers, "rows", (json_int_t)e->n_rows, "tokens",
                     (json_int_t)e->n_piece_tokens, "threads", r->job.exec.n_threads, "seconds", e->spent_seconds);
}

static json_t *report_json(const fit_report *r)
{
    const vlorpi_job *job = &r->job;
    json_t *rules = json_object();
    for (int name = 0; name < VLORPI_N_OPTIMIZERS && rules != NULL; name++) {
        const char *title = vlorpi_optimizer_text((vlorpi_optimizer_name)name);
        if (json_object_set_new(rules, title, rule_json(&r->rules[name])) != 0) {
            json_decref(rules);
            rules = NULL;
        }
    }
    json_t *proposal =
        !r->proposal.fits
            ? json_null()
            : json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:s, s:o}", "command", r->command, "optimizer",
                        vlorpi_optimizer_text(job->settings.optimizer), "budget", (json_int_t)job->sizes.projection.budget,
                        "max_length", (json_int_t)job->sizes.max_length, "max_examples", (json_int_t)job->sizes.max_examples,
                        "micro_tokens", (json_int_t)job->sizes.micro_tokens, "activation_checkpointing",
                        job->sizes.activation_checkpointing, "dtype", vlorpi_checkpoint_dtype_name(job->sizes.dtype),
                        "memory", vlorpi_plan_json(&job->plan.usage));
    return json_pack("{s:I, s:o, s:o, s:o}", "limit", (json_int_t)r->limit, "proposal", proposal, "estimate",
                     estimate_json(r), "optimizers", rules);
}

/* The rules' table first: the proposal is what the job is planned with in the end. */
static vlorp_status find_all(fit_report *r, const vlorpi_train_settings *settings, vlorp_err *err)
{
    VLORP_TRY(fit_rules(r, settings, err));
    vlorpi_train_settings most = most_capable(settings, r->job.model_config.D);
    VLORP_TRY(vlorpi_fit_find(&r->proposal, &r->job, &most, r->limit, err));
    if (!r->proposal.fits) {
        return VLORP_OK;
    }
    write_command(r->command, r->cli, &r->job);
    vlorp_err refusal = {0};
    if (vlorpi_estimate_step(&r->estimate, &r->job, &refusal) != VLORP_OK) {
        (void)snprintf(r->no_estimate, sizeof r->no_estimate, "%s", refusal.text);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_plan_fit(vlorpi_cli *cli, const vlorpi_train_settings *settings, vlorp_err *err)
{
    static fit_report r; /* large */
    vlorpi_train_settings asked = *settings;
    if (vlorpi_options_is_set(cli->options, "memory_limit")) {
        VLORP_FAIL(err, VLORP_E_ARG, "--fit: --memory_limit says how much there is already; give one of the two");
    }
    r = (fit_report){.cli = cli, .limit = vlorpi_options_bytes(cli->options, "fit")};
    asked.memory_limit_bytes = r.limit;
    vlorp_status status =
        vlorpi_job_open(&r.job, &asked, false, cli->mem, NULL, cli->kernels, &cli->exec, err);
    if (status == VLORP_OK) {
        status = find_all(&r, &asked, err);
    }
    if (status == VLORP_OK && vlorpi_options_bool(cli->options, "json")) {
        status = vlorpi_output_json(report_json(&r), err);
    } else if (status == VLORP_OK) {
        print_report(&r);
    }
    if (status == VLORP_OK && !r.proposal.fits) {
        status = vlorpi_err_set(err, VLORP_E_LIMIT, "%s does not fit %.1f MiB: it needs %.1f MiB at its leanest",
                                vlorpi_optimizer_text(asked.optimizer), (double)r.limit * 0x1p-20,
                                (double)r.proposal.need_bytes * 0x1p-20);
    }
    vlorpi_job_close(&r.job);
    return status;
}
