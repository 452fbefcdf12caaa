/* plan.h - memory before running, from the layout code of the run itself.
 *
 * Layer 6.  The plan is what is already booked (tables, tokenizer, data set) plus what the same
 * layout functions count over arenas without memory.
 */
#ifndef VLORPI_TRAIN_PLAN_H
#define VLORPI_TRAIN_PLAN_H

#include <jansson.h>

#include "base/arena.h"

struct vlorpi_job;

typedef struct vlorpi_plan {
    vlorpi_mem_usage usage;                      /* what the ledger will say at its peak */
    size_t arena_bytes[VLORPI_MEM_N_CLASSES];    /* of the arenas that _allocate makes; 0: none */
} vlorpi_plan;

/* Runs every layout function of the job over arenas (indexed by memory class), counting or real. */
void vlorpi_plan_layout(struct vlorpi_job *job, vlorpi_arena arenas[VLORPI_MEM_N_CLASSES]);

/* Counts. */
VLORP_CHECKED vlorp_status vlorpi_plan_make(struct vlorpi_job *job, vlorpi_plan *plan, vlorp_err *err);

/* {"weights": …, "gradients": …, …, "total": …}.  Owner: the caller; NULL when out of memory. */
json_t *vlorpi_plan_json(const vlorpi_mem_usage *usage);

#endif
