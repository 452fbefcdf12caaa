/* Where every buffer of a run lives.  The same code over counting arenas is the plan. */
#include <math.h>

#include "model/decoder.h"

/* Logits of one block of target tokens: large enough that the head's weight, read once per block,
 * is not what the block waits for; small beside what the layers need. */
static const int64_t HEAD_BLOCK_BYTES = (int64_t)32 << 20;
static const int64_t HEAD_BLOCK_BYTES_WITH_ALL = (int64_t)64 << 20; /* where all layers' activations are kept */
enum { HEAD_ROWS_STEP = 48, HEAD_ROWS_MIN = 16 }; /* rows: a multiple of every micro-kernel's height */

typedef void place_fn(vlorpi_model *model, vlorpi_arena *arena);

/* Places groups that are never alive at the same time over one block, as long as the largest. */
static void overlay(vlorpi_model *model, vlorpi_arena *arena, place_fn *const *groups, int n_groups)
{
    size_t n_bytes = 0;
    for (int i = 0; i < n_groups; i++) {
        vlorpi_arena counter = vlorpi_arena_counter();
        groups[i](model, &counter);
        n_bytes = counter.peak_bytes > n_bytes ? counter.peak_bytes : n_bytes;
    }
    int64_t n_items = n_bytes <= (size_t)INT64_MAX ? (int64_t)n_bytes : INT64_MAX;
    unsigned char *block = vlorpi_arena_push(arena, n_items, 1);
    for (int i = 0; block != NULL && i < n_groups; i++) {
        vlorpi_arena part = {.base = block, .capacity_bytes = n_bytes};
        groups[i](model, &part);
    }
}

static float *push_rows(const vlorpi_model *model, vlorpi_arena *arena, int64_t width)
{
    return vlorpi_arena_push(arena, model->usage.max_tokens, (size_t)width * sizeof(float));
}

static void place_norm(vlorpi_model *model, vlorpi_arena *arena)
{
    model->h = push_rows(model, arena, model->config.D);
    model->x_in32 = NULL;
    if (model->usage.backward && model->dtype != VLORP_F32) {
        model->x_in32 = push_rows(model, arena, model->config.D);
    }
}

static void place_act(vlorpi_model *model, vlorpi_arena *arena)
{
    model->act = push_rows(model, arena, model->config.F);
}

static void place_d_o(vlorpi_model *model, vlorpi_arena *arena)
{
    model->d_o = push_rows(model, arena, model->config.H * model->config.E);
}

static void place_d_act(vlorpi_model *model, vlorpi_arena *arena)
{
    model->d_act = push_rows(model, arena, model->config.F);
}

static void place_dh(vlorpi_model *model, vlorpi_arena *arena)
{
    model->dh = push_rows(model, arena, model->config.D);
}

static void place_dqkv(vlorpi_model *model, vlorpi_arena *arena)
{
    model->dq = push_rows(model, arena, model->config.H * model->config.E);
    model->dk = push_rows(model, arena, model->config.H * model->config.E);
    model->dv = push_rows(model, arena, model->config.H * model->config.E);
    if (model->config.arch->qk_norm) {
        model->q_normed = push_rows(model, arena, model->config.H * model->config.E);
        model->k_normed = push_rows(model, arena, model->config.G * model->config.E);
        model->q_rstd = push_rows(model, arena, model->config.H);
        model->k_rstd = push_rows(model, arena, model->config.G);
    }
}

/* What a layer's forward and backward need besides what is kept. */
static void place_scratch(vlorpi_model *model, vlorpi_arena *arena)
{
    static place_fn *const first[] = {place_norm, place_act, place_d_o};
    static place_fn *const second[] = {place_d_act, place_dh, place_dqkv};
    if (model->usage.backward) {
        overlay(model, arena, first, 3);
        overlay(model, arena, second, 3);
    } else {
        place_norm(model, arena);
    }
}

