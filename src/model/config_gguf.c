#include "model/config_gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/names.h"

enum { KEY_BYTES = 128 };
#define WINDOW_KEY "attention.sliding_window"

/* Writes "llama.block_count" and the like. */
static void make_key(char *key, const vlorpi_model_config *config, const char *suffix)
{
    (void)snprintf(key, KEY_BYTES, "%s.%s", config->arch->gguf_name, suffix);
}

/* Leaves *out as it is when the key is absent. */
static vlorp_status get_int(const vlorpi_model_config *config, const vlorpi_gguf *gguf, const char *suffix,
                            bool required, int64_t *out, vlorp_err *err)
{
    char key[KEY_BYTES];
    make_key(key, config, suffix);
    if (vlorpi_gguf_get_int(gguf, key, out)) {
        return VLORP_OK;
    }
    if (vlorpi_gguf_has(gguf, key)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "metadata key %s is not an integer", key);
    }
    if (required) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "metadata key %s is missing", key);
    }
    return VLORP_OK;
}

static vlorp_status get_double(const vlorpi_model_config *config, const vlorpi_gguf *gguf, const char *suffix,
                               bool required, double *out, vlorp_err *err)
{
    char key[KEY_BYTES];
    make_key(key, config, suffix);
    if (vlorpi_gguf_get_double(gguf, key, out)) {
        return VLORP_OK;
    }
    if (required || vlorpi_gguf_has(gguf, key)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "metadata key %s is missing or not a number", key);
    }
    return VLORP_OK;
}

static bool has_tensor(const vlorpi_source *source, vlorpi_slot slot)
{
    char name[VLORPI_NAME_BYTES];
    vlorpi_slot_name_gguf(name, slot, 0);
    return vlorpi_source_find(source, name) != NULL;
}

/* Matrices decide: norms are F32 in every GGUF. */
static vlorp_dtype dtype_of(const vlorpi_source *source)
{
    vlorp_dtype dtype = VLORP_F32;
    for (int64_t i = 0; i < vlorpi_source_n_tensors(source); i++) {
        const vlorpi_tensor_info *info = vlorpi_source_tensor(source, i);
        if (info->n_dims < 2 || info->storage == VLORPI_STORAGE_F32) {
            continue;
        }
        if (info->storage != VLORPI_STORAGE_F16) {
            return VLORP_BF16;
        }
        dtype = VLORP_F16;
    }
    return dtype;
}

static bool equals(vlorpi_bytes text, const char *word)
{
    return text.n_bytes == strlen(word) && memcmp(text.text, word, text.n_bytes) == 0;
}

/* The tensor by whose elements llama.cpp divides the frequencies. */
static vlorp_status read_divisors(vlorpi_model_config *config, const vlorpi_tensor_info *info, vlorp_err *err)
{
    float divisors[VLORPI_MAX_HEAD_WIDTH / 2];
    if (config->E < 2 || config->E > VLORPI_MAX_HEAD_WIDTH || info->n_elements != config->E / 2) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "tensor %s has %lld elements, heads are %lld wide", info->name,
                   (long long)info->n_elements, (long long)config->E);
    }
    VLORP_TRY(vlorpi_tensor_read_f32(divisors, info, 0, info->n_elements, err));
    if (!vlorpi_rope_from_divisors(&config->rope, config->E, divisors)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "tensor %s: these factors are not those of a llama3 rope scaling",
                   info->name);
    }
    return VLORP_OK;
}

/* Frequencies; the head's width is known already. */
static vlorp_status read_rope(vlorpi_model_config *config, const vlorpi_source *source, vlorp_err *err)
{
    const vlorpi_gguf *gguf = vlorpi_source_gguf(source);
    config->rope = vlorpi_rope_plain(10000);
    VLORP_TRY(get_double(config, gguf, "rope.freq_base", false, &config->rope.theta, err));
    const vlorpi_tensor_info *divisors = vlorpi_source_find(source, VLORPI_GGUF_DIVISORS);
    char key[KEY_BYTES];
    make_key(key, config, "rope.scaling.type");
    vlorpi_bytes type = {"none", 4};
    (void)vlorpi_gguf_get_string(gguf, key, &type);
    bool linear = equals(type, "linear");
    if (!linear && !equals(type, "none")) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                   "%s is %.*s; supported are none, linear and the tensor " VLORPI_GGUF_DIVISORS, key,
                   type.n_bytes > 32 ? 32 : (int)type.n_bytes, type.text);
    }
    if (linear && divisors != NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s is linear beside a tensor " VLORPI_GGUF_DIVISORS, key);
    }
    if (linear) {
        config->rope.kind = VLORPI_ROPE_LINEAR;
        VLORP_TRY(get_double(config, gguf, "rope.scaling.factor", true, &config->rope.factor, err));
        if (!(config->rope.factor >= 1) || !isfinite(config->rope.factor)) {
            make_key(key, config, "rope.scaling.factor");
            VLORP_FAIL(err, VLORP_E_FORMAT, "metadata key %s is %g, below 1", key, config->rope.factor);
        }
    }
    return divisors != NULL ? read_divisors(config, divisors, err) : VLORP_OK;
}

