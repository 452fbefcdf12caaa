/* clock.h - time spent, for progress, metrics and bench.
 *
 * Layer 0, of the program: libvlorp does not contain it.
 */
#ifndef VLORPI_BASE_CLOCK_H
#define VLORPI_BASE_CLOCK_H

/* Seconds on a clock that only goes forward; only differences mean something. */
double vlorpi_clock_seconds(void);

#endif
