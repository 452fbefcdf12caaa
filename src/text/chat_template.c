#include "text/chat_template.h"

#include <string.h>

#include "text/chat_canonical.h"
#include "text/tokenizer_parts.h"

enum { SYSTEM, USER, ASSISTANT, N_ROLES };
enum { MAX_FRAGMENTS = 8 };

static const char *const role_names[N_ROLES] = {"system", "user", "assistant"};

/* What a template of a form writes; "{bos}" and "{eos}" stand for the tokens' texts.  A source is of the
 * form when its canonical text holds all of needs and one of turns, and none of refuses; a turn that
 * contains "trim" or "strip" says that contents are trimmed. */
struct vlorpi_chat_form {
    const char *name;
    const char *needs[MAX_FRAGMENTS];
    const char *turns[MAX_FRAGMENTS];
    const char *refuses[MAX_FRAGMENTS];
    const char *tokens[4];          /* must be tokens of the vocabulary; NULL ends the list */
    const char *opening[N_ROLES];   /* before the content */
    const char *answer_lead;        /* before an assistant's content, and the model's to write */
    const char *closing[N_ROLES];   /* after it: an assistant's is the model's to write */
    const char *after;              /* after every turn */
    const char *system_begin;       /* where the system message is part of the first user's: around it */
    const char *system_end;
    bool writes_bos; /* as part of its turns */
};

#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define HEADER_SOURCE "'<|start_header_id|>'+message.role+'<|end_header_id|>\\n\\n'+"

static const vlorpi_chat_form forms[] = {
    {.name = "chatml",
     .needs = {"<|im_start|>assistant\\n"},
     .turns = {"'<|im_start|>'+message.role+'\\n'+message.content+'<|im_end|>\\n'}}{%",
               "'<|im_start|>'+message.role+'\\n'+content+'<|im_end|>\\n'}}{%",
               "'<|im_start|>'+message.role+'\\n'+message.content|trim+'<|im_end|>\\n'}}{%",
               "'<|im_start|>'+message.role+'\\n'+(message.content|trim)+'<|im_end|>\\n'}}{%",
               "'<|im_start|>'+message.role+'\\n'+message.content.strip()+'<|im_end|>\\n'}}{%",
               "'<|im_start|>user\\n'+message.content+'<|im_end|>\\n'}}{%",
               "<|im_start|>{{message.role}}\\n{{message.content}}<|im_end|>\\n{%"},
     .refuses = {"<|im_start|>assistant\\n<think>"},
     .tokens = {"<|im_start|>", "<|im_end|>"},
     .opening = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .answer_lead = "",
     .closing = {"<|im_end|>", "<|im_end|>", "<|im_end|>"},
     .after = "\n"},
    {.name = "llama2",
     .needs = {"'<<SYS>>\\n'+system_message+'\\n<</SYS>>\\n\\n'+message"},
     .turns = {"bos_token+'[INST] '+content.strip()+' [/INST]'}}", "bos_token+'[INST] '+content|trim+' [/INST]'}}"},
     .refuses = {"true==true"},
     .opening = {"", "{bos}[INST] ", ""},
     .answer_lead = " ",
     .closing = {"", " [/INST]", " {eos}"},
     .after = "",
     .system_begin = "<<SYS>>\n",
     .system_end = "\n<</SYS>>\n\n",
     .writes_bos = true},
    {.name = "mistral",
     .needs = {"{%ifloop.firstandsystem_messageisdefined%}"
               "{{' [INST] '+system_message+'\\n\\n'+message.content+' [/INST]'}}",
               "{{' '+message.content+eos_token}}"},
     .turns = {"{{' [INST] '+message.content+' [/INST]'}}"},
     .opening = {"", " [INST] ", ""},
     .answer_lead = " ",
     .closing = {"", " [/INST]", "{eos}"},
     .after = "",
     .system_begin = "",
     .system_end = "\n\n"},
    {.name = "llama3",
     .needs = {"<|start_header_id|>assistant<|end_header_id|>\\n\\n'}}"},
     .turns = {HEADER_SOURCE "message.content|trim+'<|eot_id|>'", HEADER_SOURCE "(message.content|trim)+'<|eot_id|>'",
               HEADER_SOURCE "message.content.strip()+'<|eot_id|>'", HEADER_SOURCE "message.content+'<|eot_id|>'"},
     .tokens = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     .opening = {HEADER("system"), HEADER("user"), HEADER("assistant")},
     .answer_lead = "",
     .closing = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},
     .after = ""},
    {.name = "zephyr",
     .needs = {"'<|system|>\\n'+message.content+eos_token", "'<|assistant|>\\n'+message.content+eos_token",
               "{{'<|assistant|>"},
     .turns = {"{{'<|user|>\\n'+message.content+eos_token}}\\n{%",
               "{{'<|user|>\\n'+message.content+eos_token+'\\n'}}{%"},
     .opening = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .answer_lead = "",
     .closing = {"{eos}", "{eos}", "{eos}"},
     .after = "\n"},
};

