#include "train/fit.h"

#include <stdio.h>
#include <string.h>

#include "base/system_memory.h"
#include "base/threads.h"
#include "train/notches.h"

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

enum { MOST_PROPOSALS = 4 };

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
    for (int w = 0; w < VLORPI_N_WAYS && found->n < MOST_PROPOSALS; w++) {
        vlorpi_train_settings s = *asked;
        size_t need = 0;
        bool fits = false;
        VLORP_TRY(vlorpi_job_replan(job, asked, err));
        while (!fits && vlorpi_ways[w].lower(&s, job)) {
            VLORP_TRY(try_settings(job, &s, limit, &need, &fits, err));
        }
        if (fits) {
            char option[VLORPI_WAY_BYTES] = "";
            vlorpi_ways[w].print(option, &s, asked);
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
    size_t need = 0;
    bool fits = false;
    VLORP_TRY(vlorpi_job_replan(job, asked, err));
    for (int w = 0; w < VLORPI_N_WAYS && !fits; w++) {
        while (!fits && vlorpi_ways[w].lower(&s, job)) {
            VLORP_TRY(try_settings(job, &s, limit, &need, &fits, err));
        }
    }
    if (fits) {
        char options[VLORPI_WAYS_BYTES];
        vlorpi_ways_print(options, &s, asked);
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

/* The order in which a plan at its leanest is given back what it was asked for: what matters most for the result first.
 * Checkpointing and micro-batches leave results as they are; the first costs more time. */
static const vlorpi_way_name worth[] = {
    VLORPI_WAY_LENGTH, VLORPI_WAY_DTYPE,         VLORPI_WAY_BUDGET, VLORPI_WAY_STATE,
    VLORPI_WAY_TARGET, VLORPI_WAY_CHECKPOINTING, VLORPI_WAY_BATCH,
};
enum { N_WORTH = sizeof worth / sizeof worth[0] };

/* Takes fit->settings down to where no way takes less; a notch in between may take more. */
static vlorp_status make_leanest(vlorpi_fit *fit, vlorpi_job *job, size_t limit, vlorp_err *err)
{
    for (int i = N_WORTH - 1; i >= 0; i--) {
        vlorpi_train_settings s = fit->settings;
        VLORP_TRY(vlorpi_job_replan(job, &s, err));
        while (vlorpi_ways[worth[i]].lower(&s, job)) {
            size_t need = 0;
            VLORP_TRY(try_settings(job, &s, limit, &need, &fit->fits, err));
            if (need < fit->need_bytes) {
                fit->need_bytes = need;
                fit->settings = s;
            }
        }
    }
    fit->fits = fit->need_bytes <= limit;
    return VLORP_OK;
}

/* Gives one way back as far as fits; what stands in fit->settings does. */
static vlorp_status give_back(vlorpi_fit *fit, const vlorpi_way *way, vlorpi_job *job,
                              const vlorpi_train_settings *asked, size_t limit, vlorp_err *err)
{
    vlorpi_train_settings s = fit->settings;
    way->restore(&s, asked);
    do {
        size_t need = 0;
        bool fits = false;
        VLORP_TRY(try_settings(job, &s, limit, &need, &fits, err));
        if (fits) {
            fit->settings = s;
            fit->need_bytes = need;
            return VLORP_OK;
        }
    } while (way->lower(&s, job));
    return VLORP_OK;
}

vlorp_status vlorpi_fit_find(vlorpi_fit *fit, vlorpi_job *job, const vlorpi_train_settings *asked, size_t limit,
                             vlorp_err *err)
{
    *fit = (vlorpi_fit){.settings = *asked};
    VLORP_TRY(vlorpi_job_replan(job, asked, err));
    fit->need_bytes = job->plan.usage.total_bytes;
    fit->as_asked = fit->fits = fit->need_bytes <= limit;
    if (fit->fits) {
        return VLORP_OK;
    }
    VLORP_TRY(make_leanest(fit, job, limit, err));
    for (int i = 0; i < N_WORTH && fit->fits; i++) {
        VLORP_TRY(give_back(fit, &vlorpi_ways[worth[i]], job, asked, limit, err));
    }
    return vlorpi_job_replan(job, &fit->settings, err);
}
