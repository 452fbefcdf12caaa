/* Attention over segments and heads: the forward pass is cut by segment, query rows and head, the
 * backward pass by segment and head. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "model/ops.h"

enum {
    QUERY_ROWS = 128,    /* of one item of the forward pass */
    SUM_FLOATS = 1 << 14 /* of dk and of dv in one item of their sum */
};

typedef struct call {
    const vlorpi_ops *ops;
    const vlorpi_attention *attention;
    float *o, *lse, *dq, *dk, *dv;
    const float *q, *k, *v, *o_in, *d_o, *lse_in;
    int64_t n_blocks; /* forward: blocks of query rows over all segments */
} call;

static int64_t segment_rows(const vlorpi_attention *a, int64_t s)
{
    return a->segment_begin[s + 1] - a->segment_begin[s];
}

/* Of all segments. */
static int64_t n_rows(const vlorpi_attention *a)
{
    return a->segment_begin[a->n_segments];
}

static int64_t blocks_of(int64_t n)
{
    return (n + QUERY_ROWS - 1) / QUERY_ROWS;
}

static vlorpi_attention_shape shape_of(const vlorpi_attention *a, int64_t n_q, int64_t q_offset)
{
    int64_t ldq = a->H * a->E;
    int64_t ldk = a->G * a->E;
    return (vlorpi_attention_shape){.n_q = n_q,
                                    .n_kv = q_offset + n_q,
                                    .q_offset = q_offset,
                                    .window = a->window,
                                    .E = a->E,
                                    .ldq = ldq,
                                    .ldk = ldk,
                                    .ldv = ldk,
                                    .ldo = ldq,
                                    .scale = (float)(1.0 / sqrt((double)a->E))};
}

static void forward_task(void *arg, int64_t item, int thread)
{
    const call *c = arg;
    const vlorpi_attention *a = c->attention;
    int64_t h = item % a->H;
    /* The last blocks see the most keys: they come first, so that no thread ends alone. */
    int64_t block = c->n_blocks - 1 - item / a->H;
    int64_t s = 0;
    while (block >= blocks_of(segment_rows(a, s))) {
        block -= blocks_of(segment_rows(a, s++));
    }
    int64_t first = block * QUERY_ROWS;
    int64_t left = segment_rows(a, s) - first;
    int64_t n_past = a->keys != NULL ? a->keys[s].n_past : 0;
    vlorpi_attention_shape shape = shape_of(a, left < QUERY_ROWS ? left : QUERY_ROWS, n_past + first);
    int64_t row = a->segment_begin[s] + first;
    int64_t at_q = row * shape.ldq + h * a->E;
    int64_t at_k = h / (a->H / a->G) * a->E;
    if (a->keys != NULL) {
        shape.key_rows = a->keys[s].rows;
    } else {
        at_k += a->segment_begin[s] * shape.ldk;
    }
    float *lse = c->lse != NULL ? c->lse + h * a->ld_lse + row : NULL;
    c->ops->kernels->attention_fwd(c->o + at_q, lse, c->q + at_q, c->k + at_k, c->v + at_k, &shape,
                                   c->ops->attention_scratch + thread * c->ops->attention_scratch_stride);
}

void vlorpi_ops_attention(const vlorpi_ops *ops, float *o, float *lse, const float *q, const float *k, const float *v,
                          const vlorpi_attention *attention)
{
    call c = {.ops = ops, .attention = attention, .o = o, .lse = lse, .q = q, .k = k, .v = v};
    for (int64_t s = 0; s < attention->n_segments; s++) {
        c.n_blocks += blocks_of(segment_rows(attention, s));
    }
    vlorpi_for_each(&ops->exec, c.n_blocks * attention->H, forward_task, &c);
}

/* One query head of one segment.  The heads that share a key-value head each have dk and dv of their own. */
static void backward_task(void *arg, int64_t item, int thread)
{
    const call *c = arg;
    const vlorpi_attention *a = c->attention;
    int64_t s = item / a->H;
    int64_t h = item % a->H;
    int64_t group = a->H / a->G;
    int64_t row = a->segment_begin[s];
    vlorpi_attention_shape shape = shape_of(a, segment_rows(a, s), 0);
    int64_t at_q = row * shape.ldq + h * a->E;
    int64_t at_k = row * shape.ldk + h / group * a->E;
    int64_t at_part = h % group * n_rows(a) * shape.ldk + at_k;
    for (int64_t t = 0; t < shape.n_kv; t++) {
        memset(c->dk + at_part + t * shape.ldk, 0, (size_t)a->E * sizeof(float));
        memset(c->dv + at_part + t * shape.ldv, 0, (size_t)a->E * sizeof(float));
    }
    c->ops->kernels->attention_bwd(c->dq + at_q, c->dk + at_part, c->dv + at_part, c->q + at_q, c->k + at_k, c->v + at_k,
                                   c->o_in + at_q, c->d_o + at_q, c->lse_in + h * a->ld_lse + row, &shape,
                                   c->ops->attention_scratch + thread * c->ops->attention_scratch_stride);
}

/* Adds up the parts of dk and dv, in the heads' order. */
static void sum_task(void *arg, int64_t item, int thread)
{
    (void)thread;
    const call *c = arg;
    const vlorpi_attention *a = c->attention;
    int64_t n = n_rows(a) * a->G * a->E;
    int64_t begin = item * SUM_FLOATS;
    int64_t here = n - begin < SUM_FLOATS ? n - begin : SUM_FLOATS;
    for (int64_t part = 1; part < a->H / a->G; part++) {
        c->ops->kernels->add(c->dk + begin, c->dk + part * n + begin, here);
        c->ops->kernels->add(c->dv + begin, c->dv + part * n + begin, here);
    }
}

void vlorpi_ops_attention_bwd(const vlorpi_ops *ops, float *dq, float *dk, float *dv, const float *q, const float *k,
                              const float *v, const float *o, const float *d_o, const float *lse,
                              const vlorpi_attention *attention)
{
    call c = {.ops = ops,
              .attention = attention,
              .dq = dq,
              .dk = dk,
              .dv = dv,
              .q = q,
              .k = k,
              .v = v,
              .o_in = o,
              .d_o = d_o,
              .lse_in = lse};
    vlorpi_for_each(&ops->exec, attention->n_segments * attention->H, backward_task, &c);
    if (attention->H > attention->G) {
        int64_t n = n_rows(attention) * attention->G * attention->E;
        vlorpi_for_each(&ops->exec, (n + SUM_FLOATS - 1) / SUM_FLOATS, sum_task, &c);
    }
}
