/* The state as bytes (docs/library.md).  All numbers little-endian.
 *
 *   header    64 bytes: magic, version, its own size, the size of a record, the counts, the steps taken
 *             under adaptive_budget (minor version 2) 24 bytes more for each matrix that is divided:
 *             budget, since, and the norm's sum as a double
 *   records   one per tensor: name hash, field, dtype, shape, bytes
 *   tensors   in the order of the records, each padded to 8 bytes
 *   checksum  8 bytes, from minor version 1 on: FNV-1a over everything before it, in 64-bit words
 *
 * A reader takes any minor version of its major one: it skips what a longer header or record holds
 * beyond what it knows. */
#include <string.h>

#include "base/checksum.h"
#include "base/status.h"
#include "optim/handle.h"

enum {
    MAJOR = 1,
    MINOR = 1,
    MINOR_WITH_CHECKSUM = 1,
    MINOR_WITH_DIVISION = 2, /* written under adaptive_budget alone */
    HEADER_BYTES = 64,
    DIVISION_BYTES = 24,
    RECORD_BYTES = 64,
    LARGEST_HEADER = 1 << 24,
    LARGEST_RECORD = 1024,
    CHECKSUM_BYTES = 8
};
static const unsigned char MAGIC[8] = {'V', 'L', 'O', 'R', 'P', 'S', 'T', '\n'};

static bool is_little_endian(void)
{
    uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static void put(unsigned char *at, uint64_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        at[i] = (unsigned char)(x >> (8 * i));
    }
}

static uint64_t get(const unsigned char *at, int n_bytes)
{
    uint64_t x = 0;
    for (int i = 0; i < n_bytes; i++) {
        x |= (uint64_t)at[i] << (8 * i);
    }
    return x;
}

static uint64_t tensor_bytes(const vlorp_state_tensor *t)
{
    uint64_t n = t->dtype == VLORP_U8 ? 1 : t->dtype == VLORP_BF16 ? 2 : 4;
    for (int i = 0; i < t->n_dims; i++) {
        n *= (uint64_t)t->shape[i];
    }
    return n;
}

/* A stream with its running checksum. */
typedef struct stream {
    vlorp_write *write;
    vlorp_read *read;
    void *ctx;
    vlorpi_checksum sum;
} stream;

static vlorp_status move_out(stream *s, const void *bytes, size_t n, vlorp_err *err)
{
    vlorpi_checksum_add(&s->sum, bytes, n);
    return s->write(s->ctx, bytes, n, err);
}

static vlorp_status move_in(stream *s, void *bytes, size_t n, vlorp_err *err)
{
    VLORP_TRY(s->read(s->ctx, bytes, n, err));
    vlorpi_checksum_add(&s->sum, bytes, n);
    return VLORP_OK;
}

static uint32_t header_bytes(const vlorp_optimizer *o)
{
    uint32_t n_bytes = HEADER_BYTES;
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        n_bytes += vlorpi_slot_adapts(o, slot) ? DIVISION_BYTES : 0;
    }
    return n_bytes;
}

/* Sizes, the step, and the settings that two handles must agree on besides their tensors. */
static void make_header(unsigned char h[HEADER_BYTES], const vlorp_optimizer *o, uint64_t n_bytes)
{
    memset(h, 0, HEADER_BYTES);
    memcpy(h, MAGIC, sizeof MAGIC);
    put(h + 8, MAJOR, 2);
    put(h + 10, o->config.adaptive_budget ? MINOR_WITH_DIVISION : MINOR, 2);
    put(h + 12, header_bytes(o), 4);
    put(h + 16, RECORD_BYTES, 4);
    put(h + 20, (uint64_t)vlorp_optimizer_n_tensors(o), 4);
    put(h + 24, n_bytes, 8);
    put(h + 32, (uint64_t)o->steps_taken, 8);
    put(h + 40, o->config.seed, 8);
    put(h + 48, (uint64_t)o->config.update_gap, 8);
    put(h + 56, (uint64_t)o->config.momentum, 4);
    put(h + 60, o->config.adaptive_budget, 4);
}

static vlorp_status save_divisions(const vlorp_optimizer *o, stream *s, vlorp_err *err)
{
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        unsigned char bytes[DIVISION_BYTES];
        uint64_t norm_sum;
        if (!vlorpi_slot_adapts(o, slot)) {
            continue;
        }
        memcpy(&norm_sum, &slot->norm_sum, sizeof norm_sum);
        put(bytes, (uint64_t)slot->proj.M, 8);
        put(bytes + 8, (uint64_t)slot->since, 8);
        put(bytes + 16, norm_sum, 8);
        VLORP_TRY(move_out(s, bytes, sizeof bytes, err));
    }
    return VLORP_OK;
}

