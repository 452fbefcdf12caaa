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

/* What stands for the value in --help: N, X, a|b|c; empty for a boolean. */
void vlorpi_option_placeholder(const vlorpi_option_row *row, char *text, size_t text_bytes);

#endif
