/* One optimizer step: norm, clipping, then each parameter's rule. */
#include <math.h>

#include "base/status.h"
#include "optim/handle.h"

const vlorp_rng *vlorpi_rounding_rng(const vlorp_optimizer *o, const vlorpi_slot *slot, int64_t step, vlorp_rng *rng)
{
    if (o->config.rounding == VLORP_ROUND_NEAREST) {
        return NULL;
    }
    *rng = vlorp_rng_make(o->config.seed, slot->name_hash, VLORP_STREAM_ROUNDING, (uint64_t)step);
    return rng;
}

vlorp_status vlorpi_check_step(const vlorp_optimizer *o, const vlorp_step *step, vlorp_err *err)
{
    if (!(step->lr >= 0) || !isfinite(step->lr)) {
        VLORP_FAIL(err, VLORP_E_ARG, "lr %g: it must be finite and not negative", step->lr);
    }
    if (!(step->max_grad_norm >= 0)) {
        VLORP_FAIL(err, VLORP_E_ARG, "max_grad_norm %g: it must not be negative", step->max_grad_norm);
    }
    if (o->state_is_torn) {
        VLORP_FAIL(err, VLORP_E_STATE, "the state was loaded in part only; load it again");
    }
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_is_probed(slot) && slot->basis_refresh != vlorpi_refresh(o, slot) && step->grad_scale > 0) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s: svd needs a probe before this step", slot->name);
        }
        if (slot->weight == NULL) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s: its weight was never set", slot->name);
        }
    }
    return VLORP_OK;
}

void vlorpi_step_slot(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *s)
{
    if (vlorpi_slot_is_absent(slot)) {
        return;
    }
    slot->traits->step(o, slot, s);
    if (slot->grad16 != NULL) {
        vlorpi_clear(o, slot->grad16, (size_t)vlorpi_slot_gradient_elements(slot) * sizeof(uint16_t));
    }
    slot->n_sums = 0;
    slot->holds_sums = false;
}

/* A step that was begun ends with the numbers it began with; lomo's must have been begun. */
static vlorp_status check_begun(const vlorp_optimizer *o, const vlorp_step *step, vlorp_err *err)
{
    const vlorp_step *begun = &o->begun_step;
    if (o->begun && (step->lr != begun->lr || step->grad_scale != begun->grad_scale ||
                     step->max_grad_norm != begun->max_grad_norm)) {
        VLORP_FAIL(err, VLORP_E_ARG, "the step was begun with lr %g, grad_scale %g, max_grad_norm %g", begun->lr,
                   begun->grad_scale, begun->max_grad_norm);
    }
    for (const vlorpi_slot *slot = o->first; slot != NULL && !o->begun; slot = slot->next) {
        if (slot->traits->at_once && step->grad_scale > 0) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s: under lomo begin_step comes before the step's gradients", slot->name);
        }
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_step(vlorp_optimizer *o, const vlorp_step *step, vlorp_step_result *result,
                                  vlorp_err *err)
{
    vlorp_step_result r = {.clip = 1};
    VLORP_TRY(vlorpi_check_step(o, step, err));
    VLORP_TRY(check_begun(o, step, err));
    VLORP_TRY(vlorp_optimizer_norm(o, step->grad_scale, &r.grad_norm, err));
    if (step->grad_scale > 0) {
        VLORP_TRY(vlorpi_probe_whole_gradients(o, err));
        if (step->max_grad_norm > 0) {
            r.clip = fmin(1, step->max_grad_norm / (r.grad_norm + 1e-6));
        }
        vlorpi_step s = {.lr = step->lr, .gradient_scale = step->grad_scale * r.clip, .t = o->steps_taken + 1};
        for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
            vlorpi_step_slot(o, slot, &s);
        }
        vlorpi_return_lent(o);
        vlorpi_forget_begun(o);
        o->steps_taken++;
        o->reduced = false;
        r.counted = true;
        r.n_redivided = vlorpi_division_step(o, step->grad_scale);
    } else {
        VLORP_TRY(vlorp_optimizer_discard(o, err));
    }
    if (result != NULL) {
        *result = r;
    }
    return VLORP_OK;
}
