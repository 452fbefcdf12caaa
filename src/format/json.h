/* json.h - jansson with our limits, our memory account and our errors.
 *
 * Layer 2.
 */
#ifndef VLORPI_FORMAT_JSON_H
#define VLORPI_FORMAT_JSON_H

#include <jansson.h>

#include "base/mem.h"

/* A document, or one value of parse_prefix, may have at most this many bytes and levels. */
enum { VLORPI_JSON_MAX_DEPTH = 64, VLORPI_JSON_MAX_BYTES = 1 << 28 };

/* Makes jansson book everything under DATA of mem.  Jansson's allocator is one per process: call it
 * once at the start of main, before any other call here; mem must outlive every json_t. */
void vlorpi_json_use_account(vlorpi_mem *mem);

/* Parses one whole document; depth is checked before jansson sees it, duplicate keys are refused,
 * integers beyond 64 bits become reals.  name is used in error texts: "config.json: line 3,
 * column 7: ...".  Owner: the caller, json_decref.  Errors: E_FORMAT, E_LIMIT, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_json_parse(json_t **out, const char *bytes, size_t n_bytes, const char *name,
                                             vlorp_err *err);
/* The same for a file. */
VLORP_CHECKED vlorp_status vlorpi_json_load(json_t **out, const char *path, vlorp_err *err);

/* Parses the one value that starts at bytes (blanks before it are skipped), and tells how many bytes
 * it took; for files that hold many records (JSON lines, a long array), which are read record by
 * record.  Lines and columns of errors count from bytes; what follows the value is not looked at. */
VLORP_CHECKED vlorp_status vlorpi_json_parse_prefix(json_t **out, size_t *n_used, const char *bytes,
                                                    size_t n_bytes, const char *name, vlorp_err *err);
#endif
