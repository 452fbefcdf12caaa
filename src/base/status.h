/* status.h - the two error macros and the record filler.
 *
 * Layer 0.  Everything may include it.
 */
#ifndef VLORPI_BASE_STATUS_H
#define VLORPI_BASE_STATUS_H

#include <vlorp/status.h>

/* Returns the status to the caller when it is not VLORP_OK.  Only where nothing is owned yet. */
#define VLORP_TRY(call)                             \
    do {                                            \
        vlorp_status vlorpi_status_ = (call);       \
        if (vlorpi_status_ != VLORP_OK) {           \
            return vlorpi_status_;                  \
        }                                           \
    } while (0)

/* Fills the record and returns the code. */
#define VLORP_FAIL(err, code, ...) return vlorpi_err_set((err), (code), __VA_ARGS__)

/* Fills err (NULL is allowed), clears its hint, and returns code, so that it can be returned. */
vlorp_status vlorpi_err_set(vlorp_err *err, vlorp_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the remedy: the second line that the program prints as "hint: ...". */
void vlorpi_err_hint(vlorp_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the text that is already there; for callers who know the file's name. */
void vlorpi_err_prefix(vlorp_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
