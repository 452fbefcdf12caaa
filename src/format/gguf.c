#include "format/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "format/gguf_internal.h"
#include "format/ranges.h"

enum {
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 1 << 20,
    MAX_ARRAY_DEPTH = 4,
    /* the least bytes that an entry takes, which bounds their number by the file's size */
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8
};

/* A place in the file that moves forward; every read is checked against the end. */
typedef struct cursor {
    const char *name; /* the file's */
    const unsigned char *bytes;
    size_t n_bytes;
    size_t at;
} cursor;

/* One row of ggml's types: the number in the file, the name, the block. */
typedef struct tensor_type {
    uint32_t id;
    const char *name;
    vlorpi_storage storage;
    int64_t block_elements;
    size_t block_bytes;
} tensor_type;

static const tensor_type tensor_types[] = {
    {0, "F32", VLORPI_STORAGE_F32, 1, 4},          {1, "F16", VLORPI_STORAGE_F16, 1, 2},
    {2, "Q4_0", VLORPI_STORAGE_Q4_0, 32, 18},      {3, "Q4_1", VLORPI_STORAGE_Q4_1, 32, 20},
    {6, "Q5_0", VLORPI_STORAGE_Q5_0, 32, 22},      {7, "Q5_1", VLORPI_STORAGE_Q5_1, 32, 24},
    {8, "Q8_0", VLORPI_STORAGE_Q8_0, 32, 34},      {10, "Q2_K", VLORPI_STORAGE_Q2_K, 256, 84},
    {11, "Q3_K", VLORPI_STORAGE_Q3_K, 256, 110},   {12, "Q4_K", VLORPI_STORAGE_Q4_K, 256, 144},
    {13, "Q5_K", VLORPI_STORAGE_Q5_K, 256, 176},  {14, "Q6_K", VLORPI_STORAGE_Q6_K, 256, 210},
    {15, "Q8_K", VLORPI_STORAGE_OTHER, 256, 292},  {16, "IQ2_XXS", VLORPI_STORAGE_OTHER, 256, 66},
    {17, "IQ2_XS", VLORPI_STORAGE_OTHER, 256, 74}, {18, "IQ3_XXS", VLORPI_STORAGE_OTHER, 256, 98},
    {19, "IQ1_S", VLORPI_STORAGE_OTHER, 256, 50},  {20, "IQ4_NL", VLORPI_STORAGE_OTHER, 32, 18},
    {21, "IQ3_S", VLORPI_STORAGE_OTHER, 256, 110}, {22, "IQ2_S", VLORPI_STORAGE_OTHER, 256, 82},
    {23, "IQ4_XS", VLORPI_STORAGE_OTHER, 256, 136}, {24, "I8", VLORPI_STORAGE_OTHER, 1, 1},
    {25, "I16", VLORPI_STORAGE_OTHER, 1, 2},       {26, "I32", VLORPI_STORAGE_OTHER, 1, 4},
    {27, "I64", VLORPI_STORAGE_OTHER, 1, 8},       {28, "F64", VLORPI_STORAGE_OTHER, 1, 8},
    {29, "IQ1_M", VLORPI_STORAGE_OTHER, 256, 56},  {30, "BF16", VLORPI_STORAGE_BF16, 1, 2},
    {34, "TQ1_0", VLORPI_STORAGE_OTHER, 256, 54},  {35, "TQ2_0", VLORPI_STORAGE_OTHER, 256, 66},
    {39, "MXFP4", VLORPI_STORAGE_OTHER, 32, 17},
};

static vlorp_status truncated(const cursor *c, const char *what, vlorp_err *err)
{
    VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: the file ends inside %s", c->name, c->at, what);
}

/* n bytes from here, and past them. */
static vlorp_status take(cursor *c, const unsigned char **out, size_t n, const char *what, vlorp_err *err)
{
    if (n > c->n_bytes - c->at) {
        return truncated(c, what, err);
    }
    *out = c->bytes + c->at;
    c->at += n;
    return VLORP_OK;
}

