/* optimizer.h - the handle: parameters are registered, gradients accumulated, steps taken.
 *
 * Life of a handle:
 *
 *   create -> add_matrix / add_vector ... -> memory (optional) -> commit
 *   each step:   accumulate... (any number of micro-batches) -> norm (optional) -> step
 *   free
 *
 * commit allocates everything, one block per memory class; no later call allocates.  Gradients are
 * plain sums over the micro-batches: nothing is divided until step multiplies by grad_scale.
 *
 * A matrix under a projecting rule keeps S (projector.h) instead of its gradient G = dY^T X, and
 * accumulate_factors never forms G (docs/method.md section 3):
 *   right:  S = dY^T Xt,  Xt[t,k,q] = sum_j X[t, k d + j] P[j,q]
 *   left:   S = Dt^T X,   Dt[t,q,b] = sum_a P[a,q] dY[t, a c + b]
 *
 * A factor of 1 / f re-reads G first (projector.h); G is not formed there either.
 *
 * P changes when the number of steps taken reaches a multiple of update_gap, so never between two
 * accumulations of one step.  Under svd it changes when the caller hands over a gradient to take it
 * from: where vlorp_optimizer_wants_probe says so, before the step's first accumulation.  The same sums
 * give the same bits for any number of threads.
 */
#ifndef VLORP_OPTIMIZER_H
#define VLORP_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vlorp/dtype.h>
#include <vlorp/exec.h>
#include <vlorp/projector.h>
#include <vlorp/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlorp_optimizer vlorp_optimizer; /* opaque, owned by the caller */

/* How a parameter is updated.  t counts from 1 the steps taken since the start; b1, b2, eps, lr and
 * decay are the configuration's; g is the clipped mean gradient.
 *
 * projfactor (arXiv 2505.01744, algorithm 2), with Ghat and Mhat the back-projections of the mean S
 * and of its moment m, and t1 the steps since the last momentum reset:
 *     m   <- b1 m + (1 - b1) S
 *     v_r[i] <- b2 v_r[i] + (1 - b2) sum_j Ghat[i,j]^2,   v_c[j] likewise over i
 *     W[i,j] <- W[i,j] - lr sqrt(1 - b2^t) / (1 - b1^t1) Mhat[i,j] / (sqrt(v_r[i] v_c[j] / sum v_r) + eps)
 *     W <- W - lr decay W
 * vlorp_os (original space; m, v [n, m]), eta_t = lr sqrt(1 - b2^t) / (1 - b1^t1) as above but t1 = t:
 *     m <- b1 m + (1 - b1) Ghat;  v <- b2 v + (1 - b2) Ghat^2;  W <- W - eta_t m / (sqrt(v) + eps)
 * vlorp_ss (subspace; m, v like S): the same on S, and W <- W - eta_t Mhat with Mhat the back-projection of
 *     m / (sqrt(v) + eps).  At a refresh m and t1 follow the momentum policy; v stays: for random P its
 *     entries mean the same before and after.
 * vlorp_sgd: W <- W - lr Ghat          (Theorem 1: lr = M / ((s_dim + c + M) L), update_gap = 1, scale = 1)
 * sgd:       W <- W - lr g
 *     all four then W <- W - lr decay W
 * galore (arXiv 2403.03507, algorithm 2; svd): vlorp_ss, except that m and v stay as they are at a refresh
 *
 * The next three sum the whole gradient g [n, m] and project it at the step: R = g P, with P of svd or P / sqrt(r)
 * else.  m, v are Adam's on R, N = m / (sqrt(v) + eps), eta_t as in vlorp_os; m and v stay at a refresh.  |.|_j: the
 * norm over the compressed dimension, one number per row (right) or column (left).  L shrinks its argument to at most
 * 1.01 times the norm that it had after L in the step before (where that was not 0).
 * fira (arXiv 2410.01390, equations 4 to 8; svd, of the very g):
 *     phi_j = |N|_j / (|R|_j + 1e-8);  W <- W - eta_t (alpha N P^T + L(phi (g - alpha R P^T)))
 * apollo (arXiv 2412.05270, algorithm 1; normal):
 *     s_j = |N|_j / (|R|_j + 1e-8);    W <- W - eta_t sqrt(alpha) L(s g)
 * apollo_mini (r = 1): the same with one s = |N| / (|R| + 1e-8) for the matrix
 *     all three then W <- W - lr decay W
 * flora (arXiv 2402.03293, algorithms 1 and 2; normal): P is drawn anew in every step.  m has a P' of its own
 *     (rng.h: stream MOMENTUM), which changes every update_gap steps, kappa of the paper.  b2_t = 1 - t^-0.8:
 *     R[i] <- b2_t R[i] + (1 - b2_t) mean_j (Ghat[i,j]^2 + 1e-30),   C[j] likewise over i
 *     u = Ghat / sqrt(R C^T / mean(R));  z = (1 - b1) u + b1 (back-projection of m);  P' and with it m change where due
 *     m <- b1 m + (1 - b1) (projection of u);   z <- z / max(1, RMS(z));   lr_t = lr max(1e-3, RMS(W))
 *     W <- W - lr_t decay W - lr_t z
 * adamw (PyTorch's order of operations):
 *     W <- W - lr decay W;  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2
 *     W <- W - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + adamw_eps)
 * adafactor (arXiv 1804.04235, algorithms 4 and 5, the learning rate taken as it is given; R [n], C [m]):
 *     b2t = 1 - t^-0.8
 *     R[i] <- b2t R[i] + (1 - b2t) mean_j (g[i,j]^2 + 1e-30),   C[j] likewise over i
 *     u[i,j] = g[i,j] / sqrt(R[i] C[j] / mean R);   W <- W - lr decay W;   W <- W - lr u / max(1, RMS(u))
 *     A matrix of one row or one column has the full second moment this way.
 * adamw8bit (arXiv 2110.02861): adamw, whose m and v are kept as 8-bit codes of the dynamic map, each block of 256
 *     elements of the weight as it is stored divided by its largest magnitude.  The step is made from m and v before
 *     they are rounded.  Below 4096 elements they stay f32.
 * lomo (arXiv 2306.09782): W <- W - lr decay W;  W <- W - lr g,  as soon as g is complete and not at the step's end:
 *     see vlorp_optimizer_begin_step.  A parameter that got no gradient in a step is left as it is. */
