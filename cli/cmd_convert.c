/* cmd_convert.c - vlorp convert: a model, written as a Hugging Face folder or as a GGUF file. */
#include <string.h>

#include "checkpoint/convert.h"
#include "cli/command.h"

static const struct {
    const char *name;
    vlorpi_storage storage;
} dtypes[] = {{"float32", VLORPI_STORAGE_F32},
              {"bfloat16", VLORPI_STORAGE_BF16},
              {"float16", VLORPI_STORAGE_F16},
              {"q8_0", VLORPI_STORAGE_Q8_0}};

enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* --dtype, or _N when it was not given. */
static vlorpi_storage storage_of(const char *name)
{
    for (int i = 0; name != NULL && i < N_DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            return dtypes[i].storage;
        }
    }
    return VLORPI_STORAGE_N;
}

static const char *name_of(vlorpi_storage storage)
{
    for (int i = 0; i < N_DTYPES; i++) {
        if (dtypes[i].storage == storage) {
            return dtypes[i].name;
        }
    }
    return "";
}

static vlorpi_convert_to form_of(const vlorpi_options *options, const char *out)
{
    const char *to = vlorpi_options_text(options, "to");
    size_t n = strlen(out);
    bool gguf = to != NULL ? strcmp(to, "gguf") == 0 : n > 5 && strcmp(out + n - 5, ".gguf") == 0;
    return gguf ? VLORPI_CONVERT_TO_GGUF : VLORPI_CONVERT_TO_FOLDER;
}

vlorp_status vlorpi_cmd_convert(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_conversion conversion = {
        .adapter = vlorpi_options_text(cli->options, "adapter"),
        .out = vlorpi_options_text(cli->options, "out"),
        .storage = storage_of(vlorpi_options_text(cli->options, "dtype")),
        .overwrite = vlorpi_options_bool(cli->options, "overwrite"),
        .shard_bytes = vlorpi_options_bytes(cli->options, "shard_size"),
        .kernels = cli->kernels,
        .exec = &cli->exec,
    };
    vlorpi_storage stored;
    VLORP_TRY(vlorpi_options_model(cli->options, &conversion.model, err));
    if (conversion.out == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "convert: --out is missing");
        vlorpi_err_hint(err, "vlorp convert %.200s --out FOLDER, or FILE.gguf", conversion.model);
        return VLORP_E_ARG;
    }
    conversion.to = form_of(cli->options, conversion.out);
    if (conversion.storage == VLORPI_STORAGE_Q8_0 && conversion.to != VLORPI_CONVERT_TO_GGUF) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "convert: --dtype q8_0: safetensors folders hold no quantised weights");
        vlorpi_err_hint(err, "--to gguf, or --dtype bfloat16");
        return VLORP_E_ARG;
    }
    vlorpi_mem_set_phase(cli->mem, "convert");
    conversion.stop = &vlorpi_interrupt_signal;
    vlorpi_interrupt_install();
    VLORP_TRY(vlorpi_convert(&conversion, cli->mem, &stored, err));
    vlorpi_log_info(&cli->log, "%s: written as %s", conversion.out, name_of(stored));
    return VLORP_OK;
}
