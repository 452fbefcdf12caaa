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
        .gguf_permutes_qk = true,
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

const vlorpi_architecture *vlorpi_architecture_find_gguf(const char *gguf_name, size_t n_bytes)
{
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        const char *name = architectures[i].gguf_name;
        if (strlen(name) == n_bytes && memcmp(name, gguf_name, n_bytes) == 0) {
            return &architectures[i];
        }
    }
    return NULL;
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
