#include "cli/inference.h"

#include <string.h>

#include "base/clock.h"

vlorp_status vlorpi_cli_load_model(vlorpi_loaded_model *loaded, vlorpi_cli *cli, vlorp_err *err)
{
    const char *path;
    VLORP_TRY(vlorpi_options_model(cli->options, &path, err));
    int dtype = -1;
    const char *name = vlorpi_options_text(cli->options, "dtype");
    if (name != NULL) {
        dtype = strcmp(name, "float32") == 0 ? VLORP_F32 : VLORP_BF16;
    }
    double begin = vlorpi_clock_seconds();
    vlorpi_machine machine = {.mem = cli->mem, .kernels = cli->kernels, .exec = &cli->exec};
    const char *adapter = vlorpi_options_text(cli->options, "adapter");
    VLORP_TRY(vlorpi_loaded_model_open_adapted(loaded, &machine, path, adapter, dtype, err));
    char bytes[32];
    char seconds[32];
    vlorpi_mem_usage usage = vlorpi_mem_now(cli->mem);
    vlorpi_log_info(&cli->log, "%s: %s, %lld layers, %s of %s weights, read in %s; %d threads, %s kernels", path,
                    loaded->config.arch->model_type, (long long)loaded->config.L,
                    vlorpi_output_bytes(bytes, sizeof bytes, usage.bytes[VLORPI_MEM_WEIGHTS]),
                    loaded->dtype == VLORP_F32 ? "float32" : "bfloat16",
                    vlorpi_output_seconds(seconds, sizeof seconds, vlorpi_clock_seconds() - begin), cli->n_threads,
                    cli->kernels->name);
    return VLORP_OK;
}

int64_t vlorpi_cli_max_new_tokens(const vlorpi_options *options)
{
    enum { DEFAULT_NEW_TOKENS = 128 };
    return vlorpi_options_has(options, "max_new_tokens") ? vlorpi_options_int(options, "max_new_tokens")
                                                         : DEFAULT_NEW_TOKENS;
}
