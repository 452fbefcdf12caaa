/* The table of options: parsing, defaults, contradictions, run.json and back. */
#include "support.h"

#include "cli/options.h"
#include "format/json.h"

static vlorpi_mem mem;

/* Parses the words (split at blanks) for a command; the copy lives until the next call. */
static vlorp_status parse(vlorpi_options *options, unsigned command, const char *line, vlorp_err *err)
{
    static char copy[4096];
    static char *words[128];
    int n = 0;
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL && n < 128; word = strtok(NULL, " ")) {
        words[n++] = word;
    }
    vlorpi_options_init(options, command);
    return vlorpi_options_parse(options, n, words, err);
}

static vlorpi_options options;
static vlorp_err err;

#define PARSE(command, line) ASSERT_OK(parse(&options, VLORPI_CMD_##command, (line), &err))

static void refuses(unsigned command, const char *line, const char *text, const char *hint)
{
    err = (vlorp_err){0};
    assert_int_equal(parse(&options, command, line, &err), VLORP_E_ARG);
    if (strstr(err.text, text) == NULL || (hint != NULL && strstr(err.hint, hint) == NULL)) {
        fail_msg("'%s' gave '%s' (hint '%s'), not '%s' (%s)", line, err.text, err.hint, text, hint ? hint : "");
    }
}

static void test_published_command_line(void **state)
{
    (void)state;
    PARSE(TRAIN, "--model_name m --dataset commonsense --lr 5e-5 --activation_checkpointing --batch_size 4 "
                 "--total_batch_size 16 --num_training_steps 100 --warmup_steps 10 --weight_decay 0.1 "
                 "--grad_clipping 0.5 --dtype bfloat16 --eval_every 20 --update_proj_gap 25 --scale 2 --single_gpu "
                 "--factor 64 --rank 1 --optimizer projfactor --max_length 256 --wandb_expname x "
                 "--gradient_accumulation 4 --scheduler linear --min_lr_ratio 0.2 "
                 "--save_dir d --beta1 0.8 --proj_type std --proj_matrix_dist gaussian "
                 "--lora_alpha 16 --train_on_prompts --tags a,b --name n --workers 8");
    assert_string_equal(vlorpi_options_text(&options, "model"), "m");
    assert_true(vlorpi_options_double(&options, "lr") == 5e-5);
    assert_true(vlorpi_options_bool(&options, "activation_checkpointing"));
    assert_int_equal(vlorpi_options_int(&options, "total_batch_size"), 16);
    assert_true(vlorpi_options_double(&options, "factor") == 64);
    assert_int_equal(vlorpi_options_int(&options, "rank"), 1);
    assert_string_equal(vlorpi_options_text(&options, "proj_type"), "normal");
    assert_string_equal(vlorpi_options_text(&options, "scheduler"), "linear");
}

static void test_defaults(void **state)
{
    (void)state;
    PARSE(TRAIN, "m");
    assert_string_equal(vlorpi_options_text(&options, "optimizer"), "projfactor");
    assert_true(vlorpi_options_double(&options, "lr") == 2e-5);
    assert_true(vlorpi_options_double(&options, "warmup_steps") == 0.03);
    assert_int_equal(vlorpi_options_int(&options, "seed"), 42);
    assert_false(vlorpi_options_has(&options, "update_proj_gap")); /* the optimizer's */
    assert_false(vlorpi_options_has(&options, "factor"));
    assert_false(vlorpi_options_has(&options, "activation_checkpointing"));
    assert_true(vlorpi_options_bool(&options, "packing"));
    assert_true(vlorpi_options_lists(&options, "target", "attn"));
    assert_true(vlorpi_options_lists(&options, "target", "mlp"));
    assert_false(vlorpi_options_lists(&options, "target", "embed"));
    assert_false(vlorpi_options_is_set(&options, "lr"));
}

