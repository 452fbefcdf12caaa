/* Hundreds of damaged records, made from every form, field, kind of file, kind of damage and place: each error is exactly
 * the file, the line, what is wrong and the fields that are wanted. */
#include "data_support.h"

static vlorp_err err;
static int n_checked;

typedef struct form_row {
    int n_required, n_fields;
    const char *fields[VLORPI_FORM_MAX_FIELDS];
    const char *wanted;
} form_row;

static const form_row forms[] = {
    {2, 3, {"instruction", "output", "input"}, "instruction and output"},
    {2, 2, {"prompt", "completion"}, "prompt and completion"},
    {6, 7, {"question", "A", "B", "C", "D", "answer", "subject"}, "question, A, B, C, D and answer"},
    {2, 2, {"question", "answer"}, "question and answer"},
    {1, 1, {"text"}, "text"},
};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

/* What stands in a field's place, and what the error calls it; the first is no damage to an optional field. */
static const char *const values[][2] = {{NULL, NULL}, {"null", "null"}, {"17", "a number"}, {"-0.5", "a number"},
                                        {"[\"x\"]", "a list"}, {"{\"x\":1}", "an object"}, {"true", "true or false"}};
enum { N_VALUES = sizeof values / sizeof values[0] };

/* What stands in a record's place. */
static const char *const records[][2] = {{"17", "a number"}, {"\"x\"", "a string"}, {"null", "null"}, {"[1]", "a list"},
                                         {"false", "true or false"}};
enum { N_RECORDS = sizeof records / sizeof records[0] };

/* One record of a form; field `bad` holds `value`, or is absent with NULL; bad -1: all are good. */
static void put_record(char *out, size_t n_bytes, const form_row *form, int bad, const char *value)
{
    size_t n = (size_t)snprintf(out, n_bytes, "{\"extra\":0");
    for (int i = 0; i < form->n_fields; i++) {
        if (i != bad) {
            n += (size_t)snprintf(out + n, n_bytes - n, ",\"%s\":\"good \\u00e4 \\n\"", form->fields[i]);
        } else if (value != NULL) {
            n += (size_t)snprintf(out + n, n_bytes - n, ",\"%s\":%s", form->fields[i], value);
        }
    }
    (void)snprintf(out + n, n_bytes - n, "}");
}

/* n_good good records, then the bad one, then a good one; as lines, or as a list with a blank line before each. */
static void check(const form_row *form, const char *bad_record, int n_good, bool lines, const char *what)
{
    char good[512];
    char file[8192];
    char expected[512];
    record_log log;
    vlorpi_records_report report;
    put_record(good, sizeof good, form, -1, NULL);
    size_t n = (size_t)snprintf(file, sizeof file, "%s", lines ? "" : "[");
    for (int i = 0; i < n_good + 2; i++) {
        n += (size_t)snprintf(file + n, sizeof file - n, "%s%s%s%s", i > 0 && !lines ? "," : "", lines ? "" : "\n\n",
                              i == n_good ? bad_record : good, lines ? "\n" : "");
    }
    (void)snprintf(file + n, sizeof file - n, "%s", lines ? "" : "]");
    const char *name = lines ? "data.jsonl" : "data.json";
    int line = lines ? n_good + 1 : 2 * n_good + 3;
    assert_int_equal(read_records(&log, &report, name, file, strlen(file), VLORPI_FORM_ANY, &err), VLORP_E_FORMAT);
    (void)snprintf(expected, sizeof expected, "%s: line %d: %s; wanted: %s", name, line, what, form->wanted);
    assert_string_equal(err.text, expected);
    assert_int_equal(log.n, n_good);
    n_checked++;
}

static void fields_of_every_form(void **state)
{
    (void)state;
    for (int place = 0; place < N_FORMS * VLORPI_FORM_MAX_FIELDS * N_VALUES * 4; place++) {
        const form_row *form = &forms[place / 4 / N_VALUES / VLORPI_FORM_MAX_FIELDS];
        int field = place / 4 / N_VALUES % VLORPI_FORM_MAX_FIELDS;
        int value = place / 4 % N_VALUES;
        if (field >= form->n_fields || (field >= form->n_required && value < 2)) {
            continue; /* an optional field may be absent or null */
        }
        char record[512];
        char what[160];
        put_record(record, sizeof record, form, field, values[value][0]);
        if (values[value][0] == NULL) {
            (void)snprintf(what, sizeof what, "the record has no field \"%s\"", form->fields[field]);
        } else {
            (void)snprintf(what, sizeof what, "the field \"%s\" is %s, not a string", form->fields[field], values[value][1]);
        }
        check(form, record, place % 2 == 0 ? 1 : 9, place / 2 % 2 == 0, what);
    }
}

static void records_that_are_none(void **state)
{
    (void)state;
    for (int place = 0; place < N_FORMS * N_RECORDS * 4; place++) {
        const char *const *record = records[place / 4 % N_RECORDS];
        char what[64];
        (void)snprintf(what, sizeof what, "the record is %s, not an object", record[1]);
        check(&forms[place / 4 / N_RECORDS], record[0], place % 2 == 0 ? 1 : 9, place / 2 % 2 == 0, what);
    }
}

/* Rows with a field too few or too many, behind quoted fields that hold line breaks. */
static void rows_of_every_form(void **state)
{
    (void)state;
    for (int place = 0; place < N_FORMS * 2 * 3; place++) {
        const form_row *form = &forms[place / 6];
        bool more = place / 3 % 2 == 0;
        int n_good = place % 3 * 2;
        char file[4096] = "";
        char expected[320];
        size_t n = 0;
        for (int row = -1; row < n_good + 2; row++) {
            int n_fields = form->n_fields + (row == n_good ? (more ? 1 : -1) : 0);
            for (int i = 0; i < n_fields; i++) {
                n += (size_t)snprintf(file + n, sizeof file - n, "%s%s", i > 0 ? "," : "",
                                      row < 0 ? form->fields[i] : row == n_good ? "x" : "\"a\n\"\"b\"");
            }
            n += (size_t)snprintf(file + n, sizeof file - n, "\n");
        }
        if (form->n_fields == 1 && !more) {
            continue; /* a row without fields is a blank line */
        }
        record_log log;
        vlorpi_records_report report;
        assert_int_equal(read_records(&log, &report, "d.csv", file, n, VLORPI_FORM_ANY, &err), VLORP_E_FORMAT);
        int n_fields = form->n_fields + (more ? 1 : -1);
        (void)snprintf(expected, sizeof expected, "d.csv: line %d: the row has %d field%s and the header %d; wanted: %s",
                       2 + n_good * (form->n_fields + 1), n_fields, n_fields == 1 ? "" : "s", form->n_fields, form->wanted);
        assert_string_equal(err.text, expected);
        assert_int_equal(log.n, n_good);
        n_checked++;
    }
}

static void there_were_hundreds(void **state)
{
    (void)state;
    assert_in_range(n_checked, 400, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields_of_every_form), cmocka_unit_test(records_that_are_none),
                                       cmocka_unit_test(rows_of_every_form), cmocka_unit_test(there_were_hundreds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
