/* token_text.h - text on its way to tokens: UTF-8 bytes that remember where they came from.
 *
 * Layer 3, inside text/.  Knows: UTF-8, the byte alphabet of byte-level BPE.  Does not know: vocabularies.
 *
 * Offsets are whole characters of the original: a byte that stands for part of a character (byte
 * fallback, byte-level BPE) has that character's range.
 */
#ifndef VLORPI_TEXT_TOKEN_TEXT_H
#define VLORPI_TEXT_TOKEN_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* One document has at most this many bytes, so that offsets inside fit 32 bits. */
#define VLORPI_TEXT_MAX_BYTES ((size_t)1 << 30)

/* Borrowed bytes of valid UTF-8.  begin and end hold for every byte the range of the original that
 * it stands for; both NULL: byte i is byte origin + i of the original. */
typedef struct vlorpi_text {
    const char *bytes;
    size_t n_bytes;
    const uint32_t *begin, *end;
    uint32_t origin;
} vlorpi_text;

/* A part of text, on character borders. */
vlorpi_text vlorpi_text_slice(const vlorpi_text *text, size_t begin, size_t end);
/* The original's range that bytes [begin, end) of text stand for; begin < end. */
void vlorpi_text_range(const vlorpi_text *text, size_t begin, size_t end, uint32_t *from, uint32_t *to);

/* Text being made, with its ranges.  Zero-initialise, mem set; booked under DATA. */
typedef struct vlorpi_text_buffer {
    vlorpi_mem *mem;
    char *bytes;
    uint32_t *begin, *end;
    size_t n_bytes, capacity;
} vlorpi_text_buffer;

VLORP_CHECKED vlorp_status vlorpi_text_buffer_reserve(vlorpi_text_buffer *buffer, size_t n_bytes, vlorp_err *err);
/* Appends bytes that all stand for [from, to). */
VLORP_CHECKED vlorp_status vlorpi_text_buffer_add(vlorpi_text_buffer *buffer, const char *bytes, size_t n_bytes,
                                                  uint32_t from, uint32_t to, vlorp_err *err);
/* Appends bytes [begin, end) of text, each with its own range. */
VLORP_CHECKED vlorp_status vlorpi_text_buffer_copy(vlorpi_text_buffer *buffer, const vlorpi_text *text, size_t begin,
                                                   size_t end, vlorp_err *err);
vlorpi_text vlorpi_text_buffer_view(const vlorpi_text_buffer *buffer);
void vlorpi_text_buffer_deinit(vlorpi_text_buffer *buffer);

/* Reads the character at bytes (n_bytes > 0 are there).  Returns its length, 1 to 4, and sets
 * *codepoint; for bytes that are not UTF-8 the length of the longest prefix of a character there
 * (the bytes that one U+FFFD replaces) and *codepoint = -1. */
size_t vlorpi_utf8_read(const char *bytes, size_t n_bytes, int32_t *codepoint);
/* Writes a valid code point; returns 1 to 4. */
size_t vlorpi_utf8_write(char out[4], int32_t codepoint);
bool vlorpi_utf8_valid(const char *bytes, size_t n_bytes);
/* The Unicode property White_Space, and the word characters of \w. */
bool vlorpi_utf8_is_space(int32_t codepoint);
bool vlorpi_utf8_is_word(int32_t codepoint);

/* The alphabet of byte-level BPE, which spells every byte as a visible character. */
int32_t vlorpi_byte_alphabet_char(unsigned char byte);
/* The byte that a character spells, or -1. */
int vlorpi_byte_alphabet_byte(int32_t codepoint);

#endif
