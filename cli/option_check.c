/* option_check.c - options that speak of the same thing must agree; where the model is. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/options.h"

/* Names that people know, and the folder that holds the model once it was fetched. */
static const struct {
    const char *alias, *hub_id;
} model_aliases[] = {
    {"llama-2-7b", "meta-llama/Llama-2-7b-hf"},
    {"llama-2-7b-chat", "meta-llama/Llama-2-7b-chat-hf"},
    {"llama-2-13b", "meta-llama/Llama-2-13b-hf"},
    {"llama-2-70b", "meta-llama/Llama-2-70b-hf"},
    {"llama-3-8b", "meta-llama/Meta-Llama-3-8B"},
    {"llama-3.2-1b", "meta-llama/Llama-3.2-1B"},
    {"tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"},
    {"smollm2-135m", "HuggingFaceTB/SmolLM2-135M"},
    {"smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"},
    {"smollm2-360m", "HuggingFaceTB/SmolLM2-360M"},
    {"smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B"},
};

static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

vlorp_status vlorpi_options_model(const vlorpi_options *options, const char **path, vlorp_err *err)
{
    const char *given = vlorpi_options_text(options, "model");
    const char *hub_id = NULL;
    *path = NULL;
    if (given == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "model: none was given");
        vlorpi_err_hint(err, "name a model folder, a GGUF file or a config.json, with or without --model");
        return VLORP_E_ARG;
    }
    for (size_t i = 0; i < sizeof model_aliases / sizeof model_aliases[0]; i++) {
        if (strcmp(given, model_aliases[i].alias) == 0 || strcmp(given, model_aliases[i].hub_id) == 0) {
            hub_id = model_aliases[i].hub_id;
        }
    }
    if (is_there(given) || (hub_id != NULL && is_there(hub_id))) {
        *path = is_there(given) ? given : hub_id;
        return VLORP_OK;
    }
    if (hub_id != NULL) {
        (void)vlorpi_err_set(err, VLORP_E_IO,
                             "%s: it is not on this machine, and this version does not download models", given);
        vlorpi_err_hint(err, "put the files of %s (config.json, *.safetensors, tokenizer files) into ./%s", hub_id,
                        hub_id);
        return VLORP_E_IO;
    }
    (void)vlorpi_err_set(err, VLORP_E_IO, "%s: %s", given, strerror(errno));
    vlorpi_err_hint(err, "a model is a folder with config.json, a GGUF file or a config.json; nothing is downloaded");
    return VLORP_E_IO;
}

/* M = c * r: any two give the third, three must agree. */
static vlorp_status check_budget(const vlorpi_options *options, vlorp_err *err)
{
    if (!vlorpi_options_has(options, "budget")) {
        return VLORP_OK;
    }
    double budget = (double)vlorpi_options_int(options, "budget");
    double factor = vlorpi_options_double(options, "factor");
    double rank = (double)vlorpi_options_int(options, "rank");
    bool has_factor = vlorpi_options_has(options, "factor");
    bool has_rank = vlorpi_options_has(options, "rank");
    double third = has_factor ? budget / factor : has_rank ? budget / rank : 1;
    if (has_factor && has_rank && factor * rank != budget) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--budget: %g is not factor * rank = %g * %g", budget, factor, rank);
    } else if (third != (double)(int64_t)third) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--budget: %g is not a multiple of the given %s %g", budget,
                             has_factor ? "factor" : "rank", has_factor ? factor : rank);
    } else {
        return VLORP_OK;
    }
    vlorpi_err_hint(err, "budget is factor * rank; two of them say it all");
    return VLORP_E_ARG;
}

/* Writes a derived number as the value of an option; the text lives in options. */
static vlorp_status derive(vlorpi_options *options, const char *name, int64_t number, vlorp_err *err)
{
    char *text = options->storage + options->n_stored;
    size_t left = sizeof options->storage - options->n_stored;
    int n = snprintf(text, left, "%lld", (long long)number);
    if (n < 0 || (size_t)n >= left) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "--%s: the values of --config are too long", name);
    }
    options->n_stored += (size_t)n + 1;
    return vlorpi_options_set(options, name, text, VLORPI_ORIGIN_LINE, err);
}

/* total_batch_size = batch_size * gradient_accumulation. */
static vlorp_status check_batch(vlorpi_options *options, vlorp_err *err)
{
    int64_t batch = vlorpi_options_int(options, "batch_size");
    int64_t times = vlorpi_options_int(options, "gradient_accumulation");
    int64_t total = vlorpi_options_int(options, "total_batch_size");
    bool total_set = vlorpi_options_is_set(options, "total_batch_size");
    if (times == 0) {
        return VLORP_OK;
    }
    if (batch != 0 && !total_set) {
        return derive(options, "total_batch_size", batch * times, err);
    }
    if (batch != 0 && batch * times != total) {
        VLORP_FAIL(err, VLORP_E_ARG,
                   "--total_batch_size: %lld is not batch_size * gradient_accumulation = %lld * %lld",
                   (long long)total, (long long)batch, (long long)times);
    }
    if (total % times != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "--gradient_accumulation: %lld does not divide the total_batch_size %lld",
                   (long long)times, (long long)total);
    }
    return batch != 0 ? VLORP_OK : derive(options, "batch_size", total / times, err);
}

static vlorp_status check_training(vlorpi_options *options, vlorp_err *err)
{
    VLORP_TRY(check_budget(options, err));
    VLORP_TRY(check_batch(options, err));
    const char *distribution = vlorpi_options_text(options, "proj_matrix_dist");
    if (distribution != NULL) {
        const char *type = vlorpi_options_text(options, "proj_type");
        if (vlorpi_options_is_set(options, "proj_type") && strcmp(type, distribution) != 0) {
            VLORP_FAIL(err, VLORP_E_ARG, "--proj_type: %s, but --proj_matrix_dist says %s", type, distribution);
        }
        VLORP_TRY(vlorpi_options_set(options, "proj_type", distribution, VLORPI_ORIGIN_LINE, err));
    }
    static const char *const lengths[] = {"num_training_steps", "epochs", "max_train_tokens"};
    const char *said = NULL;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (said != NULL && vlorpi_options_is_set(options, lengths[i])) {
            (void)vlorpi_err_set(err, VLORP_E_ARG, "--%s: --%s says how long the run is already", lengths[i], said);
            vlorpi_err_hint(err, "give one of the two");
            return VLORP_E_ARG;
        }
        said = vlorpi_options_is_set(options, lengths[i]) ? lengths[i] : said;
    }
    if (strcmp(vlorpi_options_text(options, "init"), "random") == 0 &&
        vlorpi_options_text(options, "model") == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "--init random: name the config.json of the model to make");
    }
    return VLORP_OK;
}

vlorp_status vlorpi_options_check(vlorpi_options *options, vlorp_err *err)
{
    if ((options->command & (VLORPI_CMD_TRAIN | VLORPI_CMD_PLAN | VLORPI_CMD_BENCH)) != 0) {
        return check_training(options, err);
    }
    return VLORP_OK;
}