static vlorp_status take_u32(cursor *c, uint32_t *out, const char *what, vlorp_err *err)
{
    const unsigned char *bytes = NULL;
    VLORP_TRY(take(c, &bytes, sizeof *out, what, err));
    memcpy(out, bytes, sizeof *out);
    return VLORP_OK;
}

static vlorp_status take_u64(cursor *c, uint64_t *out, const char *what, vlorp_err *err)
{
    const unsigned char *bytes = NULL;
    VLORP_TRY(take(c, &bytes, sizeof *out, what, err));
    memcpy(out, bytes, sizeof *out);
    return VLORP_OK;
}

static vlorp_status take_string(cursor *c, vlorpi_bytes *out, const char *what, vlorp_err *err)
{
    uint64_t n_bytes = 0;
    const unsigned char *bytes = NULL;
    size_t begin = c->at;
    VLORP_TRY(take_u64(c, &n_bytes, what, err));
    if (n_bytes > c->n_bytes - c->at) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: %s of %" PRIu64 " bytes in a file of %zu", c->name, begin, what,
                   n_bytes, c->n_bytes);
    }
    if (n_bytes > VLORPI_GGUF_MAX_STRING_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: byte %zu: %s of %" PRIu64 " bytes; at most %d are read", c->name, begin,
                   what, n_bytes, (int)VLORPI_GGUF_MAX_STRING_BYTES);
    }
    VLORP_TRY(take(c, &bytes, (size_t)n_bytes, what, err));
    *out = (vlorpi_bytes){.text = (const char *)bytes, .n_bytes = (size_t)n_bytes};
    return VLORP_OK;
}

static vlorp_status take_name(cursor *c, vlorpi_bytes *out, const char *what, vlorp_err *err)
{
    size_t begin = c->at;
    VLORP_TRY(take_string(c, out, what, err));
    if (!vlorpi_name_ok(out->text, out->n_bytes)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: %s is empty, longer than %d bytes, or holds control characters",
                   c->name, begin, what, (int)VLORPI_NAME_MAX_BYTES);
    }
    return VLORP_OK;
}

static vlorp_status take_type(cursor *c, vlorpi_gguf_type *out, vlorp_err *err)
{
    uint32_t type = 0;
    VLORP_TRY(take_u32(c, &type, "a value's type", err));
    if (type >= VLORPI_GGUF_N_TYPES) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: unknown value type %" PRIu32, c->name, c->at - 4, type);
    }
    *out = (vlorpi_gguf_type)type;
    return VLORP_OK;
}

/* n numbers of a type of fixed size; booleans must be 0 or 1. */
static vlorp_status skip_numbers(cursor *c, vlorpi_gguf_type type, uint64_t n, vlorp_err *err)
{
    const unsigned char *bytes = NULL;
    size_t n_bytes;
    if (__builtin_mul_overflow(n, vlorpi_gguf_type_bytes(type), &n_bytes)) {
        return truncated(c, "an array", err);
    }
    VLORP_TRY(take(c, &bytes, n_bytes, "a value", err));
    for (size_t i = 0; type == VLORPI_GGUF_BOOL && i < n_bytes; i++) {
        if (bytes[i] > 1) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: a boolean of value %d", c->name, c->at - n_bytes + i,
                       bytes[i]);
        }
    }
    return VLORP_OK;
}

static vlorp_status skip_items(cursor *c, vlorpi_gguf_type type, uint64_t n, int depth, vlorp_err *err);

static vlorp_status take_array_head(cursor *c, vlorpi_gguf_type *item_type, uint64_t *n, vlorp_err *err)
{
    VLORP_TRY(take_type(c, item_type, err));
    VLORP_TRY(take_u64(c, n, "an array's length", err));
    if (*n > c->n_bytes - c->at) { /* an element takes at least a byte */
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu: an array of %" PRIu64 " elements in a file of %zu bytes",
                   c->name, c->at - 8, *n, c->n_bytes);
    }
    return VLORP_OK;
}

