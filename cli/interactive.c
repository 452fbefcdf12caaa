#include "cli/interactive.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/inference.h"
#include "cli/text_out.h"
#include "eval/chat.h"

enum {
    MAX_POSITIONS = 8192,        /* of a conversation; memory that is not used yet costs nothing */
    MAX_LINE_BYTES = 1 << 20
};

typedef struct session {
    vlorpi_cli *cli;
    vlorpi_generator generator;
    vlorpi_sampling sampling;
    bool chats;
    vlorpi_chat_template chat;
    json_t *messages;
    vlorpi_tokens tokens;  /* of the prompt */
    vlorpi_text_out answer;
    vlorpi_text_out line;  /* what was typed, kept with a NUL behind it */
    char buffer[4096];     /* read from standard input and not used yet: [at, end) */
    size_t at, end;
} session;

/* --- lines --- */

/* Appends what is typed up to the end of a line.  *more false: standard input has ended. */
static vlorp_status read_part(session *s, bool *more, vlorp_err *err)
{
    for (;;) {
        if (s->at == s->end) {
            struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
            int ready = vlorpi_interrupt_signal != 0 ? -1 : poll(&in, 1, -1);
            if (vlorpi_interrupt_signal != 0) { /* a signal ends poll, where it would only delay read */
                VLORP_FAIL(err, VLORP_E_INTERRUPTED, "interrupted");
            }
            ssize_t n = ready < 0 ? 0 : read(STDIN_FILENO, s->buffer, sizeof s->buffer);
            if (n <= 0) {
                *more = false;
                return VLORP_OK;
            }
            s->at = 0;
            s->end = (size_t)n;
        }
        const char *newline = memchr(s->buffer + s->at, '\n', s->end - s->at);
        size_t n = newline != NULL ? (size_t)(newline - (s->buffer + s->at)) : s->end - s->at;
        if (s->line.n_bytes + n > MAX_LINE_BYTES) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "a line has at most %d bytes", (int)MAX_LINE_BYTES);
        }
        VLORP_TRY(vlorpi_text_out_keep(&s->line, s->buffer + s->at, n, err));
        s->at += n + (newline != NULL);
        if (newline != NULL) {
            *more = true;
            return VLORP_OK;
        }
    }
}

static void show_prompt(const session *s, const char *prompt)
{
    if (!s->cli->output->quiet) {
        (void)fprintf(stderr, "%s", prompt);
        (void)fflush(stderr);
    }
}

/* A message: a line, or several of which all but the last end in a backslash. */
static vlorp_status read_line(session *s, bool *more, vlorp_err *err)
{
    s->line.n_bytes = 0;
    show_prompt(s, "> ");
    for (;;) {
        VLORP_TRY(read_part(s, more, err));
        size_t n = s->line.n_bytes;
        if (!*more || n == 0 || s->line.text[n - 1] != '\\') {
            break;
        }
        s->line.text[n - 1] = '\n';
        show_prompt(s, ". ");
    }
    *more = *more || s->line.n_bytes > 0;
    return vlorpi_text_out_keep(&s->line, "", 1, err);
}

/* --- commands --- */

static void show_help(const session *s)
{
    vlorpi_log_info(&s->cli->log, "%s", s->chats ? "a line is a message; the model sees the whole conversation"
                                                 : "a line is a text that the model goes on with (--chat: messages)");
    vlorpi_log_info(&s->cli->log, "a line that ends in \\ goes on in the next one");
    if (s->chats) {
        vlorpi_log_info(&s->cli->log, "/system TEXT   begin a new conversation with this system message");
        vlorpi_log_info(&s->cli->log, "/clear         begin a new conversation with the same system message");
    }
    vlorpi_log_info(&s->cli->log, "/help          this");
    vlorpi_log_info(&s->cli->log, "/quit, Ctrl-D  leave");
    vlorpi_log_info(&s->cli->log, "Ctrl-C         stop an answer; once more: leave");
}

