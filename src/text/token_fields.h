/* token_fields.h - fields of a tokenizer's JSON files, checked for their type.
 *
 * Layer 3, inside text/.  place names the object in errors: "model", "decoder".
 */
#ifndef VLORPI_TEXT_TOKEN_FIELDS_H
#define VLORPI_TEXT_TOKEN_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/status.h"

/* Each sets *out to fallback when the field is absent or null; E_FORMAT when it has another type. */
VLORP_CHECKED vlorp_status vlorpi_field_bool(bool *out, const json_t *object, const char *key, bool fallback,
                                             const char *place, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_field_int(int64_t *out, const json_t *object, const char *key, int64_t fallback,
                                            const char *place, vlorp_err *err);
/* *out is borrowed from object; fallback NULL: the field must be there. */
VLORP_CHECKED vlorp_status vlorpi_field_text(const char **out, size_t *n_bytes, const json_t *object, const char *key,
                                             const char *fallback, const char *place, vlorp_err *err);
/* The array or object of that name, which must be there. */
VLORP_CHECKED vlorp_status vlorpi_field_list(const json_t **out, const json_t *object, const char *key,
                                             const char *place, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_field_object(const json_t **out, const json_t *object, const char *key,
                                               const char *place, vlorp_err *err);

#endif
