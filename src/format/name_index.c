#include "format/name_index.h"

#include <assert.h>
#include <string.h>

/* 64-bit FNV-1a. */
static uint64_t hash_of(const char *text, size_t n_bytes)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n_bytes; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001B3u;
    }
    return hash ^ hash >> 32;
}

vlorp_status vlorpi_name_index_init(vlorpi_name_index *index, vlorpi_mem *mem, int64_t capacity, vlorp_err *err)
{
    size_t n_slots = 8;
    while (n_slots < 2 * (size_t)capacity) {
        n_slots *= 2;
    }
    *index = (vlorpi_name_index){0};
    index->slots = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, n_slots, sizeof *index->slots);
    if (index->slots == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, n_slots * sizeof *index->slots, err);
    }
    index->n_slots = n_slots;
    return VLORP_OK;
}

void vlorpi_name_index_deinit(vlorpi_name_index *index, vlorpi_mem *mem)
{
    vlorpi_mem_free(mem, index->slots);
    *index = (vlorpi_name_index){0};
}

/* The slot that holds the name, or the free one where it belongs: linear probing. */
static vlorpi_name_slot *slot_of(const vlorpi_name_index *index, const char *text, size_t n_bytes)
{
    size_t mask = index->n_slots - 1;
    size_t i = (size_t)hash_of(text, n_bytes) & mask;
    for (;;) {
        vlorpi_name_slot *slot = &index->slots[i];
        if (slot->text == NULL || (slot->n_bytes == n_bytes && memcmp(slot->text, text, n_bytes) == 0)) {
            return slot;
        }
        i = (i + 1) & mask;
    }
}

bool vlorpi_name_index_add(vlorpi_name_index *index, const char *text, size_t n_bytes, int64_t item)
{
    assert(text != NULL);
    vlorpi_name_slot *slot = slot_of(index, text, n_bytes);
    if (slot->text != NULL) {
        return false;
    }
    *slot = (vlorpi_name_slot){.text = text, .n_bytes = n_bytes, .item = item};
    return true;
}

int64_t vlorpi_name_index_find(const vlorpi_name_index *index, const char *text, size_t n_bytes)
{
    if (index->n_slots == 0) {
        return -1;
    }
    const vlorpi_name_slot *slot = slot_of(index, text, n_bytes);
    return slot->text != NULL ? slot->item : -1;
}

bool vlorpi_name_ok(const char *text, size_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > VLORPI_NAME_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7F) {
            return false;
        }
    }
    return true;
}
