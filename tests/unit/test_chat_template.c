/* test_chat_template.c - conversations against what transformers renders (tests/golden/data/chat_templates.json, made
 * by tools/make_chat_golden.py): the text to the byte, the ids, and where the answers lie in it. */
#include "support.h"

#include "format/json.h"
#include "text/chat_template.h"

static vlorpi_mem mem;
static vlorp_err err;

static json_t *golden_list(const char *key, json_t **root)
{
    json_error_t error;
    *root = json_load_file("tests/golden/data/chat_templates.json", 0, &error);
    if (*root == NULL) {
        fail_msg("chat_templates.json: %s", error.text);
    }
    json_t *list = json_object_get(*root, key);
    assert_true(json_array_size(list) > 0);
    return list;
}

static vlorpi_bytes text_field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_string(value));
    return (vlorpi_bytes){.text = json_string_value(value), .n_bytes = json_string_length(value)};
}

/* Each assistant's turn is a span that holds the content's letters and ends what the form ends a turn with;
 * nothing else is in a span. */
static void check_spans(const vlorpi_rendered *rendered, const vlorpi_chat_template *chat, const json_t *messages)
{
    int n = 0;
    int64_t from = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *content = json_string_value(json_object_get(message, "content"));
        if (strcmp(json_string_value(json_object_get(message, "role")), "assistant") != 0 || content[0] == 0) {
            continue;
        }
        assert_true(n < rendered->n_spans);
        vlorpi_span span = rendered->spans[n++];
        assert_true(span.begin >= from && span.begin < span.end && span.end <= (int64_t)rendered->n_bytes);
        from = span.end;
        /* the opening stands before the span, the closing at its end */
        const char *name = vlorpi_chat_template_name(chat);
        const char *opening = strcmp(name, "chatml") == 0   ? "<|im_start|>assistant\n"
                              : strcmp(name, "llama3") == 0 ? "<|start_header_id|>assistant<|end_header_id|>\n\n"
                              : strcmp(name, "zephyr") == 0 ? "<|assistant|>\n"
                                                            : " [/INST]";
        const char *closing = strcmp(name, "chatml") == 0 ? "<|im_end|>" : strcmp(name, "llama3") == 0 ? "<|eot_id|>"
                                                                                                        : "</s>";
        int64_t n_opening = (int64_t)strlen(opening);
        int64_t n_closing = (int64_t)strlen(closing);
        assert_true(span.begin >= n_opening && span.end - span.begin > n_closing);
        assert_memory_equal(rendered->bytes + span.begin - n_opening, opening, strlen(opening));
        assert_memory_equal(rendered->bytes + span.end - n_closing, closing, strlen(closing));
        const char *word = strstr(content, "answer"); /* in every content that has one, it is not reasoning */
        if (word != NULL) {
            size_t n_inside = (size_t)(span.end - span.begin);
            bool found = false;
            for (size_t at = 0; at + 6 <= n_inside; at++) {
                found = found || memcmp(rendered->bytes + span.begin + at, "answer", 6) == 0;
            }
            assert_true(found);
        }
    }
    assert_int_equal(rendered->n_spans, n);
}

static void check_ids(const vlorpi_tokenizer *tokenizer, const vlorpi_rendered *rendered, const json_t *ids)
{
    vlorpi_tokens tokens = {.mem = &mem};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, rendered->bytes, rendered->n_bytes,
                                      (vlorpi_encode_options){.parse_special = true}, &err));
    bool same = (size_t)tokens.n == json_array_size(ids);
    for (int64_t i = 0; i < tokens.n && same; i++) {
        same = tokens.items[i].id == json_integer_value(json_array_get(ids, (size_t)i));
    }
    if (!same) {
        fail_msg("other ids than transformers: %.*s", (int)rendered->n_bytes, rendered->bytes);
    }
    vlorpi_tokens_deinit(&tokens);
}

