#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/gguf_internal.h"

size_t vlorpi_gguf_type_bytes(vlorpi_gguf_type type)
{
    static const size_t n_bytes[VLORPI_GGUF_N_TYPES] = {
        [VLORPI_GGUF_U8] = 1,  [VLORPI_GGUF_I8] = 1,  [VLORPI_GGUF_U16] = 2, [VLORPI_GGUF_I16] = 2,
        [VLORPI_GGUF_U32] = 4, [VLORPI_GGUF_I32] = 4, [VLORPI_GGUF_F32] = 4, [VLORPI_GGUF_BOOL] = 1,
        [VLORPI_GGUF_U64] = 8, [VLORPI_GGUF_I64] = 8, [VLORPI_GGUF_F64] = 8};
    return n_bytes[type];
}

/* Little-endian, sign-extended for the signed types. */
bool vlorpi_gguf_load_int(int64_t *out, vlorpi_gguf_type type, const unsigned char *bytes)
{
    bool is_signed = type == VLORPI_GGUF_I8 || type == VLORPI_GGUF_I16 || type == VLORPI_GGUF_I32;
    size_t n_bytes = vlorpi_gguf_type_bytes(type);
    if (n_bytes == 0 || type == VLORPI_GGUF_F32 || type == VLORPI_GGUF_F64) {
        return false;
    }
    uint64_t value = 0;
    memcpy(&value, bytes, n_bytes);
    if (is_signed && bytes[n_bytes - 1] >= 0x80) {
        value |= UINT64_MAX << (8 * n_bytes);
    }
    if (type == VLORPI_GGUF_U64 && value > INT64_MAX) {
        return false;
    }
    memcpy(out, &value, sizeof *out);
    return true;
}

static bool load_double(double *out, vlorpi_gguf_type type, const unsigned char *bytes)
{
    if (type == VLORPI_GGUF_F32) {
        float value;
        memcpy(&value, bytes, sizeof value);
        *out = (double)value;
        return true;
    }
    if (type == VLORPI_GGUF_F64) {
        memcpy(out, bytes, sizeof *out);
        return true;
    }
    return false;
}

/* A length of 8 bytes and the text, checked by the parser. */
static vlorpi_bytes load_string(const unsigned char *bytes)
{
    uint64_t n_bytes;
    memcpy(&n_bytes, bytes, sizeof n_bytes);
    return (vlorpi_bytes){.text = (const char *)bytes + sizeof n_bytes, .n_bytes = (size_t)n_bytes};
}

static const vlorpi_gguf_key_entry *find(const vlorpi_gguf *file, const char *key)
{
    int64_t i = vlorpi_name_index_find(&file->key_index, key, strlen(key));
    return i >= 0 ? &file->keys[i] : NULL;
}

bool vlorpi_gguf_has(const vlorpi_gguf *file, const char *key)
{
    return find(file, key) != NULL;
}

bool vlorpi_gguf_get_int(const vlorpi_gguf *file, const char *key, int64_t *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    return entry != NULL && vlorpi_gguf_load_int(out, entry->type, entry->items);
}

bool vlorpi_gguf_get_double(const vlorpi_gguf *file, const char *key, double *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    return entry != NULL && load_double(out, entry->type, entry->items);
}

bool vlorpi_gguf_get_string(const vlorpi_gguf *file, const char *key, vlorpi_bytes *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    if (entry == NULL || entry->type != VLORPI_GGUF_STRING) {
        return false;
    }
    *out = load_string(entry->items);
    return true;
}

int64_t vlorpi_gguf_array_length(const vlorpi_gguf *file, const char *key)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    return entry != NULL && entry->type == VLORPI_GGUF_ARRAY ? entry->n_items : -1;
}

/* Where element i of an array starts; NULL when there is no such element or it is an array. */
static const unsigned char *element(const vlorpi_gguf_key_entry *entry, int64_t i)
{
    if (entry == NULL || entry->type != VLORPI_GGUF_ARRAY || i < 0 || i >= entry->n_items) {
        return NULL;
    }
    if (entry->item_type == VLORPI_GGUF_STRING) {
        return entry->items + entry->offsets[i];
    }
    size_t item_bytes = vlorpi_gguf_type_bytes(entry->item_type);
    return item_bytes > 0 ? entry->items + (size_t)i * item_bytes : NULL;
}

