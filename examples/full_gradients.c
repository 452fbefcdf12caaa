/* A plain training loop that forms its gradients and hands them to libvlorp.
 *
 * A student y = W x learns a teacher's W* [N, M] from random inputs.  Half way the optimizer's state
 * goes through a buffer into a second handle, which carries on.  Prints the loss; exits 0 when it
 * fell as it should. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <vlorp/vlorp.h>

enum { N = 48, M = 32, BATCH = 64, STEPS = 400 };

static float student[N * M];
static float teacher[N * M];

static void give_up(const vlorp_err *err)
{
    (void)fprintf(stderr, "full_gradients: %s\n", err->text);
    exit(1);
}

static void check(vlorp_status status, const vlorp_err *err)
{
    if (status != VLORP_OK) {
        give_up(err);
    }
}

static vlorp_optimizer *make_optimizer(int *id)
{
    vlorp_err err;
    vlorp_optimizer *optimizer;
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    check(vlorp_optimizer_create(&optimizer, &config, &err), &err);
    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = "student.weight";
    matrix.n = N;
    matrix.m = M;
    matrix.weight = student;
    matrix.projection.budget = 8; /* 8 numbers per row of the gradient instead of 32 */
    check(vlorp_optimizer_add_matrix(optimizer, &matrix, id, &err), &err);
    check(vlorp_optimizer_commit(optimizer, &err), &err);
    return optimizer;
}

/* The loss of one batch, and its gradient's sum over the batch. */
static double forward_backward(float *gradient, const vlorp_rng *rng, int step)
{
    double loss = 0;
    float x[M];
    for (int i = 0; i < N * M; i++) {
        gradient[i] = 0;
    }
    for (int b = 0; b < BATCH; b++) {
        vlorp_rng_normals(x, rng, (uint64_t)(step * BATCH + b) * M, M);
        for (int i = 0; i < N; i++) {
            float error = 0;
            for (int j = 0; j < M; j++) {
                error += (student[i * M + j] - teacher[i * M + j]) * x[j];
            }
            loss += 0.5 * (double)error * (double)error;
            for (int j = 0; j < M; j++) {
                gradient[i * M + j] += error * x[j];
            }
        }
    }
    return loss / BATCH;
}

int main(void)
{
    static float gradient[N * M];
    vlorp_err err;
    int id;
    vlorp_rng data = vlorp_rng_make(1, vlorp_rng_hash("inputs"), VLORP_STREAM_SAMPLING, 0);
    vlorp_rng init = vlorp_rng_make(1, vlorp_rng_hash("teacher"), VLORP_STREAM_INIT, 0);
    vlorp_rng_normals(teacher, &init, 0, N * M);
    vlorp_optimizer *optimizer = make_optimizer(&id);

    vlorp_schedule schedule = vlorp_schedule_default();
    schedule.lr = 0.1;
    schedule.n_steps = STEPS;
    schedule.warmup_steps = 10;
    double first = 0;
    double last = 0;
    for (int step = 0; step < STEPS; step++) {
        last = forward_backward(gradient, &data, step);
        first = step == 0 ? last : first;
        check(vlorp_optimizer_accumulate(optimizer, id, gradient, 0, &err), &err);
        vlorp_step args = {.lr = vlorp_schedule_lr(&schedule, step), .grad_scale = 1.0 / BATCH, .max_grad_norm = 10};
        vlorp_step_result result;
        check(vlorp_optimizer_step(optimizer, &args, &result, &err), &err);
        if (step % 50 == 0) {
            (void)printf("step %3d  loss %8.4f  gradient norm %7.3f\n", step, last, result.grad_norm);
        }
        if (step == STEPS / 2) {
            uint64_t n_bytes;
            check(vlorp_optimizer_state_size(optimizer, &n_bytes, &err), &err);
            void *bytes = malloc((size_t)n_bytes);
            if (bytes == NULL) {
                return 1;
            }
            check(vlorp_optimizer_save_buffer(optimizer, bytes, (size_t)n_bytes, &err), &err);
            vlorp_optimizer_free(optimizer);
            optimizer = make_optimizer(&id);
            check(vlorp_optimizer_load_buffer(optimizer, bytes, (size_t)n_bytes, &err), &err);
            free(bytes);
        }
    }
    (void)printf("loss %.4f -> %.4f\n", first, last);
    vlorp_optimizer_free(optimizer);
    return last < 0.1 * first ? 0 : 1;
}
