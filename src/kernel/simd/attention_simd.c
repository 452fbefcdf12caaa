/* Attention in tiles of BQ queries by BK keys.
 *
 * Scores are kept transposed: one row per key, the queries of a strip side by side in vectors.  So
 * the softmax of all queries of a strip runs down the rows without a horizontal operation, K and V
 * are used where they lie (broadcast, or as rows), and only the query tile is packed, transposed.
 * Keys beyond a strip's last query are not computed; at the diagonal the rest is masked.
 *
 * The key tiles of a query tile start at the first key that its first query sees.  With a window the
 * first tile, and no later one, holds keys that have left the window of later queries: they are masked
 * too.  Every query sees a key of the first tile, since that has at least as many keys as there are
 * queries, so no running maximum stays infinite.
 */
#include <assert.h>
#include <math.h>

#include "kernel/simd/model_simd.h"
#include "kernel/simd/tile_product.h"

enum {
    STRIP = TILE_VECS * VF_N,             /* queries side by side */
    BQ = 64,                              /* queries of a tile, a multiple of STRIP */
    BK = TILE_ROWS * (64 / TILE_ROWS + (64 % TILE_ROWS != 0)), /* keys of a tile */
    FEW_QUERIES = 3                       /* up to here a strip would be mostly empty */
};

_Static_assert(BQ % STRIP == 0, "a query tile is whole strips");
_Static_assert(BK >= BQ, "every query sees a key of the first tile");

/* Where a query tile's pieces lie in the scratch.  E_pad is E rounded up to whole vectors. */
typedef struct tile_space {
    float *q_t, *do_t;          /* [BQ / STRIP][E][STRIP]: transposed queries, output gradients */
    float *p_t, *ds_t;          /* [BK][BQ]: probabilities and score gradients, transposed */
    float *out, *dk, *dv;       /* [BQ][E_pad] and [BK][E_pad]: results of the tile */
    float *k_pad, *v_pad;       /* [BK][E_pad], used only when E is not whole vectors or keys lie apart */
    float *q_pad, *do_pad;      /* [BQ][E_pad], used only when E is not whole vectors */
    float *row;                 /* 2 x [BQ]: maximum and sum, or lse and delta */
    int64_t E_pad;
} tile_space;

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : min_i64(x, high);
}

int64_t NAME(vlorpi_attention_scratch_floats)(int64_t E)
{
    return (2 * BK + 2 * BQ + 5 * BQ + 4 * BK) * round_up(E, 16) + 2 * BK * BQ + 2 * BQ;
}

static tile_space tile_space_cut(float *scratch, int64_t E)
{
    tile_space s = {.E_pad = round_up(E, VF_N)};
    int64_t unit = round_up(E, 16);
    float **const query_sized[] = {&s.q_t, &s.do_t, &s.out, &s.q_pad, &s.do_pad};
    float **const key_sized[] = {&s.dk, &s.dv, &s.k_pad, &s.v_pad};
    for (size_t i = 0; i < sizeof query_sized / sizeof query_sized[0]; i++) {
        *query_sized[i] = scratch;
        scratch += BQ * unit;
    }
    for (size_t i = 0; i < sizeof key_sized / sizeof key_sized[0]; i++) {
        *key_sized[i] = scratch;
        scratch += BK * unit;
    }
    s.p_t = scratch;
    s.ds_t = s.p_t + BK * BQ;
    s.row = s.ds_t + BK * BQ;
    return s;
}