bool vlorpi_gguf_array_string(const vlorpi_gguf *file, const char *key, int64_t i, vlorpi_bytes *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    const unsigned char *at = element(entry, i);
    if (at == NULL || entry->item_type != VLORPI_GGUF_STRING) {
        return false;
    }
    *out = load_string(at);
    return true;
}

bool vlorpi_gguf_array_int(const vlorpi_gguf *file, const char *key, int64_t i, int64_t *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    const unsigned char *at = element(entry, i);
    return at != NULL && vlorpi_gguf_load_int(out, entry->item_type, at);
}

bool vlorpi_gguf_array_double(const vlorpi_gguf *file, const char *key, int64_t i, double *out)
{
    const vlorpi_gguf_key_entry *entry = find(file, key);
    const unsigned char *at = element(entry, i);
    return at != NULL && load_double(out, entry->item_type, at);
}

int64_t vlorpi_gguf_n_keys(const vlorpi_gguf *file)
{
    return file->n_keys;
}

vlorpi_bytes vlorpi_gguf_key(const vlorpi_gguf *file, int64_t i)
{
    return file->keys[i].name;
}

/* A text of at most n_bytes with its NUL, filled from the left. */
typedef struct short_text {
    char *out;
    size_t n_bytes;
    size_t n;
} short_text;

/* Appends a byte and keeps the NUL; nothing happens when there is no room. */
static void append_byte(short_text *text, char byte)
{
    if (text->n + 1 < text->n_bytes) {
        text->out[text->n++] = byte;
        text->out[text->n] = '\0';
    }
}

static void append(short_text *text, const char *more)
{
    while (*more != '\0') {
        append_byte(text, *more++);
    }
}

/* In quotes; line ends and other control characters are escaped, so that a terminal stays whole. */
static void append_quoted(short_text *text, vlorpi_bytes string)
{
    append_byte(text, '"');
    for (size_t i = 0; i < string.n_bytes && text->n + 1 < text->n_bytes; i++) {
        unsigned char byte = (unsigned char)string.text[i];
        if (byte == '\n') {
            append(text, "\\n");
        } else if (byte < 0x20 || byte == 0x7F) {
            char escaped[8];
            (void)snprintf(escaped, sizeof escaped, "\\x%02x", byte);
            append(text, escaped);
        } else {
            append_byte(text, (char)byte);
        }
    }
    append_byte(text, '"');
}

static void append_value(short_text *text, vlorpi_gguf_type type, const unsigned char *bytes)
{
    char number[40];
    int64_t integer;
    double real;
    uint64_t bits;
    if (type == VLORPI_GGUF_STRING) {
        append_quoted(text, load_string(bytes));
        return;
    }
    if (type == VLORPI_GGUF_BOOL) {
        append(text, *bytes != 0 ? "true" : "false");
        return;
    }
    if (vlorpi_gguf_load_int(&integer, type, bytes)) {
        (void)snprintf(number, sizeof number, "%" PRId64, integer);
    } else if (load_double(&real, type, bytes)) {
        (void)snprintf(number, sizeof number, "%.9g", real);
    } else {
        memcpy(&bits, bytes, sizeof bits); /* the one type left: a 64-bit number beyond int64 */
        (void)snprintf(number, sizeof number, "%" PRIu64, bits);
    }
    append(text, number);
}

void vlorpi_gguf_value_text(const vlorpi_gguf *file, int64_t i, char *text, size_t n_bytes)
{
    static const char *const plurals[VLORPI_GGUF_N_TYPES] = {
        "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "strings", "arrays", "u64", "i64", "f64"};
    enum { MAX_SHOWN = 8 };
    const vlorpi_gguf_key_entry *entry = &file->keys[i];
    short_text t = {.out = text, .n_bytes = n_bytes};
    if (n_bytes > 0) {
        text[0] = '\0';
    }
    if (entry->type != VLORPI_GGUF_ARRAY) {
        append_value(&t, entry->type, entry->items);
        return;
    }
    char count[64];
    (void)snprintf(count, sizeof count, "%" PRId64 " %s", entry->n_items, plurals[entry->item_type]);
    append(&t, count);
    for (int64_t k = 0; k < entry->n_items && k < MAX_SHOWN && element(entry, k) != NULL; k++) {
        append(&t, k == 0 ? ": " : ", ");
        append_value(&t, entry->item_type, element(entry, k));
    }
    if (entry->n_items > MAX_SHOWN && element(entry, 0) != NULL) {
        append(&t, ", ...");
    }
}
