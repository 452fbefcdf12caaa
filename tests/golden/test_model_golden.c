/* Loss, logits and every gradient against PyTorch in float64: stories260K from both of its forms, and
 * tiny random models whose sizes are odd. */
#include "golden/tiny_models.h"
#include "model_fixture.h"

static const char *const levels[] = {"ref", NULL}; /* NULL: the fastest of this CPU */

typedef struct stories {
    int32_t *ids, *targets;
    int64_t n;
    double loss;
    json_t *golden;
} stories;

static stories stories_open(void)
{
    vlorp_err err = {0};
    stories s = {0};
    ASSERT_OK(vlorpi_json_load(&s.golden, shared_data("models/stories260K-hf/golden.json"), &err));
    s.ids = fixture_ids(s.golden, "ids", &s.n);
    s.targets = malloc((size_t)s.n * sizeof *s.targets);
    assert_non_null(s.targets);
    for (int64_t t = 0; t < s.n; t++) {
        s.targets[t] = t + 1 < s.n ? s.ids[t + 1] : -1;
    }
    s.loss = json_real_value(json_object_get(s.golden, "loss"));
    return s;
}

static void stories_close(stories *s)
{
    free(s->ids);
    free(s->targets);
    json_decref(s->golden);
}

static const char *stories_path(int gguf)
{
    return shared_data(gguf != 0 ? "models/stories260K-gguf/stories260K.gguf" : "models/stories260K-hf");
}

static void test_stories(void **state)
{
    (void)state;
    stories s = stories_open();
    for (int variant = 0; variant < 8; variant++) {
        int gguf = variant & 1;
        vlorpi_model_usage usage = {.max_tokens = s.n + 5,
                                    .max_segments = 2,
                                    .max_positions = s.n,
                                    .backward = true,
                                    .activation_checkpointing = (variant & 2) != 0};
        model_fixture *f = model_fixture_open(stories_path(gguf), levels[variant >> 2], VLORP_F32, &usage);
        vlorpi_token_batch batch = fixture_batch(s.ids, s.targets, &s.n, 1);
        vlorpi_sink sink = model_fixture_sink(f);
        vlorp_err err = {0};
        double loss = 0;
        ASSERT_OK(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err));
        double n_targets = (double)batch.n_targets;
        print_message("variant %d: loss %.9g, off by %.2g\n", variant, loss / n_targets, loss / n_targets - s.loss);
        ASSERT_BELOW(fabs(loss / n_targets - s.loss), 1e-5);
        fixture_tensors expected =
            fixture_tensors_open(&f->mem, shared_data("models/stories260K-hf/golden_grads.safetensors"));
        fixture_check_gradients(f, &expected, "", 1.0 / n_targets, 1e-4);
        fixture_tensors_close(&expected);
        fixture_batch_free(&batch);
        model_fixture_close(f);
    }
    stories_close(&s);
}

static void test_stories_logits(void **state)
{
    (void)state;
    stories s = stories_open();
    vlorpi_model_usage usage = {.max_tokens = s.n, .max_segments = 1, .max_positions = s.n};
    model_fixture *f = model_fixture_open(stories_path(0), NULL, VLORP_F32, &usage);
    vlorpi_token_batch batch = fixture_batch(s.ids, s.targets, &s.n, 1);
    float logits[512];
    int32_t last = (int32_t)s.n - 1;
    vlorp_err err = {0};
    ASSERT_OK(vlorpi_model_logits(f->model, &batch, &last, 1, logits, &err));
    const json_t *expected = json_object_get(s.golden, "last_logits");
    for (size_t i = 0; i < 512; i++) {
        ASSERT_BELOW(fabs(logits[i] - json_real_value(json_array_get(expected, i))), 1e-4);
    }
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, NULL, &loss, &err));
    ASSERT_BELOW(fabs(loss / (double)batch.n_targets - s.loss), 1e-5);
    fixture_batch_free(&batch);
    model_fixture_close(f);
    stories_close(&s);
}

/* Several examples in one batch against PyTorch on each alone: no padding, no leak between them. */
static void check_tiny(const char *folder, const char *model, const char *level, bool checkpointing)
{
    char path[256];
    vlorp_err err = {0};
    json_t *golden = NULL;
    (void)snprintf(path, sizeof path, "%s/golden.json", folder);
    ASSERT_OK(vlorpi_json_load(&golden, path, &err));
    int64_t n = 0;
    int64_t n_segments = 0;
    int32_t *ids = fixture_ids(golden, "ids", &n);
    int32_t *targets = fixture_ids(golden, "targets", &n);
    int32_t *lengths32 = fixture_ids(golden, "lengths", &n_segments);
    int64_t lengths[8] = {0};
    assert_true(n_segments <= 8);
    for (int64_t i = 0; i < n_segments; i++) {
        lengths[i] = lengths32[i];
    }
    vlorpi_token_batch batch = fixture_batch(ids, targets, lengths, n_segments);
    vlorpi_model_usage usage = {.max_tokens = n,
                                .max_segments = n_segments,
                                .max_positions = n,
                                .backward = true,
                                .activation_checkpointing = checkpointing};
    model_fixture *f = model_fixture_open(model, level, VLORP_F32, &usage);
    vlorpi_sink sink = model_fixture_sink(f);
    double loss = 0;
    ASSERT_OK(vlorpi_model_loss(f->model, &batch, &sink, &loss, &err));
    double expected_loss = json_real_value(json_object_get(golden, "loss_sum"));
    ASSERT_BELOW(fabs(loss - expected_loss), 1e-5 * expected_loss);
    (void)snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    fixture_tensors expected = fixture_tensors_open(&f->mem, path);
    fixture_check_gradients(f, &expected, "grad.", 1.0, 1e-4);

    int64_t n_logits = 0;
    float *expected_logits = fixture_tensor(&expected, "", "logits", &n_logits);
    float *logits = malloc((size_t)n_logits * sizeof *logits);
    int32_t *rows = malloc((size_t)n * sizeof *rows);
    assert_true(logits != NULL && rows != NULL);
    for (int32_t t = 0; t < n; t++) {
        rows[t] = t;
    }
    ASSERT_OK(vlorpi_model_logits(f->model, &batch, rows, n, logits, &err));
    ASSERT_BELOW(relative_error(logits, expected_logits, n_logits), 1e-5);
    free(rows);
    free(logits);
    free(expected_logits);
    fixture_tensors_close(&expected);
    model_fixture_close(f);
    fixture_batch_free(&batch);
    free(ids);
    free(targets);
    free(lengths32);
    json_decref(golden);
}

static void test_tiny(void **state)
{
    (void)state;
    for (int i = 0; i < N_TINY_MODELS; i++) {
        const tiny_model *t = &tiny_models[i];
        for (int variant = 0; variant < 4; variant++) {
            print_message("%s\n", t->folder);
            check_tiny(t->folder, t->folder, levels[variant & 1], (variant & 2) != 0);
        }
        if (t->gguf != NULL) {
            check_tiny(t->folder, t->gguf, NULL, false);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_stories_logits),
        cmocka_unit_test(test_tiny),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
