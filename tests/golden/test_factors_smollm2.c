/* S straight from (dY, X) against S from a formed gradient, on every projected layer of SmolLM2 with
 * real text; prints the time and the memory of both ways.
 *
 * Needs $VLORP_TEST_SMOLLM2 (a GGUF file) and the shared data. */
#include "smollm2_support.h"

#include <time.h>

#include "train/optimizer_sink.h"

/* fp32 sums over some hundred tokens in another order; measured 1e-6 at most */
#define MAX_DIFFERENCE 1e-5

typedef struct both_ways {
    const vlorpi_job *job;
    vlorp_optimizer *by_factors, *by_gradient;
    formed_gradient gradient;
    double seconds_factors, seconds_gradient;
    int n_layers;
    double worst;
    const char *worst_name;
} both_ways;

static double now_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void compare(both_ways *w, int param)
{
    vlorp_err err = {0};
    vlorp_state_tensor a;
    vlorp_state_tensor b;
    ASSERT_OK(vlorp_optimizer_gradient(w->by_factors, param, &a, &err));
    ASSERT_OK(vlorp_optimizer_gradient(w->by_gradient, param, &b, &err));
    int64_t n = 1;
    for (int d = 0; d < a.n_dims; d++) {
        n *= a.shape[d];
    }
    double error = relative_error(a.data, b.data, n);
    if (!(error <= w->worst)) {
        w->worst = error;
        w->worst_name = a.parameter;
    }
    if (!(error <= MAX_DIFFERENCE)) {
        fail_msg("%s: S from factors differs by %.3g", a.parameter, error);
    }
}

static vlorp_status take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                                int64_t n_tokens, vlorp_err *err_out)
{
    both_ways *w = ctx;
    vlorp_err err = {0};
    (void)err_out;
    vlorp_parameter_info info;
    ASSERT_OK(vlorp_optimizer_parameter(w->by_factors, param, &info, &err));
    if (info.rule == VLORP_RULE_ADAMW) {
        return VLORP_OK;
    }
    double start = now_seconds();
    ASSERT_OK(vlorp_optimizer_accumulate_factors(w->by_factors, param, dy, ldy, x, ldx, n_tokens, &err));
    double middle = now_seconds();
    formed_gradient_set(&w->gradient, &info, dy, ldy, x, ldx, n_tokens);
    ASSERT_OK(vlorp_optimizer_accumulate(w->by_gradient, param, w->gradient.values, info.m, &err));
    double end = now_seconds();
    w->seconds_factors += middle - start;
    w->seconds_gradient += end - middle;
    w->n_layers++;
    compare(w, param);
    return VLORP_OK;
}

static void measure(int64_t factor, int64_t rank)
{
    vlorp_err err = {0};
    vlorpi_job job;
    vlorpi_job other; /* only its optimizer is used */
    open_smollm2(&job, factor, rank);
    open_smollm2(&other, factor, rank);
    ASSERT_OK(vlorpi_job_allocate(&job, &err));
    ASSERT_OK(vlorp_optimizer_commit(other.optimizer, &err));
    both_ways w = {.job = &job, .by_factors = job.optimizer, .by_gradient = other.optimizer};
    formed_gradient_open(&w.gradient, &job);
    run_smollm2(&job, take_linear, &w);
    const vlorpi_model_config *config = vlorpi_model_config_of(job.model);
    assert_int_equal(w.n_layers, 7 * config->L);
    (void)printf("c %lld, r %lld: %d layers, %lld tokens: largest difference %.2g (%s); from factors %.3f s, through a "
                 "formed gradient %.3f s and %.1f MB more\n",
                 (long long)factor, (long long)rank, w.n_layers, (long long)job.batch.n_tokens, w.worst, w.worst_name,
                 w.seconds_factors, w.seconds_gradient, (double)w.gradient.n_bytes * 1e-6);
    formed_gradient_close(&w.gradient);
    vlorpi_job_close(&other);
    vlorpi_job_close(&job);
}

static void factors_equal_formed_gradients(void **state)
{
    (void)state;
    need_smollm2();
    measure(64, 1);
    measure(4, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(factors_equal_formed_gradients)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
