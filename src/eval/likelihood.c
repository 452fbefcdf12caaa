#include "eval/likelihood.h"

#include <assert.h>

/* What a sequence's tag says: the question, and which part of it (0: what its options share; k + 1: option k). */
enum { PARTS = VLORPI_QUESTION_MAX_OPTIONS + 1 };

typedef struct run {
    vlorpi_likelihood *scratch;
    const vlorpi_choices *choices;
    int64_t next, end; /* questions */
    int next_part;
    vlorpi_likelihoods_fn *fn;
    void *ctx;
} run;

void vlorpi_likelihood_layout(vlorpi_likelihood *likelihood, vlorpi_arena *arena, int64_t longest,
                              int64_t max_sequences)
{
    likelihood->ids = vlorpi_arena_push(arena, longest, sizeof likelihood->ids[0]);
    likelihood->n_sums = max_sequences + 1; /* each has a sequence that runs, but for the one being handed out */
    likelihood->sums = vlorpi_arena_push(arena, likelihood->n_sums, sizeof likelihood->sums[0]);
}

/* Whether there is anything to be scored in that part. */
static bool has_part(const vlorpi_choice *item, int part)
{
    return part == 0 ? item->n_prompt < item->n_common : part <= item->n_options && item->n_tail[part - 1] > 0;
}

static vlorpi_likelihood_sum *find_sum(const vlorpi_likelihood *scratch, int64_t question)
{
    for (int64_t i = 0; i < scratch->n_sums; i++) {
        if (scratch->sums[i].n_left > 0 && scratch->sums[i].question == question) {
            return &scratch->sums[i];
        }
    }
    return NULL;
}

static void begin_sum(const run *r)
{
    const vlorpi_choice *item = &r->choices->items[r->next];
    vlorpi_likelihood_sum *sum = r->scratch->sums;
    while (sum->n_left > 0) {
        sum++;
    }
    assert(sum < r->scratch->sums + r->scratch->n_sums);
    *sum = (vlorpi_likelihood_sum){.question = r->next};
    for (int part = 0; part < PARTS; part++) {
        sum->n_left += has_part(item, part);
    }
}

static vlorp_status next_sequence(void *ctx, vlorpi_sequence *sequence, bool *more, vlorp_err *err)
{
    (void)err;
    run *r = ctx;
    for (; r->next < r->end; r->next++, r->next_part = 0) {
        const vlorpi_choice *item = &r->choices->items[r->next];
        if (r->next_part == 0) {
            begin_sum(r);
        }
        while (r->next_part < PARTS && !has_part(item, r->next_part)) {
            r->next_part++;
        }
        if (r->next_part < PARTS) {
            int part = r->next_part++;
            int option = part > 0 ? part - 1 : 0;
            int64_t n = vlorpi_choices_sequence(r->choices, r->next, option, r->scratch->ids);
            *sequence = (vlorpi_sequence){.tag = r->next * PARTS + part,
                                          .ids = r->scratch->ids,
                                          .n_ids = part > 0 ? n : item->n_common,
                                          .n_prompt = part > 0 ? item->n_common + item->first[option]
                                                               : item->n_prompt};
            *more = true;
            return VLORP_OK;
        }
    }
    *more = false;
    return VLORP_OK;
}

static vlorp_status tell(const run *r, const vlorpi_likelihood_sum *sum, vlorp_err *err)
{
    const vlorpi_choice *item = &r->choices->items[sum->question];
    vlorpi_likelihoods result = {.question = sum->question, .n_options = item->n_options};
    for (int k = 0; k < item->n_options; k++) {
        result.log_likelihood[k] = sum->common + sum->tail[k];
        result.choice = result.log_likelihood[k] > result.log_likelihood[result.choice] ? k : result.choice;
    }
    return r->fn(r->ctx, &result, err);
}

static vlorp_status sequence_done(void *ctx, const vlorpi_sequence_result *result, vlorp_err *err)
{
    const run *r = ctx;
    vlorpi_likelihood_sum *sum = find_sum(r->scratch, result->tag / PARTS);
    int part = (int)(result->tag % PARTS);
    *(part > 0 ? &sum->tail[part - 1] : &sum->common) = result->log_likelihood;
    sum->n_left--;
    return sum->n_left == 0 ? tell(r, sum, err) : VLORP_OK;
}

vlorp_status vlorpi_likelihood_run(vlorpi_likelihood *likelihood, vlorpi_engine *engine, const vlorpi_choices *choices,
                                   int64_t begin, int64_t end, vlorpi_likelihoods_fn *fn, void *ctx, vlorp_err *err)
{
    for (int64_t i = 0; i < likelihood->n_sums; i++) {
        likelihood->sums[i].n_left = 0;
    }
    run r = {.scratch = likelihood, .choices = choices, .next = begin, .end = end, .fn = fn, .ctx = ctx};
    vlorpi_engine_source source = {.ctx = &r, .next = next_sequence, .done = sequence_done};
    return vlorpi_engine_run(engine, &source, err);
}
