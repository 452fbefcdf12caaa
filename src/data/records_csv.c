#include <stdio.h>
#include <string.h>

#include "data/csv.h"
#include "data/record_reader.h"
#include "text/token_text.h"

/* Where the columns of the form stand in a row; -1: the file does not have it. */
typedef struct csv_columns {
    int at[VLORPI_FORM_MAX_FIELDS];
    int n_fields; /* of every row */
} csv_columns;

/* MMLU's files have no header: question, four choices, the letter of the right one. */
enum { MMLU_FIELDS = 6 };

static vlorpi_bytes trimmed(vlorpi_bytes field)
{
    while (field.n_bytes > 0 && (field.text[0] == ' ' || field.text[0] == '\t')) {
        field.text++;
        field.n_bytes--;
    }
    while (field.n_bytes > 0 && (field.text[field.n_bytes - 1] == ' ' || field.text[field.n_bytes - 1] == '\t')) {
        field.n_bytes--;
    }
    return field;
}

static int find_column(const vlorpi_csv *csv, const char *column)
{
    for (int i = 0; i < csv->n_fields; i++) {
        vlorpi_bytes field = trimmed(vlorpi_csv_field(csv, i));
        if (field.n_bytes == strlen(column) && memcmp(field.text, column, field.n_bytes) == 0) {
            return i;
        }
    }
    return -1;
}

static bool has_column(const void *ctx, const char *column)
{
    return find_column(ctx, column) >= 0;
}

static bool is_mmlu_row(const vlorpi_csv *csv)
{
    if (csv->n_fields != MMLU_FIELDS) {
        return false;
    }
    vlorpi_bytes letter = vlorpi_csv_field(csv, MMLU_FIELDS - 1);
    return letter.n_bytes == 1 && letter.text[0] >= 'A' && letter.text[0] <= 'D';
}

/* "high_school_physics_dev.csv" is about high school physics.  false: the name tells no subject. */
static bool mmlu_subject(const char *name, char *subject, size_t n_bytes)
{
    static const char *const splits[] = {"_dev.csv", "_val.csv", "_test.csv"};
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    size_t n = strlen(base);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        size_t n_split = strlen(splits[i]);
        if (n > n_split && n - n_split < n_bytes && strcmp(base + n - n_split, splits[i]) == 0) {
            for (size_t k = 0; k < n - n_split; k++) {
                subject[k] = base[k] == '_' ? ' ' : base[k];
            }
            subject[n - n_split] = '\0';
            return true;
        }
    }
    return false;
}

/* Reads one row; a failure is placed. */
static vlorp_status next_row(vlorpi_record_reader *reader, vlorpi_csv *csv, bool *more, vlorp_err *err)
{
    vlorp_status status = vlorpi_csv_next(csv, more, err);
    reader->error_at = status == VLORP_OK ? csv->row_at : csv->error_at;
    if (status == VLORP_OK && !vlorpi_utf8_valid(csv->text, csv->n_text)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the row is not UTF-8");
    }
    return status;
}

/* The header, or with headerless MMLU the first row of data, is the present row. */
static vlorp_status find_columns(vlorpi_record_reader *reader, const vlorpi_csv *csv, csv_columns *columns,
                                 bool *headerless, vlorp_err *err)
{
    vlorpi_form wanted = reader->report->form;
    vlorpi_form form = vlorpi_form_detect(has_column, csv, false);
    *headerless = form == VLORPI_FORM_ANY && is_mmlu_row(csv);
    form = *headerless ? VLORPI_FORM_MMLU : form;
    if (form == VLORPI_FORM_ANY || (wanted != VLORPI_FORM_ANY && wanted != form)) {
        return vlorpi_record_reader_misfit(reader, false, err, "the header's columns fit no form");
    }
    reader->report->form = form;
    const vlorpi_form_traits *traits = vlorpi_form_of(form);
    columns->n_fields = csv->n_fields;
    for (int i = 0; i < traits->n_fields; i++) {
        columns->at[i] = !*headerless ? find_column(csv, traits->fields[i]) : i < MMLU_FIELDS ? i : -1;
        if (columns->at[i] >= 0) {
            const char *column = traits->fields[i];
            vlorpi_record_reader_note_column(reader, (vlorpi_bytes){.text = column, .n_bytes = strlen(column)}, true);
        }
    }
    for (int c = 0; c < csv->n_fields && !*headerless; c++) {
        bool used = false;
        for (int i = 0; i < traits->n_fields; i++) {
            used = used || columns->at[i] == c;
        }
        if (!used) {
            vlorpi_record_reader_note_column(reader, vlorpi_csv_field(csv, c), false);
        }
    }
    return VLORP_OK;
}

static vlorp_status emit_row(vlorpi_record_reader *reader, const vlorpi_csv *csv, const csv_columns *columns,
                             bool headerless, const char *subject, vlorp_err *err)
{
    const vlorpi_form_traits *form = vlorpi_form_of(reader->report->form);
    if (headerless && !is_mmlu_row(csv)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the row has %d fields%s; wanted: question, four choices and the letter A to D",
                   csv->n_fields, csv->n_fields == MMLU_FIELDS ? ", of which the last is no letter A to D" : "");
    }
    if (csv->n_fields != columns->n_fields) {
        char what[80];
        (void)snprintf(what, sizeof what, "the row has %d field%s and the header %d", csv->n_fields,
                       csv->n_fields == 1 ? "" : "s", columns->n_fields);
        return vlorpi_record_reader_misfit(reader, false, err, what);
    }
    vlorpi_record record = {.form = reader->report->form};
    for (int i = 0; i < form->n_fields; i++) {
        if (columns->at[i] >= 0) {
            record.fields[i] = vlorpi_csv_field(csv, columns->at[i]);
        }
    }
    if (record.form == VLORPI_FORM_MMLU && columns->at[MMLU_FIELDS] < 0 && subject != NULL) {
        record.fields[MMLU_FIELDS] = (vlorpi_bytes){.text = subject, .n_bytes = strlen(subject)};
    }
    return vlorpi_record_reader_emit(reader, &record, err);
}

static vlorp_status read_rows(vlorpi_record_reader *reader, vlorpi_csv *csv, vlorp_err *err)
{
    char subject[128];
    bool has_subject = mmlu_subject(reader->name, subject, sizeof subject);
    csv_columns columns = {0};
    bool headerless;
    bool more;
    VLORP_TRY(next_row(reader, csv, &more, err));
    VLORP_TRY(find_columns(reader, csv, &columns, &headerless, err));
    if (!headerless) {
        VLORP_TRY(next_row(reader, csv, &more, err));
    }
    while (more) {
        VLORP_TRY(emit_row(reader, csv, &columns, headerless, has_subject ? subject : NULL, err));
        VLORP_TRY(next_row(reader, csv, &more, err));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_records_read_csv(vlorpi_record_reader *reader, char delimiter, vlorp_err *err)
{
    vlorpi_csv csv;
    vlorpi_csv_init(&csv, reader->mem, reader->bytes + reader->at, reader->n_bytes - reader->at, delimiter);
    size_t begin = reader->at;
    vlorp_status status = read_rows(reader, &csv, err);
    reader->error_at += begin;
    vlorpi_csv_deinit(&csv);
    return status;
}
