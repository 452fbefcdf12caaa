/* options.h - one table of options for every command.
 *
 * Layer 7.  Command line, --config FILE, --help, the run header and run.json all come from the rows
 * in option_table.c; nothing else knows an option's name, default or range.
 *
 * A command reads its options by name through the typed calls below.  Asking for a name that has no
 * row under the command, or by another type than the row's, is a bug in the caller and aborts.
 */
#ifndef VLORPI_CLI_OPTIONS_H
#define VLORPI_CLI_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/status.h"

/* Which commands a row belongs to. */
enum {
    VLORPI_CMD_TRAIN = 1 << 0,
    VLORPI_CMD_EVAL = 1 << 1,
    VLORPI_CMD_GENERATE = 1 << 2,
    VLORPI_CMD_PLAN = 1 << 3,
    VLORPI_CMD_CONVERT = 1 << 4,
    VLORPI_CMD_INSPECT = 1 << 5,
    VLORPI_CMD_TOKENIZE = 1 << 6,
    VLORPI_CMD_BENCH = 1 << 7,
    VLORPI_CMD_ALL = (1 << 8) - 1
};

typedef enum vlorpi_option_kind {
    VLORPI_OPTION_BOOL,   /* --x, --no_x, --x true|false */
    VLORPI_OPTION_INT,    /* an integer in [min, max] */
    VLORPI_OPTION_COUNT,  /* an integer that may end in K, M or B (thousand, million, billion) */
    VLORPI_OPTION_DOUBLE, /* a finite number in [min, max] */
    VLORPI_OPTION_STEPS,  /* below 1: a fraction of the run; else a whole number of steps */
    VLORPI_OPTION_FACTOR, /* c: a positive integer, or 1/2^k written 1/4 or 0.25 */
    VLORPI_OPTION_BYTES,  /* 17179869184, 16GiB, 16G (both 2^30), 16GB (10^9) */
    VLORPI_OPTION_STRING,
    VLORPI_OPTION_ENUM, /* one of choices */
    VLORPI_OPTION_LIST  /* some of choices, separated by commas */
} vlorpi_option_kind;

typedef struct vlorpi_option_row {
    const char *name;            /* with underscores; - and _ are the same on the command line */
    char letter;                 /* -m, or 0 */
    const char *synonyms[3];     /* other names of the same option */
    vlorpi_option_kind kind;
    unsigned commands;           /* VLORPI_CMD_...; two rows of one name have disjoint sets */
    const char *fallback;        /* the default as one would type it; NULL: none, or found at run time */
    const char *fallback_help;   /* what --help says of a default found at run time */
    double min, max;             /* numbers; both 0: any */
    const char *const *choices;  /* enum and list: NULL-terminated */
    const char *const *renamed;  /* pairs (accepted, meaning), NULL-terminated; meaning "auto": as if not given */
    const char *const *not_here; /* choices of the method that this version does not have */
    const char *value_name;      /* in --help; NULL: made from the kind */
    const char *help;
    const char *const *unread_by; /* --optimizers that do not read it, NULL-terminated */
    const char *no_meaning;      /* accepted for the sake of published command lines; the reason */
    bool may_be_empty;           /* string: "" is a value */
} vlorpi_option_row;

/* Sections of --help; a row without a name starts one (help is its title). */
extern const vlorpi_option_row vlorpi_option_table[];
extern const int vlorpi_option_table_rows;

typedef enum vlorpi_option_origin {
    VLORPI_ORIGIN_DEFAULT,
    VLORPI_ORIGIN_RUN,    /* from the run that goes on (--continue_from) */
    VLORPI_ORIGIN_CONFIG, /* from the file of --config */
    VLORPI_ORIGIN_LINE    /* from the command line */
} vlorpi_option_origin;

typedef struct vlorpi_option_value {
    vlorpi_option_origin origin;
    bool has;         /* false: no default and not given, or given as "auto" */
    const char *text; /* as the value would be typed; borrowed from argv, the table or storage */
    double number;    /* double, steps, factor */
    int64_t integer;  /* bool, int, count, bytes */
} vlorpi_option_value;

enum { VLORPI_OPTIONS_MAX_ROWS = 128, VLORPI_OPTIONS_STORAGE_BYTES = 16384 };

