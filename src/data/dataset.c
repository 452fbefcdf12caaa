#include "data/dataset.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/mapped_file.h"
#include "data/data_files.h"
#include "data/example_writer.h"
#include "data/order.h"
#include "data/prompts.h"
#include "data/records.h"
#include "data/token_store.h"
#include "text/chat_template.h"
#include "text/token_text.h"

struct vlorpi_dataset {
    vlorpi_mem *mem;
    const vlorpi_token_store *store; /* own_store, or that of the set it was held out of */
    vlorpi_token_store own_store;
    int32_t *which; /* [n] which examples of the store, ascending; NULL: all of them */
    int64_t n;
};

/* What reading needs and the data set does not. */
typedef struct reading {
    vlorpi_example_writer writer;
    vlorpi_rendered rendered;
    vlorpi_chat_template chat; /* form NULL: no conversation came yet */
} reading;

static vlorp_status recognize_chat(reading *r, vlorp_err *err)
{
    vlorp_status status = vlorpi_chat_template_of(&r->chat, r->writer.tokenizer, err);
    if (status == VLORP_E_UNSUPPORTED) {
        vlorpi_err_hint(err, "write the conversations as prompt and completion, or as text");
    }
    return status;
}

static vlorp_status add_record(void *ctx, const vlorpi_record *record, vlorp_err *err)
{
    reading *r = ctx;
    if (record->form != VLORPI_FORM_CHAT) {
        VLORP_TRY(vlorpi_template_render(&r->rendered, vlorpi_template_for(record), record, true, err));
    } else {
        if (r->chat.form == NULL) {
            VLORP_TRY(recognize_chat(r, err));
        }
        VLORP_TRY(vlorpi_chat_template_render(&r->rendered, &r->chat, record->messages, false, err));
    }
    return vlorpi_example_writer_add(&r->writer, &r->rendered, err);
}

/* How often the tokenizer will put U+FFFD. */
static int64_t count_not_utf8(const char *text, size_t n_bytes)
{
    int64_t n = 0;
    for (size_t at = 0; at < n_bytes;) {
        int32_t codepoint = 0;
        at += (unsigned char)text[at] < 0x80 ? 1 : vlorpi_utf8_read(text + at, n_bytes - at, &codepoint);
        n += codepoint < 0;
    }
    return n;
}

static vlorp_status read_file(reading *r, const char *path, vlorpi_form wanted, vlorpi_records_report *records,
                              vlorp_err *err)
{
    vlorpi_mapped_file file;
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = vlorpi_records_read(records, r->writer.store->mem, path, file.bytes, file.n_bytes, wanted,
                                              add_record, r, err);
    if (status == VLORP_OK && records->form == VLORPI_FORM_STREAM) {
        const char *text = (const char *)file.bytes + records->text_begin;
        size_t n_bytes = file.n_bytes - records->text_begin;
        records->n_records = 1;
        r->writer.report->n_not_utf8 += count_not_utf8(text, n_bytes);
        status = vlorpi_example_writer_add_stream(&r->writer, text, n_bytes, VLORPI_STREAM_CHUNK_BYTES, err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "%s", path);
        }
    }
    vlorpi_mapped_file_close(&file);
    return status;
}

static vlorp_status read_files(reading *r, const vlorpi_data_files *files, vlorpi_dataset_report *report,
                               vlorp_err *err)
{
    for (int i = 0; i < files->n; i++) {
        vlorpi_records_report records;
        VLORP_TRY(read_file(r, files->paths[i], files->form, &records, err));
        report->n_records += records.n_records;
        if (i == 0) {
            (void)snprintf(report->form, sizeof report->form, "%s", vlorpi_form_of(records.form)->name);
            (void)snprintf(report->columns, sizeof report->columns, "%s", records.columns);
        }
    }
    report->n_files = files->n;
    (void)snprintf(report->first_file, sizeof report->first_file, "%s", files->paths[0]);
    return VLORP_OK;
}

static vlorp_status check_config(const vlorpi_dataset_config *config, vlorp_err *err)
{
    if (config->max_length < 2 || config->max_length > INT32_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "max_length %" PRId64 ": 2 to %d tokens are possible", config->max_length,
                   INT32_MAX);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_dataset_open(vlorpi_dataset **out, vlorpi_dataset_report *report, vlorpi_mem *mem,
                                 const vlorpi_tokenizer *tokenizer, const vlorpi_dataset_config *config,
                                 vlorp_err *err)
{
    *out = NULL;
    *report = (vlorpi_dataset_report){0};
    VLORP_TRY(check_config(config, err));
    vlorpi_dataset *dataset = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *dataset);
    if (dataset == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *dataset, err);
    }
    dataset->mem = mem;
    dataset->store = &dataset->own_store;
    vlorpi_token_store_init(&dataset->own_store, mem, config->max_length);
    reading r = {
        .writer = {.tokenizer = tokenizer, .store = &dataset->own_store, .report = report,
                   .max_length = config->max_length, .train_on_prompts = config->train_on_prompts,
                   .tokens = {.mem = mem}},
        .rendered = {.mem = mem},
    };
    vlorpi_data_files files;
    vlorp_status status = vlorpi_data_files_find(&files, mem, config->what, config->data_dir, err);
    if (status == VLORP_OK) {
        status = read_files(&r, &files, report, err);
    }
    vlorpi_tokens_deinit(&r.writer.tokens);
    vlorpi_rendered_deinit(&r.rendered);
    vlorpi_data_files_deinit(&files);
    if (status == VLORP_OK) {
        status = vlorpi_token_store_trim(&dataset->own_store, err);
    }
    if (status != VLORP_OK) {
        vlorpi_dataset_free(dataset);
        return status;
    }
    dataset->n = dataset->own_store.n_examples;
    *out = dataset;
    return VLORP_OK;
}

