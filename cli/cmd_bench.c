/* cmd_bench.c - vlorp bench: kernels, whole steps and the optimizer against the machine's limits. */
#include <string.h>

#include "cli/bench.h"
#include "cli/train_options.h"

vlorp_status vlorpi_cmd_bench(vlorpi_cli *cli, vlorp_err *err)
{
    const char *measure = vlorpi_options_text(cli->options, "measure");
    if (measure == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "bench: nothing was named to be timed");
        vlorpi_err_hint(err, "vlorp bench kernels, vlorp bench step MODEL or vlorp bench optimizer MODEL");
        return VLORP_E_ARG;
    }
    return strcmp(measure, "kernels") == 0 ? vlorpi_bench_kernels(cli, err)
           : strcmp(measure, "step") == 0  ? vlorpi_bench_step(cli, err)
                                           : vlorpi_bench_optimizer(cli, err);
}

vlorp_status vlorpi_bench_open(vlorpi_job *job, vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_train_settings settings;
    *job = (vlorpi_job){0};
    VLORP_TRY(vlorpi_train_options(&settings, cli, err));
    size_t n = strlen(settings.model);
    settings.init_random = settings.init_random || (n > 5 && strcmp(settings.model + n - 5, ".json") == 0);
    VLORP_TRY(vlorpi_job_open(job, &settings, true, cli->mem, &cli->log, cli->kernels, &cli->exec, err));
    if (job->data != NULL && job->sizes.n_steps < 1) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: not one step of %lld examples", settings.dataset,
                   (long long)settings.total_batch_size);
    }
    VLORP_TRY(vlorpi_job_allocate(job, err));
    for (int id = 0; job->data == NULL && id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        if (vlorp_optimizer_wants_probe(job->optimizer, id)) {
            VLORP_FAIL(err, VLORP_E_ARG, "svd: its basis comes from the gradient of examples; give --dataset");
        }
    }
    return VLORP_OK;
}
