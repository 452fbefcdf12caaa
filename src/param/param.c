#include "param/param.h"

#include <stdio.h>
#include <string.h>

#include "base/checksum.h"

const char *vlorpi_role_name(vlorpi_role role)
{
    static const char *const names[VLORPI_ROLE_N] = {"attn", "mlp", "embed", "head", "norm", "bias", "lora"};
    return names[role];
}

void vlorpi_params_init(vlorpi_params *params, vlorpi_mem *mem)
{
    *params = (vlorpi_params){.mem = mem};
}

void vlorpi_params_deinit(vlorpi_params *params)
{
    for (int i = 0; i < params->n; i++) {
        vlorpi_mem_free(params->mem, params->items[i].name);
    }
    if (params->mem != NULL) {
        vlorpi_mem_free(params->mem, params->items);
    }
    *params = (vlorpi_params){0};
}

vlorp_status vlorpi_params_add(vlorpi_params *params, int *index, const char *name, vlorpi_role role, int layer,
                               int n_dims, int64_t n, int64_t m, vlorp_dtype dtype, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(params->mem, VLORPI_MEM_OTHER, &params->items, (size_t)params->n + 1,
                              sizeof params->items[0], err));
    char *copy = vlorpi_mem_strdup(params->mem, VLORPI_MEM_OTHER, name);
    if (copy == NULL) {
        return vlorpi_mem_fail(params->mem, VLORPI_MEM_OTHER, strlen(name) + 1, err);
    }
    *index = params->n;
    params->items[params->n++] = (vlorpi_param){
        .name = copy, .role = role, .layer = layer, .n_dims = n_dims, .n = n, .m = m, .dtype = dtype};
    return VLORP_OK;
}

int vlorpi_params_find(const vlorpi_params *params, const char *name)
{
    for (int i = 0; i < params->n; i++) {
        if (strcmp(params->items[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int64_t vlorpi_param_n_elements(const vlorpi_param *param)
{
    return param->n * param->m;
}

size_t vlorpi_param_bytes(const vlorpi_param *param)
{
    size_t element_bytes = param->dtype == VLORP_F32 ? 4 : 2;
    return (size_t)vlorpi_param_n_elements(param) * element_bytes;
}

void vlorpi_params_mark(char text[VLORPI_PARAMS_MARK_BYTES], const vlorpi_params *params)
{
    enum { BEGINNING_BYTES = 4096 };
    vlorpi_checksum sum = vlorpi_checksum_begin(0);
    for (int i = 0; i < params->n; i++) {
        size_t n_bytes = vlorpi_param_bytes(&params->items[i]);
        vlorpi_checksum_add(&sum, params->items[i].data, n_bytes < BEGINNING_BYTES ? n_bytes : BEGINNING_BYTES);
    }
    (void)snprintf(text, VLORPI_PARAMS_MARK_BYTES, "%016llx", (unsigned long long)vlorpi_checksum_value(&sum));
}

void vlorpi_params_layout(vlorpi_params *params, vlorpi_arena *arena)
{
    for (int i = 0; i < params->n; i++) {
        vlorpi_param *p = &params->items[i];
        p->data = vlorpi_arena_push(arena, vlorpi_param_n_elements(p), p->dtype == VLORP_F32 ? 4 : 2);
    }
}
