#include "data/file_kind.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { SNIFF_BYTES = 65536 };

/* Formats that are often handed to a trainer and that are not text.  The remedy is three pieces with
 * the file's name between them. */
typedef struct magic {
    const char *bytes;
    size_t n_bytes;
    const char *what;
    const char *remedy[3];
} magic;

#define TO_JSON_LINES ".jsonl', orient='records', lines=True, force_ascii=False)\""

static const magic magics[] = {
    {"PAR1", 4, "a Parquet file",
     {"python3 -c \"import pandas; pandas.read_parquet('", "').to_json('", TO_JSON_LINES}},
    {"ARROW1", 6, "an Arrow file",
     {"python3 -c \"import pandas; pandas.read_feather('", "').to_json('", TO_JSON_LINES}},
    {"\x1f\x8b", 2, "compressed with gzip", {"gzip -dc '", "' > '", ".unpacked'"}},
    {"\x28\xb5\x2f\xfd", 4, "compressed with zstd", {"zstd -dc '", "' > '", ".unpacked'"}},
    {"\xfd\x37zXZ", 5, "compressed with xz", {"xz -dc '", "' > '", ".unpacked'"}},
    {"BZh", 3, "compressed with bzip2", {"bzip2 -dc '", "' > '", ".unpacked'"}},
    {"PK\x03\x04", 4, "a zip archive", {"unzip '", "' -d '", ".unpacked'"}},
    {"\xff\xfe", 2, "UTF-16 text", {"iconv -f UTF-16 -t UTF-8 '", "' > '", ".utf8'"}},
    {"\xfe\xff", 2, "UTF-16 text", {"iconv -f UTF-16 -t UTF-8 '", "' > '", ".utf8'"}},
};

static vlorp_status refuse_magic(const char *name, const unsigned char *bytes, size_t n_bytes, vlorp_err *err)
{
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const magic *m = &magics[i];
        if (n_bytes >= m->n_bytes && memcmp(bytes, m->bytes, m->n_bytes) == 0) {
            vlorp_status status = vlorpi_err_set(err, VLORP_E_UNSUPPORTED,
                                                 "%s: %s, where JSON, JSON lines, CSV or plain text in UTF-8 is wanted",
                                                 name, m->what);
            vlorpi_err_hint(err, "%s%s%s%s%s", m->remedy[0], name, m->remedy[1], name, m->remedy[2]);
            return status;
        }
    }
    return VLORP_OK;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether bytes[at...] is a JSON object that ends on its own line, as JSON lines have it.  Counts
 * brackets outside strings; a wrong guess costs no more than the wording of an error. */
static bool object_ends_on_line(const unsigned char *bytes, size_t n_bytes, size_t at)
{
    int depth = 0;
    bool in_string = false;
    for (; at < n_bytes && bytes[at] != '\n'; at++) {
        if (in_string && bytes[at] == '\\') {
            at++;
        } else if (bytes[at] == '"') {
            in_string = !in_string;
        } else if (in_string) {
            continue;
        } else if (bytes[at] == '{' || bytes[at] == '[') {
            depth++;
        } else if (bytes[at] == '}' || bytes[at] == ']') {
            depth--;
        }
    }
    return depth == 0;
}

static bool has_ending(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (; dot != NULL && *endings != NULL; endings++) {
        if (strcasecmp(dot, *endings) == 0) {
            return true;
        }
    }
    return false;
}

/* at is the first byte that is no blank. */
static vlorpi_file_kind json_kind(const unsigned char *bytes, size_t n_bytes, size_t at)
{
    if (bytes[at] == '[') {
        return VLORPI_FILE_JSON_ARRAY;
    }
    return object_ends_on_line(bytes, n_bytes, at) ? VLORPI_FILE_JSON_LINES : VLORPI_FILE_JSON_VALUES;
}

/* Without a telling name: an object, or an array of objects. */
static bool looks_like_json(const unsigned char *bytes, size_t n_bytes, size_t at)
{
    if (bytes[at] == '[') {
        for (at++; at < n_bytes && is_blank(bytes[at]); at++) {
        }
    }
    if (at >= n_bytes || bytes[at] != '{') {
        return false;
    }
    for (at++; at < n_bytes && is_blank(bytes[at]); at++) {
    }
    return at < n_bytes && (bytes[at] == '"' || bytes[at] == '}');
}

vlorp_status vlorpi_file_kind_of(vlorpi_file_kind *kind, size_t *begin, const char *name, const unsigned char *bytes,
                                 size_t n_bytes, vlorp_err *err)
{
    static const char *const lines[] = {".jsonl", ".ndjson", NULL};
    static const char *const json[] = {".json", NULL};
    static const char *const csv[] = {".csv", NULL};
    static const char *const tsv[] = {".tsv", NULL};
    static const char *const text[] = {".txt", ".text", ".md", NULL};
    VLORP_TRY(refuse_magic(name, bytes, n_bytes, err));
    *begin = n_bytes >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t at = *begin;
    while (at < n_bytes && is_blank(bytes[at])) {
        at++;
    }
    if (at == n_bytes) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: the file is empty", name);
    }
    const unsigned char *nul = memchr(bytes, 0, n_bytes < SNIFF_BYTES ? n_bytes : SNIFF_BYTES);
    if (nul != NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: byte %zu is zero: this is no text; JSON, JSON lines, CSV or plain text "
                   "in UTF-8 is wanted", name, (size_t)(nul - bytes));
    }
    if (has_ending(name, lines)) {
        *kind = bytes[at] == '[' ? VLORPI_FILE_JSON_ARRAY : VLORPI_FILE_JSON_LINES;
    } else if (has_ending(name, json)) {
        *kind = json_kind(bytes, n_bytes, at);
    } else if (has_ending(name, csv)) {
        *kind = VLORPI_FILE_CSV;
    } else if (has_ending(name, tsv)) {
        *kind = VLORPI_FILE_TSV;
    } else if (!has_ending(name, text) && looks_like_json(bytes, n_bytes, at)) {
        *kind = json_kind(bytes, n_bytes, at);
    } else {
        *kind = VLORPI_FILE_TEXT;
    }
    return VLORP_OK;
}
