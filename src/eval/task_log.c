#include "eval/task_log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mapped_file.h"
#include "format/json.h"

/* Reading what is there. */
typedef struct replay {
    const vlorpi_task_log *log;
    vlorpi_task_run *runs;
    int n_runs;
    int run; /* the one whose lines are read */
} replay;

/* The text of value, of the account; NULL when out of memory. */
static char *dump(vlorpi_mem *mem, const json_t *value)
{
    enum { FLAGS = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) };
    size_t n = value != NULL ? json_dumpb(value, NULL, 0, FLAGS) : 0;
    char *text = n > 0 ? vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, n + 1) : NULL;
    if (text != NULL) {
        (void)json_dumpb(value, text, n, FLAGS);
        text[n] = '\0';
    }
    return text;
}

static vlorp_status check_settings(const vlorpi_task_log *log, const json_t *line, const json_t *settings,
                                   vlorp_err *err)
{
    const json_t *there = json_object_get(line, "settings");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)settings, key, value)
    {
        json_t *old = json_object_get(there, key);
        if (!json_equal(old, value)) {
            char *was = dump(log->mem, old);
            char *is = dump(log->mem, value);
            (void)vlorpi_err_set(err, VLORP_E_ARG,
                                 "%s: it is the log of another evaluation: %s is %s there and %s here", log->path,
                                 key, was != NULL ? was : "not", is != NULL ? is : "?");
            vlorpi_err_hint(err, "give the settings that it was begun with, or another --log");
            vlorpi_mem_free(log->mem, was);
            vlorpi_mem_free(log->mem, is);
            return VLORP_E_ARG;
        }
    }
    return VLORP_OK;
}

/* Counts one line. */
static vlorp_status count_line(replay *r, const json_t *line, vlorp_err *err)
{
    while (r->run < r->n_runs && r->runs[r->run].n_done == r->runs[r->run].n) {
        r->run++;
    }
    vlorpi_task_run *run = r->run < r->n_runs ? &r->runs[r->run] : NULL;
    const char *task = json_string_value(json_object_get(line, "task"));
    const json_t *item = json_object_get(line, "item");
    const json_t *correct = json_object_get(line, "correct");
    if (run == NULL || task == NULL || strcmp(task, run->task->name) != 0 || !json_is_integer(item) ||
        json_integer_value(item) != run->n_done || !json_is_boolean(correct)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "it does not follow the line before");
    }
    vlorpi_task_run_count(run, run->n_done, json_is_true(correct), json_is_true(json_object_get(line, "near_miss")));
    return VLORP_OK;
}

static vlorp_status read_line(replay *r, const char *bytes, size_t n_bytes, const json_t *settings, bool is_first,
                              vlorp_err *err)
{
    json_t *line;
    VLORP_TRY(vlorpi_json_parse(&line, bytes, n_bytes, "record", err));
    vlorp_status status = is_first ? check_settings(r->log, line, settings, err) : count_line(r, line, err);
    json_decref(line);
    return status;
}

/* Reads all whole lines and leaves in *n_used how many bytes they are. */
static vlorp_status read_lines(replay *r, const vlorpi_mapped_file *file, const json_t *settings, size_t *n_used,
                               vlorp_err *err)
{
    const char *bytes = (const char *)file->bytes;
    int64_t n_lines = 0;
    *n_used = 0;
    for (const char *end; *n_used < file->n_bytes &&
         (end = memchr(bytes + *n_used, '\n', file->n_bytes - *n_used)) != NULL; n_lines++) {
        size_t n = (size_t)(end - bytes) - *n_used;
        vlorp_status status = read_line(r, bytes + *n_used, n, settings, n_lines == 0, err);
        if (status != VLORP_OK) {
            if (status == VLORP_E_FORMAT) {
                vlorpi_err_prefix(err, "%s: line %lld", r->log->path, (long long)n_lines + 1);
            }
            return status;
        }
        *n_used += n + 1;
    }
    return VLORP_OK;
}

static vlorp_status write_text(const vlorpi_task_log *log, const char *text, vlorp_err *err)
{
    if (fputs(text, log->file) < 0 || fputc('\n', log->file) < 0 || fflush(log->file) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", log->path, strerror(errno));
    }
    return VLORP_OK;
}

static vlorp_status write_settings(const vlorpi_task_log *log, const json_t *settings, vlorp_err *err)
{
    json_t *line = json_pack("{s:O}", "settings", settings);
    char *text = dump(log->mem, line);
    json_decref(line);
    if (text == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "%s: no memory for the settings", log->path);
    }
    vlorp_status status = write_text(log, text, err);
    vlorpi_mem_free(log->mem, text);
    return status;
}

static vlorp_status open_file(vlorpi_task_log *log, const json_t *settings, replay *r, vlorp_err *err)
{
    log->file = fopen(log->path, "a");
    if (log->file == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", log->path, strerror(errno));
    }
    vlorpi_mapped_file file;
    size_t n_used = 0;
    VLORP_TRY(vlorpi_mapped_file_open(&file, log->path, err));
    vlorp_status status = read_lines(r, &file, settings, &n_used, err);
    bool unfinished = n_used < file.n_bytes;
    vlorpi_mapped_file_close(&file);
    VLORP_TRY(status);
    if (unfinished && ftruncate(fileno(log->file), (off_t)n_used) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: the unfinished last line cannot be taken away: %s", log->path,
                   strerror(errno));
    }
    return n_used > 0 ? VLORP_OK : write_settings(log, settings, err);
}

