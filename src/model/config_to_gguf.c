/* config_to_gguf.c - the configuration as GGUF metadata: what config_gguf.c reads, and the sizes that
 * llama.cpp wants besides. */
#include <stdio.h>

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

void vlorpi_model_config_put_gguf(vlorpi_gguf_writer *w, const vlorpi_model_config *config)
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
}
