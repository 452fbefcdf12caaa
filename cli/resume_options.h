/* resume_options.h - --continue_from: the options of the run that goes on.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_RESUME_OPTIONS_H
#define VLORPI_CLI_RESUME_OPTIONS_H

#include "base/mem.h"
#include "cli/options.h"

/* Completes parsed options from the latest checkpoint of the folder of --continue_from.
 * Errors: E_ARG where an option that was given disagrees; those of reading the checkpoint. */
VLORP_CHECKED vlorp_status vlorpi_resume_options(vlorpi_options *options, vlorpi_mem *mem, vlorp_err *err);

#endif
