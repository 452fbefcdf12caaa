/* Every level of the projector's kernels against the reference.
 *
 * Inputs of the linear kernels are small integers, so all sums are exact in any order and the levels
 * must agree to the bit; update kernels must agree to the bit on any input.  Outputs have guard
 * values around them and start as NaN where they are overwritten. */
#include "support.h"

#include "kernel/kernel.h"
#include "kernel/optim_codes.h"

enum { PAD = VLORPI_OPTIM_PAD };
static const float GUARD = 12345.5f;

static const vlorpi_optim_kernels *ref(void)
{
    return vlorpi_kernels_at(0)->optim;
}

static uint64_t seed = 1;

static float *numbers(int64_t n, bool whole)
{
    float *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = whole ? (float)((int)(test_random(&seed) % 17) - 8) : test_uniform(&seed);
    }
    return x;
}

/* n elements of `fill` between two guards; free with release. */
static float *guarded(int64_t n, float fill)
{
    float *x = malloc((size_t)(n + 2) * sizeof *x);
    assert_non_null(x);
    x[0] = GUARD;
    x[n + 1] = GUARD;
    for (int64_t i = 0; i < n; i++) {
        x[1 + i] = fill;
    }
    return x + 1;
}

static void release(float *x, int64_t n)
{
    assert_true(x[-1] == GUARD && x[n] == GUARD);
    free(x - 1);
}

static void same(const char *what, const char *level, vlorpi_slices s, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(a + i, b + i, sizeof *a) != 0) {
            fail_msg("%s, %s, c %lld d %lld r %lld: element %lld is %.9g, reference %.9g", what, level, (long long)s.c,
                     (long long)s.d, (long long)s.r, (long long)i, (double)a[i], (double)b[i]);
        }
    }
}

static const vlorpi_slices shapes[] = {{1, 1, 1},  {5, 1, 1},  {64, 9, 1}, {64, 9, 4},  {3, 7, 2},  {1, 37, 5},
                                       {2, 40, 19}, {16, 16, 1}, {17, 3, 2}, {33, 2, 1}, {1, 64, 33}, {9, 17, 8}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], T = 5 };

/* P [d, r] of whole numbers and its padded transpose. */
static void make_projection(float **p, float **pt, int64_t *ldp, vlorpi_slices s)
{
    *p = numbers(s.d * s.r, true);
    *ldp = (s.d + PAD - 1) / PAD * PAD;
    *pt = calloc((size_t)(*ldp * s.r), sizeof **pt);
    assert_non_null(*pt);
    for (int64_t j = 0; j < s.d; j++) {
        for (int64_t q = 0; q < s.r; q++) {
            (*pt)[q * *ldp + j] = (*p)[j * s.r + q];
        }
    }
}

static void check_project(const vlorpi_kernels *level, vlorpi_slices s)
{
    int64_t s_dim = s.c * s.d;
    int64_t M = s.c * s.r;
    int64_t ldp;
    float *p;
    float *pt;
    make_projection(&p, &pt, &ldp, s);
    float *x = numbers(T * s_dim, true); /* exactly sized, so that a sanitizer sees a read beyond */
    float *expected = guarded(T * M, NAN);
    float *z = guarded(T * M, NAN);
    ref()->project_right(expected, M, false, x, s_dim, pt, ldp, s, T);
    level->optim->project_right(z, M, false, x, s_dim, pt, ldp, s, T);
    same("project_right", level->name, s, z, expected, T * M);
    ref()->project_right(expected, M, true, x, s_dim, pt, ldp, s, T);
    level->optim->project_right(z, M, true, x, s_dim, pt, ldp, s, T);
    same("project_right accumulating", level->name, s, z, expected, T * M);
    for (int64_t i = 0; i < T * M; i++) {
        z[i] = NAN;
    }
    ref()->project_left(expected, M, x, s_dim, p, s, T);
    level->optim->project_left(z, M, x, s_dim, p, s, T);
    same("project_left", level->name, s, z, expected, T * M);
    release(expected, T * M);
    release(z, T * M);
    free(x);
    free(p);
    free(pt);
}

