#include "train/signs.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    WINDOW_STEPS = 60,   /* of the plateau's windows at least */
    WINDOWS_IN_RUN = 12, /* and at most that many of them in a long run */
    MIN_DRAWS = 3        /* once is no period */
};

/* How far a sign must stand out. */
static const double spike_nats = 0.5;
static const double spike_share = 0.25; /* of the loss at first */
static const double spike_deviations = 3;
static const double deviation_of_jump = 0.886; /* half of sqrt(pi): of normal losses, from mean |differences| */
static const double plateau_share = 0.005; /* of the loss: less is no fall */
static const double slow_share = 0.5;      /* of an ordinary step, taken by the probe */

void vlorpi_signs_begin(vlorpi_signs *signs, const vlorpi_signs_run *run)
{
    *signs = (vlorpi_signs){.run = *run};
}

/* The standard deviation of single losses, from differences of neighbours: a trend does not count, a single jump
 * hardly. */
static double scatter(const vlorpi_signs *s)
{
    return s->n_seen > 1 ? deviation_of_jump * s->jump_sum / (double)(s->n_seen - 1) : 0;
}

static bool spikes(vlorpi_signs *s, const vlorpi_step_metrics *step, char *text, size_t text_bytes)
{
    int64_t early = s->run.n_steps / 4 > 2 * s->run.warmup_steps ? s->run.n_steps / 4 : 2 * s->run.warmup_steps;
    bool saw_first = s->first_step == 1; /* a resumed run did not */
    if (s->said_spike || !saw_first || s->n_seen <= VLORPI_SIGNS_RECENT || step->step > early) {
        return false;
    }
    double now = 0;
    double lowest = s->recent[0];
    double jumps = 0;
    for (int i = 0; i < VLORPI_SIGNS_RECENT; i++) {
        now += s->recent[i] / VLORPI_SIGNS_RECENT;
        lowest = fmin(lowest, s->recent[i]);
        jumps += i > 0 ? fabs(s->recent[i] - s->recent[i - 1]) : 0;
    }
    /* the spike itself must not pass for scatter: the recent losses alone may have less */
    double deviation = fmin(scatter(s), deviation_of_jump * jumps / (VLORPI_SIGNS_RECENT - 1));
    double rise = lowest - s->first;
    if (rise < spike_nats || rise < spike_share * s->first || rise < spike_deviations * deviation) {
        return false;
    }
    s->said_spike = true;
    (void)snprintf(text, text_bytes,
                   "the loss rose from %.2f to %.2f in the first %" PRId64 " steps: a longer warm-up (--warmup_steps, now %"
                   PRId64 ") or a smaller --lr avoids such a spike", s->first, now, step->step, s->run.warmup_steps);
    return true;
}

static bool stands_still(vlorpi_signs *s, const vlorpi_step_metrics *step, char *text, size_t text_bytes)
{
    int64_t window = s->run.n_steps / WINDOWS_IN_RUN > WINDOW_STEPS ? s->run.n_steps / WINDOWS_IN_RUN : WINDOW_STEPS;
    if (step->step <= s->run.warmup_steps || step->lr < 0.5 * s->high_lr) { /* a small rate explains a standstill */
        s->n_windows = 0;
        s->n_in_window = 0;
        memset(s->window_sum, 0, sizeof s->window_sum);
        return false;
    }
    s->window_sum[VLORPI_SIGNS_WINDOWS - 1] += step->loss;
    if (++s->n_in_window < window) {
        return false;
    }
    double oldest = s->window_sum[0] / (double)window;
    double newest = s->window_sum[VLORPI_SIGNS_WINDOWS - 1] / (double)window;
    double error = scatter(s) * sqrt(2.0 / (double)window); /* of the difference of two means */
    bool whole = ++s->n_windows >= VLORPI_SIGNS_WINDOWS;
    memmove(s->window_sum, s->window_sum + 1, (VLORPI_SIGNS_WINDOWS - 1) * sizeof s->window_sum[0]);
    s->window_sum[VLORPI_SIGNS_WINDOWS - 1] = 0;
    s->n_in_window = 0;
    if (s->said_plateau || !whole || !s->run.is_projected || oldest - newest > plateau_share * oldest ||
        oldest - newest > error) {
        return false;
    }
    s->said_plateau = true;
    const vlorp_projection_used *p = &s->run.projection;
    (void)snprintf(text, text_bytes,
                   "the loss stands at %.3f (%.3f before) since %" PRId64 " steps: if it should still fall, try a larger --lr, "
                   "or a finer projection by a larger --factor (now %s%" PRId64 ", rank %" PRId64 "; %s)", newest, oldest,
                   (VLORPI_SIGNS_WINDOWS - 1) * window, p->f > 1 ? "1/" : "", p->f > 1 ? p->f : p->c, p->r,
                   p->r > 1 ? "with a smaller --rank it takes no more memory" : "memory grows with factor * rank");
    return true;
}

static bool slows_down(vlorpi_signs *s, const vlorpi_step_metrics *step, char *text, size_t text_bytes)
{
    if ((step->step - 1) % s->run.update_gap == 0) {
        s->probe_seconds += step->parts.probe;
        s->n_draws++;
    } else {
        s->other_seconds += step->seconds;
        s->n_others++;
    }
    if (s->said_slowdown || !s->run.is_svd || s->n_draws < MIN_DRAWS || s->n_others == 0) {
        return false;
    }
    double probe = s->probe_seconds / (double)s->n_draws;
    double other = s->other_seconds / (double)s->n_others;
    if (probe < slow_share * other) {
        return false;
    }
    s->said_slowdown = true;
    (void)snprintf(text, text_bytes,
                   "every %" PRId64 " steps an svd projection takes %.2g s beside a step's %.2g s: --proj_type normal trains "
                   "alike without such pauses, a larger --update_proj_gap makes them rarer", s->run.update_gap, probe, other);
    return true;
}

bool vlorpi_signs_see(vlorpi_signs *signs, const vlorpi_step_metrics *step, char *text, size_t text_bytes)
{
    signs->first_step = signs->first_step == 0 ? step->step : signs->first_step;
    if (step->n_targets == 0) {
        return false; /* such a step has no loss */
    }
    int64_t at = signs->n_seen % VLORPI_SIGNS_RECENT;
    if (signs->n_seen > 0) {
        double jump = step->loss - signs->recent[(at + VLORPI_SIGNS_RECENT - 1) % VLORPI_SIGNS_RECENT];
        signs->jump_sum += fabs(jump);
    }
    signs->first = signs->n_seen == 0 ? step->loss : signs->first;
    signs->recent[at] = step->loss;
    signs->n_seen++;
    signs->high_lr = step->lr > signs->high_lr ? step->lr : signs->high_lr;
    bool slow = slows_down(signs, step, text, text_bytes);
    bool still = !slow && stands_still(signs, step, text, text_bytes);
    return slow || still || spikes(signs, step, text, text_bytes);
}
