/* Every backward pass of the model's operations: the double reference against central differences,
 * then the float reference against the double one.  The faster levels are held to the float
 * reference in tests/kernel. */
#include "support.h"

#define VLORPI_REF64 1
#include "kernel/levels.h"
#include "kernel/ref/model_ref.h"

enum { MAX = 4096 }; /* elements of any array below */

static const vlorpi_model_kernels *const f32 = &vlorpi_model_kernels_ref;

typedef double objective(void *ctx);

/* Inputs are exact in float, so that both references start from the same numbers. */
static void fill(double *x, int64_t n, uint64_t *state)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = (double)test_uniform(state);
    }
}

static void narrow(float *y, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)x[i];
    }
}

static double inner(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* norm(got - want) / norm(want) */
static double error_in_norm(const double *got, const double *want, int64_t n)
{
    double difference = 0;
    double norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-30);
}

/* g [n] against the central differences of f by the elements of x. */
static void check_gradient(const char *what, objective *f, void *ctx, double *x, const double *g, int64_t n)
{
    static double quotient[MAX];
    for (int64_t i = 0; i < n; i++) {
        double x0 = x[i];
        double h = 1e-5 * fmax(1.0, fabs(x0));
        x[i] = x0 + h;
        double above = f(ctx);
        x[i] = x0 - h;
        double below = f(ctx);
        x[i] = x0;
        quotient[i] = (above - below) / (2 * h);
    }
    double error = error_in_norm(g, quotient, n);
    (void)fprintf(stderr, "  %-24s differences %.2e\n", what, error);
    ASSERT_BELOW(error, 1e-7);
}

static void check_float(const char *what, const float *got, const double *want, int64_t n, double limit)
{
    static double wide[MAX];
    for (int64_t i = 0; i < n; i++) {
        wide[i] = (double)got[i];
    }
    double error = error_in_norm(wide, want, n);
    (void)fprintf(stderr, "  %-24s float       %.2e\n", what, error);
    ASSERT_BELOW(error, limit);
}

/* ---- rmsnorm ---- */

enum { NORM_N = 3, NORM_D = 13 };
static const float norm_eps = 1e-3f;

typedef struct norm_case {
    double x[NORM_N * NORM_D], w[NORM_D], dy[NORM_N * NORM_D], y[NORM_N * NORM_D], rstd[NORM_N];
} norm_case;

static double norm_objective(void *ctx)
{
    norm_case *c = ctx;
    vlorpi_rmsnorm_fwd_ref64(c->y, c->rstd, c->x, c->w, NORM_N, NORM_D, norm_eps);
    return inner(c->y, c->dy, NORM_N * NORM_D);
}

static void test_rmsnorm(void **unused)
{
    (void)unused;
    static norm_case c;
    uint64_t state = 1;
    fill(c.x, NORM_N * NORM_D, &state);
    fill(c.w, NORM_D, &state);
    fill(c.dy, NORM_N * NORM_D, &state);
    (void)norm_objective(&c);
    double dx[NORM_N * NORM_D];
    double dw[NORM_D];
    fill(dx, NORM_N * NORM_D, &state);
    fill(dw, NORM_D, &state);
    double dx0[NORM_N * NORM_D];
    double dw0[NORM_D];
    memcpy(dx0, dx, sizeof dx);
    memcpy(dw0, dw, sizeof dw);
    vlorpi_rmsnorm_bwd_x_ref64(dx, c.dy, c.x, c.w, c.rstd, NORM_N, NORM_D);
    vlorpi_rmsnorm_bwd_w_ref64(dw, c.dy, c.x, c.rstd, NORM_N, NORM_D, 0, 5);
    vlorpi_rmsnorm_bwd_w_ref64(dw, c.dy, c.x, c.rstd, NORM_N, NORM_D, 5, NORM_D);
    float x[NORM_N * NORM_D], w[NORM_D], dy[NORM_N * NORM_D], y[NORM_N * NORM_D], rstd[NORM_N];
    float dx_f[NORM_N * NORM_D], dw_f[NORM_D];
    narrow(x, c.x, NORM_N * NORM_D);
    narrow(w, c.w, NORM_D);
    narrow(dy, c.dy, NORM_N * NORM_D);
    narrow(dx_f, dx0, NORM_N * NORM_D);
    narrow(dw_f, dw0, NORM_D);
    f32->rmsnorm_fwd(y, rstd, x, w, NORM_N, NORM_D, norm_eps);
    f32->rmsnorm_bwd_x(dx_f, dy, x, w, rstd, NORM_N, NORM_D);
    f32->rmsnorm_bwd_w(dw_f, dy, x, rstd, NORM_N, NORM_D, 0, NORM_D);
    check_float("rmsnorm y", y, c.y, NORM_N * NORM_D, 1e-7);
    check_float("rmsnorm rstd", rstd, c.rstd, NORM_N, 1e-7);
    check_float("rmsnorm dx", dx_f, dx, NORM_N * NORM_D, 2e-7);
    check_float("rmsnorm dw", dw_f, dw, NORM_D, 2e-7);
    for (int i = 0; i < NORM_N * NORM_D; i++) {
        dx[i] -= dx0[i];
    }
    for (int i = 0; i < NORM_D; i++) {
        dw[i] -= dw0[i];
    }
    check_gradient("rmsnorm dx", norm_objective, &c, c.x, dx, NORM_N * NORM_D);
    check_gradient("rmsnorm dw", norm_objective, &c, c.w, dw, NORM_D);
}

