/* dump_tokens MODEL [--special] FILE... - prints "id begin end" of every token of each file, a line
 * "#" after each; and dump_tokens MODEL --write FOLDER - writes its tokenizer files; and
 * dump_tokens MODEL --decode FILE... - prints whether decoding gives the file back, and seconds.
 * For check_tokenizers.py, which compares with tokenizers and transformers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mapped_file.h"
#include "format/json.h"
#include "text/tokenizer.h"

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static vlorp_status check_round_trip(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, const vlorpi_tokens *tokens,
                                     const vlorpi_mapped_file *file, double seconds, vlorp_err *err)
{
    char *text;
    size_t n_text;
    int32_t *ids = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, (size_t)tokens->n * sizeof *ids + 1);
    if (ids == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, (size_t)tokens->n * sizeof *ids, err);
    }
    for (int64_t i = 0; i < tokens->n; i++) {
        ids[i] = tokens->items[i].id;
    }
    double begin = now();
    VLORP_TRY(vlorpi_tokenizer_decode(tokenizer, &text, &n_text, ids, tokens->n, false, err));
    bool same = n_text == file->n_bytes && memcmp(text, file->bytes, n_text) == 0;
    printf("%s: %zu bytes, %" PRId64 " tokens, encode %.3f s, decode %.3f s\n", same ? "same" : "different",
           file->n_bytes, tokens->n, seconds, now() - begin);
    vlorpi_mem_free(mem, ids);
    vlorpi_mem_free(mem, text);
    return VLORP_OK;
}

static vlorp_status dump(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, const char *path, bool special,
                         bool decode, vlorp_err *err)
{
    vlorpi_mapped_file file;
    vlorpi_tokens tokens = {.mem = mem};
    vlorpi_encode_options options = {.add_special = special, .parse_special = true};
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    double begin = now();
    VLORP_TRY(vlorpi_tokenizer_encode(tokenizer, &tokens, (const char *)file.bytes, file.n_bytes, options, err));
    double seconds = now() - begin;
    vlorp_status status = VLORP_OK;
    if (decode) {
        status = check_round_trip(tokenizer, mem, &tokens, &file, seconds, err);
    } else {
        for (int64_t i = 0; i < tokens.n; i++) {
            printf("%" PRId32 " %" PRId64 " %" PRId64 "\n", tokens.items[i].id, tokens.items[i].begin,
                   tokens.items[i].end);
        }
        printf("#\n");
    }
    vlorpi_tokens_deinit(&tokens);
    vlorpi_mapped_file_close(&file);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: dump_tokens MODEL [--special | --decode] FILE... | --write FOLDER\n");
        return 2;
    }
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorpi_tokenizer *tokenizer;
    vlorp_status status = vlorpi_tokenizer_open(&tokenizer, &mem, argv[1], &err);
    bool special = strcmp(argv[2], "--special") == 0;
    bool decode = strcmp(argv[2], "--decode") == 0;
    bool write = strcmp(argv[2], "--write") == 0;
    if (status == VLORP_OK && write && argc == 4) {
        status = vlorpi_tokenizer_write_json(tokenizer, argv[3], &err);
    }
    for (int i = special || decode ? 3 : 2; i < argc && !write && status == VLORP_OK; i++) {
        status = dump(tokenizer, &mem, argv[i], special, decode, &err);
    }
    if (status != VLORP_OK) {
        (void)fprintf(stderr, "dump_tokens: %s\n", err.text);
        return 1;
    }
    vlorpi_tokenizer_free(tokenizer);
    return 0;
}
