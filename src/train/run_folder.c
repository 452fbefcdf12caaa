#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/new_folder.h"

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

vlorp_status vlorpi_path_join(char *out, const char *folder, const char *name, vlorp_err *err)
{
    int n = snprintf(out, VLORPI_PATH_BYTES, "%s/%s", folder, name);
    if (n < 0 || n >= VLORPI_PATH_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s/%s: the path is longer than %d bytes", folder, name, VLORPI_PATH_BYTES - 1);
    }
    return VLORP_OK;
}

/* The last part of a path without trailing slashes and without a file ending, as a name's part. */
static void short_name(char *out, size_t n_bytes, const char *path)
{
    char copy[VLORPI_PATH_BYTES];
    (void)snprintf(copy, sizeof copy, "%s", path);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') {
        copy[--n] = '\0';
    }
    char *slash = strrchr(copy, '/');
    char *last = slash != NULL && slash[1] != '\0' ? slash + 1 : copy;
    char *dot = strrchr(last, '.');
    static const char *const endings[] = {".gguf", ".json", ".jsonl", ".txt", ".csv", ".safetensors"};
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcmp(dot, endings[i]) == 0) {
            *dot = '\0';
            break;
        }
    }
    (void)snprintf(out, n_bytes, "%s", last);
}

static vlorp_status choose_free_name(char *out, const char *model, const char *dataset, const char *optimizer,
                                     vlorp_err *err)
{
    char model_name[512];
    char data_name[512];
    short_name(model_name, sizeof model_name, model);
    short_name(data_name, sizeof data_name, dataset);
    for (int n = 1; n < 1000000; n++) {
        int length = snprintf(out, VLORPI_PATH_BYTES, "runs/%s-%s-%s-%d", model_name, data_name, optimizer, n);
        if (length < 0 || length >= VLORPI_PATH_BYTES) {
            break;
        }
        if (!exists(out)) {
            return VLORP_OK;
        }
    }
    VLORP_FAIL(err, VLORP_E_LIMIT, "runs/: no free name for %s-%s-%s", model_name, data_name, optimizer);
}

vlorp_status vlorpi_run_folder_choose(vlorpi_run_folder *folder, const char *save_dir, const char *model,
                                      const char *dataset, const char *optimizer, vlorp_err *err)
{
    if (save_dir == NULL) {
        VLORP_TRY(choose_free_name(folder->path, model, dataset, optimizer, err));
    } else {
        int n = snprintf(folder->path, sizeof folder->path, "%s", save_dir);
        if (n <= 0 || (size_t)n >= sizeof folder->path) {
            VLORP_FAIL(err, VLORP_E_ARG, "--save_dir: empty, or longer than %d bytes", VLORPI_PATH_BYTES - 1);
        }
        while (n > 1 && folder->path[n - 1] == '/') {
            folder->path[--n] = '\0';
        }
    }
    VLORP_TRY(vlorpi_path_join(folder->model, folder->path, "model", err));
    VLORP_TRY(vlorpi_path_join(folder->best, folder->path, "best", err));
    VLORP_TRY(vlorpi_path_join(folder->state, folder->path, "state", err));
    VLORP_TRY(vlorpi_path_join(folder->metrics, folder->path, "metrics.jsonl", err));
    return vlorpi_path_join(folder->settings, folder->path, "run.json", err);
}

/* mkdir -p */
static vlorp_status make_folders(const char *path, vlorp_err *err)
{
    char part[VLORPI_PATH_BYTES];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        bool last = *p == '\0';
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            VLORP_FAIL(err, VLORP_E_IO, "%s: cannot create the folder: %s", part, strerror(errno));
        }
        if (last) {
            break;
        }
        *p = '/';
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: exists and is not a folder", path);
    }
    return VLORP_OK;
}

static vlorp_status remove_file(const char *path, vlorp_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be removed: %s", path, strerror(errno));
    }
    return VLORP_OK;
}

static vlorp_status fail_locked(const vlorpi_run_folder *folder, int fd, vlorp_err *err)
{
    char pid[24] = "";
    ssize_t n = read(fd, pid, sizeof pid - 1);
    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    (void)vlorpi_err_set(err, VLORP_E_STATE, "%s: another process%s%s%s is training there", folder->path,
                         pid[0] != '\0' ? ", " : "", pid, pid[0] != '\0' ? "," : "");
    vlorpi_err_hint(err, "wait for it to end, or give another --save_dir");
    return VLORP_E_STATE;
}

