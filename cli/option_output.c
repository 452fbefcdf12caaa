/* option_output.c - the table as --help, as the header of a run and as run.json. */
#include <string.h>

#include "cli/option_values.h"

enum { HELP_COLUMN = 32, HELP_WIDTH = 100 };

static bool belongs(const vlorpi_option_row *row, unsigned command)
{
    return row->name != NULL && (row->commands & command) != 0;
}

static bool is_among(const char *const *words, const char *word)
{
    while (*words != NULL && strcmp(*words, word) != 0) {
        words++;
    }
    return *words != NULL;
}

void vlorpi_options_log_meaningless(const vlorpi_options *options, const vlorpi_log *log)
{
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        if (!belongs(row, options->command) || options->values[i].origin != VLORPI_ORIGIN_LINE) {
            continue;
        }
        if (row->no_meaning != NULL) {
            vlorpi_log_info(log, "--%s has no effect here: %s", row->name, row->no_meaning);
        } else if (row->unread_by != NULL && is_among(row->unread_by, vlorpi_options_text(options, "optimizer"))) {
            vlorpi_log_info(log, "--%s has no effect with --optimizer %s", row->name,
                            vlorpi_options_text(options, "optimizer"));
        }
    }
}

static json_t *value_to_json(const vlorpi_option_row *row, const vlorpi_option_value *value)
{
    if (!value->has) {
        return json_null();
    }
    switch (row->kind) {
    case VLORPI_OPTION_BOOL: return json_boolean(value->integer);
    case VLORPI_OPTION_INT:
    case VLORPI_OPTION_COUNT:
    case VLORPI_OPTION_BYTES: return json_integer((json_int_t)value->integer);
    case VLORPI_OPTION_DOUBLE:
    case VLORPI_OPTION_STEPS:
    case VLORPI_OPTION_FACTOR: return json_real(value->number);
    case VLORPI_OPTION_STRING:
    case VLORPI_OPTION_ENUM:
    case VLORPI_OPTION_LIST: break;
    }
    json_t *text = json_string(value->text);
    return text != NULL ? text : json_string("(not UTF-8)");
}

bool vlorpi_option_is_about_the_call(const char *name)
{
    static const char *const names[] = {"config", "help", "version", "overwrite", "force", "continue_from"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

json_t *vlorpi_options_to_json(const vlorpi_options *options)
{
    json_t *object = json_object();
    for (int i = 0; object != NULL && i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        if (belongs(row, options->command) && !vlorpi_option_is_about_the_call(row->name) &&
            json_object_set_new(object, row->name, value_to_json(row, &options->values[i])) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

/* Writes "name value" items, wrapped; switches that are off by default are left out. */
static void print_items(const vlorpi_options *options, bool set, const char *title, FILE *out)
{
    int column = 0;
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        const vlorpi_option_value *value = &options->values[i];
        bool off = row->kind == VLORPI_OPTION_BOOL && value->integer == 0;
        if (!belongs(row, options->command) || !value->has || (value->origin != VLORPI_ORIGIN_DEFAULT) != set ||
            (off && !set)) {
            continue;
        }
        int width = (int)(strlen(row->name) + strlen(value->text)) + 3;
        if (column == 0) {
            column = fprintf(out, "%-9s", title);
        } else if (column + width > HELP_WIDTH) {
            column = fprintf(out, ",\n%-9s", "") - 2;
        } else {
            column += fprintf(out, ", ");
        }
        column += fprintf(out, "%s %s", row->name, value->text);
    }
    if (column > 0) {
        (void)fputc('\n', out);
    }
}

void vlorpi_options_print_header(const vlorpi_options *options, FILE *out)
{
    print_items(options, true, "settings", out);
    print_items(options, false, "defaults", out);
}

/* One option: its form, then the help text and the default, wrapped into the right column. */
static void print_row(const vlorpi_option_row *row, FILE *out)
{
    char placeholder[160];
    char form[256];
    char text[640];
    char choices[256];
    vlorpi_option_placeholder(row, placeholder, sizeof placeholder);
    vlorpi_option_named_choices(row, choices, sizeof choices);
    char letter[] = {'-', row->letter, ',', '\0'};
    const char *fallback = row->fallback != NULL ? row->fallback : row->fallback_help;
    bool shows_default = fallback != NULL && strcmp(fallback, "false") != 0;
    bool is_on = row->kind == VLORPI_OPTION_BOOL && fallback != NULL && strcmp(fallback, "true") == 0;
    (void)snprintf(form, sizeof form, "  %-3s --%s%s%s%s", row->letter != 0 ? letter : "", is_on ? "[no_]" : "",
                   row->name, placeholder[0] != '\0' ? " " : "", placeholder);
    (void)snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s%s%s", row->help, choices[0] != '\0' ? ": " : "", choices,
                   row->synonyms[0] != NULL ? "; also --" : "",
                   row->synonyms[0] != NULL ? row->synonyms[0] : "",
                   row->no_meaning != NULL ? "; no effect: " : "", row->no_meaning != NULL ? row->no_meaning : "",
                   shows_default ? " [" : "", shows_default ? fallback : "", shows_default ? "]" : "");
    int column = fprintf(out, "%s", form);
    if (column >= HELP_COLUMN - 1) {
        (void)fputc('\n', out);
        column = 0;
    }
    column += fprintf(out, "%*s", HELP_COLUMN - column, "");
    for (const char *word = text; *word != '\0';) {
        int n = (int)strcspn(word, " ");
        if (column + n + 1 > HELP_WIDTH && column > HELP_COLUMN) {
            column = fprintf(out, "\n%*s", HELP_COLUMN, "") - 1;
        }
        column += fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", n, word);
        word += n + (word[n] == ' ');
    }
    (void)fputc('\n', out);
}

void vlorpi_options_print_help(unsigned command, FILE *out)
{
    const char *section = NULL;
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        if (row->name == NULL) {
            section = row->help;
        } else if (belongs(row, command)) {
            if (section != NULL) {
                (void)fprintf(out, "\n%s\n", section);
                section = NULL;
            }
            print_row(row, out);
        }
    }
}