static vlorp_status skip_array(cursor *c, int depth, vlorp_err *err)
{
    vlorpi_gguf_type item_type = VLORPI_GGUF_U8;
    uint64_t n = 0;
    if (depth > MAX_ARRAY_DEPTH) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: byte %zu: arrays nested deeper than %d levels", c->name, c->at,
                   (int)MAX_ARRAY_DEPTH);
    }
    VLORP_TRY(take_array_head(c, &item_type, &n, err));
    return skip_items(c, item_type, n, depth, err);
}

/* Past n elements of an array of the given depth, checking each. */
static vlorp_status skip_items(cursor *c, vlorpi_gguf_type type, uint64_t n, int depth, vlorp_err *err)
{
    if (type != VLORPI_GGUF_STRING && type != VLORPI_GGUF_ARRAY) {
        return skip_numbers(c, type, n, err);
    }
    for (uint64_t i = 0; i < n; i++) {
        if (type == VLORPI_GGUF_STRING) {
            vlorpi_bytes ignored;
            VLORP_TRY(take_string(c, &ignored, "a string", err));
        } else {
            VLORP_TRY(skip_array(c, depth + 1, err));
        }
    }
    return VLORP_OK;
}

/* An array of strings, with the table that makes element i one step away. */
static vlorp_status read_string_array(vlorpi_gguf *file, cursor *c, vlorpi_gguf_key_entry *entry, vlorp_err *err)
{
    size_t begin = c->at;
    if ((uint64_t)entry->n_items > (c->n_bytes - begin) / 8) {
        return truncated(c, "an array of strings", err);
    }
    size_t n_bytes = (size_t)entry->n_items * sizeof *entry->offsets;
    entry->offsets = vlorpi_mem_alloc(file->mem, VLORPI_MEM_DATA, n_bytes);
    if (entry->offsets == NULL) {
        return vlorpi_mem_fail(file->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    for (int64_t i = 0; i < entry->n_items; i++) {
        if (c->at - begin > UINT32_MAX) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "%s: byte %zu: an array of strings of more than 4 GiB", c->name, begin);
        }
        entry->offsets[i] = (uint32_t)(c->at - begin);
        vlorpi_bytes ignored;
        VLORP_TRY(take_string(c, &ignored, "a string", err));
    }
    return VLORP_OK;
}

static vlorp_status read_value(vlorpi_gguf *file, cursor *c, vlorpi_gguf_key_entry *entry, vlorp_err *err)
{
    VLORP_TRY(take_type(c, &entry->type, err));
    entry->item_type = entry->type;
    uint64_t n = 1;
    if (entry->type == VLORPI_GGUF_ARRAY) {
        VLORP_TRY(take_array_head(c, &entry->item_type, &n, err));
    }
    entry->n_items = (int64_t)n;
    entry->items = c->bytes + c->at;
    if (entry->type == VLORPI_GGUF_ARRAY && entry->item_type == VLORPI_GGUF_STRING) {
        return read_string_array(file, c, entry, err);
    }
    return skip_items(c, entry->item_type, n, 1, err);
}

static vlorp_status read_keys(vlorpi_gguf *file, cursor *c, int64_t n, vlorp_err *err)
{
    size_t n_bytes = (size_t)n * sizeof *file->keys;
    file->keys = vlorpi_mem_calloc(file->mem, VLORPI_MEM_DATA, (size_t)n, sizeof *file->keys);
    if (file->keys == NULL) {
        return vlorpi_mem_fail(file->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    VLORP_TRY(vlorpi_name_index_init(&file->key_index, file->mem, n, err));
    while (file->n_keys < n) {
        vlorpi_gguf_key_entry *entry = &file->keys[file->n_keys];
        VLORP_TRY(take_name(c, &entry->name, "a key", err));
        if (!vlorpi_name_index_add(&file->key_index, entry->name.text, entry->name.n_bytes, file->n_keys)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: key %.*s comes twice", c->name, (int)entry->name.n_bytes,
                       entry->name.text);
        }
        file->n_keys++; /* before its value, whose table _close frees */
        VLORP_TRY(read_value(file, c, entry, err));
    }
    return VLORP_OK;
}

static const tensor_type *find_type(uint32_t id)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof tensor_types[0]; i++) {
        if (tensor_types[i].id == id) {
            return &tensor_types[i];
        }
    }
    return NULL;
}

