#include "format/gguf_writer.h"

#include <string.h>

#include "format/gguf_internal.h"

enum { VERSION = 3, ALIGNMENT = 32 };

static void put(vlorpi_gguf_writer *w, const void *bytes, size_t n_bytes)
{
    w->n_bytes += n_bytes;
    if (w->sink != NULL && w->status == VLORP_OK) {
        w->status = w->sink(w->ctx, bytes, n_bytes, w->err);
    }
}

static void put_u32(vlorpi_gguf_writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static void put_u64(vlorpi_gguf_writer *w, uint64_t value)
{
    put(w, &value, sizeof value);
}

void vlorpi_gguf_put_item_text(vlorpi_gguf_writer *w, const char *text, size_t n_bytes)
{
    put_u64(w, n_bytes);
    put(w, text, n_bytes);
}

void vlorpi_gguf_put_item_pair(vlorpi_gguf_writer *w, const char *left, size_t n_left, const char *right,
                               size_t n_right)
{
    put_u64(w, n_left + 1 + n_right);
    put(w, left, n_left);
    put(w, " ", 1);
    put(w, right, n_right);
}

void vlorpi_gguf_put_item_float(vlorpi_gguf_writer *w, float value)
{
    put(w, &value, sizeof value);
}

void vlorpi_gguf_put_item_int(vlorpi_gguf_writer *w, int32_t value)
{
    put(w, &value, sizeof value);
}

static void put_key(vlorpi_gguf_writer *w, const char *key, vlorpi_gguf_type type)
{
    w->n_keys++;
    vlorpi_gguf_put_item_text(w, key, strlen(key));
    put_u32(w, (uint32_t)type);
}

static void put_array(vlorpi_gguf_writer *w, const char *key, vlorpi_gguf_type type, int64_t n)
{
    put_key(w, key, VLORPI_GGUF_ARRAY);
    put_u32(w, (uint32_t)type);
    put_u64(w, (uint64_t)n);
}

void vlorpi_gguf_put_head(vlorpi_gguf_writer *w, int64_t n_tensors, int64_t n_keys)
{
    put(w, "GGUF", 4);
    put_u32(w, VERSION);
    put_u64(w, (uint64_t)n_tensors);
    put_u64(w, (uint64_t)n_keys);
}

void vlorpi_gguf_put_u32(vlorpi_gguf_writer *w, const char *key, uint32_t value)
{
    put_key(w, key, VLORPI_GGUF_U32);
    put_u32(w, value);
}

void vlorpi_gguf_put_f32(vlorpi_gguf_writer *w, const char *key, float value)
{
    put_key(w, key, VLORPI_GGUF_F32);
    put(w, &value, sizeof value);
}

void vlorpi_gguf_put_bool(vlorpi_gguf_writer *w, const char *key, bool value)
{
    unsigned char byte = value ? 1 : 0;
    put_key(w, key, VLORPI_GGUF_BOOL);
    put(w, &byte, 1);
}

void vlorpi_gguf_put_text(vlorpi_gguf_writer *w, const char *key, const char *text, size_t n_bytes)
{
    put_key(w, key, VLORPI_GGUF_STRING);
    vlorpi_gguf_put_item_text(w, text, n_bytes);
}

void vlorpi_gguf_put_texts(vlorpi_gguf_writer *w, const char *key, int64_t n)
{
    put_array(w, key, VLORPI_GGUF_STRING, n);
}

void vlorpi_gguf_put_floats(vlorpi_gguf_writer *w, const char *key, int64_t n)
{
    put_array(w, key, VLORPI_GGUF_F32, n);
}

void vlorpi_gguf_put_ints(vlorpi_gguf_writer *w, const char *key, int64_t n)
{
    put_array(w, key, VLORPI_GGUF_I32, n);
}

void vlorpi_gguf_put_tensor(vlorpi_gguf_writer *w, const vlorpi_tensor_info *info, uint64_t *offset)
{
    int64_t n_elements = 1;
    vlorpi_gguf_put_item_text(w, info->name, strlen(info->name));
    put_u32(w, (uint32_t)info->n_dims);
    for (int d = info->n_dims - 1; d >= 0; d--) {
        put_u64(w, (uint64_t)info->shape[d]);
        n_elements *= info->shape[d];
    }
    put_u32(w, vlorpi_gguf_storage_id(info->storage));
    put_u64(w, *offset);
    uint64_t n_blocks = (uint64_t)(n_elements / vlorpi_storage_block_elements(info->storage));
    uint64_t end = *offset + n_blocks * vlorpi_storage_block_bytes(info->storage);
    *offset = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void vlorpi_gguf_put_padding(vlorpi_gguf_writer *w, uint64_t n_bytes)
{
    static const unsigned char zeros[ALIGNMENT];
    put(w, zeros, (size_t)((ALIGNMENT - n_bytes % ALIGNMENT) % ALIGNMENT));
}
