/* tokenizer_json.c - tokenizer.json: vocabulary, merges, added tokens; its steps are in
 * tokenizer_steps.c. */
#include <stdio.h>
#include <string.h>

#include "text/token_fields.h"
#include "text/tokenizer_readers.h"

/* --- what the file says of ids, before anything is allocated --- */

typedef struct extent {
    int64_t highest;
    size_t n_tokens, n_bytes;
} extent;

static vlorp_status measure_token(extent *e, const json_t *id, const char *text, size_t n_bytes, vlorp_err *err)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX / 4) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "token \"%.80s\": its id must be an integer from 0 to %d", text, INT32_MAX / 4);
    }
    int64_t value = (int64_t)json_integer_value(id);
    e->highest = value > e->highest ? value : e->highest;
    e->n_tokens++;
    e->n_bytes += n_bytes;
    return VLORP_OK;
}

/* Added tokens are objects in a list (tokenizer.json), or by their id (added_tokens_decoder). */
static vlorp_status measure_added(extent *e, const json_t *added, vlorp_err *err)
{
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *text;
        size_t n_bytes;
        char place[48];
        (void)snprintf(place, sizeof place, "added_tokens: number %zu", i);
        VLORP_TRY(vlorpi_field_text(&text, &n_bytes, token, "content", NULL, place, err));
        VLORP_TRY(measure_token(e, json_object_get(token, "id"), text, n_bytes, err));
    }
    return VLORP_OK;
}

static vlorp_status init_vocab(vlorpi_tokenizer *t, extent e, const json_t *added, vlorp_err *err)
{
    VLORP_TRY(measure_added(&e, added, err));
    if (e.n_tokens == 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the vocabulary is empty");
    }
    if (e.highest > 2 * (int64_t)e.n_tokens + 65536) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the highest id is %lld, but there are only %zu tokens", (long long)e.highest,
                   e.n_tokens);
    }
    return vlorpi_vocab_init(&t->vocab, t->mem, e.highest + 1, e.n_bytes, err);
}

vlorp_status vlorpi_tokenizer_init_vocab(vlorpi_tokenizer *t, int64_t n, size_t n_bytes, const json_t *added,
                                         vlorp_err *err)
{
    return init_vocab(t, (extent){.highest = n - 1, .n_tokens = (size_t)n, .n_bytes = n_bytes}, added, err);
}

vlorp_status vlorpi_tokenizer_read_vocab(vlorpi_tokenizer *t, const json_t *vocab, const json_t *added, vlorp_err *err)
{
    extent e = {.highest = -1};
    void *at;
    json_t *object = (json_t *)(uintptr_t)vocab; /* jansson's iterators want it mutable */
    for (at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        VLORP_TRY(measure_token(&e, json_object_iter_value(at), json_object_iter_key(at), json_object_iter_key_len(at),
                                err));
    }
    VLORP_TRY(init_vocab(t, e, added, err));
    for (at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        VLORP_TRY(vlorpi_vocab_set(&t->vocab, json_integer_value(json_object_iter_value(at)),
                                   json_object_iter_key(at), json_object_iter_key_len(at), VLORPI_TOKEN_NORMAL, err));
    }
    return VLORP_OK;
}

static vlorp_status read_added_token(vlorpi_tokenizer *t, const json_t *token, vlorp_err *err)
{
    const char *text;
    size_t n_bytes;
    vlorpi_added_token added = {0};
    VLORP_TRY(vlorpi_field_text(&text, &n_bytes, token, "content", NULL, "added_tokens", err));
    char place[120];
    (void)snprintf(place, sizeof place, "added token \"%.80s\"", text);
    VLORP_TRY(vlorpi_field_bool(&added.special, token, "special", false, place, err));
    VLORP_TRY(vlorpi_field_bool(&added.normalized, token, "normalized", !added.special, place, err));
    VLORP_TRY(vlorpi_field_bool(&added.single_word, token, "single_word", false, place, err));
    VLORP_TRY(vlorpi_field_bool(&added.lstrip, token, "lstrip", false, place, err));
    VLORP_TRY(vlorpi_field_bool(&added.rstrip, token, "rstrip", false, place, err));
    added.id = (int32_t)json_integer_value(json_object_get(token, "id"));
    int32_t known = vlorpi_vocab_find(&t->vocab, text, n_bytes);
    if (known >= 0 && known != added.id) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s has the ids %d and %d", place, (int)known, (int)added.id);
    }
    if (known >= 0 && t->vocab.kind[known] != VLORPI_TOKEN_NORMAL) {
        return VLORP_OK; /* listed twice */
    }
    VLORP_TRY(vlorpi_vocab_set(&t->vocab, added.id, text, n_bytes,
                               added.special ? VLORPI_TOKEN_CONTROL : VLORPI_TOKEN_USER, err));
    t->vocab.added_only[added.id] = known < 0;
    return vlorpi_added_put(t, added, err);
}

