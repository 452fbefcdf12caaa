/* The rule lomo (arXiv 2306.09782): gradient descent inside the backward pass; and steps whose numbers are known
 * before their gradients.  A gradient lives from the first call that sums into it until step_one. */
#include <math.h>

#include "base/status.h"
#include "base/threads.h"
#include "optim/handle.h"

vlorp_status vlorp_optimizer_begin_step(vlorp_optimizer *o, const vlorp_step *step, vlorp_err *err)
{
    if (!o->committed || o->reduced || o->begun) {
        VLORP_FAIL(err, VLORP_E_STATE, "a step cannot be begun %s",
                   !o->committed ? "before commit" : o->begun ? "twice" : "between norm and step");
    }
    VLORP_TRY(vlorpi_check_step(o, step, err));
    if (!(step->grad_scale >= 0) || !isfinite(step->grad_scale)) {
        VLORP_FAIL(err, VLORP_E_ARG, "grad_scale %g: it must be finite and not negative", step->grad_scale);
    }
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (slot->traits->at_once && step->max_grad_norm > 0) {
            VLORP_FAIL(err, VLORP_E_ARG, "%s: lomo does not clip: it updates before the norm is known", slot->name);
        }
    }
    o->begun = true;
    o->begun_step = *step;
    return VLORP_OK;
}

vlorp_status vlorpi_take_room(vlorp_optimizer *o, const vlorpi_slot *slot, vlorp_err *err)
{
    if (!slot->traits->at_once) {
        return VLORP_OK;
    }
    if (!o->begun) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: under lomo begin_step comes before the step's gradients", slot->name);
    }
    if (!slot->shares_gradient) {
        return VLORP_OK;
    }
    if (o->sharer != NULL && o->sharer != slot) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: %s still holds its gradient; step_one ends it", slot->name, o->sharer->name);
    }
    o->sharer = slot;
    return VLORP_OK;
}

void vlorpi_forget_begun(vlorp_optimizer *o)
{
    o->begun = false;
    o->sharer = NULL;
    o->taken_squares = 0;
}

vlorp_status vlorp_optimizer_step_one(vlorp_optimizer *o, int id, vlorp_err *err)
{
    vlorpi_slot *slot = vlorpi_optimizer_slot(o, id, err);
    if (slot == NULL) {
        return VLORP_E_ARG;
    }
    if (!slot->traits->at_once) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: its rule is not lomo", slot->name);
    }
    if (!o->begun || o->reduced) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: %s", slot->name, o->begun ? "norm ran" : "no step has begun");
    }
    if (!slot->holds_sums) {
        return VLORP_OK;
    }
    if (o->config.all_reduce != NULL) {
        VLORP_TRY(o->config.all_reduce(o->config.all_reduce_ctx, slot->grad, vlorpi_slot_gradient_elements(slot), err));
    }
    double squares = vlorpi_exact_squares(o, slot);
    if (!isfinite(squares)) {
        VLORP_FAIL(err, VLORP_E_NUMERIC,
                   "%s: its gradient has a value that is not finite, or too large to square; what lomo updated before it "
                   "in this step stays updated", slot->name);
    }
    o->taken_squares += squares;
    vlorpi_step s = {.lr = o->begun_step.lr, .gradient_scale = o->begun_step.grad_scale, .t = o->steps_taken + 1};
    vlorpi_step_slot(o, slot, &s);
    return VLORP_OK;
}

typedef struct job {
    const vlorp_optimizer *o;
    const vlorpi_slot *slot;
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

static void row_item(void *arg, int64_t row, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t width = vlorpi_slot_stored_width(j->slot);
    const float *g = j->slot->grad + row * width;
    vlorpi_update_row(j->o, j->slot, j->rng, row, 0, width, g, g, j->update);
}

void vlorpi_lomo_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    double lr = step->lr * slot->lr_factor;
    vlorp_rng rng;
    job j = {.o = o, .slot = slot, .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    /* a = 0 and eps = 1 leave the denominator out */
    j.update = (vlorpi_update){
        .a = 0, .eps = 1, .step = (float)(lr * step->gradient_scale), .shrink = (float)(lr * slot->weight_decay)};
    if (step->gradient_scale > 0) {
        vlorpi_for_each(&o->config.exec, vlorpi_slot_n_stored_rows(slot), row_item, &j);
    }
    vlorpi_clear(o, slot->grad, (size_t)vlorpi_slot_gradient_elements(slot) * sizeof(float));
    o->sharer = o->sharer == slot ? NULL : o->sharer;
}
