/* Gradients that stay in the caller's memory. */
#include <string.h>

#include "base/status.h"
#include "kernel/half.h"
#include "optim/handle.h"

vlorp_status vlorp_optimizer_lend_gradient(vlorp_optimizer *o, int id, const void *g, vlorp_dtype dtype, vlorp_err *err)
{
    vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    if (!o->committed || o->reduced) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: a gradient cannot be lent %s", slot->name,
                   o->committed ? "between norm and step" : "before commit");
    }
    if (!slot->is_lent) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: it was not registered with lent_gradient", slot->name);
    }
    if (g == NULL || (dtype != VLORP_F32 && dtype != VLORP_BF16)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: a lent gradient is float32 or bfloat16 memory", slot->name);
    }
    slot->lent = g;
    slot->lent_dtype = dtype;
    return VLORP_OK;
}

void vlorpi_read_lent(float *out, const vlorpi_slot *slot, int64_t first, int64_t n)
{
    if (slot->lent_dtype == VLORP_F32) {
        memcpy(out, (const float *)slot->lent + first, (size_t)n * sizeof *out);
    } else {
        const uint16_t *g = (const uint16_t *)slot->lent + first;
        for (int64_t i = 0; i < n; i++) {
            out[i] = vlorpi_bf16_to_f32(g[i]);
        }
    }
}

void vlorpi_return_lent(vlorp_optimizer *o)
{
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        slot->lent = NULL;
    }
}
