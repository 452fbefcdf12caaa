/* handle.h - what a vlorp_optimizer is made of.
 *
 * Layer 4, private to optim/ but for vlorpi_optimizer_use_gemm, which the program calls.
 *
 *   registry.c    create, registration, queries          layout.c      sizes, commit, memory
 *   accumulate.c  gradients and factors into S           norm.c        reduction, norm, finiteness
 *   prepare.c     P and what follows from it             projfactor.c, adamw.c   the rules
 *   step.c        one step                             backproject.c   Ghat and Mhat, piece by piece
 *   coarse.c      what a factor below one does apart   projected_rules.c   vlorp_os, _ss, _sgd; sgd
 *   wide.c        sums and moments kept in bf16        probe.c, eigen.c    svd's P
 *   state_io.c    save and load                        lent.c              gradients that stay with the caller
 *   rules.c       the table of rules                   whole_rules.c       fira and apollo, on the whole gradient
 *   flora.c       flora                              adafactor.c, adamw8bit.c   on the exact gradient
 *   division.c    adaptive_budget
 *   lomo.c        lomo, and steps that have begun
 */
#ifndef VLORPI_OPTIM_HANDLE_H
#define VLORPI_OPTIM_HANDLE_H

#include <vlorp/optimizer.h>

#include "kernel/kernel.h"
#include "optim/rules.h"

/* One registered parameter; a single block of class OTHER. */
struct vlorpi_slot {
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
    const vlorpi_rule_traits *traits; /* of rule */
    vlorp_distribution distribution;
    vlorp_projection_used proj; /* zero unless the rule projects */
    vlorp_projection_used registered; /* what proj was at first; another one only under adaptive_budget */
    double lr_factor, weight_decay;
    bool narrow; /* S and m_s are kept in bf16 */
    bool in_codes; /* the moments are kept as 8-bit codes */
    bool is_lent; /* its gradient is the caller's: lent, laid out as the weight; NULL: none in this step */
    bool shares_gradient; /* its gradient takes the room that all such have in common, while it is summed */
    const void *lent;
    vlorp_dtype lent_dtype;

    /* set by commit */
    float *grad;     /* S, [n, M] (right) or [M, m] (left), or the exact gradient, laid out as the weight */
    float *moment;   /* m_s, as grad; or AdamW's first moment */
    float *moment2;  /* Adam's second; NULL under projfactor */
    uint16_t *grad16, *moment16; /* narrow: where grad and moment live; those are then shared scratch */
    uint8_t *codes[2]; /* in_codes: of the moments, laid out as the weight without gaps */
    float *most[2];    /* the largest magnitudes of their blocks */
    float *basis;    /* svd: P [d, r] */
    int64_t basis_refresh; /* the refresh that basis is of; -1: none yet */
    float *probe;    /* svd: G [n, m] in scratch.tile while a probe is begun; else NULL */
    uint64_t n_sums; /* narrow: roundings of S in this step */
    bool holds_sums; /* something was accumulated in this step */
    float *row_sums; /* v_r [n] */
    float *col_sums; /* v_c [m]; adafactor keeps its means in both */
    double squared;     /* the norm's ||G||^2 of the sums of this step */
    double norm_sum;    /* adaptive_budget: of the steps since the last refresh */
    int64_t since;      /* steps taken when S got its shape */
    unsigned char *pooled;   /* adaptive_budget: the moments of S's shape, together */
    vlorp_division next_division; /* what is about to be in force */
    float *update_norm; /* of the last update, limited; 0: none yet */

    char name[];
};

/* Bytes that a matrix takes of the pools that adaptive_budget divides. */
typedef struct vlorpi_pool_bytes {
    size_t sums, moments;
} vlorpi_pool_bytes;