typedef enum vlorp_rule {
    VLORP_RULE_PROJFACTOR = 0,
    VLORP_RULE_ADAMW = 1,
    VLORP_RULE_VLORP_OS = 2,
    VLORP_RULE_VLORP_SS = 3,
    VLORP_RULE_VLORP_SGD = 4,
    VLORP_RULE_SGD = 5,
    VLORP_RULE_ADAFACTOR = 6,
    VLORP_RULE_ADAMW8BIT = 7,
    VLORP_RULE_GALORE = 8,
    VLORP_RULE_FIRA = 9,
    VLORP_RULE_APOLLO = 10,
    VLORP_RULE_APOLLO_MINI = 11,
    VLORP_RULE_FLORA = 12,
    VLORP_RULE_LOMO = 13
} vlorp_rule;

/* What becomes of m when P changes (a matrix kept exact has a P that never changes), under projfactor and vlorp_ss. */
typedef enum vlorp_momentum {
    VLORP_MOMENTUM_RESET = 0,     /* m = 0, t1 = 0 */
    VLORP_MOMENTUM_TRANSPORT = 1, /* right: m <- m s P_old^T P_new per slice; left: its mirror */
    VLORP_MOMENTUM_KEEP = 2       /* the old numbers, read in the new basis */
} vlorp_momentum;

/* How an updated bfloat16 weight is stored. */
typedef enum vlorp_rounding {
    VLORP_ROUND_STOCHASTIC = 0, /* unbiased; the draws are defined in rng.h */
    VLORP_ROUND_NEAREST = 1     /* to nearest even: loses updates below half a unit */
} vlorp_rounding;

/* Sums data [n] over the ranks, in place.  Returns VLORP_OK or what step then returns. */
typedef vlorp_status vlorp_all_reduce(void *ctx, float *data, int64_t n, vlorp_err *err);

