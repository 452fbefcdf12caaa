/* eval_tasks.h - vlorp eval --task with a set of questions.
 *
 * Layer 7.
 */
#ifndef VLORPI_CLI_EVAL_TASKS_H
#define VLORPI_CLI_EVAL_TASKS_H

#include "cli/command.h"
#include "eval/task_run.h"

/* Bit i: the list of that option names row i of vlorpi_task_table, alone or by its set. */
unsigned vlorpi_cli_tasks(const vlorpi_options *options, const char *name);

VLORP_CHECKED vlorp_status vlorpi_cli_eval_tasks(vlorpi_cli *cli, vlorp_err *err);

/* The first question of each run as the model reads it, with its answers (--show_prompt). */
VLORP_CHECKED vlorp_status vlorpi_cli_show_prompts(const vlorpi_cli *cli, const vlorpi_task_run *runs, int n_runs,
                                                   vlorp_err *err);
/* Accuracies with their intervals, as a table or as one object (--json). */
VLORP_CHECKED vlorp_status vlorpi_cli_report_tasks(const vlorpi_cli *cli, const vlorpi_task_run *runs, int n_runs,
                                                   double seconds, vlorp_err *err);

#endif
