#include "format/safetensors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "format/json.h"
#include "format/name_index.h"
#include "format/ranges.h"

enum { LENGTH_BYTES = 8, HEADER_ALIGNMENT = 8 };

struct vlorpi_safetensors {
    vlorpi_mem *mem; /* borrowed */
    vlorpi_tensor_info *infos;
    char *names; /* all names, each with a NUL after it */
    int64_t n;
    json_t *metadata; /* the strings of __metadata__, or NULL */
};

/* What one parse needs besides the result. */
typedef struct reading {
    const char *name;
    const unsigned char *data; /* behind the header */
    uint64_t n_data;
    vlorpi_range *ranges;
    size_t n_name_bytes; /* used of file->names */
} reading;

static const struct {
    const char *name;
    uint64_t bits;
    vlorpi_storage storage;
} dtypes[] = {
    {"F32", 32, VLORPI_STORAGE_F32},       {"BF16", 16, VLORPI_STORAGE_BF16},
    {"F16", 16, VLORPI_STORAGE_F16},       {"F64", 64, VLORPI_STORAGE_OTHER},
    {"I64", 64, VLORPI_STORAGE_OTHER},     {"I32", 32, VLORPI_STORAGE_OTHER},
    {"I16", 16, VLORPI_STORAGE_OTHER},     {"I8", 8, VLORPI_STORAGE_OTHER},
    {"U64", 64, VLORPI_STORAGE_OTHER},     {"U32", 32, VLORPI_STORAGE_OTHER},
    {"U16", 16, VLORPI_STORAGE_OTHER},     {"U8", 8, VLORPI_STORAGE_OTHER},
    {"BOOL", 8, VLORPI_STORAGE_OTHER},     {"C64", 64, VLORPI_STORAGE_OTHER},
    {"F8_E4M3", 8, VLORPI_STORAGE_OTHER},  {"F8_E5M2", 8, VLORPI_STORAGE_OTHER},
    {"F8_E8M0", 8, VLORPI_STORAGE_OTHER},  {"F6_E2M3", 6, VLORPI_STORAGE_OTHER},
    {"F6_E3M2", 6, VLORPI_STORAGE_OTHER},  {"F4", 4, VLORPI_STORAGE_OTHER},
};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

static vlorp_status read_dtype(vlorpi_tensor_info *info, uint64_t *bits, const json_t *entry, const reading *r,
                               vlorp_err *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (dtype == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: dtype is missing or not a string", r->name, info->name);
    }
    for (int i = 0; i < N_DTYPES; i++) {
        if (strcmp(dtype, dtypes[i].name) == 0) {
            info->storage = dtypes[i].storage;
            info->storage_name = dtypes[i].name;
            *bits = dtypes[i].bits;
            return VLORP_OK;
        }
    }
    VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: tensor %s: unknown dtype %.32s", r->name, info->name, dtype);
}

static vlorp_status read_shape(vlorpi_tensor_info *info, const json_t *entry, const reading *r, vlorp_err *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: shape is missing or not a list", r->name, info->name);
    }
    if (json_array_size(shape) > VLORPI_TENSOR_MAX_DIMS) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: tensor %s: %zu dimensions; at most %d are read", r->name, info->name,
                   json_array_size(shape), (int)VLORPI_TENSOR_MAX_DIMS);
    }
    info->n_dims = (int)json_array_size(shape);
    info->n_elements = 1;
    for (int i = 0; i < info->n_dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: shape[%d] is not a whole number from 0 to 2^63-1",
                       r->name, info->name, i);
        }
        info->shape[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(info->n_elements, info->shape[i], &info->n_elements)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: the shape's product is beyond 2^63", r->name, info->name);
        }
    }
    return VLORP_OK;
}

/* Checks the offsets against file and shape, and sets bytes and n_bytes. */
static vlorp_status read_offsets(vlorpi_tensor_info *info, vlorpi_range *range, uint64_t bits, const json_t *entry,
                                 const reading *r, vlorp_err *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0);
    const json_t *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: data_offsets is not a list of two whole numbers", r->name,
                   info->name);
    }
    int64_t begin = json_integer_value(first);
    int64_t end = json_integer_value(second);
    if (begin < 0 || end < begin || (uint64_t)end > r->n_data) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: data_offsets [%" PRId64 ", %" PRId64
                   "] are not inside the file's %" PRIu64 " data bytes", r->name, info->name, begin, end, r->n_data);
    }
    uint64_t n_bits;
    if (__builtin_mul_overflow((uint64_t)info->n_elements, bits, &n_bits) || n_bits % 8 != 0 ||
        n_bits / 8 != (uint64_t)(end - begin)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: %" PRId64 " elements of %s do not take the %" PRId64
                   " bytes that the file gives", r->name, info->name, info->n_elements, info->storage_name,
                   end - begin);
    }
    info->bytes = r->data + begin;
    info->n_bytes = (size_t)(end - begin);
    *range = (vlorpi_range){.begin = (uint64_t)begin, .end = (uint64_t)end};
    return VLORP_OK;
}

