#include "eval/complete.h"

#include <assert.h>
#include <string.h>

#include "eval/text_stream.h"
#include "text/rendered.h"

/* A text that is being made. */
typedef struct place {
    bool busy;
    vlorpi_completion_request request;
    vlorpi_text_sink sink;
    vlorpi_text_stream stream;
    vlorpi_rendered text;
    bool stopped;
    size_t n_answer; /* bytes before the stop text, once that is there */
} place;

typedef struct run {
    const vlorpi_completion_source *source;
    const vlorpi_tokenizer *tokenizer;
    vlorpi_mem *mem;
    place *places; /* [n_places] */
    int64_t n_places;
} run;

static vlorp_status write_text(void *ctx, const char *text, size_t n_bytes, vlorp_err *err)
{
    place *p = ctx;
    return vlorpi_rendered_append(&p->text, text, n_bytes, err);
}

/* Looks for the stop text where it may have come about since the text had n_before bytes. */
static void look_for_stop(place *p, size_t n_before)
{
    size_t n = p->request.stop != NULL ? strlen(p->request.stop) : 0;
    size_t from = n_before > n ? n_before - n : 0;
    for (size_t at = from; n > 0 && !p->stopped && at + n <= p->text.n_bytes; at++) {
        if (memcmp(p->text.bytes + at, p->request.stop, n) == 0) {
            p->stopped = true;
            p->n_answer = at;
        }
    }
}

static vlorp_status next(void *ctx, vlorpi_sequence *sequence, bool *more, vlorp_err *err)
{
    run *r = ctx;
    int64_t i = 0;
    while (i < r->n_places && r->places[i].busy) {
        i++;
    }
    assert(i < r->n_places && "one more than the engine runs: the next waits there");
    place *p = &r->places[i];
    VLORP_TRY(r->source->next(r->source->ctx, &p->request, more, err));
    if (*more) {
        p->busy = true;
        p->stopped = false;
        p->sink = (vlorpi_text_sink){.write = write_text, .ctx = p};
        p->stream = vlorpi_text_stream_begin(r->tokenizer, r->mem, &p->sink, p->request.n_ids);
        vlorpi_rendered_clear(&p->text);
        *sequence = (vlorpi_sequence){.tag = i,
                                      .ids = p->request.ids,
                                      .n_ids = p->request.n_ids,
                                      .n_prompt = p->request.n_ids,
                                      .max_new_tokens = p->request.max_new_tokens};
    }
    return VLORP_OK;
}

static vlorp_status token(void *ctx, int64_t tag, const int32_t *ids, int64_t n, bool *stop, vlorp_err *err)
{
    const run *r = ctx;
    place *p = &r->places[tag];
    size_t n_before = p->text.n_bytes;
    if (r->source->check != NULL) {
        VLORP_TRY(r->source->check(r->source->ctx, err));
    }
    VLORP_TRY(vlorpi_text_stream_push(&p->stream, ids, n, err));
    look_for_stop(p, n_before);
    *stop = p->stopped;
    return VLORP_OK;
}

static vlorp_status done(void *ctx, const vlorpi_sequence_result *result, vlorp_err *err)
{
    const run *r = ctx;
    place *p = &r->places[result->tag];
    VLORP_TRY(vlorpi_text_stream_end(&p->stream, result->ids, result->n_ids + result->n_new, err));
    p->busy = false;
    vlorpi_completion completion = {.tag = p->request.tag,
                                    .text = p->text.n_bytes > 0 ? p->text.bytes : "",
                                    .n_bytes = p->stopped ? p->n_answer : p->text.n_bytes,
                                    .n_new = result->n_new,
                                    .n_shared = result->n_shared,
                                    .finish = result->finish};
    return r->source->done(r->source->ctx, &completion, err);
}

vlorp_status vlorpi_complete(vlorpi_engine *engine, const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem,
                             const vlorpi_completion_source *source, vlorp_err *err)
{
    run r = {.source = source, .tokenizer = tokenizer, .mem = mem, .n_places = engine->limits.max_sequences + 1};
    r.places = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, (size_t)r.n_places, sizeof *r.places);
    if (r.places == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, (size_t)r.n_places * sizeof *r.places, err);
    }
    for (int64_t i = 0; i < r.n_places; i++) {
        r.places[i].text.mem = mem;
    }
    vlorpi_engine_source sequences = {.ctx = &r, .next = next, .done = done, .token = token, .tokenizer = tokenizer};
    vlorp_status status = vlorpi_engine_run(engine, &sequences, err);
    for (int64_t i = 0; i < r.n_places; i++) {
        vlorpi_rendered_deinit(&r.places[i].text);
    }
    vlorpi_mem_free(mem, r.places);
    return status;
}
