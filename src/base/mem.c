#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* Lives in the 64 bytes before what the caller gets. */
typedef struct header {
    size_t booked_bytes;
    size_t user_bytes;
    vlorpi_mem_class cls;
} header;

_Static_assert(sizeof(header) <= ALIGNMENT, "the header must fit before an aligned block");

static void lock(vlorpi_mem *mem)
{
    while (atomic_flag_test_and_set_explicit(&mem->lock, memory_order_acquire)) {
    }
}

static void unlock(vlorpi_mem *mem)
{
    atomic_flag_clear_explicit(&mem->lock, memory_order_release);
}

void vlorpi_mem_init(vlorpi_mem *mem)
{
    memset(mem, 0, sizeof *mem);
    atomic_flag_clear(&mem->lock);
    mem->phase = "start";
    mem->phase_at_peak = "start";
}

size_t vlorpi_mem_footprint(size_t n_bytes)
{
    if (n_bytes > SIZE_MAX - 2 * (size_t)ALIGNMENT) {
        return SIZE_MAX;
    }
    return (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT;
}

/* Books the bytes before the system is asked, so that a limit refuses in time. */
bool vlorpi_mem_book(vlorpi_mem *mem, vlorpi_mem_class cls, size_t booked)
{
    bool ok = true;
    lock(mem);
    if (mem->fail_at != 0 && --mem->fail_at == 0) {
        ok = false;
    } else if (mem->limit_bytes != 0 && (booked > mem->limit_bytes || mem->now.total_bytes > mem->limit_bytes - booked)) {
        ok = false;
    } else {
        mem->n_allocations++;
        mem->now.bytes[cls] += booked;
        mem->now.total_bytes += booked;
        if (mem->now.total_bytes > mem->at_peak.total_bytes) {
            mem->at_peak = mem->now;
            mem->phase_at_peak = mem->phase;
        }
    }
    unlock(mem);
    return ok;
}

void vlorpi_mem_unbook(vlorpi_mem *mem, vlorpi_mem_class cls, size_t booked)
{
    lock(mem);
    mem->now.bytes[cls] -= booked;
    mem->now.total_bytes -= booked;
    unlock(mem);
}

void *vlorpi_mem_alloc(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes)
{
    size_t booked = vlorpi_mem_footprint(n_bytes);
    if (booked == SIZE_MAX || !vlorpi_mem_book(mem, cls, booked)) {
        return NULL;
    }
    unsigned char *raw = aligned_alloc(ALIGNMENT, booked);
    if (raw == NULL) {
        vlorpi_mem_unbook(mem, cls, booked);
        return NULL;
    }
    header *h = (header *)raw;
    h->booked_bytes = booked;
    h->user_bytes = n_bytes;
    h->cls = cls;
    return raw + ALIGNMENT;
}

void *vlorpi_mem_calloc(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_items, size_t item_bytes)
{
    if (item_bytes != 0 && n_items > SIZE_MAX / item_bytes) {
        return NULL;
    }
    void *memory = vlorpi_mem_alloc(mem, cls, n_items * item_bytes);
    if (memory != NULL) {
        memset(memory, 0, n_items * item_bytes);
    }
    return memory;
}

static header *header_of(void *memory)
{
    return (header *)(void *)((unsigned char *)memory - ALIGNMENT);
}

void *vlorpi_mem_realloc(vlorpi_mem *mem, vlorpi_mem_class cls, void *memory, size_t n_bytes)
{
    void *grown = vlorpi_mem_alloc(mem, cls, n_bytes);
    if (grown == NULL || memory == NULL) {
        return grown;
    }
    size_t old = header_of(memory)->user_bytes;
    memcpy(grown, memory, old < n_bytes ? old : n_bytes);
    vlorpi_mem_free(mem, memory);
    return grown;
}

vlorp_status vlorpi_mem_room(vlorpi_mem *mem, vlorpi_mem_class cls, void *array, size_t n_items, size_t item_bytes,
                             vlorp_err *err)
{
    enum { LEAST_BYTES = 256 };
    void *block;
    memcpy(&block, array, sizeof block);
    size_t n_bytes;
    if (__builtin_mul_overflow(n_items, item_bytes, &n_bytes) || n_bytes > SIZE_MAX / 2) {
        return vlorpi_mem_fail(mem, cls, SIZE_MAX, err);
    }
    if (block != NULL && n_bytes <= header_of(block)->user_bytes) {
        return VLORP_OK;
    }
    n_bytes += n_bytes / 2 + LEAST_BYTES;
    block = vlorpi_mem_realloc(mem, cls, block, n_bytes);
    if (block == NULL) {
        return vlorpi_mem_fail(mem, cls, n_bytes, err);
    }
    memcpy(array, &block, sizeof block);
    return VLORP_OK;
}

char *vlorpi_mem_strdup(vlorpi_mem *mem, vlorpi_mem_class cls, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = vlorpi_mem_alloc(mem, cls, n);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

void vlorpi_mem_free(vlorpi_mem *mem, void *memory)
{
    if (memory == NULL) {
        return;
    }
    header *h = header_of(memory);
    vlorpi_mem_unbook(mem, h->cls, h->booked_bytes);
    free(h);
}

vlorp_status vlorpi_mem_fail(const vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes, vlorp_err *err)
{
    const char *row = vlorpi_mem_row_name(vlorpi_mem_row_of(cls));
    size_t most = mem->limit_bytes - mem->now.total_bytes;
    if (mem->limit_bytes != 0 && vlorpi_mem_footprint(n_bytes) > most) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%s needs %zu bytes more; %zu are in use and the limit is %zu", row, n_bytes,
                   mem->now.total_bytes, mem->limit_bytes);
    }
    VLORP_FAIL(err, VLORP_E_NOMEM, "out of memory: %s needs %zu bytes more; %zu are in use", row, n_bytes,
               mem->now.total_bytes);
}

