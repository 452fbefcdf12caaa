/* tiny_models.h - the models of tools/make_model_golden.py: at least one of every family. */
#ifndef VLORP_TESTS_TINY_MODELS_H
#define VLORP_TESTS_TINY_MODELS_H

#include <stddef.h>

typedef struct tiny_model {
    const char *folder;
    const char *gguf; /* the same model; NULL: there is none */
} tiny_model;

static const tiny_model tiny_models[] = {
    {"tests/golden/data/tiny_untied", NULL},
    {"tests/golden/data/tiny_biased", NULL},
    {"tests/golden/data/tiny_llama3", "tests/golden/data/tiny_llama3.gguf"},
    {"tests/golden/data/tiny_qwen2", NULL},
    {"tests/golden/data/tiny_qwen3", "tests/golden/data/tiny_qwen3.gguf"},
    {"tests/golden/data/tiny_mistral", NULL},
};

enum { N_TINY_MODELS = sizeof tiny_models / sizeof tiny_models[0] };

#endif
