/* records.h - the records of a data file: bytes in, one call per record.
 *
 * Layer 4.  Knows: JSON arrays, JSON lines, single objects, CSV.  Does not know: prompts, tokens.
 *
 * Untrusted input.  A record is parsed, handed on and forgotten before the next is looked at, so that
 * memory does not grow with the file.
 */
#ifndef VLORPI_DATA_RECORDS_H
#define VLORPI_DATA_RECORDS_H

#include <jansson.h>

#include "base/mem.h"
#include "data/form.h"
#include "format/gguf.h"

/* One record.  fields stand in the order of the form's columns (form.h); an absent one has text
 * NULL.  Everything is borrowed until the call returns. */
typedef struct vlorpi_record {
    vlorpi_form form;
    vlorpi_bytes fields[VLORPI_FORM_MAX_FIELDS];
    const json_t *messages; /* the list of a CHAT record, else NULL */
} vlorpi_record;

/* What is done with a record; a failure ends the reading and is returned, with file and line put
 * before its text. */
typedef vlorp_status vlorpi_record_fn(void *ctx, const vlorpi_record *record, vlorp_err *err);

typedef struct vlorpi_records_report {
    vlorpi_form form;
    char columns[256];  /* the columns that are used, then those that are not */
    int64_t n_records;
    size_t text_begin;  /* STREAM: the first byte of the text, behind a byte order mark */
} vlorpi_records_report;

/* Reads bytes[0, n_bytes), a file called name; the form is `wanted`, or with ANY that of the first
 * record, and every record must have it.  The file's kind is told by the end of its name, else by
 * its first bytes.  A file of plain text gives form STREAM and no records.
 * A self-instruct record is handed on as one ALPACA record per instance.
 * Errors: E_FORMAT with file, line and the columns wanted; E_UNSUPPORTED for Parquet and for
 * compressed files, with the remedy as hint; E_NOMEM; what fn returned. */
VLORP_CHECKED vlorp_status vlorpi_records_read(vlorpi_records_report *report, vlorpi_mem *mem, const char *name,
                                               const unsigned char *bytes, size_t n_bytes, vlorpi_form wanted,
                                               vlorpi_record_fn *fn, void *ctx, vlorp_err *err);

#endif
