/* tokenizer_write.c - a tokenizer that came as GGUF metadata, as the files that transformers loads. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "text/tokenizer_readers.h"

/* --- JSON, written as it goes; the stream remembers a failed write --- */

static void put_chars(FILE *f, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            (void)fprintf(f, "\\%c", c);
        } else if (c < 0x20) {
            (void)fprintf(f, "\\u%04x", c);
        } else {
            (void)fputc(c, f);
        }
    }
}

static void put_string(FILE *f, const char *text, size_t n_bytes)
{
    (void)fputc('"', f);
    put_chars(f, text, n_bytes);
    (void)fputc('"', f);
}

static void put_text(FILE *f, const char *text)
{
    put_string(f, text, strlen(text));
}

static void put_token(FILE *f, const vlorpi_tokenizer *t, int32_t id)
{
    size_t n_bytes;
    const char *text = vlorpi_vocab_text(&t->vocab, id, &n_bytes);
    put_string(f, text != NULL ? text : "", n_bytes);
}

static const char *json_bool(bool value)
{
    return value ? "true" : "false";
}

/* --- the steps --- */

static void put_pattern(FILE *f, const vlorpi_regex *pattern, bool literal)
{
    (void)fprintf(f, "\"pattern\": {\"%s\": ", literal ? "String" : "Regex");
    put_text(f, vlorpi_regex_pattern(pattern));
    (void)fputc('}', f);
}

static void put_normal(FILE *f, const vlorpi_normal_step *step)
{
    static const char *const names[] = {"Prepend", "Replace", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip"};
    (void)fprintf(f, "{\"type\": \"%s\"", names[step->kind]);
    if (step->kind == VLORPI_NORMAL_PREPEND) {
        (void)fputs(", \"prepend\": ", f);
        put_string(f, step->text, step->n_text);
    } else if (step->kind == VLORPI_NORMAL_REPLACE) {
        (void)fputs(", ", f);
        put_pattern(f, step->pattern, step->literal);
        (void)fputs(", \"content\": ", f);
        put_string(f, step->text, step->n_text);
    } else if (step->kind == VLORPI_NORMAL_STRIP) {
        (void)fprintf(f, ", \"strip_left\": %s, \"strip_right\": %s", json_bool(step->left), json_bool(step->right));
    }
    (void)fputc('}', f);
}

static void put_split(FILE *f, const vlorpi_split_step *step)
{
    static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                            "Contiguous"};
    static const char *const schemes[] = {"always", "first", "never"};
    switch (step->kind) {
    case VLORPI_SPLIT_PATTERN:
        (void)fputs("{\"type\": \"Split\", ", f);
        put_pattern(f, step->pattern, step->literal);
        (void)fprintf(f, ", \"behavior\": \"%s\", \"invert\": %s}", behaviors[step->behavior],
                      json_bool(step->invert));
        break;
    case VLORPI_SPLIT_BYTE_LEVEL:
        (void)fprintf(f, "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": false, "
                      "\"use_regex\": %s}", json_bool(step->add_prefix_space), json_bool(step->pattern != NULL));
        break;
    case VLORPI_SPLIT_METASPACE:
        (void)fputs("{\"type\": \"Metaspace\", \"replacement\": ", f);
        put_text(f, step->space);
        (void)fprintf(f, ", \"prepend_scheme\": \"%s\", \"split\": %s}", schemes[step->prepend],
                      json_bool(step->pattern != NULL));
        break;
    }
}