uint32_t vlorpi_gguf_storage_id(vlorpi_storage storage)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof tensor_types[0]; i++) {
        if (tensor_types[i].storage == storage) {
            return tensor_types[i].id;
        }
    }
    return UINT32_MAX;
}

/* Dimensions, innermost first in the file. */
static vlorp_status read_shape(cursor *c, vlorpi_tensor_info *info, vlorp_err *err)
{
    uint32_t n_dims = 0;
    VLORP_TRY(take_u32(c, &n_dims, "a tensor's dimensions", err));
    if (n_dims > VLORPI_TENSOR_MAX_DIMS) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: %" PRIu32 " dimensions; at most %d are allowed", c->name,
                   info->name, n_dims, (int)VLORPI_TENSOR_MAX_DIMS);
    }
    info->n_dims = (int)n_dims;
    info->n_elements = 1;
    for (int d = info->n_dims - 1; d >= 0; d--) {
        uint64_t dim = 0;
        VLORP_TRY(take_u64(c, &dim, "a tensor's shape", err));
        if (dim > INT64_MAX || __builtin_mul_overflow(info->n_elements, (int64_t)dim, &info->n_elements)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: the shape's product is beyond 2^63", c->name, info->name);
        }
        info->shape[d] = (int64_t)dim;
    }
    return VLORP_OK;
}

/* Type and bytes needed. */
static vlorp_status read_storage(cursor *c, vlorpi_tensor_info *info, vlorp_err *err)
{
    uint32_t id = 0;
    VLORP_TRY(take_u32(c, &id, "a tensor's type", err));
    const tensor_type *type = find_type(id);
    if (type == NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: tensor %s: unknown type number %" PRIu32, c->name, info->name, id);
    }
    info->storage = type->storage;
    info->storage_name = type->name;
    int64_t row = info->n_dims > 0 ? info->shape[info->n_dims - 1] : 1;
    if (row % type->block_elements != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: rows of %" PRId64 " elements are not whole blocks of %s (%"
                   PRId64 ")", c->name, info->name, row, type->name, type->block_elements);
    }
    if (__builtin_mul_overflow((size_t)(info->n_elements / type->block_elements), type->block_bytes, &info->n_bytes)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: more than 2^64 bytes", c->name, info->name);
    }
    return VLORP_OK;
}

/* Bytes of all tensor names with a NUL after each; also the first check of the entries' lengths. */
static vlorp_status measure_names(cursor c, int64_t n, size_t *n_bytes, vlorp_err *err)
{
    *n_bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        vlorpi_bytes name;
        uint32_t n_dims = 0;
        const unsigned char *ignored = NULL;
        VLORP_TRY(take_name(&c, &name, "a tensor's name", err));
        VLORP_TRY(take_u32(&c, &n_dims, "a tensor's dimensions", err));
        VLORP_TRY(take(&c, &ignored, (size_t)n_dims * 8 + 4 + 8, "a tensor's entry", err));
        *n_bytes += name.n_bytes + 1;
    }
    return VLORP_OK;
}

/* One tensor's entry; *name_at is where its name's copy goes and moves on.  The range counts from
 * the start of the data, which is not known yet. */
static vlorp_status read_tensor(cursor *c, vlorpi_tensor_info *info, vlorpi_range *range, char **name_at,
                                vlorp_err *err)
{
    vlorpi_bytes name;
    VLORP_TRY(take_name(c, &name, "a tensor's name", err));
    memcpy(*name_at, name.text, name.n_bytes);
    (*name_at)[name.n_bytes] = '\0';
    info->name = *name_at;
    *name_at += name.n_bytes + 1;
    VLORP_TRY(read_shape(c, info, err));
    VLORP_TRY(read_storage(c, info, err));
    VLORP_TRY(take_u64(c, &range->begin, "a tensor's offset", err));
    if (__builtin_add_overflow(range->begin, (uint64_t)info->n_bytes, &range->end)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: %zu bytes from offset %" PRIu64 " go beyond 2^64", c->name,
                   info->name, info->n_bytes, range->begin);
    }
    return VLORP_OK;
}

