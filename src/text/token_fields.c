#include "text/token_fields.h"

#include <string.h>

static const json_t *field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

vlorp_status vlorpi_field_bool(bool *out, const json_t *object, const char *key, bool fallback, const char *place,
                               vlorp_err *err)
{
    const json_t *value = field(object, key);
    if (value != NULL && !json_is_boolean(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %s must be true or false", place, key);
    }
    *out = value != NULL ? json_is_true(value) : fallback;
    return VLORP_OK;
}

vlorp_status vlorpi_field_int(int64_t *out, const json_t *object, const char *key, int64_t fallback, const char *place,
                              vlorp_err *err)
{
    const json_t *value = field(object, key);
    if (value != NULL && !json_is_integer(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %s must be an integer", place, key);
    }
    *out = value != NULL ? (int64_t)json_integer_value(value) : fallback;
    return VLORP_OK;
}

vlorp_status vlorpi_field_text(const char **out, size_t *n_bytes, const json_t *object, const char *key,
                               const char *fallback, const char *place, vlorp_err *err)
{
    const json_t *value = field(object, key);
    if (value == NULL && fallback != NULL) {
        *out = fallback;
        *n_bytes = strlen(fallback);
        return VLORP_OK;
    }
    if (!json_is_string(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %s must be a string", place, key);
    }
    *out = json_string_value(value);
    *n_bytes = json_string_length(value);
    return VLORP_OK;
}

vlorp_status vlorpi_field_list(const json_t **out, const json_t *object, const char *key, const char *place,
                               vlorp_err *err)
{
    *out = field(object, key);
    if (!json_is_array(*out)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %s must be an array", place, key);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_field_object(const json_t **out, const json_t *object, const char *key, const char *place,
                                 vlorp_err *err)
{
    *out = field(object, key);
    if (!json_is_object(*out)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: %s must be an object", place, key);
    }
    return VLORP_OK;
}