static vlorp_status read_tensor(vlorpi_safetensors *file, reading *r, const char *key, const json_t *entry,
                                vlorp_err *err)
{
    size_t n_key = strlen(key);
    if (!vlorpi_name_ok(key, n_key)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %" PRId64 ": the name is empty, longer than %d bytes, or holds "
                   "control characters", r->name, file->n, (int)VLORPI_NAME_MAX_BYTES);
    }
    vlorpi_tensor_info *info = &file->infos[file->n];
    vlorpi_range *range = &r->ranges[file->n];
    char *name = file->names + r->n_name_bytes;
    memcpy(name, key, n_key + 1);
    r->n_name_bytes += n_key + 1;
    info->name = name;
    uint64_t bits = 0;
    VLORP_TRY(read_dtype(info, &bits, entry, r, err));
    VLORP_TRY(read_shape(info, entry, r, err));
    VLORP_TRY(read_offsets(info, range, bits, entry, r, err));
    range->item = file->n++;
    return VLORP_OK;
}

/* Every byte behind the header belongs to exactly one tensor. */
static vlorp_status check_layout(const vlorpi_safetensors *file, const reading *r, vlorp_err *err)
{
    vlorpi_ranges_sort(r->ranges, file->n);
    uint64_t at = 0;
    for (int64_t i = 0; i < file->n; i++) {
        const vlorpi_range *range = &r->ranges[i];
        if (range->begin != at) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: begins at data byte %" PRIu64 ", the one before ends at %"
                       PRIu64, r->name, file->infos[range->item].name, range->begin, at);
        }
        at = range->end;
    }
    if (at != r->n_data) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensors end at data byte %" PRIu64 " of %" PRIu64, r->name, at, r->n_data);
    }
    return VLORP_OK;
}

/* Space for every entry of the header, whose own text bounds their number. */
static vlorp_status allocate(vlorpi_safetensors *file, reading *r, json_t *header, vlorp_err *err)
{
    size_t n_name_bytes = 1;
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry) {
        n_name_bytes += strlen(key) + 1;
    }
    size_t n = json_object_size(header);
    if (n > VLORPI_SAFETENSORS_MAX_TENSORS) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: %zu tensors; at most %d are read", r->name, n,
                   (int)VLORPI_SAFETENSORS_MAX_TENSORS);
    }
    file->infos = vlorpi_mem_calloc(file->mem, VLORPI_MEM_DATA, n, sizeof *file->infos);
    file->names = vlorpi_mem_alloc(file->mem, VLORPI_MEM_DATA, n_name_bytes);
    r->ranges = vlorpi_mem_alloc(file->mem, VLORPI_MEM_DATA, n * sizeof *r->ranges);
    if (file->infos == NULL || file->names == NULL || r->ranges == NULL) {
        return vlorpi_mem_fail(file->mem, VLORPI_MEM_DATA, n * sizeof *file->infos + n_name_bytes, err);
    }
    return VLORP_OK;
}

static vlorp_status read_metadata(vlorpi_safetensors *file, const reading *r, json_t *entry, vlorp_err *err)
{
    bool ok = json_is_object(entry);
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value) {
        ok = ok && json_is_string(value);
    }
    if (!ok) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: __metadata__ is not a table of strings", r->name);
    }
    file->metadata = json_incref(entry);
    return VLORP_OK;
}

static vlorp_status read_header(vlorpi_safetensors *file, reading *r, json_t *header, vlorp_err *err)
{
    if (!json_is_object(header)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: the header is not a JSON object", r->name);
    }
    VLORP_TRY(allocate(file, r, header, err));
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry) {
        if (strcmp(key, "__metadata__") == 0) {
            VLORP_TRY(read_metadata(file, r, entry, err));
        } else {
            VLORP_TRY(read_tensor(file, r, key, entry, err));
        }
    }
    return check_layout(file, r, err);
}

