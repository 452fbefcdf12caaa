/* tokenizer_config.c - vocab.json with merges.txt, and what a model folder's other files say of a
 * tokenizer: special tokens, BOS and EOS, the chat template. */
#include <string.h>

#include "text/token_fields.h"
#include "text/tokenizer_readers.h"

/* merges.txt: a line "left right" each; a first line "#version" and empty lines are no merges. */
static vlorp_status read_merges(vlorpi_tokenizer *t, const char *text, size_t n_bytes, vlorp_err *err)
{
    size_t n_lines = 1;
    for (size_t i = 0; i < n_bytes; i++) {
        n_lines += text[i] == '\n';
    }
    VLORP_TRY(vlorpi_merges_init(&t->merges, t->mem, n_lines, err));
    size_t line = 0;
    for (size_t at = 0; at < n_bytes;) {
        const char *newline = memchr(text + at, '\n', n_bytes - at);
        size_t end = newline != NULL ? (size_t)(newline - text) : n_bytes;
        size_t length = end - at;
        length -= length > 0 && text[end - 1] == '\r' ? 1 : 0;
        line++;
        bool version = line == 1 && length >= 8 && memcmp(text + at, "#version", 8) == 0;
        if (length > 0 && !version) {
            VLORP_TRY(vlorpi_merges_put_line(&t->merges, &t->vocab, text + at, length, line, "merges.txt line", err));
        }
        at = end + 1;
    }
    return VLORP_OK;
}

/* Without a list of added tokens: the names that GPT-2's and fairseq's dictionaries give theirs. */
static vlorp_status add_usual_tokens(vlorpi_tokenizer *t, vlorp_err *err)
{
    static const char *const names[] = {"<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int32_t id = vlorpi_vocab_find(&t->vocab, names[i], strlen(names[i]));
        if (id >= 0 && t->vocab.kind[id] == VLORPI_TOKEN_NORMAL) {
            t->vocab.kind[id] = VLORPI_TOKEN_CONTROL;
            VLORP_TRY(vlorpi_added_put(t, (vlorpi_added_token){.id = id, .special = true}, err));
        }
    }
    return VLORP_OK;
}

/* Where no file names special tokens: GPT-2 begins and ends with <|endoftext|>; fairseq's
 * dictionary (OPT) with </s>, which OPT also puts before every text. */
static vlorp_status guess_specials(vlorpi_tokenizer *t, vlorp_err *err)
{
    int32_t end = vlorpi_vocab_find(&t->vocab, "</s>", 4);
    bool fairseq = end == 2 && vlorpi_vocab_find(&t->vocab, "<pad>", 5) == 1;
    t->bos = fairseq ? end : vlorpi_vocab_find(&t->vocab, "<|endoftext|>", 13);
    t->eos = t->bos;
    t->pad = fairseq ? 1 : -1;
    return vlorpi_tokenizer_set_bos(t, fairseq, err);
}

vlorp_status vlorpi_tokenizer_read_vocab_merges(vlorpi_tokenizer *t, const json_t *vocab, const char *merges,
                                                size_t n_bytes, const json_t *added, const json_t *config,
                                                vlorp_err *err)
{
    static const char place[] = "tokenizer_config.json";
    if (!json_is_object(vocab)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "vocab.json must be an object of tokens and ids");
    }
    VLORP_TRY(vlorpi_tokenizer_read_vocab(t, vocab, added, err));
    VLORP_TRY(vlorpi_tokenizer_read_added(t, added, err));
    VLORP_TRY(read_merges(t, merges, n_bytes, err));
    VLORP_TRY(add_usual_tokens(t, err));
    vlorpi_decode_step *decode = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &decode, err));
    decode->kind = VLORPI_DECODE_BYTE_LEVEL;
    const char *class;
    size_t n_class;
    VLORP_TRY(vlorpi_field_text(&class, &n_class, config, "tokenizer_class", "GPT2Tokenizer", place, err));
    if (strncmp(class, "Qwen2Tokenizer", 14) == 0) {
        vlorpi_tokenizer_preset preset;
        return vlorpi_tokenizer_split_preset(t, "qwen2", 5, &preset, err);
    }
    bool prefix_space;
    VLORP_TRY(vlorpi_field_bool(&prefix_space, config, "add_prefix_space", false, place, err));
    VLORP_TRY(vlorpi_tokenizer_split_bytes(t, prefix_space, true, err));
    return config == NULL ? guess_specials(t, err) : VLORP_OK;
}

