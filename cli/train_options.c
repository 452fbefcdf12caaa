#include "cli/train_options.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/eval_tasks.h"

static int choice(const char *text, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    return 0;
}

#define CHOICE(text, ...)                                 \
    choice((text), (const char *const[]){__VA_ARGS__},    \
           (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static int64_t int_or_auto(const vlorpi_options *o, const char *name)
{
    return vlorpi_options_has(o, name) ? vlorpi_options_int(o, name) : VLORPI_AUTO;
}

static unsigned targets_of(const vlorpi_options *o)
{
    static const struct target {
        const char *name;
        vlorpi_role role;
    } rows[] = {{"attn", VLORPI_ROLE_ATTN},
                {"mlp", VLORPI_ROLE_MLP},
                {"embed", VLORPI_ROLE_EMBED},
                {"head", VLORPI_ROLE_HEAD}};
    unsigned targets = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (vlorpi_options_lists(o, "target", rows[i].name) || vlorpi_options_lists(o, "target", "all")) {
            targets |= 1u << rows[i].role;
        }
    }
    return targets;
}

/* `all`, which only plan takes, begins with the method's own. */
static vlorpi_optimizer_name optimizer_of(const char *text)
{
    for (int name = 0; name < VLORPI_N_OPTIMIZERS; name++) {
        if (strcmp(text, vlorpi_optimizer_text((vlorpi_optimizer_name)name)) == 0) {
            return (vlorpi_optimizer_name)name;
        }
    }
    return VLORPI_OPTIMIZER_PROJFACTOR;
}

static void read_method(vlorpi_train_settings *s, const vlorpi_options *o)
{
    double factor = vlorpi_options_double(o, "factor");
    bool coarse = factor > 0 && factor < 1; /* the table takes 1/2^k alone */
    s->optimizer = optimizer_of(vlorpi_options_text(o, "optimizer"));
    s->projection.factor = coarse ? 1 : (int64_t)factor;
    s->projection.divisor = coarse ? llround(1 / factor) : 0;
    s->projection.rank = vlorpi_options_int(o, "rank");
    s->projection.budget = vlorpi_options_int(o, "budget");
    s->projection.strict = vlorpi_options_bool(o, "strict_factor");
    s->projection.side = (vlorp_side)CHOICE(vlorpi_options_text(o, "proj_side"), "auto", "left", "right");
    if (vlorpi_options_has(o, "proj_type")) {
        s->distribution = CHOICE(vlorpi_options_text(o, "proj_type"), "normal", "rademacher", "svd");
    }
    s->targets = targets_of(o);
    s->adaptive_budget = vlorpi_options_bool(o, "adaptive_budget");
    s->update_proj_gap = int_or_auto(o, "update_proj_gap");
    s->momentum = (vlorp_momentum)CHOICE(vlorpi_options_text(o, "momentum"), "reset", "transport", "keep");
    s->scale = vlorpi_options_double(o, "scale");
    s->adapter = vlorpi_options_text(o, "adapter");
    s->lora_alpha = vlorpi_options_double(o, "lora_alpha");
    s->lora_dropout = vlorpi_options_has(o, "lora_dropout") ? vlorpi_options_double(o, "lora_dropout") : -1;
    s->lora_merge = strcmp(vlorpi_options_text(o, "lora_save"), "merged") == 0;
    s->beta1 = vlorpi_options_double(o, "beta1");
    s->beta2 = vlorpi_options_double(o, "beta2");
    s->eps = vlorpi_options_has(o, "eps") ? vlorpi_options_double(o, "eps") : -1;
    s->rounding = (vlorp_rounding)CHOICE(vlorpi_options_text(o, "rounding"), "stochastic", "nearest");
    s->state_dtype = (vlorp_dtype)CHOICE(vlorpi_options_text(o, "state_dtype"), "float32", "bfloat16");
}

static void read_schedule(vlorpi_train_settings *s, const vlorpi_options *o)
{
    s->lr = vlorpi_options_double(o, "lr");
    s->num_training_steps = int_or_auto(o, "num_training_steps");
    s->epochs = vlorpi_options_has(o, "epochs") ? vlorpi_options_double(o, "epochs") : 1;
    s->max_train_tokens = vlorpi_options_int(o, "max_train_tokens");
    s->batch_size = int_or_auto(o, "batch_size");
    s->micro_tokens = int_or_auto(o, "micro_tokens");
    s->total_batch_size = vlorpi_options_int(o, "total_batch_size");
    s->eval_every = vlorpi_options_int(o, "eval_every");
    s->eval_tasks = vlorpi_cli_tasks(o, "eval_task");
    s->eval_limit = vlorpi_options_int(o, "eval_limit");
    s->warmup = vlorpi_options_double(o, "warmup_steps");
    s->scheduler = (vlorp_schedule_kind)CHOICE(vlorpi_options_text(o, "scheduler"), "constant", "linear", "cosine",
                                               "cosine_restarts");
    s->num_cycles = vlorpi_options_int(o, "num_cycles");
    s->min_lr_ratio = vlorpi_options_double(o, "min_lr_ratio");
    s->weight_decay = vlorpi_options_double(o, "weight_decay");
    s->grad_clipping = vlorpi_options_double(o, "grad_clipping");
}

vlorp_status vlorpi_train_options(vlorpi_train_settings *s, const vlorpi_cli *cli, vlorp_err *err)
{
    const vlorpi_options *o = cli->options;
    *s = vlorpi_train_settings_default();
    s->continue_from = vlorpi_options_text(o, "continue_from");
    s->model = vlorpi_options_text(o, "model");
    s->model_shape = o->command == VLORPI_CMD_PLAN ? vlorpi_options_model_shape(o) : NULL;
    if (s->model_shape != NULL) {
        vlorpi_log_info(&cli->log, "%s is not on this machine: planned from its published sizes", s->model);
    } else if (s->continue_from == NULL || o->command != VLORPI_CMD_TRAIN) { /* else the checkpoint is the model */
        VLORP_TRY(vlorpi_options_model(o, &s->model, err));
    }
    read_method(s, o);
    read_schedule(s, o);
    s->dataset = vlorpi_options_text(o, "dataset");
    s->data_dir = vlorpi_options_text(o, "data_dir");
    s->eval_data = vlorpi_options_text(o, "eval_data");
    s->max_length = int_or_auto(o, "max_length");
    s->train_on_prompts = vlorpi_options_bool(o, "train_on_prompts");
    s->packing = vlorpi_options_bool(o, "packing");
    s->init_random = strcmp(vlorpi_options_text(o, "init"), "random") == 0;
    if (vlorpi_options_has(o, "dtype")) {
        s->dtype = CHOICE(vlorpi_options_text(o, "dtype"), "float32", "bfloat16", "float16");
    }
    if (vlorpi_options_has(o, "activation_checkpointing")) {
        s->activation_checkpointing = vlorpi_options_bool(o, "activation_checkpointing") ? VLORPI_YES : VLORPI_NO;
    }
    s->memory_limit_bytes = vlorpi_options_bytes(o, "memory_limit");
    s->force = vlorpi_options_bool(o, "force");
    s->seed = (uint64_t)vlorpi_options_int(o, "seed");
    s->n_threads = cli->n_threads;
    s->save_dir = vlorpi_options_text(o, "save_dir");
    s->overwrite = vlorpi_options_bool(o, "overwrite");
    s->save_every = vlorpi_options_int(o, "save_every");
    s->save_minutes = vlorpi_options_has(o, "save_minutes") ? vlorpi_options_double(o, "save_minutes")
                      : s->save_every > 0                   ? 0
                                                            : s->save_minutes;
    s->keep = vlorpi_options_int(o, "keep");
    s->keep_best = vlorpi_options_bool(o, "keep_best");
    return VLORP_OK;
}

void vlorpi_print_memory(FILE *out, const char *const *titles, const vlorpi_mem_usage *const *usages, int n_columns,
                         size_t process_bytes)
{
    char text[32];
    (void)fprintf(out, "%-16s", "memory");
    for (int i = 0; i < n_columns; i++) {
        (void)fprintf(out, "  %12s", titles[i]);
    }
    if (process_bytes > 0) {
        (void)fprintf(out, "  %12s", "process");
    }
    for (int row = 0; row < VLORPI_ROW_N; row++) {
        (void)fprintf(out, "\n%-16s", vlorpi_mem_row_name((vlorpi_mem_row)row));
        for (int i = 0; i < n_columns; i++) {
            size_t n_bytes = vlorpi_mem_row_bytes(usages[i], (vlorpi_mem_row)row);
            (void)fprintf(out, "  %12s", vlorpi_output_bytes(text, sizeof text, n_bytes));
        }
    }
    (void)fprintf(out, "\n%-16s", "total");
    for (int i = 0; i < n_columns; i++) {
        (void)fprintf(out, "  %12s", vlorpi_output_bytes(text, sizeof text, usages[i]->total_bytes));
    }
    if (process_bytes > 0) {
        (void)fprintf(out, "  %12s", vlorpi_output_bytes(text, sizeof text, process_bytes));
    }
    (void)fputc('\n', out);
}

void vlorpi_print_target_hint(FILE *out, const vlorpi_job *job)
{
    char text[32];
    if (job->all_targets_bytes > 0 && job->all_targets_bytes < job->plan.usage.total_bytes) {
        (void)fprintf(out, "hint: --target all would take %s\n",
                      vlorpi_output_bytes(text, sizeof text, job->all_targets_bytes));
    }
}

static bool same_row(const vlorp_parameter_info *a, const vlorp_parameter_info *b)
{
    return a->n == b->n && a->m == b->m && a->projection.c == b->projection.c && a->projection.f == b->projection.f &&
           a->projection.side == b->projection.side;
}

static int64_t n_weights(const vlorpi_params *params)
{
    int64_t n = 0;
    for (int i = 0; i < params->n; i++) {
        n += vlorpi_param_n_elements(&params->items[i]);
    }
    return n;
}

static void print_adapters(FILE *out, const vlorpi_job *job)
{
    vlorpi_lora lora;
    if (!vlorpi_model_lora(job->model, &lora)) {
        return;
    }
    const vlorpi_params *adapters = vlorpi_model_adapters(job->model);
    (void)fprintf(out, "%3d adapters of rank %" PRId64 ", alpha %g, dropout %g: %" PRId64 " weights train, %" PRId64
                  " are frozen\n", adapters->n / 2, lora.rank, lora.alpha, lora.dropout, n_weights(adapters),
                  n_weights(vlorpi_model_params(job->model)));
}

void vlorpi_print_projections(FILE *out, const vlorpi_job *job)
{
    enum { MAX_ROWS = 32 };
    vlorp_parameter_info rows[MAX_ROWS];
    int counts[MAX_ROWS];
    int n_rows = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, id, &info, NULL) != VLORP_OK || info.is_vector ||
            info.projection.M == 0) {
            continue;
        }
        int row = 0;
        while (row < n_rows && !same_row(&rows[row], &info)) {
            row++;
        }
        if (row == n_rows && n_rows < MAX_ROWS) {
            rows[n_rows] = info;
            counts[n_rows++] = 0;
        }
        if (row < n_rows) {
            counts[row]++;
        }
    }
    for (int i = 0; i < n_rows; i++) {
        const vlorp_projection_used *p = &rows[i].projection;
        char c[32];
        (void)snprintf(c, sizeof c, p->f > 1 ? "1/%" PRId64 : "%" PRId64, p->f > 1 ? p->f : p->c);
        (void)fprintf(out, "%3d matrices %6" PRId64 " x %-6" PRId64 " %-5s c %-4s r %-3" PRId64 "%s\n", counts[i],
                      rows[i].n, rows[i].m, p->side == VLORP_SIDE_LEFT ? "left" : "right", c, p->r,
                      p->exact ? "  kept exact: the budget reaches its width"
                               : (p->adjusted ? "  adjusted to the width" : ""));
    }
    print_adapters(out, job);
}

