#include "train/fit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/system_memory.h"
#include "base/threads.h"

static void nothing(void *arg, int64_t item, int thread)
{
    (void)arg;
    (void)item;
    (void)thread;
}

size_t vlorpi_fit_limit(const vlorpi_job *job)
{
    if (job->settings.memory_limit_bytes > 0) {
        return job->settings.memory_limit_bytes;
    }
    /* Stacks of threads that have not started would be taken from a limit on address space later. */
    vlorpi_for_each(&job->exec, job->exec.n_threads, nothing, NULL);
    size_t available = vlorpi_available_memory();
    available -= available < VLORPI_LIBRARY_BYTES ? available : VLORPI_LIBRARY_BYTES;
    /* What we hold already is not available any more, but the plan counts it. */
    return available + vlorpi_mem_now(job->mem).total_bytes;
}

enum { OPTION_BYTES = 48, SMALLEST_BUDGET = 16, SMALLEST_LENGTH = 32 };

/* Takes the settings one notch down and writes the option that does it; false: there is no further notch. */
typedef bool lower_fn(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES]);

static bool lower_checkpointing(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    if (job->sizes.activation_checkpointing) {
        return false;
    }
    s->activation_checkpointing = VLORPI_YES;
    (void)snprintf(option, OPTION_BYTES, "--activation_checkpointing");
    return true;
}

static int64_t longest_example(const vlorpi_job *job)
{
    int64_t longest = job->data_report.longest > job->held_report.longest ? job->data_report.longest
                                                                          : job->held_report.longest;
    return job->data == NULL || longest > job->sizes.max_length ? job->sizes.max_length : longest;
}

static bool lower_batch(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    int64_t longest = longest_example(job);
    if (s->micro_tokens != VLORPI_AUTO) {
        if (s->micro_tokens <= longest) {
            return false;
        }
        s->micro_tokens = s->micro_tokens / 2 > longest ? s->micro_tokens / 2 : longest;
        (void)snprintf(option, OPTION_BYTES, "--micro_tokens %" PRId64, s->micro_tokens);
        return true;
    }
    int64_t n = s->batch_size == VLORPI_AUTO ? job->sizes.max_examples : s->batch_size;
    if (n <= 1 || job->sizes.max_examples <= 1) {
        return false;
    }
    int64_t half = 1;
    while (2 * half < n) {
        half *= 2;
    }
    s->batch_size = half;
    (void)snprintf(option, OPTION_BYTES, "--batch_size %" PRId64, half);
    return true;
}

static bool lower_target(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    (void)job;
    unsigned all = 1u << VLORPI_ROLE_ATTN | 1u << VLORPI_ROLE_MLP | 1u << VLORPI_ROLE_EMBED | 1u << VLORPI_ROLE_HEAD;
    if (!vlorpi_optimizer_projects(s->optimizer) || s->targets == all) {
        return false;
    }
    s->targets = all;
    (void)snprintf(option, OPTION_BYTES, "--target all");
    return true;
}

static bool lower_state(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    (void)job;
    if (!vlorpi_optimizer_projects(s->optimizer) || s->state_dtype == VLORP_BF16) {
        return false;
    }
    s->state_dtype = VLORP_BF16;
    (void)snprintf(option, OPTION_BYTES, "--state_dtype bfloat16");
    return true;
}

/* Halves M the way it was asked for: by the budget, the rank or the factor. */
static bool lower_budget(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    vlorp_projection *p = &s->projection;
    const vlorp_projection *used = &job->sizes.projection;
    if (!vlorpi_optimizer_projects(s->optimizer)) {
        return false;
    }
    if (p->factor == 0 && p->rank == 0) {
        int64_t budget = used->budget;
        if (budget / 2 < SMALLEST_BUDGET) {
            return false;
        }
        p->budget = budget / 2;
        (void)snprintf(option, OPTION_BYTES, "--budget %" PRId64, p->budget);
        return true;
    }
    if (p->budget != 0 || used->factor * used->rank / 2 < SMALLEST_BUDGET) {
        return false;
    }
    if (used->rank % 2 == 0) {
        p->rank = used->rank / 2;
        (void)snprintf(option, OPTION_BYTES, "--rank %" PRId64, p->rank);
        return true;
    }
    if (used->factor % 2 == 0 && p->rank != 0) {
        p->factor = used->factor / 2;
        (void)snprintf(option, OPTION_BYTES, "--factor %" PRId64, p->factor);
        return true;
    }
    return false;
}

static bool lower_dtype(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    if (job->sizes.dtype != VLORP_F32) {
        return false;
    }
    s->dtype = VLORP_BF16;
    (void)snprintf(option, OPTION_BYTES, "--dtype bfloat16");
    return true;
}

static bool lower_optimizer(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    (void)job;
    if (s->optimizer == VLORPI_OPTIMIZER_PROJFACTOR) {
        return false;
    }
    s->optimizer = VLORPI_OPTIMIZER_PROJFACTOR;
    (void)snprintf(option, OPTION_BYTES, "--optimizer projfactor");
    return true;
}

/* Whether nine of ten examples still have something to predict within n tokens. */
static bool keeps_targets(const vlorpi_dataset *data, int64_t n)
{
    int64_t n_examples = vlorpi_dataset_n_examples(data);
    int64_t n_kept = 0;
    for (int64_t i = 0; i < n_examples; i++) {
        vlorpi_example example = vlorpi_dataset_example(data, i);
        int64_t end = example.n_tokens < n ? example.n_tokens : n;
        int64_t t = 0;
        while (t + 1 < end && vlorpi_example_target(&example, t) < 0) {
            t++;
        }
        n_kept += t + 1 < end;
    }
    return 10 * n_kept >= 9 * n_examples;
}

