/* vlorp.h - libvlorp: VLoRP projections and the ProjFactor optimizer for any training program.
 *
 * Needs libc and libm.  No globals, no output, no exit; different handles may be used by different
 * threads at once, one handle by one thread at a time.  Start at optimizer.h.
 */
#ifndef VLORP_VLORP_H
#define VLORP_VLORP_H

#include <vlorp/dtype.h>
#include <vlorp/exec.h>
#include <vlorp/optimizer.h>
#include <vlorp/projector.h>
#include <vlorp/rng.h>
#include <vlorp/schedule.h>
#include <vlorp/status.h>

#define VLORP_VERSION_MAJOR 0
#define VLORP_VERSION_MINOR 1
#define VLORP_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0", of the library that runs (the macros are of the header that was compiled). */
VLORP_API const char *vlorp_version(void);

#ifdef __cplusplus
}
#endif
#endif
