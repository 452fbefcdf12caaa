/* Prints a data set as it is trained: for each example its codes (the id, or ~id where it is masked) on one line,
 * after a line of counts.  dump_masks TOKENIZER DATA MAX_LENGTH */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "format/json.h"

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: dump_masks TOKENIZER DATA MAX_LENGTH\n");
        return 2;
    }
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorpi_tokenizer *tokenizer = NULL;
    vlorpi_dataset *data = NULL;
    vlorpi_dataset_report r;
    vlorpi_dataset_config config = {.what = argv[2], .max_length = atoll(argv[3])};
    vlorp_status status = vlorpi_tokenizer_open(&tokenizer, &mem, argv[1], &err);
    if (status == VLORP_OK) {
        status = vlorpi_dataset_open(&data, &r, &mem, tokenizer, &config, &err);
    }
    if (status != VLORP_OK) {
        (void)fprintf(stderr, "dump_masks: %s\n", err.text);
        return 1;
    }
    printf("records %" PRId64 " examples %" PRId64 " truncated %" PRId64 " dropped %" PRId64 " eos %" PRId32 "\n", r.n_records,
           r.n_examples, r.n_truncated, r.n_without_target, vlorpi_tokenizer_eos(tokenizer));
    for (int64_t i = 0; i < vlorpi_dataset_n_examples(data); i++) {
        vlorpi_example example = vlorpi_dataset_example(data, i);
        for (int64_t t = 0; t < example.n_tokens; t++) {
            printf("%s%" PRId32, t > 0 ? " " : "", example.codes[t]);
        }
        printf("\n");
    }
    vlorpi_dataset_free(data);
    vlorpi_tokenizer_free(tokenizer);
    return 0;
}
