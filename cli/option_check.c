/* option_check.c - options that speak of the same thing must agree; where the model is. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/options.h"

/* Names that people know, the folder that holds the model once it was fetched, and its published shape. */
#define SHAPE(hidden, inner, heads, kv_heads, layers, vocabulary, positions, tied, dtype)                            \
    "{\"model_type\": \"llama\", \"hidden_size\": " #hidden ", \"intermediate_size\": " #inner                      \
    ", \"num_attention_heads\": " #heads ", \"num_key_value_heads\": " #kv_heads ", \"num_hidden_layers\": " #layers   \
    ", \"vocab_size\": " #vocabulary ", \"max_position_embeddings\": " #positions                                    \
    ", \"tie_word_embeddings\": " #tied ", \"torch_dtype\": \"" #dtype "\"}"

static const struct known_model {
    const char *alias, *hub_id;
    const char *config; /* as much of config.json as sizes depend on */
} known_models[] = {
    {"llama-2-7b", "meta-llama/Llama-2-7b-hf",
     SHAPE(4096, 11008, 32, 32, 32, 32000, 4096, false, float16)},
    {"llama-2-7b-chat", "meta-llama/Llama-2-7b-chat-hf",
     SHAPE(4096, 11008, 32, 32, 32, 32000, 4096, false, float16)},
    {"llama-2-13b", "meta-llama/Llama-2-13b-hf",
     SHAPE(5120, 13824, 40, 40, 40, 32000, 4096, false, float16)},
    {"llama-2-70b", "meta-llama/Llama-2-70b-hf",
     SHAPE(8192, 28672, 64, 8, 80, 32000, 4096, false, float16)},
    {"llama-3-8b", "meta-llama/Meta-Llama-3-8B",
     SHAPE(4096, 14336, 32, 8, 32, 128256, 8192, false, bfloat16)},
    {"llama-3.2-1b", "meta-llama/Llama-3.2-1B",
     SHAPE(2048, 8192, 32, 8, 16, 128256, 131072, true, bfloat16)},
    {"tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
     SHAPE(2048, 5632, 32, 4, 22, 32000, 2048, false, bfloat16)},
    {"smollm2-135m", "HuggingFaceTB/SmolLM2-135M",
     SHAPE(576, 1536, 9, 3, 30, 49152, 8192, true, bfloat16)},
    {"smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct",
     SHAPE(576, 1536, 9, 3, 30, 49152, 8192, true, bfloat16)},
    {"smollm2-360m", "HuggingFaceTB/SmolLM2-360M",
     SHAPE(960, 2560, 15, 5, 32, 49152, 8192, true, bfloat16)},
    {"smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B",
     SHAPE(2048, 8192, 32, 32, 24, 49152, 8192, true, bfloat16)},
};

static const struct known_model *find_known(const char *given)
{
    for (size_t i = 0; i < sizeof known_models / sizeof known_models[0]; i++) {
        if (strcmp(given, known_models[i].alias) == 0 || strcmp(given, known_models[i].hub_id) == 0) {
            return &known_models[i];
        }
    }
    return NULL;
}

static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

vlorp_status vlorpi_options_model(const vlorpi_options *options, const char **path, vlorp_err *err)
{
    const char *given = vlorpi_options_text(options, "model");
    *path = NULL;
    if (given == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "model: none was given");
        vlorpi_err_hint(err, "name a model folder, a GGUF file or a config.json, with or without --model");
        return VLORP_E_ARG;
    }
    const struct known_model *known = find_known(given);
    const char *hub_id = known != NULL ? known->hub_id : NULL;
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

const char *vlorpi_options_model_shape(const vlorpi_options *options)
{
    const char *given = vlorpi_options_text(options, "model");
    const struct known_model *known = given != NULL && !is_there(given) ? find_known(given) : NULL;
    return known != NULL && !is_there(known->hub_id) ? known->config : NULL;
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

/* Adapters are saved without their base, and learn at a rate of their own. */
static vlorp_status check_lora(vlorpi_options *options, vlorp_err *err)
{
    if (strcmp(vlorpi_options_text(options, "optimizer"), "lora") != 0) {
        return VLORP_OK;
    }
    if (options->command == VLORPI_CMD_TRAIN && strcmp(vlorpi_options_text(options, "init"), "random") == 0) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--optimizer lora: --init random has no base that could be kept");
        vlorpi_err_hint(err, "train the new model with another --optimizer first");
        return VLORP_E_ARG;
    }
    return vlorpi_options_set(options, "lr", "2e-4", VLORPI_ORIGIN_DEFAULT, err);
}

/* lomo keeps no gradient: there is nothing to add another micro-batch to, and no norm before the updates. */
static vlorp_status check_lomo(vlorpi_options *options, vlorp_err *err)
{
    if (strcmp(vlorpi_options_text(options, "optimizer"), "lomo") != 0) {
        return VLORP_OK;
    }
    if (vlorpi_options_int(options, "gradient_accumulation") > 1) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--gradient_accumulation: lomo keeps no gradient: a step is one micro-batch");
        vlorpi_err_hint(err, "leave it out, or take --optimizer sgd");
        return VLORP_E_ARG;
    }
    int64_t batch = vlorpi_options_int(options, "batch_size");
    int64_t total = vlorpi_options_int(options, "total_batch_size");
    if (!vlorpi_options_is_set(options, "grad_clipping")) {
        VLORP_TRY(derive(options, "grad_clipping", 0, err)); /* what is recorded must repeat the run */
    } else if (vlorpi_options_double(options, "grad_clipping") > 0) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--grad_clipping: lomo updates weights before the gradient's norm is known");
        vlorpi_err_hint(err, "leave it out, or take --optimizer sgd");
        return VLORP_E_ARG;
    }
    if (batch != 0 && batch < total && !vlorpi_options_is_set(options, "total_batch_size")) {
        return derive(options, "total_batch_size", batch, err);
    }
    if (batch != 0 && batch < total) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--batch_size: %lld of the step's %lld examples, but lomo keeps no gradient: a "
                             "step is one micro-batch", (long long)batch, (long long)total);
        vlorpi_err_hint(err, "give batch_size and total_batch_size the same value, or take --optimizer sgd");
        return VLORP_E_ARG;
    }
    if (!vlorpi_options_bool(options, "packing") && total > 1) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--no_packing: one example per micro-batch, and lomo's step is one "
                             "micro-batch, of %lld examples here", (long long)total);
        vlorpi_err_hint(err, "--total_batch_size 1, or take --optimizer sgd");
        return VLORP_E_ARG;
    }
    return VLORP_OK;
}

static vlorp_status check_training(vlorpi_options *options, vlorp_err *err)
{
    VLORP_TRY(check_budget(options, err));
    VLORP_TRY(check_batch(options, err));
    VLORP_TRY(check_lomo(options, err));
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
    VLORP_TRY(check_lora(options, err));
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
