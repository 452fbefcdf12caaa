#include "model/config_fields.h"

const json_t *vlorpi_config_field(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    return json_is_null(value) ? NULL : value;
}

vlorp_status vlorpi_config_required(const json_t *object, const char *field, vlorp_err *err)
{
    if (vlorpi_config_field(object, field) == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is missing", field);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_config_int(const json_t *object, const char *field, int64_t *out, vlorp_err *err)
{
    const json_t *value = vlorpi_config_field(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_integer(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not an integer", field);
    }
    *out = (int64_t)json_integer_value(value);
    return VLORP_OK;
}

vlorp_status vlorpi_config_double(const json_t *object, const char *field, double *out, vlorp_err *err)
{
    const json_t *value = vlorpi_config_field(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_number(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not a number", field);
    }
    *out = json_number_value(value);
    return VLORP_OK;
}

vlorp_status vlorpi_config_bool(const json_t *object, const char *field, bool *out, vlorp_err *err)
{
    const json_t *value = vlorpi_config_field(object, field);
    if (value == NULL) {
        return VLORP_OK;
    }
    if (!json_is_boolean(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is neither true nor false", field);
    }
    *out = json_is_true(value);
    return VLORP_OK;
}
