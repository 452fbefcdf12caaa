#include "eval/choices.h"

#include <string.h>

#include "text/rendered.h"

/* What adding needs and the list does not; the buffers keep their size from question to question. */
typedef struct adding {
    vlorpi_choices *choices;
    const vlorpi_tokenizer *tokenizer;
    vlorpi_rendered rendered;
    vlorpi_tokens tokens;
    int64_t begin[VLORPI_QUESTION_MAX_OPTIONS + 1]; /* where each option's whole text stands in the ids, then the end */
    int32_t first[VLORPI_QUESTION_MAX_OPTIONS];     /* its first answer token, from there */
} adding;

/* Appends the ids of the question with that option as its answer. */
static vlorp_status encode_option(adding *a, const vlorpi_question *question, int option, vlorp_err *err)
{
    vlorpi_choices *choices = a->choices;
    vlorpi_tokens *tokens = &a->tokens;
    vlorpi_encode_options how = {.add_special = true, .parse_special = true};
    VLORP_TRY(vlorpi_question_render(&a->rendered, question, option, err));
    tokens->n = 0;
    VLORP_TRY(vlorpi_tokenizer_encode(a->tokenizer, tokens, a->rendered.bytes, a->rendered.n_bytes, how, err));
    while (tokens->n > 0 && tokens->items[tokens->n - 1].begin == tokens->items[tokens->n - 1].end) {
        tokens->n--; /* an end token that the tokenizer adds is no part of the answer */
    }
    int64_t first = 0;
    while (first < tokens->n && tokens->items[first].end <= a->rendered.spans[0].begin) {
        first++;
    }
    if (first == 0 || first == tokens->n) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the question or its answer \"%s\" is empty", question->options[option]);
    }
    VLORP_TRY(vlorpi_mem_room(choices->mem, VLORPI_MEM_DATA, &choices->ids, (size_t)(choices->n_ids + tokens->n),
                              sizeof choices->ids[0], err));
    for (int64_t t = 0; t < tokens->n; t++) {
        choices->ids[choices->n_ids++] = tokens->items[t].id;
    }
    a->first[option] = (int32_t)first;
    a->begin[option + 1] = choices->n_ids;
    return VLORP_OK;
}

/* How many ids all options begin with. */
static int32_t count_common(const adding *a, int n_options)
{
    const int32_t *ids = a->choices->ids;
    int32_t n = (int32_t)(a->begin[1] - a->begin[0]);
    for (int k = 1; k < n_options; k++) {
        int32_t same = 0;
        while (same < n && same < a->begin[k + 1] - a->begin[k] &&
               ids[a->begin[k] + same] == ids[a->begin[0] + same]) {
            same++;
        }
        n = same;
    }
    return n;
}

/* Takes the beginning of every option away, so that the longest has max_tokens. */
static vlorp_status cut(adding *a, int n_options, int64_t max_tokens, vlorp_err *err)
{
    int32_t *ids = a->choices->ids;
    int64_t n_cut = 0;
    for (int k = 0; k < n_options; k++) {
        int64_t over = a->begin[k + 1] - a->begin[k] - max_tokens;
        n_cut = over > n_cut ? over : n_cut;
    }
    for (int k = 0; k < n_options && n_cut > 0; k++) {
        if (n_cut >= a->first[k]) {
            VLORP_FAIL(err, VLORP_E_ARG, "%lld tokens have no room for an answer", (long long)max_tokens);
        }
        a->first[k] -= (int32_t)n_cut;
    }
    if (n_cut > 0) {
        int64_t to = a->begin[0];
        for (int k = 0; k < n_options; k++) {
            int64_t n = a->begin[k + 1] - a->begin[k] - n_cut;
            memmove(ids + to, ids + a->begin[k] + n_cut, (size_t)n * sizeof ids[0]);
            a->begin[k] = to;
            to += n;
        }
        a->begin[n_options] = to;
        a->choices->n_cut++;
    }
    a->choices->items[a->choices->n].is_cut = n_cut > 0;
    return VLORP_OK;
}

/* What is left to compute of the question that was just folded, when the one before is still at hand. */
static int32_t count_new(const vlorpi_choices *choices)
{
    const vlorpi_choice *item = &choices->items[choices->n];
    int32_t same = 0;
    if (choices->n > 0) {
        const vlorpi_choice *before = item - 1;
        while (same < item->n_common && same < before->n_common &&
               choices->ids[item->begin + same] == choices->ids[before->begin + same]) {
            same++;
        }
    }
    return (int32_t)(choices->n_ids - item->begin) - same;
}

