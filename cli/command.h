/* command.h - what a command gets and gives back.
 *
 * Layer 7.  main.c makes the context, calls one command, prints its error and turns its status into
 * the exit code: 0 done, 1 failed, 2 wrong command line (E_ARG), 130 or 143 interrupted.
 */
#ifndef VLORPI_CLI_COMMAND_H
#define VLORPI_CLI_COMMAND_H

#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "kernel/kernel.h"
#include "cli/options.h"
#include "cli/output.h"

/* Everything is borrowed from main and outlives the command. */
typedef struct vlorpi_cli {
    const vlorpi_options *options;
    vlorpi_mem *mem;               /* the account; jansson books into it too */
    vlorpi_log log;                /* to standard error; silent below warnings with --quiet */
    vlorpi_output *output;         /* the live line */
    vlorp_exec exec;               /* --threads */
    const vlorpi_kernels *kernels; /* the CPU's table, not above $VLORP_CPU */
    int n_threads;
} vlorpi_cli;

/* Results go to standard output, everything else through log.  err names what failed. */
typedef vlorp_status vlorpi_command(vlorpi_cli *cli, vlorp_err *err);

vlorpi_command vlorpi_cmd_train;    /* cmd_train.c */
vlorpi_command vlorpi_cmd_plan;     /* cmd_plan.c */
vlorpi_command vlorpi_cmd_eval;     /* cmd_eval.c */
vlorpi_command vlorpi_cmd_generate; /* cmd_generate.c */
vlorpi_command vlorpi_cmd_convert;  /* cmd_convert.c */
vlorpi_command vlorpi_cmd_inspect;  /* cmd_inspect.c */
vlorpi_command vlorpi_cmd_tokenize; /* cmd_tokenize.c */
vlorpi_command vlorpi_cmd_bench;    /* cmd_bench.c */

/* "0.1.0" */
extern const char vlorpi_program_version[];

/* Catches SIGINT and SIGTERM from now on: the first is remembered, a second one ends the process at
 * once.  A command that calls it must look at
 * vlorpi_interrupt_signal between steps and return E_INTERRUPTED. */
void vlorpi_interrupt_install(void);
/* From now on a mapped file that is cut short while it is read ends the process with an error line. */
void vlorpi_bus_error_install(void);
/* The signal that came, or 0; valid for the whole program. */
extern volatile sig_atomic_t vlorpi_interrupt_signal;

#endif