void vlorpi_dataset_free(vlorpi_dataset *dataset)
{
    if (dataset != NULL) {
        vlorpi_token_store_deinit(&dataset->own_store);
        vlorpi_mem_free(dataset->mem, dataset->which);
        vlorpi_mem_free(dataset->mem, dataset);
    }
}

static int32_t stored_index(const vlorpi_dataset *dataset, int64_t i)
{
    return dataset->which != NULL ? dataset->which[i] : (int32_t)i;
}

/* Splits the set's examples by is_held, keeping their order, into two index lists. */
static void split(const vlorpi_dataset *dataset, const uint8_t *is_held, int32_t *held, int32_t *kept)
{
    for (int64_t i = 0; i < dataset->n; i++) {
        int32_t **list = is_held[i] ? &held : &kept;
        *(*list)++ = stored_index(dataset, i);
    }
}

vlorp_status vlorpi_dataset_hold_out(vlorpi_dataset *dataset, vlorpi_dataset **held, int64_t n_held, uint64_t seed,
                                     vlorp_err *err)
{
    *held = NULL;
    if (n_held < 1 || n_held >= dataset->n) {
        VLORP_FAIL(err, VLORP_E_ARG, "%" PRId64 " of %" PRId64 " examples cannot be held out", n_held, dataset->n);
    }
    vlorpi_mem *mem = dataset->mem;
    int64_t n_kept = dataset->n - n_held;
    uint8_t *is_held = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, (size_t)dataset->n, 1);
    vlorpi_dataset *part = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *part);
    int32_t *held_list = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, (size_t)n_held * sizeof(int32_t));
    int32_t *kept_list = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, (size_t)n_kept * sizeof(int32_t));
    if (is_held == NULL || part == NULL || held_list == NULL || kept_list == NULL) {
        vlorpi_mem_free(mem, is_held);
        vlorpi_mem_free(mem, part);
        vlorpi_mem_free(mem, held_list);
        vlorpi_mem_free(mem, kept_list);
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, (size_t)dataset->n * sizeof(int32_t), err);
    }
    vlorpi_order order = vlorpi_order_make(dataset->n, seed, VLORP_STREAM_SPLIT, 0);
    for (int64_t j = 0; j < n_held; j++) {
        is_held[vlorpi_order_at(&order, j)] = 1;
    }
    split(dataset, is_held, held_list, kept_list);
    vlorpi_mem_free(mem, is_held);
    vlorpi_mem_free(mem, dataset->which);
    dataset->which = kept_list;
    dataset->n = n_kept;
    *part = (vlorpi_dataset){.mem = mem, .store = dataset->store, .which = held_list, .n = n_held};
    *held = part;
    return VLORP_OK;
}

int64_t vlorpi_dataset_n_examples(const vlorpi_dataset *dataset)
{
    return dataset->n;
}

vlorpi_example vlorpi_dataset_example(const vlorpi_dataset *dataset, int64_t i)
{
    assert(i >= 0 && i < dataset->n);
    int32_t at = stored_index(dataset, i);
    return (vlorpi_example){.codes = vlorpi_token_store_codes(dataset->store, at),
                            .n_tokens = dataset->store->lengths[at]};
}

uint64_t vlorpi_dataset_checksum(const vlorpi_dataset *dataset)
{
    vlorpi_checksum sum = vlorpi_checksum_begin(0);
    for (int64_t i = 0; i < dataset->n; i++) {
        vlorpi_example example = vlorpi_dataset_example(dataset, i);
        vlorpi_checksum_add(&sum, &example.n_tokens, sizeof example.n_tokens);
        vlorpi_checksum_add(&sum, example.codes, (size_t)example.n_tokens * sizeof example.codes[0]);
    }
    return vlorpi_checksum_value(&sum);
}

int32_t vlorpi_example_id(const vlorpi_example *example, int64_t t)
{
    int32_t code = example->codes[t];
    return code < 0 ? ~code : code;
}

int32_t vlorpi_example_target(const vlorpi_example *example, int64_t t)
{
    if (t + 1 >= example->n_tokens || example->codes[t + 1] < 0) {
        return -1;
    }
    return example->codes[t + 1];
}

int64_t vlorpi_dataset_stream(const vlorpi_dataset *dataset, uint64_t seed, int64_t index)
{
    vlorpi_order order =
        vlorpi_order_make(dataset->n, seed, VLORP_STREAM_SHUFFLE, (uint64_t)(index / dataset->n));
    return vlorpi_order_at(&order, index % dataset->n);
}
