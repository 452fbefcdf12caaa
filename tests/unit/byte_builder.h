/* byte_builder.h - files made in memory, byte by byte, for the tests of parsers. */
#ifndef VLORP_TESTS_BYTE_BUILDER_H
#define VLORP_TESTS_BYTE_BUILDER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Zero-initialise; build_free at the end. */
typedef struct builder {
    unsigned char *bytes;
    size_t n, capacity;
} builder;

static inline void build_bytes(builder *b, const void *bytes, size_t n)
{
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n);
        b->bytes = realloc(b->bytes, b->capacity);
        if (b->bytes == NULL) {
            abort();
        }
    }
    if (n > 0) {
        memcpy(b->bytes + b->n, bytes, n);
        b->n += n;
    }
}

static inline void build_u32(builder *b, uint32_t value)
{
    build_bytes(b, &value, sizeof value);
}

static inline void build_u64(builder *b, uint64_t value)
{
    build_bytes(b, &value, sizeof value);
}

static inline void build_zeros(builder *b, size_t n)
{
    static const unsigned char zeros[256];
    for (; n > 0; n -= n < sizeof zeros ? n : sizeof zeros) {
        build_bytes(b, zeros, n < sizeof zeros ? n : sizeof zeros);
    }
}

/* A GGUF string: length, text. */
static inline void build_string(builder *b, const char *text)
{
    build_u64(b, strlen(text));
    build_bytes(b, text, strlen(text));
}

/* A safetensors file: header length, header, n_data zero bytes. */
static inline void build_safetensors(builder *b, const char *header, size_t n_data)
{
    build_u64(b, strlen(header));
    build_bytes(b, header, strlen(header));
    build_zeros(b, n_data);
}

static inline void build_free(builder *b)
{
    free(b->bytes);
    *b = (builder){0};
}

/* A copy in a block of exactly its size, so that a sanitizer sees a read past the end. */
static inline unsigned char *exact_copy(const unsigned char *bytes, size_t n)
{
    unsigned char *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL) {
        abort();
    }
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

#endif
