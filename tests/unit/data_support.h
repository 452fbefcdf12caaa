/* data_support.h - reads records from a string and writes down what came. */
#ifndef VLORP_TESTS_DATA_SUPPORT_H
#define VLORP_TESTS_DATA_SUPPORT_H

#include "base/mem.h"
#include "data/records.h"
#include "support.h"

/* "form|field|field|...\n" per record; an absent field is "-". */
typedef struct record_log {
    char text[8192];
    int64_t n;
} record_log;

static inline vlorp_status log_record(void *ctx, const vlorpi_record *record, vlorp_err *err)
{
    (void)err;
    record_log *log = ctx;
    size_t n = strlen(log->text);
    const vlorpi_form_traits *form = vlorpi_form_of(record->form);
    log->n++;
    n += (size_t)snprintf(log->text + n, sizeof log->text - n, "%s", form->name);
    for (int i = 0; i < form->n_fields && !form->nested && n < sizeof log->text; i++) {
        vlorpi_bytes field = record->fields[i];
        n += (size_t)snprintf(log->text + n, sizeof log->text - n, "|%.*s",
                              field.text != NULL ? (int)field.n_bytes : 1, field.text != NULL ? field.text : "-");
    }
    if (n < sizeof log->text) {
        (void)snprintf(log->text + n, sizeof log->text - n, "\n");
    }
    return VLORP_OK;
}

/* The bytes are copied to a block of their own size, so that a read past the end is seen. */
static inline vlorp_status read_records(record_log *log, vlorpi_records_report *report, const char *name,
                                        const char *bytes, size_t n_bytes, vlorpi_form wanted, vlorp_err *err)
{
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    unsigned char *copy = malloc(n_bytes + (n_bytes == 0));
    assert_non_null(copy);
    memcpy(copy, bytes, n_bytes);
    *log = (record_log){0};
    *err = (vlorp_err){0};
    vlorp_status status = vlorpi_records_read(report, &mem, name, copy, n_bytes, wanted, log_record, log, err);
    free(copy);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    return status;
}

#endif
