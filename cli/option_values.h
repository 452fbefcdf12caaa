/* option_values.h - the text of one option to its value.
 *
 * Layer 7, between options.c and option_table.c.
 */
#ifndef VLORPI_CLI_OPTION_VALUES_H
#define VLORPI_CLI_OPTION_VALUES_H

#include "cli/options.h"

/* Reads text as the row's kind into number, integer and text of value, sets has, and keeps origin.
 * Where a default is found at run time the word "auto" asks for it: the result is a value that is not
 * there, of origin DEFAULT.  On an error value is unchanged.
 * Errors: E_ARG naming option, text and what is wanted. */
VLORP_CHECKED vlorp_status vlorpi_option_read(vlorpi_option_value *value, const vlorpi_option_row *row,
                                              const char *text, vlorp_err *err);

/* The value of a config file or run.json as a user would type it: *out is text [n_bytes], filled, or a string of value.
 * false: an array, an object or null. */
bool vlorpi_option_json_text(const json_t *value, char *text, size_t n_bytes, const char **out);

/* Whether an option says what to do now and is no setting of a run, which a run.json would repeat. */
bool vlorpi_option_is_about_the_call(const char *name);

/* Keeps a copy of text for as long as options live; NULL when the store is full. */
const char *vlorpi_option_store(vlorpi_options *options, const char *text);

/* What stands for the value in --help: N, X, a|b|c; empty for a boolean. */
void vlorpi_option_placeholder(const vlorpi_option_row *row, char *text, size_t text_bytes);

/* The choices that a value_name hides, one after the other; empty where it hides none. */
void vlorpi_option_named_choices(const vlorpi_option_row *row, char *text, size_t text_bytes);

#endif