static const char no_form[] =
    "the tokenizer's chat template is none of the known ones (chatml, llama2, mistral, llama3, zephyr)";

/* --- recognition --- */

static bool has(const char *source, const char *fragment)
{
    return strstr(source, fragment) != NULL;
}

/* The fragment of turns that the source writes, or NULL when it is not of this form. */
static const char *turn_of(const vlorpi_chat_form *form, const char *canonical)
{
    for (int i = 0; i < MAX_FRAGMENTS && form->needs[i] != NULL; i++) {
        if (!has(canonical, form->needs[i])) {
            return NULL;
        }
    }
    for (int i = 0; i < MAX_FRAGMENTS && form->refuses[i] != NULL; i++) {
        if (has(canonical, form->refuses[i])) {
            return NULL;
        }
    }
    for (int i = 0; i < MAX_FRAGMENTS && form->turns[i] != NULL; i++) {
        if (has(canonical, form->turns[i])) {
            return form->turns[i];
        }
    }
    return NULL;
}

/* The literal text of a system message in the template's source, where the line break may be spelled as
 * an escape; empty when every such place holds an expression. */
static vlorpi_bytes default_system(const char *source)
{
    static const char opening[] = "<|im_start|>system";
    static const char closing[] = "<|im_end|>";
    for (const char *p = strstr(source, opening); p != NULL; p = strstr(p, opening)) {
        p += strlen(opening);
        size_t n_break = *p == '\n' ? 1 : strncmp(p, "\\n", 2) == 0 ? 2 : 0;
        size_t n = strcspn(p + n_break, "'\"{}\\<");
        if (n_break > 0 && n > 0 && strncmp(p + n_break + n, closing, strlen(closing)) == 0) {
            return (vlorpi_bytes){.text = p + n_break, .n_bytes = n};
        }
    }
    return (vlorpi_bytes){NULL, 0};
}

/* Whether the template puts BOS first, by its name or as text. */
static bool writes_bos(const char *canonical, vlorpi_bytes bos)
{
    char literal[64];
    int n = bos.n_bytes > 0 && bos.n_bytes < 40
                ? snprintf(literal, sizeof literal, "{{'%.*s'}}", (int)bos.n_bytes, bos.text) : 0;
    return has(canonical, "bos_token") || (n > 0 && has(canonical, literal));
}

/* What else the source says; false: something that is not rendered here. */
static bool read_traits(vlorpi_chat_template *chat, const char *source, const char *canonical, const char *turn)
{
    static const char fallback[] = "26 Jul 2024";
    bool is_chatml = strcmp(chat->form->name, "chatml") == 0;
    chat->trims = has(turn, "trim") || has(turn, "strip");
    chat->begins_with_bos = !chat->form->writes_bos && writes_bos(canonical, chat->bos);
    chat->has_think = has(canonical, "<think>");
    chat->has_date = has(canonical, "Cutting Knowledge Date");
    chat->asks_date = chat->has_date && has(canonical, "strftime_now");
    (void)snprintf(chat->date, sizeof chat->date, "%s", fallback);
    chat->default_system = is_chatml ? default_system(source) : (vlorpi_bytes){NULL, 0};
    bool thinks_as_qwen = is_chatml && has(canonical, "last_query_index") && has(canonical, "'\\n<think>\\n'+");
    bool dates_as_llama = has(canonical, "'Cutting Knowledge Date: December 2023\\n'") && has(canonical, fallback);
    return (!chat->has_think || thinks_as_qwen) && (!chat->has_date || dates_as_llama);
}

vlorp_status vlorpi_chat_template_parse(vlorpi_chat_template *out, vlorpi_mem *mem, const char *source,
                                        vlorpi_bytes bos, vlorpi_bytes eos, vlorp_err *err)
{
    char *canonical;
    *out = (vlorpi_chat_template){.bos = bos, .eos = eos};
    VLORP_TRY(vlorpi_chat_canonical(&canonical, mem, source, err));
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && out->form == NULL; i++) {
        const char *turn = turn_of(&forms[i], canonical);
        if (turn != NULL) {
            out->form = &forms[i];
            out->form = read_traits(out, source, canonical, turn) ? out->form : NULL;
        }
    }
    vlorpi_mem_free(mem, canonical);
    return out->form != NULL ? VLORP_OK : vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s", no_form);
}

