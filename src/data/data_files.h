/* data_files.h - which files a data set's name stands for.
 *
 * Layer 4.  Knows: the built-in names and the folders they are looked for in.
 */
#ifndef VLORPI_DATA_DATA_FILES_H
#define VLORPI_DATA_DATA_FILES_H

#include "base/mem.h"
#include "data/form.h"

typedef struct vlorpi_data_files {
    vlorpi_mem *mem;
    char **paths; /* [n] owned */
    int n;
    vlorpi_form form; /* what the name promises; ANY for a file of the user's */
} vlorpi_data_files;

/* what: commonsense, gsm8k or mmlu under data_dir (NULL: not given), else a file.
 *     commonsense  commonsense_170k.json, or commonsense/commonsense_170k.json, else every
 *                  commonsense/NAME/train.json in order of NAME's bytes
 *     gsm8k        gsm8k/train.jsonl
 *     mmlu         every mmlu/auxiliary_train/NAME.csv, else every mmlu/dev/NAME.csv, in the same order
 * Owner: the caller, _deinit, also after an error.
 * Errors: E_ARG for a built-in name that data_dir does not hold; E_IO for no such file. */
VLORP_CHECKED vlorp_status vlorpi_data_files_find(vlorpi_data_files *files, vlorpi_mem *mem, const char *what,
                                                  const char *data_dir, vlorp_err *err);
/* Every file of one place under data_dir (NULL: not given): a path, or one with a star for part of its last name
 * ("mmlu/test/STAR_test.csv") or for a folder ("commonsense/STAR/train.json"), in order of the paths' bytes; what: its
 * name for error texts.  Owner and errors: as _find. */
VLORP_CHECKED vlorp_status vlorpi_data_files_at(vlorpi_data_files *files, vlorpi_mem *mem, const char *what,
                                                const char *data_dir, const char *place, vlorpi_form form,
                                                vlorp_err *err);
void vlorpi_data_files_deinit(vlorpi_data_files *files);

#endif
