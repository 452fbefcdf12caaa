/* csv.h - the rows of an RFC 4180 file, one at a time.
 *
 * Layer 4.  Untrusted bytes in, fields out.  Does not know what a column means.
 *
 * Fields may be quoted; a quoted field holds delimiters, line breaks and doubled quotes.  A quote
 * inside an unquoted field stands for itself, as Python's csv module reads it.  Lines end in LF, CRLF or
 * CR; blank lines are skipped.
 */
#ifndef VLORPI_DATA_CSV_H
#define VLORPI_DATA_CSV_H

#include <stdbool.h>

#include "base/mem.h"
#include "format/gguf.h"

enum { VLORPI_CSV_MAX_FIELDS = 4096 };

/* Plain storage; _init before use.  The row is held in two buffers that grow to the longest row. */
typedef struct vlorpi_csv {
    vlorpi_mem *mem;
    const char *bytes; /* borrowed */
    size_t n_bytes;
    size_t at;         /* where the next row begins */
    size_t row_at;     /* where the present row begins */
    size_t error_at;   /* after a failure: the place that is wrong */
    char delimiter;
    char *text;        /* the fields of the row, unquoted, back to back */
    size_t n_text;
    size_t *ends;      /* [n_fields] where each field ends in text */
    int n_fields;
} vlorpi_csv;

void vlorpi_csv_init(vlorpi_csv *csv, vlorpi_mem *mem, const char *bytes, size_t n_bytes, char delimiter);
void vlorpi_csv_deinit(vlorpi_csv *csv);

/* Reads the next row; *more is false at the end.  Errors: E_FORMAT (an open quote, text behind a
 * closing quote, too many fields), E_NOMEM; the text says what, error_at says where. */
VLORP_CHECKED vlorp_status vlorpi_csv_next(vlorpi_csv *csv, bool *more, vlorp_err *err);

/* Field i of the present row; borrowed until the next row. */
vlorpi_bytes vlorpi_csv_field(const vlorpi_csv *csv, int i);

#endif
