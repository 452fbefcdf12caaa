/* What a step must not depend on, and what it must do: accumulation, refreshes, clipping, steady memory. */
#include "unit/train_support.h"

#include <malloc.h>

#include "train/optimizer_sink.h"

static void open_job(vlorpi_job *job, const vlorpi_train_settings *s)
{
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    ASSERT_OK(vlorpi_job_open(job, s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    ASSERT_OK(vlorpi_job_allocate(job, &err));
}

/* All weights as fp32, one after another; the caller frees. */
static float *weights_of(const vlorpi_job *job, int64_t *n)
{
    const vlorpi_params *params = vlorpi_model_params(job->model);
    *n = 0;
    for (int i = 0; i < params->n; i++) {
        *n += vlorpi_param_n_elements(&params->items[i]);
    }
    float *all = malloc((size_t)*n * sizeof *all);
    assert_non_null(all);
    float *at = all;
    for (int i = 0; i < params->n; i++) {
        assert_int_equal(params->items[i].dtype, VLORP_F32);
        int64_t count = vlorpi_param_n_elements(&params->items[i]);
        memcpy(at, params->items[i].data, (size_t)count * sizeof *at);
        at += count;
    }
    return all;
}

static void compare_gradients(const vlorpi_job *a, const vlorpi_job *b, int64_t step)
{
    vlorp_err err = {0};
    for (int id = 0; id < vlorp_optimizer_n_parameters(a->optimizer); id++) {
        vlorp_state_tensor ga;
        vlorp_state_tensor gb;
        ASSERT_OK(vlorp_optimizer_gradient(a->optimizer, id, &ga, &err));
        ASSERT_OK(vlorp_optimizer_gradient(b->optimizer, id, &gb, &err));
        int64_t n = 1;
        for (int d = 0; d < ga.n_dims; d++) {
            n *= ga.shape[d];
        }
        double error = relative_error(ga.data, gb.data, n);
        if (!(error <= 1e-5)) {
            fail_msg("step %lld, %s: S differs by %.3g", (long long)step, ga.parameter, error);
        }
    }
}

static void take_step(vlorpi_job *job, int64_t step, vlorpi_step_sums *sums, double max_norm, vlorp_step_result *result)
{
    vlorp_err err = {0};
    vlorp_step update = {.lr = 1e-3, .grad_scale = 1.0 / (double)sums->n_targets, .max_grad_norm = max_norm};
    (void)step;
    ASSERT_OK(vlorp_optimizer_step(job->optimizer, &update, result, &err));
}

/* One micro-batch of 32 examples and 32 of one give the same S and the same update, at refresh
 * steps (0 and 2 of gap 2) and between.  Weights are made equal after each step, so that each
 * comparison stands alone. */
static void accumulation_changes_nothing(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.total_batch_size = 32;
    s.num_training_steps = 4;
    s.update_proj_gap = 2;
    s.dtype = VLORP_F32;
    vlorpi_job whole;
    vlorpi_job single;
    s.batch_size = 32;
    open_job(&whole, &s);
    s.batch_size = 1;
    open_job(&single, &s);
    for (int64_t step = 0; step < 4; step++) {
        int64_t n = 0;
        float *before = weights_of(&whole, &n);
        vlorpi_step_sums sums[2];
        ASSERT_OK(vlorpi_train_accumulate(&whole, step, &sums[0], &err));
        ASSERT_OK(vlorpi_train_accumulate(&single, step, &sums[1], &err));
        assert_int_equal(sums[0].n_micro_batches, 1);
        assert_int_equal(sums[1].n_micro_batches, 32);
        assert_int_equal(sums[0].n_targets, sums[1].n_targets);
        ASSERT_BELOW(fabs(sums[0].loss_sum / sums[1].loss_sum - 1), 1e-6);
        compare_gradients(&whole, &single, step);
        vlorp_step_result result;
        take_step(&whole, step, &sums[0], 1.0, &result);
        take_step(&single, step, &sums[1], 1.0, &result);
        float *a = weights_of(&whole, &n);
        float *b = weights_of(&single, &n);
        for (int64_t i = 0; i < n; i++) {
            a[i] -= before[i];
            b[i] -= before[i];
        }
        double moved = 0;
        for (int64_t i = 0; i < n; i++) {
            moved += (double)a[i] * (double)a[i];
        }
        assert_true(moved > 0);
        ASSERT_BELOW(relative_error(b, a, n), 1e-5);
        const vlorpi_params *from = vlorpi_model_params(whole.model);
        const vlorpi_params *to = vlorpi_model_params(single.model);
        for (int i = 0; i < from->n; i++) {
            memcpy(to->items[i].data, from->items[i].data, vlorpi_param_bytes(&from->items[i]));
        }
        free(before);
        free(a);
        free(b);
    }
    vlorpi_job_close(&whole);
    vlorpi_job_close(&single);
}

/* The momentum after one clipped step is the unclipped one times the coefficient. */
static void clipping_acts(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.dtype = VLORP_F32;
    vlorpi_job free_job;
    vlorpi_job clipped;
    open_job(&free_job, &s);
    open_job(&clipped, &s);
    vlorpi_step_sums sums;
    vlorp_step_result unclipped_result;
    vlorp_step_result clipped_result;
    ASSERT_OK(vlorpi_train_accumulate(&free_job, 0, &sums, &err));
    take_step(&free_job, 0, &sums, 0, &unclipped_result);
    ASSERT_OK(vlorpi_train_accumulate(&clipped, 0, &sums, &err));
    take_step(&clipped, 0, &sums, unclipped_result.grad_norm / 4, &clipped_result);
    assert_true(unclipped_result.clip == 1);
    ASSERT_BELOW(fabs(clipped_result.clip - 0.25), 1e-4);
    int n_checked = 0;
    for (int i = 0; i < vlorp_optimizer_n_tensors(clipped.optimizer); i++) {
        vlorp_state_tensor a;
        vlorp_state_tensor b;
        ASSERT_OK(vlorp_optimizer_tensor(free_job.optimizer, i, &a, &err));
        ASSERT_OK(vlorp_optimizer_tensor(clipped.optimizer, i, &b, &err));
        if (strcmp(a.field, "momentum") != 0 && strcmp(a.field, "exp_avg") != 0) {
            continue;
        }
        int64_t n = 1;
        for (int d = 0; d < a.n_dims; d++) {
            n *= a.shape[d];
        }
        float *scaled = malloc((size_t)n * sizeof *scaled);
        assert_non_null(scaled);
        for (int64_t k = 0; k < n; k++) {
            scaled[k] = ((const float *)a.data)[k] * (float)clipped_result.clip;
        }
        ASSERT_BELOW(relative_error(b.data, scaled, n), 1e-6);
        free(scaled);
        n_checked++;
    }
    assert_true(n_checked > 40);
    vlorpi_job_close(&free_job);
    vlorpi_job_close(&clipped);
}

/* sgd takes every parameter, vectors too, one step down its gradient, and keeps nothing. */
static void sgd_steps_down_the_gradient(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.dtype = VLORP_F32;
    s.optimizer = VLORPI_OPTIMIZER_SGD;
    s.batch_size = 3;
    vlorpi_job job;
    open_job(&job, &s);
    assert_int_equal(vlorp_optimizer_n_tensors(job.optimizer), 0);
    vlorpi_step_sums sums;
    ASSERT_OK(vlorpi_train_accumulate(&job, 0, &sums, &err));
    int64_t n = 0;
    float *expected = weights_of(&job, &n);
    int64_t at = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job.optimizer); id++) {
        vlorp_state_tensor g;
        ASSERT_OK(vlorp_optimizer_gradient(job.optimizer, id, &g, &err));
        int64_t count = vlorpi_param_n_elements(&vlorpi_model_params(job.model)->items[id]);
        double square = 0;
        for (int64_t i = 0; i < count; i++) {
            double value = (double)((const float *)g.data)[i];
            expected[at + i] -= (float)(1e-3 / (double)sums.n_targets * value);
            square += value * value;
        }
        assert_true(square > 0);
        at += count;
    }
    assert_int_equal(at, n);
    vlorp_step_result result;
    take_step(&job, 0, &sums, 0, &result);
    float *moved = weights_of(&job, &n);
    ASSERT_BELOW(relative_error(moved, expected, n), 1e-7);
    free(moved);
    free(expected);
    vlorpi_job_close(&job);
}

