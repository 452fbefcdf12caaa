/* dry_run.h - train --dry_run: the data as it would be trained on, and the plan; nothing is trained or written.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_DRY_RUN_H
#define VLORPI_CLI_DRY_RUN_H

#include "cli/command.h"
#include "train/settings.h"

/* Prints three examples with the trained tokens marked, counts, what packing saves, the length of the run and the
 * plan to standard output.  Errors: those of a run before its first step, E_LIMIT when the plan does not fit included. */
VLORP_CHECKED vlorp_status vlorpi_dry_run(vlorpi_cli *cli, const vlorpi_train_settings *settings, vlorp_err *err);

#endif
