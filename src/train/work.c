#include "train/work.h"

/* Pairs of a query and a key that it sees, over all examples of a batch. */
static double causal_pairs(const vlorpi_token_batch *batch)
{
    double pairs = 0;
    for (int64_t s = 0; s < batch->n_segments; s++) {
        double length = (double)(batch->segment_begin[s + 1] - batch->segment_begin[s]);
        pairs += length * (length + 1) / 2;
    }
    return pairs;
}

/* S of one matrix from T rows of its factors: the projection of one side, then the product with the other.
 * Exact, full and coarse gradients are formed whole; coarse ones are then projected. */
static double gradient_work(const vlorp_parameter_info *info, double T)
{
    const vlorp_projection_used *p = &info->projection;
    double whole = 2 * T * (double)info->n * (double)info->m;
    if (p->M == 0 || p->exact) {
        return whole;
    }
    if (p->f > 1) {
        return whole + 2 * (double)info->n * (double)info->m * (double)p->r;
    }
    return 2 * T * (double)p->s_dim * (double)p->r + 2 * T * (double)p->u_dim * (double)p->M;
}

/* An embedding's rows are projected, or added as they are. */
static double rows_work(const vlorp_parameter_info *info, double T)
{
    const vlorp_projection_used *p = &info->projection;
    return (double)info->m * T * (p->M == 0 || p->exact ? 1 : 2 * (double)p->r);
}

/* Products with A and B, there and back: T rows through each, and A once more for its own gradient and B's. */
static void add_adapters(vlorpi_step_work *work, const vlorpi_job *job, double T)
{
    const vlorpi_params *adapters = vlorpi_model_adapters(job->model);
    for (int i = 0; i < adapters->n; i++) {
        double product = 2 * T * (double)vlorpi_param_n_elements(&adapters->items[i]);
        bool is_a = i % 2 == 0;
        work->forward += product;
        work->backward += product;
        work->gradients += is_a ? 2 * product : product;
        work->recompute += job->sizes.activation_checkpointing ? product : 0;
    }
}

void vlorpi_work_add(vlorpi_step_work *work, const vlorpi_job *job, const vlorpi_token_batch *batch)
{
    const vlorpi_model_config *c = &job->model_config;
    const vlorpi_params *params = vlorpi_model_params(job->model);
    double T = (double)batch->n_tokens;
    double n_targets = (double)batch->n_targets;
    double attention = 2 * causal_pairs(batch) * (double)(c->H * c->E) * (double)c->L; /* one of its products */
    double weights = 0;
    bool frozen = vlorpi_model_adapters(job->model)->n > 0;
    for (int i = 0; i < params->n; i++) {
        const vlorpi_param *param = &params->items[i];
        bool is_head = param->role == VLORPI_ROLE_HEAD || param->tied;
        if (param->role == VLORPI_ROLE_ATTN || param->role == VLORPI_ROLE_MLP) {
            weights += (double)param->n * (double)param->m;
        }
        if (is_head) {
            work->head += 4 * n_targets * (double)param->n * (double)param->m;
        }
        vlorp_parameter_info info;
        if (frozen || param->n_dims == 1 || vlorp_optimizer_parameter(job->optimizer, i, &info, NULL) != VLORP_OK) {
            continue;
        }
        if (param->role == VLORPI_ROLE_ATTN || param->role == VLORPI_ROLE_MLP) {
            work->gradients += gradient_work(&info, T);
        }
        if (param->role == VLORPI_ROLE_EMBED) {
            work->gradients += rows_work(&info, T);
        }
        if (is_head) {
            work->gradients += gradient_work(&info, n_targets);
        }
    }
    add_adapters(work, job, T);
    double down = (double)c->L * (double)c->D * (double)c->F;
    work->forward += 2 * T * weights + 2 * attention;
    work->backward += 2 * T * weights + 5 * attention; /* q k' again, and the products of dq, dk, dv and dp */
    if (job->sizes.activation_checkpointing) {
        work->recompute += 2 * T * (weights - down) + 2 * attention;
    }
}

/* G and the moments of one element of an exact gradient; sums and means over rows do not count. */
static double exact_bytes(vlorp_rule rule)
{
    return sizeof(float) + (rule == VLORP_RULE_ADAMW ? 2 * sizeof(float) : rule == VLORP_RULE_ADAMW8BIT ? 2 : 0);
}

double vlorpi_work_update_bytes(const vlorpi_job *job)
{
    double n_bytes = 0;
    double state = job->settings.state_dtype == VLORP_F32 ? 4 : 2;
    const vlorpi_params *params = vlorpi_model_trained(job->model);
    for (int i = 0; i < params->n; i++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, i, &info, NULL) != VLORP_OK) {
            continue;
        }
        const vlorp_projection_used *p = &info.projection;
        n_bytes += (double)vlorpi_param_bytes(&params->items[i]);
        n_bytes += p->M > 0 ? 2 * state * (double)(p->u_dim * p->M)
                            : exact_bytes(info.rule) * (double)vlorpi_param_n_elements(&params->items[i]);
    }
    return n_bytes;
}

double vlorpi_work_total(const vlorpi_step_work *work)
{
    return work->forward + work->head + work->backward + work->recompute + work->gradients;
}
