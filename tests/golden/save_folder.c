/* save_folder MODEL OUT DTYPE SHARD_BYTES - writes a model folder, or OUT.gguf, for check_folder.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "checkpoint/convert.h"
#include "checkpoint/save.h"
#include "format/json.h"

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fprintf(stderr, "usage: %s MODEL OUT DTYPE SHARD_BYTES\n", argv[0]);
        return 2;
    }
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorp_exec exec = vlorpi_threads_exec(2);
    int dtype = VLORP_F32;
    while (dtype < VLORP_F16 && strcmp(argv[3], vlorpi_checkpoint_dtype_name((vlorp_dtype)dtype)) != 0) {
        dtype++;
    }
    size_t n_out = strlen(argv[2]);
    bool gguf = n_out > 5 && strcmp(argv[2] + n_out - 5, ".gguf") == 0;
    vlorpi_storage stored;
    vlorpi_conversion conversion = {.model = argv[1], .out = argv[2],
                                    .to = gguf ? VLORPI_CONVERT_TO_GGUF : VLORPI_CONVERT_TO_FOLDER,
                                    .storage = vlorpi_checkpoint_storage((vlorp_dtype)dtype),
                                    .shard_bytes = strtoull(argv[4], NULL, 10),
                                    .kernels = vlorpi_kernels_select(NULL), .exec = &exec};
    vlorp_err err;
    if (vlorpi_convert(&conversion, &mem, &stored, &err) != VLORP_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}
