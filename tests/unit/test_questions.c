/* Questions: what they are made of, every shared file of a task, and records that are none. */
#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

#include "eval/choices.h"
#include "eval/tally.h"
#include "eval/task.h"
#include "format/json.h"

static vlorp_err err;
static vlorpi_mem mem;

static const vlorpi_task *task_named(const char *name)
{
    for (int i = 0; i < vlorpi_task_table_rows; i++) {
        if (strcmp(vlorpi_task_table[i].name, name) == 0) {
            return &vlorpi_task_table[i];
        }
    }
    fail_msg("no task %s", name);
    return NULL;
}

static vlorp_status open_task(vlorpi_question_set **set, const char *name, const char *data_dir, int n_shots,
                              int64_t limit)
{
    const vlorpi_task *task = task_named(name);
    vlorpi_question_files files = {.data_dir = data_dir, .place = task->place, .shots_place = task->shots_place,
                                   .form = task->form, .kind = task->kind, .n_shots = n_shots, .limit = limit};
    return vlorpi_question_set_open(set, &mem, &files, &err);
}

/* Every row of every shared file is a question with a right answer. */
static void shared_files(void **state)
{
    (void)state;
    static const struct {
        const char *task;
        int64_t n;
        int n_groups, min_options, max_options;
    } rows[] = {{"boolq", 3270, 1, 2, 2},      {"piqa", 1838, 1, 2, 2},          {"social_i_qa", 1954, 1, 3, 3},
                {"hellaswag", 10042, 1, 4, 4}, {"winogrande", 1267, 1, 2, 2},    {"ARC-Easy", 2376, 1, 3, 5},
                {"ARC-Challenge", 1172, 1, 3, 5}, {"openbookqa", 500, 1, 4, 4},  {"mmlu", 14042, 57, 4, 4},
                {"gsm8k", 1319, 1, 0, 0}};
    assert_int_equal(sizeof rows / sizeof rows[0], vlorpi_task_table_rows);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        vlorpi_question_set *set;
        ASSERT_OK(open_task(&set, rows[r].task, shared_data(""), 0, 0));
        assert_int_equal(vlorpi_question_set_n(set), rows[r].n);
        assert_int_equal(vlorpi_question_set_n_groups(set), rows[r].n_groups);
        for (int64_t i = 0; i < rows[r].n; i++) {
            vlorpi_question question;
            vlorpi_question_set_get(set, i, &question);
            assert_true(question.n_options >= rows[r].min_options && question.n_options <= rows[r].max_options);
            assert_true(question.n_options == 0 || (question.answer >= 0 && question.answer < question.n_options));
        }
        vlorpi_question_set_free(set);
    }
}

/* Hendrycks et al.: 18 subjects of STEM, 13 humanities, 12 social sciences, 14 others. */
static void subjects(void **state)
{
    (void)state;
    static const int expected[VLORPI_MMLU_N_CATEGORIES] = {18, 13, 12, 14};
    int n[VLORPI_MMLU_N_CATEGORIES] = {0};
    vlorpi_question_set *set;
    ASSERT_OK(open_task(&set, "mmlu", shared_data(""), 0, 1));
    assert_int_equal(vlorpi_question_set_n(set), VLORPI_MMLU_N_SUBJECTS);
    for (int g = 0; g < VLORPI_MMLU_N_SUBJECTS; g++) {
        vlorpi_mmlu_category category;
        ASSERT_OK(vlorpi_mmlu_category_of(&category, vlorpi_question_set_group(set, g), &err));
        n[category]++;
    }
    for (int c = 0; c < VLORPI_MMLU_N_CATEGORIES; c++) {
        assert_int_equal(n[c], expected[c]);
    }
    vlorpi_mmlu_category category;
    assert_int_equal(vlorpi_mmlu_category_of(&category, "cooking", &err), VLORP_E_FORMAT);
    vlorpi_question_set_free(set);
}