static void test_forms(void **state)
{
    (void)state;
    PARSE(TRAIN, "--lr=1e-3 --total-batch-size 8 --no_strict_factor --train-on-prompts true --force false -m x");
    assert_true(vlorpi_options_double(&options, "lr") == 1e-3);
    assert_int_equal(vlorpi_options_int(&options, "total_batch_size"), 8);
    assert_false(vlorpi_options_bool(&options, "strict_factor"));
    assert_true(vlorpi_options_bool(&options, "train_on_prompts"));
    assert_false(vlorpi_options_bool(&options, "force"));
    PARSE(TRAIN, "--activation_checkpointing model-after-a-switch");
    assert_string_equal(vlorpi_options_text(&options, "model"), "model-after-a-switch");
    PARSE(TRAIN, "--memory_limit 16GiB --factor 1/4 --rank auto -- --model-with-dashes");
    assert_true(vlorpi_options_bytes(&options, "memory_limit") == (size_t)16 << 30);
    assert_true(vlorpi_options_double(&options, "factor") == 0.25);
    assert_false(vlorpi_options_has(&options, "rank"));
    assert_false(vlorpi_options_is_set(&options, "rank"));
    assert_string_equal(vlorpi_options_text(&options, "model"), "--model-with-dashes");
    PARSE(TRAIN, "--memory_limit 500MB --target embed,all m");
    assert_true(vlorpi_options_bytes(&options, "memory_limit") == 500000000);
    assert_true(vlorpi_options_lists(&options, "target", "all"));
    PARSE(GENERATE, "m --prompt=--lr --temperature 0.5");
    assert_string_equal(vlorpi_options_text(&options, "prompt"), "--lr");
    PARSE(TOKENIZE, "m --no_special");
    assert_false(vlorpi_options_bool(&options, "special"));
    PARSE(PLAN, "m --optimizer all");
}

static void test_mistakes(void **state)
{
    (void)state;
    unsigned train = VLORPI_CMD_TRAIN;
    refuses(train, "m --batchsize 3", "--batchsize: there is no such option", "--batch_size");
    refuses(train, "m --top_k 3", "--top_k", NULL);
    refuses(train, "m --lr", "--lr: a value is missing", NULL);
    refuses(train, "m --lr --rank 1", "--lr: a value is missing", "--lr=VALUE");
    refuses(train, "m --lr fast", "'fast' is not a number", NULL);
    refuses(train, "m --lr nan", "'nan' is not a number", NULL);
    refuses(train, "m --lr 0x10", "'0x10' is not a number", NULL);
    refuses(train, "m --lr 1e999", "is not a number", NULL);
    refuses(train, "m --lr -1", "is not within", NULL);
    refuses(train, "m --rank 1.5", "is not a whole number", NULL);
    refuses(train, "m --rank 99999999999999999999", "is not a whole number", NULL);
    refuses(train, "m --rank 0", "is not within", NULL);
    refuses(train, "m --factor 3.5", "--factor", NULL);
    refuses(train, "m --factor 1/3", "--factor", NULL);
    refuses(train, "m --factor 1/0", "--factor", NULL);
    refuses(train, "m --warmup_steps 2.5", "neither a whole number", NULL);
    refuses(train, "m --packing maybe", "maybe: one argument too many", NULL);
    refuses(train, "m --packing=maybe", "neither true nor false", NULL);
    refuses(train, "m --no_packing=true", "takes no value", NULL);
    refuses(train, "m --optimizer projfaktor", "is not one of", "projfactor");
    refuses(train, "m --optimizer lomo --grad_clipping 1", "--grad_clipping: lomo", "--optimizer sgd");
    refuses(train, "m --optimizer lomo --batch_size 2 --total_batch_size 4", "--batch_size: 2 of the step's 4", "sgd");
    refuses(train, "m --optimizer lomo --gradient_accumulation 2", "--gradient_accumulation: lomo", "sgd");
    refuses(train, "m --optimizer lomo --no_packing", "--no_packing", "--total_batch_size 1");
    refuses(train, "m --proj_type svd --proj_matrix_dist normal", "--proj_type: svd, but --proj_matrix_dist says normal", NULL);
    refuses(train, "m --target attn,foo", "'foo' is not one of", NULL);
    refuses(train, "m --target attn,", "'' is not one of", NULL);
    refuses(train, "m --device cuda", "this version does not have it; it has cpu", NULL);
    refuses(train, "m --memory_limit 12parsecs", "is not a size", NULL);
    refuses(train, "m n", "n: one argument too many", NULL);
    refuses(train, "m --lr 1 --lr 2", "--lr: given as 1 and as 2", NULL);
    refuses(train, "-lr 1", "-lr: there is no such option", "--lr");
    refuses(train, "---", "there is no such option", NULL);
    refuses(VLORPI_CMD_GENERATE, "m --prompt", "--prompt: a value is missing", NULL);
}

