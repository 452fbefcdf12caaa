/* Whole data sets with a real tokenizer: masks, cuts, counts, streams, chat, built-in names, memory. */
#include "support.h"

#include <jansson.h>
#include <unistd.h>

#include "base/mapped_file.h"
#include "data/dataset.h"
#include "data/example_writer.h"
#include "text/chat_template.h"

static vlorp_err err;
static vlorpi_mem mem;

static vlorpi_tokenizer *open_tokenizer(const char *path)
{
    vlorpi_tokenizer *tokenizer;
    ASSERT_OK(vlorpi_tokenizer_open(&tokenizer, &mem, path, &err));
    return tokenizer;
}

static vlorpi_dataset *open_data(vlorpi_dataset_report *report, const vlorpi_tokenizer *tokenizer, const char *what,
                                 int64_t max_length, bool train_on_prompts)
{
    vlorpi_dataset *dataset;
    vlorpi_dataset_config config = {.what = what, .data_dir = shared_data(""), .max_length = max_length,
                                    .train_on_prompts = train_on_prompts};
    ASSERT_OK(vlorpi_dataset_open(&dataset, report, &mem, tokenizer, &config, &err));
    return dataset;
}

static char folder[256]; /* the test's own */
static char file_path[300];

/* Writes a file of the test's own; one at a time. */
static const char *make_file(const char *ending, const char *bytes)
{
    if (file_path[0] != '\0') {
        (void)unlink(file_path);
    }
    (void)snprintf(file_path, sizeof file_path, "%s/data%s", folder, ending);
    FILE *file = fopen(file_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, strlen(bytes), file), strlen(bytes));
    assert_int_equal(fclose(file), 0);
    return file_path;
}

static int start(void **state)
{
    (void)state;
    vlorpi_mem_init(&mem);
    (void)snprintf(folder, sizeof folder, "%s/vlorp-data-XXXXXX", P_tmpdir);
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int finish(void **state)
{
    (void)state;
    (void)unlink(file_path);
    return rmdir(folder);
}

/* Checks one example against prompt and answer tokenised here, token by token. */
static void check_example(const vlorpi_tokenizer *tokenizer, const vlorpi_example *example, const char *prompt,
                          const char *answer, int64_t max_length, bool train_on_prompts)
{
    size_t n_prompt = strlen(prompt);
    size_t n_bytes = n_prompt + strlen(answer);
    char *text = malloc(n_bytes + 1);
    assert_non_null(text);
    (void)snprintf(text, n_bytes + 1, "%s%s", prompt, answer);
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, n_bytes, options, &err));
    int32_t eos = vlorpi_tokenizer_eos(tokenizer);
    int64_t n_all = tokens.n + (eos >= 0);
    assert_int_equal(example->n_tokens, n_all < max_length ? n_all : max_length);
    for (int64_t t = 0; t < example->n_tokens; t++) {
        bool is_eos = t == tokens.n;
        bool in_answer = is_eos || tokens.items[t].end > (int64_t)n_prompt;
        bool trained = t > 0 && (in_answer || train_on_prompts);
        int32_t id = is_eos ? eos : tokens.items[t].id;
        assert_int_equal(vlorpi_example_id(example, t), id);
        assert_int_equal(example->codes[t] >= 0, trained);
        if (t > 0) {
            assert_int_equal(vlorpi_example_target(example, t - 1), trained ? id : -1);
        }
    }
    assert_int_equal(vlorpi_example_target(example, example->n_tokens - 1), -1);
    vlorpi_tokens_deinit(&tokens);
    free(text);
}

