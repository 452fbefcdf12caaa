/* test_tokenizer_parts.c - small tokenizers made by hand: offsets through normalisers, flags of added
 * tokens, splits, damaged files, failing allocations. */
#include "support.h"

#include "byte_builder.h"
#include "format/gguf.h"
#include "format/json.h"
#include "text/tokenizer.h"

static vlorpi_mem mem;

/* tokenizer.json with the vocabulary of single letters and the given other fields. */
static vlorp_status load(vlorpi_tokenizer **out, const char *vocab, const char *merges, const char *fields,
                         vlorp_err *err)
{
    char text[8192];
    (void)snprintf(text, sizeof text, "{\"model\": {\"type\": \"BPE\", \"vocab\": {%s}, \"merges\": [%s], "
                   "\"unk_token\": \"?\"}%s%s}", vocab, merges, fields[0] != 0 ? ", " : "", fields);
    return vlorpi_tokenizer_from_json(out, &mem, text, strlen(text), "small.json", err);
}

static const char LETTERS[] = "\"?\": 0, \"a\": 1, \"b\": 2, \"c\": 3, \" \": 4, \"\xC3\xA9\": 5, \"ab\": 6, "
                              "\"abc\": 7, \"x\": 8, \"1\": 9, \"\xE2\x96\x81\": 10, \"\xE2\x96\x81""a\": 11";
static const char MERGES[] = "\"a b\", [\"ab\", \"c\"], \"\xE2\x96\x81 a\"";

/* Encodes text and compares with "id:begin-end id:begin-end ...". */
static void check(const char *fields, const char *text, size_t n_bytes, const char *want)
{
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    vlorpi_tokens tokens = {.mem = &mem};
    char got[1024] = "";
    size_t n = 0;
    ASSERT_OK(load(&tokenizer, LETTERS, MERGES, fields, &err));
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, n_bytes,
                                      (vlorpi_encode_options){.add_special = true, .parse_special = true}, &err));
    for (int64_t i = 0; i < tokens.n; i++) {
        const vlorpi_token *t = &tokens.items[i];
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%d:%d-%d", i > 0 ? " " : "", (int)t->id, (int)t->begin,
                              (int)t->end);
    }
    assert_string_equal(got, want);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

#define CHECK(fields, text, want) check(fields, text, sizeof(text) - 1, want)

static void merging(void **state)
{
    (void)state;
    CHECK("", "", "");
    CHECK("", "abcab a", "7:0-3 6:3-5 4:5-6 1:6-7");
    CHECK("", "zab", "0:0-1 6:1-3");
}

/* --- merging against a loop that does what is said: the lowest rank, leftmost, until there is none --- */

enum { N_RANDOM_MERGES = 60, N_RANDOM_TOKENS = 4 + N_RANDOM_MERGES };

typedef struct random_merges {
    char texts[N_RANDOM_TOKENS][64];
    int left[N_RANDOM_MERGES], right[N_RANDOM_MERGES];
} random_merges;

static void make_merges(random_merges *m, char *vocab, char *merges, size_t n_bytes, uint64_t *seed)
{
    size_t n_vocab = 0;
    size_t n_merges = 0;
    for (int i = 0; i < N_RANDOM_TOKENS; i++) {
        bool again = i >= 4;
        (void)snprintf(m->texts[i], sizeof m->texts[i], "%c", "abcd"[i % 4]);
        while (again) {
            int k = i - 4;
            m->left[k] = (int)(test_random(seed) % (uint64_t)i);
            m->right[k] = (int)(test_random(seed) % (uint64_t)i);
            again = strlen(m->texts[m->left[k]]) + strlen(m->texts[m->right[k]]) >= sizeof m->texts[0];
            if (!again) {
                (void)stpcpy(stpcpy(m->texts[i], m->texts[m->left[k]]), m->texts[m->right[k]]);
            }
            for (int j = 0; j < i && !again; j++) {
                again = strcmp(m->texts[j], m->texts[i]) == 0;
            }
        }
        n_vocab += (size_t)snprintf(vocab + n_vocab, n_bytes - n_vocab, ", \"%s\": %d", m->texts[i], i + 1);
        if (i >= 4) {
            n_merges += (size_t)snprintf(merges + n_merges, n_bytes - n_merges, "%s\"%s %s\"", i > 4 ? ", " : "",
                                         m->texts[m->left[i - 4]], m->texts[m->right[i - 4]]);
        }
    }
}