typedef struct vlorp_optimizer_config {
    uint64_t seed;             /*                                                       42    */
    double beta1, beta2;       /* in [0, 1)                                             0.9, 0.999 */
    double eps;                /* in (0, 1), of the projecting rules                    1e-6  */
    double adamw_eps;          /* in (0, 1), of adamw, adamw8bit; PyTorch's own is 1e-8 1e-6  */
    double scale;              /* alpha > 0, multiplies Ghat                            1     */
    int64_t update_gap;        /* tau >= 1, steps between two draws of P                30    */
    vlorp_momentum momentum;   /*                                                       reset */
    vlorp_rounding rounding;   /*                                                       stochastic */
    int64_t max_tokens;        /* most rows in one accumulate_factors or _rows call     0     */
    vlorp_exec exec;           /* borrowed until free; zero: serial */
    vlorp_allocator allocator; /* borrowed until free; zero: libc */
    vlorp_all_reduce *all_reduce; /* NULL: one rank.  Called per parameter, in order of registration */
    void *all_reduce_ctx;
    const char *cpu_level;     /* at most this kernel level (ref, avx2, ...); NULL: the best */
    /* of S and of m in its space: VLORP_F32, or VLORP_BF16 (stochastic rounding, draws in rng.h)    F32 */
    vlorp_dtype state_dtype;
    /* the bytes of S and its moments are divided anew at every refresh, see vlorp_division                false */
    bool adaptive_budget;
} vlorp_optimizer_config;

VLORP_API vlorp_optimizer_config vlorp_optimizer_config_default(void);

/* One weight matrix W [n, m]: n output, m input features. */
typedef struct vlorp_matrix {
    const char *name;            /* the checkpoint's name, unique in the handle; copied; it keys P */
    int64_t n, m;                /* >= 1 */
    int64_t ld;                  /* row stride of the weight in elements; 0: contiguous */
    vlorp_dtype dtype;           /* of the weight: VLORP_F32 or VLORP_BF16 */
    bool transposed;             /* the weight is stored [m, n] (GPT-2's Conv1D); not with a factor below one */
    void *weight;                /* borrowed until free, updated in place; NULL until set_weight */
    vlorp_rule rule;             /*                                                     projfactor */
    vlorp_projection projection; /* read by projecting rules only */
    double lr_factor;            /* multiplies lr                                       1 */
    double weight_decay;         /* decoupled, times lr                                 0 */
    bool lent_gradient;          /* adamw only: see vlorp_optimizer_lend_gradient       false */
    bool keeps_gradient;         /* lomo only: see vlorp_optimizer_begin_step           false */
} vlorp_matrix;

VLORP_API vlorp_matrix vlorp_matrix_default(void);

/* One 1-D parameter [n] (a norm's weight, a bias): adamw, never decayed. */
typedef struct vlorp_vector {
    const char *name;
    int64_t n;         /* >= 1 */
    vlorp_dtype dtype;
    void *weight;      /* borrowed, as in vlorp_matrix */
    double lr_factor;  /* 1 */
    bool lent_gradient; /* false */
} vlorp_vector;

VLORP_API vlorp_vector vlorp_vector_default(void);

/* Owner: on VLORP_OK the caller owns *out and frees it; on error *out is NULL and nothing is held.
 * config is copied.  Errors: E_ARG (a field out of range; err names it), E_NOMEM. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_create(vlorp_optimizer **out,
                                                            const vlorp_optimizer_config *config, vlorp_err *err);
/* Accepts NULL. */
VLORP_API void vlorp_optimizer_free(vlorp_optimizer *optimizer);