/* A special token is named by its text or by an object with content.  *id stays when the key is
 * absent or the text is no token. */
static vlorp_status read_token(const vlorpi_tokenizer *t, const json_t *config, const char *key, int32_t *id,
                               vlorp_err *err)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) {
        value = json_object_get(value, "content");
    }
    if (value == NULL || json_is_null(value)) {
        return VLORP_OK;
    }
    if (!json_is_string(value)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s must be a string or an object with content", key);
    }
    int32_t found = vlorpi_vocab_find(&t->vocab, json_string_value(value), json_string_length(value));
    *id = *id < 0 ? found : *id;
    return VLORP_OK;
}

/* The template is a string, or a list of named ones of which "default" counts. */
static vlorp_status read_template(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strcmp(name, "default") == 0) {
            value = json_object_get(item, "template");
            break;
        }
    }
    if (!json_is_string(value) || t->chat_template != NULL) {
        return VLORP_OK;
    }
    return vlorpi_tokenizer_copy_text(t, &t->chat_template, json_string_value(value), json_string_length(value), err);
}

vlorp_status vlorpi_tokenizer_read_config(vlorpi_tokenizer *t, const json_t *config, vlorp_err *err)
{
    if (!json_is_object(config)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "must be a JSON object");
    }
    VLORP_TRY(read_token(t, config, "bos_token", &t->bos, err));
    VLORP_TRY(read_token(t, config, "eos_token", &t->eos, err));
    VLORP_TRY(read_token(t, config, "pad_token", &t->pad, err));
    VLORP_TRY(read_template(t, json_object_get(config, "chat_template"), err));
    const json_t *add_bos = json_object_get(config, "add_bos_token");
    const json_t *add_eos = json_object_get(config, "add_eos_token");
    if (json_is_boolean(add_bos) && (t->bos >= 0 || json_is_true(add_bos))) {
        VLORP_TRY(vlorpi_tokenizer_set_bos(t, json_is_true(add_bos), err));
    }
    if (json_is_boolean(add_eos) && (t->eos >= 0 || json_is_true(add_eos))) {
        VLORP_TRY(vlorpi_tokenizer_set_eos(t, json_is_true(add_eos), err));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_read_model_config(vlorpi_tokenizer *t, const json_t *config, vlorp_err *err)
{
    if (!json_is_object(config)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "must be a JSON object");
    }
    const json_t *bos = json_object_get(config, "bos_token_id");
    if (t->bos < 0 && json_is_integer(bos)) {
        t->bos = vlorpi_tokenizer_checked_id(t, (int64_t)json_integer_value(bos));
    }
    /* One id, or a list of which the first is EOS; all end a text, whatever EOS is. */
    const json_t *eos = json_object_get(config, "eos_token_id");
    bool is_list = json_is_array(eos);
    for (size_t i = 0; i < (is_list ? json_array_size(eos) : 1); i++) {
        const json_t *value = is_list ? json_array_get(eos, i) : eos;
        int32_t id = json_is_integer(value) ? vlorpi_tokenizer_checked_id(t, (int64_t)json_integer_value(value)) : -1;
        t->eos = t->eos < 0 && i == 0 ? id : t->eos;
        vlorpi_tokenizer_add_end(t, id);
    }
    return VLORP_OK;
}
