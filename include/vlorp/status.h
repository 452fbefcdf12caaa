/* status.h - how every fallible call of libvlorp reports.
 *
 * A call returns VLORP_OK (0) or a negative code; results leave through pointers.  A call whose
 * failure needs explaining takes a vlorp_err last (NULL is allowed) and fills it with one sentence
 * that names file, place and value, and where there is one, the remedy.
 */
#ifndef VLORP_STATUS_H
#define VLORP_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VLORP_CHECKED __attribute__((warn_unused_result))
#define VLORP_API __attribute__((visibility("default")))
#else
#define VLORP_CHECKED
#define VLORP_API
#endif

typedef enum vlorp_status {
    VLORP_OK = 0,
    VLORP_E_ARG = -1,         /* the caller passed a value that is out of range */
    VLORP_E_NOMEM = -2,       /* the system has no memory */
    VLORP_E_LIMIT = -3,       /* over a budget or a written limit */
    VLORP_E_IO = -4,          /* the operating system refused a read or a write */
    VLORP_E_FORMAT = -5,      /* a file is damaged */
    VLORP_E_UNSUPPORTED = -6, /* valid, but not implemented */
    VLORP_E_SHAPE = -7,       /* file and model disagree */
    VLORP_E_NUMERIC = -8,     /* NaN or infinity where forbidden */
    VLORP_E_COMM = -9,        /* another rank failed or cannot be reached */
    VLORP_E_STATE = -10,      /* calls in the wrong order */
    VLORP_E_INTERRUPTED = -11 /* the user asked to stop */
} vlorp_status;

enum { VLORP_ERR_TEXT_BYTES = 768, VLORP_ERR_HINT_BYTES = 384 };

/* The record of one failure.  Both texts are NUL-terminated; hint may be empty. */
typedef struct vlorp_err {
    vlorp_status code;
    char text[VLORP_ERR_TEXT_BYTES];
    char hint[VLORP_ERR_HINT_BYTES];
} vlorp_err;

/* The code's name in words, for example "out of memory".  A constant string. */
VLORP_API const char *vlorp_status_text(vlorp_status status);

#ifdef __cplusplus
}
#endif
#endif
