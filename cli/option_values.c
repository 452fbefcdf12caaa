#include "cli/option_values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Appends item to a bounded text, after separator unless it is the first. */
static void append(char *text, size_t text_bytes, const char *separator, const char *item)
{
    size_t used = strlen(text);
    (void)snprintf(text + used, text_bytes - used, "%s%s", used > 0 ? separator : "", item);
}

static void join(char *text, size_t text_bytes, const char *separator, const char *const *words)
{
    text[0] = '\0';
    for (int i = 0; words != NULL && words[i] != NULL; i++) {
        append(text, text_bytes, separator, words[i]);
    }
}

static bool has_range(const vlorpi_option_row *row)
{
    return row->min < row->max;
}

static vlorp_status check_range(const vlorpi_option_row *row, const char *text, double number, vlorp_err *err)
{
    if (has_range(row) && !(number >= row->min && number <= row->max)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: %s is not within %.16g .. %.16g", row->name, text, row->min, row->max);
    }
    return VLORP_OK;
}

/* A whole number of plain digits, with an optional sign; everything must be used up. */
static bool read_integer(int64_t *out, const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *out = (int64_t)number;
    return end != text && *end == '\0' && errno == 0 && !isspace((unsigned char)text[0]);
}

/* A finite decimal number; hexadecimal, "inf" and "nan" are not numbers to a user. */
static bool read_number(double *out, const char *text, char **end)
{
    if (strspn(text, "0123456789+-.eE") == 0 || text[0] == 'e' || text[0] == 'E' ||
        (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))) {
        return false;
    }
    *out = strtod(text, end);
    return *end != text && isfinite(*out);
}

static vlorp_status read_int(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text, vlorp_err *err)
{
    if (!read_integer(&value->integer, text)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is not a whole number", row->name, text);
    }
    value->number = (double)value->integer;
    return check_range(row, text, value->number, err);
}

static vlorp_status read_double(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                                vlorp_err *err)
{
    char *end;
    if (!read_number(&value->number, text, &end) || *end != '\0') {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is not a number", row->name, text);
    }
    if (row->kind == VLORPI_OPTION_STEPS && value->number >= 1 && value->number != floor(value->number)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: %s is neither a whole number of steps nor a fraction below 1", row->name,
                   text);
    }
    return check_range(row, text, value->number, err);
}

/* A number with a unit: factors[i] belongs to the i-th of units, which are compared without case. */
static bool read_scaled(double *out, const char *text, const char *const *units, const double *factors)
{
    char *end;
    if (!read_number(out, text, &end)) {
        return false;
    }
    if (*end == '\0') {
        return true;
    }
    for (int i = 0; units[i] != NULL; i++) {
        if (strcasecmp(end, units[i]) == 0) {
            *out *= factors[i];
            return true;
        }
    }
    return false;
}

static vlorp_status read_count(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                               vlorp_err *err)
{
    static const char *const units[] = {"K", "M", "B", NULL};
    static const double factors[] = {1e3, 1e6, 1e9};
    if (!read_scaled(&value->number, text, units, factors) || value->number != floor(value->number)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is not a whole number such as 250000, 100M or 1B", row->name, text);
    }
    VLORP_TRY(check_range(row, text, value->number, err));
    value->integer = (int64_t)value->number;
    return VLORP_OK;
}

static vlorp_status read_bytes(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                               vlorp_err *err)
{
    static const char *const units[] = {"B",   "K", "KiB", "M",  "MiB", "G",  "GiB",
                                        "T", "TiB", "KB",  "MB", "GB",  "TB", NULL};
    static const double factors[] = {1,      0x1p10, 0x1p10, 0x1p20, 0x1p20, 0x1p30, 0x1p30,
                                     0x1p40, 0x1p40, 1e3,    1e6,    1e9,    1e12};
    if (!read_scaled(&value->number, text, units, factors) || !(value->number >= 1 && value->number < 0x1p53)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is not a size such as 16GiB or 500MB", row->name, text);
    }
    value->integer = (int64_t)value->number;
    return VLORP_OK;
}

/* c: a positive integer, or one over a power of two. */
static vlorp_status read_factor(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                                vlorp_err *err)
{
    char *end;
    int64_t under;
    bool ok;
    if (strncmp(text, "1/", 2) == 0) {
        ok = read_integer(&under, text + 2) && under >= 1;
        value->number = ok ? 1.0 / (double)under : 0;
    } else {
        ok = read_number(&value->number, text, &end) && *end == '\0';
    }
    int exponent;
    bool integer = value->number >= 1 && value->number <= (1 << 24) && value->number == floor(value->number);
    bool coarse = value->number > 0x1p-24 && value->number < 1 && frexp(value->number, &exponent) == 0.5;
    if (!ok || (!integer && !coarse)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is neither a positive whole number nor 1/2, 1/4, 1/8, ...", row->name,
                   text);
    }
    return VLORP_OK;
}

static bool contains(const char *const *words, const char *word, size_t n)
{
    for (int i = 0; words != NULL && words[i] != NULL; i++) {
        if (strlen(words[i]) == n && strncmp(words[i], word, n) == 0) {
            return true;
        }
    }
    return false;
}

