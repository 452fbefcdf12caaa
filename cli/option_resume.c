/* option_resume.c - the settings of a run that goes on, against what was typed now. */
#include <string.h>

#include "cli/option_values.h"

/* What a run that goes on may have otherwise: how far, how often, where, and what the machine is asked for.  The data by
 * its name, since its contents are compared when it was read. */
static const char *const may_change[] = {
    "num_training_steps", "epochs", "max_train_tokens", "eval_every", "eval_task", "eval_limit", "save_every", "save_minutes", "keep", "keep_best",
    "model", "dataset", "data_dir", "eval_data", "save_dir", "init", "activation_checkpointing", "memory_limit",
    "threads", "quiet", NULL};

/* The length of the run can be said in several ways: one that is said now replaces all of the run. */
static const char *const lengths[] = {"num_training_steps", "epochs", "max_train_tokens", NULL};

static bool is_among(const char *const *names, const char *name)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool length_is_given(const vlorpi_options *options)
{
    for (const char *const *name = lengths; *name != NULL; name++) {
        if (vlorpi_options_is_set(options, *name)) {
            return true;
        }
    }
    return false;
}

static bool same_value(const vlorpi_option_row *row, const vlorpi_option_value *a, const vlorpi_option_value *b)
{
    if (!a->has || !b->has) {
        return a->has == b->has;
    }
    switch (row->kind) {
    case VLORPI_OPTION_BOOL:
    case VLORPI_OPTION_INT:
    case VLORPI_OPTION_COUNT:
    case VLORPI_OPTION_BYTES: return a->integer == b->integer;
    case VLORPI_OPTION_DOUBLE:
    case VLORPI_OPTION_STEPS:
    case VLORPI_OPTION_FACTOR: return a->number == b->number;
    case VLORPI_OPTION_STRING:
    case VLORPI_OPTION_ENUM:
    case VLORPI_OPTION_LIST: break;
    }
    return strcmp(a->text, b->text) == 0;
}

/* The value of a row in the record: as it was given, else as it was found.  Its text is in number or borrowed from the
 * record; has is false where there is none. */
static vlorp_status value_of_run(vlorpi_option_value *value, const vlorpi_option_row *row, const json_t *record,
                                 char number[64], vlorp_err *err)
{
    static const char *const found[] = {"dtype", "max_length", NULL};
    const json_t *json = json_object_get(json_object_get(record, "options"), row->name);
    if ((json == NULL || json_is_null(json)) && is_among(found, row->name)) {
        json = json_object_get(json_object_get(record, "used"), row->name);
    }
    *value = (vlorpi_option_value){.origin = VLORPI_ORIGIN_RUN};
    const char *text;
    if (json == NULL || !vlorpi_option_json_text(json, number, 64, &text)) {
        return VLORP_OK;
    }
    return vlorpi_option_read(value, row, text, err);
}

static vlorp_status check_same(const vlorpi_option_row *row, const vlorpi_option_value *now,
                               const vlorpi_option_value *then, const char *name, vlorp_err *err)
{
    if (same_value(row, now, then) || row->no_meaning != NULL || is_among(may_change, row->name)) {
        return VLORP_OK;
    }
    if (then->has) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s: %s, but the run in %s was made with %s", row->name, now->text,
                             name, then->text);
    } else {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s: %s, but the run in %s was made without it", row->name, now->text,
                             name);
    }
    vlorpi_err_hint(err, "a run that goes on keeps its settings, but for its length, intervals, names and folders; leave "
                         "the option out, or begin a new run");
    return VLORP_E_ARG;
}

static vlorp_status take(vlorpi_options *options, const vlorpi_option_row *row, const char *text, vlorp_err *err)
{
    const char *kept = vlorpi_option_store(options, text);
    if (kept == NULL) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "--%s: the run's settings are longer than %d bytes in all", row->name,
                   (int)VLORPI_OPTIONS_STORAGE_BYTES);
    }
    return vlorpi_options_set(options, row->name, kept, VLORPI_ORIGIN_RUN, err);
}

vlorp_status vlorpi_options_apply_run(vlorpi_options *options, const json_t *record, const char *name, vlorp_err *err)
{
    if (!json_is_object(json_object_get(record, "options"))) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: the settings of the run are missing", name);
    }
    bool length_given = length_is_given(options);
    for (int i = 0; i < vlorpi_option_table_rows; i++) {
        const vlorpi_option_row *row = &vlorpi_option_table[i];
        const vlorpi_option_value *now = &options->values[i];
        if (row->name == NULL || (row->commands & options->command) == 0 ||
            vlorpi_option_is_about_the_call(row->name)) {
            continue;
        }
        char number[64];
        vlorpi_option_value then;
        VLORP_TRY(value_of_run(&then, row, record, number, err));
        if (now->origin > VLORPI_ORIGIN_RUN) {
            VLORP_TRY(check_same(row, now, &then, name, err));
        } else if (then.has && !same_value(row, now, &then) && strcmp(row->name, "save_dir") != 0 &&
                   !(length_given && is_among(lengths, row->name))) {
            VLORP_TRY(take(options, row, then.text, err));
        }
    }
    return VLORP_OK;
}
