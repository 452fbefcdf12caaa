/* Data files: records of every kind, rendered as training would.  The first byte chooses the ending
 * of the file's name: j .json, l .jsonl, c .csv, t .tsv, m MMLU's own; any other none. */
#include <string.h>

#include "data/prompts.h"
#include "data/records.h"
#include "format/json.h"
#include "fuzz_target.h"
#include "text/chat_template.h"

typedef struct reading {
    vlorpi_rendered rendered;
    vlorpi_chat_template chat;
    int64_t n;
} reading;

static const char chat_source[] =
    "{{'<|im_start|>system\\nBe kind<|im_end|>\\n'}}{% for message in messages %}{{'<|im_start|>' + message.role + "
    "'\\n' + message.content + '<|im_end|>\\n'}}{% endfor %}{{'<|im_start|>assistant\\n'}}";

static vlorp_status render(void *ctx, const vlorpi_record *record, vlorp_err *err)
{
    reading *r = ctx;
    r->n++;
    const vlorpi_form_traits *form = vlorpi_form_of(record->form);
    if (record->form == VLORPI_FORM_CHAT) {
        return vlorpi_chat_template_render(&r->rendered, &r->chat, record->messages, false, err);
    }
    for (int i = 0; i < form->n_required; i++) {
        FUZZ_EXPECT(record->fields[i].text != NULL);
    }
    VLORP_TRY(vlorpi_template_render(&r->rendered, vlorpi_template_for(record), record, true, err));
    FUZZ_EXPECT(r->rendered.n_spans == 1 && r->rendered.spans[0].end == (int64_t)r->rendered.n_bytes);
    return VLORP_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char letters[] = "jlctm";
    static const char *const names[] = {"fuzz.json", "fuzz.jsonl", "fuzz.csv", "fuzz.tsv", "fuzz_dev.csv"};
    if (n_bytes == 0) {
        return 0;
    }
    const char *letter = bytes[0] != 0 ? strchr(letters, bytes[0]) : NULL;
    const char *name = letter != NULL ? names[letter - letters] : "fuzz";
    vlorpi_mem mem;
    vlorp_err err = {0};
    vlorpi_records_report report;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    reading r = {.rendered = {.mem = &mem}};
    vlorpi_bytes none = {NULL, 0};
    FUZZ_EXPECT(vlorpi_chat_template_parse(&r.chat, &mem, chat_source, none, none, &err) == VLORP_OK);
    vlorp_status status = vlorpi_records_read(&report, &mem, name, bytes + 1, n_bytes - 1, VLORPI_FORM_ANY, render, &r,
                                              &err);
    if (status == VLORP_OK) {
        FUZZ_EXPECT((report.form == VLORPI_FORM_STREAM) == (r.n == 0) && report.n_records == r.n);
    } else {
        FUZZ_EXPECT(strncmp(err.text, name, strlen(name)) == 0);
    }
    vlorpi_rendered_deinit(&r.rendered);
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
