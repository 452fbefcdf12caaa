/* Filling the weights: from files, or at random.  Tensors are converted in blocks on their way to
 * where they stay, so no second copy ever exists. */
#include <stdatomic.h>

#include <vlorp/rng.h>

#include "base/status.h"
#include "base/threads.h"
#include "model/decoder.h"
#include "model/weight.h"

enum { BLOCK_FLOATS = 1 << 18 }; /* of one item; a multiple of every storage's block */

typedef struct fill {
    vlorpi_model *model;
    vlorpi_param *param;
    float *blocks; /* [n_threads, BLOCK_FLOATS], for weights that are not fp32 */
    /* from a file */
    vlorpi_weight weight;
    atomic_int failed;
    /* at random */
    vlorp_rng rng;
    float std;
} fill;

/* Space to convert in, for all threads; none is needed for fp32. */
static vlorp_status fill_begin(fill *f, vlorpi_model *model, vlorp_err *err)
{
    *f = (fill){.model = model};
    if (model->params.items[0].data == NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "the parameters have no memory yet");
    }
    if (model->dtype == VLORP_F32) {
        return VLORP_OK;
    }
    size_t n_bytes = (size_t)model->ops.exec.n_threads * BLOCK_FLOATS * sizeof(float);
    f->blocks = vlorpi_mem_alloc(model->mem, VLORPI_MEM_WORKSPACE, n_bytes);
    return f->blocks != NULL ? VLORP_OK : vlorpi_mem_fail(model->mem, VLORPI_MEM_WORKSPACE, n_bytes, err);
}

/* Where elements from begin on are made as fp32. */
static float *block_of(const fill *f, int64_t begin, int thread)
{
    return f->blocks != NULL ? f->blocks + (size_t)thread * BLOCK_FLOATS : (float *)f->param->data + begin;
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
    vlorpi_for_each(&f->model->ops.exec, (n + BLOCK_FLOATS - 1) / BLOCK_FLOATS, task, f);
}

static int64_t item_end(const fill *f, int64_t begin)
{
    int64_t n = vlorpi_param_n_elements(f->param);
    return begin + BLOCK_FLOATS < n ? begin + BLOCK_FLOATS : n;
}

static void load_task(void *arg, int64_t item, int thread)
{
    fill *f = arg;
    int64_t begin = item * BLOCK_FLOATS;
    int64_t n = item_end(f, begin) - begin;
    float *block = block_of(f, begin, thread);
    if (vlorpi_weight_read(block, &f->weight, begin, n, NULL) != VLORP_OK) {
        atomic_store(&f->failed, 1);
        return;
    }
    block_store(f, block, begin, n);
}

static vlorp_status load_param(fill *f, const vlorpi_source *source, int index, vlorp_err *err)
{
    f->param = &f->model->params.items[index];
    VLORP_TRY(vlorpi_weight_find(&f->weight, f->model, source, index, err));
    fill_items(f, load_task);
    vlorpi_source_drop(source, f->weight.info);
    if (atomic_load(&f->failed) != 0) {
        const vlorpi_tensor_info *info = f->weight.info;
        (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: tensor %s: weights of type %s cannot be read",
                             vlorpi_source_path(source), info->name, info->storage_name);
        vlorpi_storage_hint(err);
        return VLORP_E_UNSUPPORTED;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_load(vlorpi_model *model, const vlorpi_source *source, vlorp_err *err)
{
    fill f;
    VLORP_TRY(fill_begin(&f, model, err));
    vlorp_status status = VLORP_OK;
    for (int i = 0; i < model->params.n && status == VLORP_OK; i++) {
        status = load_param(&f, source, i, err);
    }
    vlorpi_mem_free(model->mem, f.blocks);
    return status;
}

static void random_task(void *arg, int64_t item, int thread)
{
    fill *f = arg;
    int64_t begin = item * BLOCK_FLOATS;
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
    for (int i = 0; i < model->params.n; i++) {
        f.param = &model->params.items[i];
        f.rng = vlorp_rng_make(seed, vlorp_rng_hash(f.param->name), VLORP_STREAM_INIT, 0);
        fill_items(&f, random_task);
    }
    vlorpi_mem_free(model->mem, f.blocks);
    return VLORP_OK;
}
