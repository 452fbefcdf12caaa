/* Damaged data files: each gives one error that names the file, the line and what is wanted. */
#include "data_support.h"

#include "format/json.h"

static vlorp_err err;

typedef struct damaged {
    const char *name;
    const char *bytes;
    int line;         /* 0: the error is about the whole file */
    const char *says; /* must be in the text */
} damaged;

#define GOOD "{\"instruction\":\"i\",\"output\":\"o\"}\n"

static const damaged cases[] = {
    /* whole files */
    {"a.json", "", 0, "empty"},
    {"a.jsonl", " \n\t\n", 0, "empty"},
    {"a.txt", "\xef\xbb\xbf\n", 0, "empty"},
    {"a.csv", "", 0, "empty"},
    {"a.parquet", "PAR1....", 0, "Parquet"},
    {"a.json", "PAR1....", 0, "Parquet"},
    {"a.arrow", "ARROW1..", 0, "Arrow"},
    {"a.jsonl.gz", "\x1f\x8b\x08", 0, "gzip"},
    {"a.jsonl.zst", "\x28\xb5\x2f\xfd", 0, "zstd"},
    {"a.jsonl.xz", "\xfd\x37zXZ", 0, "xz"},
    {"a.bz2", "BZh91", 0, "bzip2"},
    {"a.xlsx", "PK\x03\x04", 0, "zip"},
    {"a.jsonl", "\xff\xfe{", 0, "UTF-16"},
    {"a.csv", "\xfe\xff", 0, "UTF-16"},
    {"a.json", "[]", 1, "holds no record; wanted: messages; or instruction and output"},
    {"a.csv", "text\n", 1, "holds no record; wanted: text"},
    /* records that fit nothing */
    {"a.json", "[{}]", 1, "fits no form; wanted: messages; or instruction and output; or instruction and instances; or "
     "prompt and completion; or question, A, B, C, D and answer; or question and answer; or text"},
    {"a.json", "[\n\n{\"instruction\":\"i\"}]", 3, "fits no form"},
    {"a.jsonl", "{\"Question\":\"q\",\"Answer\":\"a\"}", 1, "fits no form"},
    {"a.jsonl", "{\"data\":[]}", 1, "fits no form"},
    {"a.jsonl", "3\n", 1, "is a number, not an object"},
    {"a.jsonl", GOOD "\"text\"\n", 2, "is a string, not an object"},
    {"a.jsonl", GOOD "null\n", 2, "is null, not an object"},
    {"a.jsonl", GOOD "true\n", 2, "is true or false, not an object"},
    {"a.jsonl", GOOD "[]\n", 2, "is a list, not an object"},
    {"a.json", "[[1]]", 1, "is a list, not an object"},
    {"a.jsonl", GOOD GOOD "{\"text\":\"t\"}\n", 3, "no field \"instruction\"; wanted: instruction and output"},
    {"a.jsonl", GOOD "\n\n{\"instruction\":\"i\"}\n", 4, "no field \"output\""},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":7}\n", 2, "\"output\" is a number, not a string"},
    {"a.jsonl", GOOD "{\"instruction\":null,\"output\":\"o\"}\n", 2, "\"instruction\" is null, not a string"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":[\"o\"]}\n", 2, "\"output\" is a list, not a string"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":{}}\n", 2, "\"output\" is an object, not a string"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"o\",\"input\":false}\n", 2, "\"input\" is true or false"},
    {"a.jsonl", "{\"question\":\"q\",\"answer\":42}\n", 1, "\"answer\" is a number"},
    {"a.jsonl", "{\"messages\":\"hello\"}\n", 1, "\"messages\" is a string, not a list"},
    {"a.jsonl", "{\"messages\":[]}\n", 1, "\"messages\" is empty"},
    {"a.jsonl", "{\"instruction\":\"i\",\"instances\":{}}\n", 1, "\"instances\" is an object, not a list"},
    {"a.jsonl", "{\"instruction\":\"i\",\"instances\":[\"x\"]}\n", 1, "entry 1 of \"instances\" is a string"},
    {"a.jsonl", "{\"instruction\":\"i\",\"instances\":[{\"output\":\"o\"},{\"input\":\"x\"}]}\n", 1,
     "no field \"output\""},
    /* broken JSON */
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"o\"\n" GOOD, 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i,\"output\":\"o\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{'instruction':'i','output':'o'}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "instruction: i\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"o\",}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\" \"output\":\"o\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\\q\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\\ud800\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"a\tb\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\xff\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\xc3\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\xed\xa0\x80\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":NaN}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"text\":\"a\",\"text\":\"b\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"\\u0000\"}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "}\n", 2, "no valid JSON"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"o\"} {}\n", 2, "text follows the record"},
    {"a.jsonl", GOOD "{\"instruction\":\"i\",\"output\":\"o\"},\n", 2, "text follows the record"},
    {"a.jsonl", "{\n\"instruction\":\"i\",\"output\":\"o\"}\n", 1, "no valid JSON"},
    {"a.json", "[\n{\"text\":\"a\"}\n{\"text\":\"b\"}]", 3, "a comma or ] is wanted"},
    {"a.json", "[\n{\"text\":\"a\"},\n{\"text\":\"b\"}", 1, "has no end"},
    {"a.json", "[\n{\"text\":\"a\"},\n{\"text\":\"b", 3, "no valid JSON"},
    {"a.json", "[\n{\"text\":\"a\"},\n]", 3, "no valid JSON"},
    {"a.json", "[{\"text\":\"a\"}]\n[{\"text\":\"a\"}]", 2, "text follows the list"},
    {"a.json", "[\n{\"text\":\"a\"},\n{\n\"text\":\"b\",\n\"x\":}]", 5, "no valid JSON, column"},
    {"a.json", "{\n\"text\":\"a\"\n}\n{\n\"txt\":\"b\"}", 4, "no field \"text\""},
    {"a.json", "hello", 1, "no valid JSON"},
    {"a.json", "[", 1, "no valid JSON"},
    /* CSV */
    {"a.csv", "instruction,answer\ni,a\n", 1, "the header's columns fit no form; wanted: instruction and output"},
    {"a.csv", "q,a,b,c,d,E\n", 1, "the header's columns fit no form"},
    {"a.csv", "messages\n[]\n", 1, "the header's columns fit no form"},
    {"a.csv", "question,answer\nq1,a1\nq2\n", 3, "1 field and the header 2; wanted: question and answer"},
    {"a.csv", "question,answer\nq1,a1\n\nq2,a,b\n", 4, "3 fields and the header 2; wanted: question and answer"},
    {"a.csv", "question,answer\nq1,\"a\n\nb\"\nq2,\"open\nx\n", 5, "not closed"},
    {"a.csv", "question,answer\n\"a\n\nb\",\"open\nx\n", 4, "not closed"},
    {"a.csv", "question,answer\nq1,\"a\"b\n", 2, "text follows the closing quote"},
    {"a.csv", "question,answer\nq1,a\nq2,\xff\n", 3, "not UTF-8"},
    {"a.csv", "question,answer\nq1,a\nq2,\xc3", 3, "not UTF-8"},
    {"x_dev.csv", "q,a,b,c,d,A\nq,a,b,c,d\n", 2, "5 fields; wanted: question, four choices"},
    {"x_dev.csv", "q,a,b,c,d,A\nq,a,b,c,d,e\n", 2, "no letter A to D"},
    {"x_dev.csv", "q,a,b,c,d,A\nq,a,b,c,d,AB\n", 2, "no letter A to D"},
};

