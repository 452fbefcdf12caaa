/* notches.h - the ways in which a job's settings can be made to take less memory, one notch at a time.
 *
 * Layer 6.  A way owns some fields of the settings: it lowers them, gives them back, and writes them as options.
 */
#ifndef VLORPI_TRAIN_NOTCHES_H
#define VLORPI_TRAIN_NOTCHES_H

#include "train/job.h"

enum { VLORPI_WAY_BYTES = 64 };

typedef struct vlorpi_way {
    /* Takes the settings one notch below those that job is planned with, and says whether there was one. */
    bool (*lower)(vlorpi_train_settings *s, const vlorpi_job *job);
    /* Gives s this way's fields of `from`. */
    void (*restore)(vlorpi_train_settings *s, const vlorpi_train_settings *from);
    /* Writes the way's fields of s that differ from those of asked as options: "--batch_size 4", or nothing.
     * asked NULL: all that are not left open. */
    void (*print)(char text[VLORPI_WAY_BYTES], const vlorpi_train_settings *s, const vlorpi_train_settings *asked);
} vlorpi_way;

/* What changes least comes first: results stay, then method, then precision, then data. */
typedef enum vlorpi_way_name {
    VLORPI_WAY_CHECKPOINTING,
    VLORPI_WAY_BATCH,
    VLORPI_WAY_TARGET,
    VLORPI_WAY_STATE,
    VLORPI_WAY_BUDGET,
    VLORPI_WAY_DTYPE,
    VLORPI_WAY_OPTIMIZER,
    VLORPI_WAY_LENGTH,
    VLORPI_N_WAYS
} vlorpi_way_name;

extern const vlorpi_way vlorpi_ways[VLORPI_N_WAYS];

/* All ways' options in their order, separated by blanks. */
enum { VLORPI_WAYS_BYTES = VLORPI_N_WAYS * VLORPI_WAY_BYTES };
void vlorpi_ways_print(char text[VLORPI_WAYS_BYTES], const vlorpi_train_settings *s,
                       const vlorpi_train_settings *asked);

#endif
