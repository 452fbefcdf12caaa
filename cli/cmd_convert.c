/* cmd_convert.c - vlorp convert: a model, written as a Hugging Face folder. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/convert.h"
#include "checkpoint/save.h"
#include "cli/command.h"

/* --dtype, or -1 when it was not given. */
static int dtype_of(const char *name)
{
    for (int dtype = VLORP_F32; name != NULL && dtype <= VLORP_F16; dtype++) {
        if (strcmp(name, vlorpi_checkpoint_dtype_name((vlorp_dtype)dtype)) == 0) {
            return dtype;
        }
    }
    return -1;
}

vlorp_status vlorpi_cmd_convert(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_conversion conversion = {
        .folder = vlorpi_options_text(cli->options, "out"),
        .dtype = dtype_of(vlorpi_options_text(cli->options, "dtype")),
        .overwrite = vlorpi_options_bool(cli->options, "overwrite"),
        .kernels = cli->kernels,
        .exec = &cli->exec,
    };
    vlorp_dtype stored;
    VLORP_TRY(vlorpi_options_model(cli->options, &conversion.model, err));
    if (conversion.folder == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "convert: --out is missing");
        vlorpi_err_hint(err, "vlorp convert %.200s --out FOLDER", conversion.model);
        return VLORP_E_ARG;
    }
    vlorpi_mem_set_phase(cli->mem, "convert");
    VLORP_TRY(vlorpi_convert(&conversion, cli->mem, &stored, err));
    vlorpi_log_info(&cli->log, "%s: written as %s", conversion.folder, vlorpi_checkpoint_dtype_name(stored));
    return VLORP_OK;
}
