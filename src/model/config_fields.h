/* config_fields.h - fields of config.json, with the errors that name them.
 *
 * Layer 4, used by the files that read configurations.  A field that is absent or null counts as not
 * there: the getters leave *out as it is.  Errors: E_FORMAT with the field, without the file's name.
 */
#ifndef VLORPI_MODEL_CONFIG_FIELDS_H
#define VLORPI_MODEL_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "format/json.h"

/* NULL when it is not there. */
const json_t *vlorpi_config_field(const json_t *object, const char *field);

VLORP_CHECKED vlorp_status vlorpi_config_int(const json_t *object, const char *field, int64_t *out, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_config_double(const json_t *object, const char *field, double *out, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_config_bool(const json_t *object, const char *field, bool *out, vlorp_err *err);
/* The same for a field that must be there. */
VLORP_CHECKED vlorp_status vlorpi_config_required(const json_t *object, const char *field, vlorp_err *err);

#endif
