#include "data/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/file_kind.h"
#include "data/record_reader.h"

vlorp_status vlorpi_record_reader_emit(vlorpi_record_reader *reader, const vlorpi_record *record, vlorp_err *err)
{
    reader->report->n_records++;
    return reader->fn(reader->ctx, record, err);
}

vlorp_status vlorpi_record_reader_misfit(const vlorpi_record_reader *reader, bool with_nested, vlorp_err *err,
                                         const char *what)
{
    char wanted[320];
    vlorpi_form_wanted(reader->report->form, with_nested, wanted, sizeof wanted);
    VLORP_FAIL(err, VLORP_E_FORMAT, "%s; wanted: %s", what, wanted);
}

void vlorpi_record_reader_note_column(vlorpi_record_reader *reader, vlorpi_bytes column, bool used)
{
    enum { LONGEST = 60 };
    static const char more[] = ", ...";
    char *columns = reader->report->columns;
    size_t room = sizeof reader->report->columns - sizeof more;
    size_t n = strlen(columns);
    if (n >= 3 && strcmp(columns + n - 3, "...") == 0) {
        return;
    }
    bool first_unused = !used && strstr(columns, "not used: ") == NULL;
    const char *lead = first_unused ? (n == 0 ? "not used: " : "; not used: ") : (n == 0 ? "" : ", ");
    if (column.n_bytes > LONGEST || n + strlen(lead) + column.n_bytes > room) {
        (void)snprintf(columns + n, sizeof more, "%s", n > 0 ? more : "...");
        return;
    }
    n += (size_t)snprintf(columns + n, room + 1 - n, "%s%.*s", lead, (int)column.n_bytes, column.text);
    for (size_t i = 0; i < n; i++) {
        columns[i] = (unsigned char)columns[i] < 0x20 || columns[i] == 0x7F ? '?' : columns[i];
    }
}

static int64_t line_of(const char *bytes, size_t at)
{
    int64_t line = 1;
    for (const char *p = bytes, *end = bytes + at; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) {
        line++;
    }
    return line;
}

static vlorp_status read_kind(vlorpi_record_reader *reader, vlorpi_file_kind kind, vlorp_err *err)
{
    switch (kind) {
    case VLORPI_FILE_JSON_ARRAY: return vlorpi_records_read_json(reader, true, false, err);
    case VLORPI_FILE_JSON_LINES: return vlorpi_records_read_json(reader, false, true, err);
    case VLORPI_FILE_JSON_VALUES: return vlorpi_records_read_json(reader, false, false, err);
    case VLORPI_FILE_CSV: return vlorpi_records_read_csv(reader, ',', err);
    case VLORPI_FILE_TSV: return vlorpi_records_read_csv(reader, '\t', err);
    case VLORPI_FILE_TEXT: break;
    }
    if (reader->report->form != VLORPI_FORM_ANY && reader->report->form != VLORPI_FORM_STREAM) {
        return vlorpi_record_reader_misfit(reader, true, err, "the file is plain text");
    }
    reader->report->form = VLORPI_FORM_STREAM;
    reader->report->text_begin = reader->at;
    return VLORP_OK;
}

vlorp_status vlorpi_records_read(vlorpi_records_report *report, vlorpi_mem *mem, const char *name,
                                 const unsigned char *bytes, size_t n_bytes, vlorpi_form wanted, vlorpi_record_fn *fn,
                                 void *ctx, vlorp_err *err)
{
    *report = (vlorpi_records_report){.form = wanted};
    vlorpi_file_kind kind;
    size_t begin;
    VLORP_TRY(vlorpi_file_kind_of(&kind, &begin, name, bytes, n_bytes, err));
    vlorpi_record_reader reader = {
        .mem = mem, .name = name, .bytes = (const char *)bytes, .n_bytes = n_bytes, .at = begin, .error_at = begin,
        .fn = fn, .ctx = ctx, .report = report,
    };
    vlorp_status status = read_kind(&reader, kind, err);
    if (status == VLORP_OK && report->form != VLORPI_FORM_STREAM && report->n_records == 0) {
        reader.error_at = begin;
        status = vlorpi_record_reader_misfit(&reader, kind < VLORPI_FILE_CSV, err, "the file holds no record");
    }
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s: line %" PRId64, name, line_of(reader.bytes, reader.error_at));
    }
    return status;
}
