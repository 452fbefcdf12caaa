/* The passes over the weights with vectors, and the table of this level.  Same operations in the
 * same order as optim_elements.h, so the same bits. */
#include "kernel/levels.h"
#include "kernel/optim_elements.h"
#include "kernel/simd/optim_codes_simd.h"
#include "kernel/simd/optim_project.h"

/* Philox of VF_N consecutive blocks (rng.h).  64-bit elements hold one 32-bit word each, upper
 * halves undefined: even blocks in one state, odd ones in the other. */
typedef struct philox_state {
    vq c0, c1, c2, c3;
} philox_state;

static inline vq vq_set(uint64_t x)
{
    return x - (vq){0};
}

static inline philox_state philox_rounds(philox_state x, const uint32_t key[2])
{
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    for (int round = 0; round < 10; round++) {
        vq p0 = vq_mul_low(x.c0, vq_set(0xD2511F53u));
        vq p1 = vq_mul_low(x.c2, vq_set(0xCD9E8D57u));
        x.c0 = (p1 >> 32) ^ x.c1 ^ vq_set(k0);
        x.c1 = p1;
        x.c2 = (p0 >> 32) ^ x.c3 ^ vq_set(k1);
        x.c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

static inline vu interleave(vq even, vq odd)
{
    return (vu)((even & vq_set(0xFFFFFFFFu)) | (odd << 32));
}

static inline void philox(vu words[4], const vlorp_rng *rng, uint32_t first_block, uint32_t row)
{
    vq blocks = (vq)(vi_lanes() + vi_set((int32_t)first_block));
    philox_state even = {blocks, vq_set(row), vq_set(rng->number), vq_set(rng->stream)};
    philox_state odd = even;
    odd.c0 = blocks >> 32;
    even = philox_rounds(even, rng->key);
    odd = philox_rounds(odd, rng->key);
    words[0] = interleave(even.c0, odd.c0);
    words[1] = interleave(even.c1, odd.c1);
    words[2] = interleave(even.c2, odd.c2);
    words[3] = interleave(even.c3, odd.c3);
}

/* Stores x as bf16, adding draw to the half that is cut; NaN and infinity are kept as they are. */
static inline void store_drawn(uint16_t *w, vf x, vu draw)
{
    vu u = (vu)x;
    vi special = (vi)((u & (vu)vi_set(0x7F800000)) == (vu)vi_set(0x7F800000));
    vi nan = (vi)((u & (vu)vi_set(0x7FFFFFFF)) > (vu)vi_set(0x7F800000));
    u += draw & ~(vu)special;
    u |= (vu)nan & (vu)vi_set(0x00400000);
    vu_store_high16(w, u);
}

static inline vu nearest_draw(vf x)
{
    return ((vu)vi_set(0x7FFF)) + (((vu)x >> 16) & (vu)vi_set(1));
}

/* What the walk over a bf16 row does with VF_N elements from column j, and with one. */
typedef vf vector_step(void *arg, vf w, int64_t j);
typedef float element_step(void *arg, float w, int64_t j);

/* Walks a row in groups of VLORPI_OPTIM_DRAWS columns, the unit in which rng.h lays out the draws:
 * lane l of word h / 2 serves column 16 h + l. */
static inline __attribute__((always_inline)) void walk_bf16(uint16_t *w, int64_t n, vlorpi_rounding rounding,
                                                            int64_t col0, vector_step *vector, element_step *element,
                                                            void *arg)
{
    for (int64_t group = 0; group < n; group += VLORPI_OPTIM_DRAWS) {
        for (int part = 0; part < 16; part += VF_N) {
            vu words[4] = {(vu){0}};
            if (rounding.rng != NULL) {
                philox(words, rounding.rng, (uint32_t)((col0 + group) / 8 + part), rounding.row);
            }
            for (int h = 0; h < 8; h++) {
                int64_t j = group + 16 * h + part;
                if (j + VF_N > n) {
                    break;
                }
                vf x = vector(arg, vf_load_bf16(w + j), j);
                vu draw = nearest_draw(x);
                if (rounding.rng != NULL) {
                    draw = h % 2 == 0 ? words[h / 2] & (vu)vi_set(0xFFFF) : words[h / 2] >> 16;
                }
                store_drawn(w + j, x, draw);
            }
        }
    }
    for (int64_t j = n / VF_N * VF_N; j < n; j++) {
        w[j] = vlorpi_round_bf16(element(arg, vlorpi_bf16_to_f32(w[j]), j), rounding, col0 + j);
    }
}

static inline vf updated(vf w, vf mh, vf b, vlorpi_update u)
{
    vf kept = w - vf_set(u.shrink) * w;
    vf moved = kept - vf_set(u.step) * mh / (vf_set(u.a) * b + vf_set(u.eps));
    return moved - vf_set(u.decay) * moved;
}

static void update_f32(float *w, const float *mh, const float *b, vlorpi_update u, int64_t n)
{
    int64_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf_store(w + j, updated(vf_load(w + j), vf_load(mh + j), vf_load(b + j), u));
    }
    for (; j < n; j++) {
        w[j] = vlorpi_updated(w[j], mh[j], b[j], u);
    }
}

typedef struct update_row {
    const float *mh, *b;
    vlorpi_update u;
} update_row;

static inline vf update_vector(void *arg, vf w, int64_t j)
{
    const update_row *row = arg;
    return updated(w, vf_load(row->mh + j), vf_load(row->b + j), row->u);
}

static inline float update_element(void *arg, float w, int64_t j)
{
    const update_row *row = arg;
    return vlorpi_updated(w, row->mh[j], row->b[j], row->u);
}

static void update_bf16(uint16_t *w, const float *mh, const float *b, vlorpi_update u, int64_t n,
                        vlorpi_rounding rounding, int64_t col0)
{
    update_row row = {mh, b, u};
    walk_bf16(w, n, rounding, col0, update_vector, update_element, &row);
}

static void moment(float *m, float *g, float beta, float a, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(m + i, vf_set(beta) * vf_load(m + i) + vf_set(a) * vf_load(g + i));
        vf_store(g + i, vf_zero());
    }
    for (; i < n; i++) {
        m[i] = beta * m[i] + a * g[i];
        g[i] = 0;
    }
}

