/* The plan equals the ledger, byte for byte and class by class, over a table of settings. */
#include "unit/train_support.h"

typedef struct plan_case {
    const char *name;
    vlorpi_optimizer_name optimizer;
    int dtype;
    vlorpi_tristate checkpointing;
    unsigned targets;
    int64_t batch_size;
    int64_t factor, rank;
    bool unpacked;
    int64_t eval_every;
    bool gguf;
    vlorp_dtype state_dtype;
    int64_t divisor; /* c = 1 / divisor */
    vlorp_distribution distribution;
    vlorp_momentum momentum;
    const char *model; /* NULL: stories260K */
    bool init_random;
    double lora_dropout;
    bool lora_apart; /* model/ is the adapter */
    bool adaptive_budget;
    int n_threads; /* 0: one, which is quick where others compute too */
} plan_case;

enum {
    MATRICES = 1 << VLORPI_ROLE_ATTN | 1 << VLORPI_ROLE_MLP,
    ATTENTION = 1 << VLORPI_ROLE_ATTN,
    EVERYTHING = MATRICES | 1 << VLORPI_ROLE_EMBED | 1 << VLORPI_ROLE_HEAD
};

/* What the grid below leaves out: other budgets, state in bf16, evaluation, GGUF, two threads. */
static const plan_case cases[] = {
    {.name = "two threads", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16, .targets = EVERYTHING,
     .batch_size = 4, .state_dtype = VLORP_BF16, .n_threads = 2},
    {.name = "two threads, checkpointed, evaluated", .optimizer = VLORPI_OPTIMIZER_ADAMW, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = MATRICES, .batch_size = 4, .eval_every = 1, .n_threads = 2},
    {.name = "finest, evaluated", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = MATRICES, .batch_size = 4, .factor = 8, .rank = 1, .eval_every = 1},
    {.name = "attention only", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .targets = ATTENTION, .batch_size = 4,
     .factor = 1, .rank = 4},
    {.name = "auto batch, evaluated", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .targets = MATRICES,
     .batch_size = VLORPI_AUTO, .eval_every = 1},
    {.name = "adaptive budget, two threads", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .targets = EVERYTHING,
     .batch_size = 4, .adaptive_budget = true, .momentum = VLORP_MOMENTUM_TRANSPORT, .n_threads = 2},
    {.name = "adaptive budget, vlorp-ss, bf16", .optimizer = VLORPI_OPTIMIZER_VLORP_SS, .dtype = VLORP_BF16,
     .targets = MATRICES, .batch_size = 2, .factor = 4, .rank = 4, .state_dtype = VLORP_BF16, .adaptive_budget = true},
    {.name = "gguf", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16, .targets = MATRICES,
     .batch_size = 2, .gguf = true},
    {.name = "c = 1/4", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .targets = MATRICES, .batch_size = 4,
     .factor = 1, .rank = 64, .divisor = 4},
    {.name = "one example, sgd", .optimizer = VLORPI_OPTIMIZER_SGD, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = MATRICES, .batch_size = 1, .eval_every = 1},
    {.name = "tied lomo, evaluated", .optimizer = VLORPI_OPTIMIZER_LOMO, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = MATRICES, .batch_size = 1, .eval_every = 1, .n_threads = 2},
    {.name = "svd probed in parts", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = EVERYTHING, .batch_size = 1, .eval_every = 1,
     .distribution = VLORP_SVD, .momentum = VLORP_MOMENTUM_TRANSPORT, .n_threads = 2},
    {.name = "svd vlorp-ss, bf16 state", .optimizer = VLORPI_OPTIMIZER_VLORP_SS, .targets = EVERYTHING,
     .batch_size = 8, .factor = 2, .rank = 4, .state_dtype = VLORP_BF16, .distribution = VLORP_SVD,
     .momentum = VLORP_MOMENTUM_TRANSPORT},
    {.name = "svd vlorp-os, keep", .optimizer = VLORPI_OPTIMIZER_VLORP_OS, .targets = MATRICES, .batch_size = 3,
     .factor = 1, .rank = 4, .distribution = VLORP_SVD, .momentum = VLORP_MOMENTUM_KEEP},
    {.name = "fira, bf16 state", .optimizer = VLORPI_OPTIMIZER_FIRA, .dtype = VLORP_BF16, .targets = EVERYTHING,
     .batch_size = 3, .rank = 4, .state_dtype = VLORP_BF16, .distribution = VLORP_SVD, .n_threads = 2},
    {.name = "flora, bf16 state", .optimizer = VLORPI_OPTIMIZER_FLORA, .targets = MATRICES, .batch_size = 3,
     .rank = 4, .state_dtype = VLORP_BF16},
    {.name = "svd vlorp-sgd, c = 1/2", .optimizer = VLORPI_OPTIMIZER_VLORP_SGD, .targets = MATRICES, .batch_size = 8,
     .factor = 1, .rank = 8, .divisor = 2, .distribution = VLORP_SVD},
    {.name = "lora", .optimizer = VLORPI_OPTIMIZER_LORA, .targets = MATRICES, .batch_size = 4, .eval_every = 1},
    {.name = "lora, dropped inputs, bf16, checkpointed", .optimizer = VLORPI_OPTIMIZER_LORA, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = MATRICES, .batch_size = 4, .rank = 3, .lora_dropout = 0.1,
     .lora_apart = true, .n_threads = 2},
    {.name = "lora on gguf", .optimizer = VLORPI_OPTIMIZER_LORA, .dtype = VLORP_BF16, .targets = MATRICES,
     .batch_size = 2, .gguf = true},
};

