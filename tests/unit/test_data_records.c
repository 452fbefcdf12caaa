/* Every form in every kind of file: the fields that arrive, the columns that are reported. */
#include "data_support.h"

#include "base/mapped_file.h"
#include "data/prompts.h"

static vlorp_err err;

static void check(const char *name, const char *bytes, const char *expected, const char *columns)
{
    record_log log;
    vlorpi_records_report report;
    ASSERT_OK(read_records(&log, &report, name, bytes, strlen(bytes), VLORPI_FORM_ANY, &err));
    assert_string_equal(log.text, expected);
    assert_string_equal(report.columns, columns);
    assert_int_equal(report.n_records, log.n);
}

static void json_in_all_shapes(void **state)
{
    (void)state;
    const char *one = "alpaca|Say.|hi|-\n";
    check("a.json", "[{\"instruction\":\"Say.\",\"output\":\"hi\"}]", one, "instruction, output");
    check("a.json", "\xef\xbb\xbf [ {\"instruction\" : \"Say.\",\n\"output\":\"hi\" } ] \n", one,
          "instruction, output");
    check("a.json", "{\"instruction\":\"Say.\",\"output\":\"hi\"}", one, "instruction, output");
    check("a.json", "{\n \"instruction\": \"Say.\",\n \"output\": \"hi\"\n}\n", one, "instruction, output");
    check("a.jsonl", "{\"instruction\":\"Say.\",\"output\":\"hi\"}", one, "instruction, output");
    check("a.jsonl", "\n{\"instruction\":\"Say.\",\"output\":\"hi\"}\r\n\n  \n", one, "instruction, output");
    check("noname", "{\"instruction\":\"Say.\",\"output\":\"hi\"}\n", one, "instruction, output");
    check("noname", " [\n{\"instruction\":\"Say.\",\"output\":\"hi\"}]", one, "instruction, output");
    check("a.ndjson", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", "text|a\ntext|b\n", "text");
}

static void values_after_each_other(void **state)
{
    (void)state;
    check("a.json", "{\n\"text\":\"a\"}{\"text\":\"b\"} {\n\"text\":\"c{\"}", "text|a\ntext|b\ntext|c{\n", "text");
}

static void every_form(void **state)
{
    (void)state;
    check("a.jsonl", "{\"instruction\":\"i\",\"input\":\"x\",\"output\":\"o\",\"answer\":\"o\"}", "alpaca|i|o|x\n",
          "instruction, input, output; not used: answer");
    check("a.jsonl", "{\"instruction\":\"i\",\"input\":null,\"output\":\"\"}", "alpaca|i||-\n",
          "instruction, input, output");
    check("a.jsonl", "{\"answer\":\"a\",\"question\":\"q\"}", "question-answer|q|a\n", "answer, question");
    check("a.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\",\"text\":\"t\"}", "prompt-completion|p|c\n",
          "prompt, completion; not used: text");
    check("a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "chat\n", "messages");
    check("a.jsonl",
          "{\"id\":\"1\",\"instruction\":\"i\",\"instances\":[{\"input\":\"\",\"output\":\"a\"},{\"output\":\"b\"}]}",
          "alpaca|i|a|\nalpaca|i|b|-\n", "instruction, instances; not used: id");
    check("a.jsonl",
          "{\"question\":\"q\",\"A\":\"1\",\"B\":\"2\",\"C\":\"3\",\"D\":\"4\",\"answer\":\"B\",\"subject\":\"law\"}",
          "mmlu|q|1|2|3|4|B|law\n", "question, A, B, C, D, answer, subject");
}

/* What is printed of foreign names: fit for a terminal, bounded, cut between names. */
static void columns_of_strangers(void **state)
{
    (void)state;
    check("a.jsonl", "{\"text\":\"t\",\"a\\u001b[31mb\":1,\"\\u00e4\":2}", "text|t\n",
          "text; not used: a?[31mb, \xc3\xa4");
    char line[4096] = "{\"text\":\"t\"";
    char expected[512] = "text; not used: ";
    for (int i = 0; i < 50; i++) {
        size_t n = strlen(line);
        (void)snprintf(line + n, sizeof line - n, ",\"\xc3\xa4\xc3\xa4\xc3\xa4%02d\":0", i);
        n = strlen(expected);
        if (n + 10 <= 250) {
            (void)snprintf(expected + n, sizeof expected - n, "%s\xc3\xa4\xc3\xa4\xc3\xa4%02d", i > 0 ? ", " : "", i);
        }
    }
    (void)snprintf(line + strlen(line), 2, "}");
    (void)snprintf(expected + strlen(expected), 8, ", ...");
    check("a.jsonl", line, "text|t\n", expected);
}

static void csv_quoting(void **state)
{
    (void)state;
    check("a.csv", "text\nplain\n\"with, comma\"\n\"two \"\"words\"\"\"\n\"line\nbreak\"\n\nsay \"x\" here\n\"\"\n",
          "text|plain\ntext|with, comma\ntext|two \"words\"\ntext|line\nbreak\ntext|say \"x\" here\ntext|\n", "text");
    check("a.csv", "question, answer ,id\r\nq1,a1,7\r\n\"q,2\",\"a\r\n2\",8", "question-answer|q1|a1\n"
          "question-answer|q,2|a\r\n2\n", "question, answer; not used: id");
    check("a.csv", "id,prompt,completion\n1,,\n2,p,\n", "prompt-completion||\nprompt-completion|p|\n",
          "prompt, completion; not used: id");
    check("a.tsv", "instruction\toutput\tinput\na, b\tc\td\n", "alpaca|a, b|c|d\n", "instruction, output, input");
}

static void mmlu_rows(void **state)
{
    (void)state;
    const char *columns = "question, A, B, C, D, answer";
    check("x/high_school_physics_dev.csv", "q1,a,b,c,d,A\n\"q\n2\",a,\"b,\",c,d,D\n",
          "mmlu|q1|a|b|c|d|A|high school physics\nmmlu|q\n2|a|b,|c|d|D|high school physics\n", columns);
    check("race.csv", "q1,a,b,c,d,B\n", "mmlu|q1|a|b|c|d|B|-\n", columns);
    check("t.csv", "question,A,B,C,answer,D\nq1,a,b,c,B,d\n", "mmlu|q1|a|b|c|d|B|-\n", columns);
    check("t.csv", "question,A,B,C,D,answer\nq1,a,b,c,d,B\n", "mmlu|q1|a|b|c|d|B|-\n", columns);
}

static void plain_text_is_a_stream(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"a.txt", "{\"text\":\"json, but the name says text\"}"}, {"a.md", "[link](x)\n"}, {"README", "[link](x)\n"},
        {"a.log", "{brace}\n"}, {"noname", "a \"quoted\" word\n"}, {"noname", "[1, 2]"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        record_log log;
        vlorpi_records_report report;
        ASSERT_OK(read_records(&log, &report, files[i][0], files[i][1], strlen(files[i][1]), VLORPI_FORM_ANY, &err));
        assert_int_equal(report.form, VLORPI_FORM_STREAM);
        assert_int_equal(log.n, 0);
    }
}

static void shared_file(const char *path, int64_t n_expected, const char *form)
{
    record_log log;
    vlorpi_records_report report;
    vlorpi_mapped_file file;
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data(path), &err));
    ASSERT_OK(read_records(&log, &report, path, (const char *)file.bytes, file.n_bytes, VLORPI_FORM_ANY, &err));
    vlorpi_mapped_file_close(&file);
    assert_int_equal(report.n_records, n_expected);
    assert_string_equal(vlorpi_form_of(report.form)->name, form);
}

