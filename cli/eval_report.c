/* eval_report.c - what vlorp eval says of tasks: their prompts, and how many answers were right. */
#include <string.h>

#include "cli/eval_tasks.h"

static void print_tally(const char *name, const vlorpi_tally *tally)
{
    vlorpi_interval interval = vlorpi_tally_interval(tally);
    (void)printf("%-38s %9lld %9.2f %9.2f .. %5.2f\n", name, (long long)tally->n, 100 * vlorpi_tally_accuracy(tally),
                 100 * interval.low, 100 * interval.high);
}

static json_t *tally_json(const vlorpi_tally *tally)
{
    vlorpi_interval interval = vlorpi_tally_interval(tally);
    return json_pack("{s:I,s:I,s:I,s:f,s:[f,f]}", "questions", (json_int_t)tally->n, "correct",
                     (json_int_t)tally->n_correct, "near_misses", (json_int_t)tally->n_near, "accuracy",
                     vlorpi_tally_accuracy(tally), "interval_95", interval.low, interval.high);
}

/* What MMLU is reported by. */
typedef struct subject_sums {
    vlorpi_tally categories[VLORPI_MMLU_N_CATEGORIES];
    double mean; /* of the subjects' accuracies */
} subject_sums;

static subject_sums sum_subjects(const vlorpi_task_run *run)
{
    subject_sums sums = {0};
    int n = vlorpi_question_set_n_groups(run->set);
    for (int g = 0; g < n; g++) {
        vlorpi_mmlu_category category = VLORPI_MMLU_OTHER;
        vlorp_err err;
        vlorp_status status = vlorpi_mmlu_category_of(&category, vlorpi_question_set_group(run->set, g), &err);
        (void)status; /* a subject that is none was refused when the task was opened */
        vlorpi_tally_add(&sums.categories[category], &run->groups[g]);
        sums.mean += vlorpi_tally_accuracy(&run->groups[g]) / n;
    }
    return sums;
}

static void print_subjects(const vlorpi_task_run *run)
{
    subject_sums sums = sum_subjects(run);
    for (int g = 0; g < vlorpi_question_set_n_groups(run->set); g++) {
        print_tally(vlorpi_question_set_group(run->set, g), &run->groups[g]);
    }
    for (int c = 0; c < VLORPI_MMLU_N_CATEGORIES; c++) {
        print_tally(vlorpi_mmlu_category_name((vlorpi_mmlu_category)c), &sums.categories[c]);
    }
    (void)printf("%-38s %9s %9.2f\n", "mean of the subjects", "", 100 * sums.mean);
}

static int add_subjects_json(json_t *object, const vlorpi_task_run *run)
{
    subject_sums sums = sum_subjects(run);
    json_t *categories = json_object();
    json_t *subjects = json_object();
    int failed = 0;
    for (int c = 0; c < VLORPI_MMLU_N_CATEGORIES; c++) {
        failed |= json_object_set_new(categories, vlorpi_mmlu_category_name((vlorpi_mmlu_category)c),
                                      tally_json(&sums.categories[c]));
    }
    for (int g = 0; g < vlorpi_question_set_n_groups(run->set); g++) {
        failed |= json_object_set_new(subjects, vlorpi_question_set_group(run->set, g), tally_json(&run->groups[g]));
    }
    failed |= json_object_set_new(object, "categories", categories);
    failed |= json_object_set_new(object, "subjects", subjects);
    return failed | json_object_set_new(object, "mean_of_subjects", json_real(sums.mean));
}

/* The mean accuracy of the tasks of a set; their number, 0 unless all of them are there. */
static int mean_of_set(const vlorpi_task_run *runs, int n_runs, const char *set, double *mean)
{
    int n_all = 0;
    int n = 0;
    *mean = 0;
    for (int i = 0; i < vlorpi_task_table_rows; i++) {
        n_all += vlorpi_task_table[i].set != NULL && strcmp(vlorpi_task_table[i].set, set) == 0;
    }
    for (int i = 0; i < n_runs; i++) {
        if (runs[i].task->set != NULL && strcmp(runs[i].task->set, set) == 0) {
            vlorpi_tally total = vlorpi_task_run_total(&runs[i]);
            *mean += vlorpi_tally_accuracy(&total) / n_all;
            n++;
        }
    }
    return n == n_all ? n : 0;
}

static json_t *report_json(const vlorpi_task_run *runs, int n_runs, double seconds)
{
    json_t *tasks = json_object();
    int failed = 0;
    for (int i = 0; i < n_runs; i++) {
        vlorpi_tally total = vlorpi_task_run_total(&runs[i]);
        json_t *task = tally_json(&total);
        failed |= json_object_set_new(task, "by", json_string(runs[i].by_generation ? "generation" : "likelihood"));
        failed |= json_object_set_new(task, "shots", json_integer(runs[i].n_shots));
        failed |= json_object_set_new(task, "cut", json_integer((json_int_t)runs[i].choices.n_cut));
        if (runs[i].task->has_subjects) {
            failed |= add_subjects_json(task, &runs[i]);
        }
        failed |= json_object_set_new(tasks, runs[i].task->name, task);
    }
    double mean;
    json_t *report = json_pack("{s:o,s:f}", "tasks", tasks, "seconds", seconds);
    if (mean_of_set(runs, n_runs, "commonsense", &mean) > 0) {
        failed |= json_object_set_new(report, "commonsense_average", json_real(mean));
    }
    if (failed != 0) {
        json_decref(report);
        return NULL;
    }
    return report;
}

