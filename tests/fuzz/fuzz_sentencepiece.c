/* tokenizer.model: what loads encodes, nothing stays booked. */
#include "fuzz_target.h"
#include "text/tokenizer_readers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char sample[] = "Hello, w\xC3\xB6rld!  a ab abc <s> \xF0\x9F\x98\x80\xFF";
    vlorpi_mem mem;
    vlorp_err err = {0};
    vlorpi_tokenizer *tokenizer;
    vlorpi_mem_init(&mem);
    FUZZ_EXPECT(vlorpi_tokenizer_create(&tokenizer, &mem, &err) == VLORP_OK);
    vlorp_status status = vlorpi_tokenizer_read_pieces(tokenizer, bytes, n_bytes, NULL, &err);
    FUZZ_EXPECT(status == VLORP_OK || err.text[0] != 0);
    if (status == VLORP_OK) {
        status = vlorpi_tokenizer_finish(tokenizer, &err);
    }
    if (status == VLORP_OK) {
        vlorpi_tokens tokens = {.mem = &mem};
        vlorpi_encode_options options = {.add_special = true, .parse_special = true};
        status = vlorpi_tokenizer_encode(tokenizer, &tokens, sample, sizeof sample - 1, options, &err);
        FUZZ_EXPECT(status == VLORP_OK);
        for (int64_t i = 0; i < tokens.n; i++) {
            FUZZ_EXPECT(tokens.items[i].id >= 0 && tokens.items[i].id < vlorpi_tokenizer_vocab_size(tokenizer));
        }
        vlorpi_tokens_deinit(&tokens);
    }
    vlorpi_tokenizer_free(tokenizer);
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
