/* model_fixture.h - a model loaded and laid out for a test, and a sink that forms whole gradients. */
#ifndef VLORP_TESTS_MODEL_FIXTURE_H
#define VLORP_TESTS_MODEL_FIXTURE_H

#include "support.h"

#include "base/threads.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "model/lora.h"

typedef struct model_fixture {
    vlorpi_mem mem;
    vlorp_exec exec;
    vlorpi_source *source;
    vlorpi_model *model;
    vlorpi_arena weights, activations, workspace;
    float **gradient; /* of each parameter that trains, summed by the sink */
    int64_t n_calls;  /* of the sink */
} model_fixture;

/* Opens path and lays the model out over arenas of the planned sizes; weights are loaded, or random
 * where the source is a config.json alone.  lora: adapters, drawn and with B = 0; NULL: none. */
static inline model_fixture *model_fixture_open_lora(const char *path, const char *level, vlorp_dtype dtype,
                                                     const vlorpi_model_usage *usage, const vlorpi_lora *lora)
{
    vlorp_err err = {0};
    model_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    vlorpi_mem_init(&f->mem);
    f->exec = vlorpi_threads_exec(2);
    const vlorpi_kernels *kernels = vlorpi_kernels_select(level);
    assert_non_null(kernels);
    bool has_weights = strstr(path, "config.json") == NULL;
    ASSERT_OK(vlorpi_source_open(&f->source, &f->mem, path, has_weights, &err));
    vlorpi_model_config config;
    ASSERT_OK(vlorpi_model_config_load(&config, f->source, &err));
    ASSERT_OK(vlorpi_model_create(&f->model, &f->mem, kernels, &f->exec, &config, dtype, &err));
    if (lora != NULL) {
        ASSERT_OK(vlorpi_model_add_lora(f->model, lora, NULL, &err));
    }

    vlorpi_arena plan[3] = {vlorpi_arena_counter(), vlorpi_arena_counter(), vlorpi_arena_counter()};
    vlorpi_model_layout_weights(f->model, &plan[0]);
    vlorpi_model_layout(f->model, usage, &plan[1], &plan[2]);
    ASSERT_OK(vlorpi_arena_init(&f->weights, &f->mem, VLORPI_MEM_WEIGHTS, plan[0].peak_bytes, &err));
    ASSERT_OK(vlorpi_arena_init(&f->activations, &f->mem, VLORPI_MEM_ACTIVATIONS, plan[1].peak_bytes, &err));
    ASSERT_OK(vlorpi_arena_init(&f->workspace, &f->mem, VLORPI_MEM_WORKSPACE, plan[2].peak_bytes, &err));
    vlorpi_model_layout_weights(f->model, &f->weights);
    vlorpi_model_layout(f->model, usage, &f->activations, &f->workspace);
    assert_int_equal(f->activations.peak_bytes, plan[1].peak_bytes);
    assert_int_equal(f->workspace.peak_bytes, plan[2].peak_bytes);
#if !defined(__SANITIZE_ADDRESS__)
    /* all ones are a NaN in fp32 and bf16: a read of what was never written shows in the result */
    memset(f->activations.base, 0xFF, f->activations.capacity_bytes);
#endif
    ASSERT_OK(has_weights ? vlorpi_model_load(f->model, f->source, &err) : vlorpi_model_init_random(f->model, 5, &err));
    ASSERT_OK(vlorpi_model_init_lora(f->model, 5, &err));

    const vlorpi_params *params = vlorpi_model_trained(f->model);
    f->gradient = calloc((size_t)params->n, sizeof *f->gradient);
    assert_non_null(f->gradient);
    for (int i = 0; i < params->n; i++) {
        f->gradient[i] = calloc((size_t)vlorpi_param_n_elements(&params->items[i]), sizeof(float));
        assert_non_null(f->gradient[i]);
    }
    return f;
}

static inline model_fixture *model_fixture_open(const char *path, const char *level, vlorp_dtype dtype,
                                                const vlorpi_model_usage *usage)
{
    return model_fixture_open_lora(path, level, dtype, usage, NULL);
}

static inline void model_fixture_clear(model_fixture *f)
{
    const vlorpi_params *params = vlorpi_model_trained(f->model);
    for (int i = 0; i < params->n; i++) {
        memset(f->gradient[i], 0, (size_t)vlorpi_param_n_elements(&params->items[i]) * sizeof(float));
    }
    f->n_calls = 0;
}

static inline void model_fixture_close(model_fixture *f)
{
    for (int i = 0; i < vlorpi_model_trained(f->model)->n; i++) {
        free(f->gradient[i]);
    }
    free(f->gradient);
    vlorpi_arena_deinit(&f->weights, &f->mem);
    vlorpi_arena_deinit(&f->activations, &f->mem);
    vlorpi_arena_deinit(&f->workspace, &f->mem);
    vlorpi_model_free(f->model);
    vlorpi_source_close(f->source);
    assert_int_equal(vlorpi_mem_now(&f->mem).total_bytes, 0);
    free(f);
}

static inline vlorp_status fixture_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x,
                                          int64_t ldx, int64_t n_tokens, vlorp_err *err)
{
    (void)err;
    model_fixture *f = ctx;
    const vlorpi_param *p = &vlorpi_model_trained(f->model)->items[param];
    f->n_calls++;
    for (int64_t t = 0; t < n_tokens; t++) {
        for (int64_t i = 0; i < p->n; i++) {
            float d = dy[t * ldy + i];
            float *row = f->gradient[param] + i * p->m;
            for (int64_t j = 0; j < p->m; j++) {
                row[j] += d * x[t * ldx + j];
            }
        }
    }
    return VLORP_OK;
}

