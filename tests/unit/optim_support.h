/* optim_support.h - a small set of parameters of every kind, for tests of the optimizer's handle. */
#ifndef VLORP_TESTS_OPTIM_SUPPORT_H
#define VLORP_TESTS_OPTIM_SUPPORT_H

#include "support.h"

#include <vlorp/vlorp.h>

#include "base/mem.h"
#include "base/threads.h"

enum { SET_N = 10, SET_TOKENS = 24, SET_LARGEST = 96 * 160 };

typedef struct set_row {
    const char *name;
    int64_t n, m; /* m 0: a vector */
    vlorp_rule rule;
    vlorp_projection projection;
} set_row;

static const set_row set_rows[SET_N] = {
    {"layers.0.q.weight", 96, 160, VLORP_RULE_PROJFACTOR, {.factor = 16, .rank = 1}},
    {"layers.0.up.weight", 160, 96, VLORP_RULE_PROJFACTOR, {.factor = 4, .rank = 4}},
    {"layers.0.down.weight", 96, 160, VLORP_RULE_PROJFACTOR,
     {.factor = 2, .rank = 20, .distribution = VLORP_RADEMACHER}},
    {"layers.0.k.weight", 8, 160, VLORP_RULE_PROJFACTOR, {.budget = 16}}, /* kept exact */
    {"head.weight", 70, 96, VLORP_RULE_ADAMW, {.side = VLORP_SIDE_AUTO}},
    {"layers.1.up.weight", 160, 96, VLORP_RULE_PROJFACTOR, {.factor = 1, .rank = 24, .side = VLORP_SIDE_RIGHT}},
    {"layers.1.down.weight", 96, 160, VLORP_RULE_ADAMW8BIT, {.side = VLORP_SIDE_AUTO}},
    {"layers.1.k.weight", 8, 160, VLORP_RULE_ADAMW8BIT, {.side = VLORP_SIDE_AUTO}}, /* too small for codes */
    {"layers.1.o.weight", 70, 96, VLORP_RULE_ADAFACTOR, {.side = VLORP_SIDE_AUTO}},
    {"norm.weight", 96, 0, VLORP_RULE_ADAMW, {.side = VLORP_SIDE_AUTO}},
};

/* The set's weights, and a handle over them. */
typedef struct set {
    vlorp_optimizer *optimizer;
    vlorp_dtype dtype;
    float w32[SET_N][SET_LARGEST];
    uint16_t w16[SET_N][SET_LARGEST];
} set;

static inline void *set_weight(set *s, int i)
{
    return s->dtype == VLORP_BF16 ? (void *)s->w16[i] : (void *)s->w32[i];
}

static inline int64_t set_elements(int i)
{
    return set_rows[i].n * (set_rows[i].m > 0 ? set_rows[i].m : 1);
}

static inline vlorp_status set_register(set *s, vlorp_optimizer *optimizer, vlorp_err *err)
{
    for (int i = 0; i < SET_N; i++) {
        int id = -1;
        vlorp_status status;
        if (set_rows[i].m == 0) {
            vlorp_vector v = vlorp_vector_default();
            v.name = set_rows[i].name;
            v.n = set_rows[i].n;
            v.dtype = s->dtype;
            v.weight = set_weight(s, i);
            status = vlorp_optimizer_add_vector(optimizer, &v, &id, err);
        } else {
            vlorp_matrix m = vlorp_matrix_default();
            m.name = set_rows[i].name;
            m.n = set_rows[i].n;
            m.m = set_rows[i].m;
            m.dtype = s->dtype;
            m.weight = set_weight(s, i);
            m.rule = set_rows[i].rule;
            m.projection = set_rows[i].projection;
            m.weight_decay = 0.1;
            status = vlorp_optimizer_add_matrix(optimizer, &m, &id, err);
        }
        if (status != VLORP_OK) {
            return status;
        }
        assert_int_equal(id, i);
    }
    return VLORP_OK;
}

