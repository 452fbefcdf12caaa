/* event_file.h - TensorBoard's event files: scalars by tag and step.
 *
 * Layer 6.  A TFRecord file of Event messages, written by hand: length and data each with a masked CRC-32C, and of
 * the protobuf schema the three fields that a scalar needs.
 */
#ifndef VLORPI_TRAIN_EVENT_FILE_H
#define VLORPI_TRAIN_EVENT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef struct vlorpi_event_file {
    FILE *file;
    bool started; /* the session's first step is written */
    char path[4096];
} vlorpi_event_file;

/* Creates folder/events.out.tfevents.SECONDS.HOST.PID.vlorp; fresh removes the files of an overwritten run first.
 * A resumed run has one file for each process: the second makes viewers forget what the first wrote beyond the step it
 * begins with.  Owner: the caller, _close.  E_IO with path and reason. */
VLORP_CHECKED vlorp_status vlorpi_event_file_open(vlorpi_event_file *events, const char *folder, bool fresh,
                                                  vlorp_err *err);

/* One value of a tag ("train/loss"), of at most 63 bytes, at a step; flushed, so that a viewer sees it at once. */
VLORP_CHECKED vlorp_status vlorpi_event_file_scalar(vlorpi_event_file *events, const char *tag, int64_t step,
                                                    double value, vlorp_err *err);

/* Accepts a closed one. */
void vlorpi_event_file_close(vlorpi_event_file *events);

#endif
