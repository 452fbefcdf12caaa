#include "eval/sample.h"

#include <math.h>
#include <stdbool.h>

#include <vlorp/rng.h>

/* A heap of token ids, the likeliest (the lowest id among equals) on top: taking the k likeliest
 * costs V + k log V, and what is not taken is never sorted. */
typedef struct heap {
    const float *logits;
    int32_t *ids;
    int64_t n;
} heap;

static bool comes_first(const heap *h, int32_t a, int32_t b)
{
    return h->logits[a] > h->logits[b] || (h->logits[a] == h->logits[b] && a < b);
}

static void sift_down(heap *h, int64_t i)
{
    for (;;) {
        int64_t first = i;
        for (int64_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < h->n && comes_first(h, h->ids[child], h->ids[first])) {
                first = child;
            }
        }
        if (first == i) {
            return;
        }
        int32_t id = h->ids[i];
        h->ids[i] = h->ids[first];
        h->ids[first] = id;
        i = first;
    }
}

static int32_t pop(heap *h)
{
    int32_t top = h->ids[0];
    h->ids[0] = h->ids[--h->n];
    h->ids[h->n] = top; /* taken ids gather at the end, the likeliest last */
    sift_down(h, 0);
    return top;
}

size_t vlorpi_sample_scratch_bytes(int64_t V)
{
    return (size_t)V * sizeof(int32_t);
}

static int32_t likeliest(const float *logits, int64_t V)
{
    int64_t best = 0;
    for (int64_t i = 1; i < V; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

/* Weight of a token relative to the likeliest one. */
static double weight(const vlorpi_sampling *s, const float *logits, int32_t id, float top)
{
    return exp(((double)logits[id] - (double)top) / s->temperature);
}

/* The token at which the running sum of weights first exceeds u * the whole sum. */
static int32_t draw_from_all(const vlorpi_sampling *s, const float *logits, int64_t V, double u)
{
    float top = logits[likeliest(logits, V)];
    double total = 0;
    for (int64_t i = 0; i < V; i++) {
        total += weight(s, logits, (int32_t)i, top);
    }
    double left = u * total;
    int32_t last = 0; /* where rounding leaves a hair: the last token that has a weight */
    for (int64_t i = 0; i < V; i++) {
        double w = weight(s, logits, (int32_t)i, top);
        last = w > 0 ? (int32_t)i : last;
        left -= w;
        if (left < 0) {
            return (int32_t)i;
        }
    }
    return last;
}

/* Cuts by top_k, then by top_p, and draws from what is left. */
static int32_t draw_from_likeliest(const vlorpi_sampling *s, const float *logits, int64_t V, double u, int32_t *ids)
{
    heap h = {.logits = logits, .ids = ids, .n = V};
    for (int64_t i = 0; i < V; i++) {
        ids[i] = (int32_t)i;
    }
    for (int64_t i = V / 2 - 1; i >= 0; i--) {
        sift_down(&h, i);
    }
    float top = logits[ids[0]];
    bool cut_by_k = s->top_k > 0 && s->top_k < V;
    int64_t n_candidates = cut_by_k ? s->top_k : V;
    double total = 0;
    for (int64_t i = 0; i < n_candidates; i++) {
        total += weight(s, logits, cut_by_k ? pop(&h) : (int32_t)i, top);
    }
    double kept = 0;
    int64_t n = 0;
    while (n < n_candidates && (n == 0 || kept < s->top_p * total)) {
        kept += weight(s, logits, cut_by_k ? ids[V - 1 - n] : pop(&h), top);
        n++;
    }
    double left = u * kept;
    for (int64_t i = 0; i < n; i++) {
        left -= weight(s, logits, ids[V - 1 - i], top);
        if (left < 0) {
            return ids[V - 1 - i];
        }
    }
    return ids[V - n];
}

int32_t vlorpi_sample(const vlorpi_sampling *sampling, const float *logits, int64_t V, uint64_t index, void *scratch)
{
    if (sampling->temperature <= 0) {
        return likeliest(logits, V);
    }
    vlorp_rng rng = vlorp_rng_make(sampling->seed, vlorp_rng_hash("generate"), VLORP_STREAM_SAMPLING, 0);
    double u = vlorp_rng_uniform(&rng, index);
    bool cuts = (sampling->top_k > 0 && sampling->top_k < V) || sampling->top_p < 1;
    return cuts ? draw_from_likeliest(sampling, logits, V, u, scratch) : draw_from_all(sampling, logits, V, u);
}
