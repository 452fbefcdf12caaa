#include "model/config.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/config_gguf.h"
#include "model/names.h"

/* Written limits: wide enough for any published decoder, small enough that no product of two
 * overflows 63 bits. */
enum {
    MAX_LAYERS = 4096,
    MAX_WIDTH = 1 << 20,
    MAX_HEADS = 1 << 14,
    MAX_HEAD_WIDTH = 1024,
    MAX_VOCABULARY = 1 << 24,
    MAX_POSITIONS = 1 << 28
};

/* A member that is absent or null counts as not there. */
static const json_t *member(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    return json_is_null(value) ? NULL : value;
}

/* The getters leave *out as it is when the field is absent. */
static vlorp_status get_int(const json_t *object, const char *field, int64_t *out, vlorp_err *err)
{
    const json_t *value = member(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_integer(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not an integer", field);
    }
    *out = (int64_t)json_integer_value(value);
    return VLORP_OK;
}

static vlorp_status get_required_int(const json_t *object, const char *field, int64_t *out, vlorp_err *err)
{
    if (member(object, field) == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is missing", field);
    }
    return get_int(object, field, out, err);
}

static vlorp_status get_double(const json_t *object, const char *field, double *out, vlorp_err *err)
{
    const json_t *value = member(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_number(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not a number", field);
    }
    *out = json_number_value(value);
    return VLORP_OK;
}

static vlorp_status get_bool(const json_t *object, const char *field, bool *out, vlorp_err *err)
{
    const json_t *value = member(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_boolean(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is neither true nor false", field);
    }
    *out = json_is_true(value);
    return VLORP_OK;
}

static vlorp_status find_architecture(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    const char *model_type = json_string_value(member(root, "model_type"));
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

static vlorp_status read_sizes(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    VLORP_TRY(get_required_int(root, "hidden_size", &config->D, err));
    VLORP_TRY(get_required_int(root, "num_hidden_layers", &config->L, err));
    VLORP_TRY(get_required_int(root, "num_attention_heads", &config->H, err));
    VLORP_TRY(get_required_int(root, "intermediate_size", &config->F, err));
    VLORP_TRY(get_required_int(root, "vocab_size", &config->V, err));
    config->G = config->H;
    VLORP_TRY(get_int(root, "num_key_value_heads", &config->G, err));
    if (member(root, "head_dim") != NULL) {
        VLORP_TRY(get_int(root, "head_dim", &config->E, err));
    } else if (config->H > 0 && config->D % config->H == 0) {
        config->E = config->D / config->H;
    } else {
        VLORP_FAIL(err, VLORP_E_FORMAT, "hidden_size %lld is no multiple of num_attention_heads %lld",
                   (long long)config->D, (long long)config->H);
    }
    config->max_positions = 2048;
    return get_int(root, "max_position_embeddings", &config->max_positions, err);
}

/* rope_theta stands at top level or in rope_parameters; a scaling other than "default" is refused. */
static vlorp_status read_rope(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    static const char *const places[] = {"rope_scaling", "rope_parameters"};
    config->rope_theta = 10000;
    VLORP_TRY(get_double(root, "rope_theta", &config->rope_theta, err));
    double rotated = 1;
    VLORP_TRY(get_double(root, "partial_rotary_factor", &rotated, err));
    for (int i = 0; i < 2; i++) {
        const json_t *rope = member(root, places[i]);
        if (rope == NULL) {
            continue;
        }
        if (!json_is_object(rope)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not an object", places[i]);
        }
        const json_t *type = member(rope, "rope_type");
        type = type != NULL ? type : member(rope, "type");
        if (type != NULL && (!json_is_string(type) || strcmp(json_string_value(type), "default") != 0)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s has the type %.32s; only \"default\" is supported", places[i],
                       json_is_string(type) ? json_string_value(type) : "(not a string)");
        }
        VLORP_TRY(get_double(rope, "rope_theta", &config->rope_theta, err));
        VLORP_TRY(get_double(rope, "partial_rotary_factor", &rotated, err));
    }
    if (!(rotated == 1.0)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "partial_rotary_factor %g is not supported, only 1", rotated);
    }
    return VLORP_OK;
}

static vlorp_status read_traits(vlorpi_model_config *config, const json_t *root, vlorp_err *err)
{
    bool attention_bias = false;
    VLORP_TRY(get_bool(root, "attention_bias", &attention_bias, err));
    config->mlp_bias = false;
    VLORP_TRY(get_bool(root, "mlp_bias", &config->mlp_bias, err));
    config->qkv_bias = attention_bias || config->arch->qkv_bias;
    config->out_bias = attention_bias || config->arch->out_bias;
    config->mlp_bias = config->mlp_bias || config->arch->mlp_bias;
    config->tied = false;
    VLORP_TRY(get_bool(root, "tie_word_embeddings", &config->tied, err));
    const json_t *activation = member(root, "hidden_act");
    if (activation != NULL && (!json_is_string(activation) || strcmp(json_string_value(activation), "silu") != 0)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "hidden_act is %.32s; only \"silu\" is supported",
                   json_is_string(activation) ? json_string_value(activation) : "(not a string)");
    }
    if (member(root, "quantization_config") != NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "quantization_config: quantised Hugging Face weights are not supported");
    }
    double eps = 1e-6;
    VLORP_TRY(get_double(root, "rms_norm_eps", &eps, err));
    config->norm_eps = (float)eps;
    config->init_std = 0.02;
    return get_double(root, "initializer_range", &config->init_std, err);
}

/* torch_dtype, or dtype as newer versions write it; without both what the embedding is stored in. */
static vlorp_status read_dtype(vlorpi_model_config *config, const json_t *root, const vlorpi_source *source,
                               vlorp_err *err)
{
    const json_t *value = member(root, "torch_dtype");
    value = value != NULL ? value : member(root, "dtype");
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
    VLORP_TRY(read_rope(config, root, err));
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
    VLORP_TRY(check_range("head_dim", config->E, MAX_HEAD_WIDTH, err));
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
    if (!(config->rope_theta > 1) || !isfinite(config->rope_theta)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "rope_theta %g is not above 1", config->rope_theta);
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

json_t *vlorpi_model_config_to_json(const vlorpi_model_config *config, vlorp_dtype dtype, int32_t bos, int32_t eos)
{
    static const char *const dtype_names[] = {
        [VLORP_F32] = "float32", [VLORP_BF16] = "bfloat16", [VLORP_F16] = "float16"};
    json_t *root = json_pack(
        "{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:b, s:b, s:b, s:s}",
        "architectures", config->arch->hf_class, "model_type", config->arch->model_type, "hidden_act", "silu",
        "hidden_size", (json_int_t)config->D, "num_hidden_layers", (json_int_t)config->L, "num_attention_heads",
        (json_int_t)config->H, "num_key_value_heads", (json_int_t)config->G, "head_dim", (json_int_t)config->E,
        "intermediate_size", (json_int_t)config->F, "vocab_size", (json_int_t)config->V, "max_position_embeddings",
        (json_int_t)config->max_positions, "rms_norm_eps", (double)config->norm_eps, "rope_theta",
        config->rope_theta, "initializer_range", config->init_std, "attention_bias", (int)config->out_bias,
        "mlp_bias", (int)config->mlp_bias, "tie_word_embeddings", (int)config->tied, "torch_dtype",
        dtype_names[dtype]);
    if (root == NULL) {
        return NULL;
    }
    int failed = 0;
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
