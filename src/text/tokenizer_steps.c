/* tokenizer_steps.c - the steps of tokenizer.json: normaliser, pre-tokenizer, decoder,
 * post-processor.  Nested sequences are laid flat; a type that is not known is an error. */
#include <stdio.h>
#include <string.h>

#include "text/token_fields.h"
#include "text/tokenizer_readers.h"

typedef vlorp_status read_step(vlorpi_tokenizer *t, const json_t *value, const char *type, vlorp_err *err);

/* Reads one step, or those of a Sequence, whose list has the name items. */
static vlorp_status read_steps(vlorpi_tokenizer *t, const json_t *value, const char *place, const char *items,
                               read_step *read, vlorp_err *err)
{
    if (value == NULL || json_is_null(value)) {
        return VLORP_OK;
    }
    const char *type;
    size_t n_type;
    VLORP_TRY(vlorpi_field_text(&type, &n_type, value, "type", NULL, place, err));
    if (strcmp(type, "Sequence") != 0) {
        return read(t, value, type, err);
    }
    const json_t *list;
    VLORP_TRY(vlorpi_field_list(&list, value, items, place, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        VLORP_TRY(read_steps(t, json_array_get(list, i), place, items, read, err));
    }
    return VLORP_OK;
}

/* A pattern is {"String": text} or {"Regex": text}. */
static vlorp_status read_pattern(vlorpi_tokenizer *t, vlorpi_regex **out, bool *literal, const json_t *step,
                                 const char *place, vlorp_err *err)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *text = string != NULL ? string : regex;
    if (!json_is_string(text)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: pattern must be {\"String\": text} or {\"Regex\": text}", place);
    }
    *literal = string != NULL;
    return vlorpi_regex_compile(out, t->mem, json_string_value(text), json_string_length(text), *literal, err);
}

/* --- normaliser --- */

static vlorp_status read_normal_text(vlorpi_tokenizer *t, vlorpi_normal_step *step, const json_t *value,
                                     const char *key, vlorp_err *err)
{
    const char *text;
    VLORP_TRY(vlorpi_field_text(&text, &step->n_text, value, key, NULL, "normalizer", err));
    return vlorpi_tokenizer_copy_text(t, &step->text, text, step->n_text, err);
}

static vlorp_status read_normal(vlorpi_tokenizer *t, const json_t *value, const char *type, vlorp_err *err)
{
    static const struct {
        const char *type;
        vlorpi_normal_kind kind;
    } kinds[] = {{"Prepend", VLORPI_NORMAL_PREPEND}, {"Replace", VLORPI_NORMAL_REPLACE}, {"NFC", VLORPI_NORMAL_NFC},
                 {"NFD", VLORPI_NORMAL_NFD},         {"NFKC", VLORPI_NORMAL_NFKC},       {"NFKD", VLORPI_NORMAL_NFKD},
                 {"Lowercase", VLORPI_NORMAL_LOWERCASE}, {"Strip", VLORPI_NORMAL_STRIP}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) != 0) {
            continue;
        }
        vlorpi_normal_step *step = NULL;
        VLORP_TRY(vlorpi_tokenizer_add_normal(t, &step, err));
        step->kind = kinds[i].kind;
        if (step->kind == VLORPI_NORMAL_PREPEND) {
            return read_normal_text(t, step, value, "prepend", err);
        }
        if (step->kind == VLORPI_NORMAL_REPLACE) {
            VLORP_TRY(read_normal_text(t, step, value, "content", err));
            return read_pattern(t, &step->pattern, &step->literal, value, "normalizer Replace", err);
        }
        VLORP_TRY(vlorpi_field_bool(&step->left, value, "strip_left", true, "normalizer Strip", err));
        return vlorpi_field_bool(&step->right, value, "strip_right", true, "normalizer Strip", err);
    }
    VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "normalizer type \"%.40s\" is not supported", type);
}

vlorp_status vlorpi_tokenizer_read_normalizer(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    return read_steps(t, value, "normalizer", "normalizers", read_normal, err);
}

/* --- pre-tokenizer --- */

static vlorp_status read_behavior(vlorpi_split_behavior *out, const json_t *value, const char *fallback,
                                  vlorp_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *text;
    size_t n_text;
    VLORP_TRY(vlorpi_field_text(&text, &n_text, value, "behavior", fallback, "pre_tokenizer", err));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (vlorpi_split_behavior)i;
            return VLORP_OK;
        }
    }
    VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pre_tokenizer: behavior \"%.40s\" is not supported", text);
}

static vlorp_status read_prepend(vlorpi_prepend *out, const json_t *value, const char *place, vlorp_err *err)
{
    bool prefix;
    const char *scheme;
    size_t n_scheme;
    VLORP_TRY(vlorpi_field_bool(&prefix, value, "add_prefix_space", true, place, err));
    VLORP_TRY(vlorpi_field_text(&scheme, &n_scheme, value, "prepend_scheme", prefix ? "always" : "never", place, err));
    if (strcmp(scheme, "always") == 0) {
        *out = VLORPI_PREPEND_ALWAYS;
    } else if (strcmp(scheme, "first") == 0) {
        *out = VLORPI_PREPEND_FIRST;
    } else if (strcmp(scheme, "never") == 0) {
        *out = VLORPI_PREPEND_NEVER;
    } else {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: prepend_scheme \"%.40s\" is not supported", place, scheme);
    }
    return VLORP_OK;
}