static void check_sums(const vlorpi_kernels *level, vlorpi_slices s, bool wanted)
{
    int64_t M = s.c * s.r;
    const int64_t n = 21;
    float *kw = numbers(s.r * M, true);
    for (int64_t e = 0; e < s.r * M; e++) {
        kw[e] = e % M % s.r + e / M < s.r ? kw[e] : 0.0f;
    }
    float *S = numbers(n * M, true);
    float *sums[2] = {guarded(n, NAN), guarded(n, NAN)};
    float *q[2] = {guarded(s.r * M, 1), guarded(s.r * M, 1)};
    for (int left = 0; left < 2; left++) {
        for (int i = 0; i < 2; i++) {
            const vlorpi_optim_kernels *k = i == 0 ? ref() : level->optim;
            float *out = wanted ? sums[i] : NULL;
            if (left) {
                k->sums_left(out, q[i], S, n, kw, s, n);
            } else {
                k->sums_right(out, q[i], S, kw, s, n);
            }
            for (int64_t e = 0; e < s.r * M; e++) { /* entries without a pair mean nothing */
                q[i][e] = e % M % s.r + e / M < s.r ? q[i][e] : 0.0f;
            }
        }
        same(left ? "sums_left" : "sums_right", level->name, s, sums[1], sums[0], wanted ? n : 0);
        same(left ? "sums_left q" : "sums_right q", level->name, s, q[1], q[0], s.r * M);
    }
    for (int i = 0; i < 2; i++) {
        release(sums[i], n);
        release(q[i], s.r * M);
    }
    free(kw);
    free(S);
}

static void check_back(const vlorpi_kernels *level, vlorpi_slices s)
{
    int64_t s_dim = s.c * s.d;
    int64_t M = s.c * s.r;
    int64_t ldp;
    float *p;
    float *pt;
    make_projection(&p, &pt, &ldp, s);
    float *ms = numbers(s.r * s_dim > M ? s.r * s_dim : M, true);
    float *out[2] = {guarded(s_dim + PAD, NAN), guarded(s_dim + PAD, NAN)};
    float *quad[2] = {guarded(s_dim, NAN), guarded(s_dim, NAN)};
    float *q = numbers(s.r * M, true);
    for (int i = 0; i < 2; i++) {
        const vlorpi_optim_kernels *k = i == 0 ? ref() : level->optim;
        k->backproject_right(out[i], ms, pt, ldp, s);
        k->quadratic(quad[i], s.d, 1, p, q, s, 0, s.d);
    }
    same("backproject_right", level->name, s, out[1], out[0], s_dim);
    same("quadratic", level->name, s, quad[1], quad[0], s_dim);
    for (int i = 0; i < 2; i++) {
        const vlorpi_optim_kernels *k = i == 0 ? ref() : level->optim;
        k->backproject_left(out[i], p, ms, s_dim, s.r, s_dim);
        k->quadratic(quad[i], 1, s.c, p, q, s, s.d / 2, s.d);
        release(quad[i], s_dim);
    }
    same("backproject_left", level->name, s, out[1], out[0], s_dim);
    for (int i = 0; i < 2; i++) {
        release(out[i], s_dim + PAD);
    }
    free(q);
    free(ms);
    free(p);
    free(pt);
}

static void linear_kernels_equal_the_reference(void **state)
{
    (void)state;
    for (int l = 1; vlorpi_kernels_at(l) != NULL; l++) {
        for (int i = 0; i < N_SHAPES; i++) {
            check_project(vlorpi_kernels_at(l), shapes[i]);
            check_sums(vlorpi_kernels_at(l), shapes[i], true);
            check_sums(vlorpi_kernels_at(l), shapes[i], false);
            check_back(vlorpi_kernels_at(l), shapes[i]);
        }
    }
}

enum { MOST = 300 };

typedef struct row {
    float w[MOST], m[MOST], v[MOST], g[MOST];
    uint16_t half[MOST];
} row;

static row random_row(void)
{
    row r;
    for (int i = 0; i < MOST; i++) {
        r.w[i] = test_uniform(&seed);
        r.m[i] = test_uniform(&seed);
        r.v[i] = fabsf(test_uniform(&seed));
        r.g[i] = test_uniform(&seed);
        r.half[i] = (uint16_t)(test_random(&seed) % 0x7000 | (test_random(&seed) % 2) << 15);
    }
    r.w[3] = INFINITY;
    r.half[5] = 0x7F80;
    r.half[6] = 0x7FC1;
    r.half[7] = 0x7F7F;
    return r;
}