static void check_prompt(const vlorpi_question *question, int option, const char *expected)
{
    vlorpi_rendered rendered = {.mem = &mem};
    ASSERT_OK(vlorpi_question_render(&rendered, question, option, &err));
    assert_int_equal(rendered.n_bytes, strlen(expected));
    assert_memory_equal(rendered.bytes, expected, rendered.n_bytes);
    assert_int_equal(rendered.n_spans, option >= 0);
    vlorpi_rendered_deinit(&rendered);
}

static void five_shots_to_the_byte(void **state)
{
    (void)state;
    vlorpi_question_set *set;
    vlorpi_question question;
    ASSERT_OK(open_task(&set, "mmlu", shared_data(""), 2, 1));
    vlorpi_question_set_get(set, 0, &question);
    check_prompt(&question, 2,
                 "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
                 "Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.\nA. 0\nB. 1\nC. 2\nD. 3\nAnswer: B\n\n"
                 "Statement 1 | If aH is an element of a factor group, then |aH| divides |a|. Statement 2 | If H and K "
                 "are subgroups of G then HK is a subgroup of G.\nA. True, True\nB. False, False\nC. True, False\n"
                 "D. False, True\nAnswer: B\n\n"
                 "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.\nA. 0\nB. 4\n"
                 "C. 2\nD. 6\nAnswer: C");
    assert_string_equal(vlorpi_question_label(&question, question.answer), "B");
    uint64_t sum = vlorpi_question_set_checksum(set);
    vlorpi_question_set_free(set);
    ASSERT_OK(open_task(&set, "mmlu", shared_data(""), 1, 1));
    assert_true(vlorpi_question_set_checksum(set) != sum);
    vlorpi_question_set_free(set);
    assert_int_equal(open_task(&set, "mmlu", shared_data(""), 6, 1), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "abstract_algebra_dev.csv: it holds 5 examples, not 6"));
}

static void labels(void **state)
{
    (void)state;
    vlorpi_question_set *set;
    vlorpi_question question;
    ASSERT_OK(open_task(&set, "winogrande", shared_data(""), 0, 1));
    vlorpi_question_set_get(set, 0, &question);
    assert_string_equal(question.options[0], "the correct answer is option1");
    assert_string_equal(vlorpi_question_label(&question, 1), "option2");
    assert_int_equal(question.answer, 1);
    vlorpi_question_set_free(set);
}

/* A file of one good record and a bad one on line 3. */
static void refuses(const char *instruction, const char *output, const char *expected)
{
    char folder[] = "/tmp/vlorp-questions-XXXXXX";
    char path[256];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/commonsense", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/commonsense/boolq", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/commonsense/boolq/test.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "[\n{\"instruction\": \"Is it? Answer format: true/false\", \"output\": \"the correct answer "
                  "is true\"},\n{\"instruction\": \"%s\", \"output\": \"%s\"}]\n", instruction, output);
    assert_int_equal(fclose(file), 0);
    vlorpi_question_set *set;
    assert_int_equal(open_task(&set, "boolq", folder, 0, 1), VLORP_E_FORMAT); /* beyond the limit too */
    assert_null(set);
    assert_non_null(strstr(err.text, "commonsense/boolq/test.json: line 3: "));
    assert_non_null(strstr(err.text, expected));
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/commonsense/boolq", folder);
    assert_int_equal(rmdir(path), 0);
    (void)snprintf(path, sizeof path, "%s/commonsense", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void no_questions(void **state)
{
    (void)state;
    const char *right = "the correct answer is true";
    refuses("Is it?", right, "does not name its answers behind \"Answer format: \"");
    refuses("Answer format: ", right, "list of short answers");
    refuses("Answer format: true//false", right, "list of short answers");
    refuses("Answer format: true/false\\nReally", right, "list of short answers");
    refuses("Answer format: a/b/c/d/e/f/g/h/i", right, "more than 8 answers");
    refuses("Answer format: yes/no", right, "none of those that the instruction names");
    refuses("Answer format: true/false", "true", "does not begin with");
    refuses("Answer format: true/false", "the correct answer is ", "does not begin with");
    vlorpi_question_set *set;
    assert_int_equal(open_task(&set, "boolq", "/nowhere", 0, 0), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "/nowhere holds none of commonsense/boolq/test.json"));
    assert_int_equal(open_task(&set, "boolq", NULL, 0, 0), VLORP_E_ARG);
    assert_non_null(strstr(err.hint, "--data_dir"));
}

