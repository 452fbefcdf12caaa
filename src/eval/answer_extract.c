#include "eval/answer_extract.h"

#include <string.h>

/* ASCII alone: a locale must not change an accuracy. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *chars)
{
    return c != '\0' && strchr(chars, c) != NULL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool begins_with(vlorpi_written written, size_t at, const char *word, size_t n, bool any_case)
{
    if (n > written.n_bytes - at) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = written.text[at + i];
        if (c != word[i] && !(any_case && lower(c) == lower(word[i]))) {
            return false;
        }
    }
    return true;
}

/* Whether a word that is bytes [begin, end) has neither letter nor digit beside it. */
static bool stands_alone(vlorpi_written written, size_t begin, size_t end)
{
    char before = begin > 0 ? written.text[begin - 1] : ' ';
    char after = end < written.n_bytes ? written.text[end] : ' ';
    return !is_letter(before) && !is_digit(before) && !is_letter(after) && !is_digit(after);
}

static vlorpi_written trimmed(vlorpi_written words)
{
    while (words.n_bytes > 0 && is_one_of(words.text[words.n_bytes - 1], " \t\r\n.")) {
        words.n_bytes--;
    }
    while (words.n_bytes > 0 && is_one_of(words.text[0], " \t\r\n")) {
        words.text++;
        words.n_bytes--;
    }
    return words;
}

/* The words somewhere in the text, in any case, but for blanks and a full stop around them. */
static bool holds_words(vlorpi_written written, vlorpi_written words)
{
    words = words.text != NULL ? trimmed(words) : words;
    for (size_t at = 0; words.n_bytes > 0 && at + words.n_bytes <= written.n_bytes; at++) {
        if (begins_with(written, at, words.text, words.n_bytes, true) &&
            stands_alone(written, at, at + words.n_bytes)) {
            return true;
        }
    }
    return false;
}

/* --- labels --- */

enum { MAX_LABELS = 5 };

static const char *const families[][MAX_LABELS] = {
    {"true", "false"},
    {"solution1", "solution2"},
    {"answer1", "answer2", "answer3", "answer4", "answer5"},
    {"ending1", "ending2", "ending3", "ending4"},
    {"option1", "option2"},
};

/* The row of labels that right is one of, or NULL. */
static const char *const *family_of(const char *right)
{
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        for (int i = 0; i < MAX_LABELS && families[f][i] != NULL; i++) {
            if (strcmp(families[f][i], right) == 0) {
                return families[f];
            }
        }
    }
    return NULL;
}

static const char *label_at(vlorpi_written written, size_t at, const char *const *family)
{
    for (int i = 0; family != NULL && i < MAX_LABELS && family[i] != NULL; i++) {
        if (begins_with(written, at, family[i], strlen(family[i]), false)) {
            return family[i];
        }
    }
    return NULL;
}

const char *vlorpi_answer_label(vlorpi_written written, const char *right)
{
    const char *const *family = family_of(right);
    for (size_t at = 0; at < written.n_bytes; at++) {
        const char *label = label_at(written, at, family);
        if (label != NULL) {
            return label;
        }
    }
    return NULL;
}

bool vlorpi_answer_label_near(vlorpi_written written, const char *right, vlorpi_written words)
{
    for (size_t at = 0; at < written.n_bytes; at++) {
        if (begins_with(written, at, right, strlen(right), true)) {
            return true;
        }
    }
    return vlorpi_answer_label(written, right) == NULL && holds_words(written, words);
}

/* --- letters --- */

char vlorpi_answer_letter(vlorpi_written written)
{
    for (size_t at = 0; at < written.n_bytes; at++) {
        char c = written.text[at];
        if (is_letter(c)) {
            return c >= 'A' && c <= 'D' && stands_alone(written, at, at + 1) ? c : '\0';
        }
    }
    return '\0';
}

bool vlorpi_answer_letter_near(vlorpi_written written, char right, vlorpi_written words)
{
    for (size_t at = 0; at < written.n_bytes; at++) {
        bool article = right == 'A' && written.text[at] == 'a'; /* not an answer */
        if (lower(written.text[at]) == lower(right) && !article && stands_alone(written, at, at + 1)) {
            return true;
        }
    }
    return holds_words(written, words);
}

/* --- numbers --- */

static size_t digits_at(vlorpi_written written, size_t at)
{
    size_t n = 0;
    while (at + n < written.n_bytes && is_digit(written.text[at + n])) {
        n++;
    }
    return n;
}

