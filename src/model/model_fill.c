/* Filling the weights: from files, or at random.  Tensors are converted in blocks on their way to
 * where they stay, so no second copy ever exists. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <vlorp/rng.h>

#include "base/status.h"
#include "base/threads.h"
#include "model/decoder.h"

enum { BLOCK_FLOATS = 1 << 18 }; /* of one item; a multiple of every storage's block */

typedef struct fill {
    vlorpi_model *model;
    vlorpi_param *param;
    float *blocks;        /* [n_threads, block_floats], for weights that are not fp32 */
    int64_t block_floats;
    int64_t item_floats;  /* of the present tensor */
    /* from a file */
    const vlorpi_tensor_info *info;
    int64_t head_rows;    /* > 0: rows come in GGUF's rotary order, heads of so many rows */
    atomic_int failed;
    /* at random */
    vlorp_rng rng;
    float std;
} fill;

/* Space to convert in, for all threads; none is needed for fp32. */
static vlorp_status fill_begin(fill *f, vlorpi_model *model, vlorp_err *err)
{
    *f = (fill){.model = model};
    f->block_floats = model->config.D > BLOCK_FLOATS ? model->config.D : BLOCK_FLOATS;
    if (model->params.items[0].data == NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "the parameters have no memory yet");
    }
    if (model->dtype == VLORP_F32) {
        return VLORP_OK;
    }
    size_t n_bytes = (size_t)model->ops.exec.n_threads * (size_t)f->block_floats * sizeof(float);
    f->blocks = vlorpi_mem_alloc(model->mem, VLORPI_MEM_WORKSPACE, n_bytes);
    return f->blocks != NULL ? VLORP_OK : vlorpi_mem_fail(model->mem, VLORPI_MEM_WORKSPACE, n_bytes, err);
}

/* Where elements from begin on are made as fp32. */
static float *block_of(const fill *f, int64_t begin, int thread)
{
    return f->blocks != NULL ? f->blocks + thread * f->block_floats : (float *)f->param->data + begin;
}

/* Stores a block that was made apart. */
static void block_store(const fill *f, const float *block, int64_t begin, int64_t n)
{
    if (f->blocks != NULL) {
        f->model->ops.kernels->f32_to_bf16((uint16_t *)f->param->data + begin, block, n);
    }
}

static void fill_items(fill *f, vlorp_task *task)
{
    int64_t n = vlorpi_param_n_elements(f->param);
    vlorpi_for_each(&f->model->ops.exec, (n + f->item_floats - 1) / f->item_floats, task, f);
}

static int64_t item_end(const fill *f, int64_t begin)
{
    int64_t n = vlorpi_param_n_elements(f->param);
    return begin + f->item_floats < n ? begin + f->item_floats : n;
}

/* GGUF interleaves the two halves that rotary positions turn together: within a head, row 2i + a of
 * the file is our row a * E/2 + i. */
static int64_t file_row(int64_t row, int64_t head_rows)
{
    int64_t in_head = row % head_rows;
    int64_t half = head_rows / 2;
    return row - in_head + in_head % half * 2 + in_head / half;
}

static void load_task(void *arg, int64_t item, int thread)
{
    fill *f = arg;
    int64_t begin = item * f->item_floats;
    int64_t n = item_end(f, begin) - begin;
    float *block = block_of(f, begin, thread);
    vlorp_status status = VLORP_OK;
    if (f->head_rows == 0) {
        status = vlorpi_tensor_read_f32(block, f->info, begin, n, NULL);
    }
    for (int64_t at = 0; f->head_rows > 0 && at < n && status == VLORP_OK; at += f->param->m) {
        int64_t row = file_row((begin + at) / f->param->m, f->head_rows);
        status = vlorpi_tensor_read_f32(block + at, f->info, row * f->param->m, f->param->m, NULL);
    }
    if (status != VLORP_OK) {
        atomic_store(&f->failed, 1);
        return;
    }
    block_store(f, block, begin, n);
}