/* Registers a parameter; *id (from 0, in order) names it in later calls.  One small block of class
 * OTHER each.  On error nothing changes.  Errors: E_ARG, E_UNSUPPORTED, E_NOMEM, E_STATE after commit. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_add_matrix(vlorp_optimizer *optimizer, const vlorp_matrix *matrix,
                                                                int *id, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_add_vector(vlorp_optimizer *optimizer, const vlorp_vector *vector,
                                                                int *id, vlorp_err *err);

enum { VLORP_MEMORY_N_CLASSES = VLORP_MEMORY_OTHER + 1 };

/* What a committed handle holds: bytes asked of the allocator, each block a multiple of 64. */
typedef struct vlorp_optimizer_memory {
    size_t bytes[VLORP_MEMORY_N_CLASSES];
    int64_t n_blocks[VLORP_MEMORY_N_CLASSES]; /* for allocators whose blocks have a header */
} vlorp_optimizer_memory;

/* Exact, before commit and after: the layout code is the one that commit runs.
 * Errors: E_LIMIT when a size does not fit an address. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_memory_use(const vlorp_optimizer *optimizer,
                                                                vlorp_optimizer_memory *use, vlorp_err *err);

/* Allocates and zeroes all state.  On error the handle is as before.  Errors: E_NOMEM, E_STATE. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_commit(vlorp_optimizer *optimizer, vlorp_err *err);

/* Points a parameter at its weight (before or after commit). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_set_weight(vlorp_optimizer *optimizer, int id, void *weight,
                                                                vlorp_err *err);

/* One row of the table of settings really used. */
typedef struct vlorp_parameter_info {
    const char *name; /* the handle's own copy */
    int64_t n, m;     /* a vector: n, 1 */
    bool is_vector;
    vlorp_rule rule;
    vlorp_projection_used projection; /* zero unless the rule projects */
    vlorp_distribution distribution;
} vlorp_parameter_info;

VLORP_API int vlorp_optimizer_n_parameters(const vlorp_optimizer *optimizer);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_parameter(const vlorp_optimizer *optimizer, int id,
                                                               vlorp_parameter_info *info, vlorp_err *err);

/* Accumulation.  All inputs are f32, borrowed for the call; sums are added to what is there.
 * Errors: E_ARG (bad id, wrong kind of parameter, too many tokens), E_STATE (before commit, or between
 * norm and step).  T = 0 is allowed. */

/* g [n, m], row stride ldg (0: m): a gradient that the caller formed; [m, n] where the weight is. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_accumulate(vlorp_optimizer *optimizer, int id, const float *g,
                                                                int64_t ldg, vlorp_err *err);
/* G = dy^T x with dy [T, n] row stride ldy and x [T, m] row stride ldx (0: contiguous); T <= max_tokens.
 * Under a projecting rule G is not formed. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_accumulate_factors(vlorp_optimizer *optimizer, int id,
                                                                        const float *dy, int64_t ldy, const float *x,
                                                                        int64_t ldx, int64_t T, vlorp_err *err);
/* An embedding's gradient: row ids[t] in [0, n) receives dy[t], dy [T, m] row stride ldy (0: m).  A
 * tied embedding and head are one matrix that gets this and accumulate_factors.  An id out of range
 * is E_ARG and nothing is added. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_accumulate_rows(vlorp_optimizer *optimizer, int id,
                                                                     const int32_t *ids, const float *dy, int64_t ldy,
                                                                     int64_t T, vlorp_err *err);
/* g [n] of a vector. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_accumulate_vector(vlorp_optimizer *optimizer, int id,
                                                                       const float *g, vlorp_err *err);

/* The gradient of a parameter registered with lent_gradient: the caller's own memory, contiguous and laid out as
 * the weight ([n], [n, m] or [m, n]), f32 or bf16.  The handle keeps no gradient of such a parameter and nothing can be
 * accumulated into it; norm and step read what is lent here, all_reduce does not see it.  Borrowed until step or
 * discard has returned, then to be lent again: a step without it leaves the parameter and its moments as they are.
 * Errors: E_ARG (not registered so, NULL, another dtype), E_STATE (before commit, or between norm and step). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_lend_gradient(vlorp_optimizer *optimizer, int id, const void *g,
                                                                   vlorp_dtype dtype, vlorp_err *err);

/* Forgets what was accumulated, and that a step was begun. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_discard(vlorp_optimizer *optimizer, vlorp_err *err);

/* *norm = the norm of all gradients together, times grad_scale.  A projected matrix enters with an
 * unbiased estimate of its ||G||^2: normal (d/r) tr(K^-1 sum S^T S), K = P^T P; rademacher ||S||^2 / r; svd ||S||^2;
 * exact matrices, and those whose whole gradient is summed, exactly.  The first call of a step reduces over the
 * ranks and ends accumulation.
 * Errors: E_NUMERIC naming the first parameter with a value that is not finite (weights and state are
 * untouched; discard, then go on or stop), what all_reduce returns. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_norm(vlorp_optimizer *optimizer, double grad_scale, double *norm,
                                                          vlorp_err *err);

typedef struct vlorp_step {
    double lr;
    double grad_scale;    /* 1 / number of target tokens of the step; 0: there were none */
    double max_grad_norm; /* clips by min(1, max_grad_norm / (norm + 1e-6)); 0: does not clip */
} vlorp_step;