static void run_updates(const vlorpi_optim_kernels *k, row *r, int64_t n, const vlorp_rng *rng)
{
    static const vlorpi_adamw a = {.beta1 = 0.9f, .beta2 = 0.999f, .fresh1 = 0.1f, .fresh2 = 0.001f,
                                   .grad_scale = 0.3f, .decay = 1e-3f, .step = 0.01f, .rsqrt_bc2 = 3.0f, .eps = 1e-6f};
    static const vlorpi_update u = {.a = 0.7f, .eps = 1e-6f, .step = 0.02f, .decay = 1e-3f, .shrink = 2e-3f};
    vlorpi_rounding rounding = {rng, 11};
    k->update_f32(r->w, r->m, r->v, u, n);
    k->update_bf16(r->half, r->m, r->v, u, n, rounding, 2 * VLORPI_OPTIM_DRAWS);
    float kept[MOST];
    memcpy(kept, r->g, sizeof kept);
    k->adamw_f32(r->w, r->m, r->v, r->g, a, n);
    memcpy(r->g, kept, sizeof kept);
    k->adamw_bf16(r->half, r->m, r->v, r->g, a, n, rounding, 0);
    k->moment(r->m, r->v, 0.9f, 0.2f, n);
    k->adam_moments(r->m, r->v, kept, 0.9f, 0.3f, 0.99f, 0.2f, n);
    k->adam_direction(r->w, r->m, r->v, 1e-6f, n);
    k->store_bf16(r->half, r->w, n, rounding, VLORPI_OPTIM_DRAWS);
    k->root(r->v, kept, 0);
    k->axpy(r->g, 2.0f, r->m, 0);
}

static void update_kernels_give_the_same_bits(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 31, 64, 127, 128, 129, 192, 255, 256, 257, 299};
    vlorp_rng rng = vlorp_rng_make(3, 4, VLORP_STREAM_ROUNDING, 5);
    for (int l = 1; vlorpi_kernels_at(l) != NULL; l++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            for (int stochastic = 0; stochastic < 2; stochastic++) {
                row a = random_row();
                row b = a;
                run_updates(ref(), &a, sizes[i], stochastic ? &rng : NULL);
                run_updates(vlorpi_kernels_at(l)->optim, &b, sizes[i], stochastic ? &rng : NULL);
                if (memcmp(&a, &b, sizeof a) != 0) {
                    fail_msg("%s, n %lld, stochastic %d: bits differ", vlorpi_kernels_at(l)->name, (long long)sizes[i],
                             stochastic);
                }
            }
        }
    }
}

static void rounding_is_unbiased(void **state)
{
    (void)state;
    enum { N = 1 << 16, ROW = 256 };
    const float target = 1.0f + 0.3f / 128; /* 0.3 of the way between two bf16 numbers */
    static const vlorpi_update u = {.a = 1, .eps = 1, .step = 1};
    float *mh = guarded(ROW, 1.0f - target);
    float *b = guarded(ROW, 0);
    for (int l = 0; vlorpi_kernels_at(l) != NULL; l++) {
        int64_t up = 0;
        for (uint32_t i = 0; i < N / ROW; i++) {
            uint16_t w[ROW];
            for (int j = 0; j < ROW; j++) {
                w[j] = 0x3F80;
            }
            vlorp_rng rng = vlorp_rng_make(3, 4, VLORP_STREAM_ROUNDING, 5);
            vlorpi_kernels_at(l)->optim->update_bf16(w, mh, b, u, ROW, (vlorpi_rounding){&rng, i}, 0);
            for (int j = 0; j < ROW; j++) {
                assert_true(w[j] == 0x3F80 || w[j] == 0x3F81);
                up += w[j] == 0x3F81;
            }
        }
        ASSERT_BELOW(fabs((double)up / N - 0.3), 5 * sqrt(0.21 / N));
    }
    release(mh, ROW);
    release(b, ROW);
}

static void sums_are_accurate(void **state)
{
    (void)state;
    const int64_t n = 100003;
    float *x = numbers(n, false);
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    for (int l = 0; vlorpi_kernels_at(l) != NULL; l++) {
        ASSERT_BELOW(fabs(vlorpi_kernels_at(l)->optim->sum(x, n) - sum), 1e-9 * (double)n);
        ASSERT_BELOW(fabs(vlorpi_kernels_at(l)->optim->sum_squares(x, n) / squares - 1), 1e-6);
    }
    free(x);
}

/* The nearest number of the map, found by trying all. */
static int nearest(const vlorpi_code_map *map, double x)
{
    int best = 0;
    for (int code = 1; code < 256; code++) {
        if (fabs((double)map->values[code] - x) < fabs((double)map->values[best] - x)) {
            best = code;
        }
    }
    return best;
}

