/* put_weight.h - a parameter on its way into a file, chunk by chunk.
 *
 * Layer 5.  Part of saving; shared by the forms that are written.
 */
#ifndef VLORPI_CHECKPOINT_PUT_WEIGHT_H
#define VLORPI_CHECKPOINT_PUT_WEIGHT_H

#include "checkpoint/file_writer.h"
#include "checkpoint/save.h"

enum { VLORPI_CHUNK_ELEMENTS = 1 << 16, VLORPI_CHUNK_BYTES = VLORPI_CHUNK_ELEMENTS * 4 };

/* How it shall lie in the file. */
typedef struct vlorpi_stored_form {
    vlorpi_storage storage; /* F32, BF16, F16 or Q8_0 (rows of whole blocks) */
    int64_t head_rows;      /* > 0: rows in GGUF's rotary order, heads of so many rows */
} vlorpi_stored_form;

/* Appends the data of parameter param.  The saver's scratch and chunk are used; the writer's buffer
 * must be neither.  Errors: those of reading and writing; E_NUMERIC for a value that the form cannot hold. */
VLORP_CHECKED vlorp_status vlorpi_put_weight(vlorpi_file_writer *writer, const vlorpi_checkpoint_saver *saver,
                                             const vlorpi_checkpoint_model *model, int param, vlorpi_stored_form form,
                                             vlorp_err *err);

#endif
