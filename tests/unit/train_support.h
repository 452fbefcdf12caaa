/* train_support.h - a tiny real job: stories260K on sums in words. */
#ifndef VLORP_TESTS_TRAIN_SUPPORT_H
#define VLORP_TESTS_TRAIN_SUPPORT_H

#include "support.h"

#include <unistd.h>

#include "base/threads.h"
#include "format/json.h"
#include "train/trainer.h"

/* A file of 96 short questions with answers of several lengths, made once per process. */
static inline const char *tiny_questions(void)
{
    static const char *const words[] = {"one", "two", "three", "four", "five", "six", "seven", "eight"};
    static char path[64];
    if (path[0] != '\0') {
        return path;
    }
    (void)snprintf(path, sizeof path, "/tmp/vlorp-questions-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        fail_msg("no temporary file");
    }
    for (int i = 0; i < 96; i++) {
        (void)fprintf(file, "{\"question\": \"Lily had %s red balls and %s cats. Why?\", \"answer\": \"She %s%s.\"}\n",
                      words[i % 8], words[i / 8 % 8], i % 3 == 0 ? "was happy and went to the park" : "saw ",
                      words[i / 12 % 8]);
    }
    (void)fclose(file);
    return path;
}

static inline void remove_tiny_questions(void)
{
    (void)unlink(tiny_questions());
}

/* Settings for a few quick steps; the model comes from the shared data. */
static inline vlorpi_train_settings tiny_settings(void)
{
    vlorpi_train_settings s = vlorpi_train_settings_default();
    s.model = shared_data("models/stories260K-hf");
    s.dataset = tiny_questions();
    s.max_length = 128;
    s.total_batch_size = 8;
    s.num_training_steps = 3;
    s.lr = 1e-3;
    s.projection.budget = 16;
    s.activation_checkpointing = VLORPI_NO;
    return s;
}

/* The process's account: jansson's allocator can be given away only once. */
static inline vlorpi_mem *test_mem(void)
{
    static vlorpi_mem mem;
    static bool ready;
    if (!ready) {
        vlorpi_mem_init(&mem);
        vlorpi_json_use_account(&mem);
        ready = true;
    }
    return &mem;
}

static inline vlorp_exec test_exec(void)
{
    return vlorpi_threads_exec(2);
}

/* An empty folder for one run, in a static buffer; _remove_run deletes it. */
static inline const char *make_run_folder(void)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "/tmp/vlorp-test-XXXXXX");
    if (mkdtemp(path) == NULL) {
        fail_msg("no temporary folder");
    }
    return path;
}

static inline void remove_run_folder(const char *path)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0) {
        fail_msg("%s cannot be removed", path);
    }
}

/* A folder with a configuration and the tokenizer of stories260K, in a static buffer. */
static inline const char *family_folder(const char *family, int n_layers, int head_dim, bool tied)
{
    static char path[64];
    char command[512];
    (void)snprintf(path, sizeof path, "/tmp/vlorp-family-XXXXXX");
    assert_non_null(mkdtemp(path));
    (void)snprintf(command, sizeof command, "cp %s/tokenizer* '%s'", shared_data("models/stories260K-hf"), path);
    assert_int_equal(system(command), 0);
    (void)snprintf(command, sizeof command, "%s/config.json", path);
    FILE *file = fopen(command, "w");
    assert_non_null(file);
    (void)fprintf(file, "{\"model_type\": \"%s\", \"hidden_size\": 64, \"num_hidden_layers\": %d, "
                        "\"intermediate_size\": 172, \"vocab_size\": 512, \"num_attention_heads\": 8, "
                        "\"num_key_value_heads\": 4, \"head_dim\": %d, \"tie_word_embeddings\": %s}",
                  family, n_layers, head_dim, tied ? "true" : "false");
    assert_int_equal(fclose(file), 0);
    return path;
}

#endif
