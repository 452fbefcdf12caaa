/* eval_tasks.c - questions read, answered, logged and counted. */
#include "cli/eval_tasks.h"

#include <string.h>

#include "base/clock.h"
#include "cli/inference.h"
#include "eval/task_generation.h"
#include "eval/task_log.h"

enum { MAX_RUNS = 16, PASS_TOKENS = 1024, OWN_PROMPT_TOKENS = 128 };

typedef struct evaluation {
    vlorpi_cli *cli;
    vlorpi_task_run runs[MAX_RUNS];
    int n_runs;
    vlorpi_loaded_model loaded;
    vlorpi_engine engine;
    vlorpi_likelihood likelihood;
    vlorpi_arena arena; /* of likelihood */
    int64_t max_new_tokens; /* 0: what the task takes */
    vlorpi_task_log log;
    double begin, last_line;      /* seconds */
    int64_t cost, cost_done;      /* of what is to be done by this process */
} evaluation;

unsigned vlorpi_cli_tasks(const vlorpi_options *options, const char *name)
{
    unsigned tasks = 0;
    for (int i = 0; i < vlorpi_task_table_rows; i++) {
        const vlorpi_task *task = &vlorpi_task_table[i];
        if (vlorpi_options_lists(options, name, task->name) ||
            (task->set != NULL && vlorpi_options_lists(options, name, task->set))) {
            tasks |= 1u << i;
        }
    }
    return tasks;
}

/* Opens every task that --task names. */
static vlorp_status open_runs(evaluation *e, vlorp_err *err)
{
    const vlorpi_options *options = e->cli->options;
    vlorpi_task_settings settings = {
        .data_dir = vlorpi_options_text(options, "data_dir"),
        .n_shots = (int)vlorpi_options_int(options, "shots"),
        .limit = vlorpi_options_int(options, "limit"),
        .by_generation = strcmp(vlorpi_options_text(options, "by"), "generation") == 0,
    };
    unsigned tasks = vlorpi_cli_tasks(options, "task");
    for (int i = 0; i < vlorpi_task_table_rows; i++) {
        if ((tasks >> i & 1u) != 0) {
            VLORP_TRY(vlorpi_task_run_open(&e->runs[e->n_runs], e->cli->mem, &vlorpi_task_table[i], &settings, err));
            e->n_runs++;
        }
    }
    return VLORP_OK;
}

/* Tokenises what is scored, and finds the longest text of all tasks. */
static vlorp_status measure_run(const evaluation *e, vlorpi_task_run *run, int64_t max_tokens, int64_t *longest,
                                vlorp_err *err)
{
    int64_t n;
    VLORP_TRY(vlorpi_task_run_measure(&n, run, e->loaded.tokenizer, e->max_new_tokens, max_tokens, err));
    *longest = n > *longest ? n : *longest;
    if (run->choices.n_cut > 0) {
        vlorpi_log_warn(&e->cli->log, "%s: %lld of %lld texts have more than %lld tokens and lost their beginning",
                        run->task->name, (long long)run->choices.n_cut, (long long)run->n, (long long)max_tokens);
    }
    return VLORP_OK;
}

/* Room in the cache for the new tokens of all sequences, and for the part of their prompts that is their own; where they
 * take more, fewer run at once. */
static int64_t cache_for_generation(const evaluation *e, int64_t n_sequences)
{
    int64_t n_new = 0;
    for (int i = 0; i < e->n_runs; i++) {
        int64_t n = vlorpi_generation_rule_of(e->runs[i].task->kind).max_new_tokens;
        n = e->max_new_tokens > 0 ? e->max_new_tokens : n;
        n_new = e->runs[i].by_generation && n > n_new ? n : n_new;
    }
    return n_new > 0 ? n_sequences * (n_new + OWN_PROMPT_TOKENS) : 0;
}

