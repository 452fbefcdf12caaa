/* lora.h - low-rank adapters beside a model's weights, which they freeze.
 *
 * Layer 4.  Of a linear layer with an adapter
 *     y = x Wᵀ + bias + s (drop(x) Aᵀ) Bᵀ,   A [r, m], B [n, r] in fp32, s = alpha / r
 * A and B are the entries of a table of parameters of its own, role VLORPI_ROLE_LORA, under the names that PEFT gives
 * them.  With a sink the model hands over their gradients and no others: W, biases, norms, embedding and head are
 * passed through.
 */
#ifndef VLORPI_MODEL_LORA_H
#define VLORPI_MODEL_LORA_H

#include "model/model.h"
#include "model/peft.h"

/* Gives the model adapters, before anything is laid out.
 *   peft NULL: one for every linear layer of the decoder, the head is none; else where the folder has one, of its
 *   rank, and config is what it says (vlorpi_peft_lora), perhaps with another dropout.
 * Errors: E_SHAPE for an adapter that does not fit the model; E_UNSUPPORTED for a tensor of the folder that belongs to
 * no linear layer; E_LIMIT for a rank beyond a matrix's size. */
VLORP_CHECKED vlorp_status vlorpi_model_add_lora(vlorpi_model *model, const vlorpi_lora *config,
                                                 const vlorpi_peft *peft, vlorp_err *err);

/* The adapters' table; n is 0 where the model has none. */
vlorpi_params *vlorpi_model_adapters(vlorpi_model *model);
/* What they are; false: there are none. */
bool vlorpi_model_lora(const vlorpi_model *model, vlorpi_lora *lora);
/* The table of what trains, whose numbers the sink gets: the adapters, or the model's own where there are none. */
vlorpi_params *vlorpi_model_trained(vlorpi_model *model);
/* vlorpi_params_layout of the model's table, then of the adapters'. */
void vlorpi_model_layout_weights(vlorpi_model *model, vlorpi_arena *arena);

/* A drawn from U(-1/sqrt(m), 1/sqrt(m)) by the stream INIT, B = 0: the model is as it was. */
VLORP_CHECKED vlorp_status vlorpi_model_init_lora(vlorpi_model *model, uint64_t seed, vlorp_err *err);
/* Reads A and B from the folder that the adapters were made for. */
VLORP_CHECKED vlorp_status vlorpi_model_load_lora(vlorpi_model *model, const vlorpi_peft *peft, vlorp_err *err);

/* Where in the run the next passes with a sink stand: what is dropped of a token depends on the step and on the
 * token's place among all tokens of the step, and so not on how the step is cut. */
void vlorpi_model_set_dropout(vlorpi_model *model, uint64_t seed, int64_t step, int64_t first_token);

/* Adds s B A to elements [begin, begin + n) of parameter param of the model's own table, in out.  Nothing happens where
 * the parameter has no adapter. */
void vlorpi_model_add_product(const vlorpi_model *model, float *out, int param, int64_t begin, int64_t n);

/* adapter_config.json of the model's adapters: peft's own with another base, or a new one for peft NULL.
 * Owner: the caller, json_decref; NULL when out of memory. */
json_t *vlorpi_model_peft_config(const vlorpi_model *model, const vlorpi_peft *peft, const char *base);

#endif
