/* cmd_generate.c - vlorp generate: a prompt and what the model makes of it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/inference.h"
#include "cli/interactive.h"
#include "cli/text_out.h"
#include "eval/chat.h"
#include "eval/generate.h"

enum { MAX_PROMPT_BYTES = 1 << 26 };

/* Everything on standard input, without the newline that ends a line typed into a pipe; NUL-terminated
 * under DATA. */
static vlorp_status read_standard_input(char **prompt, vlorpi_mem *mem, vlorp_err *err)
{
    vlorpi_text_out s = {.mem = mem};
    char buffer[4096];
    size_t n;
    vlorp_status status = VLORP_OK;
    while (status == VLORP_OK && (n = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        status = s.n_bytes + n > MAX_PROMPT_BYTES
                     ? vlorpi_err_set(err, VLORP_E_LIMIT, "standard input: a prompt has at most %d bytes",
                                      (int)MAX_PROMPT_BYTES)
                     : vlorpi_text_out_keep(&s, buffer, n, err);
    }
    if (status == VLORP_OK && ferror(stdin)) {
        status = vlorpi_err_set(err, VLORP_E_IO, "standard input: %s", strerror(errno));
    }
    if (status == VLORP_OK && s.n_bytes > 0 && s.text[s.n_bytes - 1] == '\n') {
        s.n_bytes--;
    }
    if (status == VLORP_OK && s.n_bytes > 0 && memchr(s.text, '\0', s.n_bytes) != NULL) {
        status = vlorpi_err_set(err, VLORP_E_FORMAT, "standard input: a prompt is text, this has a zero byte");
    }
    if (status == VLORP_OK) {
        status = vlorpi_text_out_keep(&s, "", 1, err);
    }
    if (status != VLORP_OK) {
        vlorpi_mem_free(mem, s.text);
        return status;
    }
    *prompt = s.text;
    return VLORP_OK;
}

/* The words of the user: --prompt, or standard input.  Owner: the caller, vlorpi_mem_free. */
static vlorp_status read_prompt(char **prompt, const vlorpi_cli *cli, vlorp_err *err)
{
    const char *given = vlorpi_options_text(cli->options, "prompt");
    *prompt = NULL;
    if (given == NULL) {
        return read_standard_input(prompt, cli->mem, err);
    }
    *prompt = vlorpi_mem_strdup(cli->mem, VLORPI_MEM_DATA, given);
    return *prompt != NULL ? VLORP_OK : vlorpi_mem_fail(cli->mem, VLORPI_MEM_DATA, strlen(given) + 1, err);
}

/* The tokens of a user's message (system: what stands before it, or NULL), in the form that the model was taught to
 * answer. */
static vlorp_status encode_message(vlorpi_tokens *tokens, const vlorpi_tokenizer *tokenizer, const char *system,
                                   const char *message, vlorp_err *err)
{
    vlorpi_chat_template chat;
    VLORP_TRY(vlorpi_chat_open(&chat, tokenizer, err));
    json_t *messages = json_array();
    vlorp_status status =
        system != NULL ? vlorpi_chat_say(messages, "system", system, strlen(system), err) : VLORP_OK;
    if (status == VLORP_OK) {
        status = vlorpi_chat_say(messages, "user", message, strlen(message), err);
    }
    if (status == VLORP_OK) {
        status = vlorpi_chat_encode(tokens, &chat, tokenizer, messages, err);
    }
    json_decref(messages);
    return status;
}

/* The prompt's token ids, in the form that --chat asks for.  Owner of *ids: the caller. */
static vlorp_status encode_prompt(int32_t **ids, int64_t *n, const vlorpi_cli *cli, const vlorpi_loaded_model *loaded,
                                  const char *prompt, vlorp_err *err)
{
    vlorpi_tokens tokens = {.mem = cli->mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    vlorp_status status =
        vlorpi_options_bool(cli->options, "chat")
            ? encode_message(&tokens, loaded->tokenizer, vlorpi_options_text(cli->options, "system"), prompt, err)
            : vlorpi_tokenizer_encode(loaded->tokenizer, &tokens, prompt, strlen(prompt), options, err);
    int32_t bos = vlorpi_tokenizer_bos(loaded->tokenizer);
    *n = tokens.n > 0 ? tokens.n : bos >= 0; /* an empty prompt begins a text */
    if (status == VLORP_OK && *n == 0) {
        status = vlorpi_err_set(err, VLORP_E_ARG, "--prompt: it is empty, and this model has no token to begin with");
    }
    if (status == VLORP_OK) {
        *ids = vlorpi_mem_calloc(cli->mem, VLORPI_MEM_DATA, (size_t)*n, sizeof(int32_t));
        status = *ids != NULL ? VLORP_OK
                              : vlorpi_mem_fail(cli->mem, VLORPI_MEM_DATA, (size_t)*n * sizeof(int32_t), err);
    }
    if (status == VLORP_OK) {
        (*ids)[0] = bos;
        for (int64_t i = 0; i < tokens.n; i++) {
            (*ids)[i] = tokens.items[i].id;
        }
    }
    vlorpi_tokens_deinit(&tokens);
    return status;
}

static vlorpi_sampling sampling_of(const vlorpi_options *options)
{
    vlorpi_sampling s = {.top_k = vlorpi_options_int(options, "top_k"),
                         .top_p = vlorpi_options_double(options, "top_p"),
                         .seed = (uint64_t)vlorpi_options_int(options, "seed")};
    bool samples = vlorpi_options_is_set(options, "top_k") || vlorpi_options_is_set(options, "top_p");
    s.temperature = vlorpi_options_has(options, "temperature") ? vlorpi_options_double(options, "temperature")
                    : samples                                  ? 1
                                                               : 0;
    return s;
}

static vlorp_status report(vlorpi_cli *cli, const vlorpi_text_out *text, int64_t n_prompt,
                           const vlorpi_generate_result *result, double seconds, vlorp_err *err)
{
    static const char *const finish_names[] = {"end", "length", "context"};
    double rate = seconds > 0 ? (double)result->n_new / seconds : 0;
    if (text->keeps) {
        return vlorpi_output_json(
            json_pack("{s:s%,s:I,s:I,s:s,s:f,s:f}", "text", text->text != NULL ? text->text : "", text->n_bytes,
                      "prompt_tokens", (json_int_t)n_prompt, "new_tokens", (json_int_t)result->n_new, "finish",
                      finish_names[result->finish], "seconds", seconds, "tokens_per_second", rate),
            err);
    }
    if (isatty(STDOUT_FILENO)) {
        (void)putchar('\n');
    }
    if (result->finish == VLORPI_FINISH_CONTEXT) {
        vlorpi_log_warn(&cli->log, "stopped after %lld tokens: the model has no more positions",
                        (long long)result->n_new);
    }
    vlorpi_log_info(&cli->log, "%lld prompt tokens, %lld new ones, %.1f tokens/s", (long long)n_prompt,
                    (long long)result->n_new, rate);
    return VLORP_OK;
}

/* Continues the prompt of ids once. */
static vlorp_status generate(vlorpi_cli *cli, vlorpi_loaded_model *loaded, const int32_t *ids, int64_t n_ids,
                             vlorp_err *err)
{
    bool json = vlorpi_options_bool(cli->options, "json");
    vlorpi_text_out text = {.mem = cli->mem, .keeps = json, .shows = !json};
    vlorpi_text_sink sink = vlorpi_text_out_sink(&text);
    vlorpi_generate_request request = {.prompt = ids,
                                       .n_prompt = n_ids,
                                       .max_new_tokens = vlorpi_cli_max_new_tokens(cli->options),
                                       .sampling = sampling_of(cli->options)};
    int64_t most = loaded->config.max_positions;
    int64_t n_positions = n_ids < most - request.max_new_tokens ? n_ids + request.max_new_tokens : most;
    vlorpi_generator generator = {0};
    vlorpi_generate_result result;
    double begin = vlorpi_clock_seconds();
    vlorp_status status = vlorpi_generator_open(&generator, loaded, cli->kernels, n_positions, n_ids, err);
    if (status == VLORP_OK) {
        status = vlorpi_generator_run(&result, &generator, &request, &sink, err);
    }
    if (status == VLORP_OK) {
        status = report(cli, &text, n_ids, &result, vlorpi_clock_seconds() - begin, err);
    }
    vlorpi_generator_close(&generator);
    vlorpi_mem_free(cli->mem, text.text);
    return status;
}

static vlorp_status generate_once(vlorpi_cli *cli, vlorp_err *err)
{
    char *prompt = NULL;
    VLORP_TRY(read_prompt(&prompt, cli, err));
    vlorpi_loaded_model loaded = {0};
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    vlorp_status status = vlorpi_cli_load_model(&loaded, cli, err);
    if (status == VLORP_OK) {
        status = encode_prompt(&ids, &n_ids, cli, &loaded, prompt, err);
    }
    if (status == VLORP_OK) {
        status = generate(cli, &loaded, ids, n_ids, err);
    }
    vlorpi_mem_free(cli->mem, ids);
    vlorpi_loaded_model_close(&loaded);
    vlorpi_mem_free(cli->mem, prompt);
    return status;
}

vlorp_status vlorpi_cmd_generate(vlorpi_cli *cli, vlorp_err *err)
{
    bool json = vlorpi_options_bool(cli->options, "json");
    if (vlorpi_options_text(cli->options, "system") != NULL && !vlorpi_options_bool(cli->options, "chat")) {
        VLORP_FAIL(err, VLORP_E_ARG, "--system: it means something with --chat alone");
    }
    if (vlorpi_options_text(cli->options, "prompt") != NULL || !isatty(STDIN_FILENO)) {
        return generate_once(cli, err);
    }
    if (json) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "--json: it needs a prompt");
        vlorpi_err_hint(err, "give --prompt TEXT, or a text on standard input");
        return VLORP_E_ARG;
    }
    vlorpi_loaded_model loaded = {0};
    vlorpi_sampling sampling = sampling_of(cli->options);
    VLORP_TRY(vlorpi_cli_load_model(&loaded, cli, err));
    vlorp_status status = vlorpi_cli_interactive(cli, &loaded, &sampling, err);
    vlorpi_loaded_model_close(&loaded);
    return status;
}