static void check_text(const damaged *c, const vlorp_err *e)
{
    char place[64];
    (void)snprintf(place, sizeof place, c->line > 0 ? "%s: line %d: " : "%s: ", c->name, c->line);
    if (strncmp(e->text, place, strlen(place)) != 0 || strstr(e->text, c->says) == NULL || strchr(e->text, '\n')) {
        fail_msg("%s, wanted \"%s...%s\":\n%s\n\"%s\"", c->name, place, c->says, c->bytes, e->text);
    }
}

static void each_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        record_log log;
        vlorpi_records_report report;
        const damaged *c = &cases[i];
        vlorp_status status =
            read_records(&log, &report, c->name, c->bytes, strlen(c->bytes), VLORPI_FORM_ANY, &err);
        if (status != VLORP_E_FORMAT && status != VLORP_E_UNSUPPORTED) {
            fail_msg("status %d for\n%s", (int)status, c->bytes);
        }
        check_text(c, &err);
    }
}

static void zero_bytes(void **state)
{
    (void)state;
    record_log log;
    vlorpi_records_report report;
    static const char bytes[] = "some text\0more";
    static const char *const names[] = {"a.txt", "a.json", "a.csv"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_records(&log, &report, names[i], bytes, sizeof bytes, VLORPI_FORM_ANY, &err),
                         VLORP_E_FORMAT);
        assert_non_null(strstr(err.text, "byte 9 is zero"));
    }
}

static void remedies(void **state)
{
    (void)state;
    record_log log;
    vlorpi_records_report report;
    assert_int_equal(read_records(&log, &report, "d/a.parquet", "PAR1", 4, VLORPI_FORM_ANY, &err), VLORP_E_UNSUPPORTED);
    assert_string_equal(err.hint, "python3 -c \"import pandas; pandas.read_parquet('d/a.parquet').to_json("
                                  "'d/a.parquet.jsonl', orient='records', lines=True, force_ascii=False)\"");
    assert_int_equal(read_records(&log, &report, "a.gz", "\x1f\x8b", 2, VLORPI_FORM_ANY, &err), VLORP_E_UNSUPPORTED);
    assert_string_equal(err.hint, "gzip -dc 'a.gz' > 'a.gz.unpacked'");
}