/* y[x * ldy + r] = scale * x_rows[r * ldx + x] for 4 rows and 4 columns. */
static inline void transpose_quad(float *y, int64_t ldy, const float *x, int64_t ldx, float scale)
{
    vec_quad r[4];
    for (int i = 0; i < 4; i++) {
        memcpy(&r[i], x + i * ldx, sizeof r[i]);
        r[i] *= scale;
    }
    vec_quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    vec_quad b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    vec_quad c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    vec_quad d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    vec_quad t[4] = {__builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
                     __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
    for (int i = 0; i < 4; i++) {
        memcpy(y + i * ldy, &t[i], sizeof t[i]);
    }
}

/* Packs n rows as strips: y[s][e][i] = scale * x[(s * STRIP + i) * ldx + e]; absent queries are zero. */
static void pack_strips(float *y, const float *x, int64_t ldx, int64_t n, int64_t E, float scale)
{
    for (int64_t first = 0; first < n; first += STRIP) {
        float *panel = y + first * E;
        int64_t here = min_i64(STRIP, n - first);
        if (here < STRIP) {
            memset(panel, 0, (size_t)(E * STRIP) * sizeof *panel);
        }
        for (int64_t i = 0; i < here; i += 4) {
            const float *rows = x + (first + i) * ldx;
            int64_t e = 0;
            for (; here - i >= 4 && e + 4 <= E; e += 4) {
                transpose_quad(panel + e * STRIP + i, STRIP, rows + e, ldx, scale);
            }
            for (; e < E; e++) {
                for (int64_t r = 0; r < min_i64(4, here - i); r++) {
                    panel[e * STRIP + i + r] = scale * rows[r * ldx + e];
                }
            }
        }
    }
}

/* Row i of a tile padded with zeros. */
static void pad_row(float *pad, int64_t i, const float *x, const tile_space *s, int64_t E)
{
    memcpy(pad + i * s->E_pad, x, (size_t)E * sizeof *x);
    memset(pad + i * s->E_pad + E, 0, (size_t)(s->E_pad - E) * sizeof *x);
}

/* Rows that vectors can read whole: x itself, or a copy padded with zeros. */
static const float *whole_rows(int64_t *ld, float *pad, const float *x, int64_t ldx, int64_t n, const tile_space *s,
                               int64_t E)
{
    if (s->E_pad == E) {
        *ld = ldx;
        return x;
    }
    for (int64_t i = 0; i < n; i++) {
        pad_row(pad, i, x + i * ldx, s, E);
    }
    *ld = s->E_pad;
    return pad;
}

/* Whether keys k0 .. k0 + n - 1 lie one after the other. */
static bool is_run(const vlorpi_attention_shape *shape, int64_t k0, int64_t n)
{
    for (int64_t j = 1; shape->key_rows != NULL && j < n; j++) {
        if (shape->key_rows[k0 + j] != shape->key_rows[k0] + j) {
            return false;
        }
    }
    return true;
}

/* The rows of keys k0 .. k0 + n - 1 in k or v (x), one after the other and whole; gathered where they lie apart. */
static const float *key_tile(int64_t *ld, float *pad, const float *x, int64_t ldx, const vlorpi_attention_shape *shape,
                             int64_t k0, int64_t n, const tile_space *s)
{
    if (is_run(shape, k0, n)) {
        return whole_rows(ld, pad, x + vlorpi_attention_key_row(shape, k0) * ldx, ldx, n, s, shape->E);
    }
    for (int64_t j = 0; j < n; j++) {
        pad_row(pad, j, x + shape->key_rows[k0 + j] * ldx, s, shape->E);
    }
    *ld = s->E_pad;
    return pad;
}

/* y[r, e] (+)= x[r, e] of n rows, x with rows of E_pad. */
static void put_rows(float *y, int64_t ldy, bool accumulate, const float *x, int64_t E_pad, int64_t n, int64_t E)
{
    for (int64_t r = 0; r < n; r++) {
        const float *x_e = x + r * E_pad;
        float *y_e = y + r * ldy;
        int64_t e = 0;
        for (; e + VF_N <= E; e += VF_N) {
            vf_store(y_e + e, accumulate ? vf_load(y_e + e) + vf_load(x_e + e) : vf_load(x_e + e));
        }
        for (; e < E; e++) {
            y_e[e] = accumulate ? y_e[e] + x_e[e] : x_e[e];
        }
    }
}

/* One strip against one key tile, seen from its first query; keys count from the tile's first. */
typedef struct strip_view {
    int64_t n_keys;               /* up to the last key of the tile that any query of the strip sees */
    int64_t free_begin, free_end; /* the keys that all queries see; the others are masked lane by lane */
    int64_t n_vec;                /* vectors of queries in use */
    int64_t first_begin, first_end; /* the first query sees [first_begin, first_end), each later one a key more at
                                     * the end; first_begin, as if there were keys before the first one */
} strip_view;

/* i: the strip's first query; n: queries left from there; k0, n_keys: the key tile. */
static strip_view strip_against(const vlorpi_attention_shape *shape, int64_t i, int64_t n, int64_t k0, int64_t n_keys)
{
    strip_view view = {.n_vec = n > VF_N ? TILE_VECS : 1};
    int64_t last = min_i64(n, STRIP) - 1;
    view.first_end = shape->q_offset + i + 1 - k0;
    /* the window, or where there is none one that reaches back before key 0 for all queries */
    int64_t window = shape->window > 0 ? shape->window : shape->q_offset + shape->n_q;
    view.first_begin = view.first_end - window;
    view.n_keys = clamp(view.first_end + last, 0, n_keys);
    view.free_end = clamp(view.first_end, 0, view.n_keys);
    view.free_begin = clamp(vlorpi_attention_first(shape, i + last) - k0, 0, view.free_end);
    return view;
}

/* True in the lanes of vector v whose query sees key j. */
static inline vi sees(int64_t j, const strip_view *view, int64_t v)
{
    vi queries = vi_lanes() + vi_set((int32_t)(v * VF_N));
    return (queries > vi_set((int32_t)(j - view->first_end))) & (queries <= vi_set((int32_t)(j - view->first_begin)));
}

/* Scores of keys [begin, end) that a query does not see become minus infinity; the maximum goes on. */
static inline vf mask_scores(vf m, float *s, int64_t begin, int64_t end, const strip_view *view, int64_t v)
{
    for (int64_t j = begin; j < end; j++) {
        vf masked = vf_select(sees(j, view, v), vf_load(s + j * STRIP), vf_set(-INFINITY));
        vf_store(s + j * STRIP, masked);
        m = vf_max(masked, m);
    }
    return m;
}

/* Scores to probabilities below the running maximum; corr: what earlier sums and outputs shrink by. */
static void softmax_strip(float *s_t, const strip_view *view, bool first_tile, float *maximum, float *sum, float *corr)
{
    for (int64_t v = 0; v < view->n_vec; v++) {
        float *s = s_t + v * VF_N;
        vf old = first_tile ? vf_set(-INFINITY) : vf_load(maximum + v * VF_N);
        vf m = mask_scores(old, s, 0, view->free_begin, view, v);
        for (int64_t j = view->free_begin; j < view->free_end; j++) {
            m = vf_max(vf_load(s + j * STRIP), m);
        }
        m = mask_scores(m, s, view->free_end, view->n_keys, view, v);
        vf shrink = first_tile ? vf_zero() : vf_exp(old - m);
        vf total = first_tile ? vf_zero() : vf_load(sum + v * VF_N) * shrink;
        for (int64_t j = 0; j < view->n_keys; j++) {
            vf p = vf_exp(vf_load(s + j * STRIP) - m);
            vf_store(s + j * STRIP, p);
            total += p;
        }
        vf_store(maximum + v * VF_N, m);
        vf_store(sum + v * VF_N, total);
        vf_store(corr + v * VF_N, shrink);
    }
}

static void scale_rows(float *x, int64_t E_pad, const float *factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (factor[i] != 1.0f) {
            for (int64_t e = 0; e < E_pad; e += VF_N) {
                vf_store(x + i * E_pad + e, vf_load(x + i * E_pad + e) * vf_set(factor[i]));
            }
        }
    }
}

