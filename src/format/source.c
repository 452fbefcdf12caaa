#include "format/source.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "format/json.h"
#include "format/name_index.h"
#include "format/safetensors.h"

static const char SINGLE_FILE[] = "model.safetensors";
static const char INDEX_FILE[] = "model.safetensors.index.json";

/* One mapped weight file. */
typedef struct weight_file {
    char *name; /* inside the folder; of a GGUF file its path */
    vlorpi_mapped_file mapped;
    vlorpi_safetensors *safetensors; /* NULL for GGUF */
} weight_file;

struct vlorpi_source {
    vlorpi_mem *mem; /* borrowed */
    vlorpi_source_kind kind;
    char *path;
    json_t *config;
    vlorpi_gguf *gguf;
    weight_file *files;
    int n_files;
    const vlorpi_tensor_info **tensors; /* into the files' own tables */
    int64_t n_tensors;
    vlorpi_name_index index;
};

static vlorp_status join(char *out, size_t n_out, const char *folder, const char *name, vlorp_err *err)
{
    int n = snprintf(out, n_out, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= n_out) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s/%s: the path is longer than %zu bytes", folder, name, n_out - 1);
    }
    return VLORP_OK;
}

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    return join(path, sizeof path, folder, name, NULL) == VLORP_OK && stat(path, &info) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n_text = strlen(text);
    size_t n_end = strlen(end);
    return n_text >= n_end && strcmp(text + n_text - n_end, end) == 0;
}

/* Room for n weight files and n_tensors tensors. */
static vlorp_status reserve_files(vlorpi_source *source, int n, vlorp_err *err)
{
    source->files = vlorpi_mem_calloc(source->mem, VLORPI_MEM_DATA, (size_t)n, sizeof *source->files);
    if (source->files == NULL) {
        return vlorpi_mem_fail(source->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *source->files, err);
    }
    return VLORP_OK;
}

