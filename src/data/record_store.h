/* record_store.h - records that outlive their reading.
 *
 * Layer 4.  Knows: records of texts (no CHAT).  Does not know: what they are for.
 */
#ifndef VLORPI_DATA_RECORD_STORE_H
#define VLORPI_DATA_RECORD_STORE_H

#include "data/records.h"

/* Where one record lies: its fields stand back to back in the text. */
typedef struct vlorpi_stored_record {
    vlorpi_form form;
    int32_t n_bytes[VLORPI_FORM_MAX_FIELDS]; /* -1: absent */
    size_t begin;
} vlorpi_stored_record;

/* Zero-initialise, mem set; _deinit. */
typedef struct vlorpi_record_store {
    vlorpi_mem *mem;
    char *text;
    size_t n_bytes;
    vlorpi_stored_record *items; /* [n] */
    int64_t n;
} vlorpi_record_store;

/* Copies a record to the end.  Errors: E_NOMEM; E_LIMIT for a field of 2 GiB. */
VLORP_CHECKED vlorp_status vlorpi_record_store_add(vlorpi_record_store *store, const vlorpi_record *record,
                                                   vlorp_err *err);
/* Record i; borrows from the store until the next _add. */
vlorpi_record vlorpi_record_store_get(const vlorpi_record_store *store, int64_t i);
void vlorpi_record_store_deinit(vlorpi_record_store *store);

#endif