/* The published formula's values (statsmodels, method wilson). */
static void intervals(void **state)
{
    (void)state;
    static const struct {
        int64_t n_correct, n;
        double low, high;
    } rows[] = {{5, 10, 0.236593, 0.763407}, {0, 10, 0, 0.277533}, {10, 10, 0.722467, 1},
                {612, 1000, 0.581424, 0.641719}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vlorpi_tally tally = {.n = rows[i].n, .n_correct = rows[i].n_correct};
        vlorpi_interval interval = vlorpi_tally_interval(&tally);
        assert_true(fabs(interval.low - rows[i].low) <= 1e-6);
        assert_true(fabs(interval.high - rows[i].high) <= 1e-6);
    }
}

/* Every option's sequence is the tokens of its whole text; of too long a text the end is kept. */
static void sequences(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer;
    vlorpi_question_set *set;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, shared_data("models/stories260K-hf"), &err));
    ASSERT_OK(open_task(&set, "social_i_qa", shared_data(""), 0, 20));
    for (int64_t max_tokens = 1000; max_tokens >= 60; max_tokens -= 940) {
        vlorpi_choices choices = {.mem = &mem};
        ASSERT_OK(vlorpi_choices_add(&choices, tokenizer, set, 0, 20, max_tokens, &err));
        ASSERT_OK(vlorpi_choices_trim(&choices, &err));
        assert_int_equal(choices.n_cut, max_tokens == 60 ? 20 : 0);
        assert_true(choices.longest <= max_tokens);
        for (int64_t i = 0; i < 20; i++) {
            vlorpi_question question;
            vlorpi_question_set_get(set, i, &question);
            for (int k = 0; k < question.n_options; k++) {
                vlorpi_rendered rendered = {.mem = &mem};
                vlorpi_tokens tokens = {.mem = &mem};
                int32_t ids[1024];
                vlorpi_encode_options how = {.add_special = true, .parse_special = true};
                ASSERT_OK(vlorpi_question_render(&rendered, &question, k, &err));
                ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, rendered.bytes, rendered.n_bytes, how, &err));
                int64_t n = vlorpi_choices_sequence(&choices, i, k, ids);
                int64_t n_cut = tokens.n - n;
                assert_true(n_cut >= 0 && (n_cut > 0) == choices.items[i].is_cut);
                for (int64_t t = 0; t < n; t++) {
                    assert_int_equal(ids[t], tokens.items[n_cut + t].id);
                }
                const vlorpi_choice *item = &choices.items[i];
                int64_t first = item->n_prompt < item->n_common ? item->n_prompt : item->n_common + item->first[k];
                assert_true(tokens.items[n_cut + first].end > rendered.spans[0].begin);
                assert_true(tokens.items[n_cut + first - 1].end <= rendered.spans[0].begin);
                vlorpi_tokens_deinit(&tokens);
                vlorpi_rendered_deinit(&rendered);
            }
        }
        vlorpi_choices_deinit(&choices);
    }
    vlorpi_choices choices = {.mem = &mem};
    assert_int_equal(vlorpi_choices_add(&choices, tokenizer, set, 0, 1, 8, &err), VLORP_E_ARG);
    vlorpi_choices_deinit(&choices);
    vlorpi_question_set_free(set);
    vlorpi_tokenizer_free(tokenizer);
}

static int nothing_is_left(void **state)
{
    (void)state;
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    return 0;
}

static int start(void **state)
{
    (void)state;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(shared_files, nothing_is_left),
        cmocka_unit_test_teardown(subjects, nothing_is_left),
        cmocka_unit_test_teardown(five_shots_to_the_byte, nothing_is_left),
        cmocka_unit_test_teardown(labels, nothing_is_left),
        cmocka_unit_test_teardown(no_questions, nothing_is_left),
        cmocka_unit_test_teardown(intervals, nothing_is_left),
        cmocka_unit_test_teardown(sequences, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