static void test_names_of_types(void **state)
{
    (void)state;
    PARSE(TRAIN, "m --state_dtype bf16 --dtype fp32");
    assert_string_equal(vlorpi_options_text(&options, "state_dtype"), "bfloat16");
    assert_string_equal(vlorpi_options_text(&options, "dtype"), "float32");
}

static void test_contradictions(void **state)
{
    (void)state;
    unsigned train = VLORPI_CMD_TRAIN;
    refuses(train, "m --budget 64 --factor 16 --rank 2", "is not factor * rank", "two of them");
    refuses(train, "m --budget 64 --factor 48", "is not a multiple", NULL);
    refuses(train, "m --batch_size 4 --gradient_accumulation 4 --total_batch_size 32", "--total_batch_size", NULL);
    refuses(train, "m --gradient_accumulation 5", "does not divide", NULL);
    refuses(train, "m --epochs 2 --num_training_steps 10", "--epochs", NULL);
    PARSE(TRAIN, "m --budget 64 --factor 16 --rank 4");
    PARSE(TRAIN, "m --batch_size 4 --gradient_accumulation 3");
    assert_int_equal(vlorpi_options_int(&options, "total_batch_size"), 12);
    PARSE(TRAIN, "m --total_batch_size 12 --gradient_accumulation 3");
    assert_int_equal(vlorpi_options_int(&options, "batch_size"), 4);
    PARSE(TRAIN, "m --lr 1e-4 --lr 1e-4");
}

static void test_json_round_trip(void **state)
{
    (void)state;
    static vlorpi_options again;
    PARSE(TRAIN, "m --lr 3e-4 --factor 1/4 --train_on_prompts --target mlp --memory_limit 3GiB --dataset d");
    json_t *object = vlorpi_options_to_json(&options);
    assert_non_null(object);
    vlorpi_options_init(&again, VLORPI_CMD_TRAIN);
    ASSERT_OK(vlorpi_options_apply_json(&again, object, "run.json", &err));
    json_t *second = vlorpi_options_to_json(&again);
    assert_true(json_equal(object, second));
    json_decref(second);
    assert_true(vlorpi_options_is_set(&again, "lr"));

    /* another command takes what it knows and leaves the rest; an unknown name is a mistake */
    vlorpi_options_init(&again, VLORPI_CMD_EVAL);
    ASSERT_OK(vlorpi_options_apply_json(&again, object, "run.json", &err));
    assert_string_equal(vlorpi_options_text(&again, "model"), "m");
    (void)json_object_set_new(object, "learnrate", json_integer(1));
    assert_int_equal(vlorpi_options_apply_json(&again, object, "run.json", &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "run.json: learnrate"));
    json_decref(object);

    object = json_pack("{s:{s:f,s:n}}", "options", "lr", 0.5, "rank");
    vlorpi_options_init(&again, VLORPI_CMD_TRAIN);
    ASSERT_OK(vlorpi_options_set(&again, "lr", "0.25", VLORPI_ORIGIN_LINE, &err));
    ASSERT_OK(vlorpi_options_apply_json(&again, object, "run.json", &err));
    assert_true(vlorpi_options_double(&again, "lr") == 0.25);
    assert_false(vlorpi_options_has(&again, "rank"));
    json_decref(object);
}

