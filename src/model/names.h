/* names.h - the places a tensor can have in a decoder, and what files call them.
 *
 * Layer 4.  One table joins Hugging Face and GGUF names; the parameter table, loading and saving
 * walk it.
 */
#ifndef VLORPI_MODEL_NAMES_H
#define VLORPI_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "param/param.h"

typedef enum vlorpi_slot {
    /* in every layer, in the order of the parameter table */
    VLORPI_SLOT_ATTN_NORM,
    VLORPI_SLOT_Q, VLORPI_SLOT_Q_BIAS,
    VLORPI_SLOT_K, VLORPI_SLOT_K_BIAS,
    VLORPI_SLOT_V, VLORPI_SLOT_V_BIAS,
    VLORPI_SLOT_Q_NORM, VLORPI_SLOT_K_NORM,
    VLORPI_SLOT_O, VLORPI_SLOT_O_BIAS,
    VLORPI_SLOT_MLP_NORM,
    VLORPI_SLOT_GATE, VLORPI_SLOT_GATE_BIAS,
    VLORPI_SLOT_UP, VLORPI_SLOT_UP_BIAS,
    VLORPI_SLOT_DOWN, VLORPI_SLOT_DOWN_BIAS,
    VLORPI_SLOT_N_LAYER,
    /* once */
    VLORPI_SLOT_EMBED = VLORPI_SLOT_N_LAYER,
    VLORPI_SLOT_FINAL_NORM,
    VLORPI_SLOT_HEAD,
    VLORPI_SLOT_N
} vlorpi_slot;

enum { VLORPI_NAME_BYTES = 96 };

vlorpi_role vlorpi_slot_role(vlorpi_slot slot);

/* Writes the name of a slot's tensor, at most VLORPI_NAME_BYTES with the NUL; layer is ignored
 * outside the layers. */
void vlorpi_slot_name_hf(char *name, vlorpi_slot slot, int layer);
/* Of a linear layer's weight: what PEFT calls matrix 'A' or 'B' of its adapter, and its module, "q_proj". */
void vlorpi_slot_name_lora(char *name, vlorpi_slot slot, int layer, char matrix);
void vlorpi_slot_name_module(char *name, vlorpi_slot slot);
void vlorpi_slot_name_gguf(char *name, vlorpi_slot slot, int layer);

#endif
