#include "format/json.h"

#include <stdbool.h>
#include <string.h>

#include "base/mapped_file.h"

/* In front of every block that jansson gets: 16 bytes, so that hundreds of thousands of small
 * strings stay cheap.  The account is kept per block, so that a later change of it is harmless. */
typedef struct block_header {
    vlorpi_mem *mem; /* NULL: not booked */
    size_t n_bytes;
} block_header;

_Static_assert(sizeof(block_header) == 16, "what follows must stay aligned for every type");

/* Jansson's allocator is one per process, so what it needs is too. */
static vlorpi_mem *account;
static json_malloc_t system_alloc;
static json_free_t system_free;
/* The first refusal of an allocation in this thread's current parse, told while it is true. */
static _Thread_local struct {
    vlorp_status status; /* VLORP_OK: none */
    vlorp_err *err;      /* of the parse */
} refusal;

static void *refuse(size_t n_bytes)
{
    if (refusal.status == VLORP_OK) {
        refusal.status = account != NULL ? vlorpi_mem_fail(account, VLORPI_MEM_DATA, n_bytes, refusal.err)
                                         : vlorpi_err_set(refusal.err, VLORP_E_NOMEM, "out of memory");
    }
    return NULL;
}

static void *booked_alloc(size_t n_bytes)
{
    if (n_bytes > SIZE_MAX - sizeof(block_header)) {
        return NULL;
    }
    size_t booked = n_bytes + sizeof(block_header);
    if (account != NULL && !vlorpi_mem_book(account, VLORPI_MEM_DATA, booked)) {
        return refuse(booked);
    }
    block_header *header = system_alloc(booked);
    if (header == NULL) {
        if (account != NULL) {
            vlorpi_mem_unbook(account, VLORPI_MEM_DATA, booked);
        }
        return refuse(booked);
    }
    *header = (block_header){.mem = account, .n_bytes = booked};
    return header + 1;
}

static void booked_free(void *memory)
{
    if (memory == NULL) {
        return;
    }
    block_header *header = (block_header *)memory - 1;
    if (header->mem != NULL) {
        vlorpi_mem_unbook(header->mem, VLORPI_MEM_DATA, header->n_bytes);
    }
    system_free(header);
}

void vlorpi_json_use_account(vlorpi_mem *mem)
{
    account = mem;
    if (system_alloc == NULL) {
        json_get_alloc_funcs(&system_alloc, &system_free);
        json_set_alloc_funcs(booked_alloc, booked_free);
    }
}

/* What a pass over one value finds out before jansson may see it. */
typedef struct extent {
    size_t end;   /* the place after the value; the input's end where it does not close */
    int depth;    /* deepest nesting */
    size_t n_big; /* integers beyond 64 bits */
} extent;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The place after the string that starts at bytes[at]. */
static size_t skip_string(const char *bytes, size_t n_bytes, size_t at)
{
    for (at++; at < n_bytes && bytes[at] != '"'; at++) {
        if (bytes[at] == '\\') {
            at++;
        }
    }
    return at < n_bytes ? at + 1 : n_bytes;
}

/* The place after the word or number that starts at bytes[at]; *big: an integer beyond 64 bits. */
static size_t skip_scalar(const char *bytes, size_t n_bytes, size_t at, bool *big)
{
    uint64_t limit = bytes[at] == '-' ? (uint64_t)1 << 63 : ((uint64_t)1 << 63) - 1;
    uint64_t value = 0;
    bool integer = true;
    bool over = false;
    size_t begin = at;
    for (; at < n_bytes && !is_blank(bytes[at]) && strchr(",:[]{}\"", bytes[at]) == NULL; at++) {
        if (is_digit(bytes[at])) {
            uint64_t digit = (uint64_t)(bytes[at] - '0');
            over = over || value > (limit - digit) / 10;
            value = over ? value : value * 10 + digit;
        } else if (at != begin || bytes[at] != '-') {
            integer = false;
        }
    }
    *big = integer && over;
    return at > begin ? at : at + 1; /* a stray NUL matches strchr's terminator */
}

/* Finds the value that starts at or after `at`; stops at its end, however long the input is. */
static extent measure(const char *bytes, size_t n_bytes)
{
    extent e = {0};
    size_t at = 0;
    while (at < n_bytes && is_blank(bytes[at])) {
        at++;
    }
    int depth = 0;
    while (at < n_bytes) {
        char c = bytes[at];
        if (c == '{' || c == '[') {
            depth++;
            e.depth = depth > e.depth ? depth : e.depth;
            at++;
        } else if (c == '}' || c == ']') {
            depth--;
            at++;
        } else if (c == '"') {
            at = skip_string(bytes, n_bytes, at);
        } else if (is_blank(c) || c == ',' || c == ':') {
            at++;
        } else {
            bool big;
            at = skip_scalar(bytes, n_bytes, at, &big);
            e.n_big += big;
        }
        if (depth <= 0 || e.depth > VLORPI_JSON_MAX_DEPTH) {
            break;
        }
    }
    e.end = at;
    return e;
}