/* Families whose layers hold more than LLaMA's: biases, norms of queries and keys. */
static const plan_case family_cases[] = {
    {.name = "qwen2 bf16", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16, .targets = MATRICES,
     .batch_size = 4, .model = "qwen2"},
    {.name = "qwen2 adamw f32 checkpointed", .optimizer = VLORPI_OPTIMIZER_ADAMW, .checkpointing = VLORPI_YES,
     .targets = MATRICES, .batch_size = 2, .eval_every = 1, .model = "qwen2"},
    {.name = "qwen3 f32", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .targets = EVERYTHING, .batch_size = 4,
     .model = "qwen3"},
    {.name = "qwen3 bf16 checkpointed", .optimizer = VLORPI_OPTIMIZER_PROJFACTOR, .dtype = VLORP_BF16,
     .checkpointing = VLORPI_YES, .targets = EVERYTHING, .batch_size = 4, .eval_every = 1, .model = "qwen3"},
};

static int n_compared;

static void compare(void *ctx, const vlorpi_job *job, const vlorpi_run_folder *folder)
{
    const plan_case *c = ctx;
    (void)folder;
    vlorpi_mem_usage ledger = vlorpi_mem_peak(job->mem);
    for (int cls = 0; cls < VLORPI_MEM_N_CLASSES; cls++) {
        if (job->plan.usage.bytes[cls] != ledger.bytes[cls]) {
            fail_msg("%s: class %d: plan %zu, ledger %zu (peak while %s)", c->name, cls, job->plan.usage.bytes[cls],
                     ledger.bytes[cls], job->mem->phase_at_peak);
        }
    }
    assert_int_equal(job->plan.usage.total_bytes, ledger.total_bytes);
    assert_true(ledger.total_bytes > 1000000);
    n_compared++;
}

static void run_case(const plan_case *c)
{
    vlorp_err err = {0};
    vlorpi_train_settings s = tiny_settings();
    if (c->gguf) {
        s.model = shared_data("models/stories260K-gguf/stories260K.gguf");
    }
    if (c->model != NULL) {
        s.model = c->model;
    }
    s.init_random = c->init_random;
    s.optimizer = c->optimizer;
    s.dtype = c->dtype;
    s.activation_checkpointing = c->checkpointing;
    s.targets = c->targets;
    s.batch_size = c->batch_size;
    s.packing = !c->unpacked;
    s.eval_every = c->eval_every;
    s.projection = vlorp_projection_default();
    s.projection.factor = c->factor;
    s.projection.rank = c->rank;
    s.projection.divisor = c->divisor;
    s.distribution = (int)c->distribution;
    s.momentum = c->momentum;
    s.lora_dropout = c->lora_dropout;
    s.lora_merge = !c->lora_apart;
    s.total_batch_size = c->init_random ? 4 : 8; /* the grid is large */
    s.num_training_steps = 1;
    s.update_proj_gap = 1; /* the second step draws anew */
    s.state_dtype = c->state_dtype;
    s.adaptive_budget = c->adaptive_budget;
    s.save_dir = make_run_folder();
    vlorp_exec exec = vlorpi_threads_exec(c->n_threads > 0 ? c->n_threads : 1);
    vlorpi_mem *mem = test_mem();
    assert_int_equal(vlorpi_mem_now(mem).total_bytes, 0); /* the run before gave everything back */
    memset(&mem->at_peak, 0, sizeof mem->at_peak);
    vlorpi_train_events events = {.ctx = (void *)(uintptr_t)c, .finished = compare};
    ASSERT_OK(vlorpi_train(&s, mem, NULL, vlorpi_kernels_select(NULL), &exec, &events, &err));
    s.continue_from = s.save_dir; /* saving, loading and a second step fit in the plan too */
    s.overwrite = false;
    s.num_training_steps++;
    memset(&mem->at_peak, 0, sizeof mem->at_peak);
    ASSERT_OK(vlorpi_train(&s, mem, NULL, vlorpi_kernels_select(NULL), &exec, &events, &err));
    remove_run_folder(s.save_dir);
}