/* The conversation's beginning: nothing, or the system message. */
static vlorp_status begin_conversation(session *s, const char *system, vlorp_err *err)
{
    json_t *messages = json_array();
    vlorp_status status = VLORP_OK;
    if (system != NULL) {
        status = vlorpi_chat_say(messages, "system", system, strlen(system), err);
    }
    if (status != VLORP_OK) {
        json_decref(messages);
        return status;
    }
    json_decref(s->messages);
    s->messages = messages;
    return VLORP_OK;
}

static const char *system_message(const session *s)
{
    const json_t *first = json_array_get(s->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    return role != NULL && strcmp(role, "system") == 0 ? json_string_value(json_object_get(first, "content")) : NULL;
}

/* *leaves: the line was /quit.  A line that is no command of this list is none. */
static vlorp_status run_command(session *s, bool *is_command, bool *leaves, vlorp_err *err)
{
    const char *line = s->line.text;
    *is_command = true;
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) {
        *leaves = true;
    } else if (strcmp(line, "/help") == 0 || strcmp(line, "/?") == 0) {
        show_help(s);
    } else if (s->chats && strcmp(line, "/clear") == 0) {
        return begin_conversation(s, system_message(s), err);
    } else if (s->chats && strncmp(line, "/system ", 8) == 0) {
        return begin_conversation(s, line + 8, err);
    } else {
        *is_command = false;
    }
    return VLORP_OK;
}

/* --- answers --- */

static bool was_interrupted(void *ctx)
{
    (void)ctx;
    return vlorpi_interrupt_signal != 0;
}

static vlorp_status encode_line(session *s, vlorp_err *err)
{
    const vlorpi_tokenizer *tokenizer = s->generator.loaded->tokenizer;
    size_t n = s->line.n_bytes - 1;
    if (s->chats) {
        VLORP_TRY(vlorpi_chat_say(s->messages, "user", s->line.text, n, err));
        return vlorpi_chat_encode(&s->tokens, &s->chat, tokenizer, s->messages, err);
    }
    s->tokens.n = 0;
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    return vlorpi_tokenizer_encode(tokenizer, &s->tokens, s->line.text, n, options, err);
}

static void report(const session *s, const vlorpi_generate_result *result, double seconds)
{
    const vlorpi_log *log = &s->cli->log;
    if (result->finish == VLORPI_FINISH_STOPPED) {
        vlorpi_log_info(log, "stopped; Ctrl-C once more leaves");
    } else if (result->finish == VLORPI_FINISH_CONTEXT) {
        vlorpi_log_warn(log, "the answer is cut: all %lld positions are used%s", (long long)s->generator.n_positions,
                        s->chats ? "; /clear begins a new conversation" : "");
    }
    double rate = seconds > 0 ? (double)result->n_new / seconds : 0;
    vlorpi_log_info(log, "%lld tokens, %lld of them new; %lld made, %.1f tokens/s", (long long)s->tokens.n,
                    (long long)(s->tokens.n - result->n_reused), (long long)result->n_new, rate);
}

static vlorp_status answer(session *s, vlorp_err *err)
{
    VLORP_TRY(encode_line(s, err));
    vlorpi_mem *mem = s->cli->mem;
    int64_t n = s->tokens.n;
    int32_t *ids = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, (size_t)n * sizeof *ids);
    if (ids == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, (size_t)n * sizeof *ids, err);
    }
    for (int64_t i = 0; i < n; i++) {
        ids[i] = s->tokens.items[i].id;
    }
    const vlorpi_options *options = s->cli->options;
    bool limited = !s->chats || vlorpi_options_has(options, "max_new_tokens");
    vlorpi_generate_request request = {
        .prompt = ids,
        .n_prompt = n,
        .max_new_tokens = limited ? vlorpi_cli_max_new_tokens(options) : INT32_MAX,
        .sampling = s->sampling,
        .wants_stop = was_interrupted};
    vlorpi_text_sink sink = vlorpi_text_out_sink(&s->answer);
    vlorpi_generate_result result = {0};
    s->answer.n_bytes = 0;
    double begin = vlorpi_clock_seconds();
    vlorp_status status = vlorpi_generator_run(&result, &s->generator, &request, &sink, err);
    vlorpi_mem_free(mem, ids);
    if (status != VLORP_OK) {
        return status;
    }
    (void)putchar('\n');
    VLORP_TRY(vlorpi_output_flush(err));
    report(s, &result, vlorpi_clock_seconds() - begin);
    if (vlorpi_interrupt_signal == SIGINT) {
        vlorpi_interrupt_signal = 0;
    }
    return s->chats ? vlorpi_chat_say(s->messages, "assistant", s->answer.n_bytes > 0 ? s->answer.text : "",
                                      s->answer.n_bytes, err)
                    : VLORP_OK;
}

