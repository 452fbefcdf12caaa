#include "train/job.h"

#include <inttypes.h>
#include <stdio.h>

#include "train/fit.h"
#include "train/job_model.h"
#include "train/job_sizes.h"
#include "train/optimizers.h"

static vlorp_status open_tokenizer(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_gguf *gguf = vlorpi_source_gguf(job->source);
    const char *path = vlorpi_source_path(job->source);
    if (gguf != NULL) {
        return vlorpi_tokenizer_from_gguf(&job->tokenizer, job->mem, gguf, path, err);
    }
    if (vlorpi_source_kind_of(job->source) == VLORPI_SOURCE_CONFIG && job->settings.dataset == NULL) {
        return VLORP_OK; /* sizes are all that is asked of it; with data its tokenizer lies beside it */
    }
    return vlorpi_tokenizer_open(&job->tokenizer, job->mem, path, err);
}

static vlorp_status open_data(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    if (s->dataset == NULL) {
        return VLORP_OK;
    }
    vlorpi_dataset_config config = {
        .what = s->dataset,
        .data_dir = s->data_dir,
        .max_length = job->sizes.max_length,
        .train_on_prompts = s->train_on_prompts,
    };
    VLORP_TRY(vlorpi_dataset_open(&job->data, &job->data_report, job->mem, job->tokenizer, &config, err));
    if (s->eval_data != NULL) {
        config.what = s->eval_data;
        return vlorpi_dataset_open(&job->held, &job->held_report, job->mem, job->tokenizer, &config, err);
    }
    if (s->eval_every > 0) {
        int64_t n = vlorpi_dataset_n_examples(job->data);
        int64_t n_held = n / 50 < 1 ? 1 : n / 50 > 256 ? 256 : n / 50;
        if (n_held >= n) {
            VLORP_FAIL(err, VLORP_E_ARG,
                       "%s: %" PRId64 " training examples are too few to hold some out; give --eval_data", s->dataset, n);
        }
        return vlorpi_dataset_hold_out(job->data, &job->held, n_held, s->seed, err);
    }
    return VLORP_OK;
}

static vlorp_status open_tasks(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    if (s->eval_tasks == 0) {
        return VLORP_OK;
    }
    if (job->tokenizer == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "--eval_task: %s has no tokenizer", s->model);
    }
    vlorpi_task_eval_settings how = {.tasks = s->eval_tasks,
                                     .limit = s->eval_limit,
                                     .data_dir = s->data_dir,
                                     .max_tokens = job->model_config.max_positions};
    return vlorpi_task_eval_open(&job->tasks, job->mem, job->tokenizer, &how, err);
}

static vlorp_rule rule_of(const vlorpi_train_settings *s, vlorpi_role role)
{
    const vlorpi_optimizer_row *row = vlorpi_optimizer_find(s->optimizer);
    if (row->leaves_embeddings && role == VLORPI_ROLE_EMBED) {
        return VLORP_RULE_ADAMW;
    }
    bool target = (s->targets >> role & 1u) != 0;
    return target || !row->projects ? row->rule : VLORP_RULE_ADAMW;
}

static vlorp_status add_parameter(vlorpi_job *job, const vlorpi_param *param, vlorp_err *err)
{
    int id = 0;
    vlorp_rule rule = rule_of(&job->settings, param->role);
    bool is_vector = param->n_dims == 1;
    if (is_vector && rule == VLORP_RULE_ADAMW) {
        vlorp_vector vector = vlorp_vector_default();
        vector.name = param->name;
        vector.n = param->n;
        vector.dtype = param->dtype;
        return vlorp_optimizer_add_vector(job->optimizer, &vector, &id, err);
    }
    /* The library's vectors are adamw: under other rules one is a matrix of one row. */
    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = param->name;
    matrix.n = is_vector ? 1 : param->n;
    matrix.m = is_vector ? param->n : param->m;
    matrix.dtype = param->dtype;
    matrix.weight_decay = is_vector ? 0 : (float)job->settings.weight_decay;
    matrix.rule = rule;
    matrix.keeps_gradient = rule == VLORP_RULE_LOMO && param->tied;
    if (vlorpi_optimizer_projects(job->settings.optimizer) && rule != VLORP_RULE_ADAMW) {
        matrix.projection = job->sizes.projection;
    }
    return vlorp_optimizer_add_matrix(job->optimizer, &matrix, &id, err);
}

