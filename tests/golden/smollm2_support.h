/* smollm2_support.h - SmolLM2 on real text, whose passes are watched through a sink that forms gradients.
 *
 * Needs $VLORP_TEST_SMOLLM2 (a GGUF file) and the shared data. */
#ifndef VLORP_TESTS_SMOLLM2_SUPPORT_H
#define VLORP_TESTS_SMOLLM2_SUPPORT_H

#include "unit/train_support.h"

enum { SMOLLM2_EXAMPLES = 4 };

/* Skips the test, or fails it under VLORP_REQUIRE_ALL=1, unless the model's file is there. */
static inline void need_smollm2(void)
{
    const char *path = getenv("VLORP_TEST_SMOLLM2");
    if (path == NULL || access(path, R_OK) != 0) {
        const char *require = getenv("VLORP_REQUIRE_ALL");
        if (require != NULL && strcmp(require, "1") == 0) {
            fail_msg("VLORP_TEST_SMOLLM2 names no file and VLORP_REQUIRE_ALL=1");
        }
        (void)fprintf(stderr, "SKIP: VLORP_TEST_SMOLLM2 names no GGUF file\n");
        skip();
    }
}

/* Opens a job whose steps are one micro-batch; its buffers are the caller's to allocate. */
static inline void open_smollm2(vlorpi_job *job, int64_t factor, int64_t rank)
{
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.model = getenv("VLORP_TEST_SMOLLM2");
    s.dataset = shared_data("commonsense/ARC-Challenge/train.json");
    s.max_length = 256;
    s.batch_size = SMOLLM2_EXAMPLES;
    s.total_batch_size = SMOLLM2_EXAMPLES;
    s.projection = vlorp_projection_default();
    s.projection.factor = factor;
    s.projection.rank = rank;
    vlorp_exec exec = test_exec();
    ASSERT_OK(vlorpi_job_open(job, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
}

/* Room for the gradient of any one projected matrix. */
typedef struct formed_gradient {
    vlorpi_mem *mem;
    vlorpi_gemm_ctx gemm;
    float *values;
    size_t n_bytes;
} formed_gradient;

static inline void formed_gradient_open(formed_gradient *f, const vlorpi_job *job)
{
    const vlorpi_params *params = vlorpi_model_params(job->model);
    *f = (formed_gradient){.mem = job->mem};
    for (int i = 0; i < params->n; i++) {
        const vlorpi_param *p = &params->items[i];
        size_t n_bytes = (size_t)vlorpi_param_n_elements(p) * sizeof(float);
        if ((p->role == VLORPI_ROLE_ATTN || p->role == VLORPI_ROLE_MLP) && n_bytes > f->n_bytes) {
            f->n_bytes = n_bytes;
        }
    }
    f->values = vlorpi_mem_alloc(f->mem, VLORPI_MEM_GRADS, f->n_bytes);
    void *scratch = vlorpi_mem_alloc(f->mem, VLORPI_MEM_WORKSPACE, vlorpi_gemm_scratch_bytes(job->exec.n_threads));
    assert_non_null(f->values);
    assert_non_null(scratch);
    f->gemm = (vlorpi_gemm_ctx){.kernels = job->kernels->gemm, .exec = job->exec, .scratch = scratch};
}

/* values = dYᵀ X, n x m */
static inline void formed_gradient_set(formed_gradient *f, const vlorp_parameter_info *info, const float *dy,
                                       int64_t ldy, const float *x, int64_t ldx, int64_t n_tokens)
{
    vlorpi_gemm(&f->gemm, f->values, info->m, false, vlorpi_gemm_transposed(dy, VLORP_F32, ldy),
                vlorpi_gemm_rows(x, VLORP_F32, ldx), info->n, info->m, n_tokens);
}

static inline void formed_gradient_close(formed_gradient *f)
{
    vlorpi_mem_free(f->mem, f->values);
    vlorpi_mem_free(f->mem, f->gemm.scratch);
}

typedef vlorp_status smollm2_take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x,
                                         int64_t ldx, int64_t n_tokens, vlorp_err *err);

static inline vlorp_status smollm2_ignore_rows(void *ctx, int param, const int32_t *ids, const float *dy,
                                               int64_t n_tokens, vlorp_err *err)
{
    (void)ctx, (void)param, (void)ids, (void)dy, (void)n_tokens, (void)err;
    return VLORP_OK;
}

static inline vlorp_status smollm2_ignore_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    (void)ctx, (void)param, (void)dw, (void)err;
    return VLORP_OK;
}

/* One forward and backward over the first micro-batch; every linear layer's factors go to take_linear. */
static inline void run_smollm2(vlorpi_job *job, smollm2_take_linear *take_linear, void *ctx)
{
    vlorp_err err = {0};
    int64_t place = 0;
    assert_true(vlorpi_batch_next(&job->batch, job->data, 1, &place, SMOLLM2_EXAMPLES, job->sizes.max_examples,
                                  job->sizes.micro_tokens));
    vlorpi_sink sink = {.ctx = ctx, .linear = take_linear, .rows = smollm2_ignore_rows,
                        .vector = smollm2_ignore_vector};
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(job->model, &job->batch, &sink, &loss, &err));
}

#endif