static void plan_equals_ledger(void **state)
{
    (void)state;
    n_compared = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_case(&cases[i]);
    }
    assert_int_equal(n_compared, 2 * sizeof cases / sizeof cases[0]);
}

static void plan_equals_ledger_of_families(void **state)
{
    (void)state;
    n_compared = 0;
    for (size_t i = 0; i < sizeof family_cases / sizeof family_cases[0]; i++) {
        plan_case c = family_cases[i];
        c.model = family_folder(c.model, 3, 70, true);
        c.init_random = true;
        run_case(&c);
        remove_run_folder(c.model);
    }
    assert_int_equal(n_compared, 2 * sizeof family_cases / sizeof family_cases[0]);
}

/* Every rule, svd's bases included, x dtype x target x checkpointing x packing. */
static void plan_equals_ledger_over_the_grid(void **state)
{
    (void)state;
    static const struct {
        vlorpi_optimizer_name optimizer;
        vlorp_distribution distribution;
    } rules[] = {
        {VLORPI_OPTIMIZER_ADAMW, VLORP_NORMAL},       {VLORPI_OPTIMIZER_SGD, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_ADAFACTOR, VLORP_NORMAL},   {VLORPI_OPTIMIZER_ADAMW8BIT, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_LOMO, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_PROJFACTOR, VLORP_NORMAL},  {VLORPI_OPTIMIZER_PROJFACTOR, VLORP_RADEMACHER},
        {VLORPI_OPTIMIZER_PROJFACTOR, VLORP_SVD},     {VLORPI_OPTIMIZER_VLORP_OS, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_VLORP_OS, VLORP_SVD},       {VLORPI_OPTIMIZER_VLORP_SS, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_VLORP_SS, VLORP_SVD},       {VLORPI_OPTIMIZER_VLORP_SGD, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_VLORP_SGD, VLORP_SVD},      {VLORPI_OPTIMIZER_GALORE, VLORP_SVD},
        {VLORPI_OPTIMIZER_FIRA, VLORP_SVD},           {VLORPI_OPTIMIZER_APOLLO, VLORP_NORMAL},
        {VLORPI_OPTIMIZER_APOLLO_MINI, VLORP_NORMAL}, {VLORPI_OPTIMIZER_FLORA, VLORP_NORMAL},
    };
    enum { N_RULES = sizeof rules / sizeof rules[0], N_SETTINGS = 16 };
#if defined(__SANITIZE_ADDRESS__)
    const int step = 5; /* odd, so that every rule meets both values of each setting before long */
#else
    const int step = 1;
#endif
    char name[96];
    plan_case c = {.name = name, .init_random = true, .batch_size = 2, .factor = 4, .rank = 2};
    c.model = family_folder("llama", 2, 8, false);
    n_compared = 0;
    for (int i = 0; i < N_RULES * N_SETTINGS; i += step) {
        c.optimizer = rules[i / N_SETTINGS].optimizer;
        c.distribution = rules[i / N_SETTINGS].distribution;
        c.dtype = i & 1 ? VLORP_BF16 : VLORP_F32;
        c.targets = i & 2 ? EVERYTHING : MATRICES;
        c.checkpointing = i & 4 ? VLORPI_YES : VLORPI_NO;
        c.unpacked = (i & 8) != 0;
        (void)snprintf(name, sizeof name, "%s, projection %d, %s, %s%s%s", vlorpi_optimizer_text(c.optimizer),
                       (int)c.distribution, i & 1 ? "bf16" : "f32", i & 2 ? "all" : "attn,mlp",
                       i & 4 ? ", checkpointed" : "", i & 8 ? ", unpacked" : "");
        run_case(&c);
    }
    assert_int_equal(n_compared, 2 * ((N_RULES * N_SETTINGS + step - 1) / step));
    remove_run_folder(c.model);
}