static int check_template(const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *folder = json_string_value(json_object_get(item, "folder"));
    vlorpi_chat_template chat;
    vlorpi_tokenizer *tokenizer = NULL;
    if (folder != NULL) {
        ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, shared_data(folder), &err));
        ASSERT_OK(vlorpi_chat_template_of(&chat, tokenizer, &err));
    } else {
        vlorp_status status = vlorpi_chat_template_parse(&chat, &mem, text_field(item, "source").text,
                                                         text_field(item, "bos"), text_field(item, "eos"), &err);
        if (status != VLORP_OK) {
            fail_msg("%s: %s", name, err.text);
        }
    }
    const json_t *cases = json_object_get(item, "cases");
    vlorpi_rendered rendered = {.mem = &mem};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *messages = json_object_get(c, "messages");
        bool open = json_is_true(json_object_get(c, "open"));
        vlorp_status status = vlorpi_chat_template_render(&rendered, &chat, messages, open, &err);
        if (json_object_get(c, "fails") != NULL) {
            assert_int_equal(status, VLORP_E_FORMAT);
            continue;
        }
        vlorpi_bytes text = text_field(c, "text");
        bool same_size = status == VLORP_OK && rendered.n_bytes == text.n_bytes;
        if (!same_size || memcmp(rendered.bytes, text.text, text.n_bytes) != 0) {
            fail_msg("%s, case %zu: got\n%.*s\nwanted\n%s", name, i, (int)rendered.n_bytes, rendered.bytes, text.text);
        }
        assert_false(rendered.add_special || rendered.add_eos);
        check_spans(&rendered, &chat, messages);
        if (tokenizer != NULL) {
            check_ids(tokenizer, &rendered, json_object_get(c, "ids"));
        }
    }
    vlorpi_rendered_deinit(&rendered);
    vlorpi_tokenizer_free(tokenizer);
    return (int)json_array_size(cases);
}

static void check_all(bool shared)
{
    json_t *root;
    json_t *list = golden_list("templates", &root);
    int n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if ((json_object_get(item, "folder") != NULL) == shared) {
            n += check_template(item);
        }
    }
    assert_true(n >= (shared ? 50 : 200));
    json_decref(root);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void as_transformers(void **state)
{
    (void)state;
    check_all(false);
}

static void as_transformers_with_ids(void **state)
{
    (void)state;
    check_all(true);
}

static void refused(void **state)
{
    (void)state;
    json_t *root;
    json_t *list = golden_list("refused", &root);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        vlorpi_chat_template chat;
        vlorpi_bytes bos = {"<s>", 3};
        vlorpi_bytes eos = {"</s>", 4};
        if (vlorpi_chat_template_parse(&chat, &mem, text_field(item, "source").text, bos, eos, &err) !=
            VLORP_E_UNSUPPORTED) {
            fail_msg("%s was taken for %s", json_string_value(json_object_get(item, "name")),
                     vlorpi_chat_template_name(&chat));
        }
        assert_non_null(strstr(err.text, "chatml, llama2, mistral, llama3, zephyr"));
    }
    json_decref(root);
}

/* A source is untrusted: cut or garbled anywhere it is refused or taken, and read within its bounds. */
static void damaged_sources(void **state)
{
    (void)state;
    json_t *root;
    json_t *list = golden_list("templates", &root);
    uint64_t random = 4;
    for (size_t i = 0; i < json_array_size(list); i++) {
        vlorpi_bytes source = text_field(json_array_get(list, i), "source");
        for (int k = 0; k < 200; k++) {
            char *copy = strdup(source.text);
            copy[test_random(&random) % (source.n_bytes + 1)] = 0;
            if (copy[0] != 0) {
                copy[test_random(&random) % strlen(copy)] = "'\"{}%-[]\\\n "[test_random(&random) % 11];
            }
            vlorpi_chat_template chat;
            vlorpi_bytes none = {NULL, 0};
            vlorp_status status = vlorpi_chat_template_parse(&chat, &mem, copy, none, none, &err);
            assert_true(status == VLORP_OK || status == VLORP_E_UNSUPPORTED);
            free(copy);
        }
    }
    json_decref(root);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    vlorpi_mem_init(&mem);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers),
        cmocka_unit_test(as_transformers_with_ids),
        cmocka_unit_test(refused),
        cmocka_unit_test(damaged_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
