/* tokenizer.json: what loads encodes and decodes, offsets stay inside, nothing stays booked. */
#include "format/json.h"
#include "fuzz_target.h"
#include "text/tokenizer.h"

static void encode(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem, const char *text, size_t n_bytes)
{
    vlorp_err err;
    vlorpi_tokens tokens = {.mem = mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    if (vlorpi_tokenizer_encode(tokenizer, &tokens, text, n_bytes, options, &err) != VLORP_OK) {
        FUZZ_EXPECT(tokens.n == 0); /* a pattern may give up */
    }
    int32_t ids[4096];
    int64_t n = 0;
    for (int64_t i = 0; i < tokens.n; i++) {
        FUZZ_EXPECT(tokens.items[i].id >= 0 && tokens.items[i].id < vlorpi_tokenizer_vocab_size(tokenizer));
        FUZZ_EXPECT(tokens.items[i].begin >= 0 && tokens.items[i].begin <= tokens.items[i].end);
        FUZZ_EXPECT(tokens.items[i].end <= (int64_t)n_bytes);
        ids[n] = tokens.items[i].id;
        n += n + 1 < (int64_t)(sizeof ids / sizeof ids[0]);
    }
    char *decoded;
    size_t n_decoded;
    if (vlorpi_tokenizer_decode(tokenizer, &decoded, &n_decoded, ids, n, false, &err) == VLORP_OK) {
        FUZZ_EXPECT(decoded[n_decoded] == 0);
        vlorpi_mem_free(mem, decoded);
    }
    vlorpi_tokens_deinit(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char sample[] = "Hello, w\xC3\xB6rld!  1234 e\xCC\x81 \xED\x95\x9C <s> "
                                 "\xF0\x9F\x98\x80\xFF\n\n\tDon't";
    vlorpi_mem mem;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const char *text = (const char *)bytes;
    vlorp_status status = vlorpi_tokenizer_from_json(&tokenizer, &mem, text, n_bytes, "fuzz", &err);
    FUZZ_EXPECT((status == VLORP_OK) == (tokenizer != NULL));
    FUZZ_EXPECT(status == VLORP_OK || err.text[0] != 0);
    if (status == VLORP_OK) {
        encode(tokenizer, &mem, sample, sizeof sample - 1);
        encode(tokenizer, &mem, text, n_bytes < 256 ? n_bytes : 256);
    }
    vlorpi_tokenizer_free(tokenizer);
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