static int merge_slowly(const random_merges *m, int *ids, int n)
{
    for (int k = 0; k < N_RANDOM_MERGES; k++) {
        for (int i = 0; i + 1 < n; i++) {
            if (ids[i] == m->left[k] && ids[i + 1] == m->right[k]) {
                ids[i] = 4 + k;
                memmove(ids + i + 1, ids + i + 2, (size_t)(n - i - 2) * sizeof *ids);
                n--;
                k = -1; /* a new pair may have a lower rank */
                break;
            }
        }
    }
    return n;
}

static void merging_in_order(void **state)
{
    (void)state;
    static char vocab[8192];
    static char merges[8192];
    static char text[20480];
    for (uint64_t trial = 1; trial <= 20; trial++) {
        uint64_t seed = trial;
        vlorp_err err = {0};
        vlorpi_tokenizer *tokenizer;
        random_merges m;
        make_merges(&m, vocab, merges, sizeof vocab, &seed);
        (void)snprintf(text, sizeof text, "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"?\": 0%s}, \"merges\": [%s]}}",
                       vocab, merges);
        ASSERT_OK(vlorpi_tokenizer_from_json(&tokenizer, &mem, text, strlen(text), "random", &err));
        for (int length = 1; length <= 400; length += 19) { /* short and long pieces go different ways */
            int ids[400];
            vlorpi_tokens tokens = {.mem = &mem};
            for (int i = 0; i < length; i++) {
                ids[i] = (int)(test_random(&seed) % 4);
                text[i] = "abcd"[ids[i]];
            }
            int n = merge_slowly(&m, ids, length);
            ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, (size_t)length, (vlorpi_encode_options){0},
                                              &err));
            assert_int_equal(tokens.n, n);
            for (int i = 0; i < n; i++) {
                assert_int_equal(tokens.items[i].id, ids[i] + 1);
            }
            vlorpi_tokens_deinit(&tokens);
        }
        vlorpi_tokenizer_free(tokenizer);
    }
}

static void offsets(void **state)
{
    (void)state;
    static const char nfc[] = "\"normalizer\": {\"type\": \"NFC\"}";
    static const char lower[] = "\"normalizer\": {\"type\": \"Lowercase\"}";
    static const char pieces[] = "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
                                 "\"prepend\": \"\xE2\x96\x81\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": "
                                 "\" \"}, \"content\": \"\xE2\x96\x81\"}]}";
    static const char strip[] = "\"normalizer\": {\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}";
    static const char shrink[] = "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"b+\"}, "
                                 "\"content\": \"x\"}";
    CHECK(nfc, "ae\xCC\x81x", "1:0-1 5:1-4 8:4-5");
    CHECK(nfc, "a\xC3\xA9x", "1:0-1 5:1-3 8:3-4");
    CHECK(lower, "ABx", "6:0-2 8:2-3");
    CHECK(pieces, "a a", "11:0-1 11:1-3");
    CHECK(pieces, "b", "10:0-1 2:0-1");
    CHECK(strip, "  ab ", "6:2-4");
    CHECK(strip, "   ", "");
    CHECK(shrink, "abbbc", "1:0-1 8:1-4 3:4-5");
    CHECK("", "a\xFF\xFE" "b\xC3", "1:0-1 0:1-2 0:2-3 2:3-4 0:4-5"); /* not UTF-8: U+FFFD, unknown here */
    CHECK("", "\xF0\x9F\x98\x80\xC3\xA9", "0:0-4 5:4-6");
}

