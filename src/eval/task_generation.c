#include "eval/task_generation.h"

#include <stdio.h>
#include <string.h>

#include "eval/answer_extract.h"

/* LLM-Adapters' commonsense evaluation makes 32 tokens and takes what stands before a second "### Response:"; GSM8K's
 * solutions have at most some 400 tokens, and the common harness ends them where the next question begins.  A letter is the
 * first thing that is written or none; a few tokens more tell a near miss. */
vlorpi_generation_rule vlorpi_generation_rule_of(vlorpi_question_kind kind)
{
    switch (kind) {
    case VLORPI_QUESTION_LABELS: return (vlorpi_generation_rule){.max_new_tokens = 32, .stop = "### Response:"};
    case VLORPI_QUESTION_LETTERS: return (vlorpi_generation_rule){.max_new_tokens = 8};
    case VLORPI_QUESTION_FREE: break;
    }
    return (vlorpi_generation_rule){.max_new_tokens = 400, .stop = "Question:"};
}

/* --- right or wrong --- */

/* Where lead begins in text from byte `from` on; the text's end: nowhere. */
static size_t find(vlorpi_bytes text, size_t from, const char *lead)
{
    size_t n = strlen(lead);
    for (size_t at = from; at + n <= text.n_bytes; at++) {
        if (memcmp(text.text + at, lead, n) == 0) {
            return at;
        }
    }
    return text.n_bytes;
}

