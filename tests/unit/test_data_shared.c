/* Every shared data file loads: form, records, and nothing lost without being counted. */
#include "support.h"

#include <dirent.h>

#include "data/dataset.h"
#include "format/json.h"

static vlorp_err err;
static vlorpi_mem mem;
static vlorpi_tokenizer *tokenizer;

static vlorpi_dataset_report load(const char *what)
{
    vlorpi_dataset *data;
    vlorpi_dataset_report report;
    vlorpi_dataset_config config = {.what = what, .data_dir = shared_data(""), .max_length = 512};
    ASSERT_OK(vlorpi_dataset_open(&data, &report, &mem, tokenizer, &config, &err));
    assert_int_equal(vlorpi_dataset_n_examples(data), report.n_examples);
    vlorpi_dataset_free(data);
    return report;
}

static void files(void **state)
{
    (void)state;
    static const struct {
        const char *path, *form;
        int64_t n_records, n_examples; /* examples, dropped ones included */
    } rows[] = {
        {"commonsense/boolq/test.json", "alpaca", 3270, 3270},
        {"commonsense/boolq/train.json", "alpaca", 9427, 9427},
        {"commonsense/piqa/test.json", "alpaca", 1838, 1838},
        {"commonsense/social_i_qa/test.json", "alpaca", 1954, 1954},
        {"commonsense/winogrande/test.json", "alpaca", 1267, 1267},
        {"commonsense/ARC-Easy/test.json", "alpaca", 2376, 2376},
        {"commonsense/ARC-Easy/train.json", "alpaca", 2251, 2251},
        {"commonsense/ARC-Challenge/test.json", "alpaca", 1172, 1172},
        {"commonsense/ARC-Challenge/train.json", "alpaca", 1119, 1119},
        {"commonsense/openbookqa/test.json", "alpaca", 500, 500},
        {"commonsense/openbookqa/train.json", "alpaca", 4957, 4957},
        {"commonsense/hellaswag/test.json", "alpaca", 10042, 10042},
        {"instruct/alpaca_en_demo.json", "alpaca", 999, 999},
        {"instruct/seed_tasks.jsonl", "self-instruct", 175, 175},
        {"text/c4_demo.jsonl", "text", 300, 300},
        {"text/tinyshakespeare.txt", "plain text", 1, 0},
        {"text/tinystories_sample.txt", "plain text", 1, 0},
        {"text/wikitext-2/valid.txt", "plain text", 1, 0},
        {"text/wikitext-2/test.txt", "plain text", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vlorpi_dataset_report r = load(shared_data(rows[i].path));
        assert_string_equal(r.form, rows[i].form);
        assert_int_equal(r.n_records, rows[i].n_records);
        assert_true(r.n_examples > 0 && r.n_targets > 0 && r.longest <= 512);
        if (rows[i].n_examples > 0) {
            assert_int_equal(r.n_examples + r.n_without_target, rows[i].n_examples);
        }
        assert_int_equal(r.n_not_utf8, 0);
    }
}

static void names(void **state)
{
    (void)state;
    vlorpi_dataset_report commonsense = load("commonsense");
    assert_int_equal(commonsense.n_records, 9427 + 2251 + 1119 + 4957);
    assert_int_equal(load("gsm8k").n_records, 7473);
    assert_int_equal(load("mmlu").n_records, 285);
}

/* All 57 subjects of each split. */
static void mmlu(void **state)
{
    (void)state;
    static const struct {
        const char *split;
        int64_t n_records;
    } rows[] = {{"mmlu/dev", 285}, {"mmlu/val", 1531}, {"mmlu/test", 14042}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char folder[4096];
        (void)snprintf(folder, sizeof folder, "%s", shared_data(rows[i].split)); /* its buffer is used again below */
        DIR *directory = opendir(folder);
        assert_non_null(directory);
        int64_t n_records = 0;
        int n_files = 0;
        for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
            if (entry->d_name[0] != '.') {
                char path[8192];
                (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
                vlorpi_dataset_report r = load(path);
                assert_string_equal(r.form, "mmlu");
                n_records += r.n_records;
                n_files++;
            }
        }
        (void)closedir(directory);
        assert_int_equal(n_files, 57);
        assert_int_equal(n_records, rows[i].n_records);
    }
}

static int start(void **state)
{
    (void)state;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    return 0;
}

static void open_tokenizer(void **state)
{
    (void)state;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, shared_data("models/stories260K-hf"), &err));
}

static void nothing_is_left(void **state)
{
    (void)state;
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(open_tokenizer), cmocka_unit_test(files), cmocka_unit_test(names),
                                       cmocka_unit_test(mmlu), cmocka_unit_test(nothing_is_left)};
    return cmocka_run_group_tests(tests, start, NULL);
}
