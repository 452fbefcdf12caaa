/* record_reader.h - what the readers of JSON and CSV share.
 *
 * Layer 4, private to data/.
 */
#ifndef VLORPI_DATA_RECORD_READER_H
#define VLORPI_DATA_RECORD_READER_H

#include "data/records.h"

typedef struct vlorpi_record_reader {
    vlorpi_mem *mem;
    const char *name;
    const char *bytes; /* borrowed: the whole file */
    size_t n_bytes;
    size_t at;         /* the first byte that is not yet read */
    size_t error_at;   /* the place that a failure is about; its line goes before the text */
    vlorpi_record_fn *fn;
    void *ctx;
    vlorpi_records_report *report; /* its form is the one asked for, until the first record tells */
} vlorpi_record_reader;

/* Hands a record on and counts it. */
VLORP_CHECKED vlorp_status vlorpi_record_reader_emit(vlorpi_record_reader *reader, const vlorpi_record *record,
                                                     vlorp_err *err);
/* Fails with the columns that are wanted, after what the record is or lacks. */
VLORP_CHECKED vlorp_status vlorpi_record_reader_misfit(const vlorpi_record_reader *reader, bool with_nested,
                                                       vlorp_err *err, const char *what);
/* Adds one column's name, valid UTF-8, to the report; the used ones come first.  It is made fit for a
 * terminal, and names that find no room become "...". */
void vlorpi_record_reader_note_column(vlorpi_record_reader *reader, vlorpi_bytes column, bool used);

VLORP_CHECKED vlorp_status vlorpi_records_read_json(vlorpi_record_reader *reader, bool array, bool lines,
                                                    vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_records_read_csv(vlorpi_record_reader *reader, char delimiter, vlorp_err *err);

#endif
