/* schedule.h - the learning rate of each optimizer step. */
#ifndef VLORP_SCHEDULE_H
#define VLORP_SCHEDULE_H

#include <stdint.h>

#include <vlorp/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlorp_schedule_kind {
    VLORP_SCHEDULE_CONSTANT = 0,
    VLORP_SCHEDULE_LINEAR = 1,
    VLORP_SCHEDULE_COSINE = 2,
    VLORP_SCHEDULE_COSINE_RESTARTS = 3
} vlorp_schedule_kind;

typedef struct vlorp_schedule {
    vlorp_schedule_kind kind; /* default cosine */
    double lr;                /* the peak, > 0                                 default 2e-5 */
    int64_t n_steps;          /* of the whole run, warm-up included            default 0: constant after warm-up */
    int64_t warmup_steps;     /* >= 0                                          default 0 */
    double min_lr_ratio;      /* floor of the cosines, in [0, 1]               default 0.1 */
    int64_t n_cycles;         /* of cosine_restarts, >= 1                      default 1 */
} vlorp_schedule;

VLORP_API vlorp_schedule vlorp_schedule_default(void);

/* The rate of optimizer step k, from 0.  With w warm-up steps of N:
 *   k < w                 lr (k + 1) / w
 *   else p = (k - w) / (N - w), held at 1 past the end:
 *   linear                lr (1 - p)
 *   cosine                lr (f + (1 - f) (1 + cos(pi p)) / 2),  f = min_lr_ratio
 *   cosine_restarts       the same with the fractional part of p n_cycles for p, and f at the end
 *   constant              lr
 * Step N - 1 is the last: it still has p < 1. */
VLORP_API double vlorp_schedule_lr(const vlorp_schedule *schedule, int64_t k);

#ifdef __cplusplus
}
#endif
#endif
