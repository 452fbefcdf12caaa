#include "model/config.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/config_fields.h"
#include "model/config_gguf.h"
#include "model/names.h"

/* Written limits: wide enough for any published decoder, small enough that no product of two
 * overflows 63 bits. */
enum {
    MAX_LAYERS = 4096,
    MAX_WIDTH = 1 << 20,
    MAX_HEADS = 1 << 14,
    MAX_VOCABULARY = 1 << 24,
    MAX_POSITIONS = 1 << 28
};

static vlorp_status find_architecture(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    const char *model_type = json_string_value(vlorpi_config_field(root, "model_type"));
    if (model_type == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field model_type is missing or not a string");
    }
    config->arch = vlorpi_architecture_find(model_type);
    if (config->arch == NULL) {
        char known[256];
        vlorpi_architecture_list(known, sizeof known);
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "model_type is %.64s; supported are: %s", model_type, known);
    }
    return VLORP_OK;
}

static vlorp_status get_required_int(const json_t *object, const char *field, int64_t *out, vlorp_err *err)
{
    VLORP_TRY(vlorpi_config_required(object, field, err));
    return vlorpi_config_int(object, field, out, err);
}

/* Key-value heads and the heads' width, where transformers' defaults differ by family. */
static vlorp_status read_heads(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    VLORP_TRY(get_required_int(root, "num_attention_heads", &config->H, err));
    config->G = config->H;
    if (json_object_get(root, "num_key_value_heads") == NULL && config->arch->default_kv_heads > 0) {
        config->G = config->arch->default_kv_heads;
    }
    VLORP_TRY(vlorpi_config_int(root, "num_key_value_heads", &config->G, err));
    if (vlorpi_config_field(root, "head_dim") != NULL) {
        return vlorpi_config_int(root, "head_dim", &config->E, err);
    }
    config->E = config->arch->default_head_width;
    if (config->E > 0) {
        return VLORP_OK;
    }
    if (config->H < 1 || config->D % config->H != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "hidden_size %lld is no multiple of num_attention_heads %lld",
                   (long long)config->D, (long long)config->H);
    }
    config->E = config->D / config->H;
    return VLORP_OK;
}

static vlorp_status read_sizes(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    VLORP_TRY(get_required_int(root, "hidden_size", &config->D, err));
    VLORP_TRY(get_required_int(root, "num_hidden_layers", &config->L, err));
    VLORP_TRY(read_heads(config, root, err));
    VLORP_TRY(get_required_int(root, "intermediate_size", &config->F, err));
    VLORP_TRY(get_required_int(root, "vocab_size", &config->V, err));
    config->max_positions = config->arch->default_positions;
    return vlorpi_config_int(root, "max_position_embeddings", &config->max_positions, err);
}

/* layer_types, as newer versions write it, instead of max_window_layers: whole layers, then windowed ones. */
static vlorp_status read_layer_types(vlorpi_model_config *config, const json_t *types, vlorp_err *err)
{
    if (!json_is_array(types) || (int64_t)json_array_size(types) != config->L) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field layer_types is not a list of num_hidden_layers names");
    }
    config->window_begin = config->L;
    for (int64_t l = 0; l < config->L; l++) {
        const char *type = json_string_value(json_array_get(types, (size_t)l));
        bool sliding = type != NULL && strcmp(type, "sliding_attention") == 0;
        if (!sliding && (type == NULL || strcmp(type, "full_attention") != 0)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                       "layer_types has %.32s; supported are full_attention, sliding_attention",
                       type != NULL ? type : "(not a string)");
        }
        if (!sliding && config->window_begin < l) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                       "layer_types: layer %lld is full_attention after sliding ones, which is not supported",
                       (long long)l);
        }
        config->window_begin = sliding && config->window_begin > l ? l : config->window_begin;
    }
    if (config->window_begin < config->L && config->window == 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "layer_types has sliding_attention without use_sliding_window");
    }
    return VLORP_OK;
}

static vlorp_status read_window(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    vlorpi_window_kind kind = config->arch->window;
    config->window = 0;
    config->window_begin = 0;
    bool used = kind == VLORPI_WINDOW_ALL;
    if (kind == VLORPI_WINDOW_UPPER) {
        VLORP_TRY(vlorpi_config_bool(root, "use_sliding_window", &used, err));
    }
    if (used && json_object_get(root, "sliding_window") == NULL) {
        config->window = VLORPI_DEFAULT_WINDOW; /* null, in contrast, means none */
    } else if (used && vlorpi_config_field(root, "sliding_window") != NULL) {
        VLORP_TRY(vlorpi_config_int(root, "sliding_window", &config->window, err));
        if (config->window < 1) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "sliding_window is %lld, below 1", (long long)config->window);
        }
    }
    if (kind != VLORPI_WINDOW_UPPER) {
        return VLORP_OK;
    }
    if (vlorpi_config_field(root, "layer_types") != NULL) {
        return read_layer_types(config, vlorpi_config_field(root, "layer_types"), err);
    }
    config->window_begin = VLORPI_DEFAULT_WINDOW_BEGIN;
    return vlorpi_config_int(root, "max_window_layers", &config->window_begin, err);
}

