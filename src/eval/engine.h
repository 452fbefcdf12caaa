/* engine.h - many token sequences at once over one key-value cache: what follows a prompt is scored, or generated.
 *
 * Layer 5.  Knows: the model's cached passes, sampling.  Does not know: text, tasks.
 *
 * Sequences come from a source one after the other and run together; a place that becomes free takes the next one,
 * so that passes stay full.  What a sequence has in common with the beginning of one that runs, or that ended lately,
 * is neither computed nor stored again.  Nobody has to say which prompts begin alike: it is enough to hand out such
 * sequences one after the other, the options of a question, the questions that share their examples.
 */
#ifndef VLORPI_EVAL_ENGINE_H
#define VLORPI_EVAL_ENGINE_H

#include "eval/loaded_model.h"
#include "eval/sample.h"

typedef struct vlorpi_engine_limits {
    int64_t max_sequences; /* running at once */
    int64_t max_positions; /* of one sequence, what is generated included; at most the model's */
    int64_t cache_tokens;  /* of all of them, shared beginnings counted once; at least max_positions */
    int64_t pass_tokens;   /* computed at once: bounds the activations; at least max_sequences */
} vlorpi_engine_limits;

/* ids[0 .. n_prompt) are given, ids[n_prompt .. n_ids) are scored, up to max_new_tokens are generated after them. */
typedef struct vlorpi_sequence {
    int64_t tag;        /* the caller's */
    const int32_t *ids; /* [n_ids], borrowed until the source is asked again */
    int64_t n_ids;
    int64_t n_prompt;   /* 1 .. n_ids */
    int64_t max_new_tokens;
    vlorpi_sampling sampling; /* all zero: greedy */
    uint64_t first_draw;      /* number of the first token drawn: where the random numbers stand */
} vlorpi_sequence;

typedef enum vlorpi_finish {
    VLORPI_FINISH_END,     /* the model said so */
    VLORPI_FINISH_LENGTH,  /* nothing is left to score, or max_new_tokens */
    VLORPI_FINISH_CONTEXT, /* there are no more positions */
    VLORPI_FINISH_STOPPED  /* the source said so */
} vlorpi_finish;

typedef struct vlorpi_sequence_result {
    int64_t tag;
    double log_likelihood; /* nats, of the scored tokens together */
    bool greedy;           /* each of them is the likeliest there, the lowest id among equals */
    const int32_t *ids;    /* [n_ids + n_new] valid during the call */
    int64_t n_ids, n_new;  /* given and generated; the end token is not counted */
    int64_t n_shared;      /* tokens that were in the cache already */
    vlorpi_finish finish;
} vlorpi_sequence_result;

typedef struct vlorpi_engine_source {
    void *ctx;
    /* The next sequence; *more false: there is none. */
    vlorp_status (*next)(void *ctx, vlorpi_sequence *sequence, bool *more, vlorp_err *err);
    /* A sequence has ended; in the order of ending, not of starting. */
    vlorp_status (*done)(void *ctx, const vlorpi_sequence_result *result, vlorp_err *err);
    /* After each generated token, the last of ids [n]: *stop ends the sequence.  NULL: nobody looks. */
    vlorp_status (*token)(void *ctx, int64_t tag, const int32_t *ids, int64_t n, bool *stop, vlorp_err *err);
    /* Before each token: true ends the sequence without it.  NULL: nobody stops it. */
    bool (*wants_stop)(void *ctx);
    const vlorpi_tokenizer *tokenizer; /* whose end tokens end what is generated; NULL: none does */
} vlorpi_engine_source;

/* A sequence that runs, or one that ended and whose tokens are still in the cache. */
typedef struct vlorpi_engine_slot {
    int32_t *ids;  /* [max_positions] */
    int32_t *rows; /* [max_positions] of the cache, for the first n_cached tokens */
    int64_t n, n_cached;
    int64_t n_given, n_prompt, n_shared;
    int64_t n_most;  /* tokens that it may have in the end */
    bool cut;        /* max_new_tokens are more than that */
    int64_t n_fresh; /* the first token whose stream the last pass holds, of those that something is wanted of */
    int32_t drawn;   /* the likeliest token behind the last, or -1 */
    int64_t tag;
    vlorpi_sampling sampling;
    uint64_t draw;
    double log_likelihood;
    bool greedy;
    bool running;
    int64_t ended; /* when, in passes */
} vlorpi_engine_slot;

/* Fields are read-only to others.  Zero-initialised storage is closed. */
typedef struct vlorpi_engine {
    vlorpi_model *model;           /* borrowed */
    const vlorpi_kernels *kernels; /* borrowed */
    vlorpi_engine_limits limits;
    int64_t V;
    vlorpi_engine_slot *slots; /* [max_sequences] */
    int32_t *free_rows;        /* [cache_tokens] a stack of n_free */
    int64_t n_free;
    int64_t n_reserved;        /* rows that running sequences may still take */
    int32_t *row_users;        /* [cache_tokens] sequences that hold the row */
    int64_t *row_serial;       /* [cache_tokens] number of the token that filled it, counted through all passes */
    int64_t serial, pass_serial; /* of the next token, and of the pass's first */
    int64_t n_passes;
    vlorpi_cached_segment *segments; /* [max_sequences] of the pass */
    int64_t n_segments;
    /* what is wanted of the pass [pass_tokens]: of a token of it, with a target, for a position of a slot */
    int32_t *want_tokens, *want_targets, *want_slots, *want_positions, *want_best;
    float *want_losses;
    int64_t n_wants;
    float *logits; /* [V] of a token that is sampled */
    void *scratch;
    vlorpi_mem *mem; /* of _open: owner of arena */
    vlorpi_arena arena;
} vlorpi_engine;

/* What the model must be laid out for; a model that is used otherwise too takes the larger of each field. */
vlorpi_model_usage vlorpi_engine_usage(const vlorpi_engine_limits *limits);
/* Places the engine's arrays; over a counting arena that is their plan.  The model must be laid out when it
 * runs, and nothing is allocated then. */
void vlorpi_engine_layout(vlorpi_engine *engine, vlorpi_model *model, const vlorpi_kernels *kernels,
                          const vlorpi_engine_limits *limits, vlorpi_arena *arena);
/* Lays out loaded (it must not be yet) and the engine, WORKSPACE.  Owner: the caller, _close; on an error there is nothing
 * to close. */
VLORP_CHECKED vlorp_status vlorpi_engine_open(vlorpi_engine *engine, vlorpi_loaded_model *loaded,
                                              const vlorpi_kernels *kernels, const vlorpi_engine_limits *limits,
                                              vlorp_err *err);
void vlorpi_engine_close(vlorpi_engine *engine);

/* Empties the cache: after the weights have changed. */
void vlorpi_engine_forget(vlorpi_engine *engine);

/* Runs all sequences of the source.
 * Errors: E_ARG for an empty prompt or a sequence that leaves no room; E_NUMERIC for logits that are not finite; E_SHAPE
 * for ids outside the vocabulary; the source's.  After an error the engine can be used again. */
VLORP_CHECKED vlorp_status vlorpi_engine_run(vlorpi_engine *engine, const vlorpi_engine_source *source,
                                             vlorp_err *err);

#endif