static vlorpi_bytes text_of(const vlorpi_tokenizer *t, int32_t id)
{
    vlorpi_bytes text = {NULL, 0};
    text.text = id >= 0 ? vlorpi_vocab_text(&t->vocab, id, &text.n_bytes) : NULL;
    return text;
}

vlorp_status vlorpi_chat_template_of(vlorpi_chat_template *out, const vlorpi_tokenizer *tokenizer, vlorp_err *err)
{
    if (tokenizer->chat_template == NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "the tokenizer's files have no chat template");
    }
    VLORP_TRY(vlorpi_chat_template_parse(out, tokenizer->mem, tokenizer->chat_template,
                                         text_of(tokenizer, tokenizer->bos), text_of(tokenizer, tokenizer->eos), err));
    for (const char *const *token = out->form->tokens; *token != NULL; token++) {
        if (vlorpi_tokenizer_id(tokenizer, *token) < 0) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "the tokenizer's chat template is %s, whose %s is no token of it",
                       out->form->name, *token);
        }
    }
    return VLORP_OK;
}

const char *vlorpi_chat_template_name(const vlorpi_chat_template *chat)
{
    return chat->form->name;
}

/* --- rendering --- */

typedef struct turn {
    int role;
    vlorpi_bytes content;
} turn;

static vlorp_status append(vlorpi_rendered *rendered, vlorpi_bytes text, vlorp_err *err)
{
    return vlorpi_rendered_append(rendered, text.text, text.n_bytes, err);
}

/* Appends a text of the table. */
static vlorp_status append_form(vlorpi_rendered *rendered, const vlorpi_chat_template *chat, const char *text,
                                vlorp_err *err)
{
    for (const char *p = text; *p != 0;) {
        bool is_bos = strncmp(p, "{bos}", 5) == 0;
        if (is_bos || strncmp(p, "{eos}", 5) == 0) {
            VLORP_TRY(append(rendered, is_bos ? chat->bos : chat->eos, err));
            p += 5;
        } else {
            size_t n = 1 + strcspn(p + 1, "{");
            VLORP_TRY(vlorpi_rendered_append(rendered, p, n, err));
            p += n;
        }
    }
    return VLORP_OK;
}

/* White space as Python's str.strip() takes it. */
static bool is_blank(int32_t codepoint)
{
    return vlorpi_utf8_is_space(codepoint) || (codepoint >= 0x1C && codepoint <= 0x1F);
}

static vlorpi_bytes trim(vlorpi_bytes text, bool left)
{
    int32_t codepoint = 0;
    while (text.n_bytes > 0) { /* characters from the end: back to one that is no continuation byte */
        size_t n = 1;
        while (n < text.n_bytes && ((unsigned char)text.text[text.n_bytes - n] & 0xC0) == 0x80) {
            n++;
        }
        (void)vlorpi_utf8_read(text.text + text.n_bytes - n, n, &codepoint);
        if (!is_blank(codepoint)) {
            break;
        }
        text.n_bytes -= n;
    }
    while (left && text.n_bytes > 0) {
        size_t n = vlorpi_utf8_read(text.text, text.n_bytes, &codepoint);
        if (!is_blank(codepoint)) {
            break;
        }
        text = (vlorpi_bytes){.text = text.text + n, .n_bytes = text.n_bytes - n};
    }
    return text;
}

static vlorp_status read_turn(turn *out, const json_t *messages, size_t i, vlorp_err *err)
{
    const json_t *message = json_array_get(messages, i);
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    if (role == NULL || !json_is_string(content)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "message %zu is no object with the strings role and content", i + 1);
    }
    out->role = 0;
    while (out->role < N_ROLES && strcmp(role, role_names[out->role]) != 0) {
        out->role++;
    }
    if (out->role == N_ROLES) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "message %zu has an unknown role; wanted: system, user or assistant", i + 1);
    }
    out->content = (vlorpi_bytes){.text = json_string_value(content), .n_bytes = json_string_length(content)};
    return VLORP_OK;
}

static bool begins_with(vlorpi_bytes text, const char *begin)
{
    return text.n_bytes >= strlen(begin) && memcmp(text.text, begin, strlen(begin)) == 0;
}

