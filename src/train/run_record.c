#include "train/run_record.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/system_memory.h"
#include "train/run_folder.h"

/* Takes the value whatever happens; false when out of memory. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *used_sizes(const vlorpi_job *job)
{
    const vlorpi_job_sizes *s = &job->sizes;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "dtype", vlorpi_checkpoint_dtype_name(s->dtype),
                     "max_length",
                     (json_int_t)s->max_length, "batch_size", (json_int_t)s->max_examples, "micro_tokens",
                     (json_int_t)s->micro_tokens, "num_training_steps",
                     (json_int_t)s->n_steps, "warmup_steps", (json_int_t)s->warmup_steps, "activation_checkpointing",
                     (int)s->activation_checkpointing);
}

/* The adapters as they are; null: none. */
static json_t *adapters(const vlorpi_job *job)
{
    vlorpi_lora lora;
    if (!vlorpi_model_lora(job->model, &lora)) {
        return json_null();
    }
    return json_pack("{s:I, s:f, s:f, s:i, s:s}", "rank", (json_int_t)lora.rank, "alpha", lora.alpha, "dropout",
                     lora.dropout, "layers", vlorpi_model_adapters(job->model)->n / 2, "base",
                     vlorpi_source_path(job->source));
}

static json_t *data_report(const vlorpi_job *job)
{
    const vlorpi_dataset_report *r = &job->data_report;
    char sum[VLORPI_DATA_SUM_BYTES];
    vlorpi_job_data_sum(sum, job);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "form", r->form, "columns", r->columns, "records",
                     (json_int_t)r->n_records, "examples", (json_int_t)r->n_examples, "truncated",
                     (json_int_t)r->n_truncated, "without_target", (json_int_t)r->n_without_target, "tokens",
                     (json_int_t)r->n_tokens, "target_tokens", (json_int_t)r->n_targets, "longest",
                     (json_int_t)r->longest, "training_examples", (json_int_t)vlorpi_dataset_n_examples(job->data),
                     "checksum", sum);
}

static json_t *machine(const vlorpi_job *job)
{
    struct utsname name;
    if (uname(&name) != 0) {
        memset(&name, 0, sizeof name);
    }
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:I}", "system", name.sysname, "release", name.release, "processor",
                     name.machine, "threads", job->exec.n_threads, "kernels", job->kernels->name,
                     "available_memory_bytes", (json_int_t)vlorpi_available_memory());
}

/* The settings really used for each projected matrix. */
static json_t *projections(const vlorpi_job *job)
{
    json_t *list = json_array();
    for (int id = 0; list != NULL && id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, id, &info, NULL) != VLORP_OK || info.is_vector ||
            info.projection.M == 0) {
            continue;
        }
        const vlorp_projection_used *p = &info.projection;
        json_t *row = json_pack("{s:s, s:I, s:I, s:s, s:f, s:I, s:b}", "name", info.name, "n", (json_int_t)info.n, "m",
                                (json_int_t)info.m, "side", p->side == VLORP_SIDE_LEFT ? "left" : "right", "factor",
                                (double)p->c / (double)(p->f > 1 ? p->f : 1), "rank", (json_int_t)p->r, "exact",
                                (int)p->exact);
        if (json_array_append_new(list, row) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *make_record(const vlorpi_job *job)
{
    json_t *record = json_object();
    if (record == NULL) {
        return NULL;
    }
    bool ok = set(record, "version", json_string(vlorp_version())) &&
              set(record, "seed", json_integer((json_int_t)job->settings.seed)) &&
              set(record, "options",
                  job->settings.record != NULL ? json_incref(job->settings.record) : json_object()) &&
              set(record, "used", used_sizes(job)) && set(record, "projections", projections(job)) && set(record, "lora", adapters(job)) &&
              set(record, "data", data_report(job)) &&
              set(record, "plan_bytes", vlorpi_plan_json(&job->plan.usage)) && set(record, "machine", machine(job));
    if (!ok) {
        json_decref(record);
        return NULL;
    }
    return record;
}

vlorp_status vlorpi_run_record_write(const vlorpi_job *job, const char *path, vlorp_err *err)
{
    json_t *record = make_record(job);
    if (record == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "%s: out of memory", path);
    }
    char beside[VLORPI_PATH_BYTES];
    (void)snprintf(beside, sizeof beside, "%s.partial", path);
    FILE *file = fopen(beside, "w");
    bool ok = file != NULL && json_dumpf(record, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF &&
              fflush(file) == 0 && fsync(fileno(file)) == 0;
    int reason = errno;
    if (file != NULL && fclose(file) != 0 && ok) {
        reason = errno;
        ok = false;
    }
    json_decref(record);
    if (ok && rename(beside, path) != 0) {
        reason = errno;
        ok = false;
    }
    if (!ok) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", path, strerror(reason));
    }
    return VLORP_OK;
}
