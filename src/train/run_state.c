#include "train/run_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/beside.h"
#include "checkpoint/companions.h"
#include "checkpoint/folder_entries.h"
#include "checkpoint/put_weight.h"
#include "format/json.h"
#include "train/run_record.h"

#define POINT_NAME VLORPI_STATE_PREFIX "state.json"
#define OPTIMIZER_NAME VLORPI_STATE_PREFIX "optimizer.bin"

enum { FORMAT = 1, STEP_DIGITS = 24, SMALL_FILES_BYTES = 1 << 20, STATE_RECORD_BYTES = 80, MOST_TENSORS = 4 };

static bool has_adapters(const vlorpi_job *job)
{
    return vlorpi_model_adapters(job->model)->n > 0;
}

/* The whole model, adapters merged. */
static vlorpi_checkpoint_model whole_model(const vlorpi_job *job)
{
    return (vlorpi_checkpoint_model){
        .params = vlorpi_model_params(job->model),
        .merged = has_adapters(job) ? job->model : NULL,
        .dtype = job->sizes.dtype,
        .config = &job->model_config,
        .source = job->source,
        .tokenizer = job->tokenizer,
        .kernels = job->kernels,
    };
}

/* The weights of a checkpoint: those that train. */
static vlorpi_checkpoint_model what_to_save(const vlorpi_job *job)
{
    vlorpi_checkpoint_model model = whole_model(job);
    if (has_adapters(job)) {
        model.params = vlorpi_model_adapters(job->model);
        model.merged = NULL;
        model.dtype = VLORP_F32;
        model.stem = "adapter_model";
        model.shard_bytes = SIZE_MAX;
    }
    return model;
}

/* Whether model/ has other weights than a checkpoint: the adapters and their base as one. */
static bool publishes_merged(const vlorpi_job *job)
{
    return has_adapters(job) && job->settings.lora_merge;
}

vlorp_status vlorpi_run_state_bytes(size_t *n_bytes, const vlorpi_job *job, vlorp_err *err)
{
    vlorpi_checkpoint_model model = what_to_save(job);
    vlorp_optimizer_memory use;
    size_t merged_bytes = 0;
    VLORP_TRY(vlorpi_checkpoint_bytes(n_bytes, &job->saver, &model, err));
    if (publishes_merged(job)) {
        model = whole_model(job);
        VLORP_TRY(vlorpi_checkpoint_bytes(&merged_bytes, &job->saver, &model, err));
    }
    VLORP_TRY(vlorp_optimizer_memory_use(job->optimizer, &use, err));
    *n_bytes += merged_bytes + use.bytes[VLORP_MEMORY_OPTIMIZER_STATE] + use.bytes[VLORP_MEMORY_PROJECTION] + SMALL_FILES_BYTES +
                (size_t)vlorp_optimizer_n_parameters(job->optimizer) * MOST_TENSORS * STATE_RECORD_BYTES;
    return VLORP_OK;
}

/* state/STEP */
static vlorp_status step_folder(char *out, const vlorpi_run_folder *folder, int64_t step, vlorp_err *err)
{
    char name[STEP_DIGITS];
    (void)snprintf(name, sizeof name, "%" PRId64, step);
    return vlorpi_path_join(out, folder->state, name, err);
}

/* The step that a folder's name says, or -1. */
static int64_t step_of(const char *name)
{
    size_t n = strspn(name, "0123456789");
    return n > 0 && n < 19 && name[n] == '\0' ? strtoll(name, NULL, 10) : -1;
}

/* adapter_config.json, with the base by its whole path. */
static vlorp_status write_adapter_config(const vlorpi_job *job, const vlorpi_new_folder *files, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    char base[PATH_MAX];
    const char *source = vlorpi_source_path(job->source);
    VLORP_TRY(vlorpi_path_join(path, files->path, VLORPI_PEFT_CONFIG, err));
    json_t *config = vlorpi_model_peft_config(job->model, job->adapter, realpath(source, base) != NULL ? base : source);
    bool ok = config != NULL && json_dump_file(config, path, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0;
    json_decref(config);
    if (!ok) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written", path);
    }
    return VLORP_OK;
}