/* Every row can show its help and holds a default that its own kind accepts. */
static void test_table(void **state)
{
    (void)state;
    assert_true(vlorpi_option_table_rows <= VLORPI_OPTIONS_MAX_ROWS);
    for (unsigned bit = 1; bit < VLORPI_CMD_ALL; bit <<= 1) {
        vlorpi_options_init(&options, bit);
        for (int i = 0; i < vlorpi_option_table_rows; i++) {
            const vlorpi_option_row *row = &vlorpi_option_table[i];
            if (row->name == NULL || (row->commands & bit) == 0) {
                continue;
            }
            assert_non_null(row->help);
            bool enumerated = row->kind == VLORPI_OPTION_ENUM || row->kind == VLORPI_OPTION_LIST;
            assert_true(enumerated == (row->choices != NULL));
            assert_int_equal(vlorpi_options_has(&options, row->name), row->fallback != NULL);
            for (int j = 0; j < i; j++) {
                const vlorpi_option_row *other = &vlorpi_option_table[j];
                bool shared = other->name != NULL && (other->commands & bit) != 0;
                assert_false(shared && strcmp(other->name, row->name) == 0);
            }
        }
    }
}

static void test_model(void **state)
{
    (void)state;
    const char *path;
    PARSE(EVAL, "llama-2-7b");
    assert_int_equal(vlorpi_options_model(&options, &path, &err), VLORP_E_IO);
    assert_non_null(strstr(err.hint, "meta-llama/Llama-2-7b-hf"));
    PARSE(EVAL, "no/such/place");
    assert_int_equal(vlorpi_options_model(&options, &path, &err), VLORP_E_IO);
    PARSE(EVAL, "--json");
    assert_int_equal(vlorpi_options_model(&options, &path, &err), VLORP_E_ARG);
    PARSE(EVAL, "/dev/null");
    ASSERT_OK(vlorpi_options_model(&options, &path, &err));
    assert_string_equal(path, "/dev/null");
}

/* What a run that goes on takes from its record, what may change, and which clash is named how. */
static void test_a_run_that_goes_on(void **state)
{
    (void)state;
    static const char text[] = "{\"options\": {\"lr\": 0.25, \"rank\": null, \"num_training_steps\": 10, \"save_dir\": \"a\","
                               " \"model\": \"m\", \"dtype\": null, \"seed\": 7}, \"used\": {\"dtype\": \"float32\"}}";
    json_t *record = json_loads(text, 0, NULL);
    assert_non_null(record);
    PARSE(TRAIN, "--resume r --seed 7 --dtype fp32 --epochs 2");
    assert_int_equal(vlorpi_options_apply_run(&options, record, "r", &err), VLORP_OK);
    assert_true(vlorpi_options_double(&options, "lr") == 0.25);
    assert_string_equal(vlorpi_options_text(&options, "model"), "m");
    assert_false(vlorpi_options_has(&options, "num_training_steps")); /* the length is given by --epochs */
    assert_false(vlorpi_options_has(&options, "save_dir"));
    static const struct {
        const char *words, *text;
    } clashes[] = {
        {"--resume r --lr 0.5", "--lr: 0.5, but the run in r was made with 0.25"},
        {"--resume r --rank 2", "--rank: 2, but the run in r was made without it"},
        {"--resume r --dtype bf16", "--dtype: bfloat16, but the run in r was made with float32"},
    };
    for (size_t i = 0; i < sizeof clashes / sizeof clashes[0]; i++) {
        PARSE(TRAIN, clashes[i].words);
        assert_int_equal(vlorpi_options_apply_run(&options, record, "r", &err), VLORP_E_ARG);
        assert_string_equal(err.text, clashes[i].text);
    }
    json_decref(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_command_line), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_forms),                  cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_a_run_that_goes_on),     cmocka_unit_test(test_names_of_types),
        cmocka_unit_test(test_contradictions),         cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_table),                  cmocka_unit_test(test_model),
    };
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