/* Turns the whole texts of all options into common ids and tails. */
static void fold(adding *a, int n_options)
{
    vlorpi_choices *choices = a->choices;
    vlorpi_choice *item = &choices->items[choices->n];
    int32_t n_common = count_common(a, n_options);
    item->begin = a->begin[0];
    item->n_common = n_common;
    item->n_prompt = n_common;
    item->n_options = n_options;
    int64_t to = a->begin[0] + n_common;
    for (int k = 0; k < n_options; k++) {
        int64_t n = a->begin[k + 1] - a->begin[k] - n_common;
        memmove(choices->ids + to, choices->ids + a->begin[k] + n_common, (size_t)n * sizeof choices->ids[0]);
        to += n;
        choices->longest = n_common + n > choices->longest ? n_common + n : choices->longest;
        item->n_tail[k] = (int32_t)n;
        item->first[k] = a->first[k] > n_common ? a->first[k] - n_common : 0;
        item->n_prompt = a->first[k] < item->n_prompt ? a->first[k] : item->n_prompt;
    }
    choices->n_ids = to;
    item->n_new = count_new(choices);
}

static vlorp_status add_question(adding *a, const vlorpi_question *question, int64_t max_tokens, vlorp_err *err)
{
    a->begin[0] = a->choices->n_ids;
    for (int k = 0; k < question->n_options; k++) {
        VLORP_TRY(encode_option(a, question, k, err));
    }
    VLORP_TRY(cut(a, question->n_options, max_tokens, err));
    fold(a, question->n_options);
    a->choices->n++;
    return VLORP_OK;
}

vlorp_status vlorpi_choices_add(vlorpi_choices *choices, const vlorpi_tokenizer *tokenizer,
                                const vlorpi_question_set *set, int64_t begin, int64_t end, int64_t max_tokens,
                                vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(choices->mem, VLORPI_MEM_DATA, &choices->items, (size_t)(choices->n + end - begin),
                              sizeof choices->items[0], err));
    adding a = {.choices = choices, .tokenizer = tokenizer, .rendered = {.mem = choices->mem},
                .tokens = {.mem = choices->mem}};
    vlorp_status status = VLORP_OK;
    for (int64_t i = begin; i < end && status == VLORP_OK; i++) {
        vlorpi_question question;
        vlorpi_question_set_get(set, i, &question);
        status = add_question(&a, &question, max_tokens, err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "question %lld", (long long)i + 1);
        }
    }
    vlorpi_tokens_deinit(&a.tokens);
    vlorpi_rendered_deinit(&a.rendered);
    return status;
}

vlorp_status vlorpi_choices_trim(vlorpi_choices *choices, vlorp_err *err)
{
    size_t ids_bytes = (size_t)choices->n_ids * sizeof choices->ids[0];
    size_t items_bytes = (size_t)choices->n * sizeof choices->items[0];
    int32_t *ids = vlorpi_mem_realloc(choices->mem, VLORPI_MEM_DATA, choices->ids, ids_bytes);
    if (ids == NULL) {
        return vlorpi_mem_fail(choices->mem, VLORPI_MEM_DATA, ids_bytes, err);
    }
    choices->ids = ids;
    vlorpi_choice *items = vlorpi_mem_realloc(choices->mem, VLORPI_MEM_DATA, choices->items, items_bytes);
    if (items == NULL) {
        return vlorpi_mem_fail(choices->mem, VLORPI_MEM_DATA, items_bytes, err);
    }
    choices->items = items;
    return VLORP_OK;
}

void vlorpi_choices_deinit(vlorpi_choices *choices)
{
    vlorpi_mem_free(choices->mem, choices->ids);
    vlorpi_mem_free(choices->mem, choices->items);
    *choices = (vlorpi_choices){0};
}

int64_t vlorpi_choices_sequence(const vlorpi_choices *choices, int64_t i, int option, int32_t *ids)
{
    const vlorpi_choice *item = &choices->items[i];
    const int32_t *from = choices->ids + item->begin;
    memcpy(ids, from, (size_t)item->n_common * sizeof ids[0]);
    from += item->n_common;
    for (int k = 0; k < option; k++) {
        from += item->n_tail[k];
    }
    memcpy(ids + item->n_common, from, (size_t)item->n_tail[option] * sizeof ids[0]);
    return item->n_common + item->n_tail[option];
}