static vlorp_status write_companions(const vlorpi_job *job, const vlorpi_new_folder *files, vlorp_err *err)
{
    vlorpi_checkpoint_model model = whole_model(job);
    unsigned char *buffer = vlorpi_mem_alloc(job->mem, VLORPI_MEM_WORKSPACE, VLORPI_CHUNK_BYTES);
    if (buffer == NULL) {
        return vlorpi_mem_fail(job->mem, VLORPI_MEM_WORKSPACE, VLORPI_CHUNK_BYTES, err);
    }
    vlorp_status status = vlorpi_companions_write(files, &model, buffer, VLORPI_CHUNK_BYTES, err);
    vlorpi_mem_free(job->mem, buffer);
    return status;
}

static vlorp_status write_files(const vlorpi_job *job, const vlorpi_new_folder *files, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    if (has_adapters(job)) {
        VLORP_TRY(write_adapter_config(job, files, err));
    }
    if (!has_adapters(job) || publishes_merged(job)) {
        VLORP_TRY(write_companions(job, files, err));
    }
    VLORP_TRY(vlorpi_path_join(path, files->path, VLORPI_SETTINGS_NAME, err));
    return vlorpi_run_record_write(job, path, err);
}

vlorp_status vlorpi_run_state_prepare(const vlorpi_job *job, const vlorpi_run_folder *folder, bool keep_checkpoints,
                                      vlorp_err *err)
{
    char place[VLORPI_PATH_BYTES];
    vlorpi_new_folder files;
    VLORP_TRY(vlorpi_path_join(place, folder->state, "files", err));
    VLORP_TRY(vlorpi_new_folder_begin(&files, place, true, err));
    vlorp_status status = vlorpi_new_folder_check_space(&files, job->checkpoint_bytes, err);
    if (status == VLORP_OK) {
        status = write_files(job, &files, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(&files);
        return status;
    }
    VLORP_TRY(vlorpi_new_folder_commit(&files, err));
    if (!keep_checkpoints) { /* only now: the run's own source may have been among them */
        vlorpi_run_state_prune(folder, 0, 0);
        vlorpi_remove_tree(folder->best);
    }
    return VLORP_OK;
}

/* A folder being made of another one's files. */
typedef struct taking {
    const vlorpi_job *job;
    vlorpi_new_folder *into;
    vlorpi_checksums *sums; /* or NULL: then what belongs to the checkpoint alone is left out */
} taking;

/* Whether a checkpoint's file belongs to model/ too. */
static bool is_published(const vlorpi_job *job, const char *name)
{
    bool of_adapter = strcmp(name, VLORPI_PEFT_CONFIG) == 0 || strcmp(name, VLORPI_PEFT_WEIGHTS) == 0;
    return strncmp(name, VLORPI_STATE_PREFIX, sizeof VLORPI_STATE_PREFIX - 1) != 0 &&
           !(of_adapter && publishes_merged(job));
}

static vlorp_status take_file(void *ctx, const char *folder, const char *name, vlorp_err *err)
{
    const taking *t = ctx;
    unsigned char *buffer = t->job->saver.chunk;
    if (t->sums == NULL && !is_published(t->job, name)) {
        return VLORP_OK;
    }
    VLORP_TRY(vlorpi_new_folder_take(t->into, folder, name, buffer, VLORPI_CHUNK_BYTES, err));
    if (t->sums == NULL) {
        return VLORP_OK;
    }
    return vlorpi_checksums_add_existing(t->sums, t->into, name, buffer, VLORPI_CHUNK_BYTES, err);
}

static vlorp_status put_state(void *ctx, const void *bytes, size_t n_bytes, vlorp_err *err)
{
    return vlorpi_file_writer_put(ctx, bytes, n_bytes, err);
}

static vlorp_status write_optimizer(const vlorpi_job *job, const vlorpi_new_folder *folder, vlorpi_checksums *sums,
                                    vlorp_err *err)
{
    vlorpi_file_writer writer;
    vlorp_status status = vlorpi_file_writer_open(&writer, folder->fd, folder->place, OPTIMIZER_NAME,
                                                  job->saver.chunk, VLORPI_CHUNK_BYTES, err);
    if (status == VLORP_OK) {
        status = vlorp_optimizer_save(job->optimizer, put_state, &writer, err);
    }
    VLORP_TRY(vlorpi_file_writer_close(&writer, status, err));
    return vlorpi_checksums_add(sums, &writer, err);
}

/* Without jansson, which would allocate. */
static vlorp_status write_point(const vlorpi_run_point *point, const vlorpi_new_folder *folder, vlorpi_checksums *sums,
                                vlorp_err *err)
{
    char text[320];
    vlorpi_file_writer writer;
    (void)snprintf(text, sizeof text,
                   "{\n  \"format\": %d,\n  \"step\": %" PRId64 ",\n  \"evaluated\": %s,\n  \"metrics_bytes\": %" PRId64
                   ",\n  \"best_step\": %" PRId64 ",\n  \"best_loss\": %.17g,\n  \"base_mark\": \"%s\"\n}\n",
                   (int)FORMAT, point->step, point->evaluated ? "true" : "false", point->metrics_bytes,
                   point->best_step, point->best_loss, point->base_mark);
    vlorp_status status = vlorpi_file_writer_open(&writer, folder->fd, folder->place, POINT_NAME, NULL, 0, err);
    if (status == VLORP_OK) {
        status = vlorpi_file_writer_put_text(&writer, text, err);
    }
    VLORP_TRY(vlorpi_file_writer_close(&writer, status, err));
    return vlorpi_checksums_add(sums, &writer, err);
}

static vlorp_status write_listed(const vlorpi_job *job, const vlorpi_run_folder *folder, const vlorpi_run_point *point,
                                 vlorpi_new_folder *place, vlorpi_checksums *sums, vlorp_err *err)
{
    char files[VLORPI_PATH_BYTES];
    vlorpi_checkpoint_model model = what_to_save(job);
    VLORP_TRY(vlorpi_checkpoint_write_weights(&job->saver, &model, place, sums, err));
    VLORP_TRY(write_optimizer(job, place, sums, err));
    VLORP_TRY(write_point(point, place, sums, err));
    taking t = {.job = job, .into = place, .sums = sums};
    VLORP_TRY(vlorpi_path_join(files, folder->state, "files", err));
    return vlorpi_folder_each(files, take_file, &t, err);
}

/* `latest` says this step from now on. */
static vlorp_status set_latest(const vlorpi_run_folder *folder, int64_t step, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    char beside[VLORPI_PATH_BYTES];
    VLORP_TRY(vlorpi_path_join(path, folder->state, "latest", err));
    VLORP_TRY(vlorpi_path_join(beside, folder->state, "latest.partial", err));
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && dprintf(fd, "%" PRId64 "\n", step) > 0 && fsync(fd) == 0;
    int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (ok && rename(beside, path) != 0) {
        reason = errno;
        ok = false;
    }
    if (!ok) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(reason));
    }
    vlorpi_beside_sync(path);
    return VLORP_OK;
}

