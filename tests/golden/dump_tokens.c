/* dump_tokens MODEL [MODE] FILE... - for check_tokenizers.py and check_tokenizer_variants.py, which compare with
 * tokenizers and transformers.  By MODE it prints of each file
 *   (none)     "id begin end" of every token, and a line "#"
 *   --special  the same with BOS and EOS as the tokenizer adds them
 *   --text     the ids of --special in a line, and what they decode to, as hexadecimal digits, in another
 *   --decode   whether decoding gives the file back, and seconds
 * and dump_tokens MODEL --write FOLDER writes its tokenizer files. */
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

typedef enum mode { MODE_PLAIN, MODE_SPECIAL, MODE_TEXT, MODE_DECODE, MODE_WRITE, N_MODES } mode;

static const char *const mode_names[N_MODES] = {"", "--special", "--text", "--decode", "--write"};

typedef struct source {
    const vlorpi_tokenizer *tokenizer;
    vlorpi_mem *mem;
    vlorpi_mapped_file file;
    vlorpi_tokens tokens;
    double seconds;
} source;

static void print_offsets(const source *s)
{
    for (int64_t i = 0; i < s->tokens.n; i++) {
        const vlorpi_token *token = &s->tokens.items[i];
        printf("%" PRId32 " %" PRId64 " %" PRId64 "\n", token->id, token->begin, token->end);
    }
    printf("#\n");
}

static vlorp_status decode_tokens(const source *s, mode what, vlorp_err *err)
{
    char *text;
    size_t n_text;
    int64_t n = s->tokens.n;
    int32_t *ids = vlorpi_mem_alloc(s->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *ids + 1);
    if (ids == NULL) {
        return vlorpi_mem_fail(s->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *ids, err);
    }
    for (int64_t i = 0; i < n; i++) {
        ids[i] = s->tokens.items[i].id;
    }
    double begin = now();
    VLORP_TRY(vlorpi_tokenizer_decode(s->tokenizer, &text, &n_text, ids, n, false, err));
    if (what == MODE_DECODE) {
        bool same = n_text == s->file.n_bytes && memcmp(text, s->file.bytes, n_text) == 0;
        printf("%s: %zu bytes, %" PRId64 " tokens, encode %.3f s, decode %.3f s\n", same ? "same" : "different",
               s->file.n_bytes, n, s->seconds, now() - begin);
    } else {
        for (int64_t i = 0; i < n; i++) {
            printf("%s%" PRId32, i > 0 ? " " : "", ids[i]);
        }
        printf("\n");
        for (size_t i = 0; i < n_text; i++) {
            printf("%02x", (unsigned char)text[i]);
        }
        printf("\n");
    }
    vlorpi_mem_free(s->mem, ids);
    vlorpi_mem_free(s->mem, text);
    return VLORP_OK;
}

static vlorp_status dump(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, const char *path, mode what,
                         vlorp_err *err)
{
    source s = {.tokenizer = tokenizer, .mem = mem, .tokens = {.mem = mem}};
    vlorpi_encode_options options = {.add_special = what == MODE_SPECIAL || what == MODE_TEXT, .parse_special = true};
    VLORP_TRY(vlorpi_mapped_file_open(&s.file, path, err));
    double begin = now();
    VLORP_TRY(vlorpi_tokenizer_encode(tokenizer, &s.tokens, (const char *)s.file.bytes, s.file.n_bytes, options, err));
    s.seconds = now() - begin;
    vlorp_status status = VLORP_OK;
    if (what == MODE_PLAIN || what == MODE_SPECIAL) {
        print_offsets(&s);
    } else {
        status = decode_tokens(&s, what, err);
    }
    vlorpi_tokens_deinit(&s.tokens);
    vlorpi_mapped_file_close(&s.file);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: dump_tokens MODEL [--special|--text|--decode] FILE... | --write FOLDER\n");
        return 2;
    }
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorpi_tokenizer *tokenizer;
    vlorp_status status = vlorpi_tokenizer_open(&tokenizer, &mem, argv[1], &err);
    mode what = MODE_PLAIN;
    for (int m = MODE_PLAIN + 1; m < N_MODES; m++) {
        what = strcmp(argv[2], mode_names[m]) == 0 ? (mode)m : what;
    }
    for (int i = what == MODE_PLAIN ? 2 : 3; i < argc && status == VLORP_OK; i++) {
        status = what == MODE_WRITE ? vlorpi_tokenizer_write_json(tokenizer, argv[i], &err)
                                    : dump(tokenizer, &mem, argv[i], what, &err);
    }
    if (status != VLORP_OK) {
        (void)fprintf(stderr, "dump_tokens: %s\n", err.text);
        return 1;
    }
    vlorpi_tokenizer_free(tokenizer);
    return 0;
}
