/* interactive.h - a conversation on a terminal: lines in, answers out, the key-value cache kept.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_INTERACTIVE_H
#define VLORPI_CLI_INTERACTIVE_H

#include "cli/command.h"
#include "eval/generate.h"

/* Talks until the end of standard input or /quit.  With --chat every line is a message of one conversation,
 * else a text of its own that the model goes on with.  The first Ctrl-C stops an answer, the next one (or one
 * while nothing is being answered) leaves.  loaded must be open and not laid out yet.
 * Errors: E_UNSUPPORTED when --chat finds no known template; E_INTERRUPTED; what ends the program otherwise.
 * A message that cannot be answered is reported, and the conversation goes on. */
VLORP_CHECKED vlorp_status vlorpi_cli_interactive(vlorpi_cli *cli, vlorpi_loaded_model *loaded,
                                                  const vlorpi_sampling *sampling, vlorp_err *err);

#endif
