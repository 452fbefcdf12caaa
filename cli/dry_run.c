#include "cli/dry_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/train_options.h"
#include "train/fit.h"
#include "train/run_folder.h"

enum { N_EXAMPLES = 3, MOST_TOKENS = 240 /* of one run of marked or unmarked tokens; the middle of longer ones is left out */ };

/* How trained tokens stand out: in colour on a terminal, else as git's word diff marks what is new. */
static const char *const mark_begin[] = {"{+", "\033[1;4;32m"};
static const char *const mark_end[] = {"+}", "\033[0m"};

/* The first byte where the two differ, moved back to the beginning of its character. */
static size_t common_bytes(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) {
        n++;
    }
    while (n > 0 && n < n_b && ((unsigned char)b[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

/* Prints the text of ids[begin .. end) as it stands behind ids[0 .. begin): a token's text may depend on the one
 * before it. */
static vlorp_status print_tokens(const vlorpi_job *job, const int32_t *ids, int64_t begin, int64_t end, vlorp_err *err)
{
    char *before;
    char *text;
    size_t n_before;
    size_t n_text;
    VLORP_TRY(vlorpi_tokenizer_decode(job->tokenizer, &before, &n_before, ids, begin, false, err));
    vlorp_status status = vlorpi_tokenizer_decode(job->tokenizer, &text, &n_text, ids, end, false, err);
    if (status == VLORP_OK) {
        size_t n = common_bytes(before, n_before, text, n_text);
        vlorpi_output_text(stdout, text + n, n_text - n);
        vlorpi_mem_free(job->mem, text);
    }
    vlorpi_mem_free(job->mem, before);
    return status;
}

/* One run of tokens that are all trained, or all not. */
static vlorp_status print_group(const vlorpi_job *job, const int32_t *ids, int64_t begin, int64_t end, bool trained,
                                bool color, vlorp_err *err)
{
    if (trained) {
        (void)fputs(mark_begin[color], stdout);
    }
    if (end - begin <= MOST_TOKENS) {
        VLORP_TRY(print_tokens(job, ids, begin, end, err));
    } else {
        VLORP_TRY(print_tokens(job, ids, begin, begin + MOST_TOKENS / 2, err));
        (void)printf(" ... (%" PRId64 " tokens) ... ", end - begin - MOST_TOKENS);
        VLORP_TRY(print_tokens(job, ids, end - MOST_TOKENS / 2, end, err));
    }
    if (trained) {
        (void)fputs(mark_end[color], stdout);
    }
    return VLORP_OK;
}

static vlorp_status print_example(const vlorpi_job *job, int64_t place, int32_t *ids, bool color, vlorp_err *err)
{
    vlorpi_example example =
        vlorpi_dataset_example(job->data, vlorpi_dataset_stream(job->data, job->settings.seed, place));
    int64_t n_trained = 0;
    for (int64_t t = 0; t < example.n_tokens; t++) {
        ids[t] = vlorpi_example_id(&example, t);
        n_trained += example.codes[t] >= 0;
    }
    (void)printf("--- example %" PRId64 " of the run: %" PRId64 " tokens, %" PRId64 " of them trained ---\n", place + 1,
                 example.n_tokens, n_trained);
    for (int64_t begin = 0, end; begin < example.n_tokens; begin = end) {
        bool trained = example.codes[begin] >= 0;
        for (end = begin + 1; end < example.n_tokens && (example.codes[end] >= 0) == trained; end++) {
        }
        VLORP_TRY(print_group(job, ids, begin, end, trained, color, err));
    }
    (void)fputc('\n', stdout);
    return VLORP_OK;
}

static vlorp_status print_examples(const vlorpi_job *job, bool color, vlorp_err *err)
{
    int64_t n = vlorpi_dataset_n_examples(job->data);
    int32_t *ids = vlorpi_mem_alloc(job->mem, VLORPI_MEM_DATA, (size_t)job->data_report.longest * sizeof *ids);
    if (ids == NULL) {
        return vlorpi_mem_fail(job->mem, VLORPI_MEM_DATA, (size_t)job->data_report.longest * sizeof *ids, err);
    }
    (void)printf("What is trained is %s%s%s.\n", mark_begin[color], "marked like this", mark_end[color]);
    vlorp_status status = VLORP_OK;
    for (int64_t i = 0; i < N_EXAMPLES && i < n && status == VLORP_OK; i++) {
        status = print_example(job, i, ids, color, err);
    }
    vlorpi_mem_free(job->mem, ids);
    return status;
}

static double percent(int64_t part, int64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void print_counts(const vlorpi_job *job)
{
    const vlorpi_dataset_report *r = &job->data_report;
    vlorpi_print_data(stdout, job);
    int64_t n_read = r->n_examples + r->n_without_target;
    (void)printf("examples: %" PRId64 " records gave %" PRId64 " examples; %" PRId64 " (%.1f %%) cut at %" PRId64
                 " tokens, %" PRId64 " (%.1f %%) dropped with nothing to predict\n",
                 r->n_records, n_read, r->n_truncated, percent(r->n_truncated, n_read), job->sizes.max_length,
                 r->n_without_target, percent(r->n_without_target, n_read));
    (void)printf("tokens: %" PRId64 ", %.1f an example, the longest %" PRId64 "; trained %" PRId64 " (%.1f %%)\n",
                 r->n_tokens, (double)r->n_tokens / (double)r->n_examples, r->longest, r->n_targets,
                 percent(r->n_targets, r->n_tokens));
}

/* What the same micro-batches would compute with padding, and the length of the run. */
static void print_packing(const vlorpi_job *job)
{
    const vlorpi_job_sizes *sizes = &job->sizes;
    vlorpi_batch_statistics s = vlorpi_batch_count(job->data, job->settings.seed, job->settings.total_batch_size,
                                                   sizes->max_examples, sizes->micro_tokens);
    int64_t full = s.n_examples * sizes->max_length;
    (void)printf("packing, an epoch of %" PRId64 " micro-batches:\n", s.n_micro_batches);
    (void)printf("  %-34s %12" PRId64 " tokens  100.0 %% of them of examples\n", "as they are, without padding", s.n_tokens);
    (void)printf("  %-34s %12" PRId64 " tokens  %5.1f %%\n", "padded to a micro-batch's longest", s.n_padded_tokens,
                 percent(s.n_tokens, s.n_padded_tokens));
    (void)printf("  %-34s %12" PRId64 " tokens  %5.1f %%\n", "padded to max_length", full, percent(s.n_tokens, full));
    double epochs = (double)sizes->n_steps * (double)job->settings.total_batch_size / (double)s.n_examples;
    (void)printf("steps: %" PRId64 " an epoch; %" PRId64 " in the run, %.3g epochs, about %.4g tokens\n", s.n_steps,
                 sizes->n_steps, epochs, epochs * (double)s.n_tokens);
}

static vlorp_status print_all(const vlorpi_cli *cli, const vlorpi_job *job, const char *folder, vlorp_err *err)
{
    VLORP_TRY(print_examples(job, cli->output->result_color, err));
    print_counts(job);
    print_packing(job);
    vlorpi_print_projections(stdout, job);
    vlorpi_print_run(stdout, job, folder);
    const char *titles[] = {"plan"};
    const vlorpi_mem_usage *columns[] = {&job->plan.usage};
    vlorpi_print_memory(stdout, titles, columns, 1, 0);
    vlorpi_print_target_hint(stdout, job);
    (void)printf("dry run: nothing was trained, nothing was written\n");
    return vlorpi_output_flush(err);
}

vlorp_status vlorpi_dry_run(vlorpi_cli *cli, const vlorpi_train_settings *settings, vlorp_err *err)
{
    vlorpi_job job;
    vlorpi_run_folder folder;
    vlorp_status status = vlorpi_job_open(&job, settings, true, cli->mem, &cli->log, cli->kernels, &cli->exec, err);
    if (status == VLORP_OK) {
        status = vlorpi_run_folder_choose(&folder, settings->save_dir, settings->model, settings->dataset,
                                          vlorpi_optimizer_text(settings->optimizer), err);
    }
    if (status == VLORP_OK) {
        status = print_all(cli, &job, folder.path, err);
    }
    if (status == VLORP_OK) {
        status = vlorpi_fit_check(&job, err);
    }
    vlorpi_job_close(&job);
    return status;
}
