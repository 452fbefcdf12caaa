/* model.h - one decoder, described by a table of traits; forward, loss and backward.
 *
 * Layer 4.  Knows: parameters, kernels, an exec.  Does not know: optimizers, files' bytes, data sets.
 *
 * Memory comes in three arenas: weights, filled by vlorpi_params_layout, activations and workspace,
 * filled by vlorpi_model_layout; over counting arenas the two are the plan.  Nothing allocates
 * afterwards, but for what vlorpi_model_load and _init_random give back before they return.
 */
#ifndef VLORPI_MODEL_H
#define VLORPI_MODEL_H

#include <stdbool.h>

#include "base/arena.h"
#include "format/source.h"
#include "kernel/kernel.h"
#include "model/config.h"
#include "model/sink.h"
#include "model/tokens.h"
#include "param/param.h"

typedef struct vlorpi_model vlorpi_model; /* opaque */

/* How a model will be used: what vlorpi_model_layout must make room for. */
typedef struct vlorpi_model_usage {
    int64_t max_tokens;            /* of one micro-batch */
    int64_t max_segments;
    int64_t max_positions;         /* longest segment: rows of the rope table */
    bool backward;                 /* keep what backward needs */
    bool activation_checkpointing; /* keep one tensor per layer and recompute the rest */
    int64_t cache_tokens;          /* > 0: a key-value cache of that many rows, a token each */
} vlorpi_model_usage;

/* Where the time of passes went, in seconds, summed since the model was made. */
typedef struct vlorpi_model_seconds {
    double forward;   /* embedding and layers */
    double head;      /* final norm, logits and loss, and with a sink their backward */
    double backward;  /* layers and embedding, recomputation included */
    double recompute; /* the part of backward that checkpointing adds */
} vlorpi_model_seconds;

/* Makes the parameter table from the configuration; no weights yet.  dtype is the weights' storage.
 * Owner: the caller, vlorpi_model_free.  Borrows mem, kernels, exec until then. */
VLORP_CHECKED vlorp_status vlorpi_model_create(vlorpi_model **out, vlorpi_mem *mem, const vlorpi_kernels *kernels,
                                               const vlorp_exec *exec, const vlorpi_model_config *config,
                                               vlorp_dtype dtype, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_model_free(vlorpi_model *model);

const vlorpi_model_config *vlorpi_model_config_of(const vlorpi_model *model);
vlorpi_params *vlorpi_model_params(vlorpi_model *model);
vlorpi_model_seconds vlorpi_model_seconds_of(const vlorpi_model *model);

/* Lays out activations and workspace for a usage.  With counting arenas nothing but their sizes is
 * the result; with real ones the model is ready to run.  Weights: vlorpi_params_layout. */
void vlorpi_model_layout(vlorpi_model *model, const vlorpi_model_usage *usage, vlorpi_arena *activations,
                         vlorpi_arena *workspace);

/* Reads every parameter from the source into its place (conversion to the model's dtype, GGUF's row
 * order undone), and refuses missing or misshapen tensors by name.
 * Memory: under bf16 1 MiB per thread, WORKSPACE, during the call.
 * Errors: E_SHAPE, E_UNSUPPORTED (a storage that we do not read), E_STATE (no vlorpi_params_layout yet), E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_model_load(vlorpi_model *model, const vlorpi_source *source, vlorp_err *err);
/* Random weights as transformers would make them: N(0, initializer_range), norms 1, biases 0. */
VLORP_CHECKED vlorp_status vlorpi_model_init_random(vlorpi_model *model, uint64_t seed, vlorp_err *err);

/* Forward, loss and backward of one micro-batch.
 *   *loss_sum: sum of -log p(target) over targets (nats); the head runs on target tokens alone.
 *   sink NULL: loss only, in fp32 throughout.  With a sink and bf16 weights each layer's input is
 *   rounded to bf16, which is how it is kept for backward, with checkpointing and without.
 * Errors: E_NUMERIC when a loss is not finite, before anything of its block reaches the sink; E_SHAPE
 * for ids outside the vocabulary, E_ARG and E_LIMIT for positions or segments that do not fit; whatever the sink
 * returns. */
VLORP_CHECKED vlorp_status vlorpi_model_loss(vlorpi_model *model, const vlorpi_token_batch *batch,
                                             const vlorpi_sink *sink, double *loss_sum, vlorp_err *err);

/* Logits [n_rows, V] of the listed token rows of a batch (one or a few rows; for tests). */
VLORP_CHECKED vlorp_status vlorpi_model_logits(vlorpi_model *model, const vlorpi_token_batch *batch,
                                               const int32_t *rows, int64_t n_rows, float *logits, vlorp_err *err);

/* The next tokens of a sequence whose earlier ones are in the cache.  Which row of the cache (0 .. cache_tokens - 1) holds
 * a token is the caller's choice, and sequences that begin alike may share rows, also those that another segment of
 * the same pass fills. */
typedef struct vlorpi_cached_segment {
    const int32_t *ids;  /* [n] */
    int64_t n;           /* may be 0 */
    const int32_t *rows; /* [n_past + n] of the sequence's tokens from its first on; the last n are filled */
    int64_t n_past;
} vlorpi_cached_segment;

/* Runs segments together, at most max_segments of max_tokens in all, and adds their keys and values to the cache.
 * Errors: E_LIMIT for what does not fit, E_SHAPE for ids outside the vocabulary, E_STATE without a cache. */
VLORP_CHECKED vlorp_status vlorpi_model_extend(vlorpi_model *model, const vlorpi_cached_segment *segments,
                                               int64_t n_segments, vlorp_err *err);
/* What follows tokens of that pass, counted through its segments; until the model runs otherwise, as often as wanted.
 * _logits: [n, V].  _scores: losses [n], -log p of targets [n], and best [n], the likeliest tokens, the lowest id among
 * equals; a token may be listed with several targets.
 * Errors: E_ARG for a token that the pass did not have, E_SHAPE as above, E_NUMERIC for a loss that is not finite. */
VLORP_CHECKED vlorp_status vlorpi_model_extend_logits(vlorpi_model *model, const int32_t *tokens, int64_t n,
                                                      float *logits, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_model_extend_scores(vlorpi_model *model, const int32_t *tokens,
                                                      const int32_t *targets, int64_t n, float *losses, int32_t *best,
                                                      vlorp_err *err);

#endif