typedef struct vlorp_step_result {
    double grad_norm; /* before clipping */
    double clip;      /* what the gradients were multiplied by, 1 when not clipped */
    bool counted;     /* false: no target tokens; gradients are forgotten, nothing else changed */
    int64_t n_redivided; /* adaptive_budget: matrices that have another M from now on */
} vlorp_step_result;

/* One optimizer step; gradients are zero afterwards.  result may be NULL.  Errors: as norm, E_ARG for
 * numbers out of range or others than begin_step's, E_STATE (before commit, a weight not set, not begun under lomo);
 * on error weights and state are untouched. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_step(vlorp_optimizer *optimizer, const vlorp_step *step,
                                                          vlorp_step_result *result, vlorp_err *err);

/* A step whose lr and grad_scale are known before its gradients: what lomo needs, which updates inside the backward
 * pass and keeps no gradient.  The life of such a step:
 *   begin_step   the numbers that step will be given; max_grad_norm must be 0 where the rule is lomo
 *   accumulate*  a lomo parameter takes the one room for a gradient that all of them share (as large as the largest).  One
 *                registered with keeps_gradient has room of its own: it is for gradients that come in parts between
 *                which others are updated, as a tied embedding and head have
 *   step_one     the gradient is complete and the weight was used for the last time in this pass: it is summed over the
 *                ranks and checked, the weight updated, the room given back.  Nothing to do without a gradient
 *   step         with the same numbers: updates the rest, lomo parameters that still hold a gradient included
 * The norm that step and norm tell covers all parameters.  E_NUMERIC in step_one leaves that parameter as it was, but those
 * that came before it in the step are updated already: discard, and go back to weights that were saved.
 * Errors of begin_step: E_ARG (numbers out of range, clipping), E_STATE (before commit, begun already, a weight not
 * set); of step_one: E_ARG (not lomo), E_STATE (not begun), E_NUMERIC, what all_reduce returns; of accumulate*: E_STATE
 * (not begun; the room is taken by another parameter). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_begin_step(vlorp_optimizer *optimizer, const vlorp_step *step,
                                                                vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_step_one(vlorp_optimizer *optimizer, int id, vlorp_err *err);

/* Steps counted so far: the refresh number is this divided by update_gap.  set_ is for resuming, after
 * the state tensors are filled: a P of svd is then taken to be that of this step's refresh, unless
 * a refresh is due. */
VLORP_API int64_t vlorp_optimizer_steps_taken(const vlorp_optimizer *optimizer);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_set_steps_taken(vlorp_optimizer *optimizer, int64_t steps,
                                                                     vlorp_err *err);

