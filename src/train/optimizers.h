/* optimizers.h - what --optimizer names: a rule, and the settings that it is published with.
 *
 * Layer 6.  One row each, so that most of them are configurations of libvlorp's projector and rules.
 */
#ifndef VLORPI_TRAIN_OPTIMIZERS_H
#define VLORPI_TRAIN_OPTIMIZERS_H

#include "train/settings.h"

typedef struct vlorpi_optimizer_row {
    const char *text;   /* as --optimizer spells it */
    vlorp_rule rule;
    bool projects;      /* its targets, and AdamW trains the rest; false: it trains everything */
    bool at_once;       /* updates inside the backward pass */
    /* where the user names none */
    vlorp_distribution distribution;
    int64_t update_gap;
    double scale;
    double adamw_eps;   /* 0: the library's */
    bool leaves_embeddings; /* to AdamW */
    /* whatever the user names */
    bool unsliced;      /* c = 1: a budget is the rank */
    int64_t rank;       /* 0: from the budget */
} vlorpi_optimizer_row;

const vlorpi_optimizer_row *vlorpi_optimizer_find(vlorpi_optimizer_name name);

/* The projection of a model of that width: what was asked, completed by the row and the default budget. */
vlorp_projection vlorpi_optimizer_projection(const vlorpi_train_settings *settings, int64_t width);

/* The power of two nearest to width / 16, within 16 .. 256. */
int64_t vlorpi_default_budget(int64_t width);

#endif
