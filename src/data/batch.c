#include "data/batch.h"

#include <assert.h>

#include "data/order.h"

void vlorpi_batch_layout(vlorpi_token_batch *batch, vlorpi_arena *arena, int64_t max_tokens, int64_t max_segments)
{
    *batch = (vlorpi_token_batch){.max_tokens = max_tokens, .max_segments = max_segments};
    batch->ids = vlorpi_arena_push(arena, max_tokens, sizeof batch->ids[0]);
    batch->positions = vlorpi_arena_push(arena, max_tokens, sizeof batch->positions[0]);
    batch->targets = vlorpi_arena_push(arena, max_tokens, sizeof batch->targets[0]);
    batch->segment_begin = vlorpi_arena_push(arena, max_segments + 1, sizeof batch->segment_begin[0]);
}

void vlorpi_batch_clear(vlorpi_token_batch *batch)
{
    batch->n_tokens = 0;
    batch->n_segments = 0;
    batch->n_targets = 0;
    batch->segment_begin[0] = 0;
}

bool vlorpi_batch_add(vlorpi_token_batch *batch, const vlorpi_example *example)
{
    if (batch->n_segments == batch->max_segments || example->n_tokens > batch->max_tokens - batch->n_tokens) {
        return false;
    }
    for (int64_t t = 0; t < example->n_tokens; t++) {
        int64_t at = batch->n_tokens + t;
        int32_t target = vlorpi_example_target(example, t);
        batch->ids[at] = vlorpi_example_id(example, t);
        batch->positions[at] = (int32_t)t;
        batch->targets[at] = target;
        batch->n_targets += target >= 0;
    }
    batch->n_tokens += example->n_tokens;
    batch->segment_begin[++batch->n_segments] = (int32_t)batch->n_tokens;
    return true;
}

/* Reads the stream place by place; the epoch's order is made once per epoch. */
typedef struct stream_reader {
    const vlorpi_dataset *dataset;
    uint64_t seed;
    int64_t longest; /* longer examples are cut */
    int64_t epoch;
    vlorpi_order order;
} stream_reader;

static stream_reader open_stream(const vlorpi_dataset *dataset, uint64_t seed)
{
    return (stream_reader){.dataset = dataset, .seed = seed, .longest = INT64_MAX, .epoch = -1};
}

static vlorpi_example read_stream(stream_reader *reader, int64_t index)
{
    int64_t n = vlorpi_dataset_n_examples(reader->dataset);
    if (index / n != reader->epoch) {
        reader->epoch = index / n;
        reader->order = vlorpi_order_make(n, reader->seed, VLORP_STREAM_SHUFFLE, (uint64_t)reader->epoch);
    }
    vlorpi_example example = vlorpi_dataset_example(reader->dataset, vlorpi_order_at(&reader->order, index % n));
    example.n_tokens = example.n_tokens < reader->longest ? example.n_tokens : reader->longest;
    return example;
}

/* The first place behind the micro-batch that begins at place; batch NULL: it is only measured. */
static int64_t pack(vlorpi_token_batch *batch, int64_t *n_tokens, stream_reader *reader, int64_t place, int64_t end,
                    int64_t max_examples, int64_t max_tokens)
{
    int64_t first = place;
    *n_tokens = 0;
    for (; place < end && place - first < max_examples; place++) {
        vlorpi_example example = read_stream(reader, place);
        assert(example.n_tokens <= max_tokens);
        if (example.n_tokens > max_tokens - *n_tokens) {
            break;
        }
        *n_tokens += example.n_tokens;
        if (batch != NULL) {
            bool fits = vlorpi_batch_add(batch, &example);
            assert(fits);
            (void)fits;
        }
    }
    return place;
}

bool vlorpi_batch_next(vlorpi_token_batch *batch, const vlorpi_dataset *dataset, uint64_t seed, int64_t *place,
                       int64_t end, int64_t max_examples, int64_t max_tokens)
{
    int64_t n_tokens;
    stream_reader reader = open_stream(dataset, seed);
    vlorpi_batch_clear(batch);
    int64_t begin = *place;
    if (vlorpi_dataset_n_examples(dataset) > 0) {
        *place = pack(batch, &n_tokens, &reader, begin, end, max_examples, max_tokens);
    }
    return *place > begin;
}

vlorpi_batch_statistics vlorpi_batch_count(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_examples_per_step,
                                           int64_t max_examples, int64_t max_tokens)
{
    vlorpi_batch_statistics sums = {.n_examples = vlorpi_dataset_n_examples(dataset)};
    stream_reader reader = open_stream(dataset, seed);
    for (int64_t place = 0; place < sums.n_examples; sums.n_steps++) {
        int64_t end = place + n_examples_per_step < sums.n_examples ? place + n_examples_per_step : sums.n_examples;
        while (place < end) {
            int64_t n_tokens;
            int64_t longest = 0;
            int64_t begin = place;
            place = pack(NULL, &n_tokens, &reader, place, end, max_examples, max_tokens);
            for (int64_t i = begin; i < place; i++) {
                int64_t n = read_stream(&reader, i).n_tokens;
                longest = n > longest ? n : longest;
            }
            sums.n_micro_batches++;
            sums.n_tokens += n_tokens;
            sums.n_padded_tokens += (place - begin) * longest;
        }
    }
    return sums;
}

int64_t vlorpi_batch_examples_for(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_tokens)
{
    int64_t n_examples = vlorpi_dataset_n_examples(dataset);
    int64_t epoch_tokens = 0;
    for (int64_t i = 0; i < n_examples; i++) {
        epoch_tokens += vlorpi_dataset_example(dataset, i).n_tokens;
    }
    stream_reader reader = open_stream(dataset, seed);
    int64_t place = n_tokens / epoch_tokens * n_examples;
    for (int64_t left = n_tokens % epoch_tokens; left > 0; place++) {
        left -= read_stream(&reader, place).n_tokens;
    }
    return place;
}

int64_t vlorpi_batch_largest(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_examples_per_step,
                             int64_t n_steps, int64_t max_examples, int64_t longest)
{
    enum { MOST_EXAMPLES = 1 << 22 }; /* a second or so; runs that see more are cut to what was found in these */
    int64_t most = 0;
    int64_t most_steps = MOST_EXAMPLES / n_examples_per_step + 1;
    n_steps = vlorpi_dataset_n_examples(dataset) < 1 ? 0 : n_steps < most_steps ? n_steps : most_steps;
    stream_reader reader = open_stream(dataset, seed);
    reader.longest = longest;
    for (int64_t step = 0; step < n_steps; step++) {
        int64_t end = (step + 1) * n_examples_per_step;
        for (int64_t place = step * n_examples_per_step; place < end;) {
            int64_t n_tokens;
            place = pack(NULL, &n_tokens, &reader, place, end, max_examples, INT64_MAX);
            most = n_tokens > most ? n_tokens : most;
        }
    }
    return most;
}
