#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "cli/option_values.h"
#include "format/json.h"

enum { MAX_NAME_BYTES = 64 };

/* The row called name (or by a synonym of it) under command, or -1. */
static int find_row(unsigned command, const char *name)
{
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        if (row->name == NULL || (row->commands & command) == 0) {
            continue;
        }
        bool same = strcmp(row->name, name) == 0 || (row->letter != 0 && name[0] == row->letter && name[1] == '\0');
        for (size_t s = 0; s < sizeof row->synonyms / sizeof row->synonyms[0] && row->synonyms[s] != NULL; s++) {
            same = same || strcmp(row->synonyms[s], name) == 0;
        }
        if (same) {
            return i;
        }
    }
    return -1;
}

static void bug(const char *name)
{
    (void)fprintf(stderr, "vlorp: internal error: the command has no option %s of that kind\n", name);
    abort();
}

/* For the typed calls: the caller's name must exist, as one of the kinds in the mask. */
static const vlorpi_option_value *value_of(const vlorpi_options *options, const char *name, unsigned kinds)
{
    int i = find_row(options->command, name);
    if (i < 0 || (kinds & (1u << vlorpi_option_table[i].kind)) == 0) {
        bug(name);
    }
    return &options->values[i];
}

void vlorpi_options_init(vlorpi_options *options, unsigned command)
{
    *options = (vlorpi_options){.command = command};
    if (vlorpi_option_table_rows > VLORPI_OPTIONS_MAX_ROWS) {
        bug("table");
    }
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        if (row->fallback != NULL && vlorpi_option_read(&options->values[i], row, row->fallback, NULL) != VLORP_OK) {
            bug(row->name);
        }
    }
}

const char *vlorpi_nearest(const char *word, const char *const *candidates, int n_candidates)
{
    enum { MAX = MAX_NAME_BYTES };
    size_t n = strlen(word);
    size_t best = n < 4 ? 2 : n / 3 + 2; /* a distance must stay below */
    const char *nearest = NULL;
    for (int c = 0; c < n_candidates; c++) {
        size_t m = strlen(candidates[c]);
        if (n >= MAX || m >= MAX) {
            continue;
        }
        size_t row[MAX + 1]; /* row[j]: distance of word[0..i) to candidate[0..j) */
        for (size_t j = 0; j <= m; j++) {
            row[j] = j;
        }
        for (size_t i = 1; i <= n; i++) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= m; j++) {
                size_t replaced = diagonal + (word[i - 1] != candidates[c][j - 1]);
                size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
                diagonal = row[j];
                row[j] = replaced < shorter ? replaced : shorter;
            }
        }
        if (row[m] < best) {
            best = row[m];
            nearest = candidates[c];
        }
    }
    return nearest;
}

static vlorp_status fail_unknown(unsigned command, const char *written, const char *name, vlorp_err *err)
{
    const char *names[VLORPI_OPTIONS_MAX_ROWS];
    int n = 0;
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        if (vlorpi_option_table[i].name != NULL && (vlorpi_option_table[i].commands & command) != 0) {
            names[n++] = vlorpi_option_table[i].name;
        }
    }
    (void)vlorpi_err_set(err, VLORP_E_ARG, "%s: there is no such option", written);
    const char *nearest = vlorpi_nearest(name, names, n);
    if (find_row(VLORPI_CMD_ALL, name) >= 0) {
        vlorpi_err_hint(err, "--%s belongs to another command", name);
    } else if (nearest != NULL) {
        vlorpi_err_hint(err, "did you mean --%s?", nearest);
    } else {
        vlorpi_err_hint(err, "--help lists the options");
    }
    return VLORP_E_ARG;
}

/* The command line wins over the file; within one of them a second, different value is a contradiction. */
static vlorp_status set_row(vlorpi_options *options, int i, const char *text, vlorpi_option_origin origin,
                            vlorp_err *err)
{
    const vlorpi_option_row *row = &vlorpi_option_table[i];
    vlorpi_option_value *value = &options->values[i];
    vlorpi_option_value read = {.origin = origin};
    if (value->origin > origin) {
        return VLORP_OK;
    }
    VLORP_TRY(vlorpi_option_read(&read, row, text, err));
    if (value->origin == VLORPI_ORIGIN_LINE && origin == VLORPI_ORIGIN_LINE && value->has && read.has &&
        strcmp(value->text, read.text) != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "--%s: given as %s and as %s", row->name, value->text, read.text);
    }
    *value = read;
    return VLORP_OK;
}