/* Finds the data behind the header and each tensor's bytes in it. */
static vlorp_status place_tensors(vlorpi_gguf *file, const cursor *c, vlorpi_range *ranges, size_t alignment,
                                  vlorp_err *err)
{
    size_t padding = (alignment - c->at % alignment) % alignment;
    size_t n_data = c->n_bytes - c->at > padding ? c->n_bytes - c->at - padding : 0;
    const unsigned char *data = n_data > 0 ? c->bytes + c->at + padding : c->bytes + c->n_bytes;
    for (int64_t i = 0; i < file->n_tensors; i++) {
        vlorpi_tensor_info *info = &file->tensors[i];
        if (ranges[i].begin % alignment != 0) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: offset %" PRIu64 " is not a multiple of the alignment %zu",
                       c->name, info->name, ranges[i].begin, alignment);
        }
        if (ranges[i].end > n_data) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s: needs data bytes %" PRIu64 " to %" PRIu64
                       ", the file has %zu: truncated?", c->name, info->name, ranges[i].begin, ranges[i].end, n_data);
        }
        info->bytes = data + ranges[i].begin;
    }
    vlorpi_ranges_sort(ranges, file->n_tensors);
    int64_t clash = vlorpi_ranges_overlap(ranges, file->n_tensors);
    if (clash >= 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensors %s and %s share bytes", c->name,
                   file->tensors[ranges[clash - 1].item].name, file->tensors[ranges[clash].item].name);
    }
    return VLORP_OK;
}

/* Reads n entries and checks them; ranges [n] and names are scratch. */
static vlorp_status read_entries(vlorpi_gguf *file, cursor *c, int64_t n, vlorpi_range *ranges,
                                 vlorpi_name_index *names, size_t alignment, vlorp_err *err)
{
    char *name_at = file->tensor_names;
    for (int64_t i = 0; i < n; i++) {
        vlorpi_tensor_info *info = &file->tensors[i];
        ranges[i].item = i;
        VLORP_TRY(read_tensor(c, info, &ranges[i], &name_at, err));
        if (!vlorpi_name_index_add(names, info->name, strlen(info->name), i)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: tensor %s comes twice", c->name, info->name);
        }
        file->n_tensors++;
    }
    return place_tensors(file, c, ranges, alignment, err);
}

static vlorp_status read_tensors(vlorpi_gguf *file, cursor *c, int64_t n, size_t alignment, vlorp_err *err)
{
    size_t n_name_bytes = 0;
    VLORP_TRY(measure_names(*c, n, &n_name_bytes, err));
    file->tensor_names = vlorpi_mem_alloc(file->mem, VLORPI_MEM_DATA, n_name_bytes);
    file->tensors = vlorpi_mem_calloc(file->mem, VLORPI_MEM_DATA, (size_t)n, sizeof *file->tensors);
    vlorpi_range *ranges = vlorpi_mem_alloc(file->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *ranges);
    vlorpi_name_index names = {0};
    vlorp_status status;
    if (file->tensor_names == NULL || file->tensors == NULL || ranges == NULL) {
        status = vlorpi_mem_fail(file->mem, VLORPI_MEM_DATA, n_name_bytes + (size_t)n * sizeof *file->tensors, err);
    } else {
        status = vlorpi_name_index_init(&names, file->mem, n, err);
    }
    if (status == VLORP_OK) {
        status = read_entries(file, c, n, ranges, &names, alignment, err);
    }
    vlorpi_name_index_deinit(&names, file->mem);
    vlorpi_mem_free(file->mem, ranges);
    return status;
}