static vlorp_status reserve_tensors(vlorpi_source *source, int64_t n, vlorp_err *err)
{
    size_t n_bytes = (size_t)n * sizeof *source->tensors;
    source->tensors = vlorpi_mem_alloc(source->mem, VLORPI_MEM_DATA, n_bytes);
    if (source->tensors == NULL) {
        return vlorpi_mem_fail(source->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    return vlorpi_name_index_init(&source->index, source->mem, n, err);
}

static vlorp_status add_tensor(vlorpi_source *source, const vlorpi_tensor_info *info, vlorp_err *err)
{
    if (!vlorpi_name_index_add(&source->index, info->name, strlen(info->name), source->n_tensors)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s comes twice", source->path, info->name);
    }
    source->tensors[source->n_tensors++] = info;
    return VLORP_OK;
}

/* Maps and parses one safetensors file of the folder as the next weight file. */
static vlorp_status open_safetensors(vlorpi_source *source, const char *name, vlorp_err *err)
{
    char path[PATH_MAX];
    weight_file *file = &source->files[source->n_files];
    VLORP_TRY(join(path, sizeof path, source->path, name, err));
    file->name = vlorpi_mem_strdup(source->mem, VLORPI_MEM_DATA, name);
    if (file->name == NULL) {
        return vlorpi_mem_fail(source->mem, VLORPI_MEM_DATA, strlen(name) + 1, err);
    }
    source->n_files++; /* from here on _close cleans up after it */
    VLORP_TRY(vlorpi_mapped_file_open(&file->mapped, path, err));
    return vlorpi_safetensors_parse(&file->safetensors, source->mem, file->mapped.bytes, file->mapped.n_bytes, path,
                                    err);
}

static vlorp_status open_single(vlorpi_source *source, vlorp_err *err)
{
    VLORP_TRY(reserve_files(source, 1, err));
    VLORP_TRY(open_safetensors(source, SINGLE_FILE, err));
    const vlorpi_safetensors *file = source->files[0].safetensors;
    int64_t n = vlorpi_safetensors_n_tensors(file);
    VLORP_TRY(reserve_tensors(source, n, err));
    for (int64_t i = 0; i < n; i++) {
        VLORP_TRY(add_tensor(source, vlorpi_safetensors_tensor(file, i), err));
    }
    return VLORP_OK;
}

/* A shard is named by the index, which is untrusted: a plain file name of this folder, no path. */
static bool is_plain_name(const char *name)
{
    return strlen(name) <= NAME_MAX && vlorpi_name_ok(name, strlen(name)) && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int find_file(const vlorpi_source *source, const char *name)
{
    for (int i = source->n_files - 1; i >= 0; i--) { /* neighbours in the map share a shard */
        if (strcmp(source->files[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Opens every shard that the map names, once each. */
static vlorp_status open_shards(vlorpi_source *source, json_t *weight_map, vlorp_err *err)
{
    VLORP_TRY(reserve_files(source, VLORPI_SOURCE_MAX_SHARDS, err));
    const char *tensor;
    json_t *value;
    json_object_foreach(weight_map, tensor, value) {
        const char *name = json_string_value(value);
        if (name == NULL || !is_plain_name(name)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s/%s: weight_map: the shard of tensor %.200s is not a plain file name",
                       source->path, INDEX_FILE, tensor);
        }
        if (find_file(source, name) >= 0) {
            continue;
        }
        if (source->n_files == VLORPI_SOURCE_MAX_SHARDS) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "%s/%s: more than %d shards", source->path, INDEX_FILE,
                       (int)VLORPI_SOURCE_MAX_SHARDS);
        }
        VLORP_TRY(open_safetensors(source, name, err));
    }
    return VLORP_OK;
}

/* Every tensor of the map is in the shard it names.  Tensors that the map leaves out are ignored, as
 * other readers do. */
static vlorp_status unite_shards(vlorpi_source *source, const json_t *weight_map, vlorp_err *err)
{
    VLORP_TRY(reserve_tensors(source, (int64_t)json_object_size(weight_map), err));
    for (int f = 0; f < source->n_files; f++) {
        const weight_file *file = &source->files[f];
        for (int64_t i = 0; i < vlorpi_safetensors_n_tensors(file->safetensors); i++) {
            const vlorpi_tensor_info *info = vlorpi_safetensors_tensor(file->safetensors, i);
            const char *shard = json_string_value(json_object_get(weight_map, info->name));
            if (shard != NULL && strcmp(shard, file->name) == 0) {
                VLORP_TRY(add_tensor(source, info, err));
            }
        }
    }
    return VLORP_OK;
}

static vlorp_status check_map(const vlorpi_source *source, json_t *weight_map, vlorp_err *err)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(weight_map, tensor, value) {
        if (vlorpi_source_find(source, tensor) == NULL) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s/%s: weight_map puts tensor %.200s into %s, which does not hold it",
                       source->path, INDEX_FILE, tensor, json_string_value(value));
        }
    }
    return VLORP_OK;
}

static vlorp_status open_index(vlorpi_source *source, vlorp_err *err)
{
    char path[PATH_MAX];
    json_t *index = NULL;
    VLORP_TRY(join(path, sizeof path, source->path, INDEX_FILE, err));
    VLORP_TRY(vlorpi_json_load(&index, path, err));
    json_t *weight_map = json_object_get(index, "weight_map");
    vlorp_status status;
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0) {
        status = vlorpi_err_set(err, VLORP_E_FORMAT, "%s: weight_map is missing or empty", path);
    } else {
        status = open_shards(source, weight_map, err);
    }
    if (status == VLORP_OK) {
        status = unite_shards(source, weight_map, err);
    }
    if (status == VLORP_OK) {
        status = check_map(source, weight_map, err);
    }
    json_decref(index);
    return status;
}

static vlorp_status refuse_pickle(const char *path, const char *folder, vlorp_err *err)
{
    (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: PyTorch's pickled weights are not read, they can run code",
                         path);
    vlorpi_err_hint(err, "python3 -c \"from transformers import AutoModelForCausalLM as M; "
                    "M.from_pretrained('%.100s').save_pretrained('%.100s', safe_serialization=True)\"", folder, folder);
    return VLORP_E_UNSUPPORTED;
}

/* The first name in the folder that ends so, into out; false: none. */
static bool find_ending(char *out, size_t n_out, const char *folder, const char *end)
{
    DIR *dir = opendir(folder);
    bool found = false;
    const struct dirent *entry;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        found = ends_with(entry->d_name, end) && snprintf(out, n_out, "%s", entry->d_name) < (int)n_out;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

static vlorp_status refuse_no_weights(const char *folder, vlorp_err *err)
{
    char name[NAME_MAX + 1];
    (void)vlorpi_err_set(err, VLORP_E_IO, "%s: neither %s nor %s", folder, SINGLE_FILE, INDEX_FILE);
    if (find_ending(name, sizeof name, folder, ".gguf")) {
        vlorpi_err_hint(err, "the folder holds %s: give that file's path", name);
    } else if (find_ending(name, sizeof name, folder, ".safetensors")) {
        vlorpi_err_hint(err, "the folder holds %s: a single weight file must be named %s", name, SINGLE_FILE);
    } else {
        vlorpi_err_hint(err, "download the model's *.safetensors files into that folder");
    }
    return VLORP_E_IO;
}

static vlorp_status open_weights(vlorpi_source *source, bool need_weights, vlorp_err *err)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    if (exists(source->path, SINGLE_FILE)) {
        return open_single(source, err);
    }
    if (exists(source->path, INDEX_FILE)) {
        return open_index(source, err);
    }
    if (!need_weights) {
        return VLORP_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (exists(source->path, pickles[i])) {
            return refuse_pickle(pickles[i], source->path, err);
        }
    }
    return refuse_no_weights(source->path, err);
}

static vlorp_status load_config(vlorpi_source *source, const char *path, vlorp_err *err)
{
    VLORP_TRY(vlorpi_json_load(&source->config, path, err));
    if (!json_is_object(source->config)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: not a JSON object", path);
    }
    return VLORP_OK;
}

static vlorp_status open_folder(vlorpi_source *source, bool need_weights, vlorp_err *err)
{
    char path[PATH_MAX];
    char name[NAME_MAX + 1];
    source->kind = VLORPI_SOURCE_FOLDER;
    VLORP_TRY(join(path, sizeof path, source->path, "config.json", err));
    if (!exists(source->path, "config.json")) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: a folder without config.json", source->path);
        if (find_ending(name, sizeof name, source->path, ".gguf")) {
            vlorpi_err_hint(err, "the folder holds %s: give that file's path", name);
        } else {
            vlorpi_err_hint(err, "give a Hugging Face model folder, a .gguf file or a config.json");
        }
        return VLORP_E_IO;
    }
    VLORP_TRY(load_config(source, path, err));
    return open_weights(source, need_weights, err);
}

