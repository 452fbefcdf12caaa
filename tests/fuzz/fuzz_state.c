/* The optimizer's state: bytes either load, and save to a state of the same size, or change nothing. */
#include "fuzz_target.h"

#include <string.h>

#include <vlorp/vlorp.h>

enum { N = 12, COLS = 20, LARGEST = 1 << 16 };

static vlorp_optimizer *make(void)
{
    static const vlorp_rule rules[] = {VLORP_RULE_PROJFACTOR, VLORP_RULE_VLORP_SS, VLORP_RULE_PROJFACTOR,
                                       VLORP_RULE_ADAMW};
    static const char *const names[] = {"a", "b", "c", "d"};
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    config.state_dtype = VLORP_BF16;
    vlorp_optimizer *o;
    FUZZ_EXPECT(vlorp_optimizer_create(&o, &config, NULL) == VLORP_OK);
    for (int i = 0; i < 4; i++) {
        vlorp_matrix m = vlorp_matrix_default();
        int id;
        m.name = names[i];
        m.n = N;
        m.m = COLS;
        m.rule = rules[i];
        m.projection.factor = 2;
        m.projection.rank = 2;
        m.projection.distribution = i == 2 ? VLORP_SVD : VLORP_NORMAL;
        FUZZ_EXPECT(vlorp_optimizer_add_matrix(o, &m, &id, NULL) == VLORP_OK);
    }
    FUZZ_EXPECT(vlorp_optimizer_commit(o, NULL) == VLORP_OK);
    return o;
}

/* Corrects the checksum, so that damage reaches what lies behind it. */
static void seal(uint8_t *bytes, size_t n_bytes)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i + 16 <= n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x100000001B3u;
        hash ^= hash >> 32;
    }
    memcpy(bytes + n_bytes - 8, &hash, 8);
}

typedef struct source {
    const uint8_t *bytes;
    size_t at, n_bytes;
} source;

static vlorp_status read_source(void *ctx, void *bytes, size_t n, vlorp_err *err)
{
    source *s = ctx;
    (void)err;
    if (n > s->n_bytes - s->at) {
        return VLORP_E_IO;
    }
    if (n > 0) {
        memcpy(bytes, s->bytes + s->at, n);
    }
    s->at += n;
    return VLORP_OK;
}

static void try_buffer(vlorp_optimizer *o, const uint8_t *bytes, size_t n_bytes)
{
    static uint8_t before[LARGEST];
    static uint8_t after[LARGEST];
    vlorp_err err;
    uint64_t size;
    FUZZ_EXPECT(vlorp_optimizer_state_size(o, &size, &err) == VLORP_OK && size <= LARGEST);
    FUZZ_EXPECT(vlorp_optimizer_save_buffer(o, before, sizeof before, &err) == VLORP_OK);
    vlorp_status status = vlorp_optimizer_load_buffer(o, bytes, n_bytes, &err);
    FUZZ_EXPECT(vlorp_optimizer_save_buffer(o, after, sizeof after, &err) == VLORP_OK);
    FUZZ_EXPECT(status == VLORP_OK || memcmp(before, after, (size_t)size) == 0);
    FUZZ_EXPECT(vlorp_optimizer_steps_taken(o) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static vlorp_optimizer *o;
    static vlorp_optimizer *streamed; /* may be left torn, which the next load must mend */
    if (o == NULL) {
        o = make();
        streamed = make();
    }
    try_buffer(o, bytes, n_bytes);
    if (n_bytes >= 16 && n_bytes % 8 == 0) {
        uint8_t *sealed = malloc(n_bytes);
        FUZZ_EXPECT(sealed != NULL);
        memcpy(sealed, bytes, n_bytes);
        seal(sealed, n_bytes);
        try_buffer(o, sealed, n_bytes);
        free(sealed);
    }
    source s = {.bytes = bytes, .n_bytes = n_bytes};
    vlorp_status status = vlorp_optimizer_load(streamed, read_source, &s, NULL);
    FUZZ_EXPECT(status != VLORP_OK || s.at <= n_bytes);
    return 0;
}
