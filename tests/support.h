/* support.h - what every test needs: cmocka, comparisons that NaN fails, shared data, skips. */
#ifndef VLORP_TESTS_SUPPORT_H
#define VLORP_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Fails, naming the status and the error text, unless the call returns VLORP_OK; needs `err`. */
#define ASSERT_OK(call)                                                                  \
    do {                                                                                 \
        vlorp_status test_status_ = (call);                                              \
        if (test_status_ != VLORP_OK) {                                                  \
            fail_msg("%s: status %d: %s", #call, (int)test_status_, err.text);           \
        }                                                                                \
    } while (0)

/* norm(a - b) / norm(b), or norm(a - b) when b is zero.  NaN anywhere gives NaN, which fails
 * every check written !(error <= limit). */
static inline double relative_error(const float *a, const float *b, int64_t n)
{
    double difference = 0;
    double norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

#define ASSERT_BELOW(value, limit)                                                                            \
    do {                                                                                                      \
        double test_value_ = (double)(value);                                                                 \
        if (!(test_value_ <= (double)(limit))) {                                                              \
            fail_msg("%s = %.9g is not below %.3g", #value, test_value_, (double)(limit));                    \
        }                                                                                                     \
    } while (0)

/* The path of a shared file under $VLORP_TEST_DATA or ../shared/data, in a static buffer of which
 * eight are live.  When the data is not there the test is skipped with a line that says so; with
 * VLORP_REQUIRE_ALL=1 it fails instead. */
static inline const char *shared_data(const char *relative)
{
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    const char *root = getenv("VLORP_TEST_DATA");
    (void)snprintf(path, sizeof paths[0], "%s/%s", root != NULL ? root : "../shared/data", relative);
    struct stat info;
    if (stat(path, &info) != 0) {
        const char *require = getenv("VLORP_REQUIRE_ALL");
        if (require != NULL && strcmp(require, "1") == 0) {
            fail_msg("%s is missing and VLORP_REQUIRE_ALL=1", path);
        }
        (void)fprintf(stderr, "SKIP: no %s; set VLORP_TEST_DATA to the shared data folder\n", path);
        skip();
    }
    return path;
}

/* SplitMix64: test inputs only. */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* uniform in [-1, 1) */
static inline float test_uniform(uint64_t *state)
{
    return (float)((double)(test_random(state) >> 11) * 0x1p-52 - 1.0);
}

#endif