static void a_promised_form(void **state)
{
    (void)state;
    record_log log;
    vlorpi_records_report report;
    const char *qa = "{\"question\":\"q\",\"answer\":\"a\"}";
    ASSERT_OK(read_records(&log, &report, "a.jsonl", qa, strlen(qa), VLORPI_FORM_QA, &err));
    assert_int_equal(read_records(&log, &report, "a.jsonl", qa, strlen(qa), VLORPI_FORM_ALPACA, &err), VLORP_E_FORMAT);
    assert_non_null(strstr(err.text, "a.jsonl: line 1: the record has no field \"instruction\"; wanted: instruction"));
    assert_int_equal(read_records(&log, &report, "a.txt", "text", 4, VLORPI_FORM_ALPACA, &err), VLORP_E_FORMAT);
    assert_non_null(strstr(err.text, "a.txt: line 1: the file is plain text; wanted: instruction and output"));
    assert_int_equal(read_records(&log, &report, "a.csv", "text\nx", 6, VLORPI_FORM_MMLU, &err), VLORP_E_FORMAT);
}

/* Every prefix and every single damaged byte of small good files: an error or a result, no crash. */
static void every_cut_and_every_flip(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
    } good[] = {
        {"a.json", "[{\"instruction\":\"i\\u00e4\",\"input\":null,\"output\":\"\xc3\xa4\"},\n"
                   "{\"instruction\":\"b\",\"output\":\"c\"}]\n"},
        {"a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n{\"messages\":[{}]}\n"},
        {"a.csv", "question,answer\r\n\"a\"\"b\n\",\xe2\x82\xac\nx,y\n"},
        {"x_dev.csv", "q,\"a,\",b,c,d,A\nq,a,b,c,d,B\n"},
    };
    uint64_t random = 7;
    for (size_t g = 0; g < sizeof good / sizeof good[0]; g++) {
        char bytes[256];
        size_t n = strlen(good[g].bytes);
        record_log log;
        vlorpi_records_report report;
        for (size_t cut = 0; cut <= n; cut++) {
            (void)!read_records(&log, &report, good[g].name, good[g].bytes, cut, VLORPI_FORM_ANY, &err);
        }
        for (int round = 0; round < 4000; round++) {
            memcpy(bytes, good[g].bytes, n);
            bytes[test_random(&random) % n] = (char)test_random(&random);
            vlorp_status status = read_records(&log, &report, good[g].name, bytes, n, VLORPI_FORM_ANY, &err);
            assert_true(status == VLORP_OK || err.text[0] != '\0');
        }
    }
}

static vlorp_status refuse(void *ctx, const vlorpi_record *record, vlorp_err *e)
{
    (void)ctx;
    (void)record;
    VLORP_FAIL(e, VLORP_E_NUMERIC, "refused");
}

static void a_failing_consumer(void **state)
{
    (void)state;
    vlorpi_mem mem;
    vlorpi_records_report report;
    vlorpi_mem_init(&mem);
    static const char bytes[] = "\n{\"text\":\"a\"}";
    assert_int_equal(vlorpi_records_read(&report, &mem, "f.jsonl", (const unsigned char *)bytes, sizeof bytes - 1,
                                         VLORPI_FORM_ANY, refuse, NULL, &err), VLORP_E_NUMERIC);
    assert_string_equal(err.text, "f.jsonl: line 2: refused");
}

static vlorp_status count(void *ctx, const vlorpi_record *record, vlorp_err *e)
{
    (void)record;
    (void)e;
    ++*(int *)ctx;
    return VLORP_OK;
}

static void failing_allocations(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"a.csv", "question,answer\nq,\"a\"\"\"\n"},
        {"a.json", "[{\"instruction\":\"i\",\"instances\":[{\"output\":\"o\"}]}]"},
    };
    for (int f = 0; f < 2; f++) {
        vlorpi_mem mem;
        vlorpi_mem_init(&mem);
        vlorpi_json_use_account(&mem);
        vlorp_status status = VLORP_E_NOMEM;
        uint64_t n = 1;
        for (; status == VLORP_E_NOMEM && n < 1000; n++) {
            int n_records = 0;
            vlorpi_records_report report;
            mem.fail_at = n;
            status = vlorpi_records_read(&report, &mem, files[f][0], (const unsigned char *)files[f][1],
                                         strlen(files[f][1]), VLORPI_FORM_ANY, count, &n_records, &err);
            assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
            assert_int_equal(n_records, status == VLORP_OK);
        }
        assert_int_equal(status, VLORP_OK);
        assert_in_range(n, 3, 999);
        vlorpi_json_use_account(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_named),      cmocka_unit_test(zero_bytes),
        cmocka_unit_test(remedies),           cmocka_unit_test(a_promised_form),
        cmocka_unit_test(every_cut_and_every_flip), cmocka_unit_test(a_failing_consumer),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