static vlorp_status open_gguf(vlorpi_source *source, vlorp_err *err)
{
    source->kind = VLORPI_SOURCE_GGUF;
    VLORP_TRY(reserve_files(source, 1, err));
    weight_file *file = &source->files[0];
    file->name = vlorpi_mem_strdup(source->mem, VLORPI_MEM_DATA, source->path);
    if (file->name == NULL) {
        return vlorpi_mem_fail(source->mem, VLORPI_MEM_DATA, strlen(source->path) + 1, err);
    }
    source->n_files = 1;
    VLORP_TRY(vlorpi_mapped_file_open(&file->mapped, source->path, err));
    VLORP_TRY(vlorpi_gguf_parse(&source->gguf, source->mem, file->mapped.bytes, file->mapped.n_bytes, source->path,
                                err));
    int64_t n = vlorpi_gguf_n_tensors(source->gguf);
    VLORP_TRY(reserve_tensors(source, n, err));
    for (int64_t i = 0; i < n; i++) {
        VLORP_TRY(add_tensor(source, vlorpi_gguf_tensor(source->gguf, i), err));
    }
    return VLORP_OK;
}

static bool is_gguf(const char *path)
{
    char magic[4] = {0};
    FILE *file = fopen(path, "rbe");
    bool ok = file != NULL && fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
    if (file != NULL) {
        (void)fclose(file);
    }
    return ok || ends_with(path, ".gguf");
}

static vlorp_status open_file(vlorpi_source *source, bool need_weights, vlorp_err *err)
{
    const char *path = source->path;
    if (is_gguf(path)) {
        return open_gguf(source, err);
    }
    if (ends_with(path, ".json")) {
        source->kind = VLORPI_SOURCE_CONFIG;
        if (need_weights) {
            (void)vlorpi_err_set(err, VLORP_E_IO, "%s: a configuration without weights", path);
            vlorpi_err_hint(err, "give the folder with the weights; train takes --init random to start without any");
            return VLORP_E_IO;
        }
        return load_config(source, path, err);
    }
    if (ends_with(path, ".bin") || ends_with(path, ".pt") || ends_with(path, ".pth")) {
        return refuse_pickle(path, "MODEL_FOLDER", err);
    }
    (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: not a model", path);
    vlorpi_err_hint(err, ends_with(path, ".safetensors") ? "give the folder that holds this file and config.json"
                         : "give a Hugging Face model folder, a .gguf file or a config.json");
    return VLORP_E_UNSUPPORTED;
}

static vlorp_status open_path(vlorpi_source *source, bool need_weights, vlorp_err *err)
{
    struct stat info;
    if (stat(source->path, &info) != 0) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: %s", source->path, strerror(errno));
        vlorpi_err_hint(err, "give a Hugging Face model folder, a .gguf file or a config.json on this machine");
        return VLORP_E_IO;
    }
    return S_ISDIR(info.st_mode) ? open_folder(source, need_weights, err) : open_file(source, need_weights, err);
}