/* Magic, version and the two counts. */
static vlorp_status read_head(cursor *c, int64_t *n_tensors, int64_t *n_keys, vlorp_err *err)
{
    const unsigned char *magic = NULL;
    uint32_t version = 0;
    uint64_t tensors = 0;
    uint64_t keys = 0;
    VLORP_TRY(take(c, &magic, 4, "the magic number", err));
    if (memcmp(magic, "GGUF", 4) != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: does not start with GGUF", c->name);
    }
    VLORP_TRY(take_u32(c, &version, "the version", err));
    if (version != 2 && version != 3) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: GGUF version %" PRIu32 "%s; versions 2 and 3, little-endian, are "
                   "read", c->name, version, version != 0 && version % 65536 == 0 ? " (a big-endian file?)" : "");
    }
    VLORP_TRY(take_u64(c, &tensors, "the number of tensors", err));
    VLORP_TRY(take_u64(c, &keys, "the number of keys", err));
    size_t n_left = c->n_bytes - c->at;
    if (keys > n_left / MIN_KEY_BYTES || tensors > n_left / MIN_TENSOR_BYTES) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %" PRIu64 " keys and %" PRIu64 " tensors do not fit in a file of %zu "
                   "bytes", c->name, keys, tensors, c->n_bytes);
    }
    if (keys > VLORPI_GGUF_MAX_KEYS || tensors > VLORPI_GGUF_MAX_TENSORS) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: %" PRIu64 " keys and %" PRIu64 " tensors; at most %d and %d are read",
                   c->name, keys, tensors, (int)VLORPI_GGUF_MAX_KEYS, (int)VLORPI_GGUF_MAX_TENSORS);
    }
    *n_tensors = (int64_t)tensors;
    *n_keys = (int64_t)keys;
    return VLORP_OK;
}

static vlorp_status read_alignment(const vlorpi_gguf *file, const cursor *c, size_t *alignment, vlorp_err *err)
{
    int64_t value = DEFAULT_ALIGNMENT;
    if (vlorpi_gguf_has(file, "general.alignment") &&
        (!vlorpi_gguf_get_int(file, "general.alignment", &value) || value < 1 || value > MAX_ALIGNMENT ||
         (value & (value - 1)) != 0)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: general.alignment is not a power of two from 1 to %d", c->name,
                   (int)MAX_ALIGNMENT);
    }
    *alignment = (size_t)value;
    return VLORP_OK;
}

static vlorp_status read_file(vlorpi_gguf *file, cursor *c, vlorp_err *err)
{
    int64_t n_tensors = 0;
    int64_t n_keys = 0;
    size_t alignment = 0;
    VLORP_TRY(read_head(c, &n_tensors, &n_keys, err));
    VLORP_TRY(read_keys(file, c, n_keys, err));
    VLORP_TRY(read_alignment(file, c, &alignment, err));
    return read_tensors(file, c, n_tensors, alignment, err);
}

vlorp_status vlorpi_gguf_parse(vlorpi_gguf **out, vlorpi_mem *mem, const unsigned char *bytes, size_t n_bytes,
                               const char *name, vlorp_err *err)
{
    *out = NULL;
    vlorpi_gguf *file = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *file);
    if (file == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *file, err);
    }
    file->mem = mem;
    cursor c = {.name = name, .bytes = bytes, .n_bytes = n_bytes};
    vlorp_status status = read_file(file, &c, err);
    if (status != VLORP_OK) {
        vlorpi_gguf_close(file);
        return status;
    }
    *out = file;
    return VLORP_OK;
}

void vlorpi_gguf_close(vlorpi_gguf *file)
{
    if (file == NULL) {
        return;
    }
    for (int64_t i = 0; i < file->n_keys; i++) {
        vlorpi_mem_free(file->mem, file->keys[i].offsets);
    }
    vlorpi_mem_free(file->mem, file->keys);
    vlorpi_name_index_deinit(&file->key_index, file->mem);
    vlorpi_mem_free(file->mem, file->tensors);
    vlorpi_mem_free(file->mem, file->tensor_names);
    vlorpi_mem_free(file->mem, file);
}

int64_t vlorpi_gguf_n_tensors(const vlorpi_gguf *file)
{
    return file->n_tensors;
}

const vlorpi_tensor_info *vlorpi_gguf_tensor(const vlorpi_gguf *file, int64_t i)
{
    return &file->tensors[i];
}
