/* companions.h - the files of a model folder that hold no weights.
 *
 * Layer 5.  Part of save.c's work, apart because the sources differ here.
 */
#ifndef VLORPI_CHECKPOINT_COMPANIONS_H
#define VLORPI_CHECKPOINT_COMPANIONS_H

#include "checkpoint/new_folder.h"
#include "checkpoint/save.h"

/* Bytes that they will take, as an upper estimate. */
VLORP_CHECKED vlorp_status vlorpi_companions_bytes(size_t *n_bytes, const vlorpi_checkpoint_model *model,
                                                   vlorp_err *err);

/* Writes config.json and the others into the folder; buffer [capacity] is scratch. */
VLORP_CHECKED vlorp_status vlorpi_companions_write(const vlorpi_new_folder *folder,
                                                   const vlorpi_checkpoint_model *model, unsigned char *buffer,
                                                   size_t capacity, vlorp_err *err);

#endif
