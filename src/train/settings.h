/* settings.h - everything a training run is asked to do, as plain values.
 *
 * Layer 6.  cli/ fills it from the option table; nothing here parses text.  Strings are borrowed.
 */
#ifndef VLORPI_TRAIN_SETTINGS_H
#define VLORPI_TRAIN_SETTINGS_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <vlorp/vlorp.h>

enum { VLORPI_AUTO = -1 }; /* an integer setting that is chosen from the model or the data */

typedef enum vlorpi_optimizer_name {
    VLORPI_OPTIMIZER_ADAMW, /* nothing is projected under the first six; all but lora train everything, vectors too */
    VLORPI_OPTIMIZER_SGD,
    VLORPI_OPTIMIZER_ADAFACTOR,
    VLORPI_OPTIMIZER_ADAMW8BIT,
    VLORPI_OPTIMIZER_LOMO,
    VLORPI_OPTIMIZER_LORA, /* adamw on adapters, all else frozen */
    VLORPI_OPTIMIZER_GALORE,
    VLORPI_OPTIMIZER_FIRA,
    VLORPI_OPTIMIZER_APOLLO,
    VLORPI_OPTIMIZER_APOLLO_MINI,
    VLORPI_OPTIMIZER_FLORA,
    VLORPI_OPTIMIZER_VLORP_OS,
    VLORPI_OPTIMIZER_VLORP_SS,
    VLORPI_OPTIMIZER_VLORP_SGD,
    VLORPI_OPTIMIZER_PROJFACTOR,
    VLORPI_N_OPTIMIZERS
} vlorpi_optimizer_name;

typedef enum vlorpi_tristate { VLORPI_NO = 0, VLORPI_YES = 1, VLORPI_CHOOSE = -1 } vlorpi_tristate;

typedef struct vlorpi_train_settings {
    /* what is trained, on what */
    const char *model;          /* folder, GGUF file or config.json; or an adapter's folder */
    const char *adapter;        /* the folder of an adapter of model; NULL: none but the model's own */
    const char *model_shape;    /* text of a config.json to read instead of the model's files (plan); NULL: those */
    bool init_random;           /* pre-train: weights from init, not from the model's files */
    const char *dataset;        /* built-in name or file; NULL in a plan without data */
    const char *data_dir;       /* NULL: not given */
    const char *eval_data;      /* built-in name or file; NULL: held out of the training data */
    int64_t max_length;         /* tokens per example, or AUTO */
    bool train_on_prompts;
    bool packing;               /* false: one example per micro-batch */

    /* how far */
    int64_t num_training_steps; /* or AUTO: epochs */
    double epochs;
    int64_t max_train_tokens;   /* 0: none; else the run ends with the step that reaches them */
    int64_t eval_every;         /* steps; 0: no evaluation, or with eval_data or eval_tasks at both ends */
    unsigned eval_tasks;        /* bit i: row i of vlorpi_task_table is asked at each evaluation */
    int64_t eval_limit;         /* questions of each of them, of each subject; 0: all */
    int64_t batch_size;         /* examples per micro-batch, or AUTO: as many as fill 2048 tokens */
    int64_t micro_tokens;       /* tokens per micro-batch, or AUTO: the largest of this data */
    int64_t total_batch_size;   /* examples per optimizer step */

    /* the optimizer */
    vlorpi_optimizer_name optimizer;
    vlorp_projection projection; /* side, factor, rank, budget, strict: docs/method.md section 2 */
    int distribution;            /* a vlorp_distribution, or AUTO: the optimizer's */
    bool adaptive_budget;        /* what the matrices share is divided anew at each refresh */
    int64_t update_proj_gap;     /* or AUTO */
    vlorp_momentum momentum;
    double scale;                /* 0: the optimizer's */
    unsigned targets;           /* bit 1 << vlorpi_role of each projected role */
    double lr, beta1, beta2, eps, weight_decay, grad_clipping; /* eps < 0: the optimizer's own */
    vlorp_schedule_kind scheduler;
    double warmup;              /* steps, or a fraction of the run when below 1 */
    int64_t num_cycles;         /* of cosine_restarts */
    double min_lr_ratio;
    vlorp_rounding rounding;
    vlorp_dtype state_dtype;    /* of S and its first moment */
    double lora_alpha;          /* 0: the rank, which is projection.rank, or as the adapter has it */
    double lora_dropout;        /* < 0: none, or as the adapter has it */
    bool lora_merge;            /* model/ is the merged model; false: an adapter's folder */

    /* numbers, memory, machine */
    int dtype;                  /* a vlorp_dtype, or AUTO: the checkpoint's */
    vlorpi_tristate activation_checkpointing;
    size_t memory_limit_bytes;  /* 0: what the machine or cgroup has available */
    bool force;                 /* train even if the plan says it does not fit */
    uint64_t seed;
    int n_threads;

    /* the run's folder */
    const char *save_dir;       /* NULL: runs/MODEL-DATA-OPTIMIZER-N */
    bool overwrite;
    const char *continue_from;  /* the folder of a run to go on with; NULL: a new run */
    int64_t save_every;         /* steps between two checkpoints; 0: no count */
    double save_minutes;        /* between two checkpoints; 0: no clock */
    int64_t keep;               /* checkpoints that stay */
    bool keep_best;             /* the model of the lowest held-out loss stays too */
    json_t *record;             /* all settings as the user gave them, for run.json; borrowed */
    const volatile sig_atomic_t *stop; /* becomes non-zero when the user asks to stop; may be NULL */
} vlorpi_train_settings;

/* The name as --optimizer spells it. */
const char *vlorpi_optimizer_text(vlorpi_optimizer_name name);
/* Whether it projects its targets; the others train everything as it is. */
bool vlorpi_optimizer_projects(vlorpi_optimizer_name name);
/* Whether it updates inside the backward pass: a step is then one micro-batch, and nothing is clipped. */
bool vlorpi_optimizer_at_once(vlorpi_optimizer_name name);

/* The defaults of the option table. */
vlorpi_train_settings vlorpi_train_settings_default(void);

#endif