void vlorpi_print_data(FILE *out, const vlorpi_job *job)
{
    const vlorpi_dataset_report *r = &job->data_report;
    (void)fprintf(out, "data: %s (%s): %" PRId64 " examples, %" PRId64 " tokens, %" PRId64 " of them to predict", r->form,
                  r->columns, r->n_examples, r->n_tokens, r->n_targets);
    if (r->n_truncated > 0) {
        (void)fprintf(out, "; %" PRId64 " cut at %" PRId64 " tokens", r->n_truncated, job->sizes.max_length);
    }
    if (r->n_without_target > 0) {
        (void)fprintf(out, "; %" PRId64 " dropped, nothing to predict", r->n_without_target);
    }
    if (r->n_not_utf8 > 0) {
        (void)fprintf(out, "; %" PRId64 " places are not UTF-8 and are read as U+FFFD", r->n_not_utf8);
    }
    if (job->held != NULL) {
        (void)fprintf(out, "; %" PRId64 " held out", vlorpi_dataset_n_examples(job->held));
    }
    (void)fputc('\n', out);
}

void vlorpi_print_run(FILE *out, const vlorpi_job *job, const char *folder)
{
    (void)fprintf(out,
                  "run: %" PRId64 " steps of %" PRId64 " examples, micro-batches of at most %" PRId64 " examples and %" PRId64
                  " tokens, %s, %d threads, folder %s\n",
                  job->sizes.n_steps, job->settings.total_batch_size, job->sizes.max_examples, job->sizes.micro_tokens,
                  job->sizes.activation_checkpointing ? "checkpointing" : "no checkpointing", job->exec.n_threads, folder);
}
