/* plan_fit.h - plan --fit SIZE: settings that fit, as a command line; what every update rule would need; the time of a step.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_PLAN_FIT_H
#define VLORPI_CLI_PLAN_FIT_H

#include "cli/command.h"
#include "train/settings.h"

/* Prints to standard output.  Errors: those of vlorpi_job_open; E_LIMIT when no settings of the update rule that was
 * asked for fit, after the table of the others was printed. */
VLORP_CHECKED vlorp_status vlorpi_plan_fit(vlorpi_cli *cli, const vlorpi_train_settings *settings, vlorp_err *err);

#endif
