#include "train/settings.h"

#include "param/param.h"

vlorpi_train_settings vlorpi_train_settings_default(void)
{
    return (vlorpi_train_settings){
        .max_length = VLORPI_AUTO,
        .num_training_steps = VLORPI_AUTO,
        .packing = true,
        .epochs = 1,
        .batch_size = VLORPI_AUTO,
        .micro_tokens = VLORPI_AUTO,
        .total_batch_size = 32,
        .optimizer = VLORPI_OPTIMIZER_PROJFACTOR,
        .projection = vlorp_projection_default(),
        .distribution = VLORPI_AUTO,
        .update_proj_gap = VLORPI_AUTO,
        .momentum = VLORP_MOMENTUM_RESET,
        .targets = 1u << VLORPI_ROLE_ATTN | 1u << VLORPI_ROLE_MLP,
        .lr = 2e-5,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = -1,
        .grad_clipping = 1,
        .scheduler = VLORP_SCHEDULE_COSINE,
        .warmup = 0.03,
        .num_cycles = 2,
        .min_lr_ratio = 0.1,
        .rounding = VLORP_ROUND_STOCHASTIC,
        .state_dtype = VLORP_F32,
        .lora_dropout = -1,
        .lora_merge = true,
        .dtype = VLORPI_AUTO,
        .activation_checkpointing = VLORPI_CHOOSE,
        .seed = 42,
        .n_threads = 1,
        .save_minutes = 30,
        .keep = 1,
    };
}