static void adam_moments(float *m, float *v, const float *g, float beta1, float a1, float beta2, float a2, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf x = vf_load(g + i);
        vf_store(m + i, vf_set(beta1) * vf_load(m + i) + vf_set(a1) * x);
        vf_store(v + i, vf_set(beta2) * vf_load(v + i) + vf_set(a2) * (x * x));
    }
    for (; i < n; i++) {
        m[i] = beta1 * m[i] + a1 * g[i];
        v[i] = beta2 * v[i] + a2 * (g[i] * g[i]);
    }
}

static void adam_direction(float *y, const float *m, const float *v, float eps, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_load(m + i) / (vf_sqrt(vf_load(v + i)) + vf_set(eps)));
    }
    for (; i < n; i++) {
        y[i] = m[i] / (sqrtf(v[i]) + eps);
    }
}

typedef struct stored_row {
    const float *x;
} stored_row;

static inline vf stored_vector(void *arg, vf w, int64_t j)
{
    (void)w;
    return vf_load(((const stored_row *)arg)->x + j);
}

static inline float stored_element(void *arg, float w, int64_t j)
{
    (void)w;
    return ((const stored_row *)arg)->x[j];
}

/* What the walk reads of y itself goes unused. */
static void store_bf16(uint16_t *y, const float *x, int64_t n, vlorpi_rounding rounding, int64_t col0)
{
    stored_row row = {x};
    walk_bf16(y, n, rounding, col0, stored_vector, stored_element, &row);
}

static void root(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_sqrt(vf_load(x + i)));
    }
    for (; i < n; i++) {
        y[i] = sqrtf(x[i]);
    }
}

typedef struct adamw_row {
    float *m, *v, *g;
    vlorpi_adamw u;
} adamw_row;

static inline vf adamw_vector(void *arg, vf w, int64_t j)
{
    const adamw_row *row = arg;
    vlorpi_adamw u = row->u;
    vf grad = vf_load(row->g + j) * vf_set(u.grad_scale);
    vf m = vf_set(u.beta1) * vf_load(row->m + j) + vf_set(u.fresh1) * grad;
    vf v = vf_set(u.beta2) * vf_load(row->v + j) + vf_set(u.fresh2) * (grad * grad);
    vf_store(row->m + j, m);
    vf_store(row->v + j, v);
    vf_store(row->g + j, vf_zero());
    vf kept = w - vf_set(u.decay) * w;
    return kept - vf_set(u.step) * m / (vf_sqrt(v) * vf_set(u.rsqrt_bc2) + vf_set(u.eps));
}

static inline float adamw_element(void *arg, float w, int64_t j)
{
    const adamw_row *row = arg;
    return vlorpi_adamw_element(w, row->m + j, row->v + j, row->g + j, row->u);
}

static void adamw_f32(float *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n)
{
    adamw_row row = {m, v, g, u};
    int64_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf_store(w + j, adamw_vector(&row, vf_load(w + j), j));
    }
    for (; j < n; j++) {
        w[j] = adamw_element(&row, w[j], j);
    }
}

static void adamw_bf16(uint16_t *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n, vlorpi_rounding rounding,
                       int64_t col0)
{
    adamw_row row = {m, v, g, u};
    walk_bf16(w, n, rounding, col0, adamw_vector, adamw_element, &row);
}

const vlorpi_optim_kernels NAME(vlorpi_optim_kernels) = {
    .project_right = NAME(vlorpi_project_right),
    .project_left = NAME(vlorpi_project_left),
    .axpy = NAME(vlorpi_axpy),
    .sums_right = NAME(vlorpi_sums_right),
    .sums_left = NAME(vlorpi_sums_left),
    .quadratic = NAME(vlorpi_quadratic),
    .moment = moment,
    .adam_moments = adam_moments,
    .adam_direction = adam_direction,
    .store_bf16 = store_bf16,
    .backproject_right = NAME(vlorpi_backproject_right),
    .backproject_left = NAME(vlorpi_backproject_left),
    .update_f32 = update_f32,
    .update_bf16 = update_bf16,
    .adamw_f32 = adamw_f32,
    .adamw_bf16 = adamw_bf16,
    .adamw8_block = NAME(vlorpi_adamw8_block),
    .add_squares = NAME(vlorpi_add_squares),
    .sum_ratio_squares = NAME(vlorpi_sum_ratio_squares),
    .root = root,
    .sum = NAME(vlorpi_sum),
    .sum_squares = NAME(vlorpi_sum_squares),
};