static void place_acts(vlorpi_model *model, vlorpi_arena *arena, vlorpi_layer_acts *acts)
{
    const vlorpi_model_config *c = &model->config;
    bool keep = model->usage.backward;
    *acts = (vlorpi_layer_acts){0};
    acts->q = push_rows(model, arena, c->H * c->E);
    acts->k = push_rows(model, arena, c->G * c->E);
    acts->v = push_rows(model, arena, c->G * c->E);
    acts->o = push_rows(model, arena, c->H * c->E);
    acts->gate = push_rows(model, arena, c->F);
    acts->up = push_rows(model, arena, c->F);
    if (keep) {
        acts->rstd1 = push_rows(model, arena, 1);
        acts->rstd2 = push_rows(model, arena, 1);
        acts->lse = push_rows(model, arena, c->H);
        acts->x_mid = push_rows(model, arena, c->D);
    }
}

/* One set of buffers for all layers, and the scratch beside it. */
static void place_shared_layer(vlorpi_model *model, vlorpi_arena *arena)
{
    vlorpi_layer_acts acts;
    place_acts(model, arena, &acts);
    for (int64_t l = 0; l < model->config.L; l++) {
        model->layers[l].acts = acts;
    }
    place_scratch(model, arena);
    if (!model->usage.backward) {
        model->act = acts.gate;
    }
}

static void place_head(vlorpi_model *model, vlorpi_arena *arena)
{
    int64_t n = model->head_rows;
    model->head_x = vlorpi_arena_push_f32(arena, n * model->config.D);
    model->head_h = vlorpi_arena_push_f32(arena, n * model->config.D);
    model->head_dh = model->usage.backward ? vlorpi_arena_push_f32(arena, n * model->config.D) : NULL;
    model->logits = vlorpi_arena_push_f32(arena, n * model->config.V);
    model->losses = vlorpi_arena_push_f32(arena, n);
    model->head_rstd = vlorpi_arena_push_f32(arena, n);
}

static void layout_activations(vlorpi_model *model, vlorpi_arena *arena)
{
    static place_fn *const shared[] = {place_head, place_shared_layer};
    static place_fn *const apart[] = {place_head, place_scratch};
    const vlorpi_model_config *c = &model->config;
    const vlorpi_model_usage *usage = &model->usage;
    bool keep_all = usage->backward && !usage->activation_checkpointing;
    model->x = push_rows(model, arena, c->D);
    for (int64_t l = 0; l < c->L; l++) {
        vlorpi_layer *layer = &model->layers[l];
        layer->x_in = NULL;
        if (usage->backward) {
            layer->x_in = vlorpi_arena_push(arena, usage->max_tokens,
                                            (size_t)c->D * (model->dtype == VLORP_F32 ? 4 : 2));
        }
        if (keep_all) {
            place_acts(model, arena, &layer->acts);
        }
        layer->cache_k = vlorpi_arena_push(arena, usage->cache_tokens, (size_t)(c->G * c->E) * sizeof(float));
        layer->cache_v = vlorpi_arena_push(arena, usage->cache_tokens, (size_t)(c->G * c->E) * sizeof(float));
    }
    vlorpi_model_place_lora(model, arena);
    overlay(model, arena, keep_all ? apart : shared, 2);
}