/* Queries i0 .. i0 + n - 1, n <= BQ. */
static void forward_tile(float *o, float *lse, const float *q, const float *k, const float *v,
                         const vlorpi_attention_shape *shape, const tile_space *s, int64_t i0, int64_t n)
{
    int64_t E = shape->E;
    int64_t n_seen = shape->q_offset + i0 + n;
    int64_t first = vlorpi_attention_first(shape, i0);
    float *maximum = s->row;
    float *sum = s->row + BQ;
    pack_strips(s->q_t, q + i0 * shape->ldq, shape->ldq, n, E, shape->scale);
    for (int64_t k0 = first; k0 < n_seen; k0 += BK) {
        int64_t n_keys = min_i64(BK, n_seen - k0);
        int64_t ldk;
        int64_t ldv;
        const float *k_rows = key_tile(&ldk, s->k_pad, k, shape->ldk, shape, k0, n_keys, s);
        const float *v_rows = key_tile(&ldv, s->v_pad, v, shape->ldv, shape, k0, n_keys, s);
        for (int64_t i = 0; i < n; i += STRIP) {
            strip_view view = strip_against(shape, i0 + i, n - i, k0, n_keys);
            if (view.n_keys == 0) {
                continue;
            }
            int64_t n_here = min_i64(STRIP, n - i);
            float corr[STRIP];
            tile_product_rows(s->p_t, STRIP, false, k_rows, ldk, s->q_t + i * E, STRIP, view.n_keys, view.n_vec, E);
            softmax_strip(s->p_t, &view, k0 == first, maximum + i, sum + i, corr);
            float *out = s->out + i * s->E_pad;
            if (k0 != first) {
                scale_rows(out, s->E_pad, corr, n_here);
            }
            tile_product_columns(out, s->E_pad, k0 != first, s->p_t, STRIP, v_rows, ldv, n_here, s->E_pad / VF_N,
                                 view.n_keys);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (lse != NULL) {
            lse[i0 + i] = maximum[i] + logf(sum[i]);
        }
        sum[i] = 1.0f / sum[i];
    }
    scale_rows(s->out, s->E_pad, sum, n);
    put_rows(o + i0 * shape->ldo, shape->ldo, false, s->out, s->E_pad, n, E);
}

static float dot(const float *a, const float *b, int64_t n)
{
    vf sum[2] = {vf_zero(), vf_zero()};
    int64_t i = 0;
    for (; i + 2 * VF_N <= n; i += 2 * VF_N) {
        sum[0] = vf_fma(vf_load(a + i), vf_load(b + i), sum[0]);
        sum[1] = vf_fma(vf_load(a + i + VF_N), vf_load(b + i + VF_N), sum[1]);
    }
    for (; i + VF_N <= n; i += VF_N) {
        sum[0] = vf_fma(vf_load(a + i), vf_load(b + i), sum[0]);
    }
    if (i < n) {
        sum[1] = vf_fma(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i), sum[1]);
    }
    return vf_sum(sum[0] + sum[1]);
}