/* ---- rope ---- */

enum { ROPE_N = 4, ROPE_H = 3, ROPE_E = 6, ROPE_LD = ROPE_H * ROPE_E + 2, ROPE_POS = 9, ROPE_ALL = ROPE_N * ROPE_LD };
static const int32_t rope_pos[ROPE_N] = {0, 8, 3, 3};

typedef struct rope_case {
    double x[ROPE_ALL], dy[ROPE_ALL], cos[ROPE_POS * ROPE_E / 2], sin[ROPE_POS * ROPE_E / 2];
} rope_case;

static double rope_objective(void *ctx)
{
    rope_case *c = ctx;
    double y[ROPE_ALL];
    memcpy(y, c->x, sizeof y);
    vlorpi_rope_fwd_ref64(y, ROPE_LD, rope_pos, c->cos, c->sin, ROPE_N, ROPE_H, ROPE_E);
    return inner(y, c->dy, ROPE_ALL);
}

static void test_rope(void **unused)
{
    (void)unused;
    static rope_case c;
    uint64_t state = 2;
    fill(c.x, ROPE_ALL, &state);
    fill(c.dy, ROPE_ALL, &state);
    for (int i = 0; i < ROPE_POS * ROPE_E / 2; i++) {
        c.cos[i] = (double)(float)cos(0.7 * i);
        c.sin[i] = (double)(float)sin(0.7 * i);
    }
    double dx[ROPE_ALL];
    memcpy(dx, c.dy, sizeof dx);
    vlorpi_rope_bwd_ref64(dx, ROPE_LD, rope_pos, c.cos, c.sin, ROPE_N, ROPE_H, ROPE_E);
    float dx_f[ROPE_ALL], cos_f[ROPE_POS * ROPE_E / 2], sin_f[ROPE_POS * ROPE_E / 2];
    narrow(dx_f, c.dy, ROPE_ALL);
    narrow(cos_f, c.cos, ROPE_POS * ROPE_E / 2);
    narrow(sin_f, c.sin, ROPE_POS * ROPE_E / 2);
    f32->rope_bwd(dx_f, ROPE_LD, rope_pos, cos_f, sin_f, ROPE_N, ROPE_H, ROPE_E);
    check_float("rope dx", dx_f, dx, ROPE_ALL, 1e-7);
    check_gradient("rope dx", rope_objective, &c, c.x, dx, ROPE_ALL);
    f32->rope_fwd(dx_f, ROPE_LD, rope_pos, cos_f, sin_f, ROPE_N, ROPE_H, ROPE_E);
    check_float("rope there and back", dx_f, c.dy, ROPE_ALL, 2e-7);
}

/* ---- swiglu ---- */

enum { GLU_N = 37 };

typedef struct glu_case {
    double gate[GLU_N], up[GLU_N], dy[GLU_N];
} glu_case;

static double glu_objective(void *ctx)
{
    glu_case *c = ctx;
    double y[GLU_N];
    vlorpi_swiglu_fwd_ref64(y, c->gate, c->up, GLU_N);
    return inner(y, c->dy, GLU_N);
}

static void test_swiglu(void **unused)
{
    (void)unused;
    static glu_case c;
    uint64_t state = 3;
    fill(c.gate, GLU_N, &state);
    fill(c.up, GLU_N, &state);
    fill(c.dy, GLU_N, &state);
    for (int i = 0; i < GLU_N; i++) {
        c.gate[i] *= 8; /* both tails of the logistic function */
    }
    double dgate[GLU_N], dup[GLU_N];
    vlorpi_swiglu_bwd_ref64(dgate, dup, c.dy, c.gate, c.up, GLU_N);
    float gate[GLU_N], up[GLU_N], dy[GLU_N];
    narrow(gate, c.gate, GLU_N);
    narrow(up, c.up, GLU_N);
    narrow(dy, c.dy, GLU_N);
    f32->swiglu_bwd(gate, up, dy, gate, up, GLU_N);
    check_float("swiglu dgate", gate, dgate, GLU_N, 1e-7);
    check_float("swiglu dup", up, dup, GLU_N, 1e-7);
    check_gradient("swiglu dgate", glu_objective, &c, c.gate, dgate, GLU_N);
    check_gradient("swiglu dup", glu_objective, &c, c.up, dup, GLU_N);
}

