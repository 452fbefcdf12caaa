/* The table of update rules, and their entries. */
#include "optim/rules.h"

#include <stddef.h>

#include "optim/handle.h"

static const vlorpi_rule_traits table[] = {
    [VLORP_RULE_PROJFACTOR] = {.step = vlorpi_projfactor_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                               .moment = VLORPI_SHAPE_SUMS, .row_column_sums = true, .adapts = true},
    [VLORP_RULE_ADAMW] = {.step = vlorpi_adamw_step, .gradient = VLORPI_SHAPE_WEIGHT, .moment = VLORPI_SHAPE_WEIGHT,
                          .moment2 = VLORPI_SHAPE_WEIGHT, .takes_lent = true},
    [VLORP_RULE_VLORP_OS] = {.step = vlorpi_vlorp_os_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                             .moment = VLORPI_SHAPE_WEIGHT, .moment2 = VLORPI_SHAPE_WEIGHT, .adapts = true},
    [VLORP_RULE_VLORP_SS] = {.step = vlorpi_vlorp_ss_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                             .moment = VLORPI_SHAPE_SUMS, .moment2 = VLORPI_SHAPE_SUMS, .adapts = true},
    [VLORP_RULE_VLORP_SGD] = {.step = vlorpi_vlorp_sgd_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                              .adapts = true},
    [VLORP_RULE_SGD] = {.step = vlorpi_sgd_step, .gradient = VLORPI_SHAPE_WEIGHT},
    [VLORP_RULE_ADAFACTOR] = {.step = vlorpi_adafactor_step, .gradient = VLORPI_SHAPE_WEIGHT,
                              .row_column_sums = true, .sums_are_means = true},
    [VLORP_RULE_ADAMW8BIT] = {.step = vlorpi_adamw8bit_step, .gradient = VLORPI_SHAPE_WEIGHT,
                              .moment = VLORPI_SHAPE_WEIGHT, .moment2 = VLORPI_SHAPE_WEIGHT, .codes = true},
    [VLORP_RULE_LOMO] = {.step = vlorpi_lomo_step, .gradient = VLORPI_SHAPE_WEIGHT, .at_once = true},
    /* GaLore is Adam on S with a P from svd: its own row, because its moments stay as they are at a new P */
    [VLORP_RULE_GALORE] = {.step = vlorpi_vlorp_ss_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                           .moment = VLORPI_SHAPE_SUMS, .moment2 = VLORPI_SHAPE_SUMS, .fate = VLORPI_FATE_KEEP},
    [VLORP_RULE_FIRA] = {.step = vlorpi_fira_step, .projects = true, .gradient = VLORPI_SHAPE_WEIGHT,
                         .moment = VLORPI_SHAPE_SUMS, .moment2 = VLORPI_SHAPE_SUMS, .fate = VLORPI_FATE_KEEP,
                         .limited = true, .fine = true},
    [VLORP_RULE_APOLLO] = {.step = vlorpi_apollo_step, .projects = true, .gradient = VLORPI_SHAPE_WEIGHT,
                           .moment = VLORPI_SHAPE_SUMS, .moment2 = VLORPI_SHAPE_SUMS, .fate = VLORPI_FATE_KEEP,
                           .limited = true, .fine = true},
    [VLORP_RULE_APOLLO_MINI] = {.step = vlorpi_apollo_mini_step, .projects = true, .gradient = VLORPI_SHAPE_WEIGHT,
                                .moment = VLORPI_SHAPE_SUMS, .moment2 = VLORPI_SHAPE_SUMS, .fate = VLORPI_FATE_KEEP,
                                .limited = true, .fine = true},
    [VLORP_RULE_FLORA] = {.step = vlorpi_flora_step, .projects = true, .gradient = VLORPI_SHAPE_SUMS,
                          .moment = VLORPI_SHAPE_SUMS, .row_column_sums = true, .sums_are_means = true,
                          .fate = VLORPI_FATE_TRANSPORT, .fresh = true, .fine = true},
};

const vlorpi_rule_traits *vlorpi_rule_find(vlorp_rule rule)
{
    size_t i = (size_t)rule;
    return i < sizeof table / sizeof table[0] && table[i].step != NULL ? &table[i] : NULL;
}
