/* token_store.h - the token ids of many examples, in large blocks: growing copies nothing.
 *
 * Layer 4.  Does not know where ids come from.
 *
 * A token that is not to be predicted (a prompt's, and every example's first) is stored as ~id: the
 * mask costs no memory, whatever its shape.
 */
#ifndef VLORPI_DATA_TOKEN_STORE_H
#define VLORPI_DATA_TOKEN_STORE_H

#include <stdint.h>

#include "base/mem.h"

typedef struct vlorpi_token_store {
    vlorpi_mem *mem;
    int32_t **blocks; /* [n_blocks] each of block_tokens, the last one shorter after trimming */
    int64_t n_blocks, blocks_capacity;
    int64_t block_tokens;
    int64_t used;     /* tokens taken of the last block */
    int64_t *begins;  /* [n_examples] where each example begins: block * block_tokens + place in the block */
    int32_t *lengths; /* [n_examples] */
    int64_t n_examples, examples_capacity;
} vlorpi_token_store;

/* Zero bytes are held until the first token.  max_length: of any example. */
void vlorpi_token_store_init(vlorpi_token_store *store, vlorpi_mem *mem, int64_t max_length);
void vlorpi_token_store_deinit(vlorpi_token_store *store);

/* Room for one example of up to n <= max_length codes; what was reserved and not committed is given
 * again.  Commit takes the first n codes as the next example.
 * Errors: E_NOMEM; E_LIMIT beyond 2^31 - 1 examples. */
VLORP_CHECKED vlorp_status vlorpi_token_store_reserve(int32_t **codes, vlorpi_token_store *store, int64_t n,
                                                      vlorp_err *err);
void vlorpi_token_store_commit(vlorpi_token_store *store, int64_t n);

/* The codes of example i: borrowed. */
const int32_t *vlorpi_token_store_codes(const vlorpi_token_store *store, int64_t i);

/* Gives back what is not used; nothing can be added afterwards. */
VLORP_CHECKED vlorp_status vlorpi_token_store_trim(vlorpi_token_store *store, vlorp_err *err);

#endif
