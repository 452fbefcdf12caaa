#include "train/notches.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SMALLEST_BUDGET = 16, SMALLEST_LENGTH = 32 };

static bool lower_checkpointing(vlorpi_train_settings *s, const vlorpi_job *job)
{
    if (job->sizes.activation_checkpointing) {
        return false;
    }
    s->activation_checkpointing = VLORPI_YES;
    return true;
}

static void restore_checkpointing(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->activation_checkpointing = from->activation_checkpointing;
}

static void print_checkpointing(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    if (s->activation_checkpointing != VLORPI_CHOOSE &&
        (asked == NULL || s->activation_checkpointing != asked->activation_checkpointing)) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--%sactivation_checkpointing",
                       s->activation_checkpointing == VLORPI_YES ? "" : "no_");
    }
}

static int64_t longest_example(const vlorpi_job *job)
{
    int64_t longest = job->data_report.longest > job->held_report.longest ? job->data_report.longest
                                                                          : job->held_report.longest;
    return job->data == NULL || longest > job->sizes.max_length ? job->sizes.max_length : longest;
}

static bool lower_batch(vlorpi_train_settings *s, const vlorpi_job *job)
{
    int64_t longest = longest_example(job);
    if (vlorpi_optimizer_at_once(s->optimizer)) {
        return false; /* its step is one micro-batch */
    }
    if (s->micro_tokens != VLORPI_AUTO) {
        if (s->micro_tokens <= longest) {
            return false;
        }
        s->micro_tokens = s->micro_tokens / 2 > longest ? s->micro_tokens / 2 : longest;
        return true;
    }
    int64_t n = s->batch_size;
    if (n == VLORPI_AUTO) { /* as many as fill the micro-batch: of the longest that is fewer than may be in it */
        int64_t filling = (job->sizes.micro_tokens + longest - 1) / longest;
        n = filling < job->sizes.max_examples ? filling : job->sizes.max_examples;
    }
    if (n <= 1 || job->sizes.max_examples <= 1) {
        return false;
    }
    s->batch_size = 1;
    while (2 * s->batch_size < n) {
        s->batch_size *= 2;
    }
    return true;
}

static void restore_batch(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->batch_size = from->batch_size;
    s->micro_tokens = from->micro_tokens;
}

static void print_batch(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    bool examples = s->batch_size != VLORPI_AUTO && (asked == NULL || s->batch_size != asked->batch_size);
    bool tokens = s->micro_tokens != VLORPI_AUTO && (asked == NULL || s->micro_tokens != asked->micro_tokens);
    int n = 0;
    if (examples) {
        n = snprintf(text, VLORPI_WAY_BYTES, "--batch_size %" PRId64, s->batch_size);
    }
    if (tokens) {
        (void)snprintf(text + n, (size_t)(VLORPI_WAY_BYTES - n), "%s--micro_tokens %" PRId64, n > 0 ? " " : "",
                       s->micro_tokens);
    }
}

static bool lower_target(vlorpi_train_settings *s, const vlorpi_job *job)
{
    (void)job;
    unsigned all = 1u << VLORPI_ROLE_ATTN | 1u << VLORPI_ROLE_MLP | 1u << VLORPI_ROLE_EMBED | 1u << VLORPI_ROLE_HEAD;
    if (!vlorpi_optimizer_projects(s->optimizer) || s->targets == all) {
        return false;
    }
    s->targets = all;
    return true;
}

static void restore_target(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->targets = from->targets;
}

static void print_target(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    static const struct role_name {
        vlorpi_role role;
        const char *name;
    } names[] = {{VLORPI_ROLE_ATTN, "attn"}, {VLORPI_ROLE_MLP, "mlp"}, {VLORPI_ROLE_EMBED, "embed"},
                 {VLORPI_ROLE_HEAD, "head"}};
    enum { N_NAMES = sizeof names / sizeof names[0] };
    if (!vlorpi_optimizer_projects(s->optimizer) || (asked != NULL && s->targets == asked->targets)) {
        return;
    }
    int n_targets = 0;
    int n = snprintf(text, VLORPI_WAY_BYTES, "--target ");
    for (int i = 0; i < N_NAMES; i++) {
        if ((s->targets >> names[i].role & 1u) != 0) {
            n += snprintf(text + n, (size_t)(VLORPI_WAY_BYTES - n), "%s%s", n_targets++ > 0 ? "," : "",
                          names[i].name);
        }
    }
    if (n_targets == N_NAMES) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--target all");
    }
}

