/* output.h - what people see: messages, the live line, numbers in words.
 *
 * Layer 7.  Results go to standard output; everything here goes to standard error.  On a terminal
 * the live line is rewritten in place; without one it becomes plain lines now and then.
 */
#ifndef VLORPI_CLI_OUTPUT_H
#define VLORPI_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

typedef struct vlorpi_output {
    bool quiet;             /* warnings and errors only */
    bool terminal;          /* standard error is one that can rewrite a line */
    bool color;             /* terminal, and NO_COLOR is not set */
    bool result_color;      /* the same of standard output */
    bool live;              /* a live line stands at the cursor */
    double last_line;       /* seconds: when the last plain progress line was written */
} vlorpi_output;

void vlorpi_output_init(vlorpi_output *output, bool quiet);
/* Messages through this log never tear the live line.  Borrows output. */
vlorpi_log vlorpi_output_log(vlorpi_output *output);

/* Prints text of unknown origin: what would drive a terminal becomes '?', but for line breaks and tabs. */
void vlorpi_output_text(FILE *out, const char *text, size_t n_bytes);

/* Prints "vlorp: error: TEXT" and, where there is one, "hint: HINT". */
void vlorpi_output_error(vlorpi_output *output, const vlorp_err *err);

/* One step of a run. */
typedef struct vlorpi_progress {
    int64_t step, n_steps; /* step counts from 1 */
    double loss;
    double tokens_per_second;
    size_t memory_bytes;
    double seconds_left;   /* negative: not known yet */
} vlorpi_progress;

/* Shows a step: on a terminal at once; else when `last` or five seconds after the line before. */
void vlorpi_output_progress(vlorpi_output *output, const vlorpi_progress *progress, bool last);
/* Leaves the live line standing and goes to the next. */
void vlorpi_output_end_live(vlorpi_output *output);

/* "1.24 GiB", "512 B"; "2 h 05 min", "3 min 20 s", "8.4 s".  Return text. */
char *vlorpi_output_bytes(char *text, size_t text_bytes, size_t n_bytes);
char *vlorpi_output_seconds(char *text, size_t text_bytes, double seconds);

/* Writes value as one line of JSON to standard output and drops the caller's reference.  NULL (from
 * a maker that ran out of memory) gives E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_output_json(json_t *value, vlorp_err *err);
/* Flushes standard output; E_IO when anything written there was lost. */
VLORP_CHECKED vlorp_status vlorpi_output_flush(vlorp_err *err);

#endif