/* The Alpaca and question texts, written out a second time. */
static void render(char *prompt, char *answer, size_t n, const json_t *record)
{
    const char *instruction = json_string_value(json_object_get(record, "instruction"));
    const char *input = json_string_value(json_object_get(record, "input"));
    const char *output = json_string_value(json_object_get(record, "output"));
    if (instruction == NULL) {
        (void)snprintf(prompt, n, "Question: %s\nAnswer:", json_string_value(json_object_get(record, "question")));
        (void)snprintf(answer, n, " %s", json_string_value(json_object_get(record, "answer")));
        return;
    }
    (void)snprintf(answer, n, "%s", output);
    if (input != NULL && input[0] != '\0') {
        (void)snprintf(prompt, n, "Below is an instruction that describes a task, paired with an input that provides "
                       "further context. Write a response that appropriately completes the request.\n\n"
                       "### Instruction:\n%s\n\n### Input:\n%s\n\n### Response:\n", instruction, input);
        return;
    }
    (void)snprintf(prompt, n, "Below is an instruction that describes a task. Write a response that appropriately "
                   "completes the request.\n\n### Instruction:\n%s\n\n### Response:\n", instruction);
}

/* Every record of a file, in order, against the examples of the data set. */
static void check_file(const vlorpi_tokenizer *tokenizer, const char *path, int64_t max_length, bool train_on_prompts)
{
    enum { TEXT_BYTES = 1 << 16 };
    static char prompt[TEXT_BYTES], answer[TEXT_BYTES];
    vlorpi_dataset_report report;
    vlorpi_dataset *dataset = open_data(&report, tokenizer, shared_data(path), max_length, train_on_prompts);
    vlorpi_mapped_file file;
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data(path), &err));
    int64_t n = 0;
    bool array = file.bytes[0] == '[';
    const char *at = (const char *)file.bytes + array;
    const char *end = (const char *)file.bytes + file.n_bytes;
    for (; n < vlorpi_dataset_n_examples(dataset); n++) {
        json_error_t json_error;
        json_t *record = json_loadb(at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK, &json_error);
        assert_non_null(record);
        at += json_error.position;
        at += array && *at == ',';
        render(prompt, answer, TEXT_BYTES, record);
        vlorpi_example example = vlorpi_dataset_example(dataset, n);
        check_example(tokenizer, &example, prompt, answer, max_length, train_on_prompts);
        json_decref(record);
    }
    assert_int_equal(n, report.n_records); /* nothing was dropped, so records and examples correspond */
    vlorpi_mapped_file_close(&file);
    vlorpi_dataset_free(dataset);
}

static void check_tokenizer(const char *path)
{
    vlorpi_tokenizer *tokenizer = open_tokenizer(path);
    check_file(tokenizer, "commonsense/ARC-Challenge/train.json", 4096, false);
    check_file(tokenizer, "instruct/alpaca_en_demo.json", 4096, false);
    check_file(tokenizer, "gsm8k/test.jsonl", 4096, false);
    check_file(tokenizer, "gsm8k/test.jsonl", 4096, true);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void masks_llama2(void **state)
{
    (void)state;
    check_tokenizer(shared_data("tokenizers/llama2"));
}

static void masks_llama3(void **state)
{
    (void)state;
    check_tokenizer(shared_data("tokenizers/llama3"));
}

static void masks_stories(void **state)
{
    (void)state;
    check_tokenizer(shared_data("models/stories260K-hf"));
}

/* The end of the prompt at every byte of a text: the tokens stay the same, and one that straddles the
 * border is trained. */
static void straddling_tokens(void **state)
{
    (void)state;
    static const char text[] = "Once upon a time, there was a little girl named Lily.";
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("tokenizers/llama3"));
    int64_t n_straddling = 0;
    for (size_t k = 1; k + 1 < sizeof text; k++) {
        char line[160];
        char prompt[80];
        vlorpi_dataset_report report;
        (void)snprintf(prompt, sizeof prompt, "%.*s", (int)k, text);
        (void)snprintf(line, sizeof line, "{\"prompt\":\"%s\",\"completion\":\"%s\"}", prompt, text + k);
        vlorpi_dataset *dataset = open_data(&report, tokenizer, make_file(".json", line), 100, false);
        vlorpi_example example = vlorpi_dataset_example(dataset, 0);
        check_example(tokenizer, &example, prompt, text + k, 100, false);
        vlorpi_tokens tokens = {.mem = &mem};
        ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, text, sizeof text - 1,
                                          (vlorpi_encode_options){.add_special = true}, &err));
        assert_int_equal(tokens.n + 1, example.n_tokens);
        for (int64_t t = 0; t < tokens.n; t++) {
            n_straddling += tokens.items[t].begin < (int64_t)k && tokens.items[t].end > (int64_t)k;
            assert_int_equal(vlorpi_example_id(&example, t), tokens.items[t].id);
        }
        vlorpi_tokens_deinit(&tokens);
        vlorpi_dataset_free(dataset);
    }
    assert_in_range(n_straddling, 10, 60);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

