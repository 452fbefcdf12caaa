#include "train/optimizers.h"

static const vlorpi_optimizer_row rows[VLORPI_N_OPTIMIZERS] = {
    [VLORPI_OPTIMIZER_ADAMW] = {.text = "adamw", .rule = VLORP_RULE_ADAMW, .adamw_eps = 1e-8}, /* PyTorch's */
    [VLORPI_OPTIMIZER_SGD] = {.text = "sgd", .rule = VLORP_RULE_SGD},
    [VLORPI_OPTIMIZER_ADAFACTOR] = {.text = "adafactor", .rule = VLORP_RULE_ADAFACTOR},
    /* rows of an embedding without a gradient do not survive 8-bit moments */
    [VLORPI_OPTIMIZER_ADAMW8BIT] = {.text = "adamw8bit", .rule = VLORP_RULE_ADAMW8BIT, .adamw_eps = 1e-8,
                                    .leaves_embeddings = true},
    [VLORPI_OPTIMIZER_LOMO] = {.text = "lomo", .rule = VLORP_RULE_LOMO, .at_once = true},
    [VLORPI_OPTIMIZER_LORA] = {.text = "lora", .rule = VLORP_RULE_ADAMW, .adamw_eps = 1e-8}, /* of A and B */
    [VLORPI_OPTIMIZER_GALORE] = {.text = "galore", .rule = VLORP_RULE_GALORE, .projects = true,
                                 .distribution = VLORP_SVD, .update_gap = 200, .scale = 0.25, .unsliced = true},
    [VLORPI_OPTIMIZER_FIRA] = {.text = "fira", .rule = VLORP_RULE_FIRA, .projects = true,
                               .distribution = VLORP_SVD, .update_gap = 200, .unsliced = true},
    [VLORPI_OPTIMIZER_APOLLO] = {.text = "apollo", .rule = VLORP_RULE_APOLLO, .projects = true,
                                 .update_gap = 200, .unsliced = true},
    [VLORPI_OPTIMIZER_APOLLO_MINI] = {.text = "apollo-mini", .rule = VLORP_RULE_APOLLO_MINI, .projects = true,
                                      .update_gap = 200, .scale = 128, .unsliced = true, .rank = 1},
    /* the gap is that of the momentum's projection, kappa */
    [VLORPI_OPTIMIZER_FLORA] = {.text = "flora", .rule = VLORP_RULE_FLORA, .projects = true,
                                .update_gap = 1000, .unsliced = true},
    [VLORPI_OPTIMIZER_VLORP_OS] = {.text = "vlorp-os", .rule = VLORP_RULE_VLORP_OS, .projects = true},
    [VLORPI_OPTIMIZER_VLORP_SS] = {.text = "vlorp-ss", .rule = VLORP_RULE_VLORP_SS, .projects = true},
    [VLORPI_OPTIMIZER_VLORP_SGD] = {.text = "vlorp-sgd", .rule = VLORP_RULE_VLORP_SGD, .projects = true},
    [VLORPI_OPTIMIZER_PROJFACTOR] = {.text = "projfactor", .rule = VLORP_RULE_PROJFACTOR, .projects = true},
};

const vlorpi_optimizer_row *vlorpi_optimizer_find(vlorpi_optimizer_name name)
{
    return &rows[name];
}

const char *vlorpi_optimizer_text(vlorpi_optimizer_name name)
{
    return rows[name].text;
}

bool vlorpi_optimizer_projects(vlorpi_optimizer_name name)
{
    return rows[name].projects;
}

bool vlorpi_optimizer_at_once(vlorpi_optimizer_name name)
{
    return rows[name].at_once;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t vlorpi_default_budget(int64_t width)
{
    int64_t wanted = width / 16;
    int64_t budget = 16;
    while (budget < 256 && 2 * budget - wanted <= wanted - budget) {
        budget *= 2;
    }
    return budget;
}

vlorp_projection vlorpi_optimizer_projection(const vlorpi_train_settings *s, int64_t width)
{
    const vlorpi_optimizer_row *row = &rows[s->optimizer];
    vlorp_projection p = s->projection;
    int64_t budget = vlorpi_default_budget(width);
    p.distribution = s->distribution == VLORPI_AUTO ? row->distribution : (vlorp_distribution)s->distribution;
    if (row->unsliced) {
        p.factor = 1;
        p.divisor = 0;
        p.rank = row->rank != 0 ? row->rank : p.rank != 0 ? p.rank : p.budget != 0 ? p.budget : budget;
        p.budget = p.rank;
        return p;
    }
    if (p.budget != 0 || (p.factor != 0 && p.rank != 0)) {
        return p;
    }
    /* the default budget alone, or shared out by the factor or rank that was given */
    if (p.factor != 0) {
        p.rank = p.divisor > 1 ? budget * p.divisor : largest(1, budget / p.factor);
    } else if (p.rank != 0) {
        p.factor = largest(1, budget / p.rank);
    } else {
        p.budget = budget;
    }
    return p;
}