static bool lower_state(vlorpi_train_settings *s, const vlorpi_job *job)
{
    (void)job;
    if (!vlorpi_optimizer_projects(s->optimizer) || s->state_dtype == VLORP_BF16) {
        return false;
    }
    s->state_dtype = VLORP_BF16;
    return true;
}

static void restore_state(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->state_dtype = from->state_dtype;
}

static void print_state(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    if (vlorpi_optimizer_projects(s->optimizer) && (asked == NULL || s->state_dtype != asked->state_dtype)) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--state_dtype %s", s->state_dtype == VLORP_BF16 ? "bfloat16" : "float32");
    }
}

/* An adapter that goes on has the rank that it has. */
static bool lower_lora_rank(vlorpi_train_settings *s, const vlorpi_job *job)
{
    vlorpi_lora lora;
    if (job->adapter != NULL || !vlorpi_model_lora(job->model, &lora) || lora.rank < 2) {
        return false;
    }
    s->projection.rank = lora.rank / 2;
    return true;
}

/* Halves M the way it was asked for: by the budget, the rank or the factor. */
static bool lower_budget(vlorpi_train_settings *s, const vlorpi_job *job)
{
    vlorp_projection *p = &s->projection;
    const vlorp_projection *used = &job->sizes.projection;
    if (s->optimizer == VLORPI_OPTIMIZER_LORA) {
        return lower_lora_rank(s, job);
    }
    if (!vlorpi_optimizer_projects(s->optimizer)) {
        return false;
    }
    if (p->factor == 0 && p->rank == 0) {
        if (used->budget / 2 < SMALLEST_BUDGET) {
            return false;
        }
        p->budget = used->budget / 2;
        return true;
    }
    if (p->budget != 0 || used->factor * used->rank / 2 < SMALLEST_BUDGET) {
        return false;
    }
    if (used->rank % 2 == 0) {
        p->rank = used->rank / 2;
        return true;
    }
    if (used->factor % 2 == 0 && p->rank != 0) {
        p->factor = used->factor / 2;
        return true;
    }
    return false;
}

static void restore_budget(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->projection.budget = from->projection.budget;
    s->projection.factor = from->projection.factor;
    s->projection.rank = from->projection.rank;
    s->projection.divisor = from->projection.divisor;
}

static void print_budget(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    const vlorp_projection *p = &s->projection;
    const vlorp_projection *a = asked != NULL ? &asked->projection : &(const vlorp_projection){0};
    int n = 0;
    if (!vlorpi_optimizer_projects(s->optimizer) && s->optimizer != VLORPI_OPTIMIZER_LORA) {
        return;
    }
    if (p->budget != 0 && p->budget != a->budget) {
        n += snprintf(text + n, (size_t)(VLORPI_WAY_BYTES - n), " --budget %" PRId64, p->budget);
    }
    if (p->factor != 0 && (p->factor != a->factor || p->divisor != a->divisor)) {
        n += snprintf(text + n, (size_t)(VLORPI_WAY_BYTES - n), " --factor %s%" PRId64, p->divisor > 1 ? "1/" : "",
                      p->divisor > 1 ? p->divisor : p->factor);
    }
    if (p->rank != 0 && p->rank != a->rank) {
        n += snprintf(text + n, (size_t)(VLORPI_WAY_BYTES - n), " --rank %" PRId64, p->rank);
    }
    if (n > 0) {
        memmove(text, text + 1, (size_t)n); /* the first blank */
    }
}

static bool lower_dtype(vlorpi_train_settings *s, const vlorpi_job *job)
{
    if (job->sizes.dtype != VLORP_F32) {
        return false;
    }
    s->dtype = VLORP_BF16;
    return true;
}