static int64_t max2(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Angles in double: at position 10^5 fp32 would lose three digits of them. */
static void fill_rope(vlorpi_model *model, int64_t n_positions)
{
    int64_t half = model->config.E / 2;
    for (int64_t i = 0; i < half; i++) {
        double frequency = vlorpi_rope_frequency(&model->config.rope, model->config.E, i);
        for (int64_t p = 0; p < n_positions; p++) {
            double angle = (double)p * frequency;
            model->rope_cos[p * half + i] = (float)cos(angle);
            model->rope_sin[p * half + i] = (float)sin(angle);
        }
    }
}

static void layout_workspace(vlorpi_model *model, vlorpi_arena *arena)
{
    const vlorpi_model_config *c = &model->config;
    const vlorpi_model_usage *usage = &model->usage;
    int64_t widest = max2(max2(c->D, c->F), c->H * c->E);
    int n_threads = model->ops.exec.n_threads;
    bool vector_grads = usage->backward && !vlorpi_model_is_frozen(model);

    model->rope_cos = vlorpi_arena_push(arena, usage->max_positions, (size_t)(c->E / 2) * sizeof(float));
    model->rope_sin = vlorpi_arena_push(arena, usage->max_positions, (size_t)(c->E / 2) * sizeof(float));
    int64_t widest_norm = c->arch->qk_norm ? max2(c->D, c->E) : c->D;
    model->norm_w = vlorpi_arena_push_f32(arena, model->dtype == VLORP_F32 ? 0 : widest_norm);
    model->vector_grad = vlorpi_arena_push_f32(arena, vector_grads ? widest : 0);
    bool biases = vlorpi_model_has_biases(c);
    model->bias_w = vlorpi_arena_push_f32(arena, biases && model->dtype != VLORP_F32 ? widest : 0);
    model->ones = vlorpi_arena_push_f32(arena, biases && vector_grads ? usage->max_tokens : 0);
    model->target_rows = vlorpi_arena_push(arena, usage->max_tokens, sizeof(int32_t));
    model->target_ids = vlorpi_arena_push(arena, usage->max_tokens, sizeof(int32_t));
    int64_t n_step = usage->cache_tokens > 0 ? usage->max_tokens : 0;
    int64_t n_segments = usage->cache_tokens > 0 ? usage->max_segments : 0;
    model->step_ids = vlorpi_arena_push(arena, n_step, sizeof(int32_t));
    model->step_positions = vlorpi_arena_push(arena, n_step, sizeof(int32_t));
    model->step_rows = vlorpi_arena_push(arena, n_step, sizeof(int32_t));
    model->step_begin = vlorpi_arena_push(arena, n_segments > 0 ? n_segments + 1 : 0, sizeof(int32_t));
    model->step_keys = vlorpi_arena_push(arena, n_segments, sizeof *model->step_keys);

    model->ops.gemm.scratch = vlorpi_arena_push(arena, (int64_t)vlorpi_gemm_scratch_bytes(n_threads), 1);
    /* each thread's scratch starts on a cache line of its own */
    int64_t stride = (model->ops.kernels->attention_scratch_floats(c->E) + 15) / 16 * 16;
    model->ops.attention_scratch_stride = stride;
    model->ops.attention_scratch = vlorpi_arena_push_f32(arena, stride * n_threads);

    if (arena->base != NULL) {
        fill_rope(model, usage->max_positions);
        for (int64_t t = 0; model->ones != NULL && t < usage->max_tokens; t++) {
            model->ones[t] = 1.0f;
        }
    }
}

void vlorpi_model_layout(vlorpi_model *model, const vlorpi_model_usage *usage, vlorpi_arena *activations,
                         vlorpi_arena *workspace)
{
    model->usage = *usage;
    model->n_extended = 0;
    bool with_all = usage->backward && !usage->activation_checkpointing;
    int64_t n_bytes = with_all ? HEAD_BLOCK_BYTES_WITH_ALL : HEAD_BLOCK_BYTES;
    int64_t rows = n_bytes / (model->config.V * (int64_t)sizeof(float));
    rows = rows >= HEAD_ROWS_STEP ? rows / HEAD_ROWS_STEP * HEAD_ROWS_STEP : max2(rows, HEAD_ROWS_MIN);
    model->head_rows = rows < usage->max_tokens ? rows : usage->max_tokens;
    layout_activations(model, activations);
    layout_workspace(model, workspace);
    model->ready = activations->base != NULL && workspace->base != NULL;
}
