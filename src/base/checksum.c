#include "base/checksum.h"

#include <string.h>

static const uint64_t FNV_BASIS = 0xCBF29CE484222325u;
static const uint64_t FNV_PRIME = 0x100000001B3u;

/* n_bytes is a multiple of 8. */
static uint64_t hash_words(uint64_t hash, const unsigned char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * FNV_PRIME;
        hash ^= hash >> 32;
    }
    return hash;
}

vlorpi_checksum vlorpi_checksum_begin(uint64_t salt)
{
    return (vlorpi_checksum){.hash = FNV_BASIS ^ salt};
}

void vlorpi_checksum_add(vlorpi_checksum *sum, const void *bytes, size_t n_bytes)
{
    const unsigned char *at = bytes;
    while (n_bytes > 0 && sum->n_tail > 0 && sum->n_tail < 8) {
        sum->tail[sum->n_tail++] = *at++;
        n_bytes--;
    }
    if (sum->n_tail == 8) {
        sum->hash = hash_words(sum->hash, sum->tail, 8);
        sum->n_tail = 0;
    }
    size_t whole = n_bytes / 8 * 8;
    sum->hash = hash_words(sum->hash, at, whole);
    if (n_bytes > whole) {
        memcpy(sum->tail, at + whole, n_bytes - whole);
        sum->n_tail = n_bytes - whole;
    }
}

uint64_t vlorpi_checksum_value(const vlorpi_checksum *sum)
{
    unsigned char last[8] = {0};
    if (sum->n_tail == 0) {
        return sum->hash;
    }
    memcpy(last, sum->tail, sum->n_tail);
    return hash_words(sum->hash, last, 8);
}
