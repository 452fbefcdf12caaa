/* answer_extract.h - the answer in what a model wrote.
 *
 * Layer 5.  Knows: bytes.  Does not know: tasks, models.
 *
 * A rule finds at most one answer, and only that one counts.  "Near" is what the rule does not count and a reader
 * might: it is told apart so that a model that knows the answer and misses the form is seen.
 */
#ifndef VLORPI_EVAL_ANSWER_EXTRACT_H
#define VLORPI_EVAL_ANSWER_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of a text; need not be UTF-8 and has no zero at the end. */
typedef struct vlorpi_written {
    const char *text;
    size_t n_bytes;
} vlorpi_written;

/* The first label of the family of `right` in the text, by the published regular expressions: true|false,
 * solution1|solution2, answer1 to answer5, ending1 to ending4, option1|option2.  NULL: there is none, or right is no
 * label.  Points to constant text. */
const char *vlorpi_answer_label(vlorpi_written written, const char *right);
/* Near: right in another case, right behind another label, or the words of the right answer (NULL: unknown) alone. */
bool vlorpi_answer_label_near(vlorpi_written written, const char *right, vlorpi_written words);

/* The first letter of the text when it is one of A to D and stands alone, as in "B", " (B)" and "**B.**"; else 0. */
char vlorpi_answer_letter(vlorpi_written written);
/* Near: the right letter further on or in lower case, standing alone, or the words of the right answer. */
bool vlorpi_answer_letter_near(vlorpi_written written, char right, vlorpi_written words);

/* The number behind the first "####" that has one, else the last number, in one form for equal numbers: without
 * "$", commas between thousands, a "." that ends a sentence, zeros that say nothing.  Returns its bytes, 0: there is none.
 * A number with more than VLORPI_NUMBER_BYTES - 1 of them is none. */
enum { VLORPI_NUMBER_BYTES = 64 };
size_t vlorpi_answer_number(char number[VLORPI_NUMBER_BYTES], vlorpi_written written);
/* Near: the right number, in that form, is among the text's. */
bool vlorpi_answer_number_near(vlorpi_written written, const char *right);

#endif
