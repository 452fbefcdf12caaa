/* The estimate of the gradient's norm (docs/method.md section 5) on SmolLM2 and real text, M = 64, normal: the mean
 * over fresh draws of P, and single draws, against the norm of the formed gradients of all projected matrices.
 *
 *   test_norm_smollm2 [DRAWS FACTOR RANK]    30 draws of c 16, r 4 unless given
 *
 * The fewer the draws, the less their mean says: with r 1 a draw scatters by 2 %, with r 4 by 1.4 %, so that 30
 * draws of r 4 keep the bounds (1 % for the mean, 5 % for 95 draws of 100) with room.  100 64 1 is the full check.
 *
 * One forward and backward serves all draws: each matrix's G is formed once, and every draw projects it anew.
 * Needs $VLORP_TEST_SMOLLM2 (a GGUF file) and the shared data. */
#include "smollm2_support.h"

enum { MOST_DRAWS = 10000 };

static int n_draws = 30;
static int64_t factor = 16;
static int64_t rank = 4;

typedef struct estimating {
    const vlorpi_job *job;
    formed_gradient gradient;
    double true_square;
    double squares[MOST_DRAWS]; /* of the estimate, per draw, over the matrices so far */
    int n_matrices;
} estimating;

/* A handle of this matrix alone, whose P is another at each step count. */
static vlorp_optimizer *one_matrix(const estimating *e, const vlorp_parameter_info *info)
{
    vlorp_err err = {0};
    vlorp_optimizer *o;
    int id;
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    config.update_gap = 1;
    config.exec = e->job->exec;
    ASSERT_OK(vlorp_optimizer_create(&o, &config, &err));
    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = info->name;
    matrix.n = info->n;
    matrix.m = info->m;
    matrix.rule = VLORP_RULE_VLORP_SGD; /* keeps no state */
    matrix.projection.factor = factor;
    matrix.projection.rank = rank;
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &matrix, &id, &err));
    ASSERT_OK(vlorp_optimizer_commit(o, &err));
    return o;
}

static vlorp_status take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                                int64_t n_tokens, vlorp_err *err_out)
{
    estimating *e = ctx;
    vlorp_err err = {0};
    (void)err_out;
    vlorp_parameter_info info;
    ASSERT_OK(vlorp_optimizer_parameter(e->job->optimizer, param, &info, &err));
    if (info.rule == VLORP_RULE_ADAMW) {
        return VLORP_OK;
    }
    formed_gradient_set(&e->gradient, &info, dy, ldy, x, ldx, n_tokens);
    for (int64_t i = 0; i < info.n * info.m; i++) {
        e->true_square += (double)e->gradient.values[i] * (double)e->gradient.values[i];
    }
    vlorp_optimizer *o = one_matrix(e, &info);
    for (int draw = 0; draw < n_draws; draw++) {
        double norm;
        ASSERT_OK(vlorp_optimizer_set_steps_taken(o, draw, &err));
        ASSERT_OK(vlorp_optimizer_accumulate(o, 0, e->gradient.values, 0, &err));
        ASSERT_OK(vlorp_optimizer_norm(o, 1, &norm, &err));
        ASSERT_OK(vlorp_optimizer_discard(o, &err));
        e->squares[draw] += norm * norm;
    }
    vlorp_optimizer_free(o);
    e->n_matrices++;
    return VLORP_OK;
}

static void estimates_are_near_the_norm(void **state)
{
    (void)state;
    need_smollm2();
    vlorp_err err = {0};
    static estimating e;
    vlorpi_job job;
    open_smollm2(&job, factor, rank);
    ASSERT_OK(vlorpi_job_allocate(&job, &err));
    e = (estimating){.job = &job};
    formed_gradient_open(&e.gradient, &job);
    run_smollm2(&job, take_linear, &e);
    assert_int_equal(e.n_matrices, 7 * vlorpi_model_config_of(job.model)->L);
    double norm = sqrt(e.true_square);
    double sum = 0;
    double squares = 0;
    double worst = 0;
    int n_within = 0;
    for (int draw = 0; draw < n_draws; draw++) {
        double ratio = sqrt(e.squares[draw]) / norm;
        sum += ratio;
        squares += ratio * ratio;
        worst = fabs(ratio - 1) > worst ? fabs(ratio - 1) : worst;
        n_within += fabs(ratio - 1) <= 0.05;
    }
    double mean = sum / n_draws;
    (void)printf("c %lld, r %lld, %lld tokens, %d matrices, norm %.6g: mean of %d draws %.5f of it, "
                 "standard deviation %.4f, %d within 5 %%, the furthest %.4f away\n",
                 (long long)factor, (long long)rank, (long long)job.batch.n_tokens, e.n_matrices, norm, n_draws, mean,
                 sqrt(fmax(0, squares / n_draws - mean * mean)), n_within, worst);
    ASSERT_BELOW(fabs(mean - 1), 0.01);
    assert_true(n_within >= 0.95 * n_draws);
    formed_gradient_close(&e.gradient);
    vlorpi_job_close(&job);
}

int main(int argc, char **argv)
{
    n_draws = argc == 4 ? atoi(argv[1]) : n_draws;
    factor = argc == 4 ? atoi(argv[2]) : factor;
    rank = argc == 4 ? atoi(argv[3]) : rank;
    if ((argc != 1 && argc != 4) || n_draws < 1 || n_draws > MOST_DRAWS || factor < 1 || rank < 1) {
        (void)fprintf(stderr, "usage: test_norm_smollm2 [DRAWS FACTOR RANK], at most %d draws\n", (int)MOST_DRAWS);
        return 2;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(estimates_are_near_the_norm)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
