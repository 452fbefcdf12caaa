#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static void write_line(const vlorpi_log *log, vlorpi_log_level level, const char *format, va_list args)
{
    if (log == NULL || log->write == NULL) {
        return;
    }
    char text[1024];
    (void)vsnprintf(text, sizeof text, format, args);
    log->write(log->ctx, level, text);
}

void vlorpi_log_info(const vlorpi_log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(log, VLORPI_LOG_INFO, format, args);
    va_end(args);
}

void vlorpi_log_warn(const vlorpi_log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(log, VLORPI_LOG_WARN, format, args);
    va_end(args);
}