static vlorp_status read_biases(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    bool attention = false;
    bool mlp = false;
    if (config->arch->attention_bias_field) {
        VLORP_TRY(vlorpi_config_bool(root, "attention_bias", &attention, err));
    }
    if (config->arch->mlp_bias_field) {
        VLORP_TRY(vlorpi_config_bool(root, "mlp_bias", &mlp, err));
    }
    config->qkv_bias = attention || config->arch->qkv_bias;
    config->out_bias = attention || config->arch->out_bias;
    config->mlp_bias = mlp || config->arch->mlp_bias;
    return VLORP_OK;
}

static vlorp_status read_traits(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    VLORP_TRY(read_biases(config, root, err));
    VLORP_TRY(read_window(config, root, err));
    config->tied = false;
    VLORP_TRY(vlorpi_config_bool(root, "tie_word_embeddings", &config->tied, err));
    const json_t *activation = vlorpi_config_field(root, "hidden_act");
    if (activation != NULL && (!json_is_string(activation) || strcmp(json_string_value(activation), "silu") != 0)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "hidden_act is %.32s; only \"silu\" is supported",
                   json_is_string(activation) ? json_string_value(activation) : "(not a string)");
    }
    if (vlorpi_config_field(root, "quantization_config") != NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "quantization_config: quantised Hugging Face weights are not supported");
    }
    double eps = 1e-6;
    VLORP_TRY(vlorpi_config_double(root, "rms_norm_eps", &eps, err));
    config->norm_eps = (float)eps;
    config->init_std = 0.02;
    return vlorpi_config_double(root, "initializer_range", &config->init_std, err);
}

/* torch_dtype, or dtype as newer versions write it; without both what the embedding is stored in. */
static vlorp_status read_dtype(vlorpi_model_config *config, const json_t *root, const vlorpi_source *source,
                               vlorp_err *err)
{
    const json_t *value = vlorpi_config_field(root, "torch_dtype");
    value = value != NULL ? value : vlorpi_config_field(root, "dtype");
    if (value == NULL) {
        char name[VLORPI_NAME_BYTES];
        vlorpi_slot_name_hf(name, VLORPI_SLOT_EMBED, 0);
        const vlorpi_tensor_info *info = vlorpi_source_find(source, name);
        vlorpi_storage storage = info != NULL ? info->storage : VLORPI_STORAGE_F32;
        config->dtype = storage == VLORPI_STORAGE_BF16  ? VLORP_BF16
                        : storage == VLORPI_STORAGE_F16 ? VLORP_F16
                                                        : VLORP_F32;
        return VLORP_OK;
    }
    const char *name = json_is_string(value) ? json_string_value(value) : "(not a string)";
    if (strcmp(name, "float32") == 0) {
        config->dtype = VLORP_F32;
    } else if (strcmp(name, "bfloat16") == 0) {
        config->dtype = VLORP_BF16;
    } else if (strcmp(name, "float16") == 0) {
        config->dtype = VLORP_F16;
    } else {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "torch_dtype is %.32s; supported are float32, bfloat16, float16", name);
    }
    return VLORP_OK;
}

static vlorp_status config_from_json(vlorpi_model_config *config, const vlorpi_source *source, vlorp_err *err)
{
    const json_t *root = vlorpi_source_config(source);
    if (!json_is_object(root)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the file holds no JSON object");
    }
    VLORP_TRY(find_architecture(config, root, err));
    VLORP_TRY(read_sizes(config, root, err));
    VLORP_TRY(vlorpi_rope_from_json(&config->rope, root, config->max_positions, err));
    VLORP_TRY(read_traits(config, root, err));
    return read_dtype(config, root, source, err);
}

static vlorp_status check_range(const char *what, int64_t value, int64_t max, vlorp_err *err)
{
    if (value < 1 || value > max) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s is %lld, outside 1 .. %lld", what, (long long)value, (long long)max);
    }
    return VLORP_OK;
}

