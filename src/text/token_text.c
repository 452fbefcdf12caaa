#include "text/token_text.h"

#include <string.h>

#include <utf8proc.h>

vlorpi_text vlorpi_text_slice(const vlorpi_text *text, size_t begin, size_t end)
{
    vlorpi_text slice = {.bytes = text->bytes + begin, .n_bytes = end - begin};
    if (text->begin != NULL) {
        slice.begin = text->begin + begin;
        slice.end = text->end + begin;
    } else {
        slice.origin = text->origin + (uint32_t)begin;
    }
    return slice;
}

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xC0u) == 0x80u;
}

void vlorpi_text_range(const vlorpi_text *text, size_t begin, size_t end, uint32_t *from, uint32_t *to)
{
    if (text->begin != NULL) {
        *from = text->begin[begin];
        *to = text->end[end - 1];
        return;
    }
    while (begin > 0 && is_continuation(text->bytes[begin])) {
        begin--;
    }
    while (end < text->n_bytes && is_continuation(text->bytes[end])) {
        end++;
    }
    *from = text->origin + (uint32_t)begin;
    *to = text->origin + (uint32_t)end;
}

vlorp_status vlorpi_text_buffer_reserve(vlorpi_text_buffer *buffer, size_t n_bytes, vlorp_err *err)
{
    if (n_bytes <= buffer->capacity) {
        return VLORP_OK;
    }
    if (n_bytes > 4 * VLORPI_TEXT_MAX_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "normalising makes the text longer than %zu bytes", 4 * VLORPI_TEXT_MAX_BYTES);
    }
    size_t capacity = n_bytes + n_bytes / 2 + 64;
    char *bytes = vlorpi_mem_realloc(buffer->mem, VLORPI_MEM_DATA, buffer->bytes, capacity);
    if (bytes != NULL) {
        buffer->bytes = bytes;
    }
    uint32_t *begin = vlorpi_mem_realloc(buffer->mem, VLORPI_MEM_DATA, buffer->begin, capacity * sizeof *begin);
    if (begin != NULL) {
        buffer->begin = begin;
    }
    uint32_t *end = vlorpi_mem_realloc(buffer->mem, VLORPI_MEM_DATA, buffer->end, capacity * sizeof *end);
    if (end != NULL) {
        buffer->end = end;
    }
    if (bytes == NULL || begin == NULL || end == NULL) {
        return vlorpi_mem_fail(buffer->mem, VLORPI_MEM_DATA, capacity * 9, err);
    }
    buffer->capacity = capacity;
    return VLORP_OK;
}

