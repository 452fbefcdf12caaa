/* The rule adamw8bit: AdamW with its moments as 8-bit codes (arXiv 2110.02861), as bitsandbytes keeps them.
 *
 * Blocks run over the weight as it is stored, across the ends of rows.  An item is some rows that begin and end with a
 * block: its blocks turn the gradient into the step, and a row is updated as soon as its last block is done, so
 * gradient, codes and weight pass through the cache once. */
#include <string.h>

#include "base/threads.h"
#include "kernel/optim_codes.h"
#include "optim/handle.h"

enum { ELEMENTS_PER_ITEM = 1 << 15 };

typedef struct job {
    const vlorp_optimizer *o;
    vlorpi_slot *slot;
    int64_t n_rows, width; /* as the weight is stored */
    int64_t rows_per_item;
    vlorpi_adamw scalars;
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

/* The fewest rows that are whole blocks. */
static int64_t rows_of_blocks(int64_t width)
{
    int64_t rows = VLORPI_CODE_BLOCK;
    while (rows % 2 == 0 && rows / 2 * width % VLORPI_CODE_BLOCK == 0) {
        rows /= 2;
    }
    return rows;
}

/* The gradient of elements [begin, begin + n), a block, becomes their step. */
static void step_block(const job *j, int64_t begin, int64_t n)
{
    const vlorpi_slot *slot = j->slot;
    int64_t block = begin / VLORPI_CODE_BLOCK;
    j->o->kernels->adamw8_block(slot->codes[0] + begin, slot->codes[1] + begin, slot->most[0] + block,
                                slot->most[1] + block, slot->grad + begin, j->o->scratch.maps, j->scalars, n);
}

static void rows_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t n_elements = j->n_rows * j->width;
    int64_t end = vlorpi_min(j->n_rows, (item + 1) * j->rows_per_item);
    int64_t done = item * j->rows_per_item * j->width;
    for (int64_t i = item * j->rows_per_item; i < end; i++) {
        for (; done < (i + 1) * j->width; done += VLORPI_CODE_BLOCK) {
            step_block(j, done, vlorpi_min(VLORPI_CODE_BLOCK, n_elements - done));
        }
        float *row = j->slot->grad + i * j->width;
        vlorpi_update_row(j->o, j->slot, j->rng, i, 0, j->width, row, row, j->update);
        memset(row, 0, (size_t)j->width * sizeof *row);
    }
}

void vlorpi_adamw8bit_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    if (!slot->in_codes) {
        vlorpi_adamw_step(o, slot, step);
        return;
    }
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .n_rows = vlorpi_slot_n_stored_rows(slot),
             .width = vlorpi_slot_stored_width(slot),
             .scalars = vlorpi_adamw_scalars(o, slot, step),
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    /* a = 0 and eps = 1 leave the denominator out */
    j.update = (vlorpi_update){.a = 0, .eps = 1, .step = 1, .shrink = j.scalars.decay};
    int64_t rows = rows_of_blocks(j.width);
    j.rows_per_item = rows * vlorpi_max(1, ELEMENTS_PER_ITEM / (rows * j.width));
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(j.n_rows, j.rows_per_item), rows_item, &j);
}