/* What both forms must satisfy; names are those of config.json. */
static vlorp_status check(const vlorpi_model_config *config, vlorp_err *err)
{
    VLORP_TRY(check_range("hidden_size", config->D, MAX_WIDTH, err));
    VLORP_TRY(check_range("num_hidden_layers", config->L, MAX_LAYERS, err));
    VLORP_TRY(check_range("num_attention_heads", config->H, MAX_HEADS, err));
    VLORP_TRY(check_range("num_key_value_heads", config->G, config->H, err));
    VLORP_TRY(check_range("head_dim", config->E, VLORPI_MAX_HEAD_WIDTH, err));
    VLORP_TRY(check_range("intermediate_size", config->F, MAX_WIDTH, err));
    VLORP_TRY(check_range("vocab_size", config->V, MAX_VOCABULARY, err));
    VLORP_TRY(check_range("max_position_embeddings", config->max_positions, MAX_POSITIONS, err));
    if (config->H % config->G != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "num_attention_heads %lld is no multiple of num_key_value_heads %lld",
                   (long long)config->H, (long long)config->G);
    }
    if (config->E % 2 != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "head_dim %lld is odd: rotary positions need pairs", (long long)config->E);
    }
    if (!(config->norm_eps > 0) || !(config->norm_eps < 1)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "rms_norm_eps %g is outside (0, 1)", (double)config->norm_eps);
    }
    if (!(config->rope.theta > 1) || !isfinite(config->rope.theta)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "rope_theta %g is not above 1", config->rope.theta);
    }
    if (config->window > MAX_POSITIONS || config->rope.original > MAX_POSITIONS) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s is %lld, above %lld",
                   config->window > MAX_POSITIONS ? "sliding_window" : "original_max_position_embeddings",
                   (long long)(config->window > MAX_POSITIONS ? config->window : config->rope.original),
                   (long long)MAX_POSITIONS);
    }
    if (config->window_begin < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "max_window_layers is %lld, below 0", (long long)config->window_begin);
    }
    if (!(config->init_std >= 0) || !(config->init_std < 100)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "initializer_range %g is outside [0, 100)", config->init_std);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_config_load(vlorpi_model_config *config, const vlorpi_source *source, vlorp_err *err)
{
    memset(config, 0, sizeof *config);
    vlorpi_source_kind kind = vlorpi_source_kind_of(source);
    vlorp_status status = kind == VLORPI_SOURCE_GGUF ? vlorpi_model_config_from_gguf(config, source, err)
                                                     : config_from_json(config, source, err);
    if (status == VLORP_OK) {
        status = check(config, err);
    }
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s%s", vlorpi_source_path(source),
                          kind == VLORPI_SOURCE_FOLDER ? "/config.json" : "");
    }
    return status;
}

/* Window and biases, in the family's own fields; -1 when out of memory. */
static int put_traits(const vlorpi_model_config *config, json_t *root)
{
    const vlorpi_architecture *arch = config->arch;
    int failed = 0;
    if (arch->attention_bias_field) {
        failed |= json_object_set_new(root, "attention_bias", json_boolean(config->out_bias));
    }
    if (arch->mlp_bias_field) {
        failed |= json_object_set_new(root, "mlp_bias", json_boolean(config->mlp_bias));
    }
    if (arch->window != VLORPI_WINDOW_NONE) { /* written in any case: without the field there would be a window */
        failed |= json_object_set_new(root, "sliding_window",
                                      config->window > 0 ? json_integer(config->window) : json_null());
    }
    if (arch->window == VLORPI_WINDOW_UPPER) {
        failed |= json_object_set_new(root, "use_sliding_window", json_boolean(config->window > 0));
        failed |= json_object_set_new(root, "max_window_layers", json_integer(config->window_begin));
    }
    return failed;
}

json_t *vlorpi_model_config_to_json(const vlorpi_model_config *config, vlorp_dtype dtype, int32_t bos, int32_t eos)
{
    static const char *const dtype_names[] = {
        [VLORP_F32] = "float32", [VLORP_BF16] = "bfloat16", [VLORP_F16] = "float16"};
    json_t *root = json_pack(
        "{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:s}", "architectures",
        config->arch->hf_class, "model_type", config->arch->model_type, "hidden_act", "silu", "hidden_size",
        (json_int_t)config->D, "num_hidden_layers", (json_int_t)config->L, "num_attention_heads",
        (json_int_t)config->H, "num_key_value_heads", (json_int_t)config->G, "head_dim", (json_int_t)config->E,
        "intermediate_size", (json_int_t)config->F, "vocab_size", (json_int_t)config->V, "max_position_embeddings",
        (json_int_t)config->max_positions, "rms_norm_eps", (double)config->norm_eps, "initializer_range",
        config->init_std, "tie_word_embeddings", (int)config->tied, "torch_dtype", dtype_names[dtype]);
    if (root == NULL) {
        return NULL;
    }
    int failed = vlorpi_rope_to_json(&config->rope, root) | put_traits(config, root);
    if (bos >= 0) {
        failed |= json_object_set_new(root, "bos_token_id", json_integer(bos));
    }
    if (eos >= 0) {
        failed |= json_object_set_new(root, "eos_token_id", json_integer(eos));
    }
    if (failed != 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}
