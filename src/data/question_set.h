/* question_set.h - all questions of a task, read from its files and kept as records.
 *
 * Layer 4.  Knows: files, records, questions.  Does not know: tasks' names, tokens, scores.
 */
#ifndef VLORPI_DATA_QUESTION_SET_H
#define VLORPI_DATA_QUESTION_SET_H

#include "base/mem.h"
#include "data/question.h"

typedef struct vlorpi_question_set vlorpi_question_set; /* opaque; memory under DATA */

/* A place is a path under data_dir; one star in it stands for the names of the groups, as in data_files.h. */
typedef struct vlorpi_question_files {
    const char *data_dir;    /* NULL: not given */
    const char *place;
    const char *shots_place; /* of the solved examples, with a star where place has one; NULL: there are none */
    vlorpi_form form;
    vlorpi_question_kind kind;
    int n_shots;             /* the first so many records of shots_place go before every question of their group */
    int64_t limit;           /* only the first so many questions of each group; 0: all */
} vlorpi_question_files;

/* Reads and checks every record, those beyond the limit too.  Owner: the caller, _free; on an error *out is NULL.
 * Errors: E_ARG when data_dir does not hold the files, or n_shots are more than there are; the readers' with file and
 * line. */
VLORP_CHECKED vlorp_status vlorpi_question_set_open(vlorpi_question_set **out, vlorpi_mem *mem,
                                                    const vlorpi_question_files *files, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_question_set_free(vlorpi_question_set *set);

/* Questions stand group by group, groups in order of their files' names. */
int64_t vlorpi_question_set_n(const vlorpi_question_set *set);
int vlorpi_question_set_n_groups(const vlorpi_question_set *set);
/* What the star stood for: "high_school_physics"; "" where the place has none.  Borrowed. */
const char *vlorpi_question_set_group(const vlorpi_question_set *set, int group);
/* Question i; borrows from set. */
void vlorpi_question_set_get(const vlorpi_question_set *set, int64_t i, vlorpi_question *question);
/* Of every byte that a prompt or an answer is made of, limit and shots included. */
uint64_t vlorpi_question_set_checksum(const vlorpi_question_set *set);

#endif
