/* rules.h - the table of update rules: what each keeps, and how it steps.
 *
 * Layer 4, private to optim/.  Layout, saved state, norm and the checks of registration follow from a rule's
 * row, so that a rule is one row in rules.c and one function that steps.
 */
#ifndef VLORPI_OPTIM_RULES_H
#define VLORPI_OPTIM_RULES_H

#include <vlorp/optimizer.h>

typedef struct vlorpi_slot vlorpi_slot; /* handle.h */
typedef struct vlorpi_step vlorpi_step;

/* What something that is kept for a parameter is shaped as. */
typedef enum vlorpi_shape {
    VLORPI_SHAPE_NONE = 0, /* it is not kept */
    VLORPI_SHAPE_SUMS,     /* S, [n, M] (right) or [M, m] (left) */
    VLORPI_SHAPE_WEIGHT    /* the weight as it is stored */
} vlorpi_shape;

/* What becomes of a moment of S when its P changes. */
typedef enum vlorpi_fate {
    VLORPI_FATE_CONFIGURED = 0, /* as vlorp_optimizer_config.momentum says */
    VLORPI_FATE_KEEP,
    VLORPI_FATE_TRANSPORT
} vlorpi_fate;

typedef struct vlorpi_rule_traits {
    void (*step)(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
    bool projects;         /* reads vlorp_matrix.projection */
    vlorpi_shape gradient; /* what is accumulated */
    vlorpi_shape moment, moment2;
    bool row_column_sums;  /* v_r [n] and v_c [m] */
    bool sums_are_means;   /* of squares */
    bool codes;            /* the moments of all but small parameters are kept as 8-bit codes */
    bool takes_lent;       /* a gradient that stays with the caller */
    bool at_once;          /* a parameter is updated before the step ends; the step must have begun */
    vlorpi_fate fate;
    bool fresh;            /* S has a P of its own in every step; update_gap is that of the moment's */
    bool limited;          /* keeps the norm of its last update */
    bool adapts;           /* its matrices may share a pool of bytes (adaptive_budget) */
    bool fine;             /* takes factors from 1 on alone */
} vlorpi_rule_traits;

/* NULL: there is no such rule. */
const vlorpi_rule_traits *vlorpi_rule_find(vlorp_rule rule);

#endif