static void put_decode(FILE *f, const vlorpi_decode_step *step)
{
    static const char *const names[] = {"ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"};
    (void)fprintf(f, "{\"type\": \"%s\"", names[step->kind]);
    switch (step->kind) {
    case VLORPI_DECODE_BYTE_LEVEL:
        (void)fputs(", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": true", f);
        break;
    case VLORPI_DECODE_REPLACE:
        (void)fputs(", ", f);
        put_pattern(f, step->pattern, step->literal);
        (void)fputs(", \"content\": ", f);
        put_string(f, step->text, step->n_text);
        break;
    case VLORPI_DECODE_STRIP:
        (void)fputs(", \"content\": ", f);
        put_string(f, step->text, step->n_text);
        (void)fprintf(f, ", \"start\": %lld, \"stop\": %lld", (long long)step->start, (long long)step->stop);
        break;
    case VLORPI_DECODE_METASPACE:
        (void)fputs(", \"replacement\": ", f);
        put_string(f, step->text, step->n_text);
        (void)fprintf(f, ", \"prepend_scheme\": \"%s\", \"split\": true", step->strip_first ? "always" : "never");
        break;
    case VLORPI_DECODE_BYTE_FALLBACK:
    case VLORPI_DECODE_FUSE: break;
    }
    (void)fputc('}', f);
}

static void put_steps(FILE *f, const vlorpi_tokenizer *t)
{
    (void)fputs(",\n  \"normalizer\": ", f);
    (void)fputs(t->n_normal > 0 ? "{\"type\": \"Sequence\", \"normalizers\": [" : "null", f);
    for (int i = 0; i < t->n_normal; i++) {
        (void)fputs(i > 0 ? ", " : "", f);
        put_normal(f, &t->normal[i]);
    }
    (void)fputs(t->n_normal > 0 ? "]}" : "", f);
    (void)fputs(",\n  \"pre_tokenizer\": ", f);
    (void)fputs(t->n_split > 0 ? "{\"type\": \"Sequence\", \"pretokenizers\": [" : "null", f);
    for (int i = 0; i < t->n_split; i++) {
        (void)fputs(i > 0 ? ", " : "", f);
        put_split(f, &t->split[i]);
    }
    (void)fputs(t->n_split > 0 ? "]}" : "", f);
    (void)fputs(",\n  \"decoder\": ", f);
    (void)fputs(t->n_decode > 0 ? "{\"type\": \"Sequence\", \"decoders\": [" : "null", f);
    for (int i = 0; i < t->n_decode; i++) {
        (void)fputs(i > 0 ? ", " : "", f);
        put_decode(f, &t->decode[i]);
    }
    (void)fputs(t->n_decode > 0 ? "]}" : "", f);
}

static void put_template(FILE *f, const vlorpi_tokenizer *t)
{
    (void)fputs(",\n  \"post_processor\": ", f);
    if (t->n_prefix + t->n_suffix == 0) {
        (void)fputs("null", f);
        return;
    }
    /* "pair" follows Hugging Face's habit for LLaMA: each text with its own special tokens. */
    static const char *const lists[] = {"single", "pair"};
    (void)fputs("{\"type\": \"TemplateProcessing\"", f);
    for (int pair = 0; pair < 2; pair++) {
        (void)fprintf(f, ", \"%s\": [", lists[pair]);
        for (int text = 0; text <= pair; text++) {
            for (int i = 0; i < t->n_prefix; i++) {
                (void)fputs("{\"SpecialToken\": {\"id\": ", f);
                put_token(f, t, t->prefix[i]);
                (void)fprintf(f, ", \"type_id\": %d}}, ", text);
            }
            (void)fprintf(f, "{\"Sequence\": {\"id\": \"%c\", \"type_id\": %d}}", 'A' + text, text);
            for (int i = 0; i < t->n_suffix; i++) {
                (void)fputs(", {\"SpecialToken\": {\"id\": ", f);
                put_token(f, t, t->suffix[i]);
                (void)fprintf(f, ", \"type_id\": %d}}", text);
            }
            (void)fputs(text < pair ? ", " : "", f);
        }
        (void)fputc(']', f);
    }
    (void)fputs(", \"special_tokens\": {", f);
    for (int i = 0; i < t->n_prefix + t->n_suffix; i++) {
        int32_t id = i < t->n_prefix ? t->prefix[i] : t->suffix[i - t->n_prefix];
        bool again = false;
        for (int k = 0; k < i; k++) {
            again = again || id == (k < t->n_prefix ? t->prefix[k] : t->suffix[k - t->n_prefix]);
        }
        if (again) {
            continue;
        }
        (void)fputs(i > 0 ? ", " : "", f);
        put_token(f, t, id);
        (void)fputs(": {\"id\": ", f);
        put_token(f, t, id);
        (void)fprintf(f, ", \"ids\": [%d], \"tokens\": [", (int)id);
        put_token(f, t, id);
        (void)fputs("]}", f);
    }
    (void)fputs("}}", f);
}

/* --- vocabulary and merges --- */

static void put_added_flags(FILE *f, const vlorpi_added_token *token)
{
    (void)fprintf(f, "\"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, \"special\": %s}",
                  json_bool(token->single_word), json_bool(token->lstrip), json_bool(token->rstrip),
                  json_bool(token->normalized), json_bool(token->special));
}

static void put_added(FILE *f, const vlorpi_tokenizer *t)
{
    (void)fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [", f);
    for (int64_t i = 0; i < t->added.n; i++) {
        const vlorpi_added_token *token = &t->added.items[i];
        (void)fprintf(f, "%s\n    {\"id\": %d, \"content\": ", i > 0 ? "," : "", (int)token->id);
        put_token(f, t, token->id);
        (void)fputs(", ", f);
        put_added_flags(f, token);
    }
    (void)fputs("\n  ]", f);
}

static vlorp_status put_vocab(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err)
{
    bool first = true;
    for (int32_t id = 0; id < t->vocab.n_ids; id++) {
        size_t n_bytes;
        const char *text = vlorpi_vocab_text(&t->vocab, id, &n_bytes);
        if (text == NULL || vlorpi_vocab_find(&t->vocab, text, n_bytes) != id) {
            continue; /* a second id of the same text is never used */
        }
        if (!vlorpi_utf8_valid(text, n_bytes)) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "token %d is not UTF-8, which JSON cannot hold", (int)id);
        }
        (void)fputs(first ? "\n      " : ",\n      ", f);
        put_string(f, text, n_bytes);
        (void)fprintf(f, ": %d", (int)id);
        first = false;
    }
    return VLORP_OK;
}