/* Collects digits; a number that does not fit is marked by n_bytes beyond the array. */
typedef struct digits {
    char *text;
    size_t n_bytes;
} digits;

static void put(digits *d, const char *from, size_t n)
{
    if (d->n_bytes + n < VLORPI_NUMBER_BYTES) {
        memcpy(d->text + d->n_bytes, from, n);
        d->n_bytes += n;
    } else {
        d->n_bytes = VLORPI_NUMBER_BYTES;
    }
}

/* The digits before the point from `at` on, without leading zeros, then those behind it; returns where they end. */
static size_t read_digits(digits *d, vlorpi_written written, size_t at)
{
    size_t n = digits_at(written, at);
    size_t zeros = 0;
    while (zeros + 1 < n && written.text[at + zeros] == '0') {
        zeros++;
    }
    put(d, n > 0 ? written.text + at + zeros : "0", n > 0 ? n - zeros : 1);
    at += n;
    while (n > 0 && n <= 3 && at < written.n_bytes && written.text[at] == ',' && digits_at(written, at + 1) == 3) {
        put(d, written.text + at + 1, 3);
        at += 4;
    }
    n = at < written.n_bytes && written.text[at] == '.' ? digits_at(written, at + 1) : 0;
    size_t used = n;
    while (used > 0 && written.text[at + used] == '0') {
        used--;
    }
    if (used > 0) {
        put(d, written.text + at, used + 1);
    }
    return n > 0 ? at + n + 1 : at;
}

/* Whether byte `at` begins a number: a digit, or a point before one that ends no word. */
static bool begins_number(vlorpi_written written, size_t at)
{
    if (written.text[at] != '.') {
        return is_digit(written.text[at]);
    }
    return digits_at(written, at + 1) > 0 && (at == 0 || is_one_of(written.text[at - 1], " \t\r\n$-(="));
}

/* The first number that begins at or behind *at, which moves behind it; 0: there is none. */
static size_t next_number(char number[VLORPI_NUMBER_BYTES], vlorpi_written written, size_t *at)
{
    while (*at < written.n_bytes) {
        size_t begin = *at;
        if (!begins_number(written, begin)) {
            (*at)++;
            continue;
        }
        digits d = {.text = number};
        size_t sign = begin;
        while (sign > 0 && written.text[sign - 1] == '$') {
            sign--;
        }
        /* "-" is a sign where nothing stands before it that something could be taken from */
        bool negative = sign > 0 && written.text[sign - 1] == '-' &&
                        (sign == 1 || (!is_digit(written.text[sign - 2]) && !is_letter(written.text[sign - 2]) &&
                                       written.text[sign - 2] != ')'));
        if (negative) {
            put(&d, "-", 1);
        }
        *at = read_digits(&d, written, begin);
        if (d.n_bytes < VLORPI_NUMBER_BYTES) {
            d.text[d.n_bytes] = '\0';
            if (strcmp(number, "-0") == 0) {
                memcpy(number, "0", 2);
                d.n_bytes = 1;
            }
            return d.n_bytes;
        }
    }
    return 0;
}

/* The number that follows "####" at `at`, with blanks and "$" between them at most. */
static size_t marked_number(char number[VLORPI_NUMBER_BYTES], vlorpi_written written, size_t at)
{
    at += 4;
    while (at < written.n_bytes && is_one_of(written.text[at], " \t$-")) {
        at++;
    }
    return at < written.n_bytes && begins_number(written, at) ? next_number(number, written, &at) : 0;
}

size_t vlorpi_answer_number(char number[VLORPI_NUMBER_BYTES], vlorpi_written written)
{
    for (size_t at = 0; at < written.n_bytes; at++) {
        size_t n = begins_with(written, at, "####", 4, false) ? marked_number(number, written, at) : 0;
        if (n > 0) {
            return n;
        }
    }
    size_t n_last = 0;
    char found[VLORPI_NUMBER_BYTES];
    size_t at = 0;
    for (size_t n; (n = next_number(found, written, &at)) > 0;) {
        memcpy(number, found, n + 1);
        n_last = n;
    }
    return n_last;
}

bool vlorpi_answer_number_near(vlorpi_written written, const char *right)
{
    char found[VLORPI_NUMBER_BYTES];
    size_t at = 0;
    while (next_number(found, written, &at) > 0) {
        if (strcmp(found, right) == 0) {
            return true;
        }
    }
    return false;
}
