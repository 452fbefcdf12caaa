/* gguf_writer.h - the header of a GGUF file (version 3) to be written: keys and tensors, in order.
 *
 * Layer 2.  Without a sink nothing is written and bytes and keys are counted, so that the same calls
 * tell a file's size before it is begun.  The first error stays; later calls do nothing.
 */
#ifndef VLORPI_FORMAT_GGUF_WRITER_H
#define VLORPI_FORMAT_GGUF_WRITER_H

#include <stdbool.h>

#include "format/tensor_info.h"

/* Takes n_bytes that belong at the end of the file. */
typedef vlorp_status vlorpi_gguf_sink(void *ctx, const void *bytes, size_t n_bytes, vlorp_err *err);

typedef struct vlorpi_gguf_writer {
    vlorpi_gguf_sink *sink; /* NULL: only counts */
    void *ctx;
    uint64_t n_bytes;
    int64_t n_keys;
    vlorp_status status;
    vlorp_err *err; /* of the first error; may be NULL */
} vlorpi_gguf_writer;

/* Magic, version and the two counts. */
void vlorpi_gguf_put_head(vlorpi_gguf_writer *w, int64_t n_tensors, int64_t n_keys);

void vlorpi_gguf_put_u32(vlorpi_gguf_writer *w, const char *key, uint32_t value);
void vlorpi_gguf_put_f32(vlorpi_gguf_writer *w, const char *key, float value);
void vlorpi_gguf_put_bool(vlorpi_gguf_writer *w, const char *key, bool value);
void vlorpi_gguf_put_text(vlorpi_gguf_writer *w, const char *key, const char *text, size_t n_bytes);

/* An array of n elements; exactly n calls of the kind follow. */
void vlorpi_gguf_put_texts(vlorpi_gguf_writer *w, const char *key, int64_t n);
void vlorpi_gguf_put_floats(vlorpi_gguf_writer *w, const char *key, int64_t n);
void vlorpi_gguf_put_ints(vlorpi_gguf_writer *w, const char *key, int64_t n);
void vlorpi_gguf_put_item_text(vlorpi_gguf_writer *w, const char *text, size_t n_bytes);
/* The text "left right". */
void vlorpi_gguf_put_item_pair(vlorpi_gguf_writer *w, const char *left, size_t n_left, const char *right,
                               size_t n_right);
void vlorpi_gguf_put_item_float(vlorpi_gguf_writer *w, float value);
void vlorpi_gguf_put_item_int(vlorpi_gguf_writer *w, int32_t value);

/* A tensor's entry: name, storage (one that we read), n_dims and shape of info are used.  *offset is
 * where its data starts, and becomes the next tensor's place. */
void vlorpi_gguf_put_tensor(vlorpi_gguf_writer *w, const vlorpi_tensor_info *info, uint64_t *offset);
/* Zeros up to the alignment: after the entries, and after each tensor's data, whose n_bytes count. */
void vlorpi_gguf_put_padding(vlorpi_gguf_writer *w, uint64_t n_bytes);

#endif
