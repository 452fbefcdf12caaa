#include "text/rendered.h"

#include <string.h>

void vlorpi_rendered_clear(vlorpi_rendered *rendered)
{
    rendered->n_bytes = 0;
    rendered->n_spans = 0;
    rendered->add_special = true;
    rendered->add_eos = true;
}

void vlorpi_rendered_deinit(vlorpi_rendered *rendered)
{
    vlorpi_mem_free(rendered->mem, rendered->bytes);
    vlorpi_mem_free(rendered->mem, rendered->spans);
    *rendered = (vlorpi_rendered){0};
}

vlorp_status vlorpi_rendered_append(vlorpi_rendered *rendered, const char *from, size_t n, vlorp_err *err)
{
    if (n > rendered->capacity - rendered->n_bytes) {
        size_t capacity = rendered->n_bytes + n;
        capacity += capacity / 2 + 256;
        char *grown = vlorpi_mem_realloc(rendered->mem, VLORPI_MEM_DATA, rendered->bytes, capacity);
        if (grown == NULL) {
            return vlorpi_mem_fail(rendered->mem, VLORPI_MEM_DATA, capacity, err);
        }
        rendered->bytes = grown;
        rendered->capacity = capacity;
    }
    if (n > 0) {
        memcpy(rendered->bytes + rendered->n_bytes, from, n);
        rendered->n_bytes += n;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_rendered_mark(vlorpi_rendered *rendered, size_t begin, vlorp_err *err)
{
    if (rendered->n_spans == rendered->spans_capacity) {
        int capacity = 2 * rendered->spans_capacity + 4;
        size_t n_bytes = (size_t)capacity * sizeof rendered->spans[0];
        vlorpi_span *grown = vlorpi_mem_realloc(rendered->mem, VLORPI_MEM_DATA, rendered->spans, n_bytes);
        if (grown == NULL) {
            return vlorpi_mem_fail(rendered->mem, VLORPI_MEM_DATA, n_bytes, err);
        }
        rendered->spans = grown;
        rendered->spans_capacity = capacity;
    }
    rendered->spans[rendered->n_spans++] =
        (vlorpi_span){.begin = (int64_t)begin, .end = (int64_t)rendered->n_bytes};
    return VLORP_OK;
}