/* Writes "[5632, 2048]". */
static void shape_text(char *text, size_t n_bytes, const int64_t *shape, int n_dims)
{
    size_t used = 0;
    for (int i = 0; i < n_dims && used < n_bytes; i++) {
        int n = snprintf(text + used, n_bytes - used, "%s%lld", i == 0 ? "[" : ", ", (long long)shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used + 1 < n_bytes) {
        memcpy(text + used, "]", 2);
    }
}

/* Finds the slot's tensor in the source and checks its shape. */
static vlorp_status find_tensor(fill *f, const vlorpi_source *source, vlorpi_slot slot, int layer, vlorp_err *err)
{
    char name[VLORPI_NAME_BYTES];
    bool gguf = vlorpi_source_kind_of(source) == VLORPI_SOURCE_GGUF;
    if (gguf) {
        vlorpi_slot_name_gguf(name, slot, layer);
    } else {
        vlorpi_slot_name_hf(name, slot, layer);
    }
    const vlorpi_tensor_info *info = vlorpi_source_find(source, name);
    if (info == NULL) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s is missing", vlorpi_source_path(source), name);
    }
    const vlorpi_param *p = f->param;
    const int64_t wanted[2] = {p->n, p->m};
    if (info->n_dims != p->n_dims || info->shape[0] != wanted[0] ||
        (p->n_dims == 2 && info->shape[1] != wanted[1])) {
        char has[96];
        char needs[64];
        shape_text(has, sizeof has, info->shape, info->n_dims);
        shape_text(needs, sizeof needs, wanted, p->n_dims);
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s has the shape %s, the configuration needs %s",
                   vlorpi_source_path(source), name, has, needs);
    }
    f->info = info;
    bool rotated = slot == VLORPI_SLOT_Q || slot == VLORPI_SLOT_Q_BIAS || slot == VLORPI_SLOT_K ||
                   slot == VLORPI_SLOT_K_BIAS;
    f->head_rows = gguf && rotated && f->model->config.arch->gguf_permutes_qk ? f->model->config.E : 0;
    return VLORP_OK;
}

static vlorp_status load_slot(fill *f, const vlorpi_source *source, vlorpi_slot slot, int layer, vlorp_err *err)
{
    int index = vlorpi_model_param_at(f->model, slot, layer);
    if (index < 0) {
        return VLORP_OK;
    }
    f->param = &f->model->params.items[index];
    VLORP_TRY(find_tensor(f, source, slot, layer, err));
    f->item_floats = BLOCK_FLOATS;
    if (f->head_rows > 0) {
        int64_t rows = BLOCK_FLOATS / f->param->m;
        f->item_floats = (rows > 0 ? rows : 1) * f->param->m;
    }
    fill_items(f, load_task);
    vlorpi_source_drop(source, f->info);
    if (atomic_load(&f->failed) != 0) {
        (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: tensor %s: weights of type %s cannot be read",
                             vlorpi_source_path(source), f->info->name, f->info->storage_name);
        vlorpi_storage_hint(err);
        return VLORP_E_UNSUPPORTED;
    }
    return VLORP_OK;
}

static vlorp_status load_all(fill *f, const vlorpi_source *source, vlorp_err *err)
{
    VLORP_TRY(load_slot(f, source, VLORPI_SLOT_EMBED, -1, err));
    for (int l = 0; l < (int)f->model->config.L; l++) {
        for (int slot = 0; slot < VLORPI_SLOT_N_LAYER; slot++) {
            VLORP_TRY(load_slot(f, source, (vlorpi_slot)slot, l, err));
        }
    }
    VLORP_TRY(load_slot(f, source, VLORPI_SLOT_FINAL_NORM, -1, err));
    return load_slot(f, source, VLORPI_SLOT_HEAD, -1, err);
}

vlorp_status vlorpi_model_load(vlorpi_model *model, const vlorpi_source *source, vlorp_err *err)
{
    fill f;
    VLORP_TRY(fill_begin(&f, model, err));
    vlorp_status status = load_all(&f, source, err);
    vlorpi_mem_free(model->mem, f.blocks);
    return status;
}

static void random_task(void *arg, int64_t item, int thread)
{
    fill *f = arg;
    int64_t begin = item * f->item_floats;
    int64_t n = item_end(f, begin) - begin;
    float *block = block_of(f, begin, thread);
    if (f->param->role == VLORPI_ROLE_NORM || f->param->role == VLORPI_ROLE_BIAS) {
        for (int64_t i = 0; i < n; i++) {
            block[i] = f->param->role == VLORPI_ROLE_NORM ? 1.0f : 0.0f;
        }
    } else {
        vlorp_rng_normals(block, &f->rng, (uint64_t)begin, n);
        for (int64_t i = 0; i < n; i++) {
            block[i] *= f->std;
        }
    }
    block_store(f, block, begin, n);
}

vlorp_status vlorpi_model_init_random(vlorpi_model *model, uint64_t seed, vlorp_err *err)
{
    fill f;
    VLORP_TRY(fill_begin(&f, model, err));
    f.std = (float)model->config.init_std;
    f.item_floats = BLOCK_FLOATS;
    for (int i = 0; i < model->params.n; i++) {
        f.param = &model->params.items[i];
        f.rng = vlorp_rng_make(seed, vlorp_rng_hash(f.param->name), VLORP_STREAM_INIT, 0);
        fill_items(&f, random_task);
    }
    vlorpi_mem_free(model->mem, f.blocks);
    return VLORP_OK;
}
