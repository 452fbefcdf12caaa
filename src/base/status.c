#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *vlorp_status_text(vlorp_status status)
{
    switch (status) {
    case VLORP_OK: return "ok";
    case VLORP_E_ARG: return "invalid argument";
    case VLORP_E_NOMEM: return "out of memory";
    case VLORP_E_LIMIT: return "over a limit";
    case VLORP_E_IO: return "input or output failed";
    case VLORP_E_FORMAT: return "damaged file";
    case VLORP_E_UNSUPPORTED: return "not supported";
    case VLORP_E_SHAPE: return "shapes disagree";
    case VLORP_E_NUMERIC: return "not a finite number";
    case VLORP_E_COMM: return "communication failed";
    case VLORP_E_STATE: return "call out of order";
    case VLORP_E_INTERRUPTED: return "interrupted";
    }
    return "unknown status";
}

vlorp_status vlorpi_err_set(vlorp_err *err, vlorp_status code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->code = code;
        err->hint[0] = '\0';
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

void vlorpi_err_hint(vlorp_err *err, const char *format, ...)
{
    if (err == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

void vlorpi_err_prefix(vlorp_err *err, const char *format, ...)
{
    if (err == NULL) {
        return;
    }
    char old[VLORP_ERR_TEXT_BYTES];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    const char *parts[] = {": ", old};
    size_t at = (size_t)n < sizeof err->text ? (size_t)n : sizeof err->text - 1;
    for (int i = 0; i < 2; i++) {
        size_t room = sizeof err->text - 1 - at;
        size_t length = strlen(parts[i]) < room ? strlen(parts[i]) : room;
        memcpy(err->text + at, parts[i], length);
        at += length;
    }
    err->text[at] = '\0';
}
