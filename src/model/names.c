#include "model/names.h"

#include <stdio.h>
#include <string.h>

typedef struct slot_row {
    const char *hf, *gguf; /* of a layer's tensor: what follows model.layers.N. and blk.N. */
    vlorpi_role role;
} slot_row;

static const slot_row slots[VLORPI_SLOT_N] = {
    [VLORPI_SLOT_ATTN_NORM] = {"input_layernorm.weight", "attn_norm.weight", VLORPI_ROLE_NORM},
    [VLORPI_SLOT_Q] = {"self_attn.q_proj.weight", "attn_q.weight", VLORPI_ROLE_ATTN},
    [VLORPI_SLOT_Q_BIAS] = {"self_attn.q_proj.bias", "attn_q.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_K] = {"self_attn.k_proj.weight", "attn_k.weight", VLORPI_ROLE_ATTN},
    [VLORPI_SLOT_K_BIAS] = {"self_attn.k_proj.bias", "attn_k.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_V] = {"self_attn.v_proj.weight", "attn_v.weight", VLORPI_ROLE_ATTN},
    [VLORPI_SLOT_V_BIAS] = {"self_attn.v_proj.bias", "attn_v.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_Q_NORM] = {"self_attn.q_norm.weight", "attn_q_norm.weight", VLORPI_ROLE_NORM},
    [VLORPI_SLOT_K_NORM] = {"self_attn.k_norm.weight", "attn_k_norm.weight", VLORPI_ROLE_NORM},
    [VLORPI_SLOT_O] = {"self_attn.o_proj.weight", "attn_output.weight", VLORPI_ROLE_ATTN},
    [VLORPI_SLOT_O_BIAS] = {"self_attn.o_proj.bias", "attn_output.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_MLP_NORM] = {"post_attention_layernorm.weight", "ffn_norm.weight", VLORPI_ROLE_NORM},
    [VLORPI_SLOT_GATE] = {"mlp.gate_proj.weight", "ffn_gate.weight", VLORPI_ROLE_MLP},
    [VLORPI_SLOT_GATE_BIAS] = {"mlp.gate_proj.bias", "ffn_gate.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_UP] = {"mlp.up_proj.weight", "ffn_up.weight", VLORPI_ROLE_MLP},
    [VLORPI_SLOT_UP_BIAS] = {"mlp.up_proj.bias", "ffn_up.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_DOWN] = {"mlp.down_proj.weight", "ffn_down.weight", VLORPI_ROLE_MLP},
    [VLORPI_SLOT_DOWN_BIAS] = {"mlp.down_proj.bias", "ffn_down.bias", VLORPI_ROLE_BIAS},
    [VLORPI_SLOT_EMBED] = {"model.embed_tokens.weight", "token_embd.weight", VLORPI_ROLE_EMBED},
    [VLORPI_SLOT_FINAL_NORM] = {"model.norm.weight", "output_norm.weight", VLORPI_ROLE_NORM},
    [VLORPI_SLOT_HEAD] = {"lm_head.weight", "output.weight", VLORPI_ROLE_HEAD},
};

vlorpi_role vlorpi_slot_role(vlorpi_slot slot)
{
    return slots[slot].role;
}

void vlorpi_slot_name_hf(char *name, vlorpi_slot slot, int layer)
{
    if (slot < VLORPI_SLOT_N_LAYER) {
        (void)snprintf(name, VLORPI_NAME_BYTES, "model.layers.%d.%s", layer, slots[slot].hf);
    } else {
        (void)snprintf(name, VLORPI_NAME_BYTES, "%s", slots[slot].hf);
    }
}

void vlorpi_slot_name_gguf(char *name, vlorpi_slot slot, int layer)
{
    if (slot < VLORPI_SLOT_N_LAYER) {
        (void)snprintf(name, VLORPI_NAME_BYTES, "blk.%d.%s", layer, slots[slot].gguf);
    } else {
        (void)snprintf(name, VLORPI_NAME_BYTES, "%s", slots[slot].gguf);
    }
}

/* The bytes of a weight's name before ".weight". */
static int stem(const char *hf)
{
    return (int)(strlen(hf) - strlen(".weight"));
}

void vlorpi_slot_name_lora(char *name, vlorpi_slot slot, int layer, char matrix)
{
    const char *hf = slots[slot].hf;
    (void)snprintf(name, VLORPI_NAME_BYTES, "base_model.model.model.layers.%d.%.*s.lora_%c.weight", layer, stem(hf), hf,
                   matrix);
}

void vlorpi_slot_name_module(char *name, vlorpi_slot slot)
{
    const char *module = strchr(slots[slot].hf, '.') + 1;
    (void)snprintf(name, VLORPI_NAME_BYTES, "%.*s", stem(module), module);
}
