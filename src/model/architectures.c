/* The table of families.  Adding one is a row here, its tensor names in names.c and a golden test. */
#include <stdio.h>
#include <string.h>

#include "model/config.h"

static const vlorpi_architecture architectures[] = {
    {
        /* LLaMA 1, 2, 3; SmolLM2 */
        .model_type = "llama",
        .gguf_name = "llama",
        .hf_class = "LlamaForCausalLM",
        .norm = VLORPI_NORM_RMS,
        .position = VLORPI_POSITION_ROPE,
        .mlp = VLORPI_MLP_SWIGLU,
        .attention_bias_field = true,
        .mlp_bias_field = true,
        .gguf_permutes_qk = true,
        .default_positions = 2048,
    },
    {
        /* Qwen2, Qwen2.5 */
        .model_type = "qwen2",
        .gguf_name = "qwen2",
        .hf_class = "Qwen2ForCausalLM",
        .norm = VLORPI_NORM_RMS,
        .position = VLORPI_POSITION_ROPE,
        .mlp = VLORPI_MLP_SWIGLU,
        .qkv_bias = true,
        .window = VLORPI_WINDOW_UPPER,
        .default_kv_heads = 32,
        .default_positions = 32768,
    },
    {
        .model_type = "qwen3",
        .gguf_name = "qwen3",
        .hf_class = "Qwen3ForCausalLM",
        .norm = VLORPI_NORM_RMS,
        .position = VLORPI_POSITION_ROPE,
        .mlp = VLORPI_MLP_SWIGLU,
        .attention_bias_field = true,
        .qk_norm = true,
        .window = VLORPI_WINDOW_UPPER,
        .default_kv_heads = 32,
        .default_head_width = 128,
        .default_positions = 32768,
    },
    {
        .model_type = "mistral",
        .gguf_name = "llama",
        .hf_class = "MistralForCausalLM",
        .norm = VLORPI_NORM_RMS,
        .position = VLORPI_POSITION_ROPE,
        .mlp = VLORPI_MLP_SWIGLU,
        .window = VLORPI_WINDOW_ALL,
        .gguf_permutes_qk = true,
        .default_kv_heads = 8,
        .default_positions = 131072,
    },
};

enum { N_ARCHITECTURES = sizeof architectures / sizeof architectures[0] };

const vlorpi_architecture *vlorpi_architecture_find(const char *model_type)
{
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        if (strcmp(architectures[i].model_type, model_type) == 0) {
            return &architectures[i];
        }
    }
    return NULL;
}

const vlorpi_architecture *vlorpi_architecture_find_gguf(const char *gguf_name, size_t n_bytes, bool windowed)
{
    const vlorpi_architecture *found = NULL;
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        const vlorpi_architecture *row = &architectures[i];
        if (strlen(row->gguf_name) != n_bytes || memcmp(row->gguf_name, gguf_name, n_bytes) != 0) {
            continue;
        }
        if ((row->window != VLORPI_WINDOW_NONE) == windowed) {
            return row;
        }
        found = found != NULL ? found : row;
    }
    return found;
}

void vlorpi_architecture_list(char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < N_ARCHITECTURES && used < n_bytes; i++) {
        int n = snprintf(text + used, n_bytes - used, "%s%s", i > 0 ? ", " : "", architectures[i].model_type);
        used += n > 0 ? (size_t)n : 0;
    }
}