#define TURNS \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + " \
    "'\n'}}{% endfor %}{{ '<|im_start|>assistant\n' }}"

/* A conversation as chatml: the text to the byte, and the assistant's turns as the trained tokens. */
static void check_chat(const vlorpi_tokenizer *tokenizer, const char *chat_template, const char *system)
{
    static const char body[] = "<|im_start|>user\nHi <b>!<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
                               "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nSo long!<|im_end|>\n";
    char expected[512];
    vlorpi_dataset_report report = {0};
    vlorpi_token_store store;
    (void)snprintf(expected, sizeof expected, "%s%s", system, body);
    json_t *messages = json_loads("[{\"role\":\"user\",\"content\":\"Hi <b>!\"},{\"role\":\"assistant\",\"content\":"
                                  "\"Hello.\"},{\"role\":\"user\",\"content\":\"Bye\"},{\"role\":\"assistant\","
                                  "\"content\":\"So long!\"}]", 0, NULL);
    vlorpi_rendered rendered = {.mem = &mem};
    vlorpi_chat_template chat;
    vlorpi_bytes none = {NULL, 0};
    ASSERT_OK(vlorpi_chat_template_parse(&chat, &mem, chat_template, none, none, &err));
    ASSERT_OK(vlorpi_chat_template_render(&rendered, &chat, messages, false, &err));
    assert_int_equal(rendered.n_bytes, strlen(expected));
    assert_memory_equal(rendered.bytes, expected, rendered.n_bytes);
    assert_int_equal(rendered.n_spans, 2);
    vlorpi_token_store_init(&store, &mem, 1000);
    vlorpi_example_writer writer = {.tokenizer = tokenizer, .store = &store, .report = &report, .max_length = 1000,
                                    .tokens = {.mem = &mem}};
    ASSERT_OK(vlorpi_example_writer_add(&writer, &rendered, &err));
    assert_int_equal(report.n_examples, 1);
    int32_t trained[256];
    int64_t n_trained = 0;
    const int32_t *codes = vlorpi_token_store_codes(&store, 0);
    for (int64_t t = 0; t < report.n_tokens; t++) {
        if (codes[t] >= 0) {
            trained[n_trained++] = codes[t];
        }
    }
    char *text;
    size_t n_bytes;
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_bytes, trained, n_trained, false, &err));
    assert_string_equal(text, "Hello.<|im_end|>So long!<|im_end|>");
    assert_int_equal(report.n_targets, n_trained);
    assert_int_equal(~codes[0], vlorpi_tokenizer_id(tokenizer, "<|im_start|>"));
    writer.train_on_prompts = true;
    int64_t n_tokens = report.n_tokens;
    ASSERT_OK(vlorpi_example_writer_add(&writer, &rendered, &err));
    assert_int_equal(report.n_targets, n_trained + n_tokens - 1);
    rendered.n_spans = 0; /* as if no assistant had spoken */
    ASSERT_OK(vlorpi_example_writer_add(&writer, &rendered, &err));
    assert_int_equal(report.n_examples, 3);
    writer.train_on_prompts = false;
    ASSERT_OK(vlorpi_example_writer_add(&writer, &rendered, &err));
    assert_int_equal(report.n_without_target, 1);
    vlorpi_mem_free(&mem, text);
    vlorpi_tokens_deinit(&writer.tokens);
    vlorpi_token_store_deinit(&store);
    vlorpi_rendered_deinit(&rendered);
    json_decref(messages);
}