static void make_record(unsigned char r[RECORD_BYTES], const vlorp_state_tensor *t)
{
    memset(r, 0, RECORD_BYTES);
    put(r, vlorp_rng_hash(t->parameter), 8);
    memcpy(r + 8, t->field, strlen(t->field));
    put(r + 24, (uint64_t)t->dtype, 4);
    put(r + 28, (uint64_t)t->n_dims, 4);
    for (int i = 0; i < t->n_dims; i++) {
        put(r + 32 + 8 * i, (uint64_t)t->shape[i], 8);
    }
    put(r + 56, tensor_bytes(t), 8);
}

/* Bytes of a state with such a header and records. */
static vlorp_status total_bytes(const vlorp_optimizer *o, uint64_t header, uint64_t record, bool checksum,
                                uint64_t *n_bytes, vlorp_err *err)
{
    uint64_t sum = header + (checksum ? CHECKSUM_BYTES : 0);
    for (int i = 0; i < vlorp_optimizer_n_tensors(o); i++) {
        vlorp_state_tensor t;
        VLORP_TRY(vlorp_optimizer_tensor(o, i, &t, err));
        sum += record + (tensor_bytes(&t) + 7) / 8 * 8;
    }
    *n_bytes = sum;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_state_size(const vlorp_optimizer *o, uint64_t *n_bytes, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer has no state before commit");
    }
    return total_bytes(o, header_bytes(o), RECORD_BYTES, true, n_bytes, err);
}

static vlorp_status check_saving(const vlorp_optimizer *o, vlorp_err *err)
{
    if (!is_little_endian()) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "states are saved on little-endian machines only");
    }
    if (o->state_is_torn) {
        VLORP_FAIL(err, VLORP_E_STATE, "the state was loaded in part only; load it again");
    }
    if (o->begun) {
        VLORP_FAIL(err, VLORP_E_STATE, "a step has begun: step or discard before saving");
    }
    for (const vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (slot->holds_sums) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s holds gradients: step or discard before saving", slot->name);
        }
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_save(const vlorp_optimizer *o, vlorp_write *write, void *ctx, vlorp_err *err)
{
    static const unsigned char zeros[8] = {0};
    stream s = {.write = write, .ctx = ctx, .sum = vlorpi_checksum_begin(0)};
    uint64_t n_bytes;
    VLORP_TRY(vlorp_optimizer_state_size(o, &n_bytes, err));
    VLORP_TRY(check_saving(o, err));
    unsigned char header[HEADER_BYTES];
    make_header(header, o, n_bytes);
    VLORP_TRY(move_out(&s, header, sizeof header, err));
    VLORP_TRY(save_divisions(o, &s, err));
    int n = vlorp_optimizer_n_tensors(o);
    vlorp_state_tensor t;
    for (int i = 0; i < n; i++) {
        unsigned char record[RECORD_BYTES];
        VLORP_TRY(vlorp_optimizer_tensor(o, i, &t, err));
        make_record(record, &t);
        VLORP_TRY(move_out(&s, record, sizeof record, err));
    }
    for (int i = 0; i < n; i++) {
        VLORP_TRY(vlorp_optimizer_tensor(o, i, &t, err));
        uint64_t length = tensor_bytes(&t);
        VLORP_TRY(move_out(&s, t.data, (size_t)length, err));
        VLORP_TRY(move_out(&s, zeros, (size_t)((8 - length % 8) % 8), err));
    }
    unsigned char checksum[CHECKSUM_BYTES];
    put(checksum, vlorpi_checksum_value(&s.sum), CHECKSUM_BYTES);
    return write(ctx, checksum, sizeof checksum, err);
}

/* What a header says, checked. */
typedef struct head {
    uint32_t header_bytes, record_bytes;
    uint64_t n_bytes;
    bool has_checksum;
    int64_t steps_taken;
} head;