/* Scratch shared by all parameters, each buffer as large as the greediest one needs. */
typedef struct vlorpi_scratch {
    float *p;        /* [d, r]: the projection of parameter p_slot at refresh p_refresh; or rows of it */
    float *p_old;    /* [d, r]: the one before, for transport */
    float *pt;       /* [r, ldp]: p transposed and padded (right) */
    float *kw;       /* [r, M] lagged weights of K */
    float *bridge;   /* [r, r]: s P_old^T P, for transport */
    double *k;       /* [r, r]: K = P^T P */
    double *gram;    /* [r, r] */
    float *q;        /* [chunks, r, M] lagged sums, one part per chunk */
    float *factors;  /* [max_tokens, M] */
    float *u_sums;   /* [u_dim]; factor below one: [n] */
    float *s_sums;   /* [s_dim]; factor below one: [m] */
    float *root;     /* [m]: sqrt(v_c); transposed: [n], sqrt(v_r) */
    float *rows;     /* [threads, 2, row_stride]: one row of the back-projection each, and one spare */
    float *tile;     /* rows of Ghat, of G, or of dY re-read; the G of probes that are begun */
    int64_t tile_floats;
    float *wide_grad;   /* S of the one narrow parameter in work, or of a whole gradient at its step */
    float *wide_moment; /* m_s of the one narrow parameter in work */
    float *direction; /* as S: Adam's direction on it */
    float *whole;     /* [n, m] as the weight is stored: an update before it is scaled (flora) */
    double *eigen;   /* [d, d] Gram matrix and its vectors, then 4 d numbers */
    float *gram32;   /* [d, d] */
    double *partial; /* [n_partial]: parts of a sum of squares */
    float *columns;  /* [VLORPI_WEIGHT_CHUNKS + 1, width]: parts of adafactor's column sums, and their roots */
    float *shared_grad; /* of the one parameter of lomo in work; booked as a gradient */
    vlorpi_code_map *maps; /* [2]: of signed and unsigned codes */
    void *gemm;
    int64_t row_stride;
    int p_slot; /* -1: p holds nothing */
    int64_t p_refresh;
    vlorp_stream p_stream;
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
    size_t pool_begin[VLORP_MEMORY_N_CLASSES]; /* of what is shaped as S, in blocks */
    bool state_is_torn; /* a load failed half way */
    vlorpi_scratch scratch;
    bool committed;

    int n_probes;         /* begun and not ended */
    int64_t probe_floats; /* of scratch.tile, from its beginning, that they take */

    bool begun;           /* begin_step ran */
    vlorp_step begun_step;
    const vlorpi_slot *sharer; /* whose gradient is in shared_grad; NULL: nobody's */
    double taken_squares; /* of gradients that were taken in this step already */

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
    return slot->traits->projects;
}

/* Whether S has a moment of its own shape: what momentum policies and state_dtype are about. */
static inline bool vlorpi_slot_has_subspace_moment(const vlorpi_slot *slot)
{
    return slot->traits->moment == VLORPI_SHAPE_SUMS;
}

/* Whether its gradient is kept as S. */
static inline bool vlorpi_slot_keeps_sums(const vlorpi_slot *slot)
{
    return slot->traits->gradient == VLORPI_SHAPE_SUMS;
}

/* Whether its whole gradient is kept, and projected at the step. */
static inline bool vlorpi_slot_projects_late(const vlorpi_slot *slot)
{
    return slot->traits->projects && !vlorpi_slot_keeps_sums(slot);
}

static inline bool vlorpi_slot_is_svd(const vlorpi_slot *slot)
{
    return vlorpi_slot_projects(slot) && slot->distribution == VLORP_SVD && !slot->proj.exact;
}

/* Whether its P is taken from a gradient that the caller makes apart. */
static inline bool vlorpi_slot_is_probed(const vlorpi_slot *slot)
{
    return vlorpi_slot_is_svd(slot) && vlorpi_slot_keeps_sums(slot);
}

/* A factor below one. */
static inline bool vlorpi_slot_is_coarse(const vlorpi_slot *slot)
{
    return slot->proj.f > 1;
}