/* One query alone, which sees keys [first, end): generation with a cache of keys and values. */
static void forward_row(float *o, float *lse, const float *q, const float *k, const float *v,
                        const vlorpi_attention_shape *shape, const tile_space *s, int64_t first, int64_t end)
{
    int64_t E = shape->E;
    float *p = s->p_t;
    vf m = vf_set(-INFINITY);
    vf sum = vf_zero();
    for (int64_t k0 = first; k0 < end; k0 += BQ) {
        int64_t n_keys = min_i64(BQ, end - k0);
        for (int64_t j = 0; j < BQ; j++) {
            p[j] = j < n_keys ? shape->scale * dot(q, k + vlorpi_attention_key_row(shape, k0 + j) * shape->ldk, E)
                              : -INFINITY;
        }
        vf tile_max = vf_load(p);
        for (int64_t j = VF_N; j < BQ; j += VF_N) {
            tile_max = vf_max(vf_load(p + j), tile_max);
        }
        vf old = m;
        m = vf_max(vf_set(vf_hmax(tile_max)), m);
        float shrink = vf_exp(old - m)[0];
        sum *= vf_set(shrink);
        for (int64_t j = 0; j < BQ; j += VF_N) {
            vf e = vf_exp(vf_load(p + j) - m);
            vf_store(p + j, e);
            sum += e;
        }
        int64_t ld;
        const float *v_rows = key_tile(&ld, s->v_pad, v, shape->ldv, shape, k0, n_keys, s);
        if (k0 != first) {
            scale_rows(s->out, s->E_pad, &shrink, 1);
        }
        tile_product_rows(s->out, s->E_pad, k0 != first, p, BQ, v_rows, ld, 1, s->E_pad / VF_N, n_keys);
    }
    float total = vf_sum(sum);
    float inverse = 1.0f / total;
    scale_rows(s->out, s->E_pad, &inverse, 1);
    put_rows(o, shape->ldo, false, s->out, s->E_pad, 1, E);
    if (lse != NULL) {
        *lse = m[0] + logf(total);
    }
}

