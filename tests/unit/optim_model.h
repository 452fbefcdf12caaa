/* optim_model.h - a handle with a matrix of every rule and kind of projection, for tests. */
#ifndef VLORP_TESTS_OPTIM_MODEL_H
#define VLORP_TESTS_OPTIM_MODEL_H

#include "support.h"

#include <vlorp/vlorp.h>

#include "base/mem.h"

enum { N = 24, COLS = 40, N_MATRICES = 17, TOKENS = 6 };

static const struct matrix_row {
    vlorp_rule rule;
    vlorp_projection projection;
    bool transposed;
} rows[N_MATRICES] = {
    {VLORP_RULE_PROJFACTOR, {.factor = 4, .rank = 2}, false},
    {VLORP_RULE_PROJFACTOR, {.factor = 4, .rank = 2, .distribution = VLORP_SVD}, false},
    {VLORP_RULE_PROJFACTOR, {.factor = 1, .rank = 3, .divisor = 2, .side = VLORP_SIDE_RIGHT}, false},
    {VLORP_RULE_VLORP_OS, {.factor = 2, .rank = 1, .distribution = VLORP_RADEMACHER}, true},
    {VLORP_RULE_VLORP_SS, {.factor = 4, .rank = 2, .side = VLORP_SIDE_RIGHT, .distribution = VLORP_SVD}, true},
    {VLORP_RULE_VLORP_SGD, {.factor = 1, .rank = 3, .divisor = 4}, false},
    {VLORP_RULE_SGD, {.factor = 0}, false},
    {VLORP_RULE_ADAMW, {.factor = 0}, true},
    {VLORP_RULE_PROJFACTOR, {.factor = 64, .rank = 8}, true}, /* kept exact */
    {VLORP_RULE_GALORE, {.factor = 1, .rank = 5, .distribution = VLORP_SVD}, false},
    {VLORP_RULE_FIRA, {.factor = 1, .rank = 5, .distribution = VLORP_SVD}, false},
    {VLORP_RULE_FIRA, {.factor = 4, .rank = 2, .side = VLORP_SIDE_RIGHT}, true},
    {VLORP_RULE_APOLLO, {.factor = 1, .rank = 17}, true},
    {VLORP_RULE_APOLLO_MINI, {.factor = 1, .rank = 1}, false},
    {VLORP_RULE_FLORA, {.factor = 1, .rank = 3}, true},
    {VLORP_RULE_ADAFACTOR, {.factor = 0}, true},
    {VLORP_RULE_ADAMW8BIT, {.factor = 0}, false},
};

typedef struct model {
    vlorp_optimizer *o;
    float w[N_MATRICES][N * COLS];
} model;

static inline vlorp_optimizer_config config(int policy, vlorp_dtype state_dtype)
{
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.update_gap = 3;
    c.max_tokens = TOKENS;
    c.momentum = (vlorp_momentum)policy;
    c.state_dtype = state_dtype;
    return c;
}

/* Registers and commits over a zeroed model; on error nothing is held. */
static inline vlorp_status model_init(model *s, const vlorp_optimizer_config *c, vlorp_err *err)
{
    vlorp_status status = vlorp_optimizer_create(&s->o, c, err);
    for (int i = 0; i < N_MATRICES && status == VLORP_OK; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "matrix.%d", i);
        vlorp_matrix m = vlorp_matrix_default();
        m.name = name;
        m.n = N;
        m.m = COLS;
        m.weight = s->w[i];
        m.rule = rows[i].rule;
        m.projection = rows[i].projection;
        m.transposed = rows[i].transposed;
        m.weight_decay = 0.1;
        int id;
        status = vlorp_optimizer_add_matrix(s->o, &m, &id, err);
    }
    if (status == VLORP_OK) {
        status = vlorp_optimizer_commit(s->o, err);
    }
    if (status != VLORP_OK) {
        vlorp_optimizer_free(s->o);
        s->o = NULL;
    }
    return status;
}

static inline model *model_create(const vlorp_optimizer_config *c)
{
    vlorp_err err = {0};
    model *s = calloc(1, sizeof *s);
    assert_non_null(s);
    ASSERT_OK(model_init(s, c, &err));
    return s;
}

static inline void model_free(model *s)
{
    vlorp_optimizer_free(s->o);
    free(s);
}

/* Two micro-batches, with a probe where one is wanted. */
static inline void model_step(model *s, int step)
{
    float dy[TOKENS * N];
    float x[TOKENS * COLS];
    vlorp_err err = {0};
    uint64_t seed = 100 + (uint64_t)step;
    for (int i = 0; i < 2 * N_MATRICES; i++) {
        for (int e = 0; e < TOKENS * N; e++) {
            dy[e] = test_uniform(&seed);
        }
        for (int e = 0; e < TOKENS * COLS; e++) {
            x[e] = test_uniform(&seed);
        }
        if (vlorp_optimizer_wants_probe(s->o, i / 2)) {
            assert_int_equal(vlorp_optimizer_accumulate_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err), VLORP_E_STATE);
            ASSERT_OK(vlorp_optimizer_probe_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err));
        }
        ASSERT_OK(vlorp_optimizer_accumulate_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err));
    }
    vlorp_step args = {.lr = 1e-2, .grad_scale = 0.1, .max_grad_norm = 1};
    ASSERT_OK(vlorp_optimizer_step(s->o, &args, NULL, &err));
}

#endif