static void restore_dtype(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->dtype = from->dtype;
}

static void print_dtype(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    if (s->dtype != VLORPI_AUTO && (asked == NULL || s->dtype != asked->dtype)) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--dtype %s", s->dtype == VLORP_BF16 ? "bfloat16" : "float32");
    }
}

static bool lower_optimizer(vlorpi_train_settings *s, const vlorpi_job *job)
{
    if (s->optimizer == VLORPI_OPTIMIZER_PROJFACTOR || job->adapter != NULL) {
        return false;
    }
    s->optimizer = VLORPI_OPTIMIZER_PROJFACTOR;
    return true;
}

static void restore_optimizer(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->optimizer = from->optimizer;
}

static void print_optimizer(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    if (asked == NULL || s->optimizer != asked->optimizer) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--optimizer %s", vlorpi_optimizer_text(s->optimizer));
    }
}

/* Whether nine of ten examples still have something to predict within n tokens. */
static bool keeps_targets(const vlorpi_dataset *data, int64_t n)
{
    int64_t n_examples = vlorpi_dataset_n_examples(data);
    int64_t n_kept = 0;
    for (int64_t i = 0; i < n_examples; i++) {
        vlorpi_example example = vlorpi_dataset_example(data, i);
        int64_t end = example.n_tokens < n ? example.n_tokens : n;
        int64_t t = 0;
        while (t + 1 < end && vlorpi_example_target(&example, t) < 0) {
            t++;
        }
        n_kept += t + 1 < end;
    }
    return 10 * n_kept >= 9 * n_examples;
}

static bool lower_length(vlorpi_train_settings *s, const vlorpi_job *job)
{
    int64_t half = longest_example(job) / 2;
    int64_t length = SMALLEST_LENGTH;
    while (2 * length <= half) {
        length *= 2;
    }
    if (half < SMALLEST_LENGTH || (job->data != NULL && !keeps_targets(job->data, length)) ||
        (job->held != NULL && !keeps_targets(job->held, length))) {
        return false;
    }
    s->max_length = length;
    return true;
}

static void restore_length(vlorpi_train_settings *s, const vlorpi_train_settings *from)
{
    s->max_length = from->max_length;
}

static void print_length(char *text, const vlorpi_train_settings *s, const vlorpi_train_settings *asked)
{
    if (s->max_length != VLORPI_AUTO && (asked == NULL || s->max_length != asked->max_length)) {
        (void)snprintf(text, VLORPI_WAY_BYTES, "--max_length %" PRId64, s->max_length);
    }
}

const vlorpi_way vlorpi_ways[VLORPI_N_WAYS] = {
    [VLORPI_WAY_CHECKPOINTING] = {lower_checkpointing, restore_checkpointing, print_checkpointing},
    [VLORPI_WAY_BATCH] = {lower_batch, restore_batch, print_batch},
    [VLORPI_WAY_TARGET] = {lower_target, restore_target, print_target},
    [VLORPI_WAY_STATE] = {lower_state, restore_state, print_state},
    [VLORPI_WAY_BUDGET] = {lower_budget, restore_budget, print_budget},
    [VLORPI_WAY_DTYPE] = {lower_dtype, restore_dtype, print_dtype},
    [VLORPI_WAY_OPTIMIZER] = {lower_optimizer, restore_optimizer, print_optimizer},
    [VLORPI_WAY_LENGTH] = {lower_length, restore_length, print_length},
};

void vlorpi_ways_print(char text[VLORPI_WAYS_BYTES], const vlorpi_train_settings *s,
                       const vlorpi_train_settings *asked)
{
    size_t n = 0;
    text[0] = '\0';
    for (int w = 0; w < VLORPI_N_WAYS; w++) {
        char option[VLORPI_WAY_BYTES] = "";
        vlorpi_ways[w].print(option, s, asked);
        if (option[0] != '\0') {
            n += (size_t)snprintf(text + n, VLORPI_WAYS_BYTES - n, "%s%s", n > 0 ? " " : "", option);
        }
    }
}