vlorp_status vlorpi_safetensors_parse(vlorpi_safetensors **out, vlorpi_mem *mem, const unsigned char *bytes,
                                      size_t n_bytes, const char *name, vlorp_err *err)
{
    *out = NULL;
    uint64_t n_header = 0;
    if (n_bytes < LENGTH_BYTES) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %zu bytes are too few for a safetensors file", name, n_bytes);
    }
    memcpy(&n_header, bytes, LENGTH_BYTES);
    if (n_header > n_bytes - LENGTH_BYTES) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: a header of %" PRIu64 " bytes in a file of %zu: truncated, or not "
                   "safetensors", name, n_header, n_bytes);
    }
    if (n_header > VLORPI_SAFETENSORS_MAX_HEADER_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: a header of %" PRIu64 " bytes; at most %d are read", name, n_header,
                   (int)VLORPI_SAFETENSORS_MAX_HEADER_BYTES);
    }
    json_t *header = NULL;
    reading r = {.name = name, .data = bytes + LENGTH_BYTES + n_header, .n_data = n_bytes - LENGTH_BYTES - n_header};
    vlorpi_safetensors *file = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *file);
    if (file == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *file, err);
    }
    file->mem = mem;
    vlorp_status status = vlorpi_json_parse(&header, (const char *)bytes + LENGTH_BYTES, (size_t)n_header, name, err);
    if (status == VLORP_OK) {
        status = read_header(file, &r, header, err);
    }
    json_decref(header);
    vlorpi_mem_free(mem, r.ranges);
    if (status != VLORP_OK) {
        vlorpi_safetensors_close(file);
        return status;
    }
    *out = file;
    return VLORP_OK;
}

void vlorpi_safetensors_close(vlorpi_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    json_decref(file->metadata);
    vlorpi_mem_free(file->mem, file->infos);
    vlorpi_mem_free(file->mem, file->names);
    vlorpi_mem_free(file->mem, file);
}

int64_t vlorpi_safetensors_n_tensors(const vlorpi_safetensors *file)
{
    return file->n;
}

const vlorpi_tensor_info *vlorpi_safetensors_tensor(const vlorpi_safetensors *file, int64_t i)
{
    return &file->infos[i];
}

const json_t *vlorpi_safetensors_metadata(const vlorpi_safetensors *file)
{
    return file->metadata;
}

/* Text that is counted whether or not it fits. */
typedef struct writer {
    unsigned char *out; /* NULL: only counts */
    size_t n_out;
    size_t n;
} writer;

static void put(writer *w, const char *text, size_t n_bytes)
{
    if (w->out != NULL && w->n <= w->n_out && n_bytes <= w->n_out - w->n) {
        memcpy(w->out + w->n, text, n_bytes);
    }
    w->n += n_bytes;
}

static void put_text(writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_number(writer *w, uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    put_text(w, digits);
}

/* Names hold no control characters (vlorpi_name_ok), so quotes and backslashes are all there is. */
static void put_name(writer *w, const char *name)
{
    put_text(w, "\"");
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\') {
            put_text(w, "\\");
        }
        put(w, name, 1);
    }
    put_text(w, "\"");
}

static void put_tensor(writer *w, const vlorpi_tensor_info *info, uint64_t *offset)
{
    static const char *const names[] = {
        [VLORPI_STORAGE_F32] = "F32", [VLORPI_STORAGE_F16] = "F16", [VLORPI_STORAGE_BF16] = "BF16"};
    put_text(w, ",");
    put_name(w, info->name);
    put_text(w, ":{\"dtype\":\"");
    put_text(w, names[info->storage]);
    put_text(w, "\",\"shape\":[");
    uint64_t n_bytes = vlorpi_storage_block_bytes(info->storage);
    for (int d = 0; d < info->n_dims; d++) {
        put_text(w, d > 0 ? "," : "");
        put_number(w, (uint64_t)info->shape[d]);
        n_bytes *= (uint64_t)info->shape[d];
    }
    put_text(w, "],\"data_offsets\":[");
    put_number(w, *offset);
    put_text(w, ",");
    *offset += n_bytes;
    put_number(w, *offset);
    put_text(w, "]}");
}

size_t vlorpi_safetensors_header(unsigned char *out, size_t out_bytes, const vlorpi_tensor_info *infos, int64_t n)
{
    writer w = {.out = out, .n_out = out_bytes, .n = LENGTH_BYTES};
    put_text(&w, "{\"__metadata__\":{\"format\":\"pt\"}");
    uint64_t offset = 0;
    for (int64_t i = 0; i < n; i++) {
        put_tensor(&w, &infos[i], &offset);
    }
    put_text(&w, "}");
    while (w.n % HEADER_ALIGNMENT != 0) {
        put_text(&w, " ");
    }
    uint64_t n_header = w.n - LENGTH_BYTES;
    if (out != NULL && out_bytes >= LENGTH_BYTES) {
        memcpy(out, &n_header, LENGTH_BYTES);
    }
    return w.n;
}
