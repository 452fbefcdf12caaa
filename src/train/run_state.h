/* run_state.h - the checkpoints of a run, from which it goes on bit by bit.
 *
 * Layer 6.
 *     state/latest    the step of the last good checkpoint, as text; replaced by one rename
 *     state/STEP/     one checkpoint, which appears whole or not at all: a Hugging Face folder, or an adapter's, and
 *                     vlorp_optimizer.bin   the optimizer's state (docs/library.md)
 *                     vlorp_state.json      how far the run is
 *                     vlorp_settings.json   run.json as it was
 *                     vlorp_checksums       of all files (checkpoint/checksums.h)
 *     state/files/    what does not change from one checkpoint to the next, written when the run begins, so
 *                     that the source may vanish
 * model/ and best/ are made from a checkpoint: of hard links, where the file system has them, so that weights are
 * written once.
 *
 * A checkpoint of adapters is their folder as PEFT has it, which names the base by its path.  Where model/ is the merged
 * model, its weights are made from what is in memory, which is what the checkpoint holds.
 */
#ifndef VLORPI_TRAIN_RUN_STATE_H
#define VLORPI_TRAIN_RUN_STATE_H

#include "train/job.h"
#include "train/run_folder.h"

#define VLORPI_SETTINGS_NAME VLORPI_STATE_PREFIX "settings.json"

/* How far a run is.  The position in the data and every random number follow from the step. */
typedef struct vlorpi_run_point {
    int64_t step;          /* optimizer steps done */
    bool evaluated;        /* the held-out loss that is due after this step was taken */
    int64_t metrics_bytes; /* of metrics.jsonl */
    int64_t best_step;     /* of the lowest held-out loss after a step; 0: none yet */
    double best_loss;
    char base_mark[VLORPI_PARAMS_MARK_BYTES]; /* of the weights beside adapters; empty: there are no adapters */
} vlorpi_run_point;

/* Bytes that one checkpoint takes on disk, as an upper estimate. */
VLORP_CHECKED vlorp_status vlorpi_run_state_bytes(size_t *n_bytes, const vlorpi_job *job, vlorp_err *err);

/* Writes state/files; buffers are allocated meanwhile, so it comes before the weights.  Checkpoints that an
 * overwritten run left are removed then.  E_IO also when the disk has no room for a checkpoint. */
VLORP_CHECKED vlorp_status vlorpi_run_state_prepare(const vlorpi_job *job, const vlorpi_run_folder *folder,
                                                    bool keep_checkpoints, vlorp_err *err);

/* Writes state/STEP and makes it the latest.  Allocates nothing.  On an error the one before stays the latest. */
VLORP_CHECKED vlorp_status vlorpi_run_state_save(const vlorpi_job *job, const vlorpi_run_folder *folder,
                                                 const vlorpi_run_point *point, vlorp_err *err);
/* Makes place (model or best) from state/STEP, of which the job's weights are. */
VLORP_CHECKED vlorp_status vlorpi_run_state_publish(const vlorpi_job *job, const vlorpi_run_folder *folder,
                                                    int64_t step, const char *place, vlorp_err *err);
/* Removes all checkpoints but the newest n_kept up to step. */
void vlorpi_run_state_prune(const vlorpi_run_folder *folder, int64_t step, int64_t n_kept);

/* checkpoint [VLORPI_PATH_BYTES] = the folder of the latest one in state.  E_STATE when there is none. */
VLORP_CHECKED vlorp_status vlorpi_run_state_find(char *checkpoint, const char *state, vlorp_err *err);
/* Compares all checksums and reads the point.  Errors: E_IO, E_FORMAT naming the file. */
VLORP_CHECKED vlorp_status vlorpi_run_state_read(vlorpi_run_point *point, const char *checkpoint, vlorpi_mem *mem,
                                                 vlorp_err *err);
/* The settings of a checkpoint, its checksum compared.  Owner: the caller, json_decref. */
VLORP_CHECKED vlorp_status vlorpi_run_state_settings(json_t **settings, const char *checkpoint, vlorpi_mem *mem,
                                                     vlorp_err *err);
/* Reads the optimizer's state, straight into its place. */
VLORP_CHECKED vlorp_status vlorpi_run_state_load(const vlorpi_job *job, const char *checkpoint, vlorp_err *err);

#endif
