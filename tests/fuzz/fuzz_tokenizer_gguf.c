/* A tokenizer in GGUF metadata: what loads encodes, and is written as metadata or refused; nothing stays booked. */
#include <string.h>

#include "fuzz_target.h"
#include "text/tokenizer.h"

static void use(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem)
{
    static const char sample[] = "Hello, w\xC3\xB6rld!  1234 a ab abc <s> \xF0\x9F\x98\x80\xFF\n\tDon't";
    vlorp_err err = {0};
    vlorpi_tokens tokens = {.mem = mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    if (vlorpi_tokenizer_encode(tokenizer, &tokens, sample, sizeof sample - 1, options, &err) != VLORP_OK) {
        FUZZ_EXPECT(tokens.n == 0); /* a pattern may give up */
    }
    for (int64_t i = 0; i < tokens.n; i++) {
        FUZZ_EXPECT(tokens.items[i].id >= 0 && tokens.items[i].id < vlorpi_tokenizer_vocab_size(tokenizer));
    }
    vlorpi_tokens_deinit(&tokens);
    vlorpi_gguf_writer counter = {.err = &err};
    err.text[0] = '\0';
    vlorp_status status = vlorpi_tokenizer_put_gguf(&counter, tokenizer, vlorpi_tokenizer_vocab_size(tokenizer), &err);
    FUZZ_EXPECT(status == VLORP_OK ? counter.n_keys > 0 : err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    vlorpi_mem mem;
    vlorp_err err = {0};
    vlorpi_gguf *gguf;
    vlorpi_mem_init(&mem);
    if (vlorpi_gguf_parse(&gguf, &mem, bytes, n_bytes, "fuzz", &err) == VLORP_OK) {
        vlorpi_tokenizer *tokenizer;
        vlorp_status status = vlorpi_tokenizer_from_gguf(&tokenizer, &mem, gguf, "fuzz", &err);
        FUZZ_EXPECT((status == VLORP_OK) == (tokenizer != NULL));
        FUZZ_EXPECT(status == VLORP_OK || strncmp(err.text, "fuzz", 4) == 0);
        if (status == VLORP_OK) {
            use(tokenizer, &mem);
        }
        vlorpi_tokenizer_free(tokenizer);
        vlorpi_gguf_close(gguf);
    }
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
