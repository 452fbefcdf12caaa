/* text_out.h - a model's text on its way out: to standard output at once, into memory, or both.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_TEXT_OUT_H
#define VLORPI_CLI_TEXT_OUT_H

#include <stdbool.h>

#include "base/mem.h"
#include "eval/text_stream.h"

/* Zero-initialise, mem set; free text with vlorpi_mem_free. */
typedef struct vlorpi_text_out {
    vlorpi_mem *mem;
    bool shows, keeps;
    char *text; /* owned; what was kept, not NUL-terminated */
    size_t n_bytes;
} vlorpi_text_out;

/* Appends to the kept text. */
VLORP_CHECKED vlorp_status vlorpi_text_out_keep(vlorpi_text_out *out, const char *text, size_t n_bytes,
                                                vlorp_err *err);
/* A sink that writes to out, which it borrows. */
vlorpi_text_sink vlorpi_text_out_sink(vlorpi_text_out *out);

#endif
