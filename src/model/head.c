/* Final norm, head and loss over blocks of target tokens: logits are never whole. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/decoder.h"

/* head_h [n, D] = norm(x[rows]), and its logits. */
static void block_logits(vlorpi_model *model, float *logits, float *rstd, const int32_t *rows, int64_t n)
{
    const vlorpi_model_config *c = &model->config;
    vlorpi_linear head = vlorpi_model_head(model);
    vlorpi_ops_gather(&model->ops, model->head_x, model->x, rows, n, c->D);
    vlorpi_ops_norm(&model->ops, model->head_h, rstd, NULL, model->head_x,
                    vlorpi_model_norm(model, model->final_norm), n, c->D, c->norm_eps);
    vlorpi_ops_linear(&model->ops, logits, false, model->head_h, &head, n);
}

void vlorpi_model_head_logits(vlorpi_model *model, const int32_t *rows, int64_t n_rows, float *logits)
{
    for (int64_t at = 0; at < n_rows; at += model->head_rows) {
        int64_t n = n_rows - at < model->head_rows ? n_rows - at : model->head_rows;
        block_logits(model, logits + at * model->config.V, NULL, rows + at, n);
    }
}

static vlorp_status check_losses(const float *losses, const int32_t *rows, int64_t n, vlorp_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(losses[i])) {
            VLORP_FAIL(err, VLORP_E_NUMERIC, "the loss is not finite at token %d of the micro-batch", (int)rows[i]);
        }
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_head_scores(vlorpi_model *model, const int32_t *rows, const int32_t *targets, int64_t n_rows,
                                      float *losses, int32_t *best, vlorp_err *err)
{
    for (int64_t at = 0; at < n_rows; at += model->head_rows) {
        int64_t n = n_rows - at < model->head_rows ? n_rows - at : model->head_rows;
        block_logits(model, model->logits, NULL, rows + at, n);
        vlorpi_ops_xent(&model->ops, losses + at, model->logits, targets + at, false, n, model->config.V);
        vlorpi_ops_argmax(&model->ops, best + at, model->logits, n, model->config.V);
        VLORP_TRY(check_losses(losses + at, rows + at, n, err));
    }
    return VLORP_OK;
}

/* Backward of the block whose gradient is in logits.  Rows [begin, end) of x, of which the block's
 * targets were gathered, become the gradient. */
static vlorp_status block_backward(vlorpi_model *model, const int32_t *rows, int64_t n, int64_t begin, int64_t end,
                                   const vlorpi_sink *sink, vlorp_err *err)
{
    int64_t D = model->config.D;
    vlorpi_linear head = vlorpi_model_head(model);
    vlorpi_ops_linear_bwd(&model->ops, model->head_dh, false, model->logits, &head, n);
    if (!vlorpi_model_is_frozen(model)) {
        VLORP_TRY(sink->linear(sink->ctx, model->head, model->logits, head.n, model->head_h, D, n, err));
    }
    float *dx = model->head_h; /* the norm's output is not needed any more */
    memset(dx, 0, (size_t)(n * D) * sizeof(float));
    vlorpi_ops_norm_bwd(&model->ops, dx, model->vector_grad, model->head_dh, model->head_x,
                        vlorpi_model_norm(model, model->final_norm), model->head_rstd, n, D);
    memset(model->x + begin * D, 0, (size_t)((end - begin) * D) * sizeof(float));
    vlorpi_ops_scatter_add(&model->ops, model->x, dx, rows, n, D);
    return VLORP_OK;
}

vlorp_status vlorpi_model_head_loss(vlorpi_model *model, int64_t n_tokens, int64_t n_targets, const vlorpi_sink *sink,
                                    double *loss_sum, vlorp_err *err)
{
    int64_t begin = 0; /* rows of x before it are gradients already */
    int64_t n_blocks = (n_targets + model->head_rows - 1) / model->head_rows;
    int64_t block_rows = n_blocks > 0 ? (n_targets + n_blocks - 1) / n_blocks : 0; /* a short one would read the whole
                                                                                    * weight for a few rows */
    if (sink != NULL && model->vector_grad != NULL) {
        memset(model->vector_grad, 0, (size_t)model->config.D * sizeof(float));
    }
    for (int64_t at = 0; at < n_targets; at += block_rows) {
        int64_t n = n_targets - at < block_rows ? n_targets - at : block_rows;
        const int32_t *rows = model->target_rows + at;
        block_logits(model, model->logits, model->head_rstd, rows, n);
        vlorpi_ops_xent(&model->ops, model->losses, model->logits, model->target_ids + at, sink != NULL, n,
                        model->config.V);
        VLORP_TRY(check_losses(model->losses, rows, n, err));
        for (int64_t i = 0; i < n; i++) {
            *loss_sum += (double)model->losses[i];
        }
        if (sink != NULL) {
            int64_t end = at + n < n_targets ? rows[n - 1] + 1 : n_tokens;
            VLORP_TRY(block_backward(model, rows, n, begin, end, sink, err));
            begin = end;
        }
    }
    if (sink == NULL || model->vector_grad == NULL) { /* or all is frozen */
        return VLORP_OK;
    }
    if (model->head != model->embed) { /* else the embedding's part of the gradient is still to come */
        VLORP_TRY(vlorpi_sink_done(sink, model->head, err));
    }
    return vlorpi_sink_vector(sink, model->final_norm, model->vector_grad, err);
}