/* Makes room for the longest text. */
static vlorp_status open_engine(evaluation *e, vlorp_err *err)
{
    const vlorpi_options *options = e->cli->options;
    int64_t max_tokens = e->loaded.config.max_positions;
    if (vlorpi_options_has(options, "max_length") && vlorpi_options_int(options, "max_length") < max_tokens) {
        max_tokens = vlorpi_options_int(options, "max_length");
    }
    int64_t longest = 2;
    for (int i = 0; i < e->n_runs; i++) {
        VLORP_TRY(measure_run(e, &e->runs[i], max_tokens, &longest, err));
    }
    int64_t n_sequences = vlorpi_options_int(options, "batch");
    vlorpi_engine_limits limits = {.max_sequences = n_sequences,
                                   .max_positions = longest,
                                   .cache_tokens = 2 * (longest + PASS_TOKENS) + cache_for_generation(e, n_sequences),
                                   .pass_tokens = n_sequences > PASS_TOKENS ? n_sequences : PASS_TOKENS};
    VLORP_TRY(vlorpi_engine_open(&e->engine, &e->loaded, e->cli->kernels, &limits, err));
    vlorpi_arena arena = vlorpi_arena_counter();
    vlorpi_likelihood_layout(&e->likelihood, &arena, longest, n_sequences);
    VLORP_TRY(vlorpi_arena_init(&e->arena, e->cli->mem, VLORPI_MEM_WORKSPACE, arena.peak_bytes, err));
    vlorpi_likelihood_layout(&e->likelihood, &e->arena, longest, n_sequences);
    return VLORP_OK;
}

/* Everything that an answer depends on; a log goes on only under the same. */
static vlorp_status make_settings(json_t **out, const evaluation *e, vlorp_err *err)
{
    const vlorpi_options *options = e->cli->options;
    char text[VLORPI_PARAMS_MARK_BYTES];
    json_t *tasks = json_array();
    for (int i = 0; i < e->n_runs; i++) {
        vlorpi_question question;
        const vlorpi_task_run *run = &e->runs[i];
        vlorpi_question_set_get(run->set, 0, &question);
        (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)vlorpi_question_set_checksum(run->set));
        (void)json_array_append_new(tasks, json_pack("{s:s,s:s,s:s,s:i,s:s}", "task", run->task->name, "by",
                                                     run->by_generation ? "generation" : "likelihood", "template",
                                                     question.row->name, "version", question.row->version, "data",
                                                     text));
    }
    vlorpi_params_mark(text, vlorpi_model_params(e->loaded.model));
    const char *model;
    vlorp_status status = vlorpi_options_model(options, &model, err);
    *out = status != VLORP_OK
        ? NULL
        : json_pack("{s:s,s:s,s:s,s:I,s:I,s:o?,s:O}", "model", model, "dtype",
                    e->loaded.dtype == VLORP_F32 ? "float32" : "bfloat16", "weights", text, "shots",
                    (json_int_t)vlorpi_options_int(options, "shots"), "max_new_tokens", (json_int_t)e->max_new_tokens, "max_length",
                    vlorpi_options_has(options, "max_length") ? json_integer(vlorpi_options_int(options, "max_length"))
                                                              : NULL,
                    "tasks", tasks);
    json_decref(tasks);
    VLORP_TRY(status);
    if (*out == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "no memory for the settings");
    }
    return VLORP_OK;
}

static vlorp_status open_log(evaluation *e, vlorp_err *err)
{
    const char *path = vlorpi_options_text(e->cli->options, "log");
    if (path == NULL) {
        return VLORP_OK;
    }
    json_t *settings;
    VLORP_TRY(make_settings(&settings, e, err));
    vlorp_status status = vlorpi_task_log_open(&e->log, e->cli->mem, path, settings, e->runs, e->n_runs, err);
    json_decref(settings);
    int64_t n_done = 0;
    for (int i = 0; i < e->n_runs; i++) {
        n_done += e->runs[i].n_done;
    }
    if (status == VLORP_OK && n_done > 0) {
        vlorpi_log_info(&e->cli->log, "%s: goes on after %lld answers", path, (long long)n_done);
    }
    return status;
}

