/* run_folder.h - the folder of one run: its name, its files, and that no run overwrites another.
 *
 * Layer 6.
 *     model/          the model of the last checkpoint, a Hugging Face folder
 *     best/           with keep_best: that of the lowest held-out loss
 *     state/          checkpoints (run_state.h)
 *     metrics.jsonl   one object per step and per evaluation
 *     run.json        every setting, the version, the seed, the machine
 *     lock            held by the process that trains here
 */
#ifndef VLORPI_TRAIN_RUN_FOLDER_H
#define VLORPI_TRAIN_RUN_FOLDER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/log.h"
#include "base/status.h"

enum { VLORPI_PATH_BYTES = 4096 };

typedef struct vlorpi_run_folder {
    char path[VLORPI_PATH_BYTES];
    char model[VLORPI_PATH_BYTES];
    char best[VLORPI_PATH_BYTES];
    char state[VLORPI_PATH_BYTES];
    char metrics[VLORPI_PATH_BYTES];
    char settings[VLORPI_PATH_BYTES];
    int lock; /* a file descriptor while _lock holds, else 0 */
} vlorpi_run_folder;

/* out [VLORPI_PATH_BYTES] = folder/name.  E_LIMIT when it is too long. */
VLORP_CHECKED vlorp_status vlorpi_path_join(char *out, const char *folder, const char *name, vlorp_err *err);

/* Chooses the paths; creates nothing.  save_dir NULL: runs/MODEL-DATA-OPTIMIZER-N with the first
 * free N, where MODEL and DATA are the last parts of the paths given. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_choose(vlorpi_run_folder *folder, const char *save_dir,
                                                    const char *model, const char *dataset, const char *optimizer,
                                                    vlorp_err *err);

/* Creates it and locks it.  A folder that already holds a run is E_STATE with the way out as hint, unless
 * overwrite: then that run can no longer be continued, and its metrics and settings are removed; its model stays until
 * the new one is whole. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_create(vlorpi_run_folder *folder, bool overwrite, const vlorpi_log *log,
                                                    vlorp_err *err);
/* Locks the folder of a run that goes on and removes what a killed save left. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_reopen(vlorpi_run_folder *folder, const vlorpi_log *log, vlorp_err *err);
/* Unlocks it.  Accepts one that was never locked. */
void vlorpi_run_folder_close(vlorpi_run_folder *folder);

/* Whether its state is where it was. */
bool vlorpi_run_folder_is_there(const vlorpi_run_folder *folder);
/* Makes the folder again where it was removed meanwhile: a finished training must have a place to be saved. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_restore(const vlorpi_run_folder *folder, vlorp_err *err);

#endif
