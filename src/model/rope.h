/* rope.h - by which angles rotary positions turn, and how files say it.
 *
 * Layer 4.  Pair i of a head of width E turns by position times frequency(i), where
 *
 *     frequency(i) = theta^(-2 i / E) / divisor(i)
 *
 * divisor: 1 without scaling; `linear`: factor, for all pairs; `llama3` (as transformers computes it),
 * with u = theta^(-2 i / E) / (2 pi) * original turns over the context that the model was first
 * trained on:
 *
 *     u >= high: 1     u <= low: factor     between: 1 / (smooth + (1 - smooth) / factor),
 *     smooth = (u - low) / (high - low)
 */
#ifndef VLORPI_MODEL_ROPE_H
#define VLORPI_MODEL_ROPE_H

#include <stdbool.h>
#include <stdint.h>

#include "format/json.h"

typedef enum vlorpi_rope_kind { VLORPI_ROPE_PLAIN, VLORPI_ROPE_LINEAR, VLORPI_ROPE_LLAMA3 } vlorpi_rope_kind;

/* All of a model's rotary positions but the heads' width. */
typedef struct vlorpi_rope_config {
    double theta;
    vlorpi_rope_kind kind;
    double factor;            /* of linear and llama3, else 1 */
    double low, high;         /* llama3: low_freq_factor, high_freq_factor; else 0 */
    int64_t original;         /* llama3: original_max_position_embeddings; else 0 */
} vlorpi_rope_config;

/* Without scaling. */
vlorpi_rope_config vlorpi_rope_plain(double theta);

double vlorpi_rope_divisor(const vlorpi_rope_config *rope, int64_t E, int64_t i);
double vlorpi_rope_frequency(const vlorpi_rope_config *rope, int64_t E, int64_t i);

/* Reads config.json: rope_theta at top level or in rope_parameters or rope_scaling, and the scaling in
 * either; max_positions stands for an original context that no field names.
 * Errors: E_UNSUPPORTED with field and type; E_FORMAT. */
VLORP_CHECKED vlorp_status vlorpi_rope_from_json(vlorpi_rope_config *rope, const json_t *root, int64_t max_positions,
                                                 vlorp_err *err);
/* Writes it in the form that old and new versions of transformers read; 0, or -1 when out of memory. */
int vlorpi_rope_to_json(const vlorpi_rope_config *rope, json_t *root);

/* Finds the llama3 scaling (or none) that gives these divisors [E/2], as GGUF keeps it in
 * rope_freqs.weight; rope->theta is set already.  The three of low, high and original matter by
 * their ratios alone: low is 1, as in every published model.  false: there is no such scaling. */
bool vlorpi_rope_from_divisors(vlorpi_rope_config *rope, int64_t E, const float *divisors);

#endif
