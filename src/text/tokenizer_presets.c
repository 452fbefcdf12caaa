/* tokenizer_presets.c - the splits of known families, by the names that GGUF files give them
 * (tokenizer.ggml.pre). */
#include <stdio.h>
#include <string.h>

#include "text/tokenizer_readers.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* LLaMA 3 and Qwen2 differ in how many digits stay together. */
#define LLAMA3(digits)                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                             \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM " ?[^(\\s|.,!?\xE2\x80\xA6\xE3\x80\x82\xEF\xBC\x8C\xE3\x80\x81\xE0\xA5\xA4\xDB\x94\xD8\x8C)]+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define TEKKEN_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

enum { MAX_PATTERNS = 4 };

typedef struct preset {
    const char *names; /* separated by blanks, with one at each end */
    const char *patterns[MAX_PATTERNS];
    vlorpi_tokenizer_preset flags;
} preset;

static const preset presets[] = {
    {" gpt-2 gpt2 phi-2 olmo mpt jais gigachat roberta-bpe jina-es jina-de jina-v2-code trillion granite-docling ",
     {GPT2}, {0}},
    {" llama-bpe llama3 llama-v3 falcon3 pixtral pixtral-bpe lfm2 ", {LLAMA3("\\p{N}{1,3}")},
     {.ignore_merges = true, .add_bos = true}},
    {" dbrx smaug-bpe ", {LLAMA3("\\p{N}{1,3}")}, {0}},
    {" qwen2 deepseek-r1-qwen ", {LLAMA3("\\p{N}")}, {.nfc = true}},
    {" stablelm2 hunyuan megrez ", {LLAMA3("\\p{N}")}, {0}},
    {" smollm starcoder refact command-r codeshell exaone minerva-7b ", {"\\p{N}", GPT2}, {0}},
    {" default ", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, {0}},
    {" falcon ", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, {0}},
    {" bloom poro-chat gpt3-finnish ", {BLOOM}, {0}},
    {" tekken ",
     {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*|\\p{N}" TEKKEN_TAIL},
     {.ignore_merges = true, .add_bos = true}},
    {" gpt-4o llama4 ",
     {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
      "*" CONTRACTION "|\\p{N}{1,3}" TEKKEN_TAIL}, {0}},
};

static const preset *find_preset(const char *name, size_t n_bytes)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const char *at = presets[i].names;
        while ((at = strchr(at, ' ')) != NULL && at[1] != 0) {
            at++;
            if (strncmp(at, name, n_bytes) == 0 && at[n_bytes] == ' ') {
                return &presets[i];
            }
        }
    }
    return NULL;
}

/* The patterns by which a byte-level tokenizer splits, in order; -1: it does more than GGUF can say. */
static int patterns_of(const char **patterns, const vlorpi_tokenizer *t)
{
    int n = 0;
    for (int i = 0; i < t->n_split; i++) {
        const vlorpi_split_step *step = &t->split[i];
        bool last = i == t->n_split - 1;
        bool plain = step->kind == VLORPI_SPLIT_PATTERN && step->behavior == VLORPI_SPLIT_ISOLATED && !step->literal &&
                     !step->invert;
        if (last ? step->kind != VLORPI_SPLIT_BYTE_LEVEL || step->add_prefix_space : !plain) {
            return -1;
        }
        if (step->pattern != NULL && n == MAX_PATTERNS) {
            return -1;
        }
        if (step->pattern != NULL) {
            patterns[n++] = vlorpi_regex_pattern(step->pattern);
        }
    }
    return n;
}

static bool is_preset(const preset *p, const vlorpi_tokenizer *t, const char *const *patterns, int n)
{
    bool nfc = t->n_normal == 1 && t->normal[0].kind == VLORPI_NORMAL_NFC;
    if (p->flags.ignore_merges != t->ignore_merges || p->flags.nfc != nfc || (!nfc && t->n_normal > 0)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (p->patterns[i] == NULL || strcmp(p->patterns[i], patterns[i]) != 0) {
            return false;
        }
    }
    return n == MAX_PATTERNS || p->patterns[n] == NULL;
}

bool vlorpi_tokenizer_preset_of(const vlorpi_tokenizer *t, char name[VLORPI_TOKENIZER_MAX_PRESET_NAME])
{
    const char *patterns[MAX_PATTERNS] = {NULL};
    int n = patterns_of(patterns, t);
    for (size_t i = 0; n >= 0 && i < sizeof presets / sizeof presets[0]; i++) {
        if (is_preset(&presets[i], t, patterns, n)) {
            const char *first = presets[i].names + 1;
            (void)snprintf(name, VLORPI_TOKENIZER_MAX_PRESET_NAME, "%.*s", (int)(strchr(first, ' ') - first), first);
            return true;
        }
    }
    return false;
}

vlorp_status vlorpi_tokenizer_split_preset(vlorpi_tokenizer *t, const char *name, size_t n_bytes,
                                           vlorpi_tokenizer_preset *flags, vlorp_err *err)
{
    const preset *found = n_bytes > 0 && memchr(name, ' ', n_bytes) == NULL ? find_preset(name, n_bytes) : NULL;
    if (found == NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pre-tokenizer \"%.*s\" is not supported",
                   (int)(n_bytes < 80 ? n_bytes : 80), name);
    }
    for (int i = 0; i < MAX_PATTERNS && found->patterns[i] != NULL; i++) {
        const char *pattern = found->patterns[i];
        VLORP_TRY(vlorpi_tokenizer_split_by(t, pattern, strlen(pattern), false, VLORPI_SPLIT_ISOLATED, false, err));
    }
    if (found->flags.nfc) {
        vlorpi_normal_step *step = NULL;
        VLORP_TRY(vlorpi_tokenizer_add_normal(t, &step, err));
        step->kind = VLORPI_NORMAL_NFC;
    }
    *flags = found->flags;
    return vlorpi_tokenizer_split_bytes(t, false, false, err);
}