/* The published map's numbers that can be told by heart, its order, and that each code is the nearest's. */
static void codes_are_the_nearest(void **state)
{
    (void)state;
    vlorpi_code_map maps[2];
    for (int kind = 0; kind < 2; kind++) {
        vlorpi_code_map *map = &maps[kind];
        vlorpi_code_map_make(map, kind == 0);
        for (int code = 1; code < 256; code++) {
            assert_true(map->values[code] > map->values[code - 1]);
        }
        for (int i = 0; i < 100000; i++) {
            float x = test_uniform(&seed) * powf(10, -8 * fabsf(test_uniform(&seed)));
            x = kind == 1 || i % 1000 == 0 ? fabsf(x) : x;
            int code = kind == 0 ? vlorpi_code_signed(map, x, 1) : vlorpi_code_rank(map, x);
            double error = fabs((double)map->values[code] - (double)x);
            ASSERT_BELOW(error, fabs((double)map->values[nearest(map, (double)x)] - (double)x) * (1 + 1e-4) + 1e-12);
        }
    }
    assert_true(maps[0].values[127] == 0 && maps[0].values[255] == 1 && maps[0].values[128] == 5.5e-7f);
    assert_true(maps[0].values[0] == -0.99296875f && maps[0].values[254] == 0.99296875f);
    assert_true(maps[1].values[0] == 0 && maps[1].values[255] == 1 && maps[1].values[1] == 3.25e-7f);
    assert_int_equal(vlorpi_code_signed(&maps[0], -2, 2), 0);
    assert_int_equal(vlorpi_code_signed(&maps[0], 2, 2), 255);
}

typedef struct code_block {
    uint8_t m[VLORPI_CODE_BLOCK], v[VLORPI_CODE_BLOCK];
    float most[2], g[VLORPI_CODE_BLOCK];
} code_block;

static void blocks_of_codes_give_the_same_bits(void **state)
{
    (void)state;
    static const vlorpi_adamw u = {.beta1 = 0.9f, .beta2 = 0.999f, .fresh1 = 0.1f, .fresh2 = 0.001f,
                                   .grad_scale = 0.3f, .step = 0.01f, .rsqrt_bc2 = 3.0f, .eps = 1e-8f};
    static const int64_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 100, 255, 256};
    vlorpi_code_map maps[2];
    vlorpi_code_map_make(&maps[0], true);
    vlorpi_code_map_make(&maps[1], false);
    for (int l = 1; vlorpi_kernels_at(l) != NULL; l++) {
        for (size_t i = 0; i < 3 * sizeof sizes / sizeof sizes[0]; i++) {
            int64_t n = sizes[i / 3];
            code_block a;
            memset(&a, 0, sizeof a);
            float size = i % 3 == 0 ? 0 : i % 3 == 1 ? 1e-21f : 1;
            for (int e = 0; e < VLORPI_CODE_BLOCK; e++) {
                a.m[e] = (uint8_t)test_random(&seed);
                a.v[e] = (uint8_t)test_random(&seed);
                a.g[e] = size * test_uniform(&seed) * powf(10, 6 * test_uniform(&seed));
            }
            a.most[0] = 0.1f * size;
            a.most[1] = 0.01f * size * size;
            code_block b = a;
            ref()->adamw8_block(a.m, a.v, &a.most[0], &a.most[1], a.g, maps, u, n);
            vlorpi_kernels_at(l)->optim->adamw8_block(b.m, b.v, &b.most[0], &b.most[1], b.g, maps, u, n);
            if (memcmp(&a, &b, sizeof a) != 0) {
                fail_msg("%s, n %lld, size %g: bits differ", vlorpi_kernels_at(l)->name, (long long)n, (double)size);
            }
        }
    }
}

static void squares_are_accurate(void **state)
{
    (void)state;
    const int64_t n = 1003;
    float *x = numbers(n, false);
    float *b = numbers(n, false);
    for (int64_t i = 0; i < n; i++) {
        b[i] = 0.1f + fabsf(b[i]);
    }
    double squares = ref()->sum_squares(x, n);
    double ratios = ref()->sum_ratio_squares(x, b, n);
    for (int l = 0; vlorpi_kernels_at(l) != NULL; l++) {
        const vlorpi_optim_kernels *k = vlorpi_kernels_at(l)->optim;
        float *y = guarded(n, 1);
        ASSERT_BELOW(fabs(k->add_squares(y, x, n) / squares - 1), 1e-6);
        for (int64_t i = 0; i < n; i++) {
            assert_true(y[i] == 1 + x[i] * x[i]);
        }
        release(y, n);
        ASSERT_BELOW(fabs(k->sum_ratio_squares(x, b, n) / ratios - 1), 1e-6);
    }
    free(x);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_kernels_equal_the_reference),
        cmocka_unit_test(update_kernels_give_the_same_bits),
        cmocka_unit_test(rounding_is_unbiased),
        cmocka_unit_test(sums_are_accurate),
        cmocka_unit_test(codes_are_the_nearest),
        cmocka_unit_test(blocks_of_codes_give_the_same_bits),
        cmocka_unit_test(squares_are_accurate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