/* The basis of an svd matrix.  At a refresh, step 0 included, P is taken from a gradient that the caller
 * makes with one forward and backward more, before the step's first accumulation (under rules that sum the whole
 * gradient no probe is wanted: norm and step take P from it): P = the r leading
 * eigenvectors of the d x d Gram matrix of the re-read G, the largest entry of each positive.  Nothing is
 * accumulated.  Momentum moves as the policy says.
 *   wants_probe    true: parameter id is svd and its P is not yet that of the step to come
 *   probe          g as in accumulate: finishes P.  Ranks that are given the same g have the same P.
 *   probe_factors  the same from G = dy^T x, as in accumulate_factors
 *   probe_rows     the same from an embedding's rows, as in accumulate_rows
 * A gradient that comes in parts (several micro-batches, tied weights) is added up in between:
 *   probe_begin    reserves room for G and clears it.  There is room for the largest svd matrix, shared by
 *                  as many as fit; *begun is false when those begun leave too little: end them first
 *   probe_is_begun true from there to probe_end
 *   probe_add_*    adds a part
 *   probe_end      finishes P and gives the room back, also on E_NUMERIC
 * Accumulating into the parameter is E_STATE until wants_probe is false; into any, while a probe is begun.
 * vlorp_optimizer_discard forgets probes that were begun.
 * Errors: E_ARG (not an svd matrix, or as in accumulate), E_STATE (before commit, between norm and step,
 * after the step's first accumulation; begun twice, added to or ended without a beginning; no room for
 * probe, probe_factors, probe_rows), E_NUMERIC (G is not finite; P is as before). */
