#include "checkpoint/save.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/companions.h"
#include "checkpoint/file_writer.h"
#include "checkpoint/new_folder.h"
#include "checkpoint/put_weight.h"
#include "format/safetensors.h"

enum { SHARD_NAME_BYTES = 64 };

/* One save under way. */
typedef struct saving {
    const vlorpi_checkpoint_saver *saver;
    const vlorpi_checkpoint_model *model;
    const vlorpi_new_folder *folder;
    vlorpi_checksums *sums; /* or NULL */
    size_t shard_bytes;
    int n_shards;
} saving;

const char *vlorpi_checkpoint_dtype_name(vlorp_dtype dtype)
{
    return dtype == VLORP_F32 ? "float32" : dtype == VLORP_BF16 ? "bfloat16" : "float16";
}

vlorpi_storage vlorpi_checkpoint_storage(vlorp_dtype dtype)
{
    return dtype == VLORP_F32 ? VLORPI_STORAGE_F32 : dtype == VLORP_BF16 ? VLORPI_STORAGE_BF16 : VLORPI_STORAGE_F16;
}

static vlorpi_tensor_info info_of(const vlorpi_param *param, vlorp_dtype dtype)
{
    return (vlorpi_tensor_info){.name = param->name, .storage = vlorpi_checkpoint_storage(dtype),
                                .n_dims = param->n_dims, .shape = {param->n, param->m}};
}

/* The header of one tensor alone has 40 bytes of frame, and in a joint header its two offsets grow by at most 36
 * digits: the sum bounds the header of any set of them. */
static size_t largest_header(const vlorpi_params *params)
{
    size_t n_header = 64;
    for (int i = 0; i < params->n; i++) {
        vlorpi_tensor_info info = info_of(&params->items[i], VLORP_BF16);
        n_header += vlorpi_safetensors_header(NULL, 0, &info, 1);
    }
    return n_header;
}

void vlorpi_checkpoint_layout(vlorpi_checkpoint_saver *saver, vlorpi_arena *arena, const vlorpi_params *params,
                              const vlorpi_params *other)
{
    size_t n_header = largest_header(params);
    size_t n_other = other != NULL ? largest_header(other) : 0;
    n_header = n_other > n_header ? n_other : n_header;
    *saver = (vlorpi_checkpoint_saver){.header_bytes = n_header, .n_params = params->n};
    saver->n_params = other != NULL && other->n > params->n ? other->n : params->n;
    saver->scratch = vlorpi_arena_push_f32(arena, VLORPI_CHUNK_ELEMENTS);
    saver->chunk = vlorpi_arena_push(arena, VLORPI_CHUNK_BYTES, 1);
    saver->header = vlorpi_arena_push(arena, (int64_t)n_header, 1);
    saver->infos = vlorpi_arena_push(arena, saver->n_params, sizeof *saver->infos);
}

static size_t stored_bytes(const saving *s, int i)
{
    return (size_t)vlorpi_param_n_elements(&s->model->params->items[i]) * (s->model->dtype == VLORP_F32 ? 4 : 2);
}

static size_t weight_bytes(const saving *s)
{
    size_t total_bytes = 0;
    for (int i = 0; i < s->model->params->n; i++) {
        total_bytes += stored_bytes(s, i);
    }
    return total_bytes;
}

/* The parameter after the shard that starts with parameter first: as many as fit, at least one. */
static int shard_end(const saving *s, int first)
{
    size_t n_bytes = 0;
    int end = first;
    while (end < s->model->params->n && (end == first || n_bytes + stored_bytes(s, end) <= s->shard_bytes)) {
        n_bytes += stored_bytes(s, end++);
    }
    return end;
}

static int count_shards(const saving *s)
{
    int n = 0;
    for (int first = 0; first < s->model->params->n; first = shard_end(s, first)) {
        n++;
    }
    return n;
}

static void shard_name(char *out, const saving *s, int shard)
{
    const char *stem = s->model->stem != NULL ? s->model->stem : "model";
    if (s->n_shards <= 1) {
        (void)snprintf(out, SHARD_NAME_BYTES, "%s.safetensors", stem);
    } else {
        (void)snprintf(out, SHARD_NAME_BYTES, "%s-%05d-of-%05d.safetensors", stem, shard + 1, s->n_shards);
    }
}

/* One safetensors file of parameters first .. end-1. */
static vlorp_status write_shard(const saving *s, int shard, int first, int end, vlorp_err *err)
{
    char name[SHARD_NAME_BYTES];
    vlorpi_file_writer writer;
    const vlorpi_checkpoint_saver *saver = s->saver;
    for (int i = first; i < end; i++) {
        saver->infos[i] = info_of(&s->model->params->items[i], s->model->dtype);
    }
    size_t n_header = vlorpi_safetensors_header(saver->header, saver->header_bytes, saver->infos + first, end - first);
    assert(n_header <= saver->header_bytes);
    shard_name(name, s, shard);
    vlorp_status status = vlorpi_file_writer_open(&writer, s->folder->fd, s->folder->place, name, NULL, 0, err);
    if (status == VLORP_OK) {
        status = vlorpi_file_writer_put(&writer, saver->header, n_header, err);
    }
    for (int i = first; i < end && status == VLORP_OK; i++) {
        vlorpi_stored_form form = {.storage = saver->infos[i].storage};
        status = vlorpi_put_weight(&writer, saver, s->model, i, form, err);
    }
    VLORP_TRY(vlorpi_file_writer_close(&writer, status, err));
    return vlorpi_checksums_add(s->sums, &writer, err);
}

