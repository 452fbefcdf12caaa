#include "checkpoint/put_weight.h"

#include <math.h>
#include <string.h>

#include "model/lora.h"
#include "model/weight.h"

enum { Q8_BLOCK = 32, Q8_BYTES = 2 + Q8_BLOCK, Q8_MAX = 127, F16_INFINITY = 0x7C00 };

/* What one parameter's chunks have in common. */
typedef struct putting {
    const vlorpi_checkpoint_saver *saver;
    const vlorpi_checkpoint_model *model;
    const vlorpi_param *param;
    int index; /* of the parameter */
    vlorpi_stored_form form;
} putting;

static vlorp_status refuse_value(const putting *p, double value, const char *form, vlorp_err *err)
{
    (void)vlorpi_err_set(err, VLORP_E_NUMERIC, "tensor %s: %g is too large for %s", p->param->name, value, form);
    vlorpi_err_hint(err, "store bfloat16 or float32");
    return VLORP_E_NUMERIC;
}

/* A finite weight beyond binary16's range would become infinite. */
static vlorp_status check_f16(const putting *p, const float *values, const uint16_t *halves, int64_t n, vlorp_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        if ((halves[i] & 0x7FFF) == F16_INFINITY && isfinite(values[i])) {
            return refuse_value(p, (double)values[i], "float16", err);
        }
    }
    return VLORP_OK;
}

/* d = largest / 127 as fp16, then round(x / d), by d before it was rounded, as ggml does. */
static vlorp_status put_q8_0(const putting *p, unsigned char *out, const float *values, int64_t n, vlorp_err *err)
{
    const vlorpi_model_kernels *kernels = p->model->kernels->model;
    for (int64_t begin = 0; begin < n; begin += Q8_BLOCK, out += Q8_BYTES) {
        const float *x = values + begin;
        float largest = 0;
        for (int i = 0; i < Q8_BLOCK; i++) {
            if (!isfinite(x[i])) {
                return refuse_value(p, (double)x[i], "q8_0", err);
            }
            largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
        }
        float d = largest / (float)Q8_MAX;
        float inverse = d > 0 ? 1.0f / d : 0.0f;
        uint16_t half;
        kernels->f32_to_f16(&half, &d, 1);
        if (half >= F16_INFINITY) {
            return refuse_value(p, (double)largest, "q8_0", err);
        }
        /* a subnormal d has no finite inverse, and is 0 as fp16 */
        inverse = isfinite(inverse) ? inverse : 0.0f;
        memcpy(out, &half, sizeof half);
        for (int i = 0; i < Q8_BLOCK; i++) {
            out[2 + i] = (unsigned char)(signed char)roundf(x[i] * inverse);
        }
    }
    return VLORP_OK;
}

/* Elements of the parameter in our row order, as fp32. */
static vlorp_status read_piece(const putting *p, float *out, int64_t begin, int64_t n, vlorp_err *err)
{
    const vlorpi_checkpoint_model *model = p->model;
    if (model->read != NULL) {
        VLORP_TRY(model->read(model->read_ctx, out, p->index, begin, n, err));
    } else if (p->param->dtype == VLORP_F32) {
        memcpy(out, (const float *)p->param->data + begin, (size_t)n * sizeof *out);
    } else {
        model->kernels->model->bf16_to_f32(out, (const uint16_t *)p->param->data + begin, n);
    }
    if (model->merged != NULL) {
        vlorpi_model_add_product(model->merged, out, p->index, begin, n);
    }
    return VLORP_OK;
}

/* Elements [begin, begin + n) in the file's row order, into the saver's scratch. */
static vlorp_status read_chunk(const putting *p, int64_t begin, int64_t n, vlorp_err *err)
{
    int64_t width = p->param->m;
    if (p->form.head_rows == 0) {
        return read_piece(p, p->saver->scratch, begin, n, err);
    }
    for (int64_t at = begin; at < begin + n;) {
        int64_t column = at % width;
        int64_t n_piece = width - column < begin + n - at ? width - column : begin + n - at;
        int64_t row = vlorpi_weight_row_from_gguf(at / width, p->form.head_rows);
        VLORP_TRY(read_piece(p, p->saver->scratch + (at - begin), row * width + column, n_piece, err));
        at += n_piece;
    }
    return VLORP_OK;
}

/* n values of scratch as stored.  *bytes: where they are. */
static vlorp_status store_chunk(const putting *p, const void **bytes, int64_t n, vlorp_err *err)
{
    const vlorpi_model_kernels *kernels = p->model->kernels->model;
    const float *values = p->saver->scratch;
    unsigned char *chunk = p->saver->chunk;
    uint16_t *halves = (uint16_t *)(void *)chunk;
    *bytes = chunk;
    switch (p->form.storage) {
    case VLORPI_STORAGE_F32: *bytes = values; return VLORP_OK;
    case VLORPI_STORAGE_BF16: kernels->f32_to_bf16(halves, values, n); return VLORP_OK;
    case VLORPI_STORAGE_F16: kernels->f32_to_f16(halves, values, n); return check_f16(p, values, halves, n, err);
    default: return put_q8_0(p, chunk, values, n, err);
    }
}

static bool stored_as_held(const putting *p)
{
    vlorpi_storage held = p->param->dtype == VLORP_F32 ? VLORPI_STORAGE_F32 : VLORPI_STORAGE_BF16;
    return p->model->read == NULL && p->model->merged == NULL && p->form.head_rows == 0 && p->form.storage == held;
}

vlorp_status vlorpi_put_weight(vlorpi_file_writer *writer, const vlorpi_checkpoint_saver *saver,
                               const vlorpi_checkpoint_model *model, int param, vlorpi_stored_form form,
                               vlorp_err *err)
{
    const vlorpi_param *of = &model->params->items[param];
    const putting p = {.saver = saver, .model = model, .param = of, .index = param, .form = form};
    if (stored_as_held(&p)) {
        return vlorpi_file_writer_put(writer, of->data, vlorpi_param_bytes(of), err);
    }
    int64_t n = vlorpi_param_n_elements(of);
    for (int64_t begin = 0; begin < n; begin += VLORPI_CHUNK_ELEMENTS) {
        int64_t n_chunk = n - begin < VLORPI_CHUNK_ELEMENTS ? n - begin : VLORPI_CHUNK_ELEMENTS;
        const void *bytes = NULL;
        VLORP_TRY(read_chunk(&p, begin, n_chunk, err));
        VLORP_TRY(store_chunk(&p, &bytes, n_chunk, err));
        size_t n_blocks = (size_t)(n_chunk / vlorpi_storage_block_elements(form.storage));
        VLORP_TRY(vlorpi_file_writer_put(writer, bytes, n_blocks * vlorpi_storage_block_bytes(form.storage), err));
    }
    return VLORP_OK;
}