static void splits(void **state)
{
    (void)state;
    static const char metaspace[] = "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\", "
                                    "\"prepend_scheme\": \"%s\", \"split\": true}";
    static const char behavior[] = "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"b\"}, "
                                   "\"behavior\": \"%s\", \"invert\": false}";
    char fields[400];
    static const struct {
        const char *name, *want;
    } behaviors[] = {{"Isolated", "1:0-1 2:1-2 2:2-3 3:3-4"}, {"Removed", "1:0-1 3:3-4"},
                     {"MergedWithPrevious", "6:0-2 2:2-3 3:3-4"}, {"MergedWithNext", "1:0-1 2:1-2 2:2-3 3:3-4"},
                     {"Contiguous", "1:0-1 2:1-2 2:2-3 3:3-4"}};
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        (void)snprintf(fields, sizeof fields, behavior, behaviors[i].name);
        check(fields, "abbc", 4, behaviors[i].want);
    }
    (void)snprintf(fields, sizeof fields, metaspace, "always");
    check(fields, "a a", 3, "11:0-1 11:1-3");
    (void)snprintf(fields, sizeof fields, metaspace, "never");
    check(fields, "a a", 3, "1:0-1 11:1-3");
    CHECK("\"pre_tokenizer\": {\"type\": \"Digits\", \"individual_digits\": true}", "ab11", "6:0-2 9:2-3 9:3-4");
    CHECK("\"pre_tokenizer\": {\"type\": \"Whitespace\"}", "ab  c", "6:0-2 3:4-5");
    /* U+180E is no white space, U+0085 is; a combining mark is part of a word, U+24B6 too */
    CHECK("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[x\\\\s]+\"}, \"behavior\": \"Removed\"}",
          "a\xE1\xA0\x8E" "b\xC2\x85x c", "1:0-1 0:1-4 2:4-5 3:9-10");
    CHECK("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\W\"}, \"behavior\": \"Removed\"}",
          "a\xCC\x81-\xE2\x92\xB6 b", "1:0-1 0:1-3 0:4-7 2:8-9");
    /* The byte alphabet spells a space as U+0120, which is no token here. */
    CHECK("\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true}", "ab", "0:0-1 6:0-2");
}

static void added_tokens(void **state)
{
    (void)state;
    static const char format[] = "\"added_tokens\": [{\"id\": 20, \"content\": \"<x>\", \"special\": true%s}]";
    char fields[400];
    (void)snprintf(fields, sizeof fields, format, "");
    check(fields, "ab<x>c", 6, "6:0-2 20:2-5 3:5-6");
    check(fields, "a <x> c", 7, "1:0-1 4:1-2 20:2-5 4:5-6 3:6-7");
    (void)snprintf(fields, sizeof fields, format, ", \"lstrip\": true, \"rstrip\": true");
    check(fields, "a <x> c", 7, "1:0-1 20:1-6 3:6-7");
    (void)snprintf(fields, sizeof fields, format, ", \"single_word\": true");
    check(fields, "a<x> <x>", 8, "1:0-1 0:1-2 8:2-3 0:3-4 4:4-5 20:5-8");
    CHECK("\"added_tokens\": [{\"id\": 20, \"content\": \"<x>\", \"special\": true}, {\"id\": 21, \"content\": "
          "\"<x><x>\", \"special\": false, \"normalized\": false}]",
          "<x><x><x>", "21:0-6 20:6-9");
    /* an added token is no symbol for merging to start from: a z inside a word is unknown */
    CHECK("\"added_tokens\": [{\"id\": 20, \"content\": \"z\", \"special\": false, \"single_word\": true}]", "az z",
          "1:0-1 0:1-2 4:2-3 20:3-4");
    CHECK("\"added_tokens\": [{\"id\": 20, \"content\": \"A\", \"special\": false, \"normalized\": true}], "
          "\"normalizer\": {\"type\": \"Lowercase\"}",
          "bAa", "2:0-1 20:1-2 20:2-3");
    CHECK("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"a\"}}, "
          "{\"Sequence\": {\"id\": \"A\"}}, {\"SpecialToken\": {\"id\": \"b\"}}], \"special_tokens\": {\"a\": "
          "{\"ids\": [1]}, \"b\": {\"ids\": [2, 3]}}}",
          "x", "1:0-0 8:0-1 2:1-1 3:1-1");
}

