#include "train/job_model.h"

#include <inttypes.h>

enum { DEFAULT_RANK = 8 };

/* A plan may ask what another optimizer would take of the whole model. */
static vlorp_status refuse_whole(const vlorpi_job *job, vlorp_err *err)
{
    const char *folder = vlorpi_peft_folder(job->adapter);
    (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: an adapter; --optimizer %s trains whole models", folder,
                         vlorpi_optimizer_text(job->settings.optimizer));
    vlorpi_err_hint(err, "--optimizer lora trains it on; vlorp convert %.200s --out FOLDER merges it with its base",
                    folder);
    return VLORP_E_UNSUPPORTED;
}

vlorp_status vlorpi_job_open_model(vlorpi_job *job, bool need_weights, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    const char *base;
    VLORP_TRY(vlorpi_peft_resolve(&job->adapter, &base, job->mem, s->model, s->adapter, err));
    if (need_weights && job->adapter != NULL && s->optimizer != VLORPI_OPTIMIZER_LORA) {
        return refuse_whole(job, err);
    }
    if (s->model_shape != NULL) {
        VLORP_TRY(vlorpi_source_open_text(&job->source, job->mem, base, s->model_shape, err));
    } else {
        VLORP_TRY(vlorpi_source_open(&job->source, job->mem, base, need_weights && !s->init_random, err));
    }
    return vlorpi_model_config_load(&job->model_config, job->source, err);
}

static vlorp_status refuse_other(const vlorpi_job *job, const char *option, double asked, double found, vlorp_err *err)
{
    (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s %g: the adapter in %s has %g", option, asked,
                         vlorpi_peft_folder(job->adapter), found);
    vlorpi_err_hint(err, "leave it out to train that adapter on, or name the base model to begin another");
    return VLORP_E_ARG;
}

/* What was asked for, or what the adapter that goes on is. */
static vlorp_status decide_lora(const vlorpi_job *job, vlorpi_lora *lora, vlorp_err *err)
{
    const vlorpi_train_settings *s = &job->settings;
    int64_t rank = s->projection.rank;
    if (job->adapter != NULL) {
        *lora = vlorpi_peft_lora(job->adapter);
        if (rank > 0 && rank != lora->rank) {
            return refuse_other(job, "rank", (double)rank, (double)lora->rank, err);
        }
        if (s->lora_alpha > 0 && s->lora_alpha != lora->alpha) {
            return refuse_other(job, "lora_alpha", s->lora_alpha, lora->alpha, err);
        }
    } else {
        *lora = (vlorpi_lora){.rank = rank > 0 ? rank : DEFAULT_RANK};
        lora->alpha = s->lora_alpha > 0 ? s->lora_alpha : (double)lora->rank;
    }
    lora->dropout = s->lora_dropout >= 0 ? s->lora_dropout : lora->dropout;
    return VLORP_OK;
}

vlorp_status vlorpi_job_make_model(vlorpi_job *job, vlorp_err *err)
{
    vlorpi_model_free(job->model);
    job->model = NULL;
    VLORP_TRY(
        vlorpi_model_create(&job->model, job->mem, job->kernels, &job->exec, &job->model_config, job->sizes.dtype, err));
    vlorpi_lora lora;
    if (job->settings.optimizer != VLORPI_OPTIMIZER_LORA) {
        return VLORP_OK;
    }
    VLORP_TRY(decide_lora(job, &lora, err));
    return vlorpi_model_add_lora(job->model, &lora, job->adapter, err);
}

vlorp_status vlorpi_job_fill_model(vlorpi_job *job, vlorp_err *err)
{
    uint64_t seed = job->settings.seed;
    if (job->settings.init_random) {
        VLORP_TRY(vlorpi_model_init_random(job->model, seed, err));
    } else {
        VLORP_TRY(vlorpi_model_load(job->model, job->source, err));
    }
    if (job->adapter == NULL) {
        return vlorpi_model_init_lora(job->model, seed, err);
    }
    VLORP_TRY(vlorpi_model_load_lora(job->model, job->adapter, err));
    vlorpi_peft_unmap(job->adapter);
    return VLORP_OK;
}