static vlorp_status make_optimizer(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    const vlorpi_optimizer_row *row = vlorpi_optimizer_find(s->optimizer);
    if (s->adaptive_budget && !vlorpi_optimizer_projects(s->optimizer)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--adaptive_budget: %s projects nothing, so there is no budget to divide",
                   vlorpi_optimizer_text(s->optimizer));
    }
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    vlorpi_job_size_method(job);
    config.seed = s->seed;
    config.beta1 = (float)s->beta1;
    config.beta2 = (float)s->beta2;
    if (s->eps >= 0) {
        config.eps = (float)s->eps;
        config.adamw_eps = (float)s->eps;
    } else if (row->adamw_eps > 0) {
        config.adamw_eps = (float)row->adamw_eps;
    }
    config.scale = (float)job->sizes.scale;
    config.update_gap = job->sizes.update_gap;
    config.adaptive_budget = s->adaptive_budget;
    config.momentum = s->momentum;
    config.rounding = s->rounding;
    config.state_dtype = s->state_dtype;
    config.max_tokens = job->sizes.micro_tokens;
    config.exec = job->exec;
    config.allocator = vlorpi_mem_allocator(job->mem);
    config.cpu_level = job->kernels->name;
    job->tables = vlorpi_mem_now(job->mem);
    VLORP_TRY(vlorp_optimizer_create(&job->optimizer, &config, err));
    const vlorpi_params *params = vlorpi_model_trained(job->model);
    for (int i = 0; i < params->n; i++) {
        VLORP_TRY(add_parameter(job, &params->items[i], err));
    }
    return VLORP_OK;
}

/* Checkpointing left to us is switched on when the plan does not fit without it. */
static vlorp_status make_plan(vlorpi_job *job, vlorp_err *err)
{
    vlorpi_tristate asked = job->settings.activation_checkpointing;
    job->sizes.activation_checkpointing = asked == VLORPI_YES;
    VLORP_TRY(vlorpi_plan_make(job, &job->plan, err));
    if (asked == VLORPI_CHOOSE && job->plan.usage.total_bytes > vlorpi_fit_limit(job)) {
        job->sizes.activation_checkpointing = true;
        VLORP_TRY(vlorpi_plan_make(job, &job->plan, err));
    }
    return VLORP_OK;
}

static vlorp_status remake_optimizer(vlorpi_job *job, vlorpi_optimizer_name name, unsigned targets, vlorp_err *err)
{
    vlorp_optimizer_free(job->optimizer);
    job->optimizer = NULL;
    bool resized = vlorpi_optimizer_at_once(job->settings.optimizer) != vlorpi_optimizer_at_once(name);
    job->settings.optimizer = name;
    job->settings.targets = targets;
    if (resized) {
        VLORP_TRY(vlorpi_job_size_batches(job, err));
    }
    if ((name == VLORPI_OPTIMIZER_LORA) != (vlorpi_model_adapters(job->model)->n > 0)) {
        VLORP_TRY(vlorpi_job_make_model(job, err));
    }
    VLORP_TRY(make_optimizer(job, err));
    return make_plan(job, err);
}

/* What --target all would take, as a hint for those who did not ask for it. */
static vlorp_status plan_all_targets(vlorpi_job *job, vlorp_err *err)
{
    unsigned asked = job->settings.targets;
    unsigned all = asked | 1u << VLORPI_ROLE_EMBED | 1u << VLORPI_ROLE_HEAD;
    job->all_targets_bytes = 0;
    if (!vlorpi_optimizer_projects(job->settings.optimizer) || asked == all) {
        return VLORP_OK;
    }
    VLORP_TRY(remake_optimizer(job, job->settings.optimizer, all, err));
    job->all_targets_bytes = job->plan.usage.total_bytes;
    return remake_optimizer(job, job->settings.optimizer, asked, err);
}

