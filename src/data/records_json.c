#include <stdio.h>
#include <string.h>

#include "data/record_reader.h"
#include "format/json.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(vlorpi_record_reader *reader)
{
    while (reader->at < reader->n_bytes && is_blank(reader->bytes[reader->at])) {
        reader->at++;
    }
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
    }
    return "null";
}

static bool has_key(const void *ctx, const char *column)
{
    return json_object_get(ctx, column) != NULL;
}

static void note_columns(vlorpi_record_reader *reader, json_t *object)
{
    const vlorpi_form_traits *form = vlorpi_form_of(reader->report->form);
    for (int used = 1; used >= 0; used--) {
        const char *key;
        json_t *value;
        json_object_foreach(object, key, value)
        {
            bool wanted = false;
            for (int i = 0; i < form->n_fields; i++) {
                wanted = wanted || strcmp(key, form->fields[i]) == 0;
            }
            if (wanted == (used == 1)) {
                vlorpi_record_reader_note_column(reader, (vlorpi_bytes){.text = key, .n_bytes = strlen(key)}, wanted);
            }
        }
    }
}

/* A string field; an absent or null one is allowed where required is false. */
static vlorp_status get_string(const vlorpi_record_reader *reader, vlorpi_bytes *out, const json_t *object,
                               const char *key, bool required, vlorp_err *err)
{
    char what[160];
    const json_t *value = json_object_get(object, key);
    *out = (vlorpi_bytes){NULL, 0};
    if (json_is_string(value)) {
        *out = (vlorpi_bytes){.text = json_string_value(value), .n_bytes = json_string_length(value)};
        return VLORP_OK;
    }
    if (!required && (value == NULL || json_is_null(value))) {
        return VLORP_OK;
    }
    if (value == NULL) {
        (void)snprintf(what, sizeof what, "the record has no field \"%s\"", key);
    } else {
        (void)snprintf(what, sizeof what, "the field \"%s\" is %s, not a string", key, type_name(value));
    }
    return vlorpi_record_reader_misfit(reader, true, err, what);
}

/* The list of a nested form, with at least one entry. */
static vlorp_status get_list(const vlorpi_record_reader *reader, const json_t **out, const json_t *object,
                             const char *key, vlorp_err *err)
{
    char what[160];
    *out = json_object_get(object, key);
    if (json_is_array(*out) && json_array_size(*out) > 0) {
        return VLORP_OK;
    }
    (void)snprintf(what, sizeof what, "the field \"%s\" is %s, not a list of objects", key,
                   *out == NULL ? "missing" : json_is_array(*out) ? "empty" : type_name(*out));
    return vlorpi_record_reader_misfit(reader, true, err, what);
}

static vlorp_status emit_instances(vlorpi_record_reader *reader, const json_t *object, vlorp_err *err)
{
    const vlorpi_form_traits *alpaca = vlorpi_form_of(VLORPI_FORM_ALPACA);
    vlorpi_record record = {.form = VLORPI_FORM_ALPACA};
    const json_t *instances;
    VLORP_TRY(get_string(reader, &record.fields[0], object, alpaca->fields[0], true, err));
    VLORP_TRY(get_list(reader, &instances, object, "instances", err));
    for (size_t i = 0; i < json_array_size(instances); i++) {
        const json_t *instance = json_array_get(instances, i);
        if (!json_is_object(instance)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "entry %zu of \"instances\" is %s, not an object with output and input",
                       i + 1, type_name(instance));
        }
        for (int f = 1; f < alpaca->n_fields; f++) {
            VLORP_TRY(get_string(reader, &record.fields[f], instance, alpaca->fields[f], f < alpaca->n_required, err));
        }
        VLORP_TRY(vlorpi_record_reader_emit(reader, &record, err));
    }
    return VLORP_OK;
}

