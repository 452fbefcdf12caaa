#include "data/token_store.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_TOKENS = 1 << 20 };

void vlorpi_token_store_init(vlorpi_token_store *store, vlorpi_mem *mem, int64_t max_length)
{
    *store = (vlorpi_token_store){
        .mem = mem,
        .block_tokens = max_length > BLOCK_TOKENS ? max_length : BLOCK_TOKENS,
    };
}

void vlorpi_token_store_deinit(vlorpi_token_store *store)
{
    for (int64_t b = 0; b < store->n_blocks; b++) {
        vlorpi_mem_free(store->mem, store->blocks[b]);
    }
    vlorpi_mem_free(store->mem, store->blocks);
    vlorpi_mem_free(store->mem, store->begins);
    vlorpi_mem_free(store->mem, store->lengths);
    *store = (vlorpi_token_store){0};
}

/* Resizes *array to n items; on failure it stays as it was. */
static vlorp_status resize(vlorpi_mem *mem, void **array, int64_t n, size_t item_bytes, vlorp_err *err)
{
    size_t n_bytes = (size_t)n * item_bytes;
    void *moved = vlorpi_mem_realloc(mem, VLORPI_MEM_DATA, *array, n_bytes);
    if (moved == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    *array = moved;
    return VLORP_OK;
}

static vlorp_status resize_index(vlorpi_token_store *store, int64_t n, vlorp_err *err)
{
    void *begins = store->begins;
    void *lengths = store->lengths;
    vlorp_status status = resize(store->mem, &begins, n, sizeof store->begins[0], err);
    store->begins = begins;
    if (status == VLORP_OK) {
        status = resize(store->mem, &lengths, n, sizeof store->lengths[0], err);
        store->lengths = lengths;
    }
    return status;
}

static vlorp_status add_block(vlorpi_token_store *store, vlorp_err *err)
{
    if (store->n_blocks == store->blocks_capacity) {
        int64_t capacity = 2 * store->blocks_capacity + 8;
        void *blocks = store->blocks;
        VLORP_TRY(resize(store->mem, &blocks, capacity, sizeof store->blocks[0], err));
        store->blocks = blocks;
        store->blocks_capacity = capacity;
    }
    void *block = NULL;
    VLORP_TRY(resize(store->mem, &block, store->block_tokens, sizeof store->blocks[0][0], err));
    store->blocks[store->n_blocks++] = block;
    store->used = 0;
    return VLORP_OK;
}

static vlorp_status make_room(vlorpi_token_store *store, int64_t n, vlorp_err *err)
{
    if (store->n_examples == INT32_MAX) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "the data set has more than %d examples", INT32_MAX);
    }
    if (store->n_examples == store->examples_capacity) {
        int64_t capacity = store->examples_capacity + store->examples_capacity / 2 + 1024;
        VLORP_TRY(resize_index(store, capacity, err));
        store->examples_capacity = capacity;
    }
    if (store->n_blocks == 0 || store->block_tokens - store->used < n) {
        VLORP_TRY(add_block(store, err));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_token_store_reserve(int32_t **codes, vlorpi_token_store *store, int64_t n, vlorp_err *err)
{
    assert(n <= store->block_tokens);
    *codes = NULL;
    VLORP_TRY(make_room(store, n, err));
    *codes = store->blocks[store->n_blocks - 1] + store->used;
    return VLORP_OK;
}

void vlorpi_token_store_commit(vlorpi_token_store *store, int64_t n)
{
    store->begins[store->n_examples] = (store->n_blocks - 1) * store->block_tokens + store->used;
    store->lengths[store->n_examples] = (int32_t)n;
    store->n_examples++;
    store->used += n;
}

const int32_t *vlorpi_token_store_codes(const vlorpi_token_store *store, int64_t i)
{
    return store->blocks[store->begins[i] / store->block_tokens] + store->begins[i] % store->block_tokens;
}

vlorp_status vlorpi_token_store_trim(vlorpi_token_store *store, vlorp_err *err)
{
    if (store->n_blocks > 0) {
        void *last = store->blocks[store->n_blocks - 1];
        VLORP_TRY(resize(store->mem, &last, store->used, sizeof store->blocks[0][0], err));
        store->blocks[store->n_blocks - 1] = last;
        void *blocks = store->blocks;
        VLORP_TRY(resize(store->mem, &blocks, store->n_blocks, sizeof store->blocks[0], err));
        store->blocks = blocks;
        store->blocks_capacity = store->n_blocks;
    }
    store->examples_capacity = store->n_examples;
    return resize_index(store, store->n_examples, err);
}