vlorp_status vlorpi_run_state_save(const vlorpi_job *job, const vlorpi_run_folder *folder,
                                   const vlorpi_run_point *point, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    vlorpi_new_folder place;
    vlorpi_checksums sums;
    VLORP_TRY(step_folder(path, folder, point->step, err));
    VLORP_TRY(vlorpi_new_folder_begin(&place, path, true, err));
    vlorp_status status = vlorpi_new_folder_check_space(&place, job->checkpoint_bytes, err);
    if (status == VLORP_OK) {
        status = vlorpi_checksums_open(&sums, &place, err);
        if (status == VLORP_OK) {
            status = write_listed(job, folder, point, &place, &sums, err);
        }
        status = vlorpi_checksums_close(&sums, status, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(&place);
        return status;
    }
    VLORP_TRY(vlorpi_new_folder_commit(&place, err));
    return set_latest(folder, point->step, err);
}

vlorp_status vlorpi_run_state_publish(const vlorpi_job *job, const vlorpi_run_folder *folder, int64_t step,
                                      const char *place, vlorp_err *err)
{
    char from[VLORPI_PATH_BYTES];
    vlorpi_new_folder made;
    VLORP_TRY(step_folder(from, folder, step, err));
    VLORP_TRY(vlorpi_new_folder_begin(&made, place, true, err));
    taking t = {.job = job, .into = &made};
    vlorp_status status = vlorpi_folder_each(from, take_file, &t, err);
    if (status == VLORP_OK && publishes_merged(job)) {
        vlorpi_checkpoint_model model = whole_model(job);
        status = vlorpi_checkpoint_write_weights(&job->saver, &model, &made, NULL, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(&made);
        return status;
    }
    return vlorpi_new_folder_commit(&made, err);
}

/* The largest step below `below` that has a folder, or -1. */
static int64_t step_before(const char *state, int64_t below)
{
    int64_t found = -1;
    DIR *dir = opendir(state);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int64_t step = step_of(entry->d_name);
        found = step < below && step > found ? step : found;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

void vlorpi_run_state_prune(const vlorpi_run_folder *folder, int64_t step, int64_t n_kept)
{
    char path[VLORPI_PATH_BYTES];
    int64_t n = 0;
    for (int64_t at = step_before(folder->state, INT64_MAX); at >= 0; at = step_before(folder->state, at)) {
        bool keep = at <= step && n < n_kept;
        n += keep;
        if (!keep && step_folder(path, folder, at, NULL) == VLORP_OK) {
            vlorpi_remove_tree(path);
        }
    }
}

vlorp_status vlorpi_run_state_find(char *checkpoint, const char *state, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    char text[STEP_DIGITS] = "";
    VLORP_TRY(vlorpi_path_join(path, state, "latest", err));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n < 0) {
        (void)vlorpi_err_set(err, VLORP_E_STATE, "%s: there is no checkpoint to continue from: %s", path,
                             strerror(reason));
        vlorpi_err_hint(err, "a run has one after its first save; leave --continue_from out to begin");
        return VLORP_E_STATE;
    }
    text[strcspn(text, "\n")] = '\0';
    if (step_of(text) < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: the number of a step is wanted", path);
    }
    return vlorpi_path_join(checkpoint, state, text, err);
}

static vlorp_status parse_point(vlorpi_run_point *point, const json_t *root, const char *path, vlorp_err *err)
{
    const json_t *evaluated = json_object_get(root, "evaluated");
    const json_t *loss = json_object_get(root, "best_loss");
    const char *mark = json_string_value(json_object_get(root, "base_mark"));
    *point = (vlorpi_run_point){
        .step = json_integer_value(json_object_get(root, "step")),
        .evaluated = json_is_true(evaluated),
        .metrics_bytes = json_integer_value(json_object_get(root, "metrics_bytes")),
        .best_step = json_integer_value(json_object_get(root, "best_step")),
        .best_loss = json_number_value(loss),
    };
    (void)snprintf(point->base_mark, sizeof point->base_mark, "%s", mark != NULL ? mark : "");
    if (json_integer_value(json_object_get(root, "format")) != FORMAT) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: a checkpoint of another version of this program", path);
    }
    if (point->step < 1 || point->metrics_bytes < 0 || !json_is_boolean(evaluated) || point->best_step < 0 ||
        !isfinite(point->best_loss)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: it does not say how far the run is", path);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_run_state_read(vlorpi_run_point *point, const char *checkpoint, vlorpi_mem *mem, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    json_t *root = NULL;
    VLORP_TRY(vlorpi_checksums_verify(checkpoint, NULL, mem, err));
    VLORP_TRY(vlorpi_path_join(path, checkpoint, POINT_NAME, err));
    VLORP_TRY(vlorpi_json_load(&root, path, err));
    vlorp_status status = parse_point(point, root, path, err);
    json_decref(root);
    return status;
}

vlorp_status vlorpi_run_state_settings(json_t **settings, const char *checkpoint, vlorpi_mem *mem, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    VLORP_TRY(vlorpi_checksums_verify(checkpoint, VLORPI_SETTINGS_NAME, mem, err));
    VLORP_TRY(vlorpi_path_join(path, checkpoint, VLORPI_SETTINGS_NAME, err));
    return vlorpi_json_load(settings, path, err);
}

/* A file being read. */
typedef struct reading {
    int fd;
    const char *path;
} reading;

static vlorp_status get_state(void *ctx, void *bytes, size_t n_bytes, vlorp_err *err)
{
    const reading *r = ctx;
    unsigned char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = read(r->fd, at, n_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            VLORP_FAIL(err, VLORP_E_IO, "%s", strerror(errno));
        }
        if (n == 0) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "the file ends too early");
        }
        at += n;
        n_bytes -= (size_t)n;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_run_state_load(const vlorpi_job *job, const char *checkpoint, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    VLORP_TRY(vlorpi_path_join(path, checkpoint, OPTIMIZER_NAME, err));
    reading r = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
    if (r.fd < 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    vlorp_status status = vlorp_optimizer_load(job->optimizer, get_state, &r, err);
    (void)posix_fadvise(r.fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(r.fd);
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s", path);
    }
    return status;
}