static void shared_files(void **state)
{
    (void)state;
    shared_file("commonsense/boolq/train.json", 9427, "alpaca");
    shared_file("commonsense/boolq/test.json", 3270, "alpaca");
    shared_file("commonsense/piqa/test.json", 1838, "alpaca");
    shared_file("commonsense/social_i_qa/test.json", 1954, "alpaca");
    shared_file("commonsense/winogrande/test.json", 1267, "alpaca");
    shared_file("commonsense/ARC-Easy/train.json", 2251, "alpaca");
    shared_file("commonsense/ARC-Easy/test.json", 2376, "alpaca");
    shared_file("commonsense/ARC-Challenge/train.json", 1119, "alpaca");
    shared_file("commonsense/ARC-Challenge/test.json", 1172, "alpaca");
    shared_file("commonsense/openbookqa/train.json", 4957, "alpaca");
    shared_file("commonsense/openbookqa/test.json", 500, "alpaca");
    shared_file("commonsense/hellaswag/test.json", 10042, "alpaca");
    shared_file("gsm8k/train.jsonl", 7473, "question-answer");
    shared_file("gsm8k/test.jsonl", 1319, "question-answer");
    shared_file("instruct/alpaca_en_demo.json", 999, "alpaca");
    shared_file("instruct/seed_tasks.jsonl", 175, "self-instruct");
    shared_file("text/c4_demo.jsonl", 300, "text");
    shared_file("text/tinyshakespeare.txt", 0, "plain text");
    shared_file("text/tinystories_sample.txt", 0, "plain text");
    shared_file("text/wikitext-2/valid.txt", 0, "plain text");
    shared_file("text/wikitext-2/test.txt", 0, "plain text");
}

