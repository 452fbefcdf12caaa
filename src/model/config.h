/* config.h - what config.json or GGUF metadata says of a decoder: sizes and traits.
 *
 * Layer 4.  An architecture is a row of the table in architectures.c, not a copy of the code.
 */
#ifndef VLORPI_MODEL_CONFIG_H
#define VLORPI_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <vlorp/dtype.h>

#include "format/gguf_writer.h"
#include "format/source.h"
#include "model/rope.h"

typedef enum vlorpi_norm_kind { VLORPI_NORM_RMS, VLORPI_NORM_LAYER } vlorpi_norm_kind;
typedef enum vlorpi_position_kind {
    VLORPI_POSITION_ROPE, VLORPI_POSITION_LEARNED, VLORPI_POSITION_ALIBI
} vlorpi_position_kind;
typedef enum vlorpi_mlp_kind { VLORPI_MLP_SWIGLU, VLORPI_MLP_GELU, VLORPI_MLP_RELU } vlorpi_mlp_kind;
typedef enum vlorpi_window_kind {
    VLORPI_WINDOW_NONE,
    VLORPI_WINDOW_ALL,  /* sliding_window bounds every layer's attention */
    VLORPI_WINDOW_UPPER /* where use_sliding_window says so, that of the layers from max_window_layers on */
} vlorpi_window_kind;

/* One row of the table: what a family is made of. */
typedef struct vlorpi_architecture {
    const char *model_type; /* config.json's model_type */
    const char *gguf_name;  /* general.architecture */
    const char *hf_class;   /* config.json's architectures[0] */
    vlorpi_norm_kind norm;
    vlorpi_position_kind position;
    vlorpi_mlp_kind mlp;
    bool qkv_bias, out_bias, mlp_bias;       /* what the family always has */
    bool attention_bias_field, mlp_bias_field; /* config.json may add biases by fields of these names */
    bool qk_norm;          /* queries and keys are normalised head by head before they are rotated */
    vlorpi_window_kind window;
    bool gguf_permutes_qk; /* GGUF stores q and k rows in interleaved rotary order */
    /* what transformers takes where config.json has no such field */
    int64_t default_kv_heads;   /* 0: as many as query heads */
    int64_t default_head_width; /* 0: hidden_size / num_attention_heads */
    int64_t default_positions;
} vlorpi_architecture;

enum { VLORPI_DEFAULT_WINDOW = 4096, VLORPI_DEFAULT_WINDOW_BEGIN = 28 }; /* of transformers, in every family */

/* NULL when no row has that name. */
const vlorpi_architecture *vlorpi_architecture_find(const char *model_type);
/* Families may share a name in GGUF: windowed tells whether the file speaks of a window, which prefers a
 * row that has one. */
const vlorpi_architecture *vlorpi_architecture_find_gguf(const char *gguf_name, size_t n_bytes, bool windowed);
/* The model types of all rows, separated by ", ", for error texts. */
void vlorpi_architecture_list(char *text, size_t n_bytes);

enum { VLORPI_MAX_HEAD_WIDTH = 1024 }; /* a written limit, like those in config.c */
#define VLORPI_GGUF_DIVISORS "rope_freqs.weight"

typedef struct vlorpi_model_config {
    const vlorpi_architecture *arch;
    int64_t D;             /* hidden_size */
    int64_t L;             /* num_hidden_layers */
    int64_t H;             /* num_attention_heads */
    int64_t G;             /* num_key_value_heads */
    int64_t E;             /* head_dim */
    int64_t F;             /* intermediate_size */
    int64_t V;             /* vocab_size */
    int64_t max_positions; /* max_position_embeddings */
    float norm_eps;
    vlorpi_rope_config rope;
    int64_t window;        /* a token sees the last so many, itself included; 0: all */
    int64_t window_begin;  /* the first layer that has the window */
    bool tied;             /* tie_word_embeddings */
    bool qkv_bias, out_bias, mlp_bias; /* the family's, or added by attention_bias and mlp_bias */
    double init_std;       /* initializer_range */
    vlorp_dtype dtype;     /* of the checkpoint: f32, f16, bf16; GGUF's quantised types count as bf16 */
} vlorpi_model_config;

/* The window of a layer; 0: none. */
static inline int64_t vlorpi_model_window(const vlorpi_model_config *config, int64_t layer)
{
    return layer >= config->window_begin ? config->window : 0;
}

/* Reads and checks every field (ranges, divisibility); errors name file and field.  A model type
 * that has no row gives E_UNSUPPORTED with the list of those that have. */
VLORP_CHECKED vlorp_status vlorpi_model_config_load(vlorpi_model_config *config, const vlorpi_source *source,
                                                    vlorp_err *err);

/* config.json that transformers loads, for a model that came as GGUF; dtype is what is stored.
 * Owner: the caller, json_decref; NULL when out of memory. */
json_t *vlorpi_model_config_to_json(const vlorpi_model_config *config, vlorp_dtype dtype, int32_t bos, int32_t eos);
/* The same as GGUF metadata, without general.*; E_UNSUPPORTED for what GGUF cannot say. */
VLORP_CHECKED vlorp_status vlorpi_model_config_put_gguf(vlorpi_gguf_writer *w, const vlorpi_model_config *config,
                                                        vlorp_err *err);
/* What GGUF says by a tensor of its own, VLORPI_GGUF_DIVISORS [n]: a llama3 scaling.  Writes divisors
 * [VLORPI_MAX_HEAD_WIDTH / 2] and returns n; 0: there is no such tensor. */
int64_t vlorpi_model_config_divisors(const vlorpi_model_config *config, float *divisors);

#endif
