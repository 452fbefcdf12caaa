/* safetensors: what parses can be walked to the end; what does not leaves nothing booked. */
#include "format/json.h"
#include "format/safetensors.h"
#include "walk_tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    vlorpi_mem mem;
    vlorpi_safetensors *file;
    vlorp_err err;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    if (vlorpi_safetensors_parse(&file, &mem, bytes, n_bytes, "fuzz", &err) == VLORP_OK) {
        for (int64_t i = 0; i < vlorpi_safetensors_n_tensors(file); i++) {
            walk_tensor(vlorpi_safetensors_tensor(file, i), bytes, n_bytes);
        }
        vlorpi_safetensors_close(file);
    } else {
        FUZZ_EXPECT(file == NULL && err.text[0] != '\0');
    }
    FUZZ_EXPECT(vlorpi_mem_now(&mem).total_bytes == 0);
    return 0;
}
