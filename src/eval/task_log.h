/* task_log.h - a file with one line per answered question, from which an interrupted evaluation goes on.
 *
 * Layer 5.  The first line is {"settings": {…}}; then one object per question, in the order of tasks and questions.  A
 * line is written at once and whole; a last line that a kill left unfinished is taken away.
 */
#ifndef VLORPI_EVAL_TASK_LOG_H
#define VLORPI_EVAL_TASK_LOG_H

#include <jansson.h>
#include <stdio.h>

#include "eval/task_run.h"

/* Zero-initialised storage is closed: writing to it does nothing. */
typedef struct vlorpi_task_log {
    FILE *file;
    const char *path; /* borrowed */
    vlorpi_mem *mem;  /* borrowed */
    char **waiting;   /* [n_waiting] lines of the present task that came before those in front of them */
    int64_t n_waiting;
    int64_t next;     /* question whose line is due */
    vlorpi_rendered prompt, option; /* scratch */
} vlorpi_task_log;

/* Opens path, which need not be there, and counts into runs [n_runs] what it holds.
 * Errors: E_IO; E_ARG when the file is of other settings, naming the first; E_FORMAT, with the line, for one that does
 * not follow the one before. */
VLORP_CHECKED vlorp_status vlorpi_task_log_open(vlorpi_task_log *log, vlorpi_mem *mem, const char *path,
                                                const json_t *settings, vlorpi_task_run *runs, int n_runs,
                                                vlorp_err *err);
/* The lines that follow are of this run, from its n_done on. */
VLORP_CHECKED vlorp_status vlorpi_task_log_begin(vlorpi_task_log *log, const vlorpi_task_run *run, vlorp_err *err);
/* In any order of questions. */
VLORP_CHECKED vlorp_status vlorpi_task_log_add(vlorpi_task_log *log, const vlorpi_task_run *run,
                                               const vlorpi_task_answer *answer, vlorp_err *err);
void vlorpi_task_log_close(vlorpi_task_log *log);

#endif
