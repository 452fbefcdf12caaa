/* config_text.h - config.json with another dtype and not a byte changed besides.
 *
 * Layer 5.  Works on the text, which is valid JSON (it was parsed when the source was opened), so
 * that order, spacing and fields we do not know stay as they are, and nothing is allocated.
 */
#ifndef VLORPI_CHECKPOINT_CONFIG_TEXT_H
#define VLORPI_CHECKPOINT_CONFIG_TEXT_H

#include <stdbool.h>

#include "checkpoint/file_writer.h"

/* Writes the text with the values of the outermost object's "torch_dtype" and "dtype" replaced.
 * Where there is neither, add puts "torch_dtype" first. */
VLORP_CHECKED vlorp_status vlorpi_config_text_write(vlorpi_file_writer *writer, const char *text, size_t n_bytes,
                                                    const char *dtype, bool add, vlorp_err *err);

#endif