vlorp_status vlorpi_options_set(vlorpi_options *options, const char *name, const char *text,
                                vlorpi_option_origin origin, vlorp_err *err)
{
    int i = find_row(options->command, name);
    if (i < 0) {
        return fail_unknown(options->command, name, name, err);
    }
    return set_row(options, i, text, origin, err);
}

/* Where parsing stands. */
typedef struct cursor {
    int argc, next;
    char **argv;
} cursor;

/* argument "--some-name=value" to name "some_name" and value (NULL without =).  false: too long. */
static bool split_name(const char *argument, char *name, size_t name_bytes, const char **value)
{
    const char *begin = argument + strspn(argument, "-");
    size_t n = strcspn(begin, "=");
    *value = begin[n] == '=' ? begin + n + 1 : NULL;
    if (n == 0 || n >= name_bytes) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        name[i] = begin[i] == '-' ? '_' : begin[i];
    }
    name[n] = '\0';
    return true;
}

static bool names_an_option(unsigned command, const char *argument)
{
    char name[MAX_NAME_BYTES];
    const char *value;
    return strncmp(argument, "--", 2) == 0 && split_name(argument, name, sizeof name, &value) &&
           find_row(command, name) >= 0;
}

static vlorp_status parse_bool(vlorpi_options *options, cursor *at, int i, bool negated, const char *value,
                               vlorp_err *err)
{
    if (value == NULL && !negated && at->next < at->argc) {
        const char *next = at->argv[at->next];
        if (strcmp(next, "true") == 0 || strcmp(next, "false") == 0 || strcmp(next, "True") == 0 ||
            strcmp(next, "False") == 0) {
            value = next;
            at->next++;
        }
    }
    if (negated && value != NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "--no_%s: takes no value", vlorpi_option_table[i].name);
    }
    return set_row(options, i, negated ? "false" : value != NULL ? value : "true", VLORPI_ORIGIN_LINE, err);
}

static vlorp_status parse_option(vlorpi_options *options, cursor *at, vlorp_err *err)
{
    const char *argument = at->argv[at->next++];
    char name[MAX_NAME_BYTES];
    const char *value;
    if (!split_name(argument, name, sizeof name, &value)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%.80s: there is no such option", argument);
    }
    bool single = argument[1] != '-';
    int i = single && name[1] != '\0' ? -1 : find_row(options->command, name);
    bool negated = false;
    if (i < 0 && !single && strncmp(name, "no_", 3) == 0) {
        i = find_row(options->command, name + 3);
        negated = i >= 0 && vlorpi_option_table[i].kind == VLORPI_OPTION_BOOL;
        i = negated ? i : -1;
    }
    if (i < 0) {
        char written[MAX_NAME_BYTES + 3];
        (void)snprintf(written, sizeof written, "%.*s", (int)strcspn(argument, "="), argument);
        return fail_unknown(options->command, written, name, err);
    }
    if (vlorpi_option_table[i].kind == VLORPI_OPTION_BOOL) {
        return parse_bool(options, at, i, negated, value, err);
    }
    if (value == NULL) {
        if (at->next >= at->argc || names_an_option(options->command, at->argv[at->next])) {
            (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s: a value is missing", vlorpi_option_table[i].name);
            if (at->next < at->argc) {
                vlorpi_err_hint(err, "write --%s=VALUE when the value begins with --", vlorpi_option_table[i].name);
            }
            return VLORP_E_ARG;
        }
        value = at->argv[at->next++];
    }
    return set_row(options, i, value, VLORPI_ORIGIN_LINE, err);
}

static vlorp_status parse_positional(vlorpi_options *options, const char *argument, vlorp_err *err)
{
    int measure = find_row(options->command, "measure"); /* bench says first what it times */
    if (measure >= 0 && !options->values[measure].has) {
        return set_row(options, measure, argument, VLORPI_ORIGIN_LINE, err);
    }
    int i = find_row(options->command, "model");
    const vlorpi_option_value *model = &options->values[i];
    if (model->has && strcmp(model->text, argument) != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "%.200s: one argument too many; the model is %.200s already", argument,
                   model->text);
    }
    return set_row(options, i, argument, VLORPI_ORIGIN_LINE, err);
}

