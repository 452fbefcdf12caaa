/* JSON: a document is one value of the record reader too, and nothing stays booked. */
#include "format/json.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    vlorpi_mem mem;
    vlorp_err err;
    json_t *whole;
    json_t *first;
    size_t n_used;
    const char *text = (const char *)bytes;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorp_status document = vlorpi_json_parse(&whole, text, n_bytes, "fuzz", &err);
    FUZZ_EXPECT((document == VLORP_OK) == (whole != NULL));
    vlorp_status record = vlorpi_json_parse_prefix(&first, &n_used, text, n_bytes, "fuzz", &err);
    FUZZ_EXPECT((record == VLORP_OK) == (first != NULL));
    FUZZ_EXPECT(n_used <= n_bytes);
    if (document == VLORP_OK) {
        FUZZ_EXPECT(record == VLORP_OK && json_equal(whole, first));
    }
    json_decref(whole);
    json_decref(first);
    /* record by record to the end: every step moves on */
    for (size_t at = 0; at < n_bytes; at += n_used) {
        if (vlorpi_json_parse_prefix(&first, &n_used, text + at, n_bytes - at, "fuzz", &err) != VLORP_OK) {
            break;
        }
        json_decref(first);
        FUZZ_EXPECT(n_used > 0);
    }
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