static vlorp_status put_merges(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err)
{
    size_t n;
    vlorpi_merge *merges;
    VLORP_TRY(vlorpi_merges_sorted(&merges, &n, &t->merges, err));
    bool spaces = false; /* a token with a space needs merges as pairs, which old readers refuse */
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *text = vlorpi_vocab_text(&t->vocab, merges[i].id, &n_bytes);
        spaces = spaces || memchr(text, ' ', n_bytes) != NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t n_left;
        size_t n_right;
        const char *left = vlorpi_vocab_text(&t->vocab, (int64_t)(merges[i].pair >> 32), &n_left);
        const char *right = vlorpi_vocab_text(&t->vocab, (int64_t)(merges[i].pair & UINT32_MAX), &n_right);
        (void)fputs(i > 0 ? ",\n      " : "\n      ", f);
        (void)fputs(spaces ? "[\"" : "\"", f);
        put_chars(f, left, n_left);
        (void)fputs(spaces ? "\", \"" : " ", f);
        put_chars(f, right, n_right);
        (void)fputs(spaces ? "\"]" : "\"", f);
    }
    vlorpi_mem_free(t->mem, merges);
    return VLORP_OK;
}

static vlorp_status put_tokenizer(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err)
{
    put_added(f, t);
    put_steps(f, t);
    put_template(f, t);
    (void)fputs(",\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ", f);
    if (t->unknown >= 0) {
        put_token(f, t, t->unknown);
    } else {
        (void)fputs("null", f);
    }
    (void)fprintf(f, ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
                  "    \"fuse_unk\": %s,\n    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n    \"vocab\": {",
                  json_bool(t->fuse_unknown), json_bool(t->byte_fallback), json_bool(t->ignore_merges));
    VLORP_TRY(put_vocab(f, t, err));
    (void)fputs("\n    },\n    \"merges\": [", f);
    VLORP_TRY(put_merges(f, t, err));
    (void)fputs("\n    ]\n  }\n}\n", f);
    return VLORP_OK;
}

/* --- the small files --- */

/* "bos_token": "<s>", ... for those there are, each with the separator before it. */
static void put_named(FILE *f, const vlorpi_tokenizer *t, const char *separator)
{
    const struct {
        const char *name;
        int32_t id;
    } named[] = {{"bos_token", t->bos}, {"eos_token", t->eos}, {"unk_token", t->named_unknown}, {"pad_token", t->pad}};
    bool first = true;
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (named[i].id >= 0) {
            (void)fprintf(f, "%s\n  \"%s\": ", first ? separator : ",", named[i].name);
            put_token(f, t, named[i].id);
            first = false;
        }
    }
}

static vlorp_status put_config(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err)
{
    (void)fputs("{\n  \"added_tokens_decoder\": {", f);
    for (int64_t i = 0; i < t->added.n; i++) {
        (void)fprintf(f, "%s\n    \"%d\": {\"content\": ", i > 0 ? "," : "", (int)t->added.items[i].id);
        put_token(f, t, t->added.items[i].id);
        (void)fputs(", ", f);
        put_added_flags(f, &t->added.items[i]);
    }
    (void)fputs("\n  }", f);
    put_named(f, t, ",");
    if (t->chat_template != NULL) {
        if (!vlorpi_utf8_valid(t->chat_template, strlen(t->chat_template))) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "the chat template is not UTF-8, which JSON cannot hold");
        }
        (void)fputs(",\n  \"chat_template\": ", f);
        put_text(f, t->chat_template);
    }
    (void)fputs(",\n  \"clean_up_tokenization_spaces\": false,"
                "\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n", f);
    return VLORP_OK;
}

static vlorp_status put_map(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err)
{
    (void)err;
    (void)fputc('{', f);
    put_named(f, t, "");
    (void)fputs("\n}\n", f);
    return VLORP_OK;
}

static vlorp_status write_file(const vlorpi_tokenizer *t, const char *folder, const char *name,
                               vlorp_status (*put)(FILE *f, const vlorpi_tokenizer *t, vlorp_err *err), vlorp_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || n >= PATH_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", folder);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
    }
    errno = 0;
    vlorp_status status = put(f, t, err);
    bool failed = ferror(f) != 0;
    failed = fclose(f) != 0 || failed;
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s", path);
        return status;
    }
    if (failed) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: cannot write: %s", path, errno != 0 ? strerror(errno) : "unknown reason");
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_write_json(const vlorpi_tokenizer *t, const char *folder, vlorp_err *err)
{
    if (!t->from_gguf) {
        VLORP_FAIL(err, VLORP_E_STATE, "the tokenizer was read from a folder, whose files are to be copied");
    }
    VLORP_TRY(write_file(t, folder, "tokenizer.json", put_tokenizer, err));
    VLORP_TRY(write_file(t, folder, "tokenizer_config.json", put_config, err));
    return write_file(t, folder, "special_tokens_map.json", put_map, err);
}