static vlorp_status parse_header(const vlorp_optimizer *o, const unsigned char h[HEADER_BYTES], head *out,
                                 vlorp_err *err)
{
    if (memcmp(h, MAGIC, sizeof MAGIC) != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "this is no state of a vlorp optimizer");
    }
    int major = (int)get(h + 8, 2);
    if (major != MAJOR) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "the state has version %d; this library reads version %d", major,
                   (int)MAJOR);
    }
    out->has_checksum = get(h + 10, 2) >= MINOR_WITH_CHECKSUM;
    out->header_bytes = (uint32_t)get(h + 12, 4);
    out->record_bytes = (uint32_t)get(h + 16, 4);
    if (out->header_bytes < HEADER_BYTES || out->header_bytes > LARGEST_HEADER || out->header_bytes % 8 != 0 ||
        out->record_bytes < RECORD_BYTES || out->record_bytes > LARGEST_RECORD || out->record_bytes % 8 != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the state's header of %u bytes or records of %u bytes cannot be",
                   (unsigned)out->header_bytes, (unsigned)out->record_bytes);
    }
    uint64_t steps = get(h + 32, 8);
    if (steps > INT64_MAX / 2) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the state's number of steps is damaged");
    }
    out->steps_taken = (int64_t)steps;
    if (get(h + 20, 4) != (uint64_t)vlorp_optimizer_n_tensors(o)) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the state has %llu tensors; this optimizer has %d",
                   (unsigned long long)get(h + 20, 4), vlorp_optimizer_n_tensors(o));
    }
    if (get(h + 40, 8) != o->config.seed || get(h + 48, 8) != (uint64_t)o->config.update_gap ||
        get(h + 56, 4) != (uint64_t)o->config.momentum) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the state was made with another seed, update gap or momentum policy");
    }
    if ((get(h + 60, 4) != 0) != o->config.adaptive_budget) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the state was made %s adaptive_budget",
                   o->config.adaptive_budget ? "without" : "with");
    }
    if (out->header_bytes < header_bytes(o)) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the state divides its bytes among other matrices");
    }
    out->n_bytes = get(h + 24, 8);
    return VLORP_OK;
}

static vlorp_status skip(stream *s, size_t n, vlorp_err *err)
{
    unsigned char bytes[64];
    while (n > 0) {
        size_t part = n < sizeof bytes ? n : sizeof bytes;
        VLORP_TRY(move_in(s, bytes, part, err));
        n -= part;
    }
    return VLORP_OK;
}

/* The division that the state was saved with, into next_division. */
static vlorp_status load_divisions(vlorp_optimizer *o, stream *s, vlorp_err *err)
{
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        unsigned char bytes[DIVISION_BYTES];
        vlorp_division *d = &slot->next_division;
        if (vlorpi_slot_adapts(o, slot)) {
            VLORP_TRY(move_in(s, bytes, sizeof bytes, err));
            uint64_t norm_sum = get(bytes + 16, 8);
            *d = (vlorp_division){.budget = (int64_t)get(bytes, 8), .since = (int64_t)get(bytes + 8, 8)};
            memcpy(&d->norm_sum, &norm_sum, sizeof norm_sum);
        }
    }
    vlorp_status status = vlorpi_division_check_next(o, err);
    return status == VLORP_E_ARG ? vlorpi_err_set(err, VLORP_E_FORMAT, "the state's division of bytes is damaged") : status;
}

/* The tensors' records against this optimizer's, as it is divided now. */
static vlorp_status load_records(const vlorp_optimizer *o, stream *s, const head *said, vlorp_err *err)
{
    uint64_t expected;
    VLORP_TRY(total_bytes(o, said->header_bytes, said->record_bytes, said->has_checksum, &expected, err));
    if (said->n_bytes != expected) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the state has %llu bytes where this optimizer's has %llu",
                   (unsigned long long)said->n_bytes, (unsigned long long)expected);
    }
    for (int i = 0; i < vlorp_optimizer_n_tensors(o); i++) {
        vlorp_state_tensor t;
        unsigned char record[RECORD_BYTES];
        unsigned char wanted[RECORD_BYTES];
        VLORP_TRY(vlorp_optimizer_tensor(o, i, &t, err));
        make_record(wanted, &t);
        VLORP_TRY(move_in(s, record, sizeof record, err));
        if (memcmp(record, wanted, RECORD_BYTES) != 0) {
            VLORP_FAIL(err, VLORP_E_SHAPE, "%s: the state's %s differs in name, type or shape", t.parameter, t.field);
        }
        VLORP_TRY(skip(s, said->record_bytes - RECORD_BYTES, err));
    }
    return VLORP_OK;
}

/* Header and records: everything that is compared before the first tensor is touched.  On VLORP_OK the optimizer is
 * divided as the state was, and what was before stands in next_division: vlorpi_division_swap takes it back. */
static vlorp_status load_head(vlorp_optimizer *o, stream *s, head *said, vlorp_err *err)
{
    unsigned char header[HEADER_BYTES];
    VLORP_TRY(move_in(s, header, sizeof header, err));
    VLORP_TRY(parse_header(o, header, said, err));
    if (!o->config.adaptive_budget) {
        VLORP_TRY(skip(s, said->header_bytes - HEADER_BYTES, err));
        return load_records(o, s, said, err);
    }
    VLORP_TRY(load_divisions(o, s, err));
    VLORP_TRY(skip(s, said->header_bytes - header_bytes(o), err));
    vlorpi_division_swap(o);
    vlorp_status status = load_records(o, s, said, err);
    if (status != VLORP_OK) {
        vlorpi_division_swap(o);
    }
    return status;
}