/* "Answer2: " as the instruction of a commonsense question introduces it. */
static void write_lead(char *lead, size_t n_bytes, const char *label)
{
    (void)snprintf(lead, n_bytes, "%s: ", label);
    lead[0] = (char)(lead[0] >= 'a' && lead[0] <= 'z' ? lead[0] - 'a' + 'A' : lead[0]);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What the instruction says the right label stands for: "make a new plan"; true and false stand for nothing. */
static vlorpi_written words_of_label(const vlorpi_question *question)
{
    char lead[VLORPI_QUESTION_OPTION_BYTES + 4];
    vlorpi_bytes instruction = question->record.fields[0];
    write_lead(lead, sizeof lead, vlorpi_question_label(question, question->answer));
    size_t begin = find(instruction, 0, lead);
    if (begin == instruction.n_bytes) {
        return (vlorpi_written){NULL, 0};
    }
    begin += strlen(lead);
    size_t end = min_size(find(instruction, begin, "\n"), find(instruction, begin, " Answer format: "));
    if (question->answer + 1 < question->n_options) {
        write_lead(lead, sizeof lead, vlorpi_question_label(question, question->answer + 1));
        end = min_size(end, find(instruction, begin, lead));
    }
    return (vlorpi_written){.text = instruction.text + begin, .n_bytes = end - begin};
}

static void judge_label(vlorpi_task_answer *answer, const vlorpi_question *question, vlorpi_written written)
{
    const char *right = vlorpi_question_label(question, question->answer);
    const char *found = vlorpi_answer_label(written, right);
    for (int k = 0; found != NULL && k < question->n_options; k++) {
        if (strcmp(found, vlorpi_question_label(question, k)) == 0) {
            answer->choice = k;
        }
    }
    if (found != NULL) {
        answer->found = (vlorpi_bytes){.text = found, .n_bytes = strlen(found)};
    }
    answer->is_correct = answer->choice == question->answer;
    answer->is_near = !answer->is_correct && vlorpi_answer_label_near(written, right, words_of_label(question));
}

/* The field of the record that the right letter names. */
static vlorpi_written words_of_letter(const vlorpi_question *question)
{
    const vlorpi_form_traits *form = vlorpi_form_of(question->record.form);
    const char *letter = vlorpi_question_label(question, question->answer);
    for (int i = 0; i < form->n_fields; i++) {
        if (strcmp(form->fields[i], letter) == 0) {
            return (vlorpi_written){.text = question->record.fields[i].text,
                                    .n_bytes = question->record.fields[i].n_bytes};
        }
    }
    return (vlorpi_written){NULL, 0};
}

static void judge_letter(vlorpi_task_answer *answer, const vlorpi_question *question, vlorpi_written written)
{
    char letter = vlorpi_answer_letter(written);
    if (letter != '\0') {
        answer->choice = letter - 'A';
        const char *label = vlorpi_question_label(question, answer->choice);
        answer->found = (vlorpi_bytes){.text = label, .n_bytes = strlen(label)};
    }
    answer->is_correct = answer->choice == question->answer;
    answer->is_near = !answer->is_correct && vlorpi_answer_letter_near(written, (char)('A' + question->answer),
                                                                       words_of_letter(question));
}

static void judge_number(vlorpi_task_answer *answer, char number[VLORPI_NUMBER_BYTES],
                         const vlorpi_question *question, vlorpi_written written)
{
    char right[VLORPI_NUMBER_BYTES];
    vlorpi_bytes reference = vlorpi_question_reference(question);
    size_t n_right =
        vlorpi_answer_number(right, (vlorpi_written){.text = reference.text, .n_bytes = reference.n_bytes});
    size_t n = vlorpi_answer_number(number, written);
    answer->found = (vlorpi_bytes){.text = number, .n_bytes = n};
    answer->is_correct = n > 0 && n == n_right && memcmp(number, right, n) == 0;
    answer->is_near = !answer->is_correct && n_right > 0 && vlorpi_answer_number_near(written, right);
}

/* --- prompts and answers --- */

typedef struct run {
    const vlorpi_task_run *task_run;
    const vlorpi_tokenizer *tokenizer;
    vlorpi_generation_rule rule;
    int64_t max_prompt; /* tokens */
    int64_t next;       /* question */
    vlorpi_task_answer_fn *fn;
    void *ctx;
    vlorpi_rendered rendered;
    vlorpi_tokens tokens;
    int32_t *ids; /* [max_prompt] */
} run;

static vlorp_status encode_prompt(run *r, int64_t question, vlorp_err *err)
{
    vlorpi_question q;
    vlorpi_tokens *tokens = &r->tokens;
    vlorpi_encode_options how = {.add_special = true, .parse_special = true};
    vlorpi_question_set_get(r->task_run->set, question, &q);
    VLORP_TRY(vlorpi_question_render(&r->rendered, &q, -1, err));
    tokens->n = 0;
    VLORP_TRY(vlorpi_tokenizer_encode(r->tokenizer, tokens, r->rendered.bytes, r->rendered.n_bytes, how, err));
    while (tokens->n > 1 && tokens->items[tokens->n - 1].begin == tokens->items[tokens->n - 1].end) {
        tokens->n--; /* an end token that the tokenizer adds would end the answer before it begins */
    }
    return VLORP_OK;
}

static vlorp_status next(void *ctx, vlorpi_completion_request *request, bool *more, vlorp_err *err)
{
    run *r = ctx;
    *more = r->next < r->task_run->n;
    if (!*more) {
        return VLORP_OK;
    }
    VLORP_TRY(encode_prompt(r, r->next, err));
    int64_t n_cut = r->tokens.n > r->max_prompt ? r->tokens.n - r->max_prompt : 0;
    for (int64_t t = n_cut; t < r->tokens.n; t++) {
        r->ids[t - n_cut] = r->tokens.items[t].id;
    }
    *request = (vlorpi_completion_request){.tag = 2 * r->next++ + (n_cut > 0), /* see done */
                                           .ids = r->ids,
                                           .n_ids = r->tokens.n - n_cut,
                                           .max_new_tokens = r->rule.max_new_tokens,
                                           .stop = r->rule.stop};
    return VLORP_OK;
}

static vlorp_status done(void *ctx, const vlorpi_completion *completion, vlorp_err *err)
{
    const run *r = ctx;
    char number[VLORPI_NUMBER_BYTES];
    vlorpi_question question;
    int64_t index = completion->tag / 2;
    vlorpi_question_set_get(r->task_run->set, index, &question);
    vlorpi_task_answer answer = {.question = index,
                                 .choice = -1,
                                 .is_cut = completion->tag % 2 == 1,
                                 .text = {.text = completion->text, .n_bytes = completion->n_bytes}};
    vlorpi_written written = {.text = completion->text, .n_bytes = completion->n_bytes};
    switch (r->task_run->task->kind) {
    case VLORPI_QUESTION_LABELS: judge_label(&answer, &question, written); break;
    case VLORPI_QUESTION_LETTERS: judge_letter(&answer, &question, written); break;
    case VLORPI_QUESTION_FREE: judge_number(&answer, number, &question, written); break;
    }
    return r->fn(r->ctx, r->task_run, &answer, err);
}

static vlorp_status check(void *ctx, vlorp_err *err)
{
    const run *r = ctx;
    return vlorpi_task_run_check_stop(r->task_run, err);
}

static run begin_run(const vlorpi_task_run *task_run, const vlorpi_tokenizer *tokenizer, int64_t max_new_tokens,
                     int64_t max_tokens)
{
    run r = {.task_run = task_run,
             .tokenizer = tokenizer,
             .rule = vlorpi_generation_rule_of(task_run->task->kind),
             .next = task_run->n_done,
             .rendered = {.mem = task_run->mem},
             .tokens = {.mem = task_run->mem}};
    r.rule.max_new_tokens = max_new_tokens > 0 ? max_new_tokens : r.rule.max_new_tokens;
    r.max_prompt = max_tokens - r.rule.max_new_tokens > 1 ? max_tokens - r.rule.max_new_tokens : 1;
    return r;
}

static void end_run(run *r)
{
    vlorpi_mem_free(r->task_run->mem, r->ids);
    vlorpi_rendered_deinit(&r->rendered);
    vlorpi_tokens_deinit(&r->tokens);
}

/* Counts the prompts that lose their beginning, and returns through *longest the longest text with its answer. */
static vlorp_status measure_prompts(int64_t *longest, vlorpi_task_run *task_run, const vlorpi_tokenizer *tokenizer,
                                    int64_t max_new_tokens, int64_t max_tokens, vlorp_err *err)
{
    run r = begin_run(task_run, tokenizer, max_new_tokens, max_tokens);
    vlorp_status status = VLORP_OK;
    int64_t n_prompt = 1;
    task_run->choices.n_cut = 0;
    for (; r.next < task_run->n && status == VLORP_OK; r.next++) {
        status = encode_prompt(&r, r.next, err);
        n_prompt = r.tokens.n > n_prompt ? r.tokens.n : n_prompt;
        task_run->choices.n_cut += r.tokens.n > r.max_prompt;
    }
    int64_t n = n_prompt + r.rule.max_new_tokens;
    *longest = n < max_tokens ? n : max_tokens;
    end_run(&r);
    return status;
}

vlorp_status vlorpi_task_run_measure(int64_t *longest, vlorpi_task_run *task_run, const vlorpi_tokenizer *tokenizer,
                                     int64_t max_new_tokens, int64_t max_tokens, vlorp_err *err)
{
    if (task_run->by_generation) {
        return measure_prompts(longest, task_run, tokenizer, max_new_tokens, max_tokens, err);
    }
    VLORP_TRY(vlorpi_task_run_encode(task_run, tokenizer, max_tokens, err));
    *longest = task_run->choices.longest;
    return VLORP_OK;
}

vlorp_status vlorpi_task_run_generation(const vlorpi_task_run *task_run, vlorpi_engine *engine,
                                        const vlorpi_tokenizer *tokenizer, int64_t max_new_tokens,
                                        vlorpi_task_answer_fn *fn, void *ctx, vlorp_err *err)
{
    run r = begin_run(task_run, tokenizer, max_new_tokens, engine->limits.max_positions);
    r.fn = fn;
    r.ctx = ctx;
    size_t n_bytes = (size_t)r.max_prompt * sizeof r.ids[0];
    r.ids = vlorpi_mem_alloc(task_run->mem, VLORPI_MEM_DATA, n_bytes);
    if (r.ids == NULL) {
        end_run(&r);
        return vlorpi_mem_fail(task_run->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    vlorpi_completion_source source = {.ctx = &r, .next = next, .done = done, .check = check};
    vlorp_status status = vlorpi_complete(engine, tokenizer, task_run->mem, &source, err);
    end_run(&r);
    return status;
}
