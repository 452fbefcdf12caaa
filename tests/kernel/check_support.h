/* check_support.h - what every kernel test needs beside support.h: guarded arrays, NaN fill, exact
 * integer inputs, and a loop over the levels that this CPU runs.
 *
 * A guarded array has 64 guard elements before and after, and rows may be strided: the gap between
 * two rows is guarded as well.  Guards are a NaN with a chosen payload, so that a kernel that reads
 * one spoils its result and one that writes there is found by check_guards.
 */
#ifndef VLORP_TESTS_KERNEL_CHECK_SUPPORT_H
#define VLORP_TESTS_KERNEL_CHECK_SUPPORT_H

#include "support.h"

#include "kernel/kernel.h"

enum { CHECK_GUARD = 64 };
#define CHECK_GUARD_BITS 0x7FC5A5A5u

/* n_rows rows of n_cols floats with stride ld; the first element is 64-byte aligned when offset is
 * 0, and offset elements further otherwise. */
typedef struct check_array {
    float *block; /* what was allocated */
    float *data;  /* element (0, 0) */
    int64_t n_rows, n_cols, ld;
    int64_t n_block;
} check_array;

static inline float check_guard_value(void)
{
    uint32_t bits = CHECK_GUARD_BITS;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* All elements, the guards included, hold the guard NaN. */
static inline check_array check_array_new(int64_t n_rows, int64_t n_cols, int64_t ld, int64_t offset)
{
    check_array a = {.n_rows = n_rows, .n_cols = n_cols, .ld = ld};
    a.n_block = 2 * CHECK_GUARD + offset + n_rows * ld;
    a.n_block = (a.n_block + 15) / 16 * 16;
    a.block = aligned_alloc(64, (size_t)a.n_block * sizeof(float));
    assert_non_null(a.block);
    a.data = a.block + CHECK_GUARD + offset;
    for (int64_t i = 0; i < a.n_block; i++) {
        a.block[i] = check_guard_value();
    }
    return a;
}

static inline void check_array_free(check_array *a)
{
    free(a->block);
    a->block = NULL;
}

/* Fails when anything outside the rows was written. */
static inline void check_guards(const check_array *a, const char *what)
{
    for (int64_t i = 0; i < a->n_block; i++) {
        int64_t at = i - (a->data - a->block);
        bool inside = at >= 0 && a->ld > 0 && at / a->ld < a->n_rows && at % a->ld < a->n_cols;
        uint32_t bits;
        memcpy(&bits, &a->block[i], sizeof bits);
        if (!inside && bits != CHECK_GUARD_BITS) {
            fail_msg("%s: guard element %lld (rows %lld, cols %lld, ld %lld) was written", what, (long long)at,
                     (long long)a->n_rows, (long long)a->n_cols, (long long)a->ld);
        }
    }
}

/* Integers in [-8, 8]: sums of up to 262,144 products of two of them are exact in float. */
static inline float check_integer(uint64_t *state)
{
    return (float)((int)(test_random(state) % 17) - 8);
}

static inline void check_fill_integers(check_array *a, uint64_t *state)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t j = 0; j < a->n_cols; j++) {
            a->data[i * a->ld + j] = check_integer(state);
        }
    }
}

static inline void check_fill_uniform(check_array *a, uint64_t *state)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t j = 0; j < a->n_cols; j++) {
            a->data[i * a->ld + j] = test_uniform(state);
        }
    }
}

static inline void check_fill_nan(check_array *a)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t j = 0; j < a->n_cols; j++) {
            a->data[i * a->ld + j] = NAN;
        }
    }
}

/* Fails at the first element of the rows that is not finite. */
static inline void check_finite(const check_array *a, const char *what)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t j = 0; j < a->n_cols; j++) {
            if (!isfinite(a->data[i * a->ld + j])) {
                fail_msg("%s: element (%lld, %lld) is %g", what, (long long)i, (long long)j,
                         (double)a->data[i * a->ld + j]);
            }
        }
    }
}

/* Fails at the first element whose bits differ. */
static inline void check_same_bits(const check_array *got, const check_array *want, const char *what)
{
    for (int64_t i = 0; i < want->n_rows; i++) {
        for (int64_t j = 0; j < want->n_cols; j++) {
            const float *g = &got->data[i * got->ld + j];
            const float *w = &want->data[i * want->ld + j];
            if (memcmp(g, w, sizeof *g) != 0) {
                fail_msg("%s: element (%lld, %lld) is %.9g, want %.9g", what, (long long)i, (long long)j, (double)*g,
                         (double)*w);
            }
        }
    }
}

/* A twin of a with the same offset, guards and rows. */
static inline check_array check_array_copy(const check_array *a)
{
    check_array copy = *a;
    copy.block = aligned_alloc(64, (size_t)a->n_block * sizeof(float));
    assert_non_null(copy.block);
    memcpy(copy.block, a->block, (size_t)a->n_block * sizeof(float));
    copy.data = copy.block + (a->data - a->block);
    return copy;
}

/* norm(got - want) / norm(want) over the rows; NaN anywhere gives NaN. */
static inline double check_error(const check_array *got, const check_array *want)
{
    double difference = 0;
    double norm = 0;
    for (int64_t i = 0; i < want->n_rows; i++) {
        for (int64_t j = 0; j < want->n_cols; j++) {
            double w = (double)want->data[i * want->ld + j];
            double d = (double)got->data[i * got->ld + j] - w;
            difference += d * d;
            norm += w * w;
        }
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* Guards intact, every element finite, error in norm at most limit; keeps the largest in *worst. */
static inline void check_close(const check_array *got, const check_array *want, double limit, double *worst,
                               const char *what)
{
    check_guards(got, what);
    check_finite(got, what);
    double error = check_error(got, want);
    if (!(error <= limit)) {
        fail_msg("%s: error %.3g is above %.3g (rows %lld, cols %lld, ld %lld)", what, error, limit,
                 (long long)want->n_rows, (long long)want->n_cols, (long long)want->ld);
    }
    *worst = error > *worst ? error : *worst;
}

/* The upper half, to nearest even; for finite test inputs. */
static inline uint16_t check_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

static inline float check_from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* for (FOR_EACH_LEVEL(k)) { ... k->name ... } */
#define FOR_EACH_LEVEL(k)                                                                       \
    int level_ = (check_print_levels(), 0);                                                     \
    vlorpi_kernels_at(level_) != NULL && ((k) = vlorpi_kernels_at(level_)) != NULL;             \
    level_++

/* Once per program: which levels this machine can test. */
static inline void check_print_levels(void)
{
    static bool printed;
    if (!printed) {
        printed = true;
        (void)fprintf(stderr, "levels:");
        for (int i = 0; vlorpi_kernels_at(i) != NULL; i++) {
            (void)fprintf(stderr, " %s", vlorpi_kernels_at(i)->name);
        }
        (void)fprintf(stderr, "\n");
    }
}

#endif