/* A window holds in all layers; llama.cpp knows none for these families, our own files may have one. */
static vlorp_status read_window(vlorpi_model_config *config, const vlorpi_gguf *gguf, vlorp_err *err)
{
    VLORP_TRY(get_int(config, gguf, WINDOW_KEY, false, &config->window, err));
    if (config->window < 0 || (config->window > 0 && config->arch->window == VLORPI_WINDOW_NONE)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "metadata: an attention window of %lld in a model of type %s",
                   (long long)config->window, config->arch->model_type);
    }
    char key[KEY_BYTES];
    make_key(key, config, WINDOW_KEY "_pattern");
    if (config->window > 0 && vlorpi_gguf_has(gguf, key)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "metadata key %s: windows by layer are not supported", key);
    }
    return VLORP_OK;
}

static vlorp_status find_architecture(vlorpi_model_config *config, const vlorpi_gguf *gguf, vlorp_err *err)
{
    vlorpi_bytes name;
    if (!vlorpi_gguf_get_string(gguf, "general.architecture", &name)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "metadata key general.architecture is missing");
    }
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%.*s." WINDOW_KEY, name.n_bytes > 64 ? 64 : (int)name.n_bytes, name.text);
    int64_t window = 0;
    (void)vlorpi_gguf_get_int(gguf, key, &window);
    config->arch = vlorpi_architecture_find_gguf(name.text, name.n_bytes, window > 0);
    if (config->arch == NULL) {
        char known[256];
        vlorpi_architecture_list(known, sizeof known);
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "general.architecture is %.*s; supported are: %s",
                   name.n_bytes > 64 ? 64 : (int)name.n_bytes, name.text, known);
    }
    return VLORP_OK;
}

/* Head counts and widths. */
static vlorp_status read_heads(vlorpi_model_config *config, const vlorpi_gguf *gguf, vlorp_err *err)
{
    VLORP_TRY(get_int(config, gguf, "attention.head_count", true, &config->H, err));
    config->G = config->H;
    VLORP_TRY(get_int(config, gguf, "attention.head_count_kv", false, &config->G, err));
    config->E = config->H > 0 ? config->D / config->H : 0;
    VLORP_TRY(get_int(config, gguf, "attention.key_length", false, &config->E, err));
    int64_t value_length = config->E;
    int64_t rotated = config->E;
    VLORP_TRY(get_int(config, gguf, "attention.value_length", false, &value_length, err));
    VLORP_TRY(get_int(config, gguf, "rope.dimension_count", false, &rotated, err));
    if (value_length != config->E || rotated != config->E) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED,
                   "heads are %lld wide, their values %lld, rotated %lld: only equal widths are supported",
                   (long long)config->E, (long long)value_length, (long long)rotated);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_config_from_gguf(vlorpi_model_config *config, const vlorpi_source *source, vlorp_err *err)
{
    const vlorpi_gguf *gguf = vlorpi_source_gguf(source);
    VLORP_TRY(find_architecture(config, gguf, err));
    VLORP_TRY(get_int(config, gguf, "embedding_length", true, &config->D, err));
    VLORP_TRY(get_int(config, gguf, "block_count", true, &config->L, err));
    VLORP_TRY(get_int(config, gguf, "feed_forward_length", true, &config->F, err));
    VLORP_TRY(get_int(config, gguf, "context_length", true, &config->max_positions, err));
    VLORP_TRY(read_heads(config, gguf, err));
    double eps = 0;
    VLORP_TRY(get_double(config, gguf, "attention.layer_norm_rms_epsilon", true, &eps, err));
    config->norm_eps = (float)eps;
    VLORP_TRY(read_rope(config, source, err));
    VLORP_TRY(read_window(config, gguf, err));

    char name[VLORPI_NAME_BYTES];
    vlorpi_slot_name_gguf(name, VLORPI_SLOT_EMBED, 0);
    const vlorpi_tensor_info *embed = vlorpi_source_find(source, name);
    if (embed == NULL || embed->n_dims != 2) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "tensor %s is missing or not a matrix", name);
    }
    config->V = embed->shape[0];
    config->tied = !has_tensor(source, VLORPI_SLOT_HEAD);
    config->qkv_bias = config->arch->qkv_bias || has_tensor(source, VLORPI_SLOT_Q_BIAS);
    config->out_bias = config->arch->out_bias || has_tensor(source, VLORPI_SLOT_O_BIAS);
    config->mlp_bias = config->arch->mlp_bias || has_tensor(source, VLORPI_SLOT_GATE_BIAS);
    if (config->qkv_bias != config->out_bias && !config->arch->qkv_bias) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "biases of only some attention matrices in a model of type %s",
                   config->arch->model_type);
    }
    config->init_std = 0.02;
    config->dtype = dtype_of(source);
    return VLORP_OK;
}
