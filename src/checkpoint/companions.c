#include "checkpoint/companions.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "checkpoint/config_text.h"
#include "checkpoint/file_writer.h"
#include "checkpoint/folder_entries.h"

/* A tokenizer made from GGUF metadata takes less than this many times its strings. */
enum { JSON_GROWTH = 8 };

typedef struct companions {
    const vlorpi_new_folder *folder;
    const vlorpi_checkpoint_model *model;
    unsigned char *buffer;
    size_t capacity;
} companions;

/* What to do with one file of the source's folder. */
typedef vlorp_status visit(void *ctx, const char *path, const char *name, vlorp_err *err);

typedef struct visiting {
    const vlorpi_source *source;
    visit *call;
    void *ctx;
} visiting;

static bool ends_with(const char *text, const char *end)
{
    size_t n_text = strlen(text);
    size_t n_end = strlen(end);
    return n_text >= n_end && strcmp(text + n_text - n_end, end) == 0;
}

/* Weights of any framework, the indices of their shards, and what a trainer left beside them. */
static bool holds_weights(const char *name)
{
    static const char *const ends[] = {
        ".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt",   ".pth",  ".ckpt", ".gguf",
        ".ggml",        ".h5",                     ".h5.index.json", ".msgpack", ".msgpack.index.json", ".onnx",
        ".onnx_data",   ".tflite",                 ".npz",  ".pickle", ".pkl"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends_with(name, ends[i])) {
            return true;
        }
    }
    return strncmp(name, VLORPI_STATE_PREFIX, sizeof VLORPI_STATE_PREFIX - 1) == 0;
}

/* What may stand beside a lone config.json, whose folder can be anything. */
static bool is_tokenizer_file(const char *name)
{
    static const char *const names[] = {"tokenizer.json",     "tokenizer_config.json", "special_tokens_map.json",
                                        "vocab.json",         "merges.txt",            "tokenizer.model",
                                        "added_tokens.json",  "generation_config.json", "chat_template.jinja",
                                        "chat_template.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The folder of the source's files; for a lone config.json the one it lies in. */
static vlorp_status source_folder(char *out, size_t n_out, const vlorpi_source *source, vlorp_err *err)
{
    const char *path = vlorpi_source_path(source);
    bool lone = vlorpi_source_kind_of(source) == VLORPI_SOURCE_CONFIG;
    const char *slash = strrchr(path, '/');
    size_t n = !lone ? strlen(path) : slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (n + 2 > n_out) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", path);
    }
    memcpy(out, path, n);
    memcpy(out + n, n == 0 ? "." : "", n == 0 ? 2 : 1);
    return VLORP_OK;
}

static vlorp_status config_path(char *out, size_t n_out, const vlorpi_source *source, vlorp_err *err)
{
    const char *path = vlorpi_source_path(source);
    bool lone = vlorpi_source_kind_of(source) == VLORPI_SOURCE_CONFIG;
    int n = snprintf(out, n_out, "%s%s", path, lone ? "" : "/config.json");
    if (n < 0 || (size_t)n >= n_out) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", path);
    }
    return VLORP_OK;
}

/* One entry of the source's folder: regular files (also through links) that are to be copied. */
static vlorp_status visit_entry(void *ctx, const char *folder, const char *name, vlorp_err *err)
{
    const visiting *v = ctx;
    char path[PATH_MAX];
    struct stat info;
    bool lone = vlorpi_source_kind_of(v->source) == VLORPI_SOURCE_CONFIG;
    if (strcmp(name, "config.json") == 0 || holds_weights(name) || (lone && !is_tokenizer_file(name))) {
        return VLORP_OK;
    }
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s/%s: the path is too long", folder, name);
    }
    if (stat(path, &info) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    return S_ISREG(info.st_mode) ? v->call(v->ctx, path, name, err) : VLORP_OK;
}

static vlorp_status visit_folder(const vlorpi_source *source, visit *call, void *ctx, vlorp_err *err)
{
    char folder[PATH_MAX];
    VLORP_TRY(source_folder(folder, sizeof folder, source, err));
    visiting v = {.source = source, .call = call, .ctx = ctx};
    return vlorpi_folder_each(folder, visit_entry, &v, err);
}

static vlorp_status add_size(void *ctx, const char *path, const char *name, vlorp_err *err)
{
    (void)name;
    size_t *n_bytes = ctx;
    struct stat info;
    if (stat(path, &info) != 0) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    *n_bytes += (size_t)info.st_size;
    return VLORP_OK;
}

/* The strings of a GGUF tokenizer, some times over. */
static size_t gguf_bytes(const vlorpi_gguf *gguf)
{
    static const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"};
    size_t n_bytes = 0;
    for (int k = 0; k < 2; k++) {
        int64_t n = vlorpi_gguf_array_length(gguf, keys[k]);
        vlorpi_bytes text;
        for (int64_t i = 0; i < n && vlorpi_gguf_array_string(gguf, keys[k], i, &text); i++) {
            n_bytes += text.n_bytes + 8;
        }
    }
    return JSON_GROWTH * n_bytes;
}

