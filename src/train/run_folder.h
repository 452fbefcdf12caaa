/* run_folder.h - the folder of one run: its name, its files, and that no run overwrites another.
 *
 * Layer 6.
 *     model/          the trained model, a Hugging Face folder
 *     metrics.jsonl   one object per step and per evaluation
 *     run.json        every setting, the version, the seed, the machine
 */
#ifndef VLORPI_TRAIN_RUN_FOLDER_H
#define VLORPI_TRAIN_RUN_FOLDER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

enum { VLORPI_PATH_BYTES = 4096 };

typedef struct vlorpi_run_folder {
    char path[VLORPI_PATH_BYTES];
    char model[VLORPI_PATH_BYTES];
    char metrics[VLORPI_PATH_BYTES];
    char settings[VLORPI_PATH_BYTES];
} vlorpi_run_folder;

/* Chooses the paths; creates nothing.  save_dir NULL: runs/MODEL-DATA-OPTIMIZER-N with the first
 * free N, where MODEL and DATA are the last parts of the paths given. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_choose(vlorpi_run_folder *folder, const char *save_dir,
                                                    const char *model, const char *dataset, const char *optimizer,
                                                    vlorp_err *err);

/* Creates it.  A folder that already holds a run is E_STATE with the way out as hint, unless
 * overwrite: then its metrics and settings are removed first, and its model stays until the new one is whole. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_create(const vlorpi_run_folder *folder, bool overwrite, vlorp_err *err);

/* Makes the folder again where it was removed meanwhile: a finished training must have a place to be saved. */
VLORP_CHECKED vlorp_status vlorpi_run_folder_restore(const vlorpi_run_folder *folder, vlorp_err *err);

#endif
