/* tally.h - right answers counted, with what the count is worth.
 *
 * Layer 5.  Numbers alone.
 */
#ifndef VLORPI_EVAL_TALLY_H
#define VLORPI_EVAL_TALLY_H

#include <stdint.h>

typedef struct vlorpi_tally {
    int64_t n, n_correct;
    int64_t n_near; /* wrong, but the right answer is in the text in another form: answer_extract.h; not counted as correct */
} vlorpi_tally;

void vlorpi_tally_add(vlorpi_tally *sum, const vlorpi_tally *more);
/* n_correct / n; 0 of none. */
double vlorpi_tally_accuracy(const vlorpi_tally *tally);

/* Wilson's score interval at 95 %: accuracies that the count does not rule out. */
typedef struct vlorpi_interval {
    double low, high;
} vlorpi_interval;
vlorpi_interval vlorpi_tally_interval(const vlorpi_tally *tally);

#endif
