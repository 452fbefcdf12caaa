/* job.h - what a run works with: model, data and optimizer, opened and sized, and their plan.
 *
 * Layer 6.  vlorpi_job_open reads tables and tokenises, but allocates no weights, gradients,
 * activations or state: after it the plan is known.  vlorpi_job_allocate makes the plan true and
 * loads the weights.  `vlorp plan` stops in between.
 */
#ifndef VLORPI_TRAIN_JOB_H
#define VLORPI_TRAIN_JOB_H

#include "base/log.h"
#include "checkpoint/save.h"
#include "data/batch.h"
#include "model/lora.h"
#include "train/plan.h"
#include "train/settings.h"
#include "train/task_eval.h"

/* Sizes that were left to the model and the data, decided. */
typedef struct vlorpi_job_sizes {
    vlorp_dtype dtype;
    vlorp_projection projection; /* as asked, with what was left open filled in */
    int64_t update_gap;
    double scale;
    int64_t max_length;    /* tokens per example */
    int64_t max_examples;  /* per micro-batch */
    int64_t micro_tokens;  /* per micro-batch, evaluation's included */
    int64_t n_steps;
    int64_t warmup_steps;
    bool activation_checkpointing;
} vlorpi_job_sizes;

/* Fields are read by plan, trainer and cli; nobody but job.c writes them. */
typedef struct vlorpi_job {
    vlorpi_train_settings settings;
    vlorpi_mem *mem;            /* borrowed */
    const vlorpi_log *log;      /* borrowed */
    const vlorpi_kernels *kernels;
    vlorp_exec exec;
    vlorpi_source *source;      /* open for the whole run: its table is part of the plan */
    vlorpi_peft *adapter;       /* the adapter that goes on, or NULL */
    vlorpi_model_config model_config;
    vlorpi_tokenizer *tokenizer; /* NULL in a plan for a config.json alone */
    vlorpi_dataset *data;       /* NULL in a plan without data */
    vlorpi_dataset *held;       /* NULL when nothing is evaluated */
    vlorpi_dataset_report data_report, held_report;
    vlorpi_task_eval tasks;     /* asked at each evaluation; may be none */
    vlorpi_job_sizes sizes;
    vlorpi_model *model;
    vlorp_optimizer *optimizer; /* parameter i of what trains is parameter i here */
    vlorpi_token_batch batch;
    vlorpi_checkpoint_saver saver;
    vlorpi_mem_usage tables;    /* booked before the optimizer was made: what the plan starts from */
    vlorpi_plan plan;
    size_t checkpoint_bytes;    /* on disk, an upper estimate; 0 until the run has a folder */
    size_t all_targets_bytes;   /* the plan's total with embedding and head projected too; 0: they are, or nothing is */
    vlorpi_arena arenas[VLORPI_MEM_N_CLASSES]; /* real ones after _allocate */
} vlorpi_job;

/* Opens everything and makes the plan.  settings is copied, its strings are borrowed.
 * need_weights false: the model's files may lack them (plan).
 * Owner: the caller, vlorpi_job_close, also after an error. */
VLORP_CHECKED vlorp_status vlorpi_job_open(vlorpi_job *job, const vlorpi_train_settings *settings, bool need_weights,
                                           vlorpi_mem *mem, const vlorpi_log *log, const vlorpi_kernels *kernels,
                                           const vlorp_exec *exec, vlorp_err *err);

/* Replaces the optimizer of an open, not yet allocated job, and its plan (`plan --optimizer all`). */
VLORP_CHECKED vlorp_status vlorpi_job_set_optimizer(vlorpi_job *job, vlorpi_optimizer_name name, vlorp_err *err);

/* Plans other settings for an open, not yet allocated job, whose data stays as it was read: with a smaller max_length
 * longer examples are counted as cut. */
VLORP_CHECKED vlorp_status vlorpi_job_replan(vlorpi_job *job, const vlorpi_train_settings *settings, vlorp_err *err);

/* Allocates what the plan says and reads (or draws) the weights. */
VLORP_CHECKED vlorp_status vlorpi_job_allocate(vlorpi_job *job, vlorp_err *err);

/* The checksum of the training data as text. */
enum { VLORPI_DATA_SUM_BYTES = 17 };
void vlorpi_job_data_sum(char text[VLORPI_DATA_SUM_BYTES], const vlorpi_job *job);

/* Accepts a partly opened one. */
void vlorpi_job_close(vlorpi_job *job);

#endif