vlorp_status vlorpi_text_buffer_add(vlorpi_text_buffer *buffer, const char *bytes, size_t n_bytes, uint32_t from,
                                    uint32_t to, vlorp_err *err)
{
    VLORP_TRY(vlorpi_text_buffer_reserve(buffer, buffer->n_bytes + n_bytes, err));
    for (size_t i = 0; i < n_bytes; i++) {
        buffer->bytes[buffer->n_bytes] = bytes[i];
        buffer->begin[buffer->n_bytes] = from;
        buffer->end[buffer->n_bytes] = to;
        buffer->n_bytes++;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_text_buffer_copy(vlorpi_text_buffer *buffer, const vlorpi_text *text, size_t begin, size_t end,
                                     vlorp_err *err)
{
    VLORP_TRY(vlorpi_text_buffer_reserve(buffer, buffer->n_bytes + (end - begin), err));
    if (begin == end) {
        return VLORP_OK;
    }
    memcpy(buffer->bytes + buffer->n_bytes, text->bytes + begin, end - begin);
    uint32_t *out_begin = buffer->begin + buffer->n_bytes;
    uint32_t *out_end = buffer->end + buffer->n_bytes;
    buffer->n_bytes += end - begin;
    if (text->begin != NULL) {
        memcpy(out_begin, text->begin + begin, (end - begin) * sizeof *out_begin);
        memcpy(out_end, text->end + begin, (end - begin) * sizeof *out_end);
        return VLORP_OK;
    }
    for (size_t i = begin; i < end;) {
        size_t next = i + 1;
        while (next < end && is_continuation(text->bytes[next])) {
            next++;
        }
        for (size_t k = i; k < next; k++) {
            out_begin[k - begin] = text->origin + (uint32_t)i;
            out_end[k - begin] = text->origin + (uint32_t)next;
        }
        i = next;
    }
    return VLORP_OK;
}

vlorpi_text vlorpi_text_buffer_view(const vlorpi_text_buffer *buffer)
{
    if (buffer->bytes == NULL) {
        return (vlorpi_text){.bytes = ""};
    }
    return (vlorpi_text){
        .bytes = buffer->bytes, .n_bytes = buffer->n_bytes, .begin = buffer->begin, .end = buffer->end};
}

void vlorpi_text_buffer_deinit(vlorpi_text_buffer *buffer)
{
    vlorpi_mem_free(buffer->mem, buffer->bytes);
    vlorpi_mem_free(buffer->mem, buffer->begin);
    vlorpi_mem_free(buffer->mem, buffer->end);
    *buffer = (vlorpi_text_buffer){.mem = buffer->mem};
}

size_t vlorpi_utf8_read(const char *bytes, size_t n_bytes, int32_t *codepoint)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (b[0] < 0x80) {
        *codepoint = b[0];
        return 1;
    }
    *codepoint = -1;
    /* The second byte's range excludes overlong forms, surrogates and values above U+10FFFF. */
    unsigned low = 0x80;
    unsigned high = 0xBF;
    size_t length;
    int32_t value;
    if (b[0] >= 0xC2 && b[0] <= 0xDF) {
        length = 2;
        value = b[0] & 0x1F;
    } else if (b[0] >= 0xE0 && b[0] <= 0xEF) {
        length = 3;
        value = b[0] & 0x0F;
        low = b[0] == 0xE0 ? 0xA0 : 0x80;
        high = b[0] == 0xED ? 0x9F : 0xBF;
    } else if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        length = 4;
        value = b[0] & 0x07;
        low = b[0] == 0xF0 ? 0x90 : 0x80;
        high = b[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 1;
    }
    for (size_t i = 1; i < length; i++) {
        if (i >= n_bytes || b[i] < low || b[i] > high) {
            return i;
        }
        value = (value << 6) | (b[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *codepoint = value;
    return length;
}

size_t vlorpi_utf8_write(char out[4], int32_t codepoint)
{
    return (size_t)utf8proc_encode_char(codepoint, (utf8proc_uint8_t *)out);
}

bool vlorpi_utf8_valid(const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes;) {
        uint64_t eight;
        if (i + sizeof eight <= n_bytes) {
            memcpy(&eight, bytes + i, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        int32_t codepoint;
        i += vlorpi_utf8_read(bytes + i, n_bytes - i, &codepoint);
        if (codepoint < 0) {
            return false;
        }
    }
    return true;
}

bool vlorpi_utf8_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool vlorpi_utf8_is_word(int32_t codepoint)
{
    switch (utf8proc_category(codepoint)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
    }
}

/* Printable Latin-1 spells itself; the other 68 bytes, in order, are U+0100 and up. */
static bool spells_itself(int32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

int32_t vlorpi_byte_alphabet_char(unsigned char byte)
{
    if (spells_itself(byte)) {
        return byte;
    }
    if (byte <= 0x20) {
        return 0x100 + byte;
    }
    return byte == 0xAD ? 0x143 : 0x121 + (byte - 0x7F);
}

int vlorpi_byte_alphabet_byte(int32_t c)
{
    if (c >= 0 && c <= 0xFF) {
        return spells_itself(c) ? (int)c : -1;
    }
    if (c >= 0x100 && c <= 0x120) {
        return (int)c - 0x100;
    }
    if (c >= 0x121 && c <= 0x142) {
        return (int)c - 0x121 + 0x7F;
    }
    return c == 0x143 ? 0xAD : -1;
}
