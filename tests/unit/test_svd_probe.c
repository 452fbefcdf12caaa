/* svd's bases in training: of the right gradient, at the right steps, however the step is cut. */
#include "unit/train_support.h"

#include "train/optimizer_sink.h"
#include "train/svd_probe.h"

enum { EVERYTHING = 1 << VLORPI_ROLE_ATTN | 1 << VLORPI_ROLE_MLP | 1 << VLORPI_ROLE_EMBED | 1 << VLORPI_ROLE_HEAD };

static vlorpi_train_settings svd_settings(void)
{
    vlorpi_train_settings s = tiny_settings();
    s.dtype = VLORP_F32;
    s.total_batch_size = 12; /* the probe takes the first 8 */
    s.num_training_steps = 4;
    s.update_proj_gap = 2;
    s.targets = EVERYTHING;
    s.projection = vlorp_projection_default();
    s.distribution = VLORP_SVD;
    s.projection.factor = 4;
    s.projection.rank = 1;
    return s;
}

static void open_job(vlorpi_job *job, const vlorpi_train_settings *s)
{
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    ASSERT_OK(vlorpi_job_open(job, s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    ASSERT_OK(vlorpi_job_allocate(job, &err));
}

/* The folder of stories260K with a head of its own; its weights are drawn. */
static const char *untied_folder(void)
{
    static char path[64];
    char command[512];
    (void)snprintf(path, sizeof path, "/tmp/vlorp-untied-XXXXXX");
    assert_non_null(mkdtemp(path));
    const char *from = shared_data("models/stories260K-hf");
    (void)snprintf(command, sizeof command,
                   "cp '%s'/tokenizer*.json '%s' && sed 's/\"tie_word_embeddings\": true/\"tie_word_embeddings\": "
                   "false/' '%s'/config.json > '%s'/config.json",
                   from, path, from, path);
    assert_int_equal(system(command), 0);
    return path;
}

/* Each basis of job against that of reference; how many were compared. */
static int compare_bases(const vlorpi_job *job, const vlorpi_job *reference)
{
    vlorp_err err = {0};
    int n_compared = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        vlorp_parameter_info info;
        ASSERT_OK(vlorp_optimizer_parameter(job->optimizer, id, &info, &err));
        if (info.projection.M == 0) {
            continue;
        }
        assert_false(vlorp_optimizer_wants_probe(job->optimizer, id));
        float a[512];
        float b[512];
        assert_true(info.projection.d * info.projection.r <= 512);
        ASSERT_OK(vlorp_optimizer_projection(job->optimizer, id, a, &err));
        ASSERT_OK(vlorp_optimizer_projection(reference->optimizer, id, b, &err));
        double error = relative_error(a, b, info.projection.d * info.projection.r);
        if (!(error <= 2e-4)) { /* fp32 sums in another order, times the gap between eigenvalues */
            fail_msg("%s: its basis differs by %.3g", info.name, error);
        }
        n_compared++;
    }
    return n_compared;
}

/* The bases of a step by the definition: the exact gradient of its first 8 examples, whole, as adamw sees it. */
static void probe_by_definition(vlorpi_job *reference, const vlorpi_job *like, int64_t step)
{
    vlorp_err err = {0};
    vlorpi_train_settings s = like->settings;
    vlorpi_job exact;
    s.optimizer = VLORPI_OPTIMIZER_ADAMW;
    s.batch_size = VLORPI_AUTO;
    open_job(&exact, &s);
    const vlorpi_params *params = vlorpi_model_params(exact.model);
    for (int i = 0; i < params->n; i++) {
        memcpy(params->items[i].data, vlorpi_model_params(like->model)->items[i].data,
               vlorpi_param_bytes(&params->items[i]));
    }
    int64_t place = step * s.total_batch_size;
    double loss = 0;
    vlorpi_gradient_taker taker = {.optimizer = exact.optimizer, .params = params};
    vlorpi_sink sink = vlorpi_optimizer_sink(&taker);
    assert_true(vlorpi_batch_next(&exact.batch, exact.data, s.seed, &place, place + 8, 8, exact.sizes.micro_tokens));
    assert_int_equal(place, step * s.total_batch_size + 8);
    ASSERT_OK(vlorpi_model_loss(exact.model, &exact.batch, &sink, &loss, &err));
    for (int id = 0; id < params->n; id++) {
        if (vlorp_optimizer_wants_probe(reference->optimizer, id)) {
            vlorp_state_tensor g;
            ASSERT_OK(vlorp_optimizer_gradient(exact.optimizer, id, &g, &err));
            ASSERT_OK(vlorp_optimizer_probe(reference->optimizer, id, g.data, 0, &err));
        }
    }
    vlorpi_job_close(&exact);
}

static int n_wanting(const vlorpi_job *job)
{
    int n = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        n += vlorp_optimizer_wants_probe(job->optimizer, id);
    }
    return n;
}

