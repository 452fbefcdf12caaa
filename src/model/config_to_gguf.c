/* config_to_gguf.c - the configuration as GGUF metadata: what config_gguf.c reads, and the sizes that
 * llama.cpp wants besides. */
#include <stdio.h>

#include "base/status.h"
#include "model/config.h"

enum { KEY_BYTES = 96 };

static void put_int(vlorpi_gguf_writer *w, const vlorpi_model_config *config, const char *suffix, int64_t value)
{
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s.%s", config->arch->gguf_name, suffix);
    vlorpi_gguf_put_u32(w, key, (uint32_t)value);
}

static void put_float(vlorpi_gguf_writer *w, const vlorpi_model_config *config, const char *suffix, double value)
{
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s.%s", config->arch->gguf_name, suffix);
    vlorpi_gguf_put_f32(w, key, (float)value);
}

static vlorp_status put_window(vlorpi_gguf_writer *w, const vlorpi_model_config *config, vlorp_err *err)
{
    if (config->window == 0 || config->window_begin >= config->L) {
        return VLORP_OK;
    }
    if (config->window_begin > 0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "GGUF has no place for a sliding window that begins at layer %lld",
                   (long long)config->window_begin);
    }
    put_int(w, config, "attention.sliding_window", config->window);
    return VLORP_OK;
}

vlorp_status vlorpi_model_config_put_gguf(vlorpi_gguf_writer *w, const vlorpi_model_config *config, vlorp_err *err)
{
    put_int(w, config, "vocab_size", config->V);
    put_int(w, config, "context_length", config->max_positions);
    put_int(w, config, "embedding_length", config->D);
    put_int(w, config, "block_count", config->L);
    put_int(w, config, "feed_forward_length", config->F);
    put_int(w, config, "attention.head_count", config->H);
    put_int(w, config, "attention.head_count_kv", config->G);
    put_int(w, config, "attention.key_length", config->E);
    put_int(w, config, "attention.value_length", config->E);
    put_int(w, config, "rope.dimension_count", config->E);
    put_float(w, config, "attention.layer_norm_rms_epsilon", (double)config->norm_eps);
    put_float(w, config, "rope.freq_base", config->rope.theta);
    if (config->rope.kind == VLORPI_ROPE_LINEAR) {
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "%s.rope.scaling.type", config->arch->gguf_name);
        vlorpi_gguf_put_text(w, key, "linear", 6);
        put_float(w, config, "rope.scaling.factor", config->rope.factor);
    }
    return put_window(w, config, err);
}

int64_t vlorpi_model_config_divisors(const vlorpi_model_config *config, float *divisors)
{
    if (config->rope.kind != VLORPI_ROPE_LLAMA3) {
        return 0;
    }
    for (int64_t i = 0; i < config->E / 2; i++) {
        divisors[i] = (float)vlorpi_rope_divisor(&config->rope, config->E, i);
    }
    return config->E / 2;
}