static void decoders(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    static const char vocab[] = "\"?\": 0, \"\xE2\x96\x81\": 1, \"a\": 2, \"<0xC3>\": 3, \"<0xA9>\": 4, \"a b\": 5";
    static const char fields[] = "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                                 "\"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}, {\"type\": "
                                 "\"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", "
                                 "\"start\": 1, \"stop\": 0}]}";
    ASSERT_OK(load(&tokenizer, vocab, "", fields, &err));
    char *text;
    size_t n_text;
    const int32_t ids[] = {1, 1, 2, 3, 4, 4, 2, 3, 5, 99};
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_text, ids, 10, false, &err));
    /* A run of byte tokens that is not UTF-8 gives one U+FFFD for each. */
    assert_string_equal(text, " a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" "a\xEF\xBF\xBD" "a b");
    vlorpi_mem_free(&mem, text);
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_text, ids + 2, 3, false, &err));
    assert_string_equal(text, "a\xC3\xA9");
    vlorpi_mem_free(&mem, text);
    const int32_t negative = -1;
    assert_int_equal(vlorpi_tokenizer_decode(tokenizer, &text, &n_text, &negative, 1, false, &err), VLORP_E_ARG);
    assert_null(text);
    vlorpi_tokenizer_free(tokenizer);
}

/* Damaged and foreign files: the status, and a word that the message must hold. */
static void refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *vocab, *merges, *fields;
        vlorp_status status;
        const char *word;
    } cases[] = {
        {"", "", "", VLORP_E_FORMAT, "empty"},
        {"\"?\": 0, \"a\": 0", "", "", VLORP_E_FORMAT, "both have id 0"},
        {"\"?\": 0, \"a\": -1", "", "", VLORP_E_FORMAT, "\"a\""},
        {"\"?\": 0, \"a\": 4000000000", "", "", VLORP_E_FORMAT, "\"a\""},
        {"\"?\": 0, \"a\": 200000", "", "", VLORP_E_FORMAT, "200000"},
        {"\"?\": 0, \"a\": \"1\"", "", "", VLORP_E_FORMAT, "\"a\""},
        {"\"a\": 0", "", "", VLORP_E_FORMAT, "unk_token"},
        {"\"?\": 0, \"a\": 1", "\"a b\"", "", VLORP_E_FORMAT, "second"},
        {"\"?\": 0, \"a\": 1", "\"a a\"", "", VLORP_E_FORMAT, "joined"},
        {"\"?\": 0, \"a\": 1", "\"aa\"", "", VLORP_E_FORMAT, "merge"},
        {"\"?\": 0, \"a\": 1", "7", "", VLORP_E_FORMAT, "merge 0"},
        {"\"?\": 0, \"a\": 1", "[\"a\"]", "", VLORP_E_FORMAT, "merge 0"},
        {"\"?\": 0", "", "\"added_tokens\": {}", VLORP_E_FORMAT, "added_tokens"},
        {"\"?\": 0", "", "\"added_tokens\": [{\"id\": 5, \"content\": \"?\"}]", VLORP_E_FORMAT, "ids 0 and 5"},
        {"\"?\": 0", "", "\"added_tokens\": [{\"id\": 0, \"content\": \"b\"}]", VLORP_E_FORMAT, "both have id 0"},
        {"\"?\": 0", "", "\"added_tokens\": [{\"id\": 5}]", VLORP_E_FORMAT, "content"},
        {"\"?\": 0", "", "\"normalizer\": {\"type\": \"BertNormalizer\"}", VLORP_E_UNSUPPORTED, "BertNormalizer"},
        {"\"?\": 0", "", "\"normalizer\": []", VLORP_E_FORMAT, "type"},
        {"\"?\": 0", "", "\"normalizer\": {\"type\": \"Prepend\"}", VLORP_E_FORMAT, "prepend"},
        {"\"?\": 0", "", "\"pre_tokenizer\": {\"type\": \"Magic\"}", VLORP_E_UNSUPPORTED, "Magic"},
        {"\"?\": 0", "", "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", "
                         "\"pattern\": {\"Regex\": "
                         "\"(\"}}", VLORP_E_UNSUPPORTED, "parenthesis"},
        {"\"?\": 0", "", "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", "
                         "\"pattern\": {\"Regex\": "
                         "\"[a-z&&[^b]]\"}}", VLORP_E_UNSUPPORTED, "intersection"},
        {"\"?\": 0", "", "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Odd\", \"pattern\": {\"Regex\": "
                         "\"a\"}}", VLORP_E_UNSUPPORTED, "Odd"},
        {"\"?\": 0", "", "\"decoder\": {\"type\": \"WordPiece\"}", VLORP_E_UNSUPPORTED, "WordPiece"},
        {"\"?\": 0", "", "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
                         "{\"id\": \"s\"}}], \"special_tokens\": {\"s\": {\"ids\": [7]}}}", VLORP_E_FORMAT, "id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlorp_err err = {0};
        vlorpi_tokenizer *tokenizer;
        vlorp_status status = load(&tokenizer, cases[i].vocab, cases[i].merges, cases[i].fields, &err);
        if (status != cases[i].status || strstr(err.text, cases[i].word) == NULL ||
            strncmp(err.text, "small.json: ", 12) != 0) {
            fail_msg("case %d: status %d: %s", (int)i, (int)status, err.text);
        }
        assert_null(tokenizer);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    static const char unigram[] = "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}";
    assert_int_equal(vlorpi_tokenizer_from_json(&tokenizer, &mem, unigram, sizeof unigram - 1, "u", &err),
                     VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "Unigram"));
    assert_int_equal(vlorpi_tokenizer_open(&tokenizer, &mem, "tests/unit", &err), VLORP_E_IO);
    assert_non_null(strstr(err.hint, "tokenizer.json"));
    assert_int_equal(vlorpi_tokenizer_open(&tokenizer, &mem, "no/such/folder", &err), VLORP_E_IO);
}

