/* Answers in what a model wrote: the published rules, and what lies beside them. */
#include "support.h"

#include "eval/answer_extract.h"

static vlorpi_written text(const char *s)
{
    return (vlorpi_written){.text = s, .n_bytes = strlen(s)};
}

static const vlorpi_written nothing = {NULL, 0};

typedef struct label_case {
    const char *right, *written, *found; /* NULL: none */
    const char *words;
    bool near;
} label_case;

static void test_labels(void **state)
{
    (void)state;
    static const label_case cases[] = {
        {"true", "the correct answer is true", "true", NULL, true},
        {"true", "untrue", "true", NULL, true}, /* the published expressions do not look at words */
        {"false", "true or false", "true", NULL, true},
        {"false", "False", NULL, NULL, true},
        {"false", "", NULL, NULL, false},
        {"false", "yes", NULL, NULL, false},
        {"solution2", "solution1", "solution1", NULL, false},
        {"solution2", "solution 2", NULL, NULL, false},
        {"solution2", "solution3 solution2", "solution2", NULL, true},
        {"answer3", "\n\nthe correct answer is answer3", "answer3", NULL, true},
        {"answer1", "answer10", "answer1", NULL, true},
        {"answer3", "answer5, not answer3", "answer5", NULL, true},
        {"answer3", "answer6", NULL, NULL, false},
        {"answer3", "Answer3: Find somewhere to go", NULL, NULL, true},
        {"answer3", "She has to find somewhere to go!", NULL, "Find somewhere to go. ", true},
        {"answer3", "answer1: find somewhere to go", "answer1", "Find somewhere to go", false},
        {"answer3", "the cargo", NULL, "car", false},
        {"ending4", "ending5 ending4", "ending4", NULL, true},
        {"option2", "option2option1", "option2", NULL, true},
        {"option2", "OPTION2", NULL, NULL, true},
        {"option2", "opti", NULL, NULL, false},
        {"B", "B", NULL, NULL, true}, /* no family: nothing is found */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const label_case *c = &cases[i];
        const char *found = vlorpi_answer_label(text(c->written), c->right);
        if ((found == NULL) != (c->found == NULL) || (found != NULL && strcmp(found, c->found) != 0)) {
            fail_msg("\"%s\": found %s", c->written, found != NULL ? found : "nothing");
        }
        vlorpi_written words = c->words != NULL ? text(c->words) : nothing;
        assert_int_equal(vlorpi_answer_label_near(text(c->written), c->right, words), c->near);
    }
}

typedef struct letter_case {
    char right;
    const char *written;
    char found;
    bool near;
} letter_case;

static void test_letters(void **state)
{
    (void)state;
    static const letter_case cases[] = {
        {'B', "B", 'B', true},
        {'B', " B. Bees", 'B', true},
        {'B', "\n(B)", 'B', true},
        {'B', "**B**", 'B', true},
        {'B', "Bees", '\0', false},
        {'B', "b", '\0', true},
        {'B', "The answer is B.", '\0', true},
        {'B', "C, or rather B", 'C', true},
        {'B', "E", '\0', false},
        {'B', "", '\0', false},
        {'B', "42", '\0', false},
        {'B', "3B", '\0', false},
        {'A', "It is a bee", '\0', false},
        {'C', "the honey bee of course", '\0', true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const letter_case *c = &cases[i];
        if (vlorpi_answer_letter(text(c->written)) != c->found ||
            vlorpi_answer_letter_near(text(c->written), c->right, text("Honey bee")) != c->near) {
            fail_msg("\"%s\"", c->written);
        }
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"#### 18", "18"},
        {"She has 16 - 3 = <<16-3=13>>13 eggs.\n#### 18\n\n#### 19", "18"},
        {"####$1,234.50 and 7", "1234.5"},
        {"#### -$5", "-5"},
        {"#### -0", "0"},
        {"#### none, but 12.", "12"},
        {"### 3 #### x #### 4 5", "4"},
        {"The answer is $12,000.", "12000"},
        {"1,2", "2"},
        {"12,3456", "3456"},
        {"1,000,000 dollars", "1000000"},
        {"1234,567", "567"},
        {"it is 007", "7"},
        {"0", "0"},
        {"000.500", "0.5"},
        {"3.", "3"},
        {".5", "0.5"},
        {"well...5", "5"},
        {"-$.50", "-0.5"},
        {"9-3", "3"},
        {"9 - 3", "3"},
        {"is -3", "-3"},
        {"-3", "-3"},
        {"(4)-2", "2"},
        {"5%", "5"},
        {"3.0", "3"},
        {"x2y", "2"},
        {"no number", ""},
        {"", ""},
        {"#### ", ""},
        {"7 then 1234567890123456789012345678901234567890123456789012345678901234567890", "7"},
        {"0.1234567890123456789012345678901234567890123456789012345678901234567890", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char number[VLORPI_NUMBER_BYTES] = "";
        size_t n = vlorpi_answer_number(number, text(cases[i][0]));
        if (n != strlen(cases[i][1]) || memcmp(number, cases[i][1], n) != 0) {
            fail_msg("\"%s\": found \"%.*s\"", cases[i][0], (int)n, number);
        }
    }
    assert_true(vlorpi_answer_number_near(text("$1,000.00 or 7"), "1000"));
    assert_false(vlorpi_answer_number_near(text("1,0000 or 7"), "1000"));
}

/* Texts of models are no strings: nothing is read behind their end. */
static void test_ends(void **state)
{
    (void)state;
    static const char *const whole[] = {"answer2", "B", "#### -$1,234.56", "1,234"};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        for (size_t n = 0; n <= strlen(whole[i]); n++) {
            char *bytes = malloc(n + (n == 0));
            assert_non_null(bytes);
            memcpy(bytes, whole[i], n);
            vlorpi_written written = {.text = bytes, .n_bytes = n};
            char number[VLORPI_NUMBER_BYTES];
            (void)vlorpi_answer_label(written, "answer2");
            (void)vlorpi_answer_label_near(written, "answer2", text("x"));
            (void)vlorpi_answer_letter(written);
            (void)vlorpi_answer_letter_near(written, 'B', text("x"));
            (void)vlorpi_answer_number(number, written);
            (void)vlorpi_answer_number_near(written, "7");
            free(bytes);
        }
    }
    static const char zeros[] = "\0answer2\0 7";
    vlorpi_written written = {.text = zeros, .n_bytes = sizeof zeros - 1};
    char number[VLORPI_NUMBER_BYTES];
    assert_string_equal(vlorpi_answer_label(written, "answer2"), "answer2");
    assert_int_equal(vlorpi_answer_number(number, written), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
