/* Properties of a pass: packing and checkpointing change nothing, nothing allocates, and a batch that
 * does not fit the model is refused. */
#include "golden/tiny_models.h"
#include "model_fixture.h"

enum { N_EXAMPLES = 3, N_TOKENS = 150 };
static const int64_t lengths[N_EXAMPLES] = {40, 3, 107};

typedef struct examples {
    int32_t ids[N_TOKENS], targets[N_TOKENS];
} examples;

static void make_examples(examples *e, int64_t V)
{
    uint64_t random = 11;
    for (int t = 0; t < N_TOKENS; t++) {
        e->ids[t] = (int32_t)(test_random(&random) % (uint64_t)V);
        e->targets[t] = test_random(&random) % 4 == 0 ? -1 : (int32_t)(test_random(&random) % (uint64_t)V);
    }
}

static vlorpi_model_usage usage_of(bool checkpointing)
{
    return (vlorpi_model_usage){.max_tokens = N_TOKENS,
                                .max_segments = N_EXAMPLES,
                                .max_positions = 107,
                                .backward = true,
                                .activation_checkpointing = checkpointing};
}

/* Loss and gradients of examples [first, first + n) as one micro-batch, added to those before. */
static double run(model_fixture *f, const examples *e, int64_t first, int64_t n)
{
    int64_t at = 0;
    for (int64_t i = 0; i < first; i++) {
        at += lengths[i];
    }
    vlorp_err err = {0};
    double loss = 0;
    vlorpi_token_batch batch = fixture_batch(e->ids + at, e->targets + at, lengths + first, n);
    vlorpi_sink sink = model_fixture_sink(f);
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err));
    fixture_batch_free(&batch);
    return loss;
}

static float **copy_gradients(const model_fixture *f)
{
    const vlorpi_params *params = vlorpi_model_params(f->model);
    float **copy = calloc((size_t)params->n, sizeof *copy);
    assert_non_null(copy);
    for (int i = 0; i < params->n; i++) {
        size_t n_bytes = (size_t)vlorpi_param_n_elements(&params->items[i]) * sizeof(float);
        copy[i] = malloc(n_bytes);
        assert_non_null(copy[i]);
        memcpy(copy[i], f->gradient[i], n_bytes);
    }
    return copy;
}

static void free_gradients(float **copy, int n)
{
    for (int i = 0; i < n; i++) {
        free(copy[i]);
    }
    free(copy);
}

/* One micro-batch of three examples against three of one; with so wide a vocabulary the head runs in
 * several blocks. */
static void test_packing(void **state)
{
    (void)state;
    for (int i = 0; i <= N_TINY_MODELS; i++) {
        const char *path = i < N_TINY_MODELS ? tiny_models[i].folder : "tests/golden/data/wide_vocabulary/config.json";
        vlorpi_model_usage usage = usage_of(false);
        model_fixture *f = model_fixture_open(path, NULL, VLORP_F32, &usage);
        const vlorpi_params *params = vlorpi_model_params(f->model);
        examples e;
        make_examples(&e, vlorpi_model_config_of(f->model)->V);
        double packed = run(f, &e, 0, 3);
        float **gradients = copy_gradients(f);
        model_fixture_clear(f);
        double apart = run(f, &e, 0, 1);
        apart += run(f, &e, 1, 1);
        apart += run(f, &e, 2, 1);
        ASSERT_BELOW(fabs(packed - apart), 1e-5 * apart);
        for (int p = 0; p < params->n; p++) {
            ASSERT_BELOW(relative_error(gradients[p], f->gradient[p], vlorpi_param_n_elements(&params->items[p])),
                         1e-5);
        }
        free_gradients(gradients, params->n);
        model_fixture_close(f);
    }
}

/* The same bits with checkpointing and without, in fp32 and in bf16. */
static void test_checkpointing(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2 * N_TINY_MODELS; variant++) {
        vlorp_dtype dtype = (variant & 1) != 0 ? VLORP_BF16 : VLORP_F32;
        const char *path = tiny_models[variant / 2].folder;
        vlorpi_model_usage usage = usage_of(false);
        model_fixture *a = model_fixture_open(path, NULL, dtype, &usage);
        usage = usage_of(true);
        model_fixture *b = model_fixture_open(path, NULL, dtype, &usage);
        assert_true(b->activations.peak_bytes < a->activations.peak_bytes);
        examples e;
        make_examples(&e, vlorpi_model_config_of(a->model)->V);
        double loss_a = run(a, &e, 0, 3);
        double loss_b = run(b, &e, 0, 3);
        assert_memory_equal(&loss_a, &loss_b, sizeof loss_a);
        const vlorpi_params *params = vlorpi_model_params(a->model);
        for (int p = 0; p < params->n; p++) {
            size_t n_bytes = (size_t)vlorpi_param_n_elements(&params->items[p]) * sizeof(float);
            assert_memory_equal(a->gradient[p], b->gradient[p], n_bytes);
        }
        model_fixture_close(a);
        model_fixture_close(b);
    }
}

static double loss_only(model_fixture *f, const examples *e)
{
    vlorpi_token_batch batch = fixture_batch(e->ids, e->targets, lengths, N_EXAMPLES);
    vlorp_err err = {0};
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, NULL, &loss, &err));
    fixture_batch_free(&batch);
    return loss;
}

