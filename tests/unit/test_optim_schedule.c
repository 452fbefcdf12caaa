#include "support.h"

#include <vlorp/schedule.h>

static void check(const vlorp_schedule *s, int64_t k, double expected)
{
    double lr = vlorp_schedule_lr(s, k);
    if (!(fabs(lr - expected) <= 1e-12)) {
        fail_msg("kind %d, step %lld: %.15g, expected %.15g", (int)s->kind, (long long)k, lr, expected);
    }
}

static void warmup_rises_to_the_peak(void **state)
{
    (void)state;
    for (int kind = VLORP_SCHEDULE_CONSTANT; kind <= VLORP_SCHEDULE_COSINE_RESTARTS; kind++) {
        vlorp_schedule s = vlorp_schedule_default();
        s.kind = (vlorp_schedule_kind)kind;
        s.lr = 1;
        s.n_steps = 104;
        s.warmup_steps = 4;
        check(&s, 0, 0.25);
        check(&s, 3, 1);
        check(&s, 4, 1);
    }
}

static void each_kind_follows_its_formula(void **state)
{
    (void)state;
    vlorp_schedule s = {.lr = 2, .n_steps = 110, .warmup_steps = 10, .min_lr_ratio = 0.1, .n_cycles = 2};
    s.kind = VLORP_SCHEDULE_CONSTANT;
    check(&s, 109, 2);
    s.kind = VLORP_SCHEDULE_LINEAR;
    check(&s, 60, 1);
    check(&s, 109, 0.02);
    check(&s, 110, 0);
    s.kind = VLORP_SCHEDULE_COSINE;
    check(&s, 60, 2 * 0.55);
    check(&s, 110, 0.2);
    check(&s, 1000, 0.2);
    s.kind = VLORP_SCHEDULE_COSINE_RESTARTS;
    check(&s, 35, 2 * 0.55);
    check(&s, 60, 2);
    check(&s, 85, 2 * 0.55);
    check(&s, 110, 0.2);
}

static void lengths_of_nothing_are_defined(void **state)
{
    (void)state;
    vlorp_schedule s = vlorp_schedule_default();
    check(&s, 5, s.lr);
    s.n_steps = 3;
    s.warmup_steps = 3;
    check(&s, 2, s.lr);
    check(&s, 3, s.lr * s.min_lr_ratio);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warmup_rises_to_the_peak),
        cmocka_unit_test(each_kind_follows_its_formula),
        cmocka_unit_test(lengths_of_nothing_are_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