static void chat(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("tokenizers/qwen3"));
    static const char system[] = "<|im_start|>system\nYou are kind.<|im_end|>\n";
    check_chat(tokenizer, TURNS, "");
    check_chat(tokenizer, "{{ '<|im_start|>system\nYou are kind.<|im_end|>\n' }}" TURNS, system);
    check_chat(tokenizer, "{{ '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}" TURNS, system);
    check_chat(tokenizer, "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
                          "{{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}" TURNS, system);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void damaged_chat(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"[7]", "message 1 is no object with the strings role and content"},
        {"[{\"role\":\"user\"}]", "message 1 is no object"},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[]}]", "message 2 is no object"},
        {"[{\"role\":3,\"content\":\"a\"}]", "message 1 is no object"},
        {"[{\"role\":\"tool\",\"content\":\"a\"}]", "message 1 has an unknown role; wanted: system, user or"},
    };
    vlorpi_chat_template chat;
    vlorpi_bytes none = {NULL, 0};
    ASSERT_OK(vlorpi_chat_template_parse(&chat, &mem, TURNS, none, none, &err));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *messages = json_loads(bad[i][0], 0, NULL);
        vlorpi_rendered rendered = {.mem = &mem};
        assert_int_equal(vlorpi_chat_template_render(&rendered, &chat, messages, false, &err), VLORP_E_FORMAT);
        assert_ptr_equal(strstr(err.text, bad[i][1]), err.text);
        vlorpi_rendered_deinit(&rendered);
        json_decref(messages);
    }
}

static const char small[] =
    "{\"prompt\":\"Once upon a time\",\"completion\":\" there was a dog.\"}\n"
    "{\"prompt\":\"all prompt\",\"completion\":\"\"}\n"
    "{\"prompt\":\"\",\"completion\":\"She was happy.\"}\n"
    "{\"prompt\":\"One day, a girl named Lily went to the park with her mom and her dog and her cat.\",\"completion\":"
    "\" She saw a big tree.\"}\n"
    "{\"prompt\":\"\",\"completion\":\"\"}\n";

static void counts_and_cuts(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("models/stories260K-hf"));
    vlorpi_dataset_report report;
    vlorpi_dataset *all = open_data(&report, tokenizer, make_file(".jsonl", small), 1000, false);
    assert_string_equal(report.form, "prompt-completion");
    assert_string_equal(report.columns, "prompt, completion");
    assert_int_equal(report.n_records, 5);
    assert_int_equal(report.n_examples, 3);
    assert_int_equal(report.n_without_target, 2);
    assert_int_equal(report.n_truncated, 0);
    assert_int_equal(report.n_files, 1);
    int64_t n_tokens = 0;
    int64_t n_targets = 0;
    int64_t lengths[3];
    for (int64_t i = 0; i < 3; i++) {
        vlorpi_example example = vlorpi_dataset_example(all, i);
        lengths[i] = example.n_tokens;
        n_tokens += example.n_tokens;
        for (int64_t t = 0; t < example.n_tokens; t++) {
            n_targets += vlorpi_example_target(&example, t) >= 0;
        }
        assert_int_equal(vlorpi_example_id(&example, 0), vlorpi_tokenizer_bos(tokenizer));
        assert_int_equal(vlorpi_example_id(&example, example.n_tokens - 1), vlorpi_tokenizer_eos(tokenizer));
    }
    assert_int_equal(report.n_tokens, n_tokens);
    assert_int_equal(report.n_targets, n_targets);
    assert_int_equal(report.longest, lengths[2]);
    /* One token too few: the last example loses its end and is still kept; at the prompt's length it goes. */
    int64_t cut = lengths[2] - 1;
    vlorpi_dataset *shorter = open_data(&report, tokenizer, make_file(".jsonl", small), cut, false);
    assert_int_equal(report.n_truncated, 1);
    assert_int_equal(report.n_without_target, 2);
    assert_int_equal(report.longest, cut);
    vlorpi_example whole = vlorpi_dataset_example(all, 2);
    vlorpi_example part = vlorpi_dataset_example(shorter, 2);
    assert_memory_equal(whole.codes, part.codes, (size_t)cut * sizeof(int32_t));
    vlorpi_dataset_free(shorter);
    vlorpi_dataset *shortest = open_data(&report, tokenizer, make_file(".jsonl", small), 12, false);
    assert_int_equal(report.n_without_target, 3);
    assert_int_equal(report.n_examples, 2);
    vlorpi_dataset_free(shortest);
    /* A prompt without an answer is something to learn from when prompts are. */
    vlorpi_dataset *prompts = open_data(&report, tokenizer, make_file(".jsonl", small), 1000, true);
    assert_int_equal(report.n_without_target, 1);
    assert_int_equal(report.n_examples, 4);
    assert_int_equal(report.n_targets, report.n_tokens - 4);
    vlorpi_dataset_free(prompts);
    vlorpi_dataset_free(all);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* EOS stands behind an answer once, also where the text spells it. */