vlorp_status vlorpi_companions_bytes(size_t *n_bytes, const vlorpi_checkpoint_model *model, vlorp_err *err)
{
    *n_bytes = 0;
    if (vlorpi_source_kind_of(model->source) == VLORPI_SOURCE_GGUF) {
        *n_bytes = gguf_bytes(vlorpi_source_gguf(model->source));
        return VLORP_OK;
    }
    return visit_folder(model->source, add_size, n_bytes, err);
}

static vlorp_status open_file(const companions *c, vlorpi_file_writer *writer, const char *name, vlorp_err *err)
{
    return vlorpi_file_writer_open(writer, c->folder->fd, c->folder->place, name, c->buffer, c->capacity, err);
}

static vlorp_status copy_file(void *ctx, const char *path, const char *name, vlorp_err *err)
{
    const companions *c = ctx;
    vlorpi_mapped_file file;
    vlorpi_file_writer writer;
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = open_file(c, &writer, name, err);
    if (status == VLORP_OK) {
        status = vlorpi_file_writer_put(&writer, file.bytes, file.n_bytes, err);
    }
    status = vlorpi_file_writer_close(&writer, status, err);
    vlorpi_mapped_file_close(&file);
    return status;
}

/* config.json as it is, but for the dtype where another one is stored. */
static vlorp_status copy_config(const companions *c, vlorp_err *err)
{
    char path[PATH_MAX];
    vlorpi_mapped_file file;
    vlorpi_file_writer writer;
    const vlorpi_checkpoint_model *model = c->model;
    VLORP_TRY(config_path(path, sizeof path, model->source, err));
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = open_file(c, &writer, "config.json", err);
    if (status == VLORP_OK) {
        bool add = model->dtype != model->config->dtype;
        status = vlorpi_config_text_write(&writer, (const char *)file.bytes, file.n_bytes,
                                          vlorpi_checkpoint_dtype_name(model->dtype), add, err);
    }
    status = vlorpi_file_writer_close(&writer, status, err);
    vlorpi_mapped_file_close(&file);
    return status;
}

/* For jansson: a piece of text on its way to a file; the error is in the writer's record. */
typedef struct json_output {
    vlorpi_file_writer *writer;
    vlorp_status status;
    vlorp_err *err;
} json_output;

static int put_json(const char *text, size_t n_bytes, void *ctx)
{
    json_output *output = ctx;
    output->status = vlorpi_file_writer_put(output->writer, text, n_bytes, output->err);
    return output->status == VLORP_OK ? 0 : -1;
}

/* Writes value, of which NULL means that there was no memory to make it, and drops it. */
static vlorp_status write_json(const companions *c, const char *name, json_t *value, vlorp_err *err)
{
    vlorpi_file_writer writer;
    if (value == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "%s: out of memory", name);
    }
    vlorp_status status = open_file(c, &writer, name, err);
    json_output output = {.writer = &writer, .err = err};
    if (status == VLORP_OK && json_dump_callback(value, put_json, &output, JSON_INDENT(2)) != 0) {
        status = output.status != VLORP_OK ? output.status
                                           : vlorpi_err_set(err, VLORP_E_NOMEM, "%s: out of memory", name);
    }
    if (status == VLORP_OK) {
        status = vlorpi_file_writer_put_text(&writer, "\n", err);
    }
    json_decref(value);
    return vlorpi_file_writer_close(&writer, status, err);
}

/* {"bos_token_id": 1, "eos_token_id": 2}, where there are such. */
static json_t *generation_config(int32_t bos, int32_t eos)
{
    json_t *object = json_pack("{s:b}", "_from_model_config", 1);
    bool ok = object != NULL;
    ok = ok && (bos < 0 || json_object_set_new(object, "bos_token_id", json_integer(bos)) == 0);
    ok = ok && (eos < 0 || json_object_set_new(object, "eos_token_id", json_integer(eos)) == 0);
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static vlorp_status write_from_gguf(const companions *c, vlorp_err *err)
{
    const vlorpi_checkpoint_model *model = c->model;
    if (model->tokenizer == NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "%s: a model from GGUF is saved with its tokenizer", c->folder->place);
    }
    int32_t bos = vlorpi_tokenizer_bos(model->tokenizer);
    int32_t eos = vlorpi_tokenizer_eos(model->tokenizer);
    VLORP_TRY(write_json(c, "config.json", vlorpi_model_config_to_json(model->config, model->dtype, bos, eos), err));
    VLORP_TRY(write_json(c, "generation_config.json", generation_config(bos, eos), err));
    return vlorpi_tokenizer_write_json(model->tokenizer, c->folder->path, err);
}

vlorp_status vlorpi_companions_write(const vlorpi_new_folder *folder, const vlorpi_checkpoint_model *model,
                                     unsigned char *buffer, size_t capacity, vlorp_err *err)
{
    companions c = {.folder = folder, .model = model, .buffer = buffer, .capacity = capacity};
    if (vlorpi_source_kind_of(model->source) == VLORPI_SOURCE_GGUF) {
        return write_from_gguf(&c, err);
    }
    VLORP_TRY(copy_config(&c, err));
    return visit_folder(model->source, copy_file, &c, err);
}