/* The whole text, and the answer's place in it. */
static void check_rendered(const char *json, const char *expected, const char *answer)
{
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    json_t *object = json_loads(json, 0, NULL);
    assert_non_null(object);
    vlorpi_record record = {0};
    const vlorpi_form_traits *form = NULL;
    for (int f = VLORPI_FORM_ALPACA; f < VLORPI_FORM_STREAM && form == NULL; f++) {
        const vlorpi_form_traits *candidate = vlorpi_form_of((vlorpi_form)f);
        bool all = !candidate->nested;
        for (int i = 0; i < candidate->n_required; i++) {
            all = all && json_object_get(object, candidate->fields[i]) != NULL;
        }
        if (all) {
            form = candidate;
            record.form = (vlorpi_form)f;
        }
    }
    assert_non_null(form);
    for (int i = 0; i < form->n_fields; i++) {
        const char *text = json_string_value(json_object_get(object, form->fields[i]));
        record.fields[i] = (vlorpi_bytes){.text = text, .n_bytes = text != NULL ? strlen(text) : 0};
    }
    vlorpi_rendered rendered = {.mem = &mem};
    const vlorpi_template *row = vlorpi_template_for(&record);
    ASSERT_OK(vlorpi_template_render(&rendered, row, &record, true, &err));
    assert_int_equal(rendered.n_bytes, strlen(expected));
    assert_memory_equal(rendered.bytes, expected, rendered.n_bytes);
    assert_int_equal(rendered.n_spans, 1);
    assert_int_equal(rendered.spans[0].end, rendered.n_bytes);
    assert_int_equal(rendered.spans[0].end - rendered.spans[0].begin, strlen(answer));
    assert_memory_equal(rendered.bytes + rendered.spans[0].begin, answer, strlen(answer));
    ASSERT_OK(vlorpi_template_render(&rendered, row, &record, false, &err));
    assert_int_equal(rendered.n_bytes, strlen(expected) - strlen(answer));
    assert_int_equal(rendered.n_spans, 0);
    vlorpi_rendered_deinit(&rendered);
    json_decref(object);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void templates_to_the_byte(void **state)
{
    (void)state;
    check_rendered("{\"instruction\":\"Do {output}.\",\"input\":\"\",\"output\":\"Done\"}",
                   "Below is an instruction that describes a task. Write a response that appropriately completes the "
                   "request.\n\n### Instruction:\nDo {output}.\n\n### Response:\nDone", "Done");
    check_rendered("{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3\"}",
                   "Below is an instruction that describes a task, paired with an input that provides further context. "
                   "Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n"
                   "### Input:\n1 2\n\n### Response:\n3", "3");
    check_rendered("{\"question\":\"1+1?\",\"answer\":\"#### 2\"}", "Question: 1+1?\nAnswer: #### 2", " #### 2");
    check_rendered("{\"prompt\":\"p \",\"completion\":\" c\"}", "p  c", " c");
    check_rendered("{\"text\":\"t\"}", "t", "t");
    check_rendered("{\"question\":\"q?\",\"A\":\"w\",\"B\":\"x\",\"C\":\"y\",\"D\":\"z\",\"answer\":\"C\","
                   "\"subject\":\"virology\"}",
                   "The following are multiple choice questions (with answers) about virology.\n\n"
                   "q?\nA. w\nB. x\nC. y\nD. z\nAnswer: C", " C");
    check_rendered("{\"question\":\"q?\",\"A\":\"w\",\"B\":\"x\",\"C\":\"y\",\"D\":\"z\",\"answer\":\"C\"}",
                   "The following are multiple choice questions (with answers).\n\n"
                   "q?\nA. w\nB. x\nC. y\nD. z\nAnswer: C", " C");
    assert_null(vlorpi_template_find("no such template"));
    assert_int_equal(vlorpi_template_find("alpaca")->version, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_in_all_shapes),
        cmocka_unit_test(values_after_each_other),
        cmocka_unit_test(every_form),
        cmocka_unit_test(columns_of_strangers),
        cmocka_unit_test(csv_quoting),
        cmocka_unit_test(mmlu_rows),
        cmocka_unit_test(plain_text_is_a_stream),
        cmocka_unit_test(shared_files),
        cmocka_unit_test(templates_to_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
