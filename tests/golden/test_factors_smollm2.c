/* S straight from (dY, X) against S from a formed gradient, on every projected layer of SmolLM2 with
 * real text; prints the time and the memory of both ways.
 *
 * Needs $VLORP_TEST_SMOLLM2 (a GGUF file) and the shared data. */
#include "unit/train_support.h"

#include <time.h>

#include "train/optimizer_sink.h"

/* fp32 sums over some hundred tokens in another order; measured 1e-6 at most */
#define MAX_DIFFERENCE 1e-5

typedef struct both_ways {
    const vlorpi_job *job;
    vlorp_optimizer *by_factors, *by_gradient;
    vlorpi_gemm_ctx gemm;
    float *gradient;
    size_t gradient_bytes;
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
    vlorpi_gemm(&w->gemm, w->gradient, info.m, false, vlorpi_gemm_transposed(dy, VLORP_F32, ldy),
                vlorpi_gemm_rows(x, VLORP_F32, ldx), info.n, info.m, n_tokens);
    ASSERT_OK(vlorp_optimizer_accumulate(w->by_gradient, param, w->gradient, info.m, &err));
    double end = now_seconds();
    w->seconds_factors += middle - start;
    w->seconds_gradient += end - middle;
    w->n_layers++;
    compare(w, param);
    return VLORP_OK;
}

static vlorp_status ignore_rows(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens,
                                vlorp_err *err)
{
    (void)ctx, (void)param, (void)ids, (void)dy, (void)n_tokens, (void)err;
    return VLORP_OK;
}

static vlorp_status ignore_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    (void)ctx, (void)param, (void)dw, (void)err;
    return VLORP_OK;
}

static void prepare_gradient_way(both_ways *w)
{
    const vlorpi_params *params = vlorpi_model_params(w->job->model);
    for (int i = 0; i < params->n; i++) {
        const vlorpi_param *p = &params->items[i];
        size_t n_bytes = (size_t)vlorpi_param_n_elements(p) * sizeof(float);
        if ((p->role == VLORPI_ROLE_ATTN || p->role == VLORPI_ROLE_MLP) && n_bytes > w->gradient_bytes) {
            w->gradient_bytes = n_bytes;
        }
    }
    w->gradient = vlorpi_mem_alloc(w->job->mem, VLORPI_MEM_GRADS, w->gradient_bytes);
    void *scratch = vlorpi_mem_alloc(w->job->mem, VLORPI_MEM_WORKSPACE, vlorpi_gemm_scratch_bytes(w->job->exec.n_threads));
    assert_non_null(w->gradient);
    assert_non_null(scratch);
    w->gemm = (vlorpi_gemm_ctx){.kernels = w->job->kernels->gemm, .exec = w->job->exec, .scratch = scratch};
}

static void measure(int64_t factor, int64_t rank)
{
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.model = getenv("VLORP_TEST_SMOLLM2");
    s.dataset = shared_data("commonsense/ARC-Challenge/train.json");
    s.max_length = 256;
    s.batch_size = 4;
    s.total_batch_size = 4;
    s.projection = vlorp_projection_default();
    s.projection.factor = factor;
    s.projection.rank = rank;
    vlorp_exec exec = test_exec();
    vlorpi_job job;
    vlorpi_job other; /* only its optimizer is used */
    ASSERT_OK(vlorpi_job_open(&job, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    ASSERT_OK(vlorpi_job_open(&other, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    ASSERT_OK(vlorpi_job_allocate(&job, &err));
    ASSERT_OK(vlorp_optimizer_commit(other.optimizer, &err));
    both_ways w = {.job = &job, .by_factors = job.optimizer, .by_gradient = other.optimizer};
    prepare_gradient_way(&w);
    int64_t place = 0;
    assert_true(vlorpi_batch_next(&job.batch, job.data, 1, &place, 4, job.sizes.max_examples, job.sizes.micro_tokens));
    vlorpi_sink sink = {.ctx = &w, .linear = take_linear, .rows = ignore_rows, .vector = ignore_vector};
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(job.model, &job.batch, &sink, &loss, &err));
    const vlorpi_model_config *config = vlorpi_model_config_of(job.model);
    assert_int_equal(w.n_layers, 7 * config->L);
    (void)printf("c %lld, r %lld: %d layers, %lld tokens: largest difference %.2g (%s); from factors %.3f s, through a "
                 "formed gradient %.3f s and %.1f MB more\n",
                 (long long)factor, (long long)rank, w.n_layers, (long long)job.batch.n_tokens, w.worst, w.worst_name,
                 w.seconds_factors, w.seconds_gradient, (double)w.gradient_bytes * 1e-6);
    vlorpi_mem_free(job.mem, w.gradient);
    vlorpi_mem_free(job.mem, w.gemm.scratch);
    vlorpi_job_close(&other);
    vlorpi_job_close(&job);
}

static void factors_equal_formed_gradients(void **state)
{
    (void)state;
    const char *path = getenv("VLORP_TEST_SMOLLM2");
    if (path == NULL || access(path, R_OK) != 0) {
        const char *require = getenv("VLORP_REQUIRE_ALL");
        if (require != NULL && strcmp(require, "1") == 0) {
            fail_msg("VLORP_TEST_SMOLLM2 names no file and VLORP_REQUIRE_ALL=1");
        }
        (void)fprintf(stderr, "SKIP: VLORP_TEST_SMOLLM2 names no GGUF file\n");
        skip();
    }
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
