/* choices.h - questions with a list of answers, as the token sequences whose likelihoods decide.
 *
 * Layer 5.  Knows: questions, the tokenizer.  Does not know: models.
 *
 * Prompt and answer are tokenised together, as in training; the answer's tokens are those that hold at least one byte
 * of it.  What all options of a question have in common is kept once.
 */
#ifndef VLORPI_EVAL_CHOICES_H
#define VLORPI_EVAL_CHOICES_H

#include "data/question_set.h"
#include "text/tokenizer.h"

/* One question: ids [n_common], then the tails of the options one after the other. */
typedef struct vlorpi_choice {
    int64_t begin;   /* in the list of all ids */
    int32_t n_common;
    int32_t n_prompt; /* <= n_common: answer tokens that all options share follow it */
    int32_t n_new;    /* tokens of all options that the question before does not begin with: what it takes to compute */
    int32_t n_options;
    int32_t n_tail[VLORPI_QUESTION_MAX_OPTIONS];
    int32_t first[VLORPI_QUESTION_MAX_OPTIONS]; /* first token of the option that is scored behind the common ones */
    bool is_cut;     /* its beginning did not fit the model's positions */
} vlorpi_choice;

/* Zero-initialise, mem set; _deinit.  Memory: DATA. */
typedef struct vlorpi_choices {
    vlorpi_mem *mem;
    int32_t *ids; /* [n_ids] */
    int64_t n_ids;
    vlorpi_choice *items; /* [n] */
    int64_t n;
    int64_t longest; /* tokens of the longest option's text */
    int64_t n_cut;
} vlorpi_choices;

/* Tokenises question [begin, end) of a set and appends them.  A text of more than max_tokens loses its beginning.
 * Errors: E_ARG when the answers alone are longer; E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_choices_add(vlorpi_choices *choices, const vlorpi_tokenizer *tokenizer,
                                              const vlorpi_question_set *set, int64_t begin, int64_t end,
                                              int64_t max_tokens, vlorp_err *err);
/* Gives back what is not used. */
VLORP_CHECKED vlorp_status vlorpi_choices_trim(vlorpi_choices *choices, vlorp_err *err);
void vlorpi_choices_deinit(vlorpi_choices *choices);

/* Writes the ids of an option's whole text; room for longest.  Returns their number. */
int64_t vlorpi_choices_sequence(const vlorpi_choices *choices, int64_t i, int option, int32_t *ids);

#endif