static void one_end_token(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("tokenizers/llama2"));
    int32_t eos = vlorpi_tokenizer_eos(tokenizer);
    static const char *const lines[] = {"{\"prompt\":\"a\",\"completion\":\" b c\"}",
                                        "{\"prompt\":\"a\",\"completion\":\" b c</s>\"}"};
    int64_t n_tokens[2];
    for (int i = 0; i < 2; i++) {
        vlorpi_dataset_report report;
        vlorpi_dataset *dataset = open_data(&report, tokenizer, make_file(".json", lines[i]), 100, false);
        vlorpi_example example = vlorpi_dataset_example(dataset, 0);
        n_tokens[i] = example.n_tokens;
        assert_int_equal(vlorpi_example_target(&example, example.n_tokens - 2), eos);
        assert_int_equal(report.n_targets, 3);
        vlorpi_dataset_free(dataset);
    }
    assert_int_equal(n_tokens[0], n_tokens[1]);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* Plain text: BOS once, then every token of the text, cut in windows; the last may be short. */
static void windows_of_a_text(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("models/stories260K-hf"));
    vlorpi_mapped_file file;
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data("text/tinystories_sample.txt"), &err));
    vlorpi_tokens tokens = {.mem = &mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    ASSERT_OK(vlorpi_tokenizer_encode(tokenizer, &tokens, (const char *)file.bytes, file.n_bytes, options, &err));
    vlorpi_dataset_report report;
    vlorpi_dataset *dataset = open_data(&report, tokenizer, shared_data("text/tinystories_sample.txt"), 64, false);
    assert_string_equal(report.form, "plain text");
    assert_int_equal(report.n_tokens, tokens.n);
    assert_int_equal(report.n_examples, (tokens.n + 63) / 64);
    assert_int_equal(report.n_targets, tokens.n - report.n_examples);
    for (int64_t t = 0; t < tokens.n; t++) {
        vlorpi_example window = vlorpi_dataset_example(dataset, t / 64);
        assert_int_equal(vlorpi_example_id(&window, t % 64), tokens.items[t].id);
    }
    vlorpi_dataset_free(dataset);
    vlorpi_tokens_deinit(&tokens);
    vlorpi_mapped_file_close(&file);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void check_chunks(const vlorpi_tokenizer *tokenizer, const char *path)
{
    vlorpi_mapped_file file;
    ASSERT_OK(vlorpi_mapped_file_open(&file, shared_data(path), &err));
    static const size_t chunks[] = {SIZE_MAX, 1 << 16, 1000, 37};
    vlorpi_token_store stores[4];
    for (int i = 0; i < 4; i++) {
        vlorpi_dataset_report report = {0};
        vlorpi_token_store_init(&stores[i], &mem, 100);
        vlorpi_example_writer writer = {.tokenizer = tokenizer, .store = &stores[i], .report = &report,
                                        .max_length = 100, .tokens = {.mem = &mem}};
        /* the first part is enough: each text is encoded four times */
        size_t n_bytes = file.n_bytes < 60000 ? file.n_bytes : 60000;
        ASSERT_OK(vlorpi_example_writer_add_stream(&writer, (const char *)file.bytes, n_bytes, chunks[i], &err));
        vlorpi_tokens_deinit(&writer.tokens);
        assert_int_equal(stores[i].n_examples, stores[0].n_examples);
        for (int64_t e = 0; e < stores[0].n_examples; e++) {
            assert_int_equal(stores[i].lengths[e], stores[0].lengths[e]);
            assert_memory_equal(vlorpi_token_store_codes(&stores[i], e), vlorpi_token_store_codes(&stores[0], e),
                                (size_t)stores[0].lengths[e] * sizeof(int32_t));
        }
    }
    for (int i = 0; i < 4; i++) {
        vlorpi_token_store_deinit(&stores[i]);
    }
    vlorpi_mapped_file_close(&file);
}

static void chunks_equal_the_whole(void **state)
{
    (void)state;
    static const char *const folders[] = {"models/stories260K-hf", "tokenizers/llama2", "tokenizers/llama3"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data(folders[i]));
        check_chunks(tokenizer, "text/tinyshakespeare.txt");
        check_chunks(tokenizer, "text/wikitext-2/valid.txt");
        check_chunks(tokenizer, "text/tinystories_sample.txt");
        vlorpi_tokenizer_free(tokenizer);
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* Wrong bytes of plain text become U+FFFD, are counted, and a byte order mark is no text. */
static void text_that_is_not_utf8(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("tokenizers/llama3"));
    vlorpi_dataset_report report;
    const char *path = make_file(".txt", "\xef\xbb\xbfone \xff two \xe2\x82 three \xc3\xa4");
    vlorpi_dataset *dataset = open_data(&report, tokenizer, path, 100, false);
    assert_int_equal(report.n_not_utf8, 2);
    assert_int_equal(report.n_examples, 1);
    int32_t ids[100];
    vlorpi_example example = vlorpi_dataset_example(dataset, 0);
    for (int64_t t = 0; t < example.n_tokens; t++) {
        ids[t] = vlorpi_example_id(&example, t);
    }
    char *text;
    size_t n_bytes;
    ASSERT_OK(vlorpi_tokenizer_decode(tokenizer, &text, &n_bytes, ids, example.n_tokens, true, &err));
    assert_string_equal(text, "one \xef\xbf\xbd two \xef\xbf\xbd three \xc3\xa4");
    vlorpi_mem_free(&mem, text);
    vlorpi_dataset_free(dataset);
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void built_in_names(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("tokenizers/llama3"));
    static const struct {
        const char *name, *form, *first_file;
        int64_t n_files, n_records;
    } sets[] = {
        {"commonsense", "alpaca", "commonsense/ARC-Challenge/train.json", 4, 17754},
        {"gsm8k", "question-answer", "gsm8k/train.jsonl", 1, 7473},
        {"mmlu", "mmlu", "mmlu/dev/abstract_algebra_dev.csv", 57, 285},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        vlorpi_dataset_report report;
        vlorpi_dataset *dataset = open_data(&report, tokenizer, sets[i].name, 1024, false);
        assert_string_equal(report.form, sets[i].form);
        assert_int_equal(report.n_files, sets[i].n_files);
        assert_int_equal(report.n_records, sets[i].n_records);
        assert_int_equal(report.n_examples, sets[i].n_records);
        const char *tail = report.first_file + strlen(report.first_file) - strlen(sets[i].first_file);
        assert_string_equal(tail, sets[i].first_file);
        vlorpi_dataset_free(dataset);
    }
    vlorpi_tokenizer_free(tokenizer);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void fails(const vlorpi_tokenizer *tokenizer, const vlorpi_dataset_config *config, vlorp_status status,
                  const char *says)
{
    vlorpi_dataset *dataset;
    vlorpi_dataset_report report;
    size_t before = vlorpi_mem_now(&mem).total_bytes;
    assert_int_equal(vlorpi_dataset_open(&dataset, &report, &mem, tokenizer, config, &err), status);
    assert_null(dataset);
    if (strstr(err.text, says) == NULL) {
        fail_msg("wanted \"%s\" in \"%s\"", says, err.text);
    }
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, before);
}

static void what_is_refused(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("models/stories260K-hf"));
    vlorpi_dataset_config config = {.what = "commonsense", .max_length = 100};
    fails(tokenizer, &config, VLORP_E_ARG, "no folder to look for it was given");
    config.data_dir = shared_data("text");
    fails(tokenizer, &config, VLORP_E_ARG,
          "holds none of commonsense_170k.json, commonsense/commonsense_170k.json, commonsense/*/train.json");
    config.what = "no_such_file.json";
    fails(tokenizer, &config, VLORP_E_IO, "no_such_file.json: No such file");
    assert_non_null(strstr(err.hint, "commonsense, gsm8k, mmlu"));
    config.what = shared_data("text");
    fails(tokenizer, &config, VLORP_E_ARG, "a folder");
    config.what = make_file(".jsonl", "{\"text\":\"a b\"}\n{\"text\":3}\n");
    fails(tokenizer, &config, VLORP_E_FORMAT, ".jsonl: line 2: the field \"text\" is a number");
    config.what = make_file(".jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n");
    fails(tokenizer, &config, VLORP_E_UNSUPPORTED, ".jsonl: line 1: the tokenizer's files have no chat template");
    config.max_length = 1;
    fails(tokenizer, &config, VLORP_E_ARG, "max_length 1");
    config.max_length = INT64_MAX;
    fails(tokenizer, &config, VLORP_E_ARG, "max_length");
    vlorpi_tokenizer_free(tokenizer);
}

