/* The vector exponential against libm's in double, over the range it is made for. */
#include "check_support.h"
#include "exp_probe.h"

enum { N = 1 << 16 };

static float bits_to_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* |y - want| in units of the last place of want, a normal number. */
static double error_ulp(float y, double want)
{
    int exponent;
    (void)frexp(want, &exponent);
    return fabs((double)y - want) / ldexp(1.0, exponent - 24);
}

/* Every 1021st float of both signs whose exponential is a normal number. */
static double worst_error(exp_probe *probe)
{
    static float x[N], y[N];
    double worst = 0;
    uint64_t next = 0;
    while (next < 0x100000000u) {
        for (int i = 0; i < N; i++) {
            x[i] = bits_to_float((uint32_t)(next < 0x100000000u ? next : 0));
            if (!(x[i] >= -87.33f && x[i] <= 88.0f)) {
                x[i] = 0;
            }
            next += 1021;
        }
        probe(y, x, N);
        for (int i = 0; i < N; i++) {
            double error = error_ulp(y[i], exp((double)x[i]));
            if (!(error <= worst)) {
                worst = error;
            }
        }
    }
    return worst;
}

static void test_accuracy(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        exp_probe *probe = exp_probe_find(k->name);
        if (probe != NULL) {
            double error = worst_error(probe);
            (void)fprintf(stderr, "  %-7s %.3f ulp\n", k->name, error);
            ASSERT_BELOW(error, 1.0);
        }
    }
}

static void test_edges(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        exp_probe *probe = exp_probe_find(k->name);
        if (probe != NULL) {
            float x[16] = {-INFINITY, NAN, 0.0f, -0.0f, -88.5f, -1e30f, -87.9f, -NAN};
            float y[16];
            probe(y, x, 16);
            assert_true(y[0] == 0.0f && isnan(y[1]) && y[2] == 1.0f && y[3] == 1.0f && y[4] == 0.0f);
            assert_true(y[5] == 0.0f && y[6] >= 0.0f && y[6] <= 0x1p-126f && isnan(y[7]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accuracy), cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
