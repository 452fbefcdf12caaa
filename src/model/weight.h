/* weight.h - where a parameter lies in a file, and reading it piece by piece without holding it.
 *
 * Layer 4.  GGUF interleaves, within each head of the query and key matrices of some families, the
 * two halves that rotary positions turn together: row 2i + a of a head there is our row a * E/2 + i.
 */
#ifndef VLORPI_MODEL_WEIGHT_H
#define VLORPI_MODEL_WEIGHT_H

#include "model/model.h"
#include "model/names.h"

typedef struct vlorpi_weight {
    const vlorpi_tensor_info *info; /* borrowed from the source */
    int64_t width;                  /* elements of a row */
    int64_t head_rows;              /* > 0: rows lie in GGUF's rotary order, heads of so many rows */
} vlorpi_weight;

/* Finds parameter param of the model's table in the source.  Errors: E_SHAPE when the tensor is
 * missing or misshapen, with its name. */
VLORP_CHECKED vlorp_status vlorpi_weight_find(vlorpi_weight *weight, const vlorpi_model *model,
                                              const vlorpi_source *source, int param, vlorp_err *err);
/* Elements [begin, begin + n) of the parameter, in our row order, as fp32; begin and n are multiples
 * of 256 or end with the parameter.  Errors: E_UNSUPPORTED for a storage that we do not read. */
VLORP_CHECKED vlorp_status vlorpi_weight_read(float *out, const vlorpi_weight *weight, int64_t begin, int64_t n,
                                              vlorp_err *err);

/* What GGUF calls the parameter, at most VLORPI_NAME_BYTES, and the heads in whose order it keeps the
 * rows (0: ours). */
void vlorpi_weight_in_gguf(char *name, int64_t *head_rows, const vlorpi_model *model, int param);
/* Where our row lies in GGUF's order, and which of ours lies at its row. */
int64_t vlorpi_weight_row_in_gguf(int64_t row, int64_t head_rows);
int64_t vlorpi_weight_row_from_gguf(int64_t row, int64_t head_rows);

#endif