static vlorpi_bytes without_breaks(vlorpi_bytes text, bool left, bool right)
{
    while (left && text.n_bytes > 0 && *text.text == '\n') {
        text = (vlorpi_bytes){.text = text.text + 1, .n_bytes = text.n_bytes - 1};
    }
    while (right && text.n_bytes > 0 && text.text[text.n_bytes - 1] == '\n') {
        text.n_bytes--;
    }
    return text;
}

/* The first (last) place of mark in text, or NULL. */
static const char *find_mark(vlorpi_bytes text, const char *mark, bool last)
{
    const char *found = NULL;
    size_t n = strlen(mark);
    for (size_t i = 0; i + n <= text.n_bytes && (found == NULL || last); i++) {
        found = memcmp(text.text + i, mark, n) == 0 ? text.text + i : found;
    }
    return found;
}

/* An assistant's content under Qwen 3's template: reasoning is kept and marked behind the last question,
 * where the last answer has marks even without any, and cut from older answers. */
static vlorp_status append_thinking(vlorpi_rendered *rendered, vlorpi_bytes content, bool behind, bool last,
                                    vlorp_err *err)
{
    static const char opening[] = "<think>";
    static const char closing[] = "</think>";
    vlorpi_bytes reasoning = {"", 0};
    const char *first = find_mark(content, closing, false);
    if (first != NULL) {
        reasoning = (vlorpi_bytes){.text = content.text, .n_bytes = (size_t)(first - content.text)};
        reasoning = without_breaks(reasoning, false, true);
        const char *open = find_mark(reasoning, opening, true);
        size_t n_skip = open != NULL ? (size_t)(open - reasoning.text) + strlen(opening) : 0;
        reasoning = (vlorpi_bytes){.text = reasoning.text + n_skip, .n_bytes = reasoning.n_bytes - n_skip};
        reasoning = without_breaks(reasoning, true, false);
        const char *answer = find_mark(content, closing, true) + strlen(closing);
        content = (vlorpi_bytes){.text = answer, .n_bytes = content.n_bytes - (size_t)(answer - content.text)};
        content = without_breaks(content, true, false);
    }
    if (behind && (last || reasoning.n_bytes > 0)) {
        VLORP_TRY(vlorpi_rendered_append(rendered, "<think>\n", 8, err));
        VLORP_TRY(append(rendered, without_breaks(reasoning, true, true), err));
        VLORP_TRY(vlorpi_rendered_append(rendered, "\n</think>\n\n", 11, err));
        content = without_breaks(content, true, false);
    }
    return append(rendered, content, err);
}

/* Index of the last question, behind which reasoning is kept; a tool's answer is none. */
static vlorp_status last_question(size_t *out, const json_t *messages, vlorp_err *err)
{
    size_t n = json_array_size(messages);
    *out = n - 1;
    for (size_t i = n; i-- > 0;) {
        turn t;
        VLORP_TRY(read_turn(&t, messages, i, err));
        vlorpi_bytes end = {.text = t.content.text, .n_bytes = t.content.n_bytes};
        bool is_tool = begins_with(t.content, "<tool_response>") && end.n_bytes >= 16 &&
                       memcmp(end.text + end.n_bytes - 16, "</tool_response>", 16) == 0;
        if (t.role == USER && !is_tool) {
            *out = i;
            return VLORP_OK;
        }
    }
    return VLORP_OK;
}

/* The first message under LLaMA 3.1's template is always a system message, and begins with dates. */
static vlorp_status append_dates(vlorpi_rendered *rendered, const vlorpi_chat_template *chat, vlorpi_bytes system,
                                 vlorp_err *err)
{
    VLORP_TRY(append_form(rendered, chat, chat->form->opening[SYSTEM], err));
    VLORP_TRY(append_form(rendered, chat, "Cutting Knowledge Date: December 2023\nToday Date: ", err));
    VLORP_TRY(append_form(rendered, chat, chat->date, err));
    VLORP_TRY(append_form(rendered, chat, "\n\n", err));
    VLORP_TRY(append(rendered, system, err));
    return append_form(rendered, chat, chat->form->closing[SYSTEM], err);
}

/* One message and what the form writes around it; system: that of a form that puts it in the first
 * user's turn, else NULL. */
