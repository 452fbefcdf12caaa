/* log.h - messages for people, through a callback that the program installs.
 *
 * Layer 0, of the program.  Libraries print nothing; cli/ decides where a message goes.
 */
#ifndef VLORPI_BASE_LOG_H
#define VLORPI_BASE_LOG_H

typedef enum vlorpi_log_level { VLORPI_LOG_INFO, VLORPI_LOG_WARN } vlorpi_log_level;

/* write NULL: silence.  text has no newline. */
typedef struct vlorpi_log {
    void (*write)(void *ctx, vlorpi_log_level level, const char *text);
    void *ctx;
} vlorpi_log;

/* Formats at most 1023 bytes and hands them to the callback.  log NULL: silence. */
void vlorpi_log_info(const vlorpi_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vlorpi_log_warn(const vlorpi_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