static vlorp_status load_tensors(const vlorp_optimizer *o, stream *s, const head *said, vlorp_err *err)
{
    for (int i = 0; i < vlorp_optimizer_n_tensors(o); i++) {
        vlorp_state_tensor t;
        VLORP_TRY(vlorp_optimizer_tensor(o, i, &t, err));
        uint64_t length = tensor_bytes(&t);
        VLORP_TRY(move_in(s, t.data, (size_t)length, err));
        VLORP_TRY(skip(s, (size_t)((8 - length % 8) % 8), err));
    }
    if (!said->has_checksum) {
        return VLORP_OK;
    }
    unsigned char checksum[CHECKSUM_BYTES];
    VLORP_TRY(s->read(s->ctx, checksum, sizeof checksum, err));
    if (get(checksum, CHECKSUM_BYTES) != vlorpi_checksum_value(&s->sum)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the state is damaged: its checksum is wrong");
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_load(vlorp_optimizer *o, vlorp_read *read, void *ctx, vlorp_err *err)
{
    stream s = {.read = read, .ctx = ctx, .sum = vlorpi_checksum_begin(0)};
    head said;
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "a state can be loaded after commit only");
    }
    if (!is_little_endian()) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "states are loaded on little-endian machines only");
    }
    VLORP_TRY(load_head(o, &s, &said, err));
    o->state_is_torn = true;
    VLORP_TRY(load_tensors(o, &s, &said, err));
    o->state_is_torn = false;
    VLORP_TRY(vlorp_optimizer_set_steps_taken(o, said.steps_taken, err));
    return vlorp_optimizer_discard(o, err);
}

/* A buffer as a stream. */
typedef struct window {
    unsigned char *bytes;
    const unsigned char *source;
    size_t at, n_bytes;
} window;

static vlorp_status write_window(void *ctx, const void *bytes, size_t n, vlorp_err *err)
{
    window *w = ctx;
    if (n > w->n_bytes - w->at) {
        VLORP_FAIL(err, VLORP_E_ARG, "a buffer of %zu bytes is too small for the state", w->n_bytes);
    }
    if (n > 0) {
        memcpy(w->bytes + w->at, bytes, n);
    }
    w->at += n;
    return VLORP_OK;
}

static vlorp_status read_window(void *ctx, void *bytes, size_t n, vlorp_err *err)
{
    window *w = ctx;
    if (n > w->n_bytes - w->at) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the state ends after %zu bytes", w->n_bytes);
    }
    if (n > 0) {
        memcpy(bytes, w->source + w->at, n);
    }
    w->at += n;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_save_buffer(const vlorp_optimizer *o, void *buffer, size_t n_bytes, vlorp_err *err)
{
    window w = {.bytes = buffer, .n_bytes = n_bytes};
    return vlorp_optimizer_save(o, write_window, &w, err);
}

/* Length and checksum are checked before the first tensor is touched. */
static vlorp_status check_buffer(vlorp_optimizer *o, const void *buffer, size_t n_bytes, vlorp_err *err)
{
    window w = {.source = buffer, .n_bytes = n_bytes};
    stream s = {.read = read_window, .ctx = &w, .sum = vlorpi_checksum_begin(0)};
    head said;
    VLORP_TRY(load_head(o, &s, &said, err));
    if (o->config.adaptive_budget) {
        vlorpi_division_swap(o);
    }
    if (said.n_bytes != n_bytes) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the state has %zu bytes; it should have %llu", n_bytes,
                   (unsigned long long)said.n_bytes);
    }
    if (said.has_checksum) {
        size_t body = n_bytes - CHECKSUM_BYTES;
        vlorpi_checksum sum = vlorpi_checksum_begin(0);
        vlorpi_checksum_add(&sum, w.source, body);
        if (get(w.source + body, CHECKSUM_BYTES) != vlorpi_checksum_value(&sum)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "the state is damaged: its checksum is wrong");
        }
    }
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_load_buffer(vlorp_optimizer *o, const void *buffer, size_t n_bytes, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "a state can be loaded after commit only");
    }
    VLORP_TRY(check_buffer(o, buffer, n_bytes, err));
    window w = {.source = buffer, .n_bytes = n_bytes};
    return vlorp_optimizer_load(o, read_window, &w, err);
}