/* The one character that spaces become; *out is borrowed. */
static vlorp_status read_replacement(const char **out, size_t *n_bytes, const json_t *value, const char *place,
                                     vlorp_err *err)
{
    int32_t codepoint;
    VLORP_TRY(vlorpi_field_text(out, n_bytes, value, "replacement", VLORPI_VISIBLE_SPACE, place, err));
    if (*n_bytes == 0 || vlorpi_utf8_read(*out, *n_bytes, &codepoint) != *n_bytes) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: replacement must be one character", place);
    }
    return VLORP_OK;
}

static vlorp_status read_metaspace(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    static const char place[] = "pre_tokenizer Metaspace";
    vlorpi_split_step *step = NULL;
    const char *space;
    size_t n_space;
    bool split;
    VLORP_TRY(vlorpi_tokenizer_add_split(t, &step, err));
    step->kind = VLORPI_SPLIT_METASPACE;
    step->behavior = VLORPI_SPLIT_MERGED_WITH_NEXT;
    VLORP_TRY(read_prepend(&step->prepend, value, place, err));
    VLORP_TRY(read_replacement(&space, &n_space, value, place, err));
    memcpy(step->space, space, n_space);
    VLORP_TRY(vlorpi_field_bool(&split, value, "split", true, place, err));
    return split ? vlorpi_regex_compile(&step->pattern, t->mem, space, n_space, true, err) : VLORP_OK;
}

static vlorp_status read_split_pattern(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    vlorpi_split_step *step = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_split(t, &step, err));
    step->kind = VLORPI_SPLIT_PATTERN;
    VLORP_TRY(read_behavior(&step->behavior, value, NULL, err));
    VLORP_TRY(vlorpi_field_bool(&step->invert, value, "invert", false, "pre_tokenizer Split", err));
    return read_pattern(t, &step->pattern, &step->literal, value, "pre_tokenizer Split", err);
}

static vlorp_status split_regex(vlorpi_tokenizer *t, const char *pattern, vlorpi_split_behavior behavior, bool invert,
                                vlorp_err *err)
{
    return vlorpi_tokenizer_split_by(t, pattern, strlen(pattern), false, behavior, invert, err);
}

static vlorp_status read_split(vlorpi_tokenizer *t, const json_t *value, const char *type, vlorp_err *err)
{
    static const char punctuation[] = "[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]";
    if (strcmp(type, "Split") == 0) {
        return read_split_pattern(t, value, err);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        bool prefix;
        bool use_regex;
        VLORP_TRY(vlorpi_field_bool(&prefix, value, "add_prefix_space", true, "pre_tokenizer ByteLevel", err));
        VLORP_TRY(vlorpi_field_bool(&use_regex, value, "use_regex", true, "pre_tokenizer ByteLevel", err));
        return vlorpi_tokenizer_split_bytes(t, prefix, use_regex, err);
    }
    if (strcmp(type, "Digits") == 0) {
        bool individual;
        VLORP_TRY(vlorpi_field_bool(&individual, value, "individual_digits", false, "pre_tokenizer Digits", err));
        return split_regex(t, "\\p{N}", individual ? VLORPI_SPLIT_ISOLATED : VLORPI_SPLIT_CONTIGUOUS, false, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace(t, value, err);
    }
    if (strcmp(type, "Punctuation") == 0) {
        vlorpi_split_behavior behavior = VLORPI_SPLIT_ISOLATED;
        VLORP_TRY(read_behavior(&behavior, value, "Isolated", err));
        return split_regex(t, punctuation, behavior, false, err);
    }
    if (strcmp(type, "Whitespace") == 0) {
        return split_regex(t, "\\w+|[^\\w\\s]+", VLORPI_SPLIT_REMOVED, true, err);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        return split_regex(t, "\\s", VLORPI_SPLIT_REMOVED, false, err);
    }
    VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pre_tokenizer type \"%.40s\" is not supported", type);
}

vlorp_status vlorpi_tokenizer_read_splitter(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    return read_steps(t, value, "pre_tokenizer", "pretokenizers", read_split, err);
}

/* --- decoder --- */

static vlorp_status read_decode_text(vlorpi_tokenizer *t, vlorpi_decode_step *step, const json_t *value,
                                     const char *place, vlorp_err *err)
{
    const char *text;
    VLORP_TRY(vlorpi_field_text(&text, &step->n_text, value, "content", NULL, place, err));
    return vlorpi_tokenizer_copy_text(t, &step->text, text, step->n_text, err);
}

