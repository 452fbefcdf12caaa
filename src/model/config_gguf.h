/* config_gguf.h - the part of config.h that reads GGUF metadata.  Layer 4, used by config.c alone. */
#ifndef VLORPI_MODEL_CONFIG_GGUF_H
#define VLORPI_MODEL_CONFIG_GGUF_H

#include "model/config.h"

/* Fills *config from the metadata and the tensor list; ranges are checked by the caller.
 * Errors: E_FORMAT or E_UNSUPPORTED with the key, without the file's name. */
VLORP_CHECKED vlorp_status vlorpi_model_config_from_gguf(vlorpi_model_config *config, const vlorpi_source *source,
                                                         vlorp_err *err);

#endif