static vlorp_status emit_object(vlorpi_record_reader *reader, json_t *object, vlorp_err *err)
{
    if (!json_is_object(object)) {
        char what[64];
        (void)snprintf(what, sizeof what, "the record is %s, not an object", type_name(object));
        return vlorpi_record_reader_misfit(reader, true, err, what);
    }
    if (reader->report->form == VLORPI_FORM_ANY) {
        reader->report->form = vlorpi_form_detect(has_key, object, true);
        if (reader->report->form == VLORPI_FORM_ANY) {
            return vlorpi_record_reader_misfit(reader, true, err, "the record fits no form");
        }
    }
    if (reader->report->columns[0] == '\0') {
        note_columns(reader, object);
    }
    const vlorpi_form_traits *form = vlorpi_form_of(reader->report->form);
    if (reader->report->form == VLORPI_FORM_SELF_INSTRUCT) {
        return emit_instances(reader, object, err);
    }
    vlorpi_record record = {.form = reader->report->form};
    if (reader->report->form == VLORPI_FORM_CHAT) {
        VLORP_TRY(get_list(reader, &record.messages, object, form->fields[0], err));
        return vlorpi_record_reader_emit(reader, &record, err);
    }
    for (int i = 0; i < form->n_fields; i++) {
        VLORP_TRY(get_string(reader, &record.fields[i], object, form->fields[i], i < form->n_required, err));
    }
    return vlorpi_record_reader_emit(reader, &record, err);
}

/* The parser counts lines from the record's beginning: moves error_at to the line it means, and
 * leaves the column and the reason as text. */
static vlorp_status place_json_error(vlorpi_record_reader *reader, const vlorp_err *found, vlorp_err *err)
{
    int line;
    int column;
    int n_read = 0;
    if (sscanf(found->text, "record: line %d, column %d: %n", &line, &column, &n_read) != 2 || n_read == 0) {
        VLORP_FAIL(err, found->code, "%s", found->text);
    }
    const char *at = reader->bytes + reader->at;
    for (int i = 1; i < line; i++) {
        const char *newline = memchr(at, '\n', (size_t)(reader->bytes + reader->n_bytes - at));
        at = newline != NULL ? newline + 1 : at;
    }
    reader->error_at = (size_t)(at - reader->bytes);
    VLORP_FAIL(err, found->code, "no valid JSON, column %d: %s", column, found->text + n_read);
}

/* One value of bytes [reader->at, end); leaves at behind it. */
static vlorp_status read_value(vlorpi_record_reader *reader, size_t end, vlorp_err *err)
{
    json_t *object;
    size_t n_used;
    vlorp_err found = {0};
    reader->error_at = reader->at;
    if (vlorpi_json_parse_prefix(&object, &n_used, reader->bytes + reader->at, end - reader->at, "record", &found) !=
        VLORP_OK) {
        return place_json_error(reader, &found, err);
    }
    vlorp_status status = emit_object(reader, object, err);
    json_decref(object);
    reader->at += n_used;
    return status;
}

static vlorp_status read_array(vlorpi_record_reader *reader, vlorp_err *err)
{
    size_t opening = reader->at++;
    skip_blanks(reader);
    bool more = reader->at == reader->n_bytes || reader->bytes[reader->at] != ']';
    while (more) {
        VLORP_TRY(read_value(reader, reader->n_bytes, err));
        skip_blanks(reader);
        char c = reader->at < reader->n_bytes ? reader->bytes[reader->at] : '\0';
        if (c != ',' && c != ']') {
            reader->error_at = reader->at < reader->n_bytes ? reader->at : opening;
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s", reader->at < reader->n_bytes
                       ? "a comma or ] is wanted after a record" : "the list of records that begins here has no end");
        }
        more = c == ',';
        reader->at += more;
        skip_blanks(reader);
    }
    reader->at++; /* the closing bracket */
    skip_blanks(reader);
    if (reader->at < reader->n_bytes) {
        reader->error_at = reader->at;
        VLORP_FAIL(err, VLORP_E_FORMAT, "text follows the list of records");
    }
    return VLORP_OK;
}

static vlorp_status read_line(vlorpi_record_reader *reader, vlorp_err *err)
{
    const char *newline = memchr(reader->bytes + reader->at, '\n', reader->n_bytes - reader->at);
    size_t end = newline != NULL ? (size_t)(newline - reader->bytes) : reader->n_bytes;
    VLORP_TRY(read_value(reader, end, err));
    while (reader->at < end && is_blank(reader->bytes[reader->at])) {
        reader->at++;
    }
    if (reader->at < end) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "text follows the record on its line");
    }
    return VLORP_OK;
}

vlorp_status vlorpi_records_read_json(vlorpi_record_reader *reader, bool array, bool lines, vlorp_err *err)
{
    skip_blanks(reader);
    if (array) {
        return read_array(reader, err);
    }
    for (; reader->at < reader->n_bytes; skip_blanks(reader)) {
        VLORP_TRY(lines ? read_line(reader, err) : read_value(reader, reader->n_bytes, err));
    }
    return VLORP_OK;
}
