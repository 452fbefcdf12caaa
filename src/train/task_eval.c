#include "train/task_eval.h"

#include <string.h>

#include "eval/task_generation.h"

enum { MAX_SEQUENCES = 32 };

static int64_t max2(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min2(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* An upper estimate of what prompts and answers of at most n_tokens take while they are written. */
static size_t room_for_texts(int64_t n_tokens)
{
    enum { TOKEN_BYTES = 32, PROMPT_TOKEN_BYTES = 256, FIXED_BYTES = 1 << 16 };
    return FIXED_BYTES + (size_t)n_tokens * (PROMPT_TOKEN_BYTES + TOKEN_BYTES * (MAX_SEQUENCES + 1));
}

static vlorp_status book_texts(vlorpi_task_eval *eval, vlorp_err *err)
{
    size_t n_bytes = 0;
    for (int i = 0; i < eval->n_runs; i++) {
        n_bytes = eval->runs[i].by_generation ? room_for_texts(eval->longest) : n_bytes;
    }
    if (!vlorpi_mem_book(eval->mem, VLORPI_MEM_DATA, n_bytes)) {
        return vlorpi_mem_fail(eval->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    eval->text_bytes = n_bytes;
    return VLORP_OK;
}

vlorp_status vlorpi_task_eval_open(vlorpi_task_eval *eval, vlorpi_mem *mem, const vlorpi_tokenizer *tokenizer,
                                   const vlorpi_task_eval_settings *settings, vlorp_err *err)
{
    vlorpi_task_settings how = {.data_dir = settings->data_dir, .limit = settings->limit};
    *eval = (vlorpi_task_eval){.mem = mem, .tokenizer = tokenizer, .longest = 2};
    for (int i = 0; i < vlorpi_task_table_rows; i++) {
        if ((settings->tasks >> i & 1u) != 0) {
            vlorpi_task_run *run = &eval->runs[eval->n_runs];
            VLORP_TRY(vlorpi_task_run_open(run, mem, &vlorpi_task_table[i], &how, err));
            eval->n_runs++;
            int64_t longest;
            VLORP_TRY(vlorpi_task_run_measure(&longest, run, tokenizer, 0, settings->max_tokens, err));
            eval->longest = max2(eval->longest, longest);
        }
    }
    return book_texts(eval, err);
}

void vlorpi_task_eval_close(vlorpi_task_eval *eval)
{
    for (int i = 0; i < eval->n_runs; i++) {
        vlorpi_task_run_close(&eval->runs[i]);
    }
    if (eval->text_bytes > 0) {
        vlorpi_mem_unbook(eval->mem, VLORPI_MEM_DATA, eval->text_bytes);
    }
    memset(eval, 0, sizeof *eval);
}

/* The engine that fits in passes of n_tokens. */
static vlorpi_engine_limits limits_for(const vlorpi_task_eval *eval, int64_t n_tokens)
{
    return (vlorpi_engine_limits){.max_sequences = min2(MAX_SEQUENCES, n_tokens),
                                  .max_positions = eval->longest,
                                  .cache_tokens = 2 * (eval->longest + n_tokens),
                                  .pass_tokens = n_tokens};
}

void vlorpi_task_eval_widen(const vlorpi_task_eval *eval, vlorpi_model_usage *usage)
{
    if (eval->n_runs > 0) {
        vlorpi_engine_limits limits = limits_for(eval, usage->max_tokens);
        vlorpi_model_usage wanted = vlorpi_engine_usage(&limits);
        usage->max_segments = max2(usage->max_segments, wanted.max_segments);
        usage->max_positions = max2(usage->max_positions, wanted.max_positions);
        usage->cache_tokens = wanted.cache_tokens;
    }
}

void vlorpi_task_eval_layout(vlorpi_task_eval *eval, vlorpi_model *model, const vlorpi_kernels *kernels,
                             const vlorpi_model_usage *usage, vlorpi_arena *arena)
{
    if (eval->n_runs > 0) {
        vlorpi_engine_limits limits = limits_for(eval, usage->max_tokens);
        vlorpi_engine_layout(&eval->engine, model, kernels, &limits, arena);
        vlorpi_likelihood_layout(&eval->likelihood, arena, eval->longest, limits.max_sequences);
    }
}

static vlorp_status count_answer(void *ctx, const vlorpi_task_run *run, const vlorpi_task_answer *answer,
                                 vlorp_err *err)
{
    (void)run;
    (void)err;
    vlorpi_task_run_count(ctx, answer->question, answer->is_correct, answer->is_near);
    return VLORP_OK;
}

static vlorp_status generate(vlorpi_task_eval *eval, vlorpi_task_run *run, vlorp_err *err)
{
    size_t n_bytes = eval->text_bytes;
    vlorpi_mem_unbook(eval->mem, VLORPI_MEM_DATA, n_bytes);
    eval->text_bytes = 0;
    VLORP_TRY(vlorpi_task_run_generation(run, &eval->engine, eval->tokenizer, 0, count_answer, run, err));
    if (!vlorpi_mem_book(eval->mem, VLORPI_MEM_DATA, n_bytes)) {
        return vlorpi_mem_fail(eval->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    eval->text_bytes = n_bytes;
    return VLORP_OK;
}

vlorp_status vlorpi_task_eval_answer(vlorpi_task_eval *eval, const volatile sig_atomic_t *stop, vlorp_err *err)
{
    if (eval->n_runs > 0) {
        vlorpi_engine_forget(&eval->engine); /* its keys and values are of older weights */
    }
    for (int i = 0; i < eval->n_runs; i++) {
        vlorpi_task_run *run = &eval->runs[i];
        vlorpi_task_run_reset(run);
        run->stop = stop;
        VLORP_TRY(run->by_generation
                      ? generate(eval, run, err)
                      : vlorpi_task_run_likelihood(run, &eval->likelihood, &eval->engine, count_answer, run, err));
    }
    return VLORP_OK;
}
