/* The 16-bit formats: all 65536 values upward; downward every value, every midpoint between two
 * neighbours and the floats beside it, against rounding done by search. */
#include "check_support.h"

enum { N_CODES = 0x10000 };

typedef struct half_format {
    uint16_t infinity; /* its code; larger magnitudes are NaN */
    double overflow;   /* the value that would follow the largest finite one */
    double (*value)(uint16_t code);
} half_format;

/* Of a finite code without sign, from the format's definition. */
static double f16_value(uint16_t code)
{
    int exponent = code >> 10;
    int fraction = code & 0x3ff;
    return exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
}

static double bf16_value(uint16_t code)
{
    int exponent = code >> 7;
    int fraction = code & 0x7f;
    return exponent == 0 ? ldexp(fraction, -133) : ldexp(128 + fraction, exponent - 134);
}

static const half_format f16 = {0x7c00, 65536.0, f16_value};
static const half_format bf16 = {0x7f80, 0x1p128, bf16_value};

static double value_or_overflow(const half_format *format, uint16_t code)
{
    return code == format->infinity ? format->overflow : format->value(code);
}

/* The code nearest to x, an even one when two are: by search among all codes. */
static uint16_t nearest(const half_format *format, float x)
{
    double magnitude = fabs((double)x);
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (magnitude >= format->overflow) {
        return sign | format->infinity;
    }
    uint16_t low = 0;
    uint16_t high = format->infinity;
    while (high - low > 1) { /* value(low) <= magnitude < value(high) */
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (format->value(middle) <= magnitude) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double below = magnitude - format->value(low);
    double above = value_or_overflow(format, high) - magnitude;
    bool up = above < below || (above == below && (low & 1) != 0);
    return sign | (up ? high : low);
}

static void check_upward(const half_format *format, void (*convert)(float *, const uint16_t *, int64_t))
{
    static uint16_t x[N_CODES + 1];
    static float y[N_CODES + 1];
    for (int i = 0; i < N_CODES; i++) {
        x[i + 1] = (uint16_t)i;
    }
    convert(y + 1, x + 1, N_CODES - 3);      /* not whole vectors, and off by one */
    convert(y + 1 + N_CODES - 3, x + 1 + N_CODES - 3, 3);
    for (int i = 0; i < N_CODES; i++) {
        uint16_t magnitude = (uint16_t)(i & 0x7fff);
        float got = y[i + 1];
        bool sign_kept = (signbit(got) != 0) == (i >= 0x8000);
        if (magnitude > format->infinity) {
            assert_true(isnan(got) && sign_kept);
        } else if (magnitude == format->infinity) {
            assert_true(isinf(got) && sign_kept);
        } else {
            assert_true(fabs((double)got) == format->value(magnitude) && sign_kept);
        }
    }
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Every code's value, its midpoint with the next, both floats beside the midpoint, both signs; then
 * random bits.  Returns how many of the array's elements were filled. */
static int64_t hard_inputs(const half_format *format, float *x)
{
    int64_t n = 0;
    for (uint16_t code = 0; code < format->infinity; code++) {
        double here = format->value(code);
        double next = value_or_overflow(format, (uint16_t)(code + 1));
        float middle = (float)(here + 0.5 * (next - here)); /* exact: one more bit */
        const float cases[] = {(float)here, middle, nextafterf(middle, INFINITY), nextafterf(middle, 0.0f)};
        for (int i = 0; i < 4; i++) {
            x[n++] = cases[i];
            x[n++] = -cases[i];
        }
    }
    uint64_t state = 17;
    for (int i = 0; i < N_CODES; i++) {
        float random = float_of((uint32_t)test_random(&state));
        x[n++] = isnan(random) ? 0.0f : random;
    }
    x[n++] = INFINITY;
    x[n++] = -INFINITY;
    x[n++] = 3.4e38f;
    return n;
}

enum { MAX_INPUTS = 5 * N_CODES };

static void check_downward(const half_format *format, void (*convert)(uint16_t *, const float *, int64_t))
{
    static float x[MAX_INPUTS];
    static uint16_t y[MAX_INPUTS];
    int64_t n = hard_inputs(format, x);
    assert_true(n <= MAX_INPUTS);
    convert(y, x, n);
    for (int64_t i = 0; i < n; i++) {
        if (y[i] != nearest(format, x[i])) {
            fail_msg("%a gives %04x, nearest is %04x", (double)x[i], y[i], nearest(format, x[i]));
        }
    }
}

/* Quiet and signalling NaNs, payloads that rounding could carry into infinity or drop to zero. */
static void check_nan(const half_format *format, void (*convert)(uint16_t *, const float *, int64_t))
{
    static const uint32_t payloads[] = {0x7fc00000u, 0x7f800001u, 0x7fffffffu, 0x7fbfffffu, 0x7f80ffffu,
                                        0xffc00000u, 0xff800001u, 0xffffffffu, 0x7f808000u};
    enum { N = sizeof payloads / sizeof payloads[0] };
    for (int64_t n = 1; n <= 2 * N; n++) {
        float x[2 * N];
        uint16_t y[2 * N];
        for (int i = 0; i < 2 * N; i++) {
            memcpy(&x[i], &payloads[i % N], sizeof x[i]);
        }
        convert(y, x, n);
        for (int64_t i = 0; i < n; i++) {
            assert_true((y[i] & 0x7fff) > format->infinity);
            assert_int_equal(y[i] >> 15, payloads[i % N] >> 31);
        }
    }
}

static void test_bf16(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        check_upward(&bf16, k->model->bf16_to_f32);
        check_downward(&bf16, k->model->f32_to_bf16);
        check_nan(&bf16, k->model->f32_to_bf16);
    }
}

static void test_f16(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        check_upward(&f16, k->model->f16_to_f32);
        check_downward(&f16, k->model->f32_to_f16);
        check_nan(&f16, k->model->f32_to_f16);
    }
}

