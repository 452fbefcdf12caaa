#include "checkpoint/inspect.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "format/safetensors.h"
#include "format/source.h"

enum { VALUE_TEXT_BYTES = 256 };

/* Where the tensors come from: a source, or one safetensors file. */
typedef struct held {
    const vlorpi_source *source;
    const vlorpi_safetensors *file;
    const char *path;
    size_t file_bytes;
} held;

static int64_t n_tensors(const held *h)
{
    return h->source != NULL ? vlorpi_source_n_tensors(h->source) : vlorpi_safetensors_n_tensors(h->file);
}

static const vlorpi_tensor_info *tensor(const held *h, int64_t i)
{
    return h->source != NULL ? vlorpi_source_tensor(h->source, i) : vlorpi_safetensors_tensor(h->file, i);
}

/* Adds value, of which NULL means no memory; false: no memory. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new_nocheck(object, key, value) == 0;
}

static bool append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* A text of the file, possibly cut inside a character.  One that is not UTF-8 at all shows '?' for
 * every byte beyond ASCII. */
static json_t *text_json(char *text)
{
    json_t *value = json_string(text);
    size_t n = strlen(text);
    for (size_t cut = 1; value == NULL && cut <= 3 && cut < n; cut++) {
        value = json_stringn(text, n - cut);
    }
    for (char *c = text; value == NULL && *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    return value != NULL ? value : json_string(text);
}

/* Copies at most n_out - 1 bytes. */
static char *short_copy(char *out, size_t n_out, const char *text, size_t n)
{
    n = n < n_out ? n : n_out - 1;
    memcpy(out, text, n);
    out[n] = '\0';
    return out;
}

static json_t *shape_json(const vlorpi_tensor_info *info)
{
    json_t *shape = json_array();
    bool ok = shape != NULL;
    for (int d = 0; d < info->n_dims && ok; d++) {
        ok = append(shape, number((uint64_t)info->shape[d]));
    }
    if (!ok) {
        json_decref(shape);
        return NULL;
    }
    return shape;
}

static bool append_tensor(json_t *tensors, const vlorpi_tensor_info *info)
{
    char name[VALUE_TEXT_BYTES];
    json_t *entry = json_object();
    return append(tensors, entry) &&
           set(entry, "name", text_json(short_copy(name, sizeof name, info->name, strlen(info->name)))) &&
           set(entry, "storage", json_string(info->storage_name)) && set(entry, "shape", shape_json(info)) &&
           set(entry, "bytes", number(info->n_bytes));
}

static bool grow(json_t *object, const char *key, uint64_t by)
{
    return set(object, key, number((uint64_t)json_integer_value(json_object_get(object, key)) + by));
}

static bool count_storage(json_t *storage, const vlorpi_tensor_info *info)
{
    json_t *row = json_object_get(storage, info->storage_name);
    if (row == NULL) {
        row = json_object();
        if (!set(storage, info->storage_name, row)) {
            return false;
        }
    }
    return grow(row, "tensors", 1) && grow(row, "parameters", (uint64_t)info->n_elements) &&
           grow(row, "bytes", info->n_bytes);
}

static bool add_tensors(json_t *report, const held *h)
{
    uint64_t n_parameters = 0;
    uint64_t n_bytes = 0;
    json_t *tensors = json_array();
    json_t *storage = json_object();
    bool ok = set(report, "storage", storage) && set(report, "tensors", tensors);
    for (int64_t i = 0; i < n_tensors(h) && ok; i++) {
        const vlorpi_tensor_info *info = tensor(h, i);
        n_parameters += (uint64_t)info->n_elements;
        n_bytes += info->n_bytes;
        ok = append_tensor(tensors, info) && count_storage(storage, info);
    }
    return ok && set(report, "n_tensors", number((uint64_t)n_tensors(h))) &&
           set(report, "total_parameters", number(n_parameters)) && set(report, "total_bytes", number(n_bytes));
}

static bool append_file(json_t *files, const char *name, size_t n_bytes)
{
    char text[VALUE_TEXT_BYTES];
    json_t *entry = json_object();
    return append(files, entry) && set(entry, "name", text_json(short_copy(text, sizeof text, name, strlen(name)))) &&
           set(entry, "bytes", number(n_bytes));
}

static bool add_files(json_t *report, const held *h)
{
    json_t *files = json_array();
    bool ok = set(report, "files", files);
    if (h->source == NULL) {
        return ok && append_file(files, h->path, h->file_bytes);
    }
    for (int i = 0; i < vlorpi_source_n_files(h->source) && ok; i++) {
        size_t n_bytes;
        const char *name = vlorpi_source_file(h->source, i, &n_bytes);
        ok = append_file(files, name, n_bytes);
    }
    return ok;
}

/* Numbers and truth values as such, the rest as a short text. */
static json_t *gguf_value(const vlorpi_gguf *gguf, int64_t i)
{
    char text[VALUE_TEXT_BYTES];
    vlorpi_gguf_value_text(gguf, i, text, sizeof text);
    size_t n = strlen(text);
    if (text[0] == '"') { /* a string; cut short it has no second quote */
        text[n - 1] = n > 1 && n + 1 < sizeof text && text[n - 1] == '"' ? '\0' : text[n - 1];
        return text_json(text + 1);
    }
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value != NULL ? value : text_json(text);
}

static json_t *gguf_metadata(const vlorpi_gguf *gguf)
{
    json_t *metadata = json_object();
    bool ok = metadata != NULL;
    for (int64_t i = 0; i < vlorpi_gguf_n_keys(gguf) && ok; i++) {
        char name[VALUE_TEXT_BYTES];
        vlorpi_bytes key = vlorpi_gguf_key(gguf, i);
        json_t *checked = text_json(short_copy(name, sizeof name, key.text, key.n_bytes));
        ok = checked != NULL && set(metadata, json_string_value(checked), gguf_value(gguf, i));
        json_decref(checked);
    }
    if (!ok) {
        json_decref(metadata);
        return NULL;
    }
    return metadata;
}

static const char *kind_name(const held *h)
{
    static const char *const names[] = {
        [VLORPI_SOURCE_FOLDER] = "folder", [VLORPI_SOURCE_GGUF] = "gguf", [VLORPI_SOURCE_CONFIG] = "config"};
    return h->source != NULL ? names[vlorpi_source_kind_of(h->source)] : "safetensors";
}

static bool add_settings(json_t *report, const held *h)
{
    if (h->source == NULL) {
        const json_t *metadata = vlorpi_safetensors_metadata(h->file);
        return metadata == NULL || set(report, "metadata", json_deep_copy(metadata));
    }
    if (vlorpi_source_gguf(h->source) != NULL) {
        return set(report, "metadata", gguf_metadata(vlorpi_source_gguf(h->source)));
    }
    return set(report, "config", json_deep_copy(vlorpi_source_config(h->source)));
}

static vlorp_status report_on(json_t **out, const held *h, vlorp_err *err)
{
    char path[VALUE_TEXT_BYTES];
    json_t *report = json_object();
    bool ok = report != NULL &&
              set(report, "path", text_json(short_copy(path, sizeof path, h->path, strlen(h->path)))) &&
              set(report, "kind", json_string(kind_name(h))) && add_files(report, h) && add_settings(report, h) &&
              add_tensors(report, h);
    if (!ok) {
        json_decref(report);
        VLORP_FAIL(err, VLORP_E_NOMEM, "%s: out of memory for the report", h->path);
    }
    *out = report;
    return VLORP_OK;
}

static vlorp_status inspect_safetensors(json_t **out, vlorpi_mem *mem, const char *path, vlorp_err *err)
{
    vlorpi_mapped_file mapped;
    vlorpi_safetensors *file = NULL;
    VLORP_TRY(vlorpi_mapped_file_open(&mapped, path, err));
    vlorp_status status = vlorpi_safetensors_parse(&file, mem, mapped.bytes, mapped.n_bytes, path, err);
    if (status == VLORP_OK) {
        held h = {.file = file, .path = path, .file_bytes = mapped.n_bytes};
        status = report_on(out, &h, err);
    }
    vlorpi_safetensors_close(file);
    vlorpi_mapped_file_close(&mapped);
    return status;
}

static bool is_safetensors(const char *path)
{
    static const char end[] = ".safetensors";
    struct stat info;
    size_t n = strlen(path);
    return n > strlen(end) && strcmp(path + n - strlen(end), end) == 0 && stat(path, &info) == 0 &&
           S_ISREG(info.st_mode);
}

vlorp_status vlorpi_inspect(json_t **out, vlorpi_mem *mem, const char *path, vlorp_err *err)
{
    *out = NULL;
    if (is_safetensors(path)) {
        return inspect_safetensors(out, mem, path, err);
    }
    vlorpi_source *source;
    VLORP_TRY(vlorpi_source_open(&source, mem, path, 0, err));
    held h = {.source = source, .path = path};
    vlorp_status status = report_on(out, &h, err);
    vlorpi_source_close(source);
    return status;
}