static void take_step(vlorpi_job *job, int64_t step)
{
    vlorp_err err = {0};
    vlorpi_step_sums sums;
    ASSERT_OK(vlorpi_train_accumulate(job, step, &sums, &err));
    vlorp_step update = {.lr = 1e-3, .grad_scale = 1.0 / (double)sums.n_targets, .max_grad_norm = 1};
    ASSERT_OK(vlorp_optimizer_step(job->optimizer, &update, NULL, &err));
}

/* The probes before step 0 and before step 2 (gap 2), with micro-batches of batch_size examples. */
static void check_bases(const vlorpi_train_settings *settings, int64_t batch_size, int n_matrices)
{
    vlorp_err err = {0};
    vlorpi_train_settings s = *settings;
    vlorpi_job job;
    vlorpi_job reference;
    s.batch_size = batch_size;
    open_job(&job, &s);
    open_job(&reference, &s);
    for (int64_t step = 0; step < 3; step++) {
        if (step % 2 == 1) {
            assert_int_equal(n_wanting(&job), 0);
        } else {
            assert_int_equal(n_wanting(&job), n_matrices);
            ASSERT_OK(vlorp_optimizer_set_steps_taken(reference.optimizer, step, &err));
            probe_by_definition(&reference, &job, step);
            ASSERT_OK(vlorpi_svd_probe(&job, step, &err));
            assert_int_equal(compare_bases(&job, &reference), n_matrices);
        }
        take_step(&job, step);
    }
    vlorpi_job_close(&reference);
    vlorpi_job_close(&job);
}

/* Tied: the embedding's gradient comes from both its uses. */
static void bases_are_those_of_the_first_examples(void **state)
{
    (void)state;
    vlorpi_train_settings s = svd_settings();
    check_bases(&s, 12, 7 * 5 + 1);
    check_bases(&s, 3, 7 * 5 + 1);
    s.projection.side = VLORP_SIDE_LEFT;
    s.activation_checkpointing = VLORPI_YES;
    s.targets = 1u << VLORPI_ROLE_ATTN;
    check_bases(&s, 5, 4 * 5);
}

static void an_untied_head_is_probed(void **state)
{
    (void)state;
    vlorpi_train_settings s = svd_settings();
    s.model = untied_folder();
    s.init_random = true;
    check_bases(&s, 12, 7 * 5 + 2);
    s.targets = 1u << VLORPI_ROLE_HEAD | 1u << VLORPI_ROLE_EMBED;
    check_bases(&s, 3, 2);
    remove_run_folder(s.model);
}

/* Fewer than 8 examples in a step: all of them. */
static void small_steps_probe_all_they_have(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = svd_settings();
    s.total_batch_size = 2;
    s.batch_size = 1;
    vlorpi_job job;
    vlorpi_job other;
    open_job(&job, &s);
    s.batch_size = 2;
    open_job(&other, &s);
    ASSERT_OK(vlorpi_svd_probe(&job, 0, &err));
    ASSERT_OK(vlorpi_svd_probe(&other, 0, &err));
    assert_int_equal(compare_bases(&job, &other), 7 * 5 + 1);
    vlorpi_job_close(&other);
    vlorpi_job_close(&job);
}

/* A weight that is not a number stops the probe and names the step. */
static void a_nan_stops_the_probe(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_train_settings s = svd_settings();
    vlorpi_job job;
    open_job(&job, &s);
    ((float *)vlorpi_model_params(job.model)->items[1].data)[3] = NAN;
    vlorpi_step_sums sums;
    assert_int_equal(vlorpi_train_accumulate(&job, 0, &sums, &err), VLORP_E_NUMERIC);
    assert_non_null(strstr(err.text, "step 1, the probe of svd"));
    vlorpi_job_close(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bases_are_those_of_the_first_examples), cmocka_unit_test(an_untied_head_is_probed),
        cmocka_unit_test(small_steps_probe_all_they_have), cmocka_unit_test(a_nan_stops_the_probe)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
