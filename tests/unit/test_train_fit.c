/* Settings that fit: found for LLaMA-2-7B's shape at many limits, without its weights. */
#include "unit/train_support.h"

#include "train/fit.h"
#include "train/notches.h"

static const char shape[] = "{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 11008, "
                            "\"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"vocab_size\": 32000, "
                            "\"max_position_embeddings\": 4096, \"torch_dtype\": \"float16\"}";

static vlorpi_train_settings shape_settings(void)
{
    vlorpi_train_settings s = vlorpi_train_settings_default();
    s.model = "llama-2-7b";
    s.model_shape = shape;
    s.activation_checkpointing = VLORPI_NO;
    return s;
}

static void open_shape(vlorpi_job *job)
{
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    vlorpi_train_settings s = shape_settings();
    ASSERT_OK(vlorpi_job_open(job, &s, false, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
}

/* What is found is planned as was said; more memory never gives a smaller budget or length. */
static void a_larger_limit_gives_more(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_job job;
    open_shape(&job);
    vlorpi_train_settings asked = shape_settings();
    asked.projection.budget = 1024;
    int64_t budget = 0;
    int n_fitting = 0;
    for (size_t gib = 8; gib <= 64; gib += 4) {
        vlorpi_fit fit;
        size_t limit = gib << 30;
        ASSERT_OK(vlorpi_fit_find(&fit, &job, &asked, limit, &err));
        assert_int_equal(fit.need_bytes, job.plan.usage.total_bytes);
        assert_int_equal(fit.fits, fit.need_bytes <= limit);
        assert_int_equal(fit.as_asked, memcmp(&fit.settings, &asked, sizeof asked) == 0);
        if (fit.fits) {
            ASSERT_OK(vlorpi_job_replan(&job, &fit.settings, &err));
            assert_int_equal(job.plan.usage.total_bytes, fit.need_bytes);
            assert_true(fit.settings.projection.budget >= budget);
            budget = fit.settings.projection.budget;
            n_fitting++;
        }
    }
    assert_int_equal(budget, 1024);
    assert_in_range(n_fitting, 12, 14); /* weights alone are 12.6 GiB */
    vlorpi_job_close(&job);
}

/* Whatever does not fit would not with any single notch less either: its leanest is the least. */
static void the_leanest_is_the_least(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_job job;
    open_shape(&job);
    for (int name = 0; name < VLORPI_N_OPTIMIZERS; name++) {
        vlorpi_train_settings asked = shape_settings();
        asked.optimizer = (vlorpi_optimizer_name)name;
        vlorpi_fit fit;
        if (vlorpi_fit_find(&fit, &job, &asked, 1 << 20, NULL) != VLORP_OK) {
            continue; /* a rule that refuses these settings */
        }
        assert_false(fit.fits);
        for (int w = 0; w < VLORPI_N_WAYS; w++) {
            vlorpi_train_settings s = fit.settings;
            ASSERT_OK(vlorpi_job_replan(&job, &fit.settings, &err));
            if (w != VLORPI_WAY_OPTIMIZER && vlorpi_ways[w].lower(&s, &job)) {
                ASSERT_OK(vlorpi_job_replan(&job, &s, &err));
                assert_true(job.plan.usage.total_bytes >= fit.need_bytes);
            }
        }
    }
    vlorpi_job_close(&job);
}

static void ways_write_what_differs(void **state)
{
    (void)state;
    char text[VLORPI_WAYS_BYTES];
    vlorpi_train_settings asked = vlorpi_train_settings_default();
    vlorpi_train_settings s = asked;
    vlorpi_ways_print(text, &s, &asked);
    assert_string_equal(text, "");
    s.activation_checkpointing = VLORPI_NO;
    s.batch_size = 4;
    s.targets |= 1u << VLORPI_ROLE_EMBED;
    s.state_dtype = VLORP_BF16;
    s.projection.factor = 1;
    s.projection.divisor = 4;
    s.projection.rank = 64;
    s.dtype = VLORP_BF16;
    s.max_length = 77;
    vlorpi_ways_print(text, &s, &asked);
    assert_string_equal(text, "--no_activation_checkpointing --batch_size 4 --target attn,mlp,embed --state_dtype bfloat16 "
                              "--factor 1/4 --rank 64 --dtype bfloat16 --max_length 77");
    s.optimizer = VLORPI_OPTIMIZER_ADAMW; /* what it does not project has no budget */
    vlorpi_ways_print(text, &s, &asked);
    assert_string_equal(text, "--no_activation_checkpointing --batch_size 4 --dtype bfloat16 --optimizer adamw --max_length 77");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_larger_limit_gives_more),
                                       cmocka_unit_test(the_leanest_is_the_least),
                                       cmocka_unit_test(ways_write_what_differs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