/* A line every few seconds. */
static void show_progress(evaluation *e, const vlorpi_task_run *run)
{
    enum { INTERVAL_SECONDS = 5 };
    double now = vlorpi_clock_seconds();
    if (run->n_done < run->n && now - e->last_line >= INTERVAL_SECONDS) {
        char left[32];
        double seconds = (now - e->begin) * (double)(e->cost - e->cost_done) / (double)e->cost_done;
        vlorpi_tally total = vlorpi_task_run_total(run);
        vlorpi_log_info(&e->cli->log, "%s: %lld of %lld  %.1f %% right  %s left", run->task->name,
                        (long long)run->n_done, (long long)run->n, 100 * vlorpi_tally_accuracy(&total),
                        vlorpi_output_seconds(left, sizeof left, seconds));
        e->last_line = now;
    }
}

static vlorp_status answered(void *ctx, const vlorpi_task_run *run, const vlorpi_task_answer *answer, vlorp_err *err)
{
    evaluation *e = ctx;
    VLORP_TRY(vlorpi_task_log_add(&e->log, run, answer, err));
    e->cost_done += vlorpi_task_run_cost(run, answer->question, answer->question + 1);
    vlorpi_task_run *counted = &e->runs[run - e->runs];
    vlorpi_task_run_count(counted, answer->question, answer->is_correct, answer->is_near);
    show_progress(e, counted);
    return VLORP_OK;
}

static vlorp_status answer_all(evaluation *e, vlorp_err *err)
{
    for (int i = 0; i < e->n_runs; i++) {
        e->cost += vlorpi_task_run_cost(&e->runs[i], e->runs[i].n_done, e->runs[i].n);
    }
    e->begin = vlorpi_clock_seconds();
    e->last_line = e->begin;
    for (int i = 0; i < e->n_runs; i++) {
        VLORP_TRY(vlorpi_task_log_begin(&e->log, &e->runs[i], err));
        VLORP_TRY(e->runs[i].by_generation
                      ? vlorpi_task_run_generation(&e->runs[i], &e->engine, e->loaded.tokenizer, e->max_new_tokens,
                                                   answered, e, err)
                      : vlorpi_task_run_likelihood(&e->runs[i], &e->likelihood, &e->engine, answered, e, err));
    }
    return VLORP_OK;
}

static vlorp_status evaluate(evaluation *e, vlorp_err *err)
{
    VLORP_TRY(open_runs(e, err));
    if (vlorpi_options_bool(e->cli->options, "show_prompt")) {
        return vlorpi_cli_show_prompts(e->cli, e->runs, e->n_runs, err);
    }
    VLORP_TRY(vlorpi_cli_load_model(&e->loaded, e->cli, err));
    VLORP_TRY(open_engine(e, err));
    VLORP_TRY(open_log(e, err));
    VLORP_TRY(answer_all(e, err));
    return vlorpi_cli_report_tasks(e->cli, e->runs, e->n_runs, vlorpi_clock_seconds() - e->begin, err);
}

vlorp_status vlorpi_cli_eval_tasks(vlorpi_cli *cli, vlorp_err *err)
{
    evaluation e = {.cli = cli};
    if (vlorpi_options_has(cli->options, "max_new_tokens")) {
        e.max_new_tokens = vlorpi_options_int(cli->options, "max_new_tokens");
    }
    vlorp_status status = evaluate(&e, err);
    vlorpi_task_log_close(&e.log);
    vlorpi_engine_close(&e.engine);
    vlorpi_arena_deinit(&e.arena, cli->mem);
    vlorpi_loaded_model_close(&e.loaded);
    for (int i = 0; i < e.n_runs; i++) {
        vlorpi_task_run_close(&e.runs[i]);
    }
    return status;
}
