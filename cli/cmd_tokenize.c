/* cmd_tokenize.c - vlorp tokenize: text to ids, and back. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "text/tokenizer.h"

/* What the document on standard input became. */
typedef struct job {
    vlorpi_mem *mem;
    const vlorpi_tokenizer *tokenizer;
    bool special;
    char *input; /* NUL-terminated */
    size_t n_input;
} job;

static vlorp_status read_input(job *j, vlorp_err *err)
{
    size_t capacity = 0;
    for (;;) {
        if (j->n_input + 1 >= capacity) {
            capacity = 2 * capacity + 65536;
            char *grown = vlorpi_mem_realloc(j->mem, VLORPI_MEM_DATA, j->input, capacity);
            if (grown == NULL) {
                return vlorpi_mem_fail(j->mem, VLORPI_MEM_DATA, capacity, err);
            }
            j->input = grown;
        }
        size_t n = fread(j->input + j->n_input, 1, capacity - j->n_input - 1, stdin);
        j->n_input += n;
        if (n == 0) {
            break;
        }
    }
    if (ferror(stdin)) {
        VLORP_FAIL(err, VLORP_E_IO, "standard input: %s", strerror(errno));
    }
    j->input[j->n_input] = 0;
    return VLORP_OK;
}

static vlorp_status print_ids(const job *j, vlorp_err *err)
{
    vlorpi_tokens tokens = {.mem = j->mem};
    vlorpi_encode_options options = {.add_special = j->special, .parse_special = true};
    vlorp_status status = vlorpi_tokenizer_encode(j->tokenizer, &tokens, j->input, j->n_input, options, err);
    for (int64_t i = 0; i < tokens.n && status == VLORP_OK; i++) {
        (void)printf("%s%" PRId32, i > 0 ? " " : "", tokens.items[i].id);
    }
    vlorpi_tokens_deinit(&tokens);
    if (status != VLORP_OK) {
        return status;
    }
    (void)putchar('\n');
    return vlorpi_output_flush(err);
}

/* Ids divided by white space, into ids (room for n_input / 2 + 1 of them). */
static vlorp_status parse_ids(const job *j, int32_t *ids, int64_t *n, vlorp_err *err)
{
    int64_t highest = vlorpi_tokenizer_vocab_size(j->tokenizer) - 1;
    *n = 0;
    for (const char *at = j->input;;) {
        while (isspace((unsigned char)*at)) {
            at++;
        }
        if (at == j->input + j->n_input) {
            return VLORP_OK;
        }
        char *end;
        errno = 0;
        long long id = strtoll(at, &end, 10);
        if (end == at || (*end != 0 && !isspace((unsigned char)*end)) || errno != 0 || id < 0 || id > highest) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "standard input: byte %zu: ids must be integers from 0 to %" PRId64,
                       (size_t)(at - j->input), highest);
        }
        ids[(*n)++] = (int32_t)id;
        at = end;
    }
}

/* Leaves out what encoding puts before and after every text, so that decoding undoes it. */
static vlorp_status drop_added(const job *j, int32_t **ids, int64_t *n, vlorp_err *err)
{
    vlorpi_tokens added = {.mem = j->mem};
    vlorpi_encode_options options = {.add_special = true};
    vlorp_status status = vlorpi_tokenizer_encode(j->tokenizer, &added, "", 0, options, err);
    for (int64_t n_before = added.n; n_before >= 0 && status == VLORP_OK && added.n <= *n; n_before--) {
        bool same = true;
        for (int64_t i = 0; i < added.n; i++) {
            int64_t at = i < n_before ? i : *n - added.n + i;
            same = same && (*ids)[at] == added.items[i].id;
        }
        if (same) {
            *ids += n_before;
            *n -= added.n;
            break;
        }
    }
    vlorpi_tokens_deinit(&added);
    return status;
}

static vlorp_status print_text(const job *j, vlorp_err *err)
{
    int32_t *memory = vlorpi_mem_alloc(j->mem, VLORPI_MEM_DATA, (j->n_input / 2 + 1) * sizeof *memory);
    if (memory == NULL) {
        return vlorpi_mem_fail(j->mem, VLORPI_MEM_DATA, j->n_input * 2, err);
    }
    int32_t *ids = memory;
    int64_t n;
    char *text = NULL;
    size_t n_text = 0;
    vlorp_status status = parse_ids(j, ids, &n, err);
    if (status == VLORP_OK && j->special) {
        status = drop_added(j, &ids, &n, err);
    }
    if (status == VLORP_OK) {
        status = vlorpi_tokenizer_decode(j->tokenizer, &text, &n_text, ids, n, false, err);
    }
    if (status == VLORP_OK) {
        (void)fwrite(text, 1, n_text, stdout);
        status = vlorpi_output_flush(err);
    }
    vlorpi_mem_free(j->mem, text);
    vlorpi_mem_free(j->mem, memory);
    return status;
}

vlorp_status vlorpi_cmd_tokenize(vlorpi_cli *cli, vlorp_err *err)
{
    const char *path;
    vlorpi_tokenizer *tokenizer;
    VLORP_TRY(vlorpi_options_model(cli->options, &path, err));
    VLORP_TRY(vlorpi_tokenizer_open(&tokenizer, cli->mem, path, err));
    job j = {.mem = cli->mem, .tokenizer = tokenizer, .special = vlorpi_options_bool(cli->options, "special")};
    vlorp_status status = read_input(&j, err);
    if (status == VLORP_OK) {
        status = vlorpi_options_bool(cli->options, "decode") ? print_text(&j, err) : print_ids(&j, err);
    }
    vlorpi_mem_free(cli->mem, j.input);
    vlorpi_tokenizer_free(tokenizer);
    return status;
}
