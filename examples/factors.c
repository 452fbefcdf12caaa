/* A two-layer network that never forms a weight's gradient: it hands (dY, X) to libvlorp.
 *
 *   H = relu(X A^T),  Y = H B^T,  loss = |Y - target|^2 / 2 per example
 *   A: dY = dH masked, X = X      B: dY = Y - target, X = H
 *
 * Exits 0 when the loss fell as it should. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <vlorp/vlorp.h>

enum { IN = 32, HIDDEN = 64, OUT = 16, BATCH = 64, STEPS = 300 };

typedef struct network {
    float a[HIDDEN * IN], b[OUT * HIDDEN];
    float x[BATCH * IN], h[BATCH * HIDDEN], y[BATCH * OUT];
    float dy[BATCH * OUT], dh[BATCH * HIDDEN];
} network;

static void check(vlorp_status status, const vlorp_err *err)
{
    if (status != VLORP_OK) {
        (void)fprintf(stderr, "factors: %s\n", err->text);
        exit(1);
    }
}

/* y [BATCH, n] = x [BATCH, m] w^T, w [n, m] */
static void linear(float *y, const float *x, const float *w, int n, int m)
{
    for (int t = 0; t < BATCH; t++) {
        for (int i = 0; i < n; i++) {
            float sum = 0;
            for (int j = 0; j < m; j++) {
                sum += x[t * m + j] * w[i * m + j];
            }
            y[t * n + i] = sum;
        }
    }
}

static void forward(network *net)
{
    linear(net->h, net->x, net->a, HIDDEN, IN);
    for (int i = 0; i < BATCH * HIDDEN; i++) {
        net->h[i] = net->h[i] > 0 ? net->h[i] : 0;
    }
    linear(net->y, net->h, net->b, OUT, HIDDEN);
}

/* dY of both layers; returns the loss. */
static double backward(network *net, const float *target)
{
    double loss = 0;
    for (int i = 0; i < BATCH * OUT; i++) {
        net->dy[i] = net->y[i] - target[i];
        loss += 0.5 * (double)net->dy[i] * (double)net->dy[i];
    }
    for (int t = 0; t < BATCH; t++) {
        for (int j = 0; j < HIDDEN; j++) {
            float sum = 0;
            for (int i = 0; i < OUT; i++) {
                sum += net->dy[t * OUT + i] * net->b[i * HIDDEN + j];
            }
            net->dh[t * HIDDEN + j] = net->h[t * HIDDEN + j] > 0 ? sum : 0;
        }
    }
    return loss / BATCH;
}

static int add(vlorp_optimizer *optimizer, const char *name, float *weight, int n, int m)
{
    vlorp_err err;
    int id;
    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = name;
    matrix.n = n;
    matrix.m = m;
    matrix.weight = weight;
    matrix.projection.factor = 8;
    matrix.projection.rank = 1;
    check(vlorp_optimizer_add_matrix(optimizer, &matrix, &id, &err), &err);
    return id;
}

static void fill(float *out, const char *name, uint64_t number, int n, float size)
{
    vlorp_rng rng = vlorp_rng_make(7, vlorp_rng_hash(name), VLORP_STREAM_INIT, number);
    vlorp_rng_normals(out, &rng, 0, n);
    for (int i = 0; i < n; i++) {
        out[i] *= size;
    }
}

int main(void)
{
    static network net;
    static network teacher;
    vlorp_err err;
    fill(net.a, "a", 0, HIDDEN * IN, 0.2f);
    fill(net.b, "b", 0, OUT * HIDDEN, 0.1f);
    fill(teacher.a, "teacher.a", 0, HIDDEN * IN, 0.2f);
    fill(teacher.b, "teacher.b", 0, OUT * HIDDEN, 0.1f);

    vlorp_optimizer *optimizer;
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    config.max_tokens = BATCH;
    check(vlorp_optimizer_create(&optimizer, &config, &err), &err);
    int a = add(optimizer, "a.weight", net.a, HIDDEN, IN);
    int b = add(optimizer, "b.weight", net.b, OUT, HIDDEN);
    check(vlorp_optimizer_commit(optimizer, &err), &err);
    vlorp_optimizer_memory use;
    check(vlorp_optimizer_memory_use(optimizer, &use, &err), &err);
    (void)printf("sums of gradients take %zu bytes; whole gradients would take %zu\n",
                 use.bytes[VLORP_MEMORY_GRADIENTS], sizeof net.a + sizeof net.b);

    double first = 0;
    double last = 0;
    for (int step = 0; step < STEPS; step++) {
        fill(net.x, "x", (uint64_t)step, BATCH * IN, 1);
        for (int i = 0; i < BATCH * IN; i++) {
            teacher.x[i] = net.x[i];
        }
        forward(&teacher);
        forward(&net);
        last = backward(&net, teacher.y);
        first = step == 0 ? last : first;
        check(vlorp_optimizer_accumulate_factors(optimizer, b, net.dy, 0, net.h, 0, BATCH, &err), &err);
        check(vlorp_optimizer_accumulate_factors(optimizer, a, net.dh, 0, net.x, 0, BATCH, &err), &err);
        vlorp_step args = {.lr = 0.02 * (1 - (double)step / STEPS), .grad_scale = 1.0 / BATCH, .max_grad_norm = 1};
        check(vlorp_optimizer_step(optimizer, &args, NULL, &err), &err);
        if (step % 50 == 0) {
            (void)printf("step %3d  loss %.4f\n", step, last);
        }
    }
    (void)printf("loss %.4f -> %.4f\n", first, last);
    vlorp_optimizer_free(optimizer);
    return last < 0.3 * first ? 0 : 1;
}