/* Answers a line.  What is wrong with one message is said, and the conversation is as before it. */
static vlorp_status answer_or_report(session *s, vlorp_err *err)
{
    size_t n_before = json_array_size(s->messages);
    vlorp_status status = answer(s, err);
    if (status != VLORP_E_ARG && status != VLORP_E_FORMAT && status != VLORP_E_LIMIT) {
        return status;
    }
    if (s->chats && s->tokens.n >= s->generator.n_positions) {
        vlorpi_err_hint(err, "/clear begins a new conversation");
    }
    vlorpi_output_error(s->cli->output, err);
    while (json_array_size(s->messages) > n_before) {
        (void)json_array_remove(s->messages, json_array_size(s->messages) - 1);
    }
    return VLORP_OK;
}

static vlorp_status talk(session *s, vlorp_err *err)
{
    for (bool leaves = false; !leaves;) {
        bool more;
        bool is_command = false;
        VLORP_TRY(read_line(s, &more, err));
        if (!more) {
            show_prompt(s, "\n");
            return VLORP_OK;
        }
        if (s->line.n_bytes == 1) { /* the NUL alone */
            continue;
        }
        VLORP_TRY(run_command(s, &is_command, &leaves, err));
        if (!is_command) {
            VLORP_TRY(answer_or_report(s, err));
        }
        if (vlorpi_interrupt_signal != 0) {
            VLORP_FAIL(err, VLORP_E_INTERRUPTED, "interrupted");
        }
    }
    return VLORP_OK;
}

vlorp_status vlorpi_cli_interactive(vlorpi_cli *cli, vlorpi_loaded_model *loaded, const vlorpi_sampling *sampling,
                                    vlorp_err *err)
{
    static session s; /* large */
    int64_t most = loaded->config.max_positions;
    s = (session){.cli = cli,
                  .sampling = *sampling,
                  .chats = vlorpi_options_bool(cli->options, "chat"),
                  .tokens = {.mem = cli->mem},
                  .answer = {.mem = cli->mem, .shows = true, .keeps = true},
                  .line = {.mem = cli->mem}};
    vlorp_status status = s.chats ? vlorpi_chat_open(&s.chat, loaded->tokenizer, err) : VLORP_OK;
    if (status == VLORP_OK) {
        status = begin_conversation(&s, vlorpi_options_text(cli->options, "system"), err);
    }
    if (status == VLORP_OK) {
        int64_t n_positions = most < MAX_POSITIONS ? most : MAX_POSITIONS;
        status = vlorpi_generator_open(&s.generator, loaded, cli->kernels, n_positions, n_positions, err);
    }
    if (status == VLORP_OK) {
        vlorpi_interrupt_install();
        vlorpi_log_info(&cli->log, "%s; /help lists what else a line can be",
                        s.chats ? vlorpi_chat_template_name(&s.chat) : "a line is a text to go on with");
        status = talk(&s, err);
    }
    vlorpi_generator_close(&s.generator);
    json_decref(s.messages);
    vlorpi_tokens_deinit(&s.tokens);
    vlorpi_mem_free(cli->mem, s.answer.text);
    vlorpi_mem_free(cli->mem, s.line.text);
    return status;
}