/* ---- attention: HEADS query heads share one key-value head ---- */

enum { HEADS = 2, ATT_E = 6, ATT_Q = 9, ATT_LD = HEADS * ATT_E + 3, ATT_ALL = ATT_Q * ATT_LD };

typedef struct attention_case {
    vlorpi_attention_shape shape;
    double q[ATT_ALL], k[ATT_ALL], v[ATT_ALL], d_o[ATT_ALL], o[ATT_ALL], lse[HEADS][ATT_Q];
} attention_case;

static double attention_objective(void *ctx)
{
    attention_case *c = ctx;
    double sum = 0;
    for (int h = 0; h < HEADS; h++) {
        vlorpi_attention_fwd_ref64(c->o + h * ATT_E, c->lse[h], c->q + h * ATT_E, c->k, c->v, &c->shape, NULL);
        for (int64_t i = 0; i < c->shape.n_q; i++) {
            sum += inner(c->o + i * ATT_LD + h * ATT_E, c->d_o + i * ATT_LD + h * ATT_E, ATT_E);
        }
    }
    return sum;
}

typedef struct attention_gradient {
    double q[ATT_ALL], k[ATT_ALL], v[ATT_ALL];
} attention_gradient;

static void attention_backward(attention_gradient *g, const attention_case *c)
{
    memset(g, 0, sizeof *g);
    for (int h = 0; h < HEADS; h++) {
        int at = h * ATT_E;
        vlorpi_attention_bwd_ref64(g->q + at, g->k, g->v, c->q + at, c->k, c->v, c->o + at, c->d_o + at, c->lse[h],
                                   &c->shape, NULL);
    }
}

static void check_attention_float(const attention_case *c, const attention_gradient *want)
{
    static float q[ATT_ALL], k[ATT_ALL], v[ATT_ALL], d_o[ATT_ALL], o[ATT_ALL], lse[HEADS][ATT_Q];
    static float dq[ATT_ALL], dk[ATT_ALL], dv[ATT_ALL];
    narrow(q, c->q, ATT_ALL);
    narrow(k, c->k, ATT_ALL);
    narrow(v, c->v, ATT_ALL);
    narrow(d_o, c->d_o, ATT_ALL);
    memset(o, 0, sizeof o);
    memset(dq, 0, sizeof dq);
    memset(dk, 0, sizeof dk);
    memset(dv, 0, sizeof dv);
    for (int h = 0; h < HEADS; h++) {
        int at = h * ATT_E;
        f32->attention_fwd(o + at, lse[h], q + at, k, v, &c->shape, NULL);
        f32->attention_bwd(dq + at, dk, dv, q + at, k, v, o + at, d_o + at, lse[h], &c->shape, NULL);
        check_float("attention lse", lse[h], c->lse[h], c->shape.n_q, 2e-7);
    }
    check_float("attention o", o, c->o, ATT_ALL, 3e-7);
    check_float("attention dq", dq, want->q, ATT_ALL, 5e-7);
    check_float("attention dk", dk, want->k, ATT_ALL, 5e-7);
    check_float("attention dv", dv, want->v, ATT_ALL, 5e-7);
}

static void check_attention(int64_t n_q, int64_t n_kv, int64_t q_offset, int64_t window)
{
    static attention_case c;
    static attention_gradient g;
    uint64_t state = 4;
    memset(&c, 0, sizeof c);
    c.shape = (vlorpi_attention_shape){.n_q = n_q, .n_kv = n_kv, .q_offset = q_offset, .E = ATT_E, .ldq = ATT_LD,
                                       .ldk = ATT_LD, .ldv = ATT_LD, .ldo = ATT_LD, .scale = 1.5f, .window = window};
    fill(c.q, ATT_ALL, &state);
    fill(c.k, ATT_ALL, &state);
    fill(c.v, ATT_ALL, &state);
    fill(c.d_o, ATT_ALL, &state);
    (void)fprintf(stderr, "  n_q %d, n_kv %d, q_offset %d, window %d\n", (int)n_q, (int)n_kv, (int)q_offset,
                  (int)window);
    (void)attention_objective(&c);
    attention_backward(&g, &c);
    check_attention_float(&c, &g);
    check_gradient("attention dq", attention_objective, &c, c.q, g.q, ATT_ALL);
    check_gradient("attention dk", attention_objective, &c, c.k, g.k, ATT_ALL);
    check_gradient("attention dv", attention_objective, &c, c.v, g.v, ATT_ALL);
}