/* An empty source of that path. */
static vlorp_status make_source(vlorpi_source **out, vlorpi_mem *mem, const char *path, vlorp_err *err)
{
    vlorpi_source *source = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *source);
    if (source == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *source, err);
    }
    source->mem = mem;
    source->path = vlorpi_mem_strdup(mem, VLORPI_MEM_DATA, path);
    if (source->path == NULL) {
        vlorpi_source_close(source);
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, strlen(path) + 1, err);
    }
    *out = source;
    return VLORP_OK;
}

vlorp_status vlorpi_source_open(vlorpi_source **out, vlorpi_mem *mem, const char *path, int need_weights,
                                vlorp_err *err)
{
    *out = NULL;
    VLORP_TRY(make_source(out, mem, path, err));
    vlorp_status status = open_path(*out, need_weights != 0, err);
    if (status != VLORP_OK) {
        vlorpi_source_close(*out);
        *out = NULL;
    }
    return status;
}

vlorp_status vlorpi_source_open_text(vlorpi_source **out, vlorpi_mem *mem, const char *name, const char *text,
                                     vlorp_err *err)
{
    *out = NULL;
    VLORP_TRY(make_source(out, mem, name, err));
    (*out)->kind = VLORPI_SOURCE_CONFIG;
    vlorp_status status = vlorpi_json_parse(&(*out)->config, text, strlen(text), name, err);
    if (status != VLORP_OK) {
        vlorpi_source_close(*out);
        *out = NULL;
    }
    return status;
}

void vlorpi_source_close(vlorpi_source *source)
{
    if (source == NULL) {
        return;
    }
    vlorpi_mem *mem = source->mem;
    vlorpi_name_index_deinit(&source->index, mem);
    vlorpi_mem_free(mem, source->tensors);
    vlorpi_gguf_close(source->gguf);
    for (int i = 0; i < source->n_files; i++) {
        vlorpi_safetensors_close(source->files[i].safetensors);
        vlorpi_mapped_file_close(&source->files[i].mapped);
        vlorpi_mem_free(mem, source->files[i].name);
    }
    vlorpi_mem_free(mem, source->files);
    json_decref(source->config);
    vlorpi_mem_free(mem, source->path);
    vlorpi_mem_free(mem, source);
}

vlorpi_source_kind vlorpi_source_kind_of(const vlorpi_source *source)
{
    return source->kind;
}

const char *vlorpi_source_path(const vlorpi_source *source)
{
    return source->path;
}

const vlorpi_gguf *vlorpi_source_gguf(const vlorpi_source *source)
{
    return source->gguf;
}

const json_t *vlorpi_source_config(const vlorpi_source *source)
{
    return source->config;
}

int64_t vlorpi_source_n_tensors(const vlorpi_source *source)
{
    return source->n_tensors;
}

const vlorpi_tensor_info *vlorpi_source_tensor(const vlorpi_source *source, int64_t i)
{
    return source->tensors[i];
}

const vlorpi_tensor_info *vlorpi_source_find(const vlorpi_source *source, const char *name)
{
    int64_t i = vlorpi_name_index_find(&source->index, name, strlen(name));
    return i >= 0 ? source->tensors[i] : NULL;
}

void vlorpi_source_drop(const vlorpi_source *source, const vlorpi_tensor_info *info)
{
    for (int i = 0; i < source->n_files; i++) {
        const vlorpi_mapped_file *mapped = &source->files[i].mapped;
        if (info->bytes >= mapped->bytes && info->bytes < mapped->bytes + mapped->n_bytes) {
            vlorpi_mapped_file_drop(mapped, (size_t)(info->bytes - mapped->bytes), info->n_bytes);
            return;
        }
    }
}

void vlorpi_source_unmap(vlorpi_source *source)
{
    for (int i = 0; i < source->n_files && source->kind == VLORPI_SOURCE_FOLDER; i++) {
        size_t n_bytes = source->files[i].mapped.n_bytes;
        vlorpi_mapped_file_close(&source->files[i].mapped);
        source->files[i].mapped.n_bytes = n_bytes; /* still of interest */
    }
}

size_t vlorpi_source_mapped_bytes(const vlorpi_source *source)
{
    size_t n_bytes = 0;
    for (int i = 0; i < source->n_files; i++) {
        n_bytes += source->files[i].mapped.n_bytes;
    }
    return n_bytes;
}

int vlorpi_source_n_files(const vlorpi_source *source)
{
    return source->n_files;
}

const char *vlorpi_source_file(const vlorpi_source *source, int i, size_t *n_bytes)
{
    *n_bytes = source->files[i].mapped.n_bytes;
    return source->files[i].name;
}