static uint64_t allocations_at[11];
static size_t heap_at[11];

static void note_allocations(void *ctx, const vlorpi_step_metrics *step, int64_t n_steps, double seconds_left)
{
    (void)n_steps;
    (void)seconds_left;
    if (step->step <= 10) {
        allocations_at[step->step] = ((const vlorpi_mem *)ctx)->n_allocations;
        heap_at[step->step] = mallinfo2().uordblks;
    }
}

/* The account counts no allocation from step 2 to 10, and the heap, libraries included, stands still. */
static void check_nothing_allocates(vlorpi_train_settings s)
{
    vlorp_err err = {0};
    s.num_training_steps = 10;
    s.update_proj_gap = 3; /* refreshes inside the window */
    s.save_dir = make_run_folder();
    vlorp_exec exec = test_exec();
    vlorpi_train_events events = {.ctx = test_mem(), .stepped = note_allocations};
    memset(allocations_at, 0, sizeof allocations_at);
    ASSERT_OK(vlorpi_train(&s, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &events, &err));
    for (int step = 3; step <= 10; step++) {
        assert_int_equal(allocations_at[step], allocations_at[2]);
        assert_int_equal(heap_at[step], heap_at[2]);
    }
    assert_true(allocations_at[2] > 0);
    remove_run_folder(s.save_dir);
}

static void nothing_allocates_between_steps(void **state)
{
    (void)state;
    vlorpi_train_settings s = tiny_settings();
    s.batch_size = 3;
    check_nothing_allocates(s);
    s.distribution = VLORP_SVD; /* its probe takes more than one micro-batch */
    s.momentum = VLORP_MOMENTUM_TRANSPORT;
    check_nothing_allocates(s);
    s.optimizer = VLORPI_OPTIMIZER_SGD;
    check_nothing_allocates(s);
}

/* A weight that is not a number stops the run before the update and names the step. */
static void a_nan_stops_before_the_update(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    s.dtype = VLORP_F32;
    vlorpi_job job;
    open_job(&job, &s);
    vlorpi_params *params = vlorpi_model_params(job.model);
    int at = vlorpi_params_find(params, "model.layers.2.mlp.up_proj.weight");
    assert_true(at >= 0);
    ((float *)params->items[at].data)[7] = NAN;
    vlorpi_step_sums sums;
    assert_int_equal(vlorpi_train_accumulate(&job, 0, &sums, &err), VLORP_E_NUMERIC);
    assert_non_null(strstr(err.text, "step 1"));
    vlorpi_job_close(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accumulation_changes_nothing), cmocka_unit_test(clipping_acts), cmocka_unit_test(sgd_steps_down_the_gradient),
        cmocka_unit_test(nothing_allocates_between_steps), cmocka_unit_test(a_nan_stops_before_the_update)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