/* s of Ghat = s (S with P), without alpha. */
static inline double vlorpi_slot_s(const vlorpi_slot *slot)
{
    return vlorpi_slot_is_svd(slot) ? 1.0 : 1.0 / (double)slot->proj.r;
}

/* Rows and columns of the weight as it is stored. */
static inline int64_t vlorpi_slot_n_stored_rows(const vlorpi_slot *slot)
{
    return slot->transposed ? slot->m : slot->n;
}

static inline int64_t vlorpi_slot_stored_width(const vlorpi_slot *slot)
{
    return slot->transposed ? slot->n : slot->m;
}

static inline bool vlorpi_slot_is_right(const vlorpi_slot *slot)
{
    return slot->proj.side == VLORP_SIDE_RIGHT;
}

static inline vlorpi_slices vlorpi_slot_slices(const vlorpi_slot *slot)
{
    return (vlorpi_slices){slot->proj.c, slot->proj.d, slot->proj.r};
}

/* a * b of numbers that are not negative, or -1 when it does not fit. */
static inline int64_t vlorpi_product(int64_t a, int64_t b)
{
    return b > 0 && a > INT64_MAX / b ? -1 : a * b;
}

/* Elements of something of that shape; -1 when they do not fit. */
static inline int64_t vlorpi_slot_elements(const vlorpi_slot *slot, vlorpi_shape shape)
{
    if (shape == VLORPI_SHAPE_NONE) {
        return 0;
    }
    return shape == VLORPI_SHAPE_SUMS ? vlorpi_product(slot->proj.u_dim, slot->proj.M)
                                      : vlorpi_product(slot->n, slot->m);
}

/* S or the exact gradient. */
static inline int64_t vlorpi_slot_gradient_elements(const vlorpi_slot *slot)
{
    return vlorpi_slot_elements(slot, slot->traits->gradient);
}

