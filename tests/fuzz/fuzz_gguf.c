/* GGUF: what parses can be walked to the end; what does not leaves nothing booked. */
#include "format/gguf.h"
#include "walk_tensor.h"

static void walk_key(const vlorpi_gguf *file, int64_t i)
{
    char key[256];
    char text[128];
    vlorpi_bytes name = vlorpi_gguf_key(file, i);
    vlorpi_gguf_value_text(file, i, text, sizeof text);
    FUZZ_EXPECT(strlen(text) < sizeof text);
    if (name.n_bytes >= sizeof key) {
        return;
    }
    memcpy(key, name.text, name.n_bytes);
    key[name.n_bytes] = '\0';
    FUZZ_EXPECT(vlorpi_gguf_has(file, key));
    int64_t integer;
    double real;
    vlorpi_bytes string;
    (void)vlorpi_gguf_get_int(file, key, &integer);
    (void)vlorpi_gguf_get_double(file, key, &real);
    (void)vlorpi_gguf_get_string(file, key, &string);
    int64_t n = vlorpi_gguf_array_length(file, key);
    for (int64_t k = 0; k <= n; k++) {
        volatile char touched = 0;
        if (vlorpi_gguf_array_string(file, key, k, &string) && string.n_bytes > 0) {
            touched = string.text[string.n_bytes - 1];
        }
        (void)touched;
        bool found = vlorpi_gguf_array_int(file, key, k, &integer) || vlorpi_gguf_array_double(file, key, k, &real);
        FUZZ_EXPECT(!found || k < n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    vlorpi_mem mem;
    vlorpi_gguf *file;
    vlorp_err err;
    vlorpi_mem_init(&mem);
    if (vlorpi_gguf_parse(&file, &mem, bytes, n_bytes, "fuzz", &err) == VLORP_OK) {
        for (int64_t i = 0; i < vlorpi_gguf_n_keys(file); i++) {
            walk_key(file, i);
        }
        for (int64_t i = 0; i < vlorpi_gguf_n_tensors(file); i++) {
            walk_tensor(vlorpi_gguf_tensor(file, i), bytes, n_bytes);
        }
        vlorpi_gguf_close(file);
    } else {
        FUZZ_EXPECT(file == NULL && err.text[0] != '\0');
    }
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