void NAME(vlorpi_attention_fwd)(float *o, float *lse, const float *q, const float *k, const float *v,
                                const vlorpi_attention_shape *shape, float *scratch)
{
    assert(shape->q_offset >= 0 && shape->q_offset + shape->n_q <= shape->n_kv);
    tile_space s = tile_space_cut(scratch, shape->E);
    if (shape->n_q <= FEW_QUERIES) {
        for (int64_t i = 0; i < shape->n_q; i++) {
            int64_t first = vlorpi_attention_first(shape, i);
            forward_row(o + i * shape->ldo, lse != NULL ? lse + i : NULL, q + i * shape->ldq, k, v, shape, &s, first,
                        shape->q_offset + i + 1);
        }
        return;
    }
    for (int64_t i0 = 0; i0 < shape->n_q; i0 += BQ) {
        forward_tile(o, lse, q, k, v, shape, &s, i0, min_i64(BQ, shape->n_q - i0));
    }
}

/* p = exp(score - lse) and ds = p (dp - delta) scale, in place of scores and dp; unseen keys get 0. */
static void gradient_strip(float *p_t, float *ds_t, const strip_view *view, int64_t n_rows, const float *lse,
                           const float *delta, float scale)
{
    for (int64_t v = 0; v < TILE_VECS; v++) {
        float *p_v = p_t + v * VF_N;
        float *ds_v = ds_t + v * VF_N;
        int64_t n_keys = v < view->n_vec ? view->n_keys : 0;
        vf l = vf_load(lse + v * VF_N);
        vf d = vf_load(delta + v * VF_N);
        for (int64_t j = 0; j < n_keys; j++) {
            vf p = vf_exp(vf_load(p_v + j * BQ) - l);
            vf ds = p * (vf_load(ds_v + j * BQ) - d) * vf_set(scale);
            if (j < view->free_begin || j >= view->free_end) {
                vi mask = sees(j, view, v);
                p = vf_select(mask, p, vf_zero());
                ds = vf_select(mask, ds, vf_zero());
            }
            vf_store(p_v + j * BQ, p);
            vf_store(ds_v + j * BQ, ds);
        }
        for (int64_t j = n_keys; j < n_rows; j++) {
            vf_store(p_v + j * BQ, vf_zero());
            vf_store(ds_v + j * BQ, vf_zero());
        }
    }
}

/* The rows that a query tile's gradients are made of. */
typedef struct query_rows {
    const float *q, *d_o; /* whole vectors wide, strides ldq and ldo */
    int64_t ldq, ldo;
} query_rows;

