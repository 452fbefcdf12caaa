/* param.h - the table of a model's parameters: name, shape, role, and where the bytes live.
 *
 * Layer 3.  The model fills it; optimizer, checkpoint and plan walk it.  No other module decides by
 * a tensor's number or by matching names.
 */
#ifndef VLORPI_PARAM_H
#define VLORPI_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include <vlorp/dtype.h>

#include "base/arena.h"
#include "base/mem.h"

/* What a parameter is to the optimizer: --target names these. */
typedef enum vlorpi_role {
    VLORPI_ROLE_ATTN, /* matrices of attention */
    VLORPI_ROLE_MLP,  /* matrices of the feed-forward part */
    VLORPI_ROLE_EMBED,
    VLORPI_ROLE_HEAD, /* absent when tied to the embedding */
    VLORPI_ROLE_NORM,
    VLORPI_ROLE_BIAS,
    VLORPI_ROLE_LORA, /* the matrices of low-rank adapters */
    VLORPI_ROLE_N
} vlorpi_role;

const char *vlorpi_role_name(vlorpi_role role); /* attn, mlp, embed, head, norm, bias, lora */

typedef struct vlorpi_param {
    char *name;       /* the Hugging Face name, owned by the table */
    vlorpi_role role;
    int layer;        /* -1 outside the layers */
    int n_dims;       /* 1 or 2 */
    int64_t n, m;     /* a matrix is n x m row-major (n output, m input features); a vector is n x 1 */
    bool tied;        /* an embedding that is the head too: gradients come from both uses */
    vlorp_dtype dtype;
    void *data;       /* NULL until vlorpi_params_layout ran over real memory */
} vlorpi_param;

typedef struct vlorpi_params {
    vlorpi_mem *mem; /* borrowed */
    vlorpi_param *items;
    int n;
} vlorpi_params;

void vlorpi_params_init(vlorpi_params *params, vlorpi_mem *mem);
void vlorpi_params_deinit(vlorpi_params *params);

/* Appends one parameter; name is copied.  *index is its number. */
VLORP_CHECKED vlorp_status vlorpi_params_add(vlorpi_params *params, int *index, const char *name, vlorpi_role role,
                                             int layer, int n_dims, int64_t n, int64_t m, vlorp_dtype dtype,
                                             vlorp_err *err);
/* The number of the parameter of that name, or -1. */
int vlorpi_params_find(const vlorpi_params *params, const char *name);
int64_t vlorpi_param_n_elements(const vlorpi_param *param);
size_t vlorpi_param_bytes(const vlorpi_param *param);

/* A mark by which other weights are told, once they are in memory: a checksum of the beginnings of all. */
enum { VLORPI_PARAMS_MARK_BYTES = 17 };
void vlorpi_params_mark(char text[VLORPI_PARAMS_MARK_BYTES], const vlorpi_params *params);

/* Hands every parameter its place in the arena, in table order (the plan when the arena counts). */
void vlorpi_params_layout(vlorpi_params *params, vlorpi_arena *arena);

#endif
