/* lomo inside the backward pass: sgd's weights to the bit, no gradient but one, no update after a bad loss. */
#include "unit/train_support.h"

static void open_job(vlorpi_job *job, const vlorpi_train_settings *s)
{
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    ASSERT_OK(vlorpi_job_open(job, s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    ASSERT_OK(vlorpi_job_allocate(job, &err));
}

static vlorp_step_result take_step(vlorpi_job *job, int64_t step)
{
    vlorp_err err = {0};
    vlorpi_step_sums sums;
    vlorp_step_result result;
    ASSERT_OK(vlorpi_train_accumulate(job, step, &sums, &err));
    assert_int_equal(sums.n_micro_batches, 1);
    vlorp_step update = vlorpi_train_update(job, step, sums.n_targets);
    ASSERT_OK(vlorp_optimizer_step(job->optimizer, &update, &result, &err));
    return result;
}

static void assert_same_weights(const vlorpi_job *a, const vlorpi_job *b, int64_t step)
{
    const vlorpi_params *x = vlorpi_model_params(a->model);
    const vlorpi_params *y = vlorpi_model_params(b->model);
    for (int i = 0; i < x->n; i++) {
        if (memcmp(x->items[i].data, y->items[i].data, vlorpi_param_bytes(&x->items[i])) != 0) {
            fail_msg("step %lld: %s differs", (long long)step, x->items[i].name);
        }
    }
}

/* Gradients are one matrix, and the tied one's beside it. */
static void check_room(const vlorpi_job *job)
{
    const vlorpi_params *params = vlorpi_model_params(job->model);
    int64_t most = 0;
    int64_t tied = 0;
    for (int i = 0; i < params->n; i++) {
        int64_t n = vlorpi_param_n_elements(&params->items[i]);
        tied += params->items[i].tied ? n : 0;
        most = !params->items[i].tied && n > most ? n : most;
    }
    vlorp_err err = {0};
    vlorp_optimizer_memory use;
    ASSERT_OK(vlorp_optimizer_memory_use(job->optimizer, &use, &err));
    assert_int_equal(use.bytes[VLORP_MEMORY_GRADIENTS], (most + 15) / 16 * 64 + (tied + 15) / 16 * 64);
    assert_int_equal(use.bytes[VLORP_MEMORY_OPTIMIZER_STATE], 0);
}

/* Had any weight been used after its update, or been updated before its last use, the bits would part. */
static void lomo_is_sgd_to_the_bit(void **state)
{
    (void)state;
    char untied[64];
    char qwen[64];
    (void)snprintf(untied, sizeof untied, "%s", family_folder("llama", 2, 8, false));
    (void)snprintf(qwen, sizeof qwen, "%s", family_folder("qwen3", 2, 8, false));
    const char *const models[] = {NULL, untied, qwen};
    for (int i = 0; i < 3 * 4; i++) {
        vlorpi_train_settings s = tiny_settings();
        s.model = models[i / 4] != NULL ? models[i / 4] : s.model;
        s.init_random = models[i / 4] != NULL;
        s.activation_checkpointing = i & 1 ? VLORPI_YES : VLORPI_NO;
        s.dtype = i & 2 ? VLORP_BF16 : VLORP_F32;
        s.lr = 1;
        s.grad_clipping = 0;
        s.batch_size = s.total_batch_size;
        vlorpi_job lomo;
        vlorpi_job sgd;
        s.optimizer = VLORPI_OPTIMIZER_SGD;
        open_job(&sgd, &s);
        s.optimizer = VLORPI_OPTIMIZER_LOMO;
        s.batch_size = VLORPI_AUTO;
        s.grad_clipping = 1; /* is none */
        open_job(&lomo, &s);
        check_room(&lomo);
        for (int64_t step = 0; step < 3; step++) {
            vlorp_step_result a = take_step(&sgd, step);
            vlorp_step_result b = take_step(&lomo, step);
            ASSERT_BELOW(fabs(b.grad_norm / a.grad_norm - 1), 1e-6);
            assert_same_weights(&lomo, &sgd, step);
        }
        vlorpi_job_close(&lomo);
        vlorpi_job_close(&sgd);
    }
    remove_run_folder(untied);
    remove_run_folder(qwen);
}

/* A loss that is not a number, in the last block of targets at that, comes before every update. */
static void a_bad_loss_updates_nothing(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.dtype = VLORP_F32;
    s.optimizer = VLORPI_OPTIMIZER_LOMO;
    vlorpi_job job;
    vlorpi_job other;
    open_job(&job, &s);
    open_job(&other, &s);
    vlorpi_job *both[] = {&job, &other};
    for (int i = 0; i < 2; i++) {
        vlorpi_params *params = vlorpi_model_params(both[i]->model);
        int at = vlorpi_params_find(params, "model.layers.2.mlp.up_proj.weight");
        ((float *)params->items[at].data)[7] = NAN;
    }
    vlorpi_step_sums sums;
    assert_int_equal(vlorpi_train_accumulate(&job, 0, &sums, &err), VLORP_E_NUMERIC);
    assert_same_weights(&job, &other, 0);
    ASSERT_OK(vlorp_optimizer_discard(job.optimizer, &err));
    vlorpi_job_close(&job);
    vlorpi_job_close(&other);
}

/* A micro-batch that is given too few tokens for a step is refused before anything is allocated. */
static void a_step_is_one_micro_batch(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    vlorp_exec exec = test_exec();
    s.optimizer = VLORPI_OPTIMIZER_LOMO;
    s.micro_tokens = 128;
    vlorpi_job job;
    assert_int_equal(vlorpi_job_open(&job, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err),
                     VLORP_E_ARG);
    assert_non_null(strstr(err.text, "one micro-batch"));
    vlorpi_job_close(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lomo_is_sgd_to_the_bit),
                                       cmocka_unit_test(a_bad_loss_updates_nothing),
                                       cmocka_unit_test(a_step_is_one_micro_batch)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
