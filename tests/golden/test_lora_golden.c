/* Adapters after twenty steps against PEFT with PyTorch's AdamW (tools/make_lora_golden.py). */
#include "model_fixture.h"

#include <vlorp/optimizer.h>

#include "train/optimizer_sink.h"

enum { MOST_EXAMPLES = 8 };

typedef struct golden {
    json_t *json;
    fixture_tensors tensors;
    int32_t *ids, *targets, *lengths;
    int64_t n_examples;
} golden;

static golden golden_open(vlorpi_mem *mem)
{
    vlorp_err err = {0};
    golden g = {0};
    int64_t n = 0;
    ASSERT_OK(vlorpi_json_load(&g.json, "tests/golden/data/lora/golden.json", &err));
    g.tensors = fixture_tensors_open(mem, "tests/golden/data/lora/golden.safetensors");
    g.ids = fixture_ids(g.json, "ids", &n);
    g.targets = fixture_ids(g.json, "targets", &n);
    g.lengths = fixture_ids(g.json, "lengths", &g.n_examples);
    return g;
}

static void golden_close(golden *g)
{
    fixture_tensors_close(&g->tensors);
    json_decref(g->json);
    free(g->ids);
    free(g->targets);
    free(g->lengths);
}

static double number(const golden *g, const char *field)
{
    const json_t *value = json_object_get(g->json, field);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void set_start(const model_fixture *f, const golden *g)
{
    const vlorpi_params *adapters = vlorpi_model_adapters(f->model);
    for (int i = 0; i < adapters->n; i += 2) { /* B is zero */
        int64_t n = 0;
        float *values = fixture_tensor(&g->tensors, "start.", adapters->items[i].name, &n);
        assert_int_equal(n, vlorpi_param_n_elements(&adapters->items[i]));
        memcpy(adapters->items[i].data, values, (size_t)n * sizeof *values);
        free(values);
    }
}

static vlorp_optimizer *make_optimizer(const model_fixture *f, const golden *g)
{
    vlorp_err err = {0};
    vlorp_optimizer *optimizer;
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    config.adamw_eps = 1e-8f;
    config.max_tokens = 128;
    config.exec = f->exec;
    ASSERT_OK(vlorp_optimizer_create(&optimizer, &config, &err));
    const vlorpi_params *adapters = vlorpi_model_adapters(f->model);
    for (int i = 0; i < adapters->n; i++) {
        int id;
        vlorp_matrix matrix = vlorp_matrix_default();
        matrix.name = adapters->items[i].name;
        matrix.n = adapters->items[i].n;
        matrix.m = adapters->items[i].m;
        matrix.rule = VLORP_RULE_ADAMW;
        matrix.weight_decay = (float)number(g, "weight_decay");
        ASSERT_OK(vlorp_optimizer_add_matrix(optimizer, &matrix, &id, &err));
        ASSERT_OK(vlorp_optimizer_set_weight(optimizer, id, adapters->items[i].data, &err));
    }
    ASSERT_OK(vlorp_optimizer_commit(optimizer, &err));
    return optimizer;
}

static void take_steps(model_fixture *f, const golden *g, const vlorpi_token_batch *batch)
{
    vlorp_err err = {0};
    vlorp_optimizer *optimizer = make_optimizer(f, g);
    vlorpi_gradient_taker taker = {.optimizer = optimizer, .params = vlorpi_model_trained(f->model)};
    vlorpi_sink sink = vlorpi_optimizer_sink(&taker);
    double n_targets = number(g, "n_targets");
    const vlorp_step step = {.lr = number(g, "lr"), .grad_scale = 1 / n_targets};
    const json_t *losses = json_object_get(g->json, "losses");
    assert_int_equal(json_array_size(losses), (int)number(g, "steps"));
    for (size_t s = 0; s < json_array_size(losses); s++) {
        double loss = 0;
        ASSERT_OK(vlorpi_model_loss(f->model, batch, &sink, &loss, &err));
        ASSERT_BELOW(fabs(loss / n_targets - json_number_value(json_array_get(losses, s))), 1e-5);
        ASSERT_OK(vlorp_optimizer_step(optimizer, &step, NULL, &err));
    }
    vlorp_optimizer_free(optimizer);
}

static void compare_end(const model_fixture *f, const golden *g)
{
    double worst = 0;
    const vlorpi_params *adapters = vlorpi_model_adapters(f->model);
    for (int i = 0; i < adapters->n; i++) {
        int64_t n = 0;
        const float *ours = adapters->items[i].data;
        float *theirs = fixture_tensor(&g->tensors, "end.", adapters->items[i].name, &n);
        for (int64_t e = 0; e < n; e++) {
            double error = fabs((double)ours[e] - (double)theirs[e]);
            if (!(error <= 1e-4)) {
                fail_msg("%s, element %lld: %.9g, not %.9g", adapters->items[i].name, (long long)e, (double)ours[e],
                         (double)theirs[e]);
            }
            worst = error > worst ? error : worst;
        }
        free(theirs);
    }
    print_message("worst element of the adapters: %.3g\n", worst);
}

static void twenty_steps(void **state)
{
    (void)state;
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    golden g = golden_open(&mem);
    int64_t lengths[MOST_EXAMPLES];
    assert_in_range(g.n_examples, 1, MOST_EXAMPLES);
    for (int64_t i = 0; i < g.n_examples; i++) {
        lengths[i] = g.lengths[i];
    }
    vlorpi_token_batch batch = fixture_batch(g.ids, g.targets, lengths, g.n_examples);
    assert_int_equal(batch.n_targets, (int)number(&g, "n_targets"));
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        vlorpi_model_usage usage = {.max_tokens = batch.n_tokens, .max_segments = g.n_examples, .max_positions = 64,
                                    .backward = true, .activation_checkpointing = checkpointing == 1};
        const vlorpi_lora lora = {.rank = (int64_t)number(&g, "rank"), .alpha = number(&g, "alpha")};
        model_fixture *f =
            model_fixture_open_lora(shared_data("models/stories260K-hf"), NULL, VLORP_F32, &usage, &lora);
        set_start(f, &g);
        take_steps(f, &g, &batch);
        compare_end(f, &g);
        model_fixture_close(f);
    }
    fixture_batch_free(&batch);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(twenty_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
