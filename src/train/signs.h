/* signs.h - published signatures of a training that goes badly, told while it runs.
 *
 * Layer 6.  Sees the metrics of one step after another and decides; prints nothing, allocates nothing.
 *
 *     spike      the loss climbs in the first quarter of a run: the learning rate came too early
 *     plateau    the loss stands still under a high learning rate: the projection may be too coarse
 *     slowdown   steps that draw an svd projection take much longer than the others
 *
 * A sign must stand out of the steps' own scatter, so that an ordinary run is left in peace, and is given once.
 */
#ifndef VLORPI_TRAIN_SIGNS_H
#define VLORPI_TRAIN_SIGNS_H

#include <stdbool.h>
#include <stddef.h>

#include <vlorp/vlorp.h>

#include "train/metrics.h"

enum { VLORPI_SIGNS_RECENT = 8, VLORPI_SIGNS_WINDOWS = 3, VLORPI_SIGNS_TEXT_BYTES = 320 };

/* What a run looks like before its first step. */
typedef struct vlorpi_signs_run {
    int64_t n_steps;
    int64_t warmup_steps;
    int64_t update_gap;              /* steps between two draws */
    bool is_svd;                     /* else drawing takes no time worth a word */
    bool is_projected;               /* else no projection can be too coarse */
    vlorp_projection_used projection; /* of most matrices */
} vlorpi_signs_run;

/* Fields belong to signs.c. */
typedef struct vlorpi_signs {
    vlorpi_signs_run run;
    int64_t first_step;                 /* that was seen; 0: none yet */
    int64_t n_seen;                     /* steps with targets */
    double recent[VLORPI_SIGNS_RECENT]; /* the last losses, a ring */
    double first;                       /* the first loss, of weights that no step has changed */
    double jump_sum;                    /* differences of losses that follow each other, without their signs */
    double high_lr;                     /* the largest so far */
    double window_sum[VLORPI_SIGNS_WINDOWS];
    int64_t n_in_window;                /* of the last window; the others are full */
    int64_t n_windows;
    double probe_seconds, other_seconds;
    int64_t n_draws, n_others;          /* steps that drew a projection, and the others */
    bool said_spike, said_plateau, said_slowdown;
} vlorpi_signs;

void vlorpi_signs_begin(vlorpi_signs *signs, const vlorpi_signs_run *run);

/* Takes the next step in.  true: text holds one line that says what was seen and what helps. */
bool vlorpi_signs_see(vlorpi_signs *signs, const vlorpi_step_metrics *step, char *text, size_t text_bytes);

#endif