static bool lower_length(vlorpi_train_settings *s, const vlorpi_job *job, char option[OPTION_BYTES])
{
    int64_t half = longest_example(job) / 2;
    int64_t length = SMALLEST_LENGTH;
    while (2 * length <= half) {
        length *= 2;
    }
    if (half < SMALLEST_LENGTH || (job->data != NULL && !keeps_targets(job->data, length)) ||
        (job->held != NULL && !keeps_targets(job->held, length))) {
        return false;
    }
    s->max_length = length;
    (void)snprintf(option, OPTION_BYTES, "--max_length %" PRId64, length);
    return true;
}

/* What changes least comes first: results stay, then method, then precision, then data. */
static lower_fn *const ways[] = {
    lower_checkpointing, lower_batch, lower_target, lower_state, lower_budget, lower_dtype, lower_optimizer, lower_length,
};
enum { N_WAYS = sizeof ways / sizeof ways[0], MOST_PROPOSALS = 4 };

/* Shorter windows of a plain text are more windows: 12 bytes each in the data set that will be read anew. */
static size_t more_windows(const vlorpi_job *job)
{
    bool is_stream = job->data != NULL && strcmp(job->data_report.form, "plain text") == 0;
    return is_stream ? 16 * (size_t)(job->data_report.n_tokens / job->sizes.max_length) : 0;
}

/* Plans the settings; *fits says whether that is within the limit. */
static vlorp_status try_settings(vlorpi_job *job, const vlorpi_train_settings *s, size_t limit, size_t *need, bool *fits,
                                 vlorp_err *err)
{
    VLORP_TRY(vlorpi_job_replan(job, s, err));
    *need = job->plan.usage.total_bytes + more_windows(job);
    *fits = *need <= limit;
    return VLORP_OK;
}

/* The proposals, as far as they were found. */
typedef struct proposals {
    char text[VLORP_ERR_HINT_BYTES - 64];
    int n;
} proposals;

static void propose(proposals *found, const char *options, size_t need)
{
    size_t n = strlen(found->text);
    (void)snprintf(found->text + n, sizeof found->text - n, "%s%s (%.1f MiB)", found->n > 0 ? ", or " : "", options,
                   (double)need * 0x1p-20);
    found->n++;
}

/* Every way by itself, down to the first notch that fits. */
static vlorp_status propose_single(vlorpi_job *job, const vlorpi_train_settings *asked, size_t limit, proposals *found,
                                   vlorp_err *err)
{
    for (int w = 0; w < N_WAYS && found->n < MOST_PROPOSALS; w++) {
        vlorpi_train_settings s = *asked;
        char option[OPTION_BYTES];
        size_t need = 0;
        bool fits = false;
        VLORP_TRY(vlorpi_job_replan(job, asked, err));
        while (!fits && ways[w](&s, job, option)) {
            VLORP_TRY(try_settings(job, &s, limit, &need, &fits, err));
        }
        if (fits) {
            propose(found, option, need);
        }
    }
    return VLORP_OK;
}

/* One way after the other, each down to its last notch, until it fits. */
static vlorp_status propose_together(vlorpi_job *job, const vlorpi_train_settings *asked, size_t limit, proposals *found,
                                     vlorp_err *err)
{
    vlorpi_train_settings s = *asked;
    char options[N_WAYS * OPTION_BYTES] = "";
    size_t need = 0;
    bool fits = false;
    VLORP_TRY(vlorpi_job_replan(job, asked, err));
    for (int w = 0; w < N_WAYS && !fits; w++) {
        char option[OPTION_BYTES] = "";
        while (!fits && ways[w](&s, job, option)) {
            VLORP_TRY(try_settings(job, &s, limit, &need, &fits, err));
        }
        size_t n = strlen(options);
        (void)snprintf(options + n, sizeof options - n, "%s%s", n > 0 && option[0] != '\0' ? " " : "", option);
    }
    if (fits) {
        propose(found, options, need);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_fit_check(vlorpi_job *job, vlorp_err *err)
{
    size_t limit = vlorpi_fit_limit(job);
    size_t need = job->plan.usage.total_bytes;
    if (need <= limit || job->settings.force) {
        return VLORP_OK;
    }
    vlorpi_train_settings asked = job->settings;
    proposals found = {0};
    job->log = NULL; /* what is tried is no news */
    VLORP_TRY(propose_single(job, &asked, limit, &found, err));
    if (found.n == 0) {
        VLORP_TRY(propose_together(job, &asked, limit, &found, err));
    }
    (void)vlorpi_err_set(err, VLORP_E_LIMIT, "the plan needs %.1f MiB and %.1f MiB are %s", (double)need * 0x1p-20,
                         (double)limit * 0x1p-20, asked.memory_limit_bytes > 0 ? "allowed (--memory_limit)" : "available");
    if (found.n > 0) {
        vlorpi_err_hint(err, "it fits with %s; --force tries anyway", found.text);
    } else {
        vlorpi_err_hint(err, "no setting of this model fits; --force tries anyway");
    }
    return VLORP_E_LIMIT;
}
