#include "data/csv.h"

#include <string.h>

void vlorpi_csv_init(vlorpi_csv *csv, vlorpi_mem *mem, const char *bytes, size_t n_bytes, char delimiter)
{
    *csv = (vlorpi_csv){.mem = mem, .bytes = bytes, .n_bytes = n_bytes, .delimiter = delimiter};
}

void vlorpi_csv_deinit(vlorpi_csv *csv)
{
    vlorpi_mem_free(csv->mem, csv->text);
    vlorpi_mem_free(csv->mem, csv->ends);
    *csv = (vlorpi_csv){0};
}

vlorpi_bytes vlorpi_csv_field(const vlorpi_csv *csv, int i)
{
    size_t begin = i == 0 ? 0 : csv->ends[i - 1];
    const char *text = csv->text != NULL ? csv->text + begin : ""; /* a row of empty fields needs no buffer */
    return (vlorpi_bytes){.text = text, .n_bytes = csv->ends[i] - begin};
}

static vlorp_status append(vlorpi_csv *csv, const char *from, size_t n, vlorp_err *err)
{
    if (n == 0) {
        return VLORP_OK;
    }
    VLORP_TRY(vlorpi_mem_room(csv->mem, VLORPI_MEM_DATA, &csv->text, csv->n_text + n, 1, err));
    memcpy(csv->text + csv->n_text, from, n);
    csv->n_text += n;
    return VLORP_OK;
}

static vlorp_status end_field(vlorpi_csv *csv, vlorp_err *err)
{
    if (csv->n_fields == VLORPI_CSV_MAX_FIELDS) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the row has more than %d fields", VLORPI_CSV_MAX_FIELDS);
    }
    VLORP_TRY(vlorpi_mem_room(csv->mem, VLORPI_MEM_DATA, &csv->ends, (size_t)csv->n_fields + 1,
                              sizeof csv->ends[0], err));
    csv->ends[csv->n_fields++] = csv->n_text;
    return VLORP_OK;
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* at stands on the opening quote; leaves it behind the closing one. */
static vlorp_status quoted_field(vlorpi_csv *csv, vlorp_err *err)
{
    size_t opening = csv->at++;
    for (;;) {
        const char *from = csv->bytes + csv->at;
        const char *quote = memchr(from, '"', csv->n_bytes - csv->at);
        if (quote == NULL) {
            csv->error_at = opening;
            VLORP_FAIL(err, VLORP_E_FORMAT, "a quoted field is not closed");
        }
        VLORP_TRY(append(csv, from, (size_t)(quote - from), err));
        csv->at += (size_t)(quote - from) + 1;
        if (csv->at == csv->n_bytes || csv->bytes[csv->at] != '"') {
            break;
        }
        VLORP_TRY(append(csv, "\"", 1, err));
        csv->at++;
    }
    if (csv->at < csv->n_bytes && csv->bytes[csv->at] != csv->delimiter && !is_line_end(csv->bytes[csv->at])) {
        csv->error_at = csv->at;
        VLORP_FAIL(err, VLORP_E_FORMAT, "text follows the closing quote of a field");
    }
    return VLORP_OK;
}

static vlorp_status plain_field(vlorpi_csv *csv, vlorp_err *err)
{
    size_t begin = csv->at;
    while (csv->at < csv->n_bytes && csv->bytes[csv->at] != csv->delimiter && !is_line_end(csv->bytes[csv->at])) {
        csv->at++;
    }
    return append(csv, csv->bytes + begin, csv->at - begin, err);
}

vlorp_status vlorpi_csv_next(vlorpi_csv *csv, bool *more, vlorp_err *err)
{
    csv->n_text = 0;
    csv->n_fields = 0;
    while (csv->at < csv->n_bytes && is_line_end(csv->bytes[csv->at])) {
        csv->at++;
    }
    csv->row_at = csv->at;
    csv->error_at = csv->at;
    *more = csv->at < csv->n_bytes;
    if (!*more) {
        return VLORP_OK;
    }
    for (;;) {
        if (csv->at < csv->n_bytes && csv->bytes[csv->at] == '"') {
            VLORP_TRY(quoted_field(csv, err));
        } else {
            VLORP_TRY(plain_field(csv, err));
        }
        VLORP_TRY(end_field(csv, err));
        if (csv->at == csv->n_bytes || is_line_end(csv->bytes[csv->at])) {
            return VLORP_OK;
        }
        csv->at++; /* the delimiter; a field follows it even at the very end */
    }
}
