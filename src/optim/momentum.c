/* What becomes of a moment of S when P changes (docs/method.md section 2, momentum at a refresh). */
#include "optim/handle.h"

vlorpi_momentum_step vlorpi_momentum_at(const vlorp_optimizer *o, const vlorpi_slot *slot, int64_t t)
{
    int64_t since_refresh = (t - 1) % o->config.update_gap;
    bool resets = vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_RESET && !slot->proj.exact;
    return (vlorpi_momentum_step){
        /* svd's moment is carried over when the probe makes its new P */
        .refreshed = since_refresh == 0 && t - 1 > slot->since && !slot->proj.exact && !vlorpi_slot_is_svd(slot),
        .forget = resets && since_refresh == 0,
        .t1 = resets ? since_refresh + 1 : t - slot->since,
    };
}

void vlorpi_momentum_transport(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    const vlorp_projection_used *p = &slot->proj;
    bool right = vlorpi_slot_is_right(slot);
    int64_t n_groups = p->u_dim * p->c;
    int64_t stride = right ? 1 : n_groups; /* between the r numbers of a group */
    float *old = o->scratch.kw;            /* r numbers; kw is remade afterwards */
    for (int64_t group = 0; group < n_groups; group++) {
        float *m = slot->moment + (right ? group * p->r : group);
        for (int64_t q = 0; q < p->r; q++) {
            old[q] = m[q * stride];
        }
        for (int64_t e = 0; e < p->r; e++) {
            float sum = 0;
            for (int64_t q = 0; q < p->r; q++) {
                sum += old[q] * o->scratch.bridge[q * p->r + e];
            }
            m[e * stride] = sum;
        }
    }
}
