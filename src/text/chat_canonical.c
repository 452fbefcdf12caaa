#include "text/chat_canonical.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Room for twice the source, since only line breaks grow, is asked for before. */
typedef struct writer {
    char *bytes;
    size_t n;
    size_t text_begin; /* where the text since the last tag begins */
    bool line_begins;  /* that text begins a line */
} writer;

static void put(writer *w, char c)
{
    if (c == '\n') {
        w->bytes[w->n++] = '\\';
        c = 'n';
    }
    w->bytes[w->n++] = c;
}

static bool ends_in(const writer *w, const char *end)
{
    size_t n = strlen(end);
    return w->n >= n && memcmp(w->bytes + w->n - n, end, n) == 0;
}

/* Drops white space written since the last tag: all of it, or the blanks that begin the present line. */
static void trim_text(writer *w, bool all)
{
    for (size_t n = w->n;;) {
        bool is_break = n - w->text_begin >= 2 && w->bytes[n - 1] == 'n' && w->bytes[n - 2] == '\\';
        bool is_blank = n > w->text_begin && isspace((unsigned char)w->bytes[n - 1]);
        if (all ? !is_break && !is_blank : !is_blank) {
            w->n = all || is_break || (n == w->text_begin && w->line_begins) ? n : w->n;
            return;
        }
        n -= is_break ? 2 : 1;
    }
}

/* A string, from its quote on; returns the place behind it. */
static const char *put_string(writer *w, const char *p)
{
    char quote = *p++;
    bool joins = ends_in(w, "'+"); /* 'a'+'b' is 'ab' */
    bool indexes = !joins && ends_in(w, "[");
    size_t begin = joins ? w->n - 2 : w->n;
    w->n = begin;
    if (!joins) {
        put(w, '\'');
    }
    for (; *p != 0 && *p != quote; p++) {
        if (*p == '\\' && p[1] != 0) {
            put(w, *p++);
        }
        put(w, *p);
    }
    p += *p != 0;
    const char *after = p + strspn(p, " \t\n\r");
    if (indexes && *after == ']') {
        memmove(w->bytes + begin, w->bytes + begin + 1, w->n - begin - 1);
        w->n--;
        w->bytes[begin - 1] = '.';
        return after + 1;
    }
    put(w, '\'');
    return p;
}

/* A tag, from its brace on; returns the place behind it and the white space that it takes with it. */
static const char *put_tag(writer *w, const char *p)
{
    char kind = p[1];
    char close = kind == '{' ? '}' : kind;
    if (p[2] == '-' || (kind != '{' && p[2] != '+')) {
        trim_text(w, p[2] == '-');
    }
    size_t begin = w->n;
    put(w, *p++);
    put(w, *p++);
    p += *p == '-' || *p == '+';
    while (*p != 0 && !(p[0] == close && p[1] == '}')) {
        if (*p == '-' && p[1] == close && p[2] == '}') {
            break;
        }
        if ((*p == '\'' || *p == '"') && kind != '#') {
            p = put_string(w, p);
        } else {
            if (!isspace((unsigned char)*p)) {
                put(w, *p);
            }
            p++;
        }
    }
    bool strips = *p == '-';
    p += strips;
    if (*p != 0) {
        put(w, *p++);
        put(w, *p++);
    }
    w->line_begins = !strips && kind != '{' && *p == '\n';
    p += strips ? strspn(p, " \t\r\n\v\f") : w->line_begins;
    w->n = kind == '#' ? begin : w->n;
    w->text_begin = w->n;
    return p;
}

vlorp_status vlorpi_chat_canonical(char **out, vlorpi_mem *mem, const char *source, vlorp_err *err)
{
    size_t capacity = 2 * strlen(source) + 8;
    writer w = {.bytes = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, capacity), .line_begins = true};
    *out = w.bytes;
    if (w.bytes == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, capacity, err);
    }
    for (const char *p = source; *p != 0;) {
        if (p[0] == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) {
            p = put_tag(&w, p);
        } else if (p[0] == '\n' && p[1] == 0) {
            p++; /* the end of the last line is not written */
        } else {
            put(&w, *p++);
        }
    }
    w.bytes[w.n] = 0;
    return VLORP_OK;
}