vlorp_status vlorpi_task_log_open(vlorpi_task_log *log, vlorpi_mem *mem, const char *path, const json_t *settings,
                                  vlorpi_task_run *runs, int n_runs, vlorp_err *err)
{
    *log = (vlorpi_task_log){.path = path, .mem = mem, .prompt = {.mem = mem}, .option = {.mem = mem}};
    replay r = {.log = log, .runs = runs, .n_runs = n_runs};
    vlorp_status status = open_file(log, settings, &r, err);
    if (status != VLORP_OK) {
        vlorpi_task_log_close(log);
    }
    return status;
}

static void forget_waiting(vlorpi_task_log *log)
{
    for (int64_t i = 0; i < log->n_waiting; i++) {
        vlorpi_mem_free(log->mem, log->waiting[i]);
    }
    vlorpi_mem_free(log->mem, log->waiting);
    log->waiting = NULL;
    log->n_waiting = 0;
}

vlorp_status vlorpi_task_log_begin(vlorpi_task_log *log, const vlorpi_task_run *run, vlorp_err *err)
{
    if (log->file == NULL) {
        return VLORP_OK;
    }
    forget_waiting(log);
    log->next = run->n_done;
    log->waiting = vlorpi_mem_calloc(log->mem, VLORPI_MEM_DATA, (size_t)run->n, sizeof log->waiting[0]);
    if (log->waiting == NULL) {
        return vlorpi_mem_fail(log->mem, VLORPI_MEM_DATA, (size_t)run->n * sizeof log->waiting[0], err);
    }
    log->n_waiting = run->n;
    return VLORP_OK;
}

/* Adds text to an object under a key; texts of models and files need not be UTF-8. */
static int set_text(json_t *line, const char *key, const char *text, size_t n_bytes)
{
    json_t *value = json_stringn(text, n_bytes);
    return json_object_set_new(line, key, value != NULL ? value : json_string(""));
}

static vlorp_status add_options(vlorpi_task_log *log, json_t *line, const vlorpi_question *question, vlorp_err *err)
{
    json_t *options = json_array();
    for (int k = 0; k < question->n_options; k++) {
        VLORP_TRY(vlorpi_question_render(&log->option, question, k, err));
        size_t begin = (size_t)log->option.spans[0].begin;
        (void)json_array_append_new(options, json_stringn(log->option.bytes + begin, log->option.n_bytes - begin));
    }
    (void)json_object_set_new(line, "options", options);
    return VLORP_OK;
}

static vlorp_status fill_line(vlorpi_task_log *log, json_t *line, const vlorpi_task_run *run,
                              const vlorpi_task_answer *answer, vlorp_err *err)
{
    vlorpi_question question;
    vlorpi_question_set_get(run->set, answer->question, &question);
    VLORP_TRY(vlorpi_question_render(&log->prompt, &question, -1, err));
    (void)json_object_set_new(line, "task", json_string(run->task->name));
    (void)json_object_set_new(line, "item", json_integer(answer->question));
    const char *group = vlorpi_question_set_group(run->set, question.group);
    if (group[0] != '\0') {
        (void)json_object_set_new(line, "subject", json_string(group));
    }
    (void)set_text(line, "prompt", log->prompt.bytes, log->prompt.n_bytes);
    if (question.n_options > 0) {
        VLORP_TRY(add_options(log, line, &question, err));
        (void)json_object_set_new(line, "answer", json_integer(question.answer));
        (void)json_object_set_new(line, "choice", json_integer(answer->choice));
    }
    if (answer->n_options > 0) {
        json_t *sums = json_array();
        for (int k = 0; k < answer->n_options; k++) {
            (void)json_array_append_new(sums, json_real(answer->log_likelihood[k]));
        }
        (void)json_object_set_new(line, "log_likelihoods", sums);
    } else {
        vlorpi_bytes reference = vlorpi_question_reference(&question);
        (void)set_text(line, "reference", reference.text, reference.n_bytes);
        (void)set_text(line, "text", answer->text.text, answer->text.n_bytes);
        (void)set_text(line, "found", answer->found.text, answer->found.n_bytes);
        (void)json_object_set_new(line, "near_miss", json_boolean(answer->is_near));
    }
    if (answer->is_cut) {
        (void)json_object_set_new(line, "cut", json_true());
    }
    (void)json_object_set_new(line, "correct", json_boolean(answer->is_correct));
    return VLORP_OK;
}

/* Writes the lines whose turn it is. */
static vlorp_status write_waiting(vlorpi_task_log *log, vlorp_err *err)
{
    while (log->next < log->n_waiting && log->waiting[log->next] != NULL) {
        char *text = log->waiting[log->next];
        log->waiting[log->next++] = NULL;
        vlorp_status status = write_text(log, text, err);
        vlorpi_mem_free(log->mem, text);
        VLORP_TRY(status);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_task_log_add(vlorpi_task_log *log, const vlorpi_task_run *run, const vlorpi_task_answer *answer,
                                 vlorp_err *err)
{
    if (log->file == NULL) {
        return VLORP_OK;
    }
    json_t *line = json_object();
    vlorp_status status = fill_line(log, line, run, answer, err);
    char *text = status == VLORP_OK ? dump(log->mem, line) : NULL;
    json_decref(line);
    VLORP_TRY(status);
    if (text == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "%s: no memory for a line", log->path);
    }
    log->waiting[answer->question] = text;
    return write_waiting(log, err);
}

void vlorpi_task_log_close(vlorpi_task_log *log)
{
    if (log->mem != NULL) {
        forget_waiting(log);
        vlorpi_rendered_deinit(&log->prompt);
        vlorpi_rendered_deinit(&log->option);
    }
    if (log->file != NULL) {
        (void)fclose(log->file);
    }
    memset(log, 0, sizeof *log);
}
