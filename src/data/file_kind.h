/* file_kind.h - what a data file is, by its name and its first bytes.
 *
 * Layer 4.  Does not parse; refuses what is not text.
 */
#ifndef VLORPI_DATA_FILE_KIND_H
#define VLORPI_DATA_FILE_KIND_H

#include <stddef.h>

#include "base/status.h"

typedef enum vlorpi_file_kind {
    VLORPI_FILE_JSON_ARRAY,
    VLORPI_FILE_JSON_LINES,  /* one object a line */
    VLORPI_FILE_JSON_VALUES, /* objects that may span lines; a single one too */
    VLORPI_FILE_CSV,
    VLORPI_FILE_TSV,
    VLORPI_FILE_TEXT
} vlorpi_file_kind;

/* The kind, and in *begin the first byte behind a byte order mark.  .json, .jsonl, .ndjson, .csv, .tsv
 * and .txt, .text, .md decide; under another name a file is JSON when it starts like it, else text.
 * Errors: E_FORMAT for an empty file, UTF-16 and bytes that are no text; E_UNSUPPORTED for Parquet,
 * Arrow and compressed files, with the converting command as hint. */
VLORP_CHECKED vlorp_status vlorpi_file_kind_of(vlorpi_file_kind *kind, size_t *begin, const char *name,
                                               const unsigned char *bytes, size_t n_bytes, vlorp_err *err);

#endif