/* Jansson refuses integers beyond 64 bits, which transformers writes ("model_max_length"
 * 1000000000000000019884624838656 for "none").  They are read as reals: while the text is handed
 * to jansson piece by piece, "e0" is put after each. */
typedef struct feed {
    const char *bytes;
    size_t at, end;
    size_t insert_at; /* the place after the next big integer, or SIZE_MAX */
} feed;

static size_t find_big(const char *bytes, size_t at, size_t end)
{
    while (at < end) {
        bool big = false;
        if (bytes[at] == '"') {
            at = skip_string(bytes, end, at);
        } else if (is_digit(bytes[at]) || bytes[at] == '-') {
            at = skip_scalar(bytes, end, at, &big);
        } else {
            at++;
        }
        if (big) {
            return at;
        }
    }
    return SIZE_MAX;
}

static size_t read_feed(void *buffer, size_t n_buffer, void *data)
{
    feed *f = data;
    if (f->at == f->insert_at && n_buffer >= 2) {
        memcpy(buffer, "e0", 2);
        f->insert_at = find_big(f->bytes, f->at, f->end);
        return 2;
    }
    size_t stop = f->insert_at < f->end ? f->insert_at : f->end;
    size_t n = stop - f->at < n_buffer ? stop - f->at : n_buffer;
    memcpy(buffer, f->bytes + f->at, n);
    f->at += n;
    return n;
}

static json_t *decode(const char *bytes, size_t n_bytes, bool has_big, json_error_t *error)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    if (!has_big) {
        return json_loadb(bytes, n_bytes, flags, error);
    }
    feed f = {.bytes = bytes, .at = 0, .end = n_bytes, .insert_at = find_big(bytes, 0, n_bytes)};
    return json_load_callback(read_feed, &f, flags, error);
}

/* Jansson's message, which quotes the text near the place, fit for a terminal. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7F) {
            *text = ' ';
        }
    }
}

static vlorp_status parse(json_t **out, const char *bytes, size_t n_bytes, const extent *e, const char *name,
                          vlorp_err *err)
{
    if (e->depth > VLORPI_JSON_MAX_DEPTH) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: byte %zu: nested deeper than %d levels", name, e->end - 1,
                   (int)VLORPI_JSON_MAX_DEPTH);
    }
    json_error_t error = {0};
    refusal.status = VLORP_OK;
    refusal.err = err;
    *out = decode(bytes, n_bytes, e->n_big > 0, &error);
    refusal.err = NULL; /* allocations outside a parse have no record to fill */
    if (refusal.status != VLORP_OK) {
        /* Asked first: where a text could not grow, jansson goes on with a piece of it. */
        json_decref(*out);
        *out = NULL;
        vlorpi_err_prefix(err, "%s", name);
        return refusal.status;
    }
    if (*out != NULL) {
        return VLORP_OK;
    }
    make_printable(error.text);
    VLORP_FAIL(err, VLORP_E_FORMAT, "%s: line %d, column %d: %s", name, error.line, error.column, error.text);
}

vlorp_status vlorpi_json_parse(json_t **out, const char *bytes, size_t n_bytes, const char *name, vlorp_err *err)
{
    *out = NULL;
    if (n_bytes > VLORPI_JSON_MAX_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: %zu bytes of JSON; at most %d are read as one document", name, n_bytes,
                   (int)VLORPI_JSON_MAX_BYTES);
    }
    extent e = measure(bytes, n_bytes);
    return parse(out, bytes, n_bytes, &e, name, err);
}

vlorp_status vlorpi_json_load(json_t **out, const char *path, vlorp_err *err)
{
    *out = NULL;
    vlorpi_mapped_file file;
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = vlorpi_json_parse(out, (const char *)file.bytes, file.n_bytes, path, err);
    vlorpi_mapped_file_close(&file);
    return status;
}

vlorp_status vlorpi_json_parse_prefix(json_t **out, size_t *n_used, const char *bytes, size_t n_bytes,
                                      const char *name, vlorp_err *err)
{
    *out = NULL;
    *n_used = 0;
    extent e = measure(bytes, n_bytes);
    if (e.end > VLORPI_JSON_MAX_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s: one value of %zu bytes; at most %d are read", name, e.end,
                   (int)VLORPI_JSON_MAX_BYTES);
    }
    VLORP_TRY(parse(out, bytes, e.end, &e, name, err));
    *n_used = e.end;
    return VLORP_OK;
}