/* A pattern that would take forever gives up. */
static void catastrophe(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    vlorpi_tokens tokens = {.mem = &mem};
    char text[200];
    memset(text, 'a', sizeof text);
    ASSERT_OK(load(&tokenizer, LETTERS, MERGES, "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", "
                   "\"pattern\": {\"Regex\": \"(a|aa|a.)+[bc]\"}}", &err));
    assert_int_equal(vlorpi_tokenizer_encode(tokenizer, &tokens, text, sizeof text, (vlorpi_encode_options){0}, &err),
                     VLORP_E_LIMIT);
    assert_non_null(strstr(err.text, "match limit"));
    assert_int_equal(tokens.n, 0);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* Each allocation in turn fails: an error, and nothing stays booked. */
static void failing_allocations(void **state)
{
    (void)state;
    static const char fields[] = "\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\"}, "
                                 "\"decoder\": {\"type\": \"Metaspace\"}, \"added_tokens\": [{\"id\": 20, "
                                 "\"content\": \"<x>\", \"special\": true}]";
    bool done = false;
    for (uint64_t n = 1; !done && n < 1000; n++) {
        vlorp_err err = {0};
        vlorpi_tokenizer *tokenizer;
        vlorpi_tokens tokens = {.mem = &mem};
        char *text = NULL;
        size_t n_text;
        const int32_t ids[] = {1, 2, 20};
        mem.fail_at = n;
        vlorp_status status = load(&tokenizer, LETTERS, MERGES, fields, &err);
        if (status == VLORP_OK) {
            status = vlorpi_tokenizer_encode(tokenizer, &tokens, "a e\xCC\x81<x>\xFF", 9, (vlorpi_encode_options){0},
                                             &err);
        }
        if (status == VLORP_OK) {
            status = vlorpi_tokenizer_decode(tokenizer, &text, &n_text, ids, 3, false, &err);
        }
        done = mem.fail_at != 0; /* it was not reached */
        mem.fail_at = 0;
        if (!done && status != VLORP_E_NOMEM && status != VLORP_OK) {
            fail_msg("allocation %d: status %d: %s", (int)n, (int)status, err.text);
        }
        vlorpi_mem_free(&mem, text);
        vlorpi_tokens_deinit(&tokens);
        vlorpi_tokenizer_free(tokenizer);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
    assert_true(done);
}

/* --- GGUF metadata --- */

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void key_text(builder *b, const char *key, const char *value)
{
    build_string(b, key);
    build_u32(b, GGUF_STRING);
    build_string(b, value);
}

static void key_texts(builder *b, const char *key, const char *const *values, size_t n)
{
    build_string(b, key);
    build_u32(b, GGUF_ARRAY);
    build_u32(b, GGUF_STRING);
    build_u64(b, n);
    for (size_t i = 0; i < n; i++) {
        build_string(b, values[i]);
    }
}

static void key_u32(builder *b, const char *key, uint32_t value)
{
    build_string(b, key);
    build_u32(b, GGUF_U32);
    build_u32(b, value);
}

/* model, pre, eos and the merge vary. */
static vlorp_status load_gguf(vlorpi_tokenizer **out, const char *model, const char *pre, uint32_t eos,
                              const char *merge, vlorp_err *err)
{
    static const char *const tokens[] = {"a", "b", "ab", "<end>"};
    static const int32_t types[] = {1, 1, 1, 3};
    builder b = {0};
    build_bytes(&b, "GGUF", 4);
    build_u32(&b, 3);
    build_u64(&b, 0);
    build_u64(&b, 6);
    key_text(&b, "tokenizer.ggml.model", model);
    key_text(&b, "tokenizer.ggml.pre", pre);
    key_texts(&b, "tokenizer.ggml.tokens", tokens, 4);
    key_texts(&b, "tokenizer.ggml.merges", &merge, 1);
    key_u32(&b, "tokenizer.ggml.eos_token_id", eos);
    build_string(&b, "tokenizer.ggml.token_type");
    build_u32(&b, GGUF_ARRAY);
    build_u32(&b, GGUF_I32);
    build_u64(&b, 4);
    build_bytes(&b, types, sizeof types);
    vlorpi_gguf *gguf;
    *out = NULL;
    vlorp_status status = vlorpi_gguf_parse(&gguf, &mem, b.bytes, b.n, "small.gguf", err);
    if (status == VLORP_OK) {
        status = vlorpi_tokenizer_from_gguf(out, &mem, gguf, "small.gguf", err);
        vlorpi_gguf_close(gguf);
    }
    build_free(&b);
    return status;
}

static void gguf_metadata(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    vlorpi_tokens tokens = {.mem = &mem};
    ASSERT_OK(load_gguf(&tokenizer, "gpt2", "smollm", 3, "a b", &err));
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, "ab<end>", 7, (vlorpi_encode_options){.parse_special = true},
                                      &err));
    assert_int_equal(tokens.n, 2);
    assert_int_equal(tokens.items[0].id, 2);
    assert_int_equal(tokens.items[1].id, 3);
    assert_int_equal(vlorpi_tokenizer_eos(tokenizer), 3);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(load_gguf(&tokenizer, "gpt2", "novel", 3, "a b", &err), VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "novel"));
    assert_int_equal(load_gguf(&tokenizer, "t5", "default", 3, "a b", &err), VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "t5"));
    assert_int_equal(load_gguf(&tokenizer, "gpt2", "gpt-2", 4, "a b", &err), VLORP_E_FORMAT);
    assert_non_null(strstr(err.text, "eos_token_id"));
    assert_int_equal(load_gguf(&tokenizer, "gpt2", "gpt-2", 3, "a c", &err), VLORP_E_FORMAT);
    assert_int_equal(load_gguf(&tokenizer, "llama", "gpt-2", 3, "a b", &err), VLORP_E_FORMAT);
    assert_non_null(strstr(err.text, "scores"));
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging),       cmocka_unit_test(merging_in_order),
        cmocka_unit_test(offsets),       cmocka_unit_test(splits),
        cmocka_unit_test(added_tokens),  cmocka_unit_test(decoders),      cmocka_unit_test(refused_files),
        cmocka_unit_test(catastrophe),   cmocka_unit_test(failing_allocations),
        cmocka_unit_test(gguf_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
