/* The model's backward against central differences of its own loss, parameter by parameter. */
#include "golden/tiny_models.h"
#include "model_fixture.h"

enum { N_EXAMPLES = 3, N_TOKENS = 34 };

/* A direction with a large share of the gradient, so that the difference of two fp32 losses has
 * digits to spare, and a random share, so that a gradient of the wrong direction shows. */
static void make_direction(float *direction, const float *gradient, int64_t n, uint64_t *random)
{
    double norm = 0;
    double random_norm = 0;
    for (int64_t i = 0; i < n; i++) {
        direction[i] = test_uniform(random);
        norm += (double)gradient[i] * (double)gradient[i];
        random_norm += (double)direction[i] * (double)direction[i];
    }
    for (int64_t i = 0; i < n; i++) {
        direction[i] = (float)(gradient[i] / sqrt(norm) + direction[i] / sqrt(random_norm));
    }
}

static vlorp_status no_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                              int64_t n_tokens, vlorp_err *err)
{
    (void)ctx, (void)param, (void)dy, (void)ldy, (void)x, (void)ldx, (void)n_tokens, (void)err;
    return VLORP_OK;
}

/* drops: only a pass with a sink drops anything, the same every time. */
static double loss_at(model_fixture *f, const vlorpi_token_batch *batch, bool drops, float *w, const float *w0,
                      const float *direction, double step, int64_t n)
{
    vlorp_err err = {0};
    double loss = 0;
    const vlorpi_sink sink = {.linear = no_linear};
    for (int64_t i = 0; i < n; i++) {
        w[i] = (float)(w0[i] + step * direction[i]);
    }
    ASSERT_OK(vlorpi_model_loss(f->model, batch, drops ? &sink : NULL, &loss, &err));
    return loss;
}

/* Fourth-order central difference along a direction against its inner product with the gradient. */
static void check_parameter(model_fixture *f, const vlorpi_token_batch *batch, bool drops, int index,
                            uint64_t *random)
{
    const double h = 0.005; /* in units of the direction, whose length is about 1.4 */
    vlorpi_param *p = &vlorpi_model_trained(f->model)->items[index];
    int64_t n = vlorpi_param_n_elements(p);
    float *direction = malloc((size_t)n * sizeof *direction);
    float *w0 = malloc((size_t)n * sizeof *w0);
    assert_true(direction != NULL && w0 != NULL);
    memcpy(w0, p->data, (size_t)n * sizeof *w0);
    make_direction(direction, f->gradient[index], n, random);
    double product = 0;
    for (int64_t i = 0; i < n; i++) {
        product += (double)direction[i] * (double)f->gradient[index][i];
    }
    static const double steps[] = {1, -1, 2, -2};
    double loss[4];
    for (int i = 0; i < 4; i++) {
        loss[i] = loss_at(f, batch, drops, p->data, w0, direction, steps[i] * h, n);
    }
    double difference = (8 * (loss[0] - loss[1]) - (loss[2] - loss[3])) / (12 * h);
    memcpy(p->data, w0, (size_t)n * sizeof *w0);
    if (!(fabs(difference - product) <= 2e-3 * fabs(difference))) {
        fail_msg("%s: difference quotient %.9g, gradient %.9g", p->name, difference, product);
    }
    free(direction);
    free(w0);
}

/* B begins at zero, where A has no gradient. */
static void fill_b(model_fixture *f, uint64_t *random)
{
    const vlorpi_params *adapters = vlorpi_model_adapters(f->model);
    for (int i = 1; i < adapters->n; i += 2) {
        float *b = adapters->items[i].data;
        for (int64_t e = 0; e < vlorpi_param_n_elements(&adapters->items[i]); e++) {
            b[e] = 0.3f * test_uniform(random);
        }
    }
}

static void check_model(const char *path, const vlorpi_lora *lora, bool checkpointing)
{
    static const int64_t lengths[N_EXAMPLES] = {13, 1, 20};
    vlorpi_model_usage usage = {
        .max_tokens = N_TOKENS, .max_segments = N_EXAMPLES, .max_positions = 20, .backward = true};
    usage.activation_checkpointing = checkpointing;
    model_fixture *f = model_fixture_open_lora(path, NULL, VLORP_F32, &usage, lora);
    uint64_t random = 17;
    fill_b(f, &random);
    vlorpi_model_set_dropout(f->model, 3, 5, 1000);
    int32_t ids[N_TOKENS];
    int32_t targets[N_TOKENS];
    for (int t = 0; t < N_TOKENS; t++) {
        ids[t] = (int32_t)(test_random(&random) % 53);
        targets[t] = t % 5 == 0 ? -1 : (int32_t)(test_random(&random) % 53);
    }
    vlorpi_token_batch batch = fixture_batch(ids, targets, lengths, N_EXAMPLES);
    vlorpi_sink sink = model_fixture_sink(f);
    vlorp_err err = {0};
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err));
    for (int i = 0; i < vlorpi_model_trained(f->model)->n; i++) {
        check_parameter(f, &batch, lora != NULL && lora->dropout > 0, i, &random);
    }
    if (lora != NULL) { /* nothing of what is frozen comes to the sink */
        assert_int_equal(f->n_calls, vlorpi_model_adapters(f->model)->n);
    }
    fixture_batch_free(&batch);
    model_fixture_close(f);
}

static void test_families(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        check_model(tiny_models[i].folder, NULL, false);
    }
}

static void test_adapters(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        vlorpi_lora lora = {.rank = 3, .alpha = 5, .dropout = i % 2 == 0 ? 0 : 0.25, .rank_scaled = i % 3 == 0};
        check_model(tiny_models[i].folder, &lora, i % 4 < 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families), cmocka_unit_test(test_adapters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
