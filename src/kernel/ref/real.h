/* real.h - the storage type of the reference kernels.
 *
 * They are written once and compiled twice: for float, the table's lowest level, and with
 * VLORPI_REF64 for double, which the tests hold against finite differences.  Inside, sums and
 * functions are double in both, so the float ones round once per stored value.
 *
 * Layer 2.
 */
#ifndef VLORPI_KERNEL_REF_REAL_H
#define VLORPI_KERNEL_REF_REAL_H

#ifdef VLORPI_REF64
typedef double real;
#define REF(name) name##_ref64
#else
typedef float real;
#define REF(name) name##_ref
#endif

#endif
