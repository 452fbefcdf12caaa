#include "train/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_same_place(const char *a, const char *b)
{
    struct stat info_a;
    struct stat info_b;
    if (stat(a, &info_a) != 0 || stat(b, &info_b) != 0) {
        return strcmp(a, b) == 0;
    }
    return info_a.st_dev == info_b.st_dev && info_a.st_ino == info_b.st_ino;
}

static vlorp_status find(vlorpi_resume *resume, const vlorpi_train_settings *settings, vlorpi_mem *mem,
                         const vlorpi_log *log, vlorp_err *err)
{
    VLORP_TRY(vlorpi_run_folder_choose(&resume->from, settings->continue_from, "", "", "", err));
    resume->same_folder = settings->save_dir == NULL || is_same_place(settings->save_dir, resume->from.path);
    if (resume->same_folder && settings->overwrite) {
        VLORP_FAIL(err, VLORP_E_ARG, "--overwrite: --continue_from goes on with the run in that folder");
    }
    if (resume->same_folder) {
        VLORP_TRY(vlorpi_run_folder_reopen(&resume->from, log, err));
    }
    VLORP_TRY(vlorpi_run_state_find(resume->checkpoint, resume->from.state, err));
    return vlorpi_run_state_read(&resume->point, resume->checkpoint, mem, err);
}

/* What of the run's settings is needed here; nothing of it stays in memory. */
static vlorp_status read_settings(vlorpi_resume *resume, vlorpi_train_settings *settings, vlorpi_mem *mem,
                                  vlorp_err *err)
{
    json_t *root = NULL;
    VLORP_TRY(vlorpi_run_state_settings(&root, resume->checkpoint, mem, err));
    const json_t *data = json_object_get(root, "data");
    const char *sum = json_string_value(json_object_get(data, "checksum"));
    const json_t *warmup = json_object_get(json_object_get(root, "used"), "warmup_steps");
    (void)snprintf(resume->data_sum, sizeof resume->data_sum, "%s", sum != NULL ? sum : "");
    resume->n_examples = json_integer_value(json_object_get(data, "training_examples"));
    resume->n_threads = (int)json_integer_value(json_object_get(json_object_get(root, "machine"), "threads"));
    if (json_is_integer(warmup)) {
        settings->warmup = (double)json_integer_value(warmup);
    }
    json_decref(root);
    return VLORP_OK;
}

/* Whether the base that a checkpoint of adapters names is not where it was. */
static bool base_is_gone(const vlorpi_resume *resume, vlorpi_mem *mem)
{
    vlorpi_peft *peft;
    const char *base;
    bool gone = vlorpi_peft_resolve(&peft, &base, mem, resume->checkpoint, NULL, NULL) != VLORP_OK;
    vlorpi_peft_close(peft);
    return gone;
}

vlorp_status vlorpi_resume_open(vlorpi_resume *resume, vlorpi_train_settings *settings, vlorpi_mem *mem,
                                const vlorpi_log *log, vlorp_err *err)
{
    resume->is_on = true;
    vlorp_status status = find(resume, settings, mem, log, err);
    if (status == VLORP_OK) {
        status = read_settings(resume, settings, mem, err);
    }
    if (status == VLORP_E_FORMAT || (status == VLORP_E_IO && resume->checkpoint[0] != '\0')) {
        vlorpi_err_hint(err, "where %s holds an older checkpoint that is whole, write its number into %s/latest",
                        resume->from.state, resume->from.state);
    }
    settings->init_random = false;
    if (settings->optimizer == VLORPI_OPTIMIZER_LORA && base_is_gone(resume, mem)) {
        settings->adapter = resume->checkpoint; /* of the model that is named now */
    } else {
        settings->model = resume->checkpoint;
        settings->adapter = NULL;
    }
    return status;
}

void vlorpi_resume_close(vlorpi_resume *resume)
{
    vlorpi_run_folder_close(&resume->from);
}