vlorp_status vlorpi_tokenizer_read_added(vlorpi_tokenizer *t, const json_t *list, vlorp_err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        VLORP_TRY(read_added_token(t, json_array_get(list, i), err));
    }
    return VLORP_OK;
}

/* A merge is "left right" or ["left", "right"]. */
static vlorp_status read_merge(vlorpi_tokenizer *t, const json_t *merge, size_t rank, vlorp_err *err)
{
    static const char place[] = "merge";
    if (json_is_array(merge) && json_array_size(merge) == 2 && json_is_string(json_array_get(merge, 0)) &&
        json_is_string(json_array_get(merge, 1))) {
        const json_t *left = json_array_get(merge, 0);
        const json_t *right = json_array_get(merge, 1);
        return vlorpi_merges_put_text(&t->merges, &t->vocab, json_string_value(left), json_string_length(left),
                                      json_string_value(right), json_string_length(right), rank, place, err);
    }
    if (!json_is_string(merge)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "merge %zu must be a string \"left right\" or a pair of strings", rank);
    }
    return vlorpi_merges_put_line(&t->merges, &t->vocab, json_string_value(merge), json_string_length(merge), rank,
                                  place, err);
}

static vlorp_status refuse_text(const json_t *model, const char *key, vlorp_err *err)
{
    const char *text;
    size_t n_bytes;
    VLORP_TRY(vlorpi_field_text(&text, &n_bytes, model, key, "", "model", err));
    if (n_bytes > 0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "model: %s \"%.40s\" is not supported", key, text);
    }
    return VLORP_OK;
}

static vlorp_status read_model_options(vlorpi_tokenizer *t, const json_t *model, vlorp_err *err)
{
    VLORP_TRY(vlorpi_field_bool(&t->fuse_unknown, model, "fuse_unk", false, "model", err));
    VLORP_TRY(vlorpi_field_bool(&t->byte_fallback, model, "byte_fallback", false, "model", err));
    VLORP_TRY(vlorpi_field_bool(&t->ignore_merges, model, "ignore_merges", false, "model", err));
    VLORP_TRY(refuse_text(model, "continuing_subword_prefix", err));
    VLORP_TRY(refuse_text(model, "end_of_word_suffix", err));
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout != NULL && !json_is_null(dropout) && json_number_value(dropout) != 0.0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "model: dropout is not supported");
    }
    const char *unknown;
    size_t n_unknown;
    VLORP_TRY(vlorpi_field_text(&unknown, &n_unknown, model, "unk_token", "", "model", err));
    if (n_unknown > 0) {
        t->unknown = vlorpi_vocab_find(&t->vocab, unknown, n_unknown);
        if (t->unknown < 0) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "model: unk_token \"%.80s\" is not a token", unknown);
        }
    }
    return VLORP_OK;
}

static vlorp_status read_model(vlorpi_tokenizer *t, const json_t *root, vlorp_err *err)
{
    const json_t *model;
    const json_t *vocab;
    const json_t *merges;
    const char *type;
    size_t n_type;
    VLORP_TRY(vlorpi_field_object(&model, root, "model", "tokenizer", err));
    /* Old files do not say what the model is; BPE alone has merges. */
    const char *implied = json_object_get(model, "merges") != NULL ? "BPE" : NULL;
    VLORP_TRY(vlorpi_field_text(&type, &n_type, model, "type", implied, "model", err));
    if (strcmp(type, "BPE") != 0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "model type \"%.40s\" is not supported; BPE is", type);
    }
    VLORP_TRY(vlorpi_field_object(&vocab, model, "vocab", "model", err));
    VLORP_TRY(vlorpi_field_list(&merges, model, "merges", "model", err));
    const json_t *added = json_object_get(root, "added_tokens");
    if (added != NULL && !json_is_null(added) && !json_is_array(added)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "added_tokens must be an array");
    }
    VLORP_TRY(vlorpi_tokenizer_read_vocab(t, vocab, added, err));
    VLORP_TRY(vlorpi_tokenizer_read_added(t, added, err));
    VLORP_TRY(vlorpi_merges_init(&t->merges, t->mem, json_array_size(merges), err));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        VLORP_TRY(read_merge(t, json_array_get(merges, i), i, err));
    }
    return read_model_options(t, model, err);
}

vlorp_status vlorpi_tokenizer_read_json(vlorpi_tokenizer *t, const json_t *root, vlorp_err *err)
{
    if (!json_is_object(root)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "a tokenizer must be a JSON object");
    }
    VLORP_TRY(read_model(t, root, err));
    VLORP_TRY(vlorpi_tokenizer_read_normalizer(t, json_object_get(root, "normalizer"), err));
    VLORP_TRY(vlorpi_tokenizer_read_splitter(t, json_object_get(root, "pre_tokenizer"), err));
    VLORP_TRY(vlorpi_tokenizer_read_decoder(t, json_object_get(root, "decoder"), err));
    return vlorpi_tokenizer_read_specials(t, json_object_get(root, "post_processor"), err);
}
