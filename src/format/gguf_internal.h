/* gguf_internal.h - what gguf.c (parsing), gguf_values.c (reading metadata) and gguf_writer.c share.
 *
 * Layer 2.
 */
#ifndef VLORPI_FORMAT_GGUF_INTERNAL_H
#define VLORPI_FORMAT_GGUF_INTERNAL_H

#include "format/gguf.h"
#include "format/name_index.h"

/* Types of metadata values, numbered as in the file. */
typedef enum vlorpi_gguf_type {
    VLORPI_GGUF_U8, VLORPI_GGUF_I8, VLORPI_GGUF_U16, VLORPI_GGUF_I16, VLORPI_GGUF_U32, VLORPI_GGUF_I32,
    VLORPI_GGUF_F32, VLORPI_GGUF_BOOL, VLORPI_GGUF_STRING, VLORPI_GGUF_ARRAY, VLORPI_GGUF_U64, VLORPI_GGUF_I64,
    VLORPI_GGUF_F64, VLORPI_GGUF_N_TYPES
} vlorpi_gguf_type;

/* Bytes of one value; 0 for strings and arrays, whose length is in the file. */
size_t vlorpi_gguf_type_bytes(vlorpi_gguf_type type);

/* The number of a tensor's type in the file. */
uint32_t vlorpi_gguf_storage_id(vlorpi_storage storage);

/* One key and where its value lies. */
typedef struct vlorpi_gguf_key_entry {
    vlorpi_bytes name;
    vlorpi_gguf_type type;
    vlorpi_gguf_type item_type; /* of an array's elements, else type */
    int64_t n_items;            /* of an array, else 1 */
    const unsigned char *items; /* the value, or an array's first element */
    uint32_t *offsets;          /* arrays of strings: where element i starts, from items; owned */
} vlorpi_gguf_key_entry;

struct vlorpi_gguf {
    vlorpi_mem *mem; /* borrowed */
    vlorpi_gguf_key_entry *keys;
    int64_t n_keys;
    vlorpi_name_index key_index;
    vlorpi_tensor_info *tensors;
    int64_t n_tensors;
    char *tensor_names; /* all names, each with a NUL after it */
};

/* The value at bytes, of an integer type or bool; false: of another type, or beyond int64. */
bool vlorpi_gguf_load_int(int64_t *out, vlorpi_gguf_type type, const unsigned char *bytes);

#endif