void vlorpi_mem_set_phase(vlorpi_mem *mem, const char *phase)
{
    mem->phase = phase;
}

vlorpi_mem_usage vlorpi_mem_now(vlorpi_mem *mem)
{
    lock(mem);
    vlorpi_mem_usage usage = mem->now;
    unlock(mem);
    return usage;
}

vlorpi_mem_usage vlorpi_mem_peak(vlorpi_mem *mem)
{
    lock(mem);
    vlorpi_mem_usage usage = mem->at_peak;
    unlock(mem);
    return usage;
}

const char *vlorpi_mem_row_name(vlorpi_mem_row row)
{
    static const char *const names[VLORPI_ROW_N] = {"weights",     "gradients", "optimizer_state",
                                                    "activations", "workspace", "data"};
    return names[row];
}

vlorpi_mem_row vlorpi_mem_row_of(vlorpi_mem_class cls)
{
    switch (cls) {
    case VLORPI_MEM_WEIGHTS: return VLORPI_ROW_WEIGHTS;
    case VLORPI_MEM_GRADS: return VLORPI_ROW_GRADIENTS;
    case VLORPI_MEM_OPT_STATE:
    case VLORPI_MEM_PROJECTION: return VLORPI_ROW_OPTIMIZER_STATE;
    case VLORPI_MEM_ACTIVATIONS: return VLORPI_ROW_ACTIVATIONS;
    case VLORPI_MEM_DATA: return VLORPI_ROW_DATA;
    case VLORPI_MEM_WORKSPACE:
    case VLORPI_MEM_COMM:
    case VLORPI_MEM_OTHER:
    case VLORPI_MEM_N_CLASSES: break;
    }
    return VLORPI_ROW_WORKSPACE;
}

size_t vlorpi_mem_row_bytes(const vlorpi_mem_usage *usage, vlorpi_mem_row row)
{
    size_t sum = 0;
    for (int c = 0; c < VLORPI_MEM_N_CLASSES; c++) {
        if (vlorpi_mem_row_of((vlorpi_mem_class)c) == row) {
            sum += usage->bytes[c];
        }
    }
    return sum;
}

static void *allocator_alloc(void *ctx, vlorp_memory_class cls, size_t n_bytes)
{
    static const vlorpi_mem_class map[] = {
        [VLORP_MEMORY_GRADIENTS] = VLORPI_MEM_GRADS,        [VLORP_MEMORY_OPTIMIZER_STATE] = VLORPI_MEM_OPT_STATE,
        [VLORP_MEMORY_PROJECTION] = VLORPI_MEM_PROJECTION,  [VLORP_MEMORY_WORKSPACE] = VLORPI_MEM_WORKSPACE,
        [VLORP_MEMORY_OTHER] = VLORPI_MEM_OTHER,
    };
    return vlorpi_mem_alloc(ctx, map[cls], n_bytes);
}

static void allocator_free(void *ctx, void *memory)
{
    vlorpi_mem_free(ctx, memory);
}

vlorp_allocator vlorpi_mem_allocator(vlorpi_mem *mem)
{
    return (vlorp_allocator){.alloc = allocator_alloc, .free = allocator_free, .ctx = mem};
}