/* Where reading the data takes more than training, the plan says so. */
static void reading_much_data_is_planned(void **state)
{
    (void)state;
    vlorp_err err = {0};
    plan_case c = {.name = "much data"};
    vlorpi_train_settings s = tiny_settings();
    s.dataset = shared_data("text/tinyshakespeare.txt");
    s.max_length = 16;
    s.batch_size = 1;
    s.total_batch_size = 2;
    s.num_training_steps = 1;
    s.save_dir = make_run_folder();
    vlorp_exec exec = test_exec();
    vlorpi_mem *mem = test_mem();
    memset(&mem->at_peak, 0, sizeof mem->at_peak);
    vlorpi_train_events events = {.ctx = &c, .finished = compare};
    ASSERT_OK(vlorpi_train(&s, mem, NULL, vlorpi_kernels_select(NULL), &exec, &events, &err));
    remove_run_folder(s.save_dir);
}

/* Of what is frozen there is no gradient and no state, and adapters are weights. */
static void adapters_are_planned_exactly(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    vlorpi_train_settings s = tiny_settings();
    s.optimizer = VLORPI_OPTIMIZER_LORA;
    s.projection = vlorp_projection_default();
    s.projection.rank = 4;
    memset(&test_mem()->at_peak, 0, sizeof test_mem()->at_peak);
    vlorpi_job job;
    ASSERT_OK(vlorpi_job_open(&job, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    size_t adapter_bytes = 4 * 5 * 4 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 172)); /* fp32, layers, rank */
    size_t base_bytes = 0;
    const vlorpi_params *params = vlorpi_model_params(job.model);
    for (int i = 0; i < params->n; i++) {
        base_bytes += (vlorpi_param_bytes(&params->items[i]) + 63) / 64 * 64;
    }
    const size_t *bytes = job.plan.usage.bytes;
    assert_int_equal(bytes[VLORPI_MEM_WEIGHTS], vlorpi_mem_footprint(base_bytes + adapter_bytes));
    assert_int_equal(bytes[VLORPI_MEM_GRADS], vlorpi_mem_footprint(adapter_bytes));
    assert_int_equal(bytes[VLORPI_MEM_OPT_STATE], vlorpi_mem_footprint(2 * adapter_bytes));
    vlorpi_mem_usage lora = job.plan.usage;
    ASSERT_OK(vlorpi_job_set_optimizer(&job, VLORPI_OPTIMIZER_PROJFACTOR, &err));
    ASSERT_OK(vlorpi_job_set_optimizer(&job, VLORPI_OPTIMIZER_LORA, &err));
    assert_memory_equal(&job.plan.usage, &lora, sizeof lora);
    vlorpi_job_close(&job);
    assert_int_equal(vlorpi_mem_now(test_mem()).total_bytes, 0);
}

/* A plan for another optimizer after the first is the plan of that optimizer alone. */
static void plans_side_by_side(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_exec exec = test_exec();
    vlorpi_train_settings s = tiny_settings();
    vlorpi_job job;
    memset(&test_mem()->at_peak, 0, sizeof test_mem()->at_peak);
    ASSERT_OK(vlorpi_job_open(&job, &s, true, test_mem(), NULL, vlorpi_kernels_select(NULL), &exec, &err));
    vlorpi_mem_usage projfactor = job.plan.usage;
    ASSERT_OK(vlorpi_job_set_optimizer(&job, VLORPI_OPTIMIZER_ADAMW, &err));
    assert_true(job.plan.usage.bytes[VLORPI_MEM_OPT_STATE] > projfactor.bytes[VLORPI_MEM_OPT_STATE]);
    ASSERT_OK(vlorpi_job_set_optimizer(&job, VLORPI_OPTIMIZER_PROJFACTOR, &err));
    assert_memory_equal(&job.plan.usage, &projfactor, sizeof projfactor);
    vlorpi_job_close(&job);
    assert_int_equal(vlorpi_mem_now(test_mem()).total_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plan_equals_ledger),
                                       cmocka_unit_test(plan_equals_ledger_of_families),
                                       cmocka_unit_test(plan_equals_ledger_over_the_grid),
                                       cmocka_unit_test(reading_much_data_is_planned),
                                       cmocka_unit_test(adapters_are_planned_exactly),
                                       cmocka_unit_test(plans_side_by_side)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_tiny_questions();
    return n_failed;
}