static vlorp_status append_turn(vlorpi_rendered *rendered, const vlorpi_chat_template *chat, const turn *t,
                                const vlorpi_bytes *system, const bool behind_and_last[2], vlorp_err *err)
{
    const vlorpi_chat_form *form = chat->form;
    vlorpi_bytes content = t->content;
    VLORP_TRY(append_form(rendered, chat, form->opening[t->role], err));
    size_t begin = rendered->n_bytes;
    if (t->role == ASSISTANT) {
        VLORP_TRY(append_form(rendered, chat, form->answer_lead, err));
    }
    if (system != NULL) { /* the two are trimmed as one text, which begins with a mark */
        VLORP_TRY(append_form(rendered, chat, form->system_begin, err));
        VLORP_TRY(append(rendered, *system, err));
        VLORP_TRY(append_form(rendered, chat, form->system_end, err));
        size_t n_before = rendered->n_bytes;
        VLORP_TRY(append(rendered, content, err));
        vlorpi_bytes whole = {.text = rendered->bytes + begin, .n_bytes = rendered->n_bytes - begin};
        rendered->n_bytes = chat->trims ? begin + trim(whole, false).n_bytes : n_before + content.n_bytes;
    } else if (chat->has_think && t->role == ASSISTANT) {
        VLORP_TRY(append_thinking(rendered, content, behind_and_last[0], behind_and_last[1], err));
    } else {
        VLORP_TRY(append(rendered, chat->trims ? trim(content, true) : content, err));
    }
    VLORP_TRY(append_form(rendered, chat, form->closing[t->role], err));
    if (t->role == ASSISTANT && content.n_bytes > 0) {
        VLORP_TRY(vlorpi_rendered_mark(rendered, begin, err));
    }
    return append_form(rendered, chat, form->after, err);
}

/* Roles in the order that a form with the system message inside the first turn needs. */
static vlorp_status check_order(const vlorpi_chat_template *chat, const json_t *messages, vlorp_err *err)
{
    turn t = {0};
    size_t first = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        VLORP_TRY(read_turn(&t, messages, i, err));
        first += i == 0 && t.role == SYSTEM;
        int wanted = (i - first) % 2 == 0 ? USER : ASSISTANT;
        if (i >= first && t.role != wanted) {
            VLORP_FAIL(err, VLORP_E_FORMAT,
                       "message %zu is the %s's; %s's chat template needs user and assistant by turns", i + 1,
                       role_names[t.role], chat->form->name);
        }
    }
    if (first == json_array_size(messages)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "there is no message of the user");
    }
    return VLORP_OK;
}

static vlorp_status append_all(vlorpi_rendered *rendered, const vlorpi_chat_template *chat, const json_t *messages,
                               vlorp_err *err)
{
    size_t n = json_array_size(messages);
    size_t first = 0;
    size_t question = 0;
    turn t = {0};
    bool folds = chat->form->system_begin != NULL;
    VLORP_TRY(read_turn(&t, messages, 0, err));
    bool has_system = t.role == SYSTEM;
    vlorpi_bytes system = has_system ? t.content : chat->default_system;
    if (folds) {
        VLORP_TRY(check_order(chat, messages, err));
        first = has_system;
    } else if (chat->has_date) {
        VLORP_TRY(append_dates(rendered, chat, has_system ? trim(system, true) : system, err));
        first = has_system;
    } else if (!has_system && system.n_bytes > 0) {
        turn added = {.role = SYSTEM, .content = system};
        VLORP_TRY(append_turn(rendered, chat, &added, NULL, (bool[2]){false, false}, err));
    }
    if (chat->has_think) {
        VLORP_TRY(last_question(&question, messages, err));
    }
    for (size_t i = first; i < n; i++) {
        VLORP_TRY(read_turn(&t, messages, i, err));
        bool takes_system = folds && has_system && i == first;
        bool behind_and_last[2] = {i > question, i + 1 == n};
        VLORP_TRY(append_turn(rendered, chat, &t, takes_system ? &system : NULL, behind_and_last, err));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_chat_template_render(vlorpi_rendered *rendered, const vlorpi_chat_template *chat,
                                         const json_t *messages, bool open_answer, vlorp_err *err)
{
    vlorpi_rendered_clear(rendered);
    rendered->add_special = false;
    rendered->add_eos = false;
    if (chat->begins_with_bos) {
        VLORP_TRY(append(rendered, chat->bos, err));
    }
    if (json_array_size(messages) > 0) {
        VLORP_TRY(append_all(rendered, chat, messages, err));
    }
    return open_answer ? append_form(rendered, chat, chat->form->opening[ASSISTANT], err) : VLORP_OK;
}
