/* Hints while a run goes on: each sign is seen, once, and ordinary curves show none. */
#include "support.h"

#include <math.h>

#include "train/signs.h"

typedef double curve(int64_t step, double noise);

typedef struct outcome {
    int n_hints;
    int64_t step; /* of the first hint */
    char text[VLORPI_SIGNS_TEXT_BYTES];
} outcome;

static vlorpi_signs_run run_of(int64_t n_steps)
{
    return (vlorpi_signs_run){.n_steps = n_steps, .warmup_steps = n_steps * 3 / 100, .update_gap = 30,
                              .is_projected = true, .projection = {.c = 16, .r = 4, .M = 64, .f = 1}};
}

static vlorpi_step_metrics step_of(const vlorpi_signs_run *run, int64_t step, double loss)
{
    vlorp_schedule schedule = vlorp_schedule_default();
    schedule.kind = VLORP_SCHEDULE_COSINE;
    schedule.lr = 1e-3;
    schedule.n_steps = run->n_steps;
    schedule.warmup_steps = run->warmup_steps;
    schedule.min_lr_ratio = 0.1;
    return (vlorpi_step_metrics){.step = step, .loss = loss, .lr = vlorp_schedule_lr(&schedule, step - 1),
                                 .n_targets = 100, .seconds = 1};
}

static outcome follow_noise(const vlorpi_signs_run *run, curve *loss, double deviation, int64_t first, uint64_t seed)
{
    outcome seen = {0};
    vlorpi_signs signs;
    vlorp_rng rng = vlorp_rng_make(seed, vlorp_rng_hash("losses"), VLORP_STREAM_SAMPLING, 0);
    vlorpi_signs_begin(&signs, run);
    for (int64_t step = first; step <= run->n_steps; step++) {
        char text[VLORPI_SIGNS_TEXT_BYTES];
        float normal;
        vlorp_rng_normals(&normal, &rng, (uint64_t)step, 1);
        double noise = deviation * (double)normal;
        vlorpi_step_metrics line = step_of(run, step, loss(step, noise));
        if (vlorpi_signs_see(&signs, &line, text, sizeof text)) {
            seen.n_hints++;
            if (seen.n_hints == 1) {
                seen.step = step;
                (void)snprintf(seen.text, sizeof seen.text, "%s", text);
            }
        }
    }
    return seen;
}

static outcome follow_from(const vlorpi_signs_run *run, curve *loss, double deviation, int64_t first)
{
    return follow_noise(run, loss, deviation, first, 7);
}

static outcome follow(int64_t n_steps, curve *loss, double deviation)
{
    vlorpi_signs_run run = run_of(n_steps);
    return follow_from(&run, loss, deviation, 1);
}

static double falls(int64_t step, double noise)
{
    return 1.2 + 2 * exp(-(double)step / 300) + noise;
}

static double falls_slowly(int64_t step, double noise)
{
    return 3 - 0.0006 * (double)step + noise;
}

static double creeps_down(int64_t step, double noise)
{
    return 3 - 0.00004 * (double)step + noise;
}

static double climbs_a_little(int64_t step, double noise)
{
    return (step > 10 && step < 40 ? 0.3 : 0.1) + noise;
}

static double climbs_at_first(int64_t step, double noise)
{
    return (step > 10 && step < 40 ? 5.5 : 3 - 0.002 * (double)step) + noise;
}

static double climbs_at_once(int64_t step, double noise)
{
    return (step == 1 ? 5 : 24) + noise;
}

static double climbs_later(int64_t step, double noise)
{
    return (step > 300 && step < 340 ? 5.5 : 3 - 0.002 * (double)step) + noise;
}

static double stands(int64_t step, double noise)
{
    return (step < 50 ? 3 - 0.02 * (double)step : 2) + noise;
}

static void an_ordinary_run_is_left_in_peace(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 7, 60, 200, 1000};
    static const double deviations[] = {0, 0.02, 0.1, 0.4};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t j = 0; j < sizeof deviations / sizeof deviations[0]; j++) {
            outcome seen = follow(lengths[i], falls, deviations[j]);
            assert_string_equal(seen.text, "");
            seen = follow(lengths[i], falls_slowly, deviations[j]);
            assert_string_equal(seen.text, "");
        }
    }
}

