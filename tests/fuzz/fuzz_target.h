/* fuzz_target.h - what a fuzz target offers, to libFuzzer and to replay.c, and how it says no. */
#ifndef VLORP_TESTS_FUZZ_TARGET_H
#define VLORP_TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Parses the bytes; ends the process when a property that must hold does not. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define FUZZ_EXPECT(condition)                                                       \
    do {                                                                             \
        if (!(condition)) {                                                          \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                 \
        }                                                                            \
    } while (0)

#endif
