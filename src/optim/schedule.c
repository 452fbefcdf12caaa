#include <vlorp/schedule.h>

#include <math.h>

static const double PI = 3.14159265358979323846;

vlorp_schedule vlorp_schedule_default(void)
{
    return (vlorp_schedule){.kind = VLORP_SCHEDULE_COSINE, .lr = 2e-5, .min_lr_ratio = 0.1, .n_cycles = 1};
}

/* From 1 at p = 0 to floor at p = 1. */
static double cosine(double p, double floor)
{
    return floor + (1 - floor) * 0.5 * (1 + cos(PI * p));
}

double vlorp_schedule_lr(const vlorp_schedule *s, int64_t k)
{
    if (k < s->warmup_steps) {
        return s->lr * (double)(k + 1) / (double)s->warmup_steps;
    }
    int64_t n_decay = s->n_steps - s->warmup_steps;
    if (s->kind == VLORP_SCHEDULE_CONSTANT || s->n_steps <= 0) {
        return s->lr;
    }
    double p = n_decay <= 0 || k >= s->n_steps ? 1 : (double)(k - s->warmup_steps) / (double)n_decay;
    if (s->kind == VLORP_SCHEDULE_LINEAR) {
        return s->lr * (1 - p);
    }
    if (s->kind == VLORP_SCHEDULE_COSINE_RESTARTS && p < 1) {
        /* In whole numbers, so that a cycle starts exactly at its first step. */
        int64_t cycles = s->n_cycles < 1 ? 1 : s->n_cycles;
        int64_t phase = (k - s->warmup_steps) % n_decay * cycles % n_decay;
        p = (double)phase / (double)n_decay;
    }
    return s->lr * cosine(p, s->min_lr_ratio);
}
