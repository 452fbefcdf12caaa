/* train_options.h - the option table's values as a run's settings, for train and plan.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_TRAIN_OPTIONS_H
#define VLORPI_CLI_TRAIN_OPTIONS_H

#include <stdio.h>

#include "cli/command.h"
#include "train/job.h"
#include "train/settings.h"

/* Borrows the texts of cli->options.  settings->record is left NULL. */
VLORP_CHECKED vlorp_status vlorpi_train_options(vlorpi_train_settings *settings, const vlorpi_cli *cli, vlorp_err *err);

/* One line: what was read, cut and dropped. */
void vlorpi_print_data(FILE *out, const vlorpi_job *job);

/* One line: steps, micro-batches, threads, folder. */
void vlorpi_print_run(FILE *out, const vlorpi_job *job, const char *folder);

/* The memory table, a column for each usage: classes, total.  Titles head the columns.  process_bytes: what the process
 * took, as a last column that has a total alone; 0: none. */
void vlorpi_print_memory(FILE *out, const char *const *titles, const vlorpi_mem_usage *const *usages, int n_columns,
                         size_t process_bytes);

/* One line when projecting embedding and head too would take less; nothing otherwise. */
void vlorpi_print_target_hint(FILE *out, const vlorpi_job *job);

/* The settings really used, one line for each distinct shape; of adapters one line. */
void vlorpi_print_projections(FILE *out, const vlorpi_job *job);

#endif