vlorp_status vlorpi_cli_report_tasks(const vlorpi_cli *cli, const vlorpi_task_run *runs, int n_runs, double seconds,
                                     vlorp_err *err)
{
    if (vlorpi_options_bool(cli->options, "json")) {
        return vlorpi_output_json(report_json(runs, n_runs, seconds), err);
    }
    (void)printf("%-38s %9s %9s %18s\n", "task", "questions", "right, %", "95 % interval");
    for (int i = 0; i < n_runs; i++) {
        vlorpi_tally total = vlorpi_task_run_total(&runs[i]);
        if (runs[i].task->has_subjects) {
            print_subjects(&runs[i]);
        }
        print_tally(runs[i].task->name, &total);
        if (runs[i].by_generation && total.n_near > 0) {
            (void)printf("  and %lld near misses\n", (long long)total.n_near);
        }
    }
    double mean;
    int n = mean_of_set(runs, n_runs, "commonsense", &mean);
    if (n > 0) {
        (void)printf("%-38s %9s %9.2f\n", "average of commonsense", "", 100 * mean);
    }
    return VLORP_OK;
}

/* The exact texts: {"task", "template", "version", "prompt", "options", "answer"}. */
static vlorp_status prompt_json(json_t **out, vlorpi_rendered *rendered, const vlorpi_task_run *run, vlorp_err *err)
{
    vlorpi_question question;
    vlorpi_question_set_get(run->set, 0, &question);
    VLORP_TRY(vlorpi_question_render(rendered, &question, -1, err));
    json_t *prompt = json_stringn(rendered->bytes, rendered->n_bytes);
    json_t *options = json_array();
    vlorp_status status = VLORP_OK;
    for (int k = 0; k < question.n_options && status == VLORP_OK; k++) {
        status = vlorpi_question_render(rendered, &question, k, err);
        size_t begin = status == VLORP_OK ? (size_t)rendered->spans[0].begin : rendered->n_bytes;
        (void)json_array_append_new(options, json_stringn(rendered->bytes + begin, rendered->n_bytes - begin));
    }
    vlorpi_bytes reference = vlorpi_question_reference(&question);
    *out = json_pack("{s:s,s:s,s:i,s:o,s:o,s:o}", "task", run->task->name, "template", question.row->name, "version",
                     question.row->version, "prompt", prompt, "options", options, "answer",
                     question.n_options > 0 ? json_integer(question.answer)
                                            : json_stringn(reference.text, reference.n_bytes));
    return status;
}

static void print_prompt(const json_t *shown)
{
    (void)printf("--- %s, template %s version %d ---\n", json_string_value(json_object_get(shown, "task")),
                 json_string_value(json_object_get(shown, "template")),
                 (int)json_integer_value(json_object_get(shown, "version")));
    const json_t *prompt = json_object_get(shown, "prompt");
    vlorpi_output_text(stdout, json_string_value(prompt), json_string_length(prompt));
    (void)printf("\n--- answers, each directly behind the prompt ---\n");
    const json_t *answer = json_object_get(shown, "answer");
    size_t k;
    json_t *option;
    json_array_foreach(json_object_get(shown, "options"), k, option)
    {
        (void)printf("%s \"", (json_int_t)k == json_integer_value(answer) ? "*" : " ");
        vlorpi_output_text(stdout, json_string_value(option), json_string_length(option));
        (void)printf("\"\n");
    }
    if (json_is_string(answer)) {
        vlorpi_output_text(stdout, json_string_value(answer), json_string_length(answer));
        (void)printf("\n");
    }
}

vlorp_status vlorpi_cli_show_prompts(const vlorpi_cli *cli, const vlorpi_task_run *runs, int n_runs, vlorp_err *err)
{
    vlorpi_rendered rendered = {.mem = cli->mem};
    vlorp_status status = VLORP_OK;
    for (int i = 0; i < n_runs && status == VLORP_OK; i++) {
        json_t *shown = NULL;
        status = prompt_json(&shown, &rendered, &runs[i], err);
        if (status == VLORP_OK && vlorpi_options_bool(cli->options, "json")) {
            status = vlorpi_output_json(json_incref(shown), err);
        } else if (status == VLORP_OK) {
            print_prompt(shown);
        }
        json_decref(shown);
    }
    vlorpi_rendered_deinit(&rendered);
    return status;
}
