#include "eval/task_run.h"

#include <string.h>

static vlorp_status check_subjects(const vlorpi_task_run *run, vlorp_err *err)
{
    for (int g = 0; run->task->has_subjects && g < vlorpi_question_set_n_groups(run->set); g++) {
        vlorpi_mmlu_category category;
        VLORP_TRY(vlorpi_mmlu_category_of(&category, vlorpi_question_set_group(run->set, g), err));
    }
    return VLORP_OK;
}

static vlorp_status open_set(vlorpi_task_run *run, const vlorpi_task_settings *settings, vlorp_err *err)
{
    const vlorpi_task *task = run->task;
    if (settings->n_shots > 0 && task->shots_place == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "--shots: %s has no solved examples; its published prompts are zero-shot",
                   task->name);
    }
    vlorpi_question_files files = {.data_dir = settings->data_dir,
                                   .place = task->place,
                                   .shots_place = task->shots_place,
                                   .form = task->form,
                                   .kind = task->kind,
                                   .n_shots = settings->n_shots,
                                   .limit = settings->limit};
    VLORP_TRY(vlorpi_question_set_open(&run->set, run->mem, &files, err));
    run->n = vlorpi_question_set_n(run->set);
    size_t n_groups = (size_t)vlorpi_question_set_n_groups(run->set);
    run->groups = vlorpi_mem_calloc(run->mem, VLORPI_MEM_DATA, n_groups, sizeof run->groups[0]);
    if (run->groups == NULL) {
        return vlorpi_mem_fail(run->mem, VLORPI_MEM_DATA, n_groups * sizeof run->groups[0], err);
    }
    return check_subjects(run, err);
}

vlorp_status vlorpi_task_run_open(vlorpi_task_run *run, vlorpi_mem *mem, const vlorpi_task *task,
                                  const vlorpi_task_settings *settings, vlorp_err *err)
{
    *run = (vlorpi_task_run){.task = task, .mem = mem, .n_shots = settings->n_shots, .choices = {.mem = mem},
                             .by_generation = settings->by_generation || task->kind == VLORPI_QUESTION_FREE};
    vlorp_status status = open_set(run, settings, err);
    if (status != VLORP_OK) {
        vlorpi_task_run_close(run);
    }
    return status;
}

void vlorpi_task_run_close(vlorpi_task_run *run)
{
    if (run->mem != NULL) {
        vlorpi_choices_deinit(&run->choices);
        vlorpi_mem_free(run->mem, run->groups);
        vlorpi_question_set_free(run->set);
    }
    memset(run, 0, sizeof *run);
}

vlorp_status vlorpi_task_run_encode(vlorpi_task_run *run, const vlorpi_tokenizer *tokenizer, int64_t max_tokens,
                                    vlorp_err *err)
{
    vlorp_status status = vlorpi_choices_add(&run->choices, tokenizer, run->set, 0, run->n, max_tokens, err);
    if (status == VLORP_OK) {
        status = vlorpi_choices_trim(&run->choices, err);
    }
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s", run->task->name);
    }
    return status;
}

vlorp_status vlorpi_task_run_check_stop(const vlorpi_task_run *run, vlorp_err *err)
{
    if (run->stop != NULL && *run->stop != 0) {
        VLORP_FAIL(err, VLORP_E_INTERRUPTED, "interrupted while evaluating");
    }
    return VLORP_OK;
}

typedef struct asking {
    const vlorpi_task_run *run;
    vlorpi_task_answer_fn *fn;
    void *ctx;
} asking;

static vlorp_status hand_on(void *ctx, const vlorpi_likelihoods *result, vlorp_err *err)
{
    const asking *a = ctx;
    vlorpi_question question;
    VLORP_TRY(vlorpi_task_run_check_stop(a->run, err));
    vlorpi_question_set_get(a->run->set, result->question, &question);
    vlorpi_task_answer answer = {.question = result->question,
                                 .choice = result->choice,
                                 .is_correct = result->choice == question.answer,
                                 .is_cut = a->run->choices.items[result->question].is_cut,
                                 .n_options = result->n_options};
    memcpy(answer.log_likelihood, result->log_likelihood, sizeof answer.log_likelihood);
    return a->fn(a->ctx, a->run, &answer, err);
}

vlorp_status vlorpi_task_run_likelihood(const vlorpi_task_run *run, vlorpi_likelihood *likelihood,
                                        vlorpi_engine *engine, vlorpi_task_answer_fn *fn, void *ctx, vlorp_err *err)
{
    asking a = {.run = run, .fn = fn, .ctx = ctx};
    vlorp_status status =
        vlorpi_likelihood_run(likelihood, engine, &run->choices, run->n_done, run->n, hand_on, &a, err);
    if (status == VLORP_E_NUMERIC) {
        vlorpi_err_prefix(err, "%s", run->task->name);
    }
    return status;
}

void vlorpi_task_run_count(vlorpi_task_run *run, int64_t question, bool is_correct, bool is_near)
{
    vlorpi_question q;
    vlorpi_question_set_get(run->set, question, &q);
    vlorpi_tally one = {.n = 1, .n_correct = is_correct, .n_near = is_near};
    vlorpi_tally_add(&run->groups[q.group], &one);
    run->n_done++;
}

void vlorpi_task_run_reset(vlorpi_task_run *run)
{
    memset(run->groups, 0, (size_t)vlorpi_question_set_n_groups(run->set) * sizeof run->groups[0]);
    run->n_done = 0;
}

vlorpi_tally vlorpi_task_run_total(const vlorpi_task_run *run)
{
    vlorpi_tally total = {0};
    for (int g = 0; g < vlorpi_question_set_n_groups(run->set); g++) {
        vlorpi_tally_add(&total, &run->groups[g]);
    }
    return total;
}

int64_t vlorpi_task_run_cost(const vlorpi_task_run *run, int64_t begin, int64_t end)
{
    enum { GENERATED_COST = 256 };
    int64_t n_tokens = 0;
    for (int64_t i = begin; i < end; i++) {
        n_tokens += run->by_generation ? GENERATED_COST : run->choices.items[i].n_new;
    }
    return n_tokens;
}