/* The lock is the system's and ends with the process, however it ends; the file's text is for people. */
static vlorp_status lock(vlorpi_run_folder *folder, const vlorpi_log *log, vlorp_err *err)
{
    char path[VLORPI_PATH_BYTES];
    VLORP_TRY(vlorpi_path_join(path, folder->path, "lock", err));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            vlorp_status status = fail_locked(folder, fd, err);
            (void)close(fd);
            return status;
        }
        vlorpi_log_warn(log, "%s: this file system has no locks (%s): keep other runs out of the folder", folder->path,
                        strerror(errno));
    }
    if (ftruncate(fd, 0) == 0) {
        (void)dprintf(fd, "%ld\n", (long)getpid());
    }
    folder->lock = fd;
    return VLORP_OK;
}

static void clean(const vlorpi_run_folder *folder)
{
    vlorpi_new_folder_clean(folder->path);
    vlorpi_new_folder_clean(folder->state);
}

static bool has_checkpoint(const vlorpi_run_folder *folder)
{
    char latest[VLORPI_PATH_BYTES];
    return vlorpi_path_join(latest, folder->state, "latest", NULL) == VLORP_OK && exists(latest);
}

static bool holds_run(const vlorpi_run_folder *folder)
{
    return exists(folder->settings) || exists(folder->metrics) || exists(folder->model) || has_checkpoint(folder);
}

static vlorp_status fail_taken(const vlorpi_run_folder *folder, vlorp_err *err)
{
    (void)vlorpi_err_set(err, VLORP_E_STATE, "%s: holds a run already", folder->path);
    if (has_checkpoint(folder)) {
        vlorpi_err_hint(err, "--continue_from %s goes on with it; or give another --save_dir, or --overwrite to replace it",
                        folder->path);
    } else {
        vlorpi_err_hint(err, "give another --save_dir, or --overwrite to replace it: it has no checkpoint to continue "
                             "from");
    }
    return VLORP_E_STATE;
}

vlorp_status vlorpi_run_folder_create(vlorpi_run_folder *folder, bool overwrite, const vlorpi_log *log, vlorp_err *err)
{
    char latest[VLORPI_PATH_BYTES];
    if (holds_run(folder) && !overwrite) {
        return fail_taken(folder, err);
    }
    VLORP_TRY(vlorpi_path_join(latest, folder->state, "latest", err));
    VLORP_TRY(make_folders(folder->path, err));
    if (access(folder->path, W_OK | X_OK) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot be written: %s", folder->path, strerror(errno));
    }
    VLORP_TRY(lock(folder, log, err));
    if (holds_run(folder) && !overwrite) { /* again, now that nobody else can begin one */
        return fail_taken(folder, err);
    }
    VLORP_TRY(make_folders(folder->state, err));
    VLORP_TRY(remove_file(latest, err));
    VLORP_TRY(remove_file(folder->settings, err));
    VLORP_TRY(remove_file(folder->metrics, err));
    clean(folder);
    return VLORP_OK;
}

vlorp_status vlorpi_run_folder_reopen(vlorpi_run_folder *folder, const vlorpi_log *log, vlorp_err *err)
{
    if (!exists(folder->path)) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", folder->path, strerror(errno));
    }
    if (!exists(folder->state)) {
        (void)vlorpi_err_set(err, VLORP_E_STATE, "%s: holds no checkpoint to continue from", folder->path);
        vlorpi_err_hint(err, "a run has one after its first save; leave --continue_from out to begin");
        return VLORP_E_STATE;
    }
    VLORP_TRY(lock(folder, log, err));
    clean(folder);
    return VLORP_OK;
}

void vlorpi_run_folder_close(vlorpi_run_folder *folder)
{
    if (folder->lock > 0) {
        (void)close(folder->lock);
        folder->lock = 0;
    }
}

bool vlorpi_run_folder_is_there(const vlorpi_run_folder *folder)
{
    return exists(folder->state);
}

vlorp_status vlorpi_run_folder_restore(const vlorpi_run_folder *folder, vlorp_err *err)
{
    return make_folders(folder->state, err);
}