/* One key tile against the query tile that s holds: dk and dv of the tile, and its part of dq. */
static void backward_pair(float *dk, float *dv, const float *k, const float *v, const query_rows *rows,
                          const vlorpi_attention_shape *shape, const tile_space *s, int64_t i0, int64_t n, int64_t k0,
                          int64_t n_keys)
{
    bool first_tile = k0 == vlorpi_attention_first(shape, i0);
    int64_t E = shape->E;
    int64_t n_vec = s->E_pad / VF_N;
    for (int64_t i = 0; i < n; i += STRIP) {
        strip_view view = strip_against(shape, i0 + i, n - i, k0, n_keys);
        tile_product_rows(s->p_t + i, BQ, false, k, shape->ldk, s->q_t + i * E, STRIP, view.n_keys, view.n_vec, E);
        tile_product_rows(s->ds_t + i, BQ, false, v, shape->ldv, s->do_t + i * E, STRIP, view.n_keys, view.n_vec, E);
        gradient_strip(s->p_t + i, s->ds_t + i, &view, n_keys, s->row + i, s->row + BQ + i, shape->scale);
    }
    int64_t seen_by_first = shape->q_offset + i0 + 1 - k0;
    for (int64_t j = 0; j < n_keys; j += TILE_ROWS) {
        /* the first query that sees any of these keys; all products of earlier ones are zero */
        int64_t from = j < seen_by_first ? 0 : j - seen_by_first + 1;
        int64_t here = min_i64(TILE_ROWS, n_keys - j);
        tile_product_rows(s->dv + j * s->E_pad, s->E_pad, false, s->p_t + j * BQ + from, BQ,
                          rows->d_o + from * rows->ldo, rows->ldo, here, n_vec, n - from);
        tile_product_rows(s->dk + j * s->E_pad, s->E_pad, false, s->ds_t + j * BQ + from, BQ,
                          rows->q + from * rows->ldq, rows->ldq, here, n_vec, n - from);
    }
    put_rows(dv, shape->ldv, true, s->dv, s->E_pad, n_keys, E);
    put_rows(dk, shape->ldk, true, s->dk, s->E_pad, n_keys, E);
    int64_t ldk;
    const float *k_rows = whole_rows(&ldk, s->k_pad, k, shape->ldk, n_keys, s, E);
    for (int64_t i = 0; i < n; i += TILE_ROWS) {
        int64_t here = min_i64(TILE_ROWS, n - i);
        int64_t seen = min_i64(seen_by_first + i + here - 1, n_keys);
        if (seen > 0) {
            tile_product_columns(s->out + i * s->E_pad, s->E_pad, !first_tile, s->ds_t + i, BQ, k_rows, ldk, here,
                                 n_vec, seen);
        }
    }
}

void NAME(vlorpi_attention_bwd)(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v,
                                const float *o, const float *d_o, const float *lse,
                                const vlorpi_attention_shape *shape, float *scratch)
{
    assert(shape->q_offset >= 0 && shape->q_offset + shape->n_q <= shape->n_kv && shape->key_rows == NULL);
    int64_t E = shape->E;
    tile_space s = tile_space_cut(scratch, E);
    for (int64_t i0 = 0; i0 < shape->n_q; i0 += BQ) {
        int64_t n = min_i64(BQ, shape->n_q - i0);
        const float *q_i = q + i0 * shape->ldq;
        const float *do_i = d_o + i0 * shape->ldo;
        query_rows rows;
        rows.q = whole_rows(&rows.ldq, s.q_pad, q_i, shape->ldq, n, &s, E);
        rows.d_o = whole_rows(&rows.ldo, s.do_pad, do_i, shape->ldo, n, &s, E);
        pack_strips(s.q_t, q_i, shape->ldq, n, E, shape->scale);
        pack_strips(s.do_t, do_i, shape->ldo, n, E, 1.0f);
        memset(s.row, 0, 2 * BQ * sizeof *s.row);
        for (int64_t i = 0; i < n; i++) {
            s.row[i] = lse[i0 + i];
            s.row[BQ + i] = dot(do_i + i * shape->ldo, o + (i0 + i) * shape->ldo, E);
        }
        int64_t n_seen = shape->q_offset + i0 + n;
        for (int64_t k0 = vlorpi_attention_first(shape, i0); k0 < n_seen; k0 += BK) {
            backward_pair(dk + k0 * shape->ldk, dv + k0 * shape->ldv, k + k0 * shape->ldk, v + k0 * shape->ldv, &rows,
                          shape, &s, i0, n, k0, min_i64(BK, n_seen - k0));
        }
        put_rows(dq + i0 * shape->ldq, shape->ldq, false, s.out, s.E_pad, n, E);
    }
}
