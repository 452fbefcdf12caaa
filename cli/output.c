#include "cli/output.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "text/token_text.h"

static const double plain_interval_seconds = 5;
static const char erase_line[] = "\r\033[K";

void vlorpi_output_init(vlorpi_output *output, bool quiet)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    *output = (vlorpi_output){.quiet = quiet};
    output->terminal = isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
    bool wants_color = term != NULL && strcmp(term, "dumb") != 0 && (no_color == NULL || no_color[0] == '\0');
    output->color = output->terminal && wants_color;
    output->result_color = isatty(STDOUT_FILENO) && wants_color;
}

static void clear_live(vlorpi_output *output)
{
    if (output->live) {
        (void)fputs(erase_line, stderr);
        output->live = false;
    }
}

static void write_log(void *ctx, vlorpi_log_level level, const char *text)
{
    vlorpi_output *output = ctx;
    if (output->quiet && level == VLORPI_LOG_INFO) {
        return;
    }
    clear_live(output);
    (void)fprintf(stderr, "%s%s\n", level == VLORPI_LOG_WARN ? "vlorp: warning: " : "", text);
}

vlorpi_log vlorpi_output_log(vlorpi_output *output)
{
    return (vlorpi_log){.write = write_log, .ctx = output};
}

/* Texts may quote a hostile file: what is not printable would drive the terminal, what is not UTF-8 could not be
 * read by whoever collects the messages. */
static void print_plain(const char *text)
{
    size_t n = strlen(text);
    for (size_t at = 0; at < n;) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(text + at, n - at, &codepoint);
        bool printable = codepoint >= ' ' && (codepoint < 0x7F || codepoint > 0x9F);
        (void)fwrite(printable ? text + at : "?", 1, printable ? length : 1, stderr);
        at += length;
    }
}

void vlorpi_output_text(FILE *out, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < n_bytes && (unsigned char)text[i + 1] < 0xA0; /* U+0080 .. U+009F */
        bool plain = (c >= ' ' && c != 127 && !c1) || c == '\n' || c == '\t';
        (void)fputc(plain ? c : '?', out);
        i += c1;
    }
}

void vlorpi_output_error(vlorpi_output *output, const vlorp_err *err)
{
    clear_live(output);
    (void)fputs(output->color ? "vlorp: \033[31merror\033[0m: " : "vlorp: error: ", stderr);
    print_plain(err->text[0] != '\0' ? err->text : vlorp_status_text(err->code));
    (void)fputc('\n', stderr);
    if (err->hint[0] != '\0') {
        (void)fputs("hint: ", stderr);
        print_plain(err->hint);
        (void)fputc('\n', stderr);
    }
}

void vlorpi_output_progress(vlorpi_output *output, const vlorpi_progress *progress, bool last)
{
    double now = vlorpi_clock_seconds();
    if (output->quiet || (!output->terminal && !last && now - output->last_line < plain_interval_seconds)) {
        return;
    }
    char memory[32];
    char left[32] = "?";
    if (progress->seconds_left >= 0) {
        (void)vlorpi_output_seconds(left, sizeof left, progress->seconds_left);
    }
    (void)fprintf(stderr, "%sstep %lld/%lld  loss %.4f  %.0f tokens/s  %s  %s left%s",
                  output->terminal ? erase_line : "", (long long)progress->step, (long long)progress->n_steps,
                  progress->loss, progress->tokens_per_second,
                  vlorpi_output_bytes(memory, sizeof memory, progress->memory_bytes), left,
                  output->terminal ? "" : "\n");
    (void)fflush(stderr);
    output->live = output->terminal;
    output->last_line = now;
}

void vlorpi_output_end_live(vlorpi_output *output)
{
    if (output->live) {
        (void)fputc('\n', stderr);
        output->live = false;
    }
}

char *vlorpi_output_bytes(char *text, size_t text_bytes, size_t n_bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (n_bytes < 1024) {
        (void)snprintf(text, text_bytes, "%zu B", n_bytes);
        return text;
    }
    double value = (double)n_bytes / 1024;
    int unit = 0;
    while (value >= 1024 && unit < 3) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, text_bytes, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit]);
    return text;
}

char *vlorpi_output_seconds(char *text, size_t text_bytes, double seconds)
{
    if (seconds < 59.95) {
        (void)snprintf(text, text_bytes, "%.1f s", seconds);
        return text;
    }
    long long whole = llround(seconds);
    if (whole < 3600) {
        (void)snprintf(text, text_bytes, "%lld min %02lld s", whole / 60, whole % 60);
    } else {
        (void)snprintf(text, text_bytes, "%lld h %02lld min", whole / 3600, whole % 3600 / 60);
    }
    return text;
}

vlorp_status vlorpi_output_json(json_t *value, vlorp_err *err)
{
    if (value == NULL) {
        VLORP_FAIL(err, VLORP_E_NOMEM, "out of memory for the result");
    }
    int failed =
        json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    json_decref(value);
    if (failed != 0 || fputc('\n', stdout) == EOF) {
        VLORP_FAIL(err, VLORP_E_IO, "standard output: %s", strerror(errno));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_output_flush(vlorp_err *err)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        VLORP_FAIL(err, VLORP_E_IO, "standard output: %s", errno != 0 ? strerror(errno) : "write failed");
    }
    return VLORP_OK;
}