vlorp_status vlorpi_job_open(vlorpi_job *job, const vlorpi_train_settings *settings, bool need_weights,
                             vlorpi_mem *mem, const vlorpi_log *log, const vlorpi_kernels *kernels,
                             const vlorp_exec *exec, vlorp_err *err)
{
    *job = (vlorpi_job){.settings = *settings, .mem = mem, .log = log, .kernels = kernels, .exec = *exec};
    vlorpi_mem_set_phase(mem, "open");
    VLORP_TRY(vlorpi_job_open_model(job, need_weights, err));
    VLORP_TRY(open_tokenizer(job, err));
    VLORP_TRY(vlorpi_job_size_examples(job, err));
    VLORP_TRY(open_data(job, err));
    VLORP_TRY(open_tasks(job, err));
    VLORP_TRY(vlorpi_job_size_batches(job, err));
    VLORP_TRY(vlorpi_job_make_model(job, err));
    VLORP_TRY(make_optimizer(job, err));
    VLORP_TRY(make_plan(job, err));
    return plan_all_targets(job, err);
}

vlorp_status vlorpi_job_replan(vlorpi_job *job, const vlorpi_train_settings *settings, vlorp_err *err)
{
    vlorp_optimizer_free(job->optimizer);
    job->optimizer = NULL;
    job->settings = *settings;
    VLORP_TRY(vlorpi_job_size_examples(job, err));
    VLORP_TRY(vlorpi_job_size_batches(job, err));
    VLORP_TRY(vlorpi_job_make_model(job, err));
    VLORP_TRY(make_optimizer(job, err));
    return make_plan(job, err);
}

vlorp_status vlorpi_job_set_optimizer(vlorpi_job *job, vlorpi_optimizer_name name, vlorp_err *err)
{
    VLORP_TRY(remake_optimizer(job, name, job->settings.targets, err));
    return plan_all_targets(job, err);
}

static vlorp_status allocate_arenas(vlorpi_job *job, vlorp_err *err)
{
    for (int c = 0; c < VLORPI_MEM_N_CLASSES; c++) {
        if (job->plan.arena_bytes[c] > 0) {
            VLORP_TRY(vlorpi_arena_init(&job->arenas[c], job->mem, (vlorpi_mem_class)c, job->plan.arena_bytes[c], err));
        }
    }
    vlorpi_plan_layout(job, job->arenas);
    return VLORP_OK;
}

vlorp_status vlorpi_job_allocate(vlorpi_job *job, vlorp_err *err)
{
    vlorpi_mem_set_phase(job->mem, "load");
    VLORP_TRY(allocate_arenas(job, err));
    VLORP_TRY(vlorpi_job_fill_model(job, err));
    const vlorpi_params *params = vlorpi_model_trained(job->model);
    for (int i = 0; i < params->n; i++) {
        VLORP_TRY(vlorp_optimizer_set_weight(job->optimizer, i, params->items[i].data, err));
    }
    return vlorp_optimizer_commit(job->optimizer, err);
}

void vlorpi_job_data_sum(char text[VLORPI_DATA_SUM_BYTES], const vlorpi_job *job)
{
    (void)snprintf(text, VLORPI_DATA_SUM_BYTES, "%016" PRIx64, vlorpi_dataset_checksum(job->data));
}

void vlorpi_job_close(vlorpi_job *job)
{
    vlorp_optimizer_free(job->optimizer);
    vlorpi_model_free(job->model);
    vlorpi_task_eval_close(&job->tasks);
    vlorpi_dataset_free(job->held);
    vlorpi_dataset_free(job->data);
    vlorpi_tokenizer_free(job->tokenizer);
    vlorpi_source_close(job->source);
    vlorpi_peft_close(job->adapter);
    for (int c = 0; c < VLORPI_MEM_N_CLASSES && job->mem != NULL; c++) {
        vlorpi_arena_deinit(&job->arenas[c], job->mem);
    }
    *job = (vlorpi_job){0};
}