/* `"NAME": "SHARD"`; names are those of our tables and hold nothing that JSON escapes. */
static vlorp_status write_index_line(const saving *s, vlorpi_file_writer *writer, int i, int shard, vlorp_err *err)
{
    char name[SHARD_NAME_BYTES];
    shard_name(name, s, shard);
    const char *const parts[] = {i == 0 ? "\n    \"" : ",\n    \"", s->model->params->items[i].name, "\": \"", name,
                                 "\""};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        VLORP_TRY(vlorpi_file_writer_put_text(writer, parts[k], err));
    }
    return VLORP_OK;
}

/* model.safetensors.index.json: which shard holds which tensor. */
static vlorp_status write_index(const saving *s, vlorpi_file_writer *writer, vlorp_err *err)
{
    char head[128];
    (void)snprintf(head, sizeof head, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n  \"weight_map\": {",
                   weight_bytes(s));
    VLORP_TRY(vlorpi_file_writer_put_text(writer, head, err));
    int shard = 0;
    int end = shard_end(s, 0);
    for (int i = 0; i < s->model->params->n; i++) {
        if (i == end) {
            shard++;
            end = shard_end(s, i);
        }
        VLORP_TRY(write_index_line(s, writer, i, shard, err));
    }
    return vlorpi_file_writer_put_text(writer, "\n  }\n}\n", err);
}

static vlorp_status write_weights(const saving *s, vlorp_err *err)
{
    int shard = 0;
    for (int first = 0; first < s->model->params->n; shard++) {
        int end = shard_end(s, first);
        VLORP_TRY(write_shard(s, shard, first, end, err));
        first = end;
    }
    if (s->n_shards <= 1) {
        return VLORP_OK;
    }
    vlorpi_file_writer writer;
    vlorp_status status = vlorpi_file_writer_open(&writer, s->folder->fd, s->folder->place,
                                                  "model.safetensors.index.json", s->saver->chunk, VLORPI_CHUNK_BYTES,
                                                  err);
    if (status == VLORP_OK) {
        status = write_index(s, &writer, err);
    }
    VLORP_TRY(vlorpi_file_writer_close(&writer, status, err));
    return vlorpi_checksums_add(s->sums, &writer, err);
}

vlorp_status vlorpi_checkpoint_bytes(size_t *n_bytes, const vlorpi_checkpoint_saver *saver,
                                     const vlorpi_checkpoint_model *model, vlorp_err *err)
{
    const saving s = {.saver = saver, .model = model};
    size_t other_bytes = 0;
    VLORP_TRY(vlorpi_companions_bytes(&other_bytes, model, err));
    *n_bytes = weight_bytes(&s) + saver->header_bytes + other_bytes;
    return VLORP_OK;
}

vlorp_status vlorpi_checkpoint_write_weights(const vlorpi_checkpoint_saver *saver,
                                             const vlorpi_checkpoint_model *model, const vlorpi_new_folder *folder,
                                             vlorpi_checksums *sums, vlorp_err *err)
{
    assert(saver->n_params >= model->params->n && saver->chunk != NULL);
    saving s = {.saver = saver, .model = model, .folder = folder, .sums = sums};
    s.shard_bytes = model->shard_bytes != 0 ? model->shard_bytes : VLORPI_CHECKPOINT_SHARD_BYTES;
    s.n_shards = count_shards(&s);
    return write_weights(&s, err);
}

static vlorp_status check_space(const vlorpi_checkpoint_saver *saver, const vlorpi_checkpoint_model *model,
                                const vlorpi_new_folder *folder, vlorp_err *err)
{
    size_t n_bytes;
    VLORP_TRY(vlorpi_checkpoint_bytes(&n_bytes, saver, model, err));
    return vlorpi_new_folder_check_space(folder, n_bytes, err);
}

vlorp_status vlorpi_checkpoint_check(const vlorpi_checkpoint_saver *saver, const vlorpi_checkpoint_model *model,
                                     const char *folder, vlorp_err *err)
{
    vlorpi_new_folder place;
    VLORP_TRY(vlorpi_new_folder_begin(&place, folder, model->overwrite, err));
    vlorp_status status = check_space(saver, model, &place, err);
    vlorpi_new_folder_abandon(&place);
    return status;
}

vlorp_status vlorpi_checkpoint_save_model(const vlorpi_checkpoint_saver *saver, const vlorpi_checkpoint_model *model,
                                          const char *folder, vlorp_err *err)
{
    vlorpi_new_folder place;
    VLORP_TRY(vlorpi_new_folder_begin(&place, folder, model->overwrite, err));
    vlorp_status status = check_space(saver, model, &place, err);
    if (status == VLORP_OK) {
        status = vlorpi_checkpoint_write_weights(saver, model, &place, NULL, err);
    }
    if (status == VLORP_OK) {
        status = vlorpi_companions_write(&place, model, saver->chunk, VLORPI_CHUNK_BYTES, err);
    }
    if (status != VLORP_OK) {
        vlorpi_new_folder_abandon(&place);
        return status;
    }
    return vlorpi_new_folder_commit(&place, err);
}
