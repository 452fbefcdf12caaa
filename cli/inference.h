/* inference.h - the model of --model, loaded as eval and generate want it.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_INFERENCE_H
#define VLORPI_CLI_INFERENCE_H

#include "cli/command.h"
#include "eval/loaded_model.h"

/* Reads --model and --dtype and says what was loaded.  Owner: the caller, vlorpi_loaded_model_close;
 * on an error there is nothing to close. */
VLORP_CHECKED vlorp_status vlorpi_cli_load_model(vlorpi_loaded_model *loaded, vlorpi_cli *cli, vlorp_err *err);

/* --max_new_tokens of one generated text. */
int64_t vlorpi_cli_max_new_tokens(const vlorpi_options *options);

#endif
