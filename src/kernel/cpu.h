/* cpu.h - which kernel levels this machine can run.
 *
 * Layer 2.  Knows: the CPU's flags and whether the system saves the wide registers.
 */
#ifndef VLORPI_KERNEL_CPU_H
#define VLORPI_KERNEL_CPU_H

#include <stdbool.h>

/* level is "ref", "avx2", "avx512" or "neon"; false for any other name. */
bool vlorpi_cpu_runs(const char *level);

#endif