/* The training data by its contents: the file may have moved. */
static vlorp_status check_data(const vlorpi_resume *resume, const vlorpi_job *job, vlorp_err *err)
{
    char now[VLORPI_DATA_SUM_BYTES];
    int64_t n = vlorpi_dataset_n_examples(job->data);
    vlorpi_job_data_sum(now, job);
    if (strcmp(resume->data_sum, now) == 0) {
        return VLORP_OK;
    }
    (void)vlorpi_err_set(err, VLORP_E_STATE,
                         "%s: the training data is not that of the run in %s: %" PRId64 " examples then, %" PRId64
                         " now%s",
                         job->settings.dataset, resume->from.path, resume->n_examples, n,
                         n == resume->n_examples ? ", with other contents" : "");
    vlorpi_err_hint(err, "give the same --dataset; a run that began without held-out examples takes some by --eval_data");
    return VLORP_E_STATE;
}

vlorp_status vlorpi_resume_check(const vlorpi_resume *resume, const vlorpi_job *job, vlorp_err *err)
{
    int64_t done = resume->point.step;
    VLORP_TRY(check_data(resume, job, err));
    if (job->sizes.n_steps < done) {
        VLORP_FAIL(err, VLORP_E_ARG,
                   "--num_training_steps: the run in %s has taken %" PRId64 " steps; %" PRId64 " are fewer",
                   resume->from.path, done, job->sizes.n_steps);
    }
    if (resume->n_threads != job->exec.n_threads) {
        vlorpi_log_warn(job->log,
                        "the run so far used %d threads and goes on with %d: what follows may differ in last bits",
                        resume->n_threads, job->exec.n_threads);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_resume_check_base(const vlorpi_resume *resume, const vlorpi_job *job, vlorp_err *err)
{
    char now[VLORPI_PARAMS_MARK_BYTES];
    if (resume->point.base_mark[0] == '\0') {
        return VLORP_OK;
    }
    vlorpi_params_mark(now, vlorpi_model_params(job->model));
    if (strcmp(resume->point.base_mark, now) == 0) {
        return VLORP_OK;
    }
    (void)vlorpi_err_set(err, VLORP_E_STATE, "%s: not the weights that the adapters of the run in %s have learnt beside",
                         vlorpi_source_path(job->source), resume->from.path);
    vlorpi_err_hint(err, "put the model back as it was, in the same dtype");
    return VLORP_E_STATE;
}

static vlorp_status fail(const char *path, vlorp_err *err)
{
    VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
}

/* Copies the first n bytes; a shorter file is copied whole. */
static vlorp_status copy_start(int from, const char *from_path, int to, const char *to_path, int64_t n, vlorp_err *err)
{
    char block[2048];
    while (n > 0) {
        ssize_t got = read(from, block, n < (int64_t)sizeof block ? (size_t)n : sizeof block);
        if (got < 0) {
            return fail(from_path, err);
        }
        if (got == 0) {
            break;
        }
        if (write(to, block, (size_t)got) != got) {
            return fail(to_path, err);
        }
        n -= got;
    }
    return fsync(to) == 0 ? VLORP_OK : fail(to_path, err);
}

static vlorp_status copy_metrics(const vlorpi_resume *resume, const char *to_path, vlorp_err *err)
{
    int from = open(resume->from.metrics, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        return errno == ENOENT ? VLORP_OK : fail(resume->from.metrics, err);
    }
    int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    vlorp_status status = to >= 0 ? copy_start(from, resume->from.metrics, to, to_path, resume->point.metrics_bytes, err)
                                  : fail(to_path, err);
    (void)close(from);
    if (to >= 0) {
        (void)close(to);
    }
    return status;
}

vlorp_status vlorpi_resume_metrics(const vlorpi_resume *resume, const vlorpi_run_folder *folder, const vlorpi_log *log,
                                   vlorp_err *err)
{
    struct stat info;
    if (!resume->same_folder) {
        VLORP_TRY(copy_metrics(resume, folder->metrics, err));
    }
    int64_t n = stat(folder->metrics, &info) == 0 ? (int64_t)info.st_size : 0;
    if (n < resume->point.metrics_bytes) {
        vlorpi_log_warn(log, "%s: lines of earlier steps are missing", folder->metrics);
    } else if (n > resume->point.metrics_bytes && truncate(folder->metrics, resume->point.metrics_bytes) != 0) {
        return fail(folder->metrics, err);
    }
    return VLORP_OK;
}
