/* handle.h - what a vlorp_optimizer is made of.
 *
 * Layer 4, private to optim/ but for vlorpi_optimizer_use_gemm, which the program calls.
 *
 *   registry.c    create, registration, queries          layout.c      sizes, commit, memory
 *   accumulate.c  gradients and factors into S           norm.c        reduction, norm, finiteness
 *   prepare.c     P and what follows from it             projfactor.c, adamw.c   the rules
 *   step.c        one step
 */
#ifndef VLORPI_OPTIM_HANDLE_H
#define VLORPI_OPTIM_HANDLE_H

#include <vlorp/optimizer.h>

#include "kernel/kernel.h"

/* One registered parameter; a single block of class OTHER. */
typedef struct vlorpi_slot {
    struct vlorpi_slot *next; /* in order of registration */
    size_t n_bytes;           /* of this block */
    int id;
    uint64_t name_hash;
    bool is_vector;
    bool transposed;
    int64_t n, m, ld; /* ld of the weight as stored */
    vlorp_dtype dtype;
    void *weight;
    vlorp_rule rule;
    vlorp_distribution distribution;
    vlorp_projection_used proj; /* zero unless the rule projects */
    double lr_factor, weight_decay;

    /* set by commit */
    float *grad;     /* S, [n, M] (right) or [M, m] (left), or the exact gradient, laid out as the weight */
    float *moment;   /* m_s, as grad; or AdamW's first moment */
    float *moment2;  /* AdamW's second; NULL under projfactor */
    float *row_sums; /* v_r [n] */
    float *col_sums; /* v_c [m] */

    char name[];
} vlorpi_slot;

/* Scratch shared by all parameters, each buffer as large as the greediest one needs. */
typedef struct vlorpi_scratch {
    float *p;        /* [d, r]: the projection of parameter p_slot at refresh p_refresh */
    float *p_old;    /* [d, r]: the one before, for transport */
    float *pt;       /* [r, ldp]: p transposed and padded (right) */
    float *kw;       /* [r, M] lagged weights of K */
    float *bridge;   /* [r, r]: s P_old^T P, for transport */
    double *k;       /* [r, r]: K = P^T P */
    double *gram;    /* [r, r] */
    float *q;        /* [chunks, r, M] lagged sums, one part per chunk */
    float *factors;  /* [max_tokens, M] */
    float *u_sums;   /* [u_dim] */
    float *s_sums;   /* [s_dim] */
    float *root;     /* [m]: sqrt(v_c) */
    float *rows;     /* [threads, row_stride]: one row of the back-projection each */
    double *partial; /* [n_partial]: parts of a sum of squares */
    void *gemm;
    int64_t row_stride;
    int p_slot; /* -1: p holds nothing */
    int64_t p_refresh;
} vlorpi_scratch;

struct vlorp_optimizer {
    vlorp_optimizer_config config;
    vlorp_allocator allocator;
    int n_threads;
    const vlorpi_optim_kernels *kernels;
    vlorpi_gemm_ctx gemm;
    bool gemm_is_borrowed;

    vlorpi_slot *first, *last;
    vlorpi_slot **slots; /* [n_slots], from commit on */
    int n_slots;

    void *blocks[VLORP_MEMORY_N_CLASSES]; /* from commit on; NULL where a class is empty */
    size_t gradient_bytes;
    vlorpi_scratch scratch;
    bool committed;

    int64_t steps_taken;
    bool reduced;      /* norm ran: gradients are summed over ranks and no more may come */
    int bad_slot;      /* the first parameter with a gradient that is not finite, or -1 */
    double norm_sum;   /* estimate of the squared norm of the sums */
};

/* A matrix product that the program brings: kernels, threads, scratch and BLAS.  Call it before
 * commit; its scratch is then not part of the handle's memory.  Borrowed: ctx->scratch, until free. */
void vlorpi_optimizer_use_gemm(vlorp_optimizer *optimizer, const vlorpi_gemm_ctx *ctx);

static inline bool vlorpi_slot_projects(const vlorpi_slot *slot)
{
    return slot->rule == VLORP_RULE_PROJFACTOR;
}

static inline bool vlorpi_slot_is_right(const vlorpi_slot *slot)
{
    return slot->proj.side == VLORP_SIDE_RIGHT;
}

static inline vlorpi_slices vlorpi_slot_slices(const vlorpi_slot *slot)
{
    return (vlorpi_slices){slot->proj.c, slot->proj.d, slot->proj.r};
}

/* S or the exact gradient, in elements. */
static inline int64_t vlorpi_slot_gradient_elements(const vlorpi_slot *slot)
{
    return vlorpi_slot_projects(slot) ? slot->proj.u_dim * slot->proj.M : slot->n * slot->m;
}

static inline int64_t vlorpi_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t vlorpi_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t vlorpi_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The cut of u_dim in which second-moment sums are taken: it depends on the shape alone, so the
 * number of threads changes no bit. */
int64_t vlorpi_slot_chunk(const vlorpi_slot *slot);    /* elements of u_dim per chunk */
int64_t vlorpi_slot_n_chunks(const vlorpi_slot *slot); /* at least 1 */

/* Row stride of P transposed. */
static inline int64_t vlorpi_padded(int64_t d)
{
    return vlorpi_divide_up(d, VLORPI_OPTIM_PAD) * VLORPI_OPTIM_PAD;
}

enum {
    VLORPI_SQUARES_PER_PART = 1 << 16, /* elements of one partial sum of squares */
    VLORPI_GEMM_RANK = 16              /* from this r on projections are products of the packed GEMM */
};

/* The slot of an id, checked; NULL fills err. */
vlorpi_slot *vlorpi_optimizer_slot(const vlorp_optimizer *optimizer, int id, vlorp_err *err);

/* Makes scratch.p the projection in force now, and scratch.pt for right. */
void vlorpi_prepare_projection(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
/* scratch.k = P^T P and scratch.kw from it; after vlorpi_prepare_projection. */
void vlorpi_prepare_gram(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
/* scratch.bridge = s P_old^T P for the refresh before this one. */
void vlorpi_prepare_bridge(vlorp_optimizer *optimizer, const vlorpi_slot *slot);

/* scratch.q part 0 = the lagged sums of S; u_sums too when wanted.  after_chunk, if given, runs for
 * each chunk of u_dim once its sums are taken, on the same thread. */
typedef void vlorpi_chunk_task(void *arg, int64_t begin, int64_t end);
void vlorpi_projected_sums(vlorp_optimizer *optimizer, const vlorpi_slot *slot, bool want_u_sums,
                           vlorpi_chunk_task *after_chunk, void *arg);

/* What a step's rule needs to know. */
typedef struct vlorpi_step {
    double lr;
    double gradient_scale; /* grad_scale times the clip coefficient */
    int64_t t;             /* from 1 */
} vlorpi_step;

void vlorpi_projfactor_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_adamw_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);

/* The draws of a step for one parameter, or NULL under nearest rounding; *rng is its storage. */
const vlorp_rng *vlorpi_rounding_rng(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, int64_t step,
                                     vlorp_rng *rng);

#endif