vlorp_status vlorpi_options_parse(vlorpi_options *options, int argc, char **argv, vlorp_err *err)
{
    cursor at = {.argc = argc, .argv = argv};
    bool only_positional = false;
    for (int i = 0; i < argc; i++) { /* help wins over every mistake on the same line */
        options->help = options->help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        options->version = options->version || strcmp(argv[i], "--version") == 0;
        if (strcmp(argv[i], "--") == 0) {
            break;
        }
    }
    if (options->help || options->version) {
        return VLORP_OK;
    }
    while (at.next < argc) {
        const char *argument = argv[at.next];
        if (!only_positional && strcmp(argument, "--") == 0) {
            only_positional = true;
            at.next++;
        } else if (!only_positional && argument[0] == '-' && argument[1] != '\0') {
            VLORP_TRY(parse_option(options, &at, err));
        } else {
            VLORP_TRY(parse_positional(options, argument, err));
            at.next++;
        }
    }
    if (vlorpi_options_has(options, "config")) {
        const char *path = vlorpi_options_text(options, "config");
        json_t *root = NULL;
        VLORP_TRY(vlorpi_json_load(&root, path, err));
        vlorp_status status = vlorpi_options_apply_json(options, root, path, err);
        json_decref(root);
        VLORP_TRY(status);
    }
    int resume = find_row(options->command, "continue_from");
    return resume >= 0 && options->values[resume].has ? VLORP_OK : vlorpi_options_check(options, err);
}

const char *vlorpi_option_store(vlorpi_options *options, const char *text)
{
    size_t n = strlen(text) + 1;
    if (n > sizeof options->storage - options->n_stored) {
        return NULL;
    }
    char *copy = options->storage + options->n_stored;
    memcpy(copy, text, n);
    options->n_stored += n;
    return copy;
}

bool vlorpi_option_json_text(const json_t *value, char *text, size_t text_bytes, const char **out)
{
    *out = text;
    if (json_is_string(value)) {
        *out = json_string_value(value);
    } else if (json_is_boolean(value)) {
        (void)snprintf(text, text_bytes, "%s", json_is_true(value) ? "true" : "false");
    } else if (json_is_integer(value)) {
        (void)snprintf(text, text_bytes, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)snprintf(text, text_bytes, "%.17g", json_real_value(value));
    } else {
        return false;
    }
    return true;
}

vlorp_status vlorpi_options_apply_json(vlorpi_options *options, const json_t *object, const char *name, vlorp_err *err)
{
    json_t *inner = json_object_get(object, "options");
    object = json_is_object(inner) ? inner : object;
    if (!json_is_object(object)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: an object {\"option\": value} is wanted", name);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        int i = find_row(options->command, key);
        if (i < 0 && find_row(VLORPI_CMD_ALL, key) >= 0) {
            continue; /* an option of another command: a training run's file serves plan and eval too */
        }
        char number[64];
        const char *text = NULL;
        vlorp_status status = VLORP_OK;
        if (i < 0) {
            status = fail_unknown(options->command, key, key, err);
        } else if (json_is_null(value)) {
            continue;
        } else if (!vlorpi_option_json_text(value, number, sizeof number, &text)) {
            status = vlorpi_err_set(err, VLORP_E_ARG, "%s: a text, a number, true or false is wanted", key);
        } else if ((text = vlorpi_option_store(options, text)) == NULL) {
            status = vlorpi_err_set(err, VLORP_E_LIMIT, "%s: the values are longer than %d bytes in all", key,
                                    (int)VLORPI_OPTIONS_STORAGE_BYTES);
        } else {
            status = set_row(options, i, text, VLORPI_ORIGIN_CONFIG, err);
        }
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "%s", name);
            return status;
        }
    }
    return VLORP_OK;
}

#define KIND(kind) (1u << VLORPI_OPTION_##kind)
enum { ANY_KIND = (1 << (VLORPI_OPTION_LIST + 1)) - 1 };

bool vlorpi_options_is_set(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, ANY_KIND)->origin != VLORPI_ORIGIN_DEFAULT;
}

bool vlorpi_options_has(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, ANY_KIND)->has;
}

bool vlorpi_options_bool(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, KIND(BOOL))->integer != 0;
}

int64_t vlorpi_options_int(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, KIND(INT) | KIND(COUNT))->integer;
}

double vlorpi_options_double(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, KIND(DOUBLE) | KIND(STEPS) | KIND(FACTOR))->number;
}

size_t vlorpi_options_bytes(const vlorpi_options *options, const char *name)
{
    return (size_t)value_of(options, name, KIND(BYTES))->integer;
}

const char *vlorpi_options_text(const vlorpi_options *options, const char *name)
{
    return value_of(options, name, KIND(STRING) | KIND(ENUM) | KIND(LIST))->text;
}

bool vlorpi_options_lists(const vlorpi_options *options, const char *name, const char *item)
{
    const char *text = value_of(options, name, KIND(LIST))->text;
    size_t n = strlen(item);
    while (text != NULL) {
        if (strncmp(text, item, n) == 0 && (text[n] == ',' || text[n] == '\0')) {
            return true;
        }
        text = strchr(text, ',');
        text = text != NULL ? text + 1 : NULL;
    }
    return false;
}