/* Evaluation rounds nothing but the weights, and gives the same bits in a layout for training and in
 * one without backward; bf16 training stays near it, fp32 training equals it. */
static void test_evaluation(void **state)
{
    (void)state;
    double losses[2];
    for (int i = 0; i < 2; i++) {
        vlorp_dtype dtype = i == 0 ? VLORP_F32 : VLORP_BF16;
        vlorpi_model_usage usage = usage_of(true);
        model_fixture *f = model_fixture_open("tests/golden/data/tiny_untied", NULL, dtype, &usage);
        examples e;
        make_examples(&e, vlorpi_model_config_of(f->model)->V);
        double training = run(f, &e, 0, 3);
        losses[i] = loss_only(f, &e);
        model_fixture_close(f);
        ASSERT_BELOW(fabs(training - losses[i]), (dtype == VLORP_F32 ? 0 : 0.01) * losses[i]);
        assert_true(dtype == VLORP_F32 || training != losses[i]);

        usage.backward = false;
        f = model_fixture_open("tests/golden/data/tiny_untied", NULL, dtype, &usage);
        double loss = loss_only(f, &e);
        assert_memory_equal(&loss, &losses[i], sizeof loss);
        model_fixture_close(f);
    }
    ASSERT_BELOW(fabs(losses[1] - losses[0]), 0.02 * losses[0]);
    assert_true(losses[1] != losses[0]);
}

/* bf16 weights and layer inputs move every gradient by little: a buffer used twice would show. */
static void test_bf16_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        vlorpi_model_usage usage = usage_of(true);
        model_fixture *exact = model_fixture_open(tiny_models[i].folder, NULL, VLORP_F32, &usage);
        model_fixture *rounded = model_fixture_open(tiny_models[i].folder, NULL, VLORP_BF16, &usage);
        examples e;
        make_examples(&e, vlorpi_model_config_of(exact->model)->V);
        (void)run(exact, &e, 0, 3);
        (void)run(rounded, &e, 0, 3);
        const vlorpi_params *params = vlorpi_model_params(exact->model);
        for (int p = 0; p < params->n; p++) {
            int64_t n = vlorpi_param_n_elements(&params->items[p]);
            ASSERT_BELOW(relative_error(rounded->gradient[p], exact->gradient[p], n), 0.1);
        }
        model_fixture_close(exact);
        model_fixture_close(rounded);
    }
}

static void test_steady_state(void **state)
{
    (void)state;
    vlorpi_model_usage usage = usage_of(true);
    model_fixture *f = model_fixture_open("tests/golden/data/tiny_untied", NULL, VLORP_BF16, &usage);
    examples e;
    make_examples(&e, vlorpi_model_config_of(f->model)->V);
    uint64_t before = f->mem.n_allocations;
    double first = run(f, &e, 0, 3);
    float **gradients = copy_gradients(f);
    (void)run(f, &e, 1, 2);
    model_fixture_clear(f);
    double second = run(f, &e, 0, 3);
    assert_int_equal(f->mem.n_allocations, before);
    assert_memory_equal(&first, &second, sizeof first);
    const vlorpi_params *params = vlorpi_model_params(f->model);
    for (int p = 0; p < params->n; p++) {
        size_t n_bytes = (size_t)vlorpi_param_n_elements(&params->items[p]) * sizeof(float);
        assert_memory_equal(gradients[p], f->gradient[p], n_bytes);
    }
    free_gradients(gradients, params->n);
    model_fixture_close(f);
}

static void test_refusals(void **state)
{
    (void)state;
    vlorpi_model_usage usage = usage_of(false);
    model_fixture *f = model_fixture_open("tests/golden/data/tiny_untied", NULL, VLORP_F32, &usage);
    vlorpi_sink sink = model_fixture_sink(f);
    examples e;
    make_examples(&e, 67);
    vlorpi_token_batch batch = fixture_batch(e.ids, e.targets, lengths, N_EXAMPLES);
    vlorp_err err = {0};
    double loss = 1;

    batch.ids[7] = 67;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_SHAPE);
    batch.ids[7] = 0;
    batch.targets[7] = 67;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_SHAPE);
    batch.targets[7] = -1;
    batch.positions[7] = 107;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_LIMIT);
    batch.positions[7] = 7;
    batch.n_tokens++;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_LIMIT);
    batch.n_tokens -= 2;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_ARG);
    batch.n_tokens++;
    assert_int_equal(f->n_calls, 0);

    /* a batch without targets is nothing to do */
    for (int t = 0; t < N_TOKENS; t++) {
        batch.targets[t] = -1;
    }
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err));
    assert_true(loss == 0 && f->n_calls == 0);

    /* a loss that is not finite stops before anything is handed over */
    batch.targets[149] = 3;
    float *norm = vlorpi_model_params(f->model)->items[1].data;
    norm[0] = NAN;
    assert_int_equal(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err), VLORP_E_NUMERIC);
    assert_non_null(strstr(err.text, "149"));
    assert_int_equal(f->n_calls, 0);
    fixture_batch_free(&batch);
    model_fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing),        cmocka_unit_test(test_checkpointing), cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_bf16_gradients), cmocka_unit_test(test_steady_state),  cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
