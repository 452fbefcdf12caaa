/* task.h - the tasks that a model is judged by: one row each.
 *
 * Layer 5.  Knows: where a task's questions lie and of which kind they are.  Does not know: models, scores.
 */
#ifndef VLORPI_EVAL_TASK_H
#define VLORPI_EVAL_TASK_H

#include "data/question_set.h"

/* A task is one row; a set ("commonsense") is all rows that name it. */
typedef struct vlorpi_task {
    const char *name;
    const char *set;         /* NULL: of none */
    const char *place;       /* under the data folder, as in question_set.h */
    const char *shots_place; /* NULL: there are no solved examples */
    vlorpi_form form;
    vlorpi_question_kind kind;
    bool has_subjects;       /* its groups are MMLU's subjects */
} vlorpi_task;

extern const vlorpi_task vlorpi_task_table[];
extern const int vlorpi_task_table_rows;

/* MMLU's categories, as Hendrycks et al. count them. */
typedef enum vlorpi_mmlu_category {
    VLORPI_MMLU_STEM, VLORPI_MMLU_HUMANITIES, VLORPI_MMLU_SOCIAL_SCIENCES, VLORPI_MMLU_OTHER, VLORPI_MMLU_N_CATEGORIES
} vlorpi_mmlu_category;
enum { VLORPI_MMLU_N_SUBJECTS = 57 };
/* "stem", "humanities", "social sciences", "other" */
const char *vlorpi_mmlu_category_name(vlorpi_mmlu_category category);
/* Of a subject by its file's name ("high_school_physics"); E_FORMAT when it is none of the 57. */
VLORP_CHECKED vlorp_status vlorpi_mmlu_category_of(vlorpi_mmlu_category *category, const char *subject, vlorp_err *err);

#endif