static void failing_allocations(void **state)
{
    (void)state;
    vlorpi_tokenizer *tokenizer = open_tokenizer(shared_data("models/stories260K-hf"));
    size_t before = vlorpi_mem_now(&mem).total_bytes;
    vlorpi_dataset_config config = {.what = make_file(".jsonl", small), .max_length = 100};
    vlorp_status status = VLORP_E_NOMEM;
    int n = 1;
    for (; status == VLORP_E_NOMEM && n < 1000; n++) {
        vlorpi_dataset *dataset;
        vlorpi_dataset *held = NULL;
        vlorpi_dataset_report report;
        mem.fail_at = (uint64_t)n;
        status = vlorpi_dataset_open(&dataset, &report, &mem, tokenizer, &config, &err);
        if (status == VLORP_OK) {
            status = vlorpi_dataset_hold_out(dataset, &held, 1, 1, &err);
            assert_int_equal(vlorpi_dataset_n_examples(dataset), status == VLORP_OK ? 2 : 3);
        }
        mem.fail_at = 0;
        vlorpi_dataset_free(held);
        vlorpi_dataset_free(dataset);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, before);
    }
    assert_int_equal(status, VLORP_OK);
    assert_in_range(n, 15, 999);
    vlorpi_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_llama2),
        cmocka_unit_test(masks_llama3),
        cmocka_unit_test(masks_stories),
        cmocka_unit_test(straddling_tokens),
        cmocka_unit_test(chat),
        cmocka_unit_test(damaged_chat),
        cmocka_unit_test(counts_and_cuts),
        cmocka_unit_test(one_end_token),
        cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(windows_of_a_text),
        cmocka_unit_test(chunks_equal_the_whole),
        cmocka_unit_test(built_in_names),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