static void test_attention(void **unused)
{
    (void)unused;
    check_attention(9, 9, 0, 0);
    check_attention(4, 9, 5, 0);
    check_attention(3, 9, 2, 0); /* keys that no query sees */
    check_attention(1, 7, 6, 0);
    check_attention(9, 9, 0, 4);
    check_attention(4, 9, 5, 2);
    check_attention(9, 9, 0, 1);
}

/* ---- cross-entropy ---- */

enum { XENT_N = 3, XENT_V = 11 };
static const int32_t xent_target[XENT_N] = {0, 10, 4};

static double xent_objective(void *ctx)
{
    const double *logits = ctx;
    double loss[XENT_N];
    vlorpi_xent_fwd_ref64(loss, logits, xent_target, XENT_N, XENT_V);
    return loss[0] + loss[1] + loss[2];
}

static void test_xent(void **unused)
{
    (void)unused;
    double logits[XENT_N * XENT_V], g[XENT_N * XENT_V], loss[XENT_N], loss_alone[XENT_N];
    uint64_t state = 5;
    fill(logits, XENT_N * XENT_V, &state);
    for (int i = 0; i < XENT_N * XENT_V; i++) {
        logits[i] *= 5;
    }
    float g_f[XENT_N * XENT_V], loss_f[XENT_N];
    narrow(g_f, logits, XENT_N * XENT_V);
    memcpy(g, logits, sizeof g);
    vlorpi_xent_fwd_bwd_ref64(loss, g, xent_target, XENT_N, XENT_V);
    vlorpi_xent_fwd_ref64(loss_alone, logits, xent_target, XENT_N, XENT_V);
    assert_memory_equal(loss, loss_alone, sizeof loss);
    f32->xent_fwd_bwd(loss_f, g_f, xent_target, XENT_N, XENT_V);
    check_float("xent loss", loss_f, loss, XENT_N, 1e-7);
    check_float("xent dlogits", g_f, g, XENT_N * XENT_V, 1e-7);
    check_gradient("xent dlogits", xent_objective, logits, logits, g, XENT_N * XENT_V);
}

/* ---- rows: gather and scatter are each other's transposes, embed is gather ---- */

enum { ROWS_N = 5, ROWS_V = 4, ROWS_D = 3, ROWS_LD = 5 };
static const int32_t rows_ids[ROWS_N] = {2, 0, 2, 3, 2};

typedef struct rows_case {
    double table[ROWS_V * ROWS_LD], x[ROWS_N * ROWS_D], weight[ROWS_V * ROWS_LD], dy[ROWS_N * ROWS_D];
} rows_case;

static double gather_objective(void *ctx)
{
    rows_case *c = ctx;
    double y[ROWS_N * ROWS_D];
    vlorpi_gather_rows_ref64(y, c->table, ROWS_LD, rows_ids, ROWS_N, ROWS_D);
    return inner(y, c->dy, ROWS_N * ROWS_D);
}

static double embed_objective(void *ctx)
{
    rows_case *c = ctx;
    double y[ROWS_N * ROWS_D];
    vlorpi_embed_fwd_ref64(y, c->table, rows_ids, ROWS_N, ROWS_D);
    return inner(y, c->dy, ROWS_N * ROWS_D);
}

static double scatter_objective(void *ctx)
{
    rows_case *c = ctx;
    double y[ROWS_V * ROWS_LD] = {0};
    vlorpi_scatter_add_rows_ref64(y, ROWS_LD, c->x, rows_ids, ROWS_N, ROWS_D);
    return inner(y, c->weight, ROWS_V * ROWS_LD);
}

static void test_rows(void **unused)
{
    (void)unused;
    static rows_case c;
    uint64_t state = 6;
    fill(c.table, ROWS_V * ROWS_LD, &state);
    fill(c.x, ROWS_N * ROWS_D, &state);
    fill(c.weight, ROWS_V * ROWS_LD, &state);
    fill(c.dy, ROWS_N * ROWS_D, &state);
    double d_table[ROWS_V * ROWS_LD] = {0};
    vlorpi_scatter_add_rows_ref64(d_table, ROWS_LD, c.dy, rows_ids, ROWS_N, ROWS_D);
    check_gradient("gather dx", gather_objective, &c, c.table, d_table, ROWS_V * ROWS_LD);
    double d_embed[ROWS_V * ROWS_LD] = {0};
    vlorpi_scatter_add_rows_ref64(d_embed, ROWS_D, c.dy, rows_ids, ROWS_N, ROWS_D);
    check_gradient("embed dtable", embed_objective, &c, c.table, d_embed, ROWS_V * ROWS_D);
    double dx[ROWS_N * ROWS_D];
    vlorpi_gather_rows_ref64(dx, c.weight, ROWS_LD, rows_ids, ROWS_N, ROWS_D);
    check_gradient("scatter dx", scatter_objective, &c, c.x, dx, ROWS_N * ROWS_D);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_rope), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_xent), cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