/* Weights from a fixed seed, everything registered and committed.  Free with set_free. */
static inline set *set_create(const vlorp_optimizer_config *config, vlorp_dtype dtype)
{
    vlorp_err err = {0};
    set *s = malloc(sizeof *s);
    assert_non_null(s);
    s->dtype = dtype;
    uint64_t seed = 5;
    for (int i = 0; i < SET_N; i++) {
        for (int64_t e = 0; e < SET_LARGEST; e++) {
            s->w32[i][e] = 0.05f * test_uniform(&seed);
            uint32_t bits;
            memcpy(&bits, &s->w32[i][e], sizeof bits);
            s->w16[i][e] = (uint16_t)(bits >> 16);
        }
    }
    ASSERT_OK(vlorp_optimizer_create(&s->optimizer, config, &err));
    ASSERT_OK(set_register(s, s->optimizer, &err));
    ASSERT_OK(vlorp_optimizer_commit(s->optimizer, &err));
    return s;
}

static inline void set_free(set *s)
{
    vlorp_optimizer_free(s->optimizer);
    free(s);
}

/* Tokens [begin, end) of step number `step`'s SET_TOKENS, as factors (or the vector's gradient). */
static inline void set_accumulate(set *s, int step, int64_t begin, int64_t end)
{
    static float dy[SET_TOKENS * 160];
    static float x[SET_TOKENS * 160];
    vlorp_err err = {0};
    for (int i = 0; i < SET_N; i++) {
        uint64_t seed = (uint64_t)(step * SET_N + i) * 1000 + 17;
        int64_t n = set_rows[i].n;
        int64_t m = set_rows[i].m;
        for (int64_t e = 0; e < SET_TOKENS * n; e++) {
            dy[e] = test_uniform(&seed);
        }
        for (int64_t e = 0; e < SET_TOKENS * m; e++) {
            x[e] = test_uniform(&seed);
        }
        if (m > 0) {
            ASSERT_OK(vlorp_optimizer_accumulate_factors(s->optimizer, i, dy + begin * n, 0, x + begin * m, 0,
                                                         end - begin, &err));
            continue;
        }
        for (int64_t t = begin; t < end; t++) {
            ASSERT_OK(vlorp_optimizer_accumulate_vector(s->optimizer, i, dy + t * n, &err));
        }
    }
}

static inline vlorp_step_result set_step(set *s, double max_grad_norm)
{
    vlorp_err err = {0};
    vlorp_step_result result;
    vlorp_step step = {.lr = 1e-2, .grad_scale = 1.0 / SET_TOKENS, .max_grad_norm = max_grad_norm};
    ASSERT_OK(vlorp_optimizer_step(s->optimizer, &step, &result, &err));
    return result;
}

static inline void set_assert_same_bits(set *a, set *b)
{
    for (int i = 0; i < SET_N; i++) {
        size_t width = a->dtype == VLORP_BF16 ? 2 : 4;
        if (memcmp(set_weight(a, i), set_weight(b, i), (size_t)set_elements(i) * width) != 0) {
            fail_msg("weights of %s differ", set_rows[i].name);
        }
    }
    vlorp_err err = {0};
    for (int i = 0; i < vlorp_optimizer_n_tensors(a->optimizer); i++) {
        vlorp_state_tensor x;
        vlorp_state_tensor y;
        ASSERT_OK(vlorp_optimizer_tensor(a->optimizer, i, &x, &err));
        ASSERT_OK(vlorp_optimizer_tensor(b->optimizer, i, &y, &err));
        int64_t n = 1;
        for (int k = 0; k < x.n_dims; k++) {
            n *= x.shape[k];
        }
        if (memcmp(x.data, y.data, (size_t)n * (x.dtype == VLORP_U8 ? 1 : sizeof(float))) != 0) {
            fail_msg("%s of %s differs", x.field, x.parameter);
        }
    }
}

#endif