static vlorp_status read_strip(vlorpi_tokenizer *t, vlorpi_decode_step *step, const json_t *value, vlorp_err *err)
{
    static const char place[] = "decoder Strip";
    VLORP_TRY(read_decode_text(t, step, value, place, err));
    VLORP_TRY(vlorpi_field_int(&step->start, value, "start", 0, place, err));
    VLORP_TRY(vlorpi_field_int(&step->stop, value, "stop", 0, place, err));
    if (step->n_text == 0 || step->start < 0 || step->stop < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: content must be a character, start and stop not negative", place);
    }
    return VLORP_OK;
}

static vlorp_status read_decode(vlorpi_tokenizer *t, const json_t *value, const char *type, vlorp_err *err)
{
    static const struct {
        const char *type;
        vlorpi_decode_kind kind;
    } kinds[] = {{"ByteLevel", VLORPI_DECODE_BYTE_LEVEL}, {"Replace", VLORPI_DECODE_REPLACE},
                 {"ByteFallback", VLORPI_DECODE_BYTE_FALLBACK}, {"Fuse", VLORPI_DECODE_FUSE},
                 {"Strip", VLORPI_DECODE_STRIP}, {"Metaspace", VLORPI_DECODE_METASPACE}};
    size_t i = 0;
    while (i < sizeof kinds / sizeof kinds[0] && strcmp(type, kinds[i].type) != 0) {
        i++;
    }
    if (i == sizeof kinds / sizeof kinds[0]) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "decoder type \"%.40s\" is not supported", type);
    }
    vlorpi_decode_step *step = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = kinds[i].kind;
    if (step->kind == VLORPI_DECODE_REPLACE) {
        VLORP_TRY(read_decode_text(t, step, value, "decoder Replace", err));
        return read_pattern(t, &step->pattern, &step->literal, value, "decoder Replace", err);
    }
    if (step->kind == VLORPI_DECODE_STRIP) {
        return read_strip(t, step, value, err);
    }
    if (step->kind == VLORPI_DECODE_METASPACE) {
        vlorpi_prepend prepend;
        const char *space;
        VLORP_TRY(read_prepend(&prepend, value, "decoder Metaspace", err));
        VLORP_TRY(read_replacement(&space, &step->n_text, value, "decoder Metaspace", err));
        step->strip_first = prepend != VLORPI_PREPEND_NEVER;
        return vlorpi_tokenizer_copy_text(t, &step->text, space, step->n_text, err);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_read_decoder(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    t->joined_by_space = value == NULL || json_is_null(value);
    return read_steps(t, value, "decoder", "decoders", read_decode, err);
}

/* --- post-processor: what is put before and after one text --- */

static vlorp_status add_special(vlorpi_tokenizer *t, const json_t *id, bool after, vlorp_err *err)
{
    int32_t checked = json_is_integer(id) ? vlorpi_tokenizer_checked_id(t, (int64_t)json_integer_value(id)) : -1;
    if (checked < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "post_processor: a special token's id is not a token");
    }
    int *n = after ? &t->n_suffix : &t->n_prefix;
    if (*n == VLORPI_TOKENIZER_MAX_SPECIAL) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "post_processor: more than %d special tokens", VLORPI_TOKENIZER_MAX_SPECIAL);
    }
    (after ? t->suffix : t->prefix)[(*n)++] = checked;
    return VLORP_OK;
}

static vlorp_status read_template(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    static const char place[] = "post_processor TemplateProcessing";
    const json_t *single;
    bool after = false;
    VLORP_TRY(vlorpi_field_list(&single, value, "single", place, err));
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence") != NULL) {
            after = true;
            continue;
        }
        const char *name;
        size_t n_name;
        VLORP_TRY(vlorpi_field_text(&name, &n_name, json_object_get(item, "SpecialToken"), "id", NULL, place, err));
        const json_t *token = json_object_get(json_object_get(value, "special_tokens"), name);
        const json_t *ids;
        VLORP_TRY(vlorpi_field_list(&ids, token, "ids", place, err));
        for (size_t k = 0; k < json_array_size(ids); k++) {
            VLORP_TRY(add_special(t, json_array_get(ids, k), after, err));
        }
    }
    return VLORP_OK;
}

static vlorp_status read_special(vlorpi_tokenizer *t, const json_t *value, const char *type, vlorp_err *err)
{
    if (strcmp(type, "TemplateProcessing") == 0) {
        return read_template(t, value, err);
    }
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        /* cls and sep are pairs of text and id. */
        VLORP_TRY(add_special(t, json_array_get(json_object_get(value, "cls"), 1), false, err));
        return add_special(t, json_array_get(json_object_get(value, "sep"), 1), true, err);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        return VLORP_OK; /* trims offsets: ours keep the spaces that a token stands for */
    }
    VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "post_processor type \"%.40s\" is not supported", type);
}

vlorp_status vlorpi_tokenizer_read_specials(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err)
{
    return read_steps(t, value, "post_processor", "processors", read_special, err);
}