static void an_early_spike_is_told_once(void **state)
{
    (void)state;
    outcome seen = follow(400, climbs_at_first, 0.1);
    assert_int_equal(seen.n_hints, 1);
    assert_in_range(seen.step, 18, 20);
    assert_non_null(strstr(seen.text, "--warmup_steps, now 12"));
    seen = follow(100, climbs_at_once, 1.5);
    assert_int_equal(seen.n_hints, 1);
    assert_non_null(strstr(seen.text, "the loss rose from "));
    assert_int_equal(follow(400, climbs_a_little, 0.01).n_hints, 0);
    assert_int_equal(follow(400, climbs_later, 0.1).n_hints, 0); /* not a matter of the warm-up */
}

static double stands_at_once(int64_t step, double noise)
{
    (void)step;
    return fabs(1.5 + noise);
}

/* Losses of small batches jump by themselves. */
static void scatter_is_hardly_ever_a_spike(void **state)
{
    (void)state;
    vlorpi_signs_run run = run_of(100);
    int n_hints = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        n_hints += follow_noise(&run, stands_at_once, 0.2 * (double)(1 + seed % 3), 1, seed).n_hints;
    }
    assert_in_range(n_hints, 0, 3);
}

static void a_resumed_run_has_no_beginning(void **state)
{
    (void)state;
    vlorpi_signs_run run = run_of(400);
    assert_int_equal(follow_from(&run, climbs_at_first, 0.1, 5).n_hints, 0);
}

static void a_plateau_is_told_once(void **state)
{
    (void)state;
    outcome seen = follow(600, stands, 0.05);
    assert_int_equal(seen.n_hints, 1);
    assert_non_null(strstr(seen.text, "by a larger --factor (now 16, rank 4; with a smaller --rank"));
    assert_non_null(strstr(seen.text, "since 120 steps"));
    assert_int_equal(follow(150, stands, 0.05).n_hints, 0); /* too short to say */
    assert_int_equal(follow(600, creeps_down, 0).n_hints, 0); /* slow, but beyond doubt */
    vlorpi_signs_run run = run_of(600);
    run.projection = (vlorp_projection_used){.c = 1, .r = 1, .M = 1, .f = 4};
    assert_non_null(strstr(follow_from(&run, stands, 0.05, 1).text, "(now 1/4, rank 1; memory grows"));
    run.is_projected = false;
    assert_int_equal(follow_from(&run, stands, 0.05, 1).n_hints, 0);
}

/* svd's probes of `probe` seconds every tenth step of otherwise one second. */
static int hints_of_probes(double probe, int64_t n_steps, bool is_svd)
{
    vlorpi_signs_run run = run_of(n_steps);
    run.is_svd = is_svd;
    run.update_gap = 10;
    vlorpi_signs signs;
    int n_hints = 0;
    vlorpi_signs_begin(&signs, &run);
    for (int64_t step = 1; step <= n_steps; step++) {
        char text[VLORPI_SIGNS_TEXT_BYTES];
        vlorpi_step_metrics line = step_of(&run, step, falls(step, 0));
        line.parts.probe = step % 10 == 1 ? probe : 1e-7;
        line.seconds += line.parts.probe;
        if (vlorpi_signs_see(&signs, &line, text, sizeof text)) {
            n_hints++;
            assert_non_null(strstr(text, "every 10 steps an svd projection takes 2 s beside a step's 1 s"));
            assert_int_equal(step, 21); /* the third */
        }
    }
    return n_hints;
}

static void a_periodic_slowdown_is_told_once(void **state)
{
    (void)state;
    assert_int_equal(hints_of_probes(2, 100, true), 1);
    assert_int_equal(hints_of_probes(2, 20, true), 0);    /* twice may be chance */
    assert_int_equal(hints_of_probes(0.3, 100, true), 0); /* hardly felt */
    assert_int_equal(hints_of_probes(2, 100, false), 0);
}

/* A step without a target token has no loss: its 0 is not looked at. */
static void steps_without_targets_are_no_sign(void **state)
{
    (void)state;
    vlorpi_signs_run run = run_of(400);
    vlorpi_signs signs;
    vlorpi_signs_begin(&signs, &run);
    for (int64_t step = 1; step <= 100; step++) {
        char text[VLORPI_SIGNS_TEXT_BYTES];
        vlorpi_step_metrics line = step_of(&run, step, step <= 8 ? 0 : 3);
        line.n_targets = step <= 8 ? 0 : 100;
        assert_false(vlorpi_signs_see(&signs, &line, text, sizeof text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_run_is_left_in_peace), cmocka_unit_test(an_early_spike_is_told_once),
        cmocka_unit_test(scatter_is_hardly_ever_a_spike),
        cmocka_unit_test(a_resumed_run_has_no_beginning),   cmocka_unit_test(a_plateau_is_told_once),
        cmocka_unit_test(a_periodic_slowdown_is_told_once), cmocka_unit_test(steps_without_targets_are_no_sign)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