static inline int64_t vlorpi_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Blocks of codes of one moment. */
static inline int64_t vlorpi_slot_n_blocks(const vlorpi_slot *slot)
{
    return vlorpi_divide_up(slot->n * slot->m, VLORPI_CODE_BLOCK);
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

/* The number of the P of S in the step to come. */
static inline int64_t vlorpi_refresh(const vlorp_optimizer *optimizer, const vlorpi_slot *slot)
{
    return slot->traits->fresh ? optimizer->steps_taken : optimizer->steps_taken / optimizer->config.update_gap;
}

static inline vlorp_momentum vlorpi_slot_momentum(const vlorp_optimizer *optimizer, const vlorpi_slot *slot)
{
    switch (slot->traits->fate) {
    case VLORPI_FATE_KEEP: return VLORP_MOMENTUM_KEEP;
    case VLORPI_FATE_TRANSPORT: return VLORP_MOMENTUM_TRANSPORT;
    case VLORPI_FATE_CONFIGURED: break;
    }
    return optimizer->config.momentum;
}

enum {
    VLORPI_P_FLOATS = 1 << 20,    /* a P of a factor below one is kept whole up to here */
    VLORPI_TILE_FLOATS = 1 << 18, /* aimed at in a tile of Ghat or G */
    VLORPI_TRANSPOSE_ROWS = VLORPI_OPTIM_DRAWS, /* rows of Ghat that a transposed weight takes at once */
    VLORPI_SQUARES_PER_PART = 1 << 16, /* elements of one partial sum of squares */
    VLORPI_WEIGHT_CHUNKS = 16,         /* that a weight's rows are cut in where sums cross them */
    VLORPI_GEMM_RANK = 16,             /* from this r on projections are products of the packed GEMM */
    VLORPI_LEAST_CODED = 4096          /* elements of a parameter whose moments become codes */
};

/* The slot of an id, checked; NULL fills err. */
vlorpi_slot *vlorpi_optimizer_slot(const vlorp_optimizer *optimizer, int id, vlorp_err *err);

/* The checks of accumulate, accumulate_factors and accumulate_rows; strides of 0 are filled in. */
vlorp_status vlorpi_check_gradient(const vlorpi_slot *slot, int64_t *ldg, vlorp_err *err);
vlorp_status vlorpi_check_factors(const vlorpi_slot *slot, int64_t *ldy, int64_t *ldx, vlorp_err *err);
vlorp_status vlorpi_check_rows(const vlorpi_slot *slot, const int32_t *ids, int64_t *ldy, int64_t T, vlorp_err *err);

/* What a lent gradient is read in, so that a piece fits the stack. */
enum { VLORPI_LENT_PIECE = 4 * VLORPI_OPTIM_DRAWS };
/* out [n] = elements [first, first + n) of the gradient that is lent. */
void vlorpi_read_lent(float *out, const vlorpi_slot *slot, int64_t first, int64_t n);
/* Whether there is no gradient to read in this step: not lent, or taken already. */
static inline bool vlorpi_slot_is_absent(const vlorpi_slot *slot)
{
    return (slot->is_lent && slot->lent == NULL) || (slot->traits->at_once && !slot->holds_sums);
}
/* Whether the parameter may be summed into now; takes the shared room for it. */
vlorp_status vlorpi_take_room(vlorp_optimizer *optimizer, const vlorpi_slot *slot, vlorp_err *err);
/* Ends a step that was begun. */
void vlorpi_forget_begun(vlorp_optimizer *optimizer);
/* The checks of step and begin_step. */
vlorp_status vlorpi_check_step(const vlorp_optimizer *optimizer, const vlorp_step *step, vlorp_err *err);
/* Updates one parameter; its gradient is gone afterwards. */
void vlorpi_step_slot(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
/* The sum of squares of an exact gradient. */
double vlorpi_exact_squares(const vlorp_optimizer *optimizer, const vlorpi_slot *slot);

/* Forgets every lent gradient. */
void vlorpi_return_lent(vlorp_optimizer *optimizer);

/* Whether the matrix has a part in the pool. */
static inline bool vlorpi_slot_adapts(const vlorp_optimizer *optimizer, const vlorpi_slot *slot)
{
    return optimizer->config.adaptive_budget && vlorpi_slot_projects(slot);
}

/* The projection of a matrix that gets M; M is registered's, or one of those that vlorpi_division_after gives. */
vlorp_projection_used vlorpi_division_projection(const vlorpi_slot *slot, int64_t M);
/* The M after M; 0: it is s_dim already. */
int64_t vlorpi_division_after(const vlorpi_slot *slot, int64_t M);
vlorpi_pool_bytes vlorpi_slot_pool_bytes(const vlorpi_slot *slot, int64_t M);
/* The checks of a matrix that is to be registered. */
vlorp_status vlorpi_division_check_new(const vlorp_optimizer *optimizer, const vlorpi_slot *want, const char *name,
                                       vlorp_err *err);
/* After a step: adds up the norms, and where a refresh is due divides anew; returns how many M changed. */
int64_t vlorpi_division_step(vlorp_optimizer *optimizer, double grad_scale);
/* Checks slot->next_division of all parameters: each M is one that may be, and together they fit. */
vlorp_status vlorpi_division_check_next(const vlorp_optimizer *optimizer, vlorp_err *err);
/* Swaps what is in force with slot->next_division; the pools' bytes stay as they are. */
void vlorpi_division_swap(vlorp_optimizer *optimizer);
/* Points every slot at its part of the pools (layout.c). */
void vlorpi_layout_pools(vlorp_optimizer *optimizer);

/* Clears n_bytes on all threads. */
void vlorpi_clear(const vlorp_optimizer *optimizer, void *memory, size_t n_bytes);

/* Numbers per item of a loop over elements. */
enum { VLORPI_ELEMENTS_PER_ITEM = 1 << 15 };

/* S, and m_s, of a narrow parameter into the wide buffers (grad, moment) and back; both do nothing
 * for others.  step: the moment's number; S is forgotten after a step and not stored. */
void vlorpi_open_sums(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
void vlorpi_close_sums(vlorp_optimizer *optimizer, vlorpi_slot *slot);
void vlorpi_open_moment(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
void vlorpi_close_moment(vlorp_optimizer *optimizer, const vlorpi_slot *slot, int64_t step);

/* s_like [u_dim, M] or [M, u_dim], accumulated: the projection of g, laid out as the weight with row stride ldg, by
 * the P of scratch.p; not coarse. */
void vlorpi_project(vlorp_optimizer *optimizer, const vlorpi_slot *slot, float *s_like, const float *g, int64_t ldg);

/* Sum of squares of x [n], the same for any number of threads; n at most the elements of a parameter. */
double vlorpi_sum_squares(const vlorp_optimizer *optimizer, const float *x, int64_t n);

/* Gives every svd matrix whose whole gradient is kept the P of that gradient, where a refresh is due. */
vlorp_status vlorpi_probe_whole_gradients(vlorp_optimizer *optimizer, vlorp_err *err);

/* Rows [j0, j0 + n) of P, [n, r]: valid until the next call of this or of prepare. */
const float *vlorpi_projection_rows(vlorp_optimizer *optimizer, const vlorpi_slot *slot, int64_t j0, int64_t n);
/* n rows, from j0 on, of the P with that number in the stream, into p. */
void vlorpi_projection_make(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, vlorp_stream stream, float *p,
                            int64_t number, int64_t j0, int64_t n);

/* Coarse slots: how P is cut.  right: columns of W per tile; left: rows of W per tile (f rows of P each). */
int64_t vlorpi_coarse_extent(const vlorpi_slot *slot);
/* Rows of W's re-read (right) or of W (left) in a tile of Ghat. */
int64_t vlorpi_coarse_rows(const vlorpi_slot *slot);
int64_t vlorpi_coarse_tile_floats(const vlorpi_slot *slot, int64_t max_tokens);
void vlorpi_coarse_accumulate(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const float *g, int64_t ldg);
void vlorpi_coarse_factors(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const float *dy, int64_t ldy,
                           const float *x, int64_t ldx, int64_t T);
void vlorpi_coarse_scatter(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const int32_t *ids, const float *dy,
                           int64_t ldy, int64_t T);
/* u_sums [n] and s_sums [m] = the sums of squares of S's back-projection, without s. */
void vlorpi_coarse_sums(vlorp_optimizer *optimizer, const vlorpi_slot *slot);

/* Part of a back-projection: rows first_row + i row_step (i < n_rows), columns [first_col, first_col + n_cols)
 * of G, at values + i ld. */
typedef struct vlorpi_tile {
    const float *values;
    int64_t ld;
    int64_t first_row, row_step, n_rows;
    int64_t first_col, n_cols;
} vlorpi_tile;
typedef void vlorpi_tile_task(void *arg, const vlorpi_tile *tile);
/* Tiles one after the other, in a fixed order; task may run loops of its own. */
void vlorpi_coarse_walk(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const float *s_like,
                        vlorpi_tile_task *task, void *arg);

/* What a rule does with n numbers of the back-projection that meet columns [col0, col0 + n) of row `row` of the
 * weight as stored; col0 is a multiple of VLORPI_OPTIM_DRAWS.  Runs on many threads; spare [n] is the
 * thread's own. */
typedef void vlorpi_row_task(void *arg, int64_t row, int64_t col0, int64_t n, const float *mh, float *spare);
/* s_like, shaped as S, times P (without s), every element of the weight once; after
 * vlorpi_prepare_projection (which a coarse slot does not need). */
void vlorpi_backproject(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const float *s_like,
                        vlorpi_row_task *task, void *arg);

/* Weights of a row: w <- w - step mh / (a b + eps), then decay; rounding as configured. */
void vlorpi_update_row(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, const vlorp_rng *rng, int64_t row,
                       int64_t col0, int64_t n, const float *mh, const float *b, vlorpi_update update);

/* What m_s goes through at the start of a step. */
typedef struct vlorpi_momentum_step {
    bool refreshed; /* P is new since the last step */
    bool forget;    /* m_s counts as zero */
    int64_t t1;     /* steps since m_s was last zero, this one included */
} vlorpi_momentum_step;
vlorpi_momentum_step vlorpi_momentum_at(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, int64_t t);
/* m_s <- m_s with each slice's r numbers multiplied by scratch.bridge. */
void vlorpi_momentum_transport(vlorp_optimizer *optimizer, const vlorpi_slot *slot);

/* p [d, r], overwritten: eigenvectors of the symmetric a [d, d] with the r largest eigenvalues, largest first,
 * each with its largest entry positive.  a is destroyed; work [4 d].  false: a is not finite, or
 * the iteration did not settle. */
bool vlorpi_eigen_leading(const vlorp_exec *exec, float *p, double *a, double *work, int64_t d, int64_t r);

/* Makes scratch.p the projection in force now, and scratch.pt for right. */
void vlorpi_prepare_projection(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
/* The same for another P of a slot that is neither coarse nor svd. */
void vlorpi_prepare_projection_of(vlorp_optimizer *optimizer, const vlorpi_slot *slot, vlorp_stream stream,
                                  int64_t number);
/* scratch.k = P^T P and scratch.kw from it; after vlorpi_prepare_projection. */
void vlorpi_prepare_gram(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
/* scratch.u_sums and s_sums = the sums of squares of S's back-projection, without s; not coarse, after
 * vlorpi_prepare_projection.  after_chunk as below. */
typedef void vlorpi_chunk_task(void *arg, int64_t begin, int64_t end);
void vlorpi_square_sums(vlorp_optimizer *optimizer, const vlorpi_slot *slot, vlorpi_chunk_task *after_chunk, void *arg);
/* scratch.bridge = s P_old^T P for the refresh before this one. */
void vlorpi_prepare_bridge(vlorp_optimizer *optimizer, const vlorpi_slot *slot);
/* scratch.bridge (+)= p_old^T p over n rows [n, r] of each. */
void vlorpi_bridge_rows(vlorp_optimizer *optimizer, const vlorpi_slot *slot, const float *p_old, const float *p,
                        int64_t n, bool accumulate);

/* scratch.q part 0 = the lagged sums of S; u_sums too when wanted.  after_chunk, if given, runs for
 * each chunk of u_dim once its sums are taken, on the same thread. */
void vlorpi_projected_sums(vlorp_optimizer *optimizer, const vlorpi_slot *slot, bool want_u_sums,
                           vlorpi_chunk_task *after_chunk, void *arg);

/* What a step's rule needs to know. */
struct vlorpi_step {
    double lr;
    double gradient_scale; /* grad_scale times the clip coefficient */
    int64_t t;             /* from 1 */
};

void vlorpi_projfactor_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_vlorp_os_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_vlorp_ss_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_vlorp_sgd_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_sgd_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_fira_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_apollo_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_apollo_mini_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_flora_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_adamw_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_adamw8bit_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_lomo_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);
void vlorpi_adafactor_step(vlorp_optimizer *optimizer, vlorpi_slot *slot, const vlorpi_step *step);

/* AdamW's numbers for this step. */
vlorpi_adamw vlorpi_adamw_scalars(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, const vlorpi_step *step);

/* The draws of a step for one parameter, or NULL under nearest rounding; *rng is its storage. */
const vlorp_rng *vlorpi_rounding_rng(const vlorp_optimizer *optimizer, const vlorpi_slot *slot, int64_t step,
                                     vlorp_rng *rng);

#endif