static inline vlorp_status fixture_rows(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens,
                                        vlorp_err *err)
{
    (void)err;
    model_fixture *f = ctx;
    const vlorpi_param *p = &vlorpi_model_trained(f->model)->items[param];
    f->n_calls++;
    for (int64_t t = 0; t < n_tokens; t++) {
        for (int64_t j = 0; j < p->m; j++) {
            f->gradient[param][ids[t] * p->m + j] += dy[t * p->m + j];
        }
    }
    return VLORP_OK;
}

static inline vlorp_status fixture_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    (void)err;
    model_fixture *f = ctx;
    f->n_calls++;
    for (int64_t i = 0; i < vlorpi_model_trained(f->model)->items[param].n; i++) {
        f->gradient[param][i] += dw[i];
    }
    return VLORP_OK;
}

static inline vlorpi_sink model_fixture_sink(model_fixture *f)
{
    return (vlorpi_sink){.ctx = f, .linear = fixture_linear, .rows = fixture_rows, .vector = fixture_vector};
}

/* A batch of examples; freed with fixture_batch_free. */
static inline vlorpi_token_batch fixture_batch(const int32_t *ids, const int32_t *targets, const int64_t *lengths,
                                               int64_t n_segments)
{
    vlorpi_token_batch b = {.n_segments = n_segments, .max_segments = n_segments};
    for (int64_t s = 0; s < n_segments; s++) {
        b.n_tokens += lengths[s];
    }
    b.max_tokens = b.n_tokens;
    size_t n_bytes = (size_t)b.n_tokens * sizeof(int32_t);
    b.ids = malloc(n_bytes);
    b.targets = malloc(n_bytes);
    b.positions = malloc(n_bytes);
    b.segment_begin = calloc((size_t)n_segments + 1, sizeof(int32_t));
    assert_true(b.ids != NULL && b.targets != NULL && b.positions != NULL && b.segment_begin != NULL);
    memcpy(b.ids, ids, n_bytes);
    memcpy(b.targets, targets, n_bytes);
    int32_t at = 0;
    for (int64_t s = 0; s < n_segments; s++) {
        b.segment_begin[s] = at;
        for (int32_t i = 0; i < lengths[s]; i++, at++) {
            b.positions[at] = i;
            b.n_targets += targets[at] >= 0;
        }
    }
    b.segment_begin[n_segments] = at;
    return b;
}

static inline void fixture_batch_free(vlorpi_token_batch *b)
{
    free(b->ids);
    free(b->targets);
    free(b->positions);
    free(b->segment_begin);
}

/* An array of integers of a JSON object; freed by the caller. */
static inline int32_t *fixture_ids(const json_t *object, const char *field, int64_t *n)
{
    const json_t *array = json_object_get(object, field);
    assert_true(json_is_array(array));
    *n = (int64_t)json_array_size(array);
    int32_t *ids = malloc((size_t)*n * sizeof *ids);
    assert_non_null(ids);
    for (int64_t i = 0; i < *n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return ids;
}

/* A safetensors file held open. */
typedef struct fixture_tensors {
    vlorpi_mem *mem;
    vlorpi_mapped_file mapped;
    vlorpi_safetensors *file;
} fixture_tensors;

static inline fixture_tensors fixture_tensors_open(vlorpi_mem *mem, const char *path)
{
    vlorp_err err = {0};
    fixture_tensors t = {.mem = mem};
    ASSERT_OK(vlorpi_mapped_file_open(&t.mapped, path, &err));
    ASSERT_OK(vlorpi_safetensors_parse(&t.file, mem, t.mapped.bytes, t.mapped.n_bytes, path, &err));
    return t;
}

static inline void fixture_tensors_close(fixture_tensors *t)
{
    vlorpi_safetensors_close(t->file);
    vlorpi_mapped_file_close(&t->mapped);
}

/* The values of a tensor, which must exist; freed by the caller. */
static inline float *fixture_tensor(const fixture_tensors *t, const char *prefix, const char *name, int64_t *n)
{
    vlorp_err err = {0};
    char full[256];
    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    for (int64_t i = 0; i < vlorpi_safetensors_n_tensors(t->file); i++) {
        const vlorpi_tensor_info *info = vlorpi_safetensors_tensor(t->file, i);
        if (strcmp(info->name, full) == 0) {
            *n = info->n_elements;
            float *values = malloc((size_t)*n * sizeof *values);
            assert_non_null(values);
            ASSERT_OK(vlorpi_tensor_read_f32(values, info, 0, *n, &err));
            return values;
        }
    }
    fail_msg("no tensor %s", full);
    return NULL;
}

/* Fails, naming the tensor, unless every gradient times scale is within limit of the file's. */
static inline void fixture_check_gradients(const model_fixture *f, const fixture_tensors *expected,
                                           const char *prefix, double scale, double limit)
{
    const vlorpi_params *params = vlorpi_model_trained(f->model);
    double worst = 0;
    for (int i = 0; i < params->n; i++) {
        int64_t n = 0;
        const vlorpi_param *p = &params->items[i];
        float *values = fixture_tensor(expected, prefix, p->name, &n);
        assert_int_equal(n, vlorpi_param_n_elements(p));
        for (int64_t j = 0; j < n; j++) {
            f->gradient[i][j] = (float)(f->gradient[i][j] * scale);
        }
        double error = relative_error(f->gradient[i], values, n);
        if (!(error <= limit)) {
            fail_msg("gradient of %s: relative error %.3g is not below %.3g", p->name, error, limit);
        }
        worst = error > worst ? error : worst;
        free(values);
    }
    print_message("worst gradient: relative error %.3g\n", worst);
}

#endif