typedef struct vlorpi_options {
    unsigned command;                                   /* one VLORPI_CMD_ bit */
    vlorpi_option_value values[VLORPI_OPTIONS_MAX_ROWS]; /* [i] belongs to row i of the table */
    char storage[VLORPI_OPTIONS_STORAGE_BYTES];          /* texts from --config */
    size_t n_stored;
    bool help, version;                                  /* asked for: nothing else was looked at */
} vlorpi_options;

/* Sets every option of the command to its default. */
void vlorpi_options_init(vlorpi_options *options, unsigned command);

/* Reads argv[0 .. argc-1], the words after the command's name, then the file of --config, which
 * loses against the command line, and checks that options agree (option_check.c); under --continue_from
 * that check is left to the caller, after vlorpi_options_apply_run.
 * Borrows argv.  Errors: E_ARG with a hint where one helps; --config also E_IO and E_FORMAT. */
VLORP_CHECKED vlorp_status vlorpi_options_parse(vlorpi_options *options, int argc, char **argv, vlorp_err *err);

/* Sets one option from text, as --config and normalisation do.  text must outlive options. */
VLORP_CHECKED vlorp_status vlorpi_options_set(vlorpi_options *options, const char *name, const char *text,
                                              vlorpi_option_origin origin, vlorp_err *err);

/* Applies an object {name: value}; a run.json keeps it under "options".  null means: not given. */
VLORP_CHECKED vlorp_status vlorpi_options_apply_json(vlorpi_options *options, const json_t *object, const char *name,
                                                     vlorp_err *err);

/* Applies the settings of a run that goes on: an option that was not given takes the run's value; one that was given
 * must agree, unless it is one that may change.  Then _check, which _parse leaves out under --continue_from.
 *   record: its run.json; name: for error texts.  Errors: E_ARG naming option, old and new value. */
VLORP_CHECKED vlorp_status vlorpi_options_apply_run(vlorpi_options *options, const json_t *record, const char *name,
                                                    vlorp_err *err);

/* Refuses options that disagree and derives those that follow from others: proj_type from
 * proj_matrix_dist; one of batch_size, gradient_accumulation, total_batch_size from the two others.
 * Called by vlorpi_options_parse. */
VLORP_CHECKED vlorp_status vlorpi_options_check(vlorpi_options *options, vlorp_err *err);

/* One line for each given option that means nothing here. */
void vlorpi_options_log_meaningless(const vlorpi_options *options, const vlorpi_log *log);

/* Whether the user said it, on the command line or by --config ("auto" counts as not said). */
bool vlorpi_options_is_set(const vlorpi_options *options, const char *name);
/* Whether there is a value: said, or a default in the table. */
bool vlorpi_options_has(const vlorpi_options *options, const char *name);

/* The value; without one (see _has) 0, false, NULL. */
bool vlorpi_options_bool(const vlorpi_options *options, const char *name);
int64_t vlorpi_options_int(const vlorpi_options *options, const char *name);    /* int and count */
double vlorpi_options_double(const vlorpi_options *options, const char *name);  /* double, steps and factor */
size_t vlorpi_options_bytes(const vlorpi_options *options, const char *name);
const char *vlorpi_options_text(const vlorpi_options *options, const char *name); /* string and enum */
bool vlorpi_options_lists(const vlorpi_options *options, const char *name, const char *item);

/* The model's path: the option as given, or the folder of a known alias.  E_ARG when none was given;
 * E_IO when nothing is there, with a hint where to put the folder. */
VLORP_CHECKED vlorp_status vlorpi_options_model(const vlorpi_options *options, const char **path, vlorp_err *err);

/* What a known alias's config.json says of its sizes, when the model is not on this machine; else NULL. */
const char *vlorpi_options_model_shape(const vlorpi_options *options);

/* Every option of the command with its value, null where there is none.  Owner: the caller,
 * json_decref; NULL when out of memory. */
json_t *vlorpi_options_to_json(const vlorpi_options *options);
/* The settings of a run: those given, then the defaults. */
void vlorpi_options_print_header(const vlorpi_options *options, FILE *out);
/* The options of a command, by section. */
void vlorpi_options_print_help(unsigned command, FILE *out);

/* The candidate nearest to word by edit distance, or NULL when none is near enough to be meant. */
const char *vlorpi_nearest(const char *word, const char *const *candidates, int n_candidates);

#endif