VLORP_API bool vlorp_optimizer_wants_probe(const vlorp_optimizer *optimizer, int id);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe(vlorp_optimizer *optimizer, int id, const float *g,
                                                           int64_t ldg, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_factors(vlorp_optimizer *optimizer, int id, const float *dy,
                                                                   int64_t ldy, const float *x, int64_t ldx, int64_t T,
                                                                   vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_rows(vlorp_optimizer *optimizer, int id, const int32_t *ids,
                                                                const float *dy, int64_t ldy, int64_t T,
                                                                vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_begin(vlorp_optimizer *optimizer, int id, bool *begun,
                                                                 vlorp_err *err);
VLORP_API bool vlorp_optimizer_probe_is_begun(const vlorp_optimizer *optimizer, int id);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_add(vlorp_optimizer *optimizer, int id, const float *g,
                                                               int64_t ldg, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_add_factors(vlorp_optimizer *optimizer, int id,
                                                                       const float *dy, int64_t ldy, const float *x,
                                                                       int64_t ldx, int64_t T, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_add_rows(vlorp_optimizer *optimizer, int id,
                                                                    const int32_t *ids, const float *dy, int64_t ldy,
                                                                    int64_t T, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_probe_end(vlorp_optimizer *optimizer, int id, vlorp_err *err);

/* State between two steps, besides the step count, as named tensors: `parameter` and `field` together
 * are unique (field: momentum, row_sums, column_sums, exp_avg, exp_avg_sq, update_norm, projection; of adafactor and
 * flora row_means and column_means; under adamw8bit exp_avg and exp_avg_sq are codes, and exp_avg_max, exp_avg_sq_max
 * the largest magnitudes of their blocks).  data may be read and written; its values are the whole state, so copying
 * them out and in, and set_steps_taken, resumes bit-exactly (under adaptive_budget after set_divisions). */
typedef struct vlorp_state_tensor {
    const char *parameter;
    const char *field;
    void *data;
    vlorp_dtype dtype;
    int n_dims;
    int64_t shape[3];
} vlorp_state_tensor;

VLORP_API int vlorp_optimizer_n_tensors(const vlorp_optimizer *optimizer);
/* Errors: E_ARG (index), E_STATE (before commit). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_tensor(const vlorp_optimizer *optimizer, int index,
                                                            vlorp_state_tensor *tensor, vlorp_err *err);

/* The sums accumulated so far: S ([n, c, r] or [r, c, m], of the re-read G), in state_dtype, or the exact
 * gradient.  For tests, and for sums and reductions that the caller does itself: data may be written until norm
 * or step.  E_ARG for a lent gradient; E_STATE for one of lomo's that is not summed now. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_gradient(const vlorp_optimizer *optimizer, int id,
                                                              vlorp_state_tensor *tensor, vlorp_err *err);

/* p [d, r], overwritten: the projection in force now.  Errors: E_ARG (not a projected matrix), E_STATE (svd
 * before commit). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_projection(const vlorp_optimizer *optimizer, int id, float *p,
                                                                vlorp_err *err);

/* adaptive_budget.  The matrices begin with what they were registered with.  After the last step before each refresh
 * the same bytes are divided anew: with ||G||^2 the mean over the steps since the refresh before of the norm's
 * estimate of the mean gradient, unclipped,
 *     M ~ q,  q^2 = (s_dim + c) ||G||^2 / u_dim,  M <= s_dim          (c: as registered)
 * which minimises the sum of the estimates' variances (s_dim + c) / M ||G||^2 at equal bytes.  M is 1, 2, 3 or a number
 * of three significant bits (4 5 6 7 8 10 12 14 16 20 ...), or s_dim: exact; c = gcd(M, s_dim), r = M / c.  All begin
 * at 1, and the next larger M goes to the matrix with the largest q^2 / (M M_next) whose next M still fits (the first
 * registered of equals), until none fits: neither S nor the moments ever take more than at first.  A matrix whose
 * shape of S changes has its moments of that shape reset, and their counts (t1; under vlorp_ss t too).
 * Scratch is as large as the largest M needs.  Where all gradients were zero nothing changes.
 * For projfactor, vlorp_os, vlorp_ss and vlorp_sgd, one of them for all projected matrices of the handle; with svd, a
 * factor below one or another projecting rule registration is E_UNSUPPORTED. */
typedef struct vlorp_division {
    int64_t budget;  /* M in force; 0: the parameter has no part in it */
    int64_t since;   /* steps taken when S got its shape */
    double norm_sum; /* sum of ||G||^2 over the steps since the last refresh */
} vlorp_division;

VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_division(const vlorp_optimizer *optimizer, int id,
                                                              vlorp_division *division, vlorp_err *err);
/* The whole division, divisions [n_parameters], for resuming from tensors: after it state tensors have other shapes,
 * and moments of S are zero.  load does it itself.  Errors: E_ARG (an M that the rules above do not give, or more
 * bytes than there are), E_STATE (before commit, or gradients are held). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_set_divisions(vlorp_optimizer *optimizer,
                                                                   const vlorp_division *divisions, vlorp_err *err);

/* The whole state between two steps as bytes: a header with magic, version and sizes, a record per
 * tensor, the tensors, a checksum.  The layout is in docs/library.md.  Weights are not part of it.  Little-endian
 * machines only (E_UNSUPPORTED elsewhere).
 *
 * A reader or writer moves exactly n_bytes or fails; its status and text are what save or load return. */
typedef vlorp_status vlorp_write(void *ctx, const void *bytes, size_t n_bytes, vlorp_err *err);
typedef vlorp_status vlorp_read(void *ctx, void *bytes, size_t n_bytes, vlorp_err *err);

/* Bytes that save writes.  Errors: E_STATE before commit. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_state_size(const vlorp_optimizer *optimizer, uint64_t *n_bytes,
                                                                vlorp_err *err);
/* Errors: E_STATE (before commit, or gradients are held: step or discard first), what write returns. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_save(const vlorp_optimizer *optimizer, vlorp_write *write,
                                                          void *ctx, vlorp_err *err);
/* Loads what a handle with the same parameters and settings saved; gradients held are forgotten.  Everything
 * before the tensors is checked before anything changes.  Where the tensors themselves cannot be
 * read or their checksum is wrong, steps are refused (E_STATE) until a load succeeds.
 * Errors: E_STATE (before commit), E_FORMAT (damaged), E_UNSUPPORTED (a newer major version), E_SHAPE (of
 * another set of parameters or settings), what read returns. */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_load(vlorp_optimizer *optimizer, vlorp_read *read, void *ctx,
                                                          vlorp_err *err);
/* The same to and from memory; n_bytes at least the state's size (save) or what there is (load: a
 * buffer that ends early is E_FORMAT, and everything is checked before anything changes). */
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_save_buffer(const vlorp_optimizer *optimizer, void *buffer,
                                                                 size_t n_bytes, vlorp_err *err);
VLORP_API VLORP_CHECKED vlorp_status vlorp_optimizer_load_buffer(vlorp_optimizer *optimizer, const void *buffer,
                                                                 size_t n_bytes, vlorp_err *err);

#ifdef __cplusplus
}
#endif
#endif