static vlorp_status fail_choice(const vlorpi_option_row *row, const char *word, int n, vlorp_err *err)
{
    char choices[256];
    join(choices, sizeof choices, ", ", row->choices);
    if (contains(row->not_here, word, (size_t)n)) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s %.*s: this version does not have it; it has %s", row->name, n, word,
                   choices);
    }
    (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s: '%.*s' is not one of %s", row->name, n, word, choices);
    int n_choices = 0;
    while (row->choices[n_choices] != NULL) {
        n_choices++;
    }
    char copy[64];
    (void)snprintf(copy, sizeof copy, "%.*s", n, word);
    const char *nearest = vlorpi_nearest(copy, row->choices, n_choices);
    if (nearest != NULL) {
        vlorpi_err_hint(err, "did you mean %s?", nearest);
    }
    return VLORP_E_ARG;
}

static vlorp_status read_enum(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                              vlorp_err *err)
{
    for (int i = 0; row->renamed != NULL && row->renamed[i] != NULL; i += 2) {
        if (strcmp(row->renamed[i], text) == 0) {
            text = row->renamed[i + 1];
            break;
        }
    }
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            value->text = row->choices[i];
            return VLORP_OK;
        }
    }
    if (strcmp(text, "auto") == 0) { /* a renamed word that means: as if not given */
        *value = (vlorpi_option_value){.origin = VLORPI_ORIGIN_DEFAULT};
        if (row->fallback == NULL) {
            return VLORP_OK;
        }
        value->has = true;
        return read_enum(value, row, row->fallback, err);
    }
    return fail_choice(row, text, (int)strlen(text), err);
}

static vlorp_status read_list(const vlorpi_option_row *row, const char *text, vlorp_err *err)
{
    for (const char *item = text;;) {
        size_t n = strcspn(item, ",");
        if (!contains(row->choices, item, n)) {
            return fail_choice(row, item, (int)n, err);
        }
        if (item[n] == '\0') {
            return VLORP_OK;
        }
        item += n + 1;
    }
}

static vlorp_status read_bool(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                              vlorp_err *err)
{
    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: '%s' is neither true nor false", row->name, text);
    }
    value->integer = strcasecmp(text, "true") == 0;
    return VLORP_OK;
}

/* Only a default that is found at run time can be asked for by the word auto. */
static bool is_auto(const vlorpi_option_row *row, const char *text)
{
    return row->kind != VLORPI_OPTION_STRING && row->fallback == NULL && strcmp(text, "auto") == 0 &&
           !contains(row->choices, text, 4);
}

vlorp_status vlorpi_option_read(vlorpi_option_value *value, const vlorpi_option_row *row, const char *text,
                                vlorp_err *err)
{
    vlorpi_option_value read = {.text = text, .has = true, .origin = value->origin};
    vlorp_status status = VLORP_OK;
    if (is_auto(row, text)) {
        read = (vlorpi_option_value){.origin = VLORPI_ORIGIN_DEFAULT};
    } else {
        switch (row->kind) {
        case VLORPI_OPTION_BOOL: status = read_bool(&read, row, text, err); break;
        case VLORPI_OPTION_INT: status = read_int(&read, row, text, err); break;
        case VLORPI_OPTION_COUNT: status = read_count(&read, row, text, err); break;
        case VLORPI_OPTION_DOUBLE:
        case VLORPI_OPTION_STEPS: status = read_double(&read, row, text, err); break;
        case VLORPI_OPTION_FACTOR: status = read_factor(&read, row, text, err); break;
        case VLORPI_OPTION_BYTES: status = read_bytes(&read, row, text, err); break;
        case VLORPI_OPTION_STRING:
            if (text[0] == '\0' && !row->may_be_empty) {
                status = vlorpi_err_set(err, VLORP_E_ARG, "--%s: the value is empty", row->name);
            }
            break;
        case VLORPI_OPTION_ENUM: status = read_enum(&read, row, text, err); break;
        case VLORPI_OPTION_LIST: status = read_list(row, text, err); break;
        }
    }
    if (status == VLORP_OK) {
        *value = read;
    }
    return status;
}

void vlorpi_option_named_choices(const vlorpi_option_row *row, char *text, size_t text_bytes)
{
    text[0] = '\0';
    if (row->kind == VLORPI_OPTION_ENUM && row->value_name != NULL) {
        join(text, text_bytes, ", ", row->choices);
    }
}

void vlorpi_option_placeholder(const vlorpi_option_row *row, char *text, size_t text_bytes)
{
    text[0] = '\0';
    if (row->value_name != NULL) {
        append(text, text_bytes, "", row->value_name);
        return;
    }
    switch (row->kind) {
    case VLORPI_OPTION_BOOL: break;
    case VLORPI_OPTION_INT:
    case VLORPI_OPTION_COUNT: append(text, text_bytes, "", "N"); break;
    case VLORPI_OPTION_DOUBLE:
    case VLORPI_OPTION_STEPS:
    case VLORPI_OPTION_FACTOR: append(text, text_bytes, "", "X"); break;
    case VLORPI_OPTION_BYTES: append(text, text_bytes, "", "SIZE"); break;
    case VLORPI_OPTION_STRING: append(text, text_bytes, "", "TEXT"); break;
    case VLORPI_OPTION_ENUM: join(text, text_bytes, "|", row->choices); break;
    case VLORPI_OPTION_LIST: join(text, text_bytes, ",", row->choices); break;
    }
}