/* NaNs included, every level gives the reference's bits in all four directions. */
static void test_same_bits(void **unused)
{
    (void)unused;
    static uint16_t codes[N_CODES], got[N_CODES], want[N_CODES];
    static float x[N_CODES], got_f[N_CODES], want_f[N_CODES];
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 18;
        for (int i = 0; i < N_CODES; i++) {
            codes[i] = (uint16_t)i;
            uint32_t random = (uint32_t)test_random(&state);
            x[i] = float_of(i % 3 == 0 ? random | 0x7f800000u : random);
        }
        ref->bf16_to_f32(want_f, codes, N_CODES);
        k->model->bf16_to_f32(got_f, codes, N_CODES);
        assert_memory_equal(got_f, want_f, sizeof got_f);
        ref->f16_to_f32(want_f, codes, N_CODES);
        k->model->f16_to_f32(got_f, codes, N_CODES);
        assert_memory_equal(got_f, want_f, sizeof got_f);
        ref->f32_to_f16(want, x, N_CODES);
        k->model->f32_to_f16(got, x, N_CODES);
        assert_memory_equal(got, want, sizeof got);
        ref->f32_to_bf16(want, x, N_CODES);
        k->model->f32_to_bf16(got, x, N_CODES);
        assert_memory_equal(got, want, sizeof got);
    }
}

/* Lengths around the vector widths: nothing beyond the end is written, and round_bf16 is the way
 * down and up again. */
static void test_lengths(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 19;
        for (int64_t n = 0; n <= 70; n++) {
            check_array x = check_array_new(1, n, n, n % 3);
            check_fill_uniform(&x, &state);
            check_array y = check_array_new(1, n, n, 1);
            uint16_t half[72];
            memset(half, 0xab, sizeof half);
            k->model->f32_to_bf16(half, x.data, n);
            assert_int_equal(half[n], 0xabab);
            k->model->bf16_to_f32(y.data, half, n);
            check_guards(&y, "bf16_to_f32");
            for (int64_t i = 0; i < n; i++) {
                assert_int_equal(bits_of(y.data[i]), (uint32_t)nearest(&bf16, x.data[i]) << 16);
            }
            memset(half, 0xab, sizeof half);
            k->model->f32_to_f16(half, x.data, n);
            assert_int_equal(half[n], 0xabab);
            check_array z = check_array_copy(&y);
            k->model->f16_to_f32(z.data, half, n);
            check_guards(&z, "f16_to_f32");
            k->model->round_bf16(x.data, n);
            check_guards(&x, "round_bf16");
            check_same_bits(&x, &y, "round_bf16");
            check_array_free(&x);
            check_array_free(&y);
            check_array_free(&z);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bf16), cmocka_unit_test(test_f16),
                                       cmocka_unit_test(test_same_bits), cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
