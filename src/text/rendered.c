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
    VLORP_TRY(vlorpi_mem_room(rendered->mem, VLORPI_MEM_DATA, &rendered->bytes, rendered->n_bytes + n, 1, err));
    if (n > 0) {
        memcpy(rendered->bytes + rendered->n_bytes, from, n);
        rendered->n_bytes += n;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_rendered_mark(vlorpi_rendered *rendered, size_t begin, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(rendered->mem, VLORPI_MEM_DATA, &rendered->spans, (size_t)rendered->n_spans + 1,
                              sizeof rendered->spans[0], err));
    rendered->spans[rendered->n_spans++] =
        (vlorpi_span){.begin = (int64_t)begin, .end = (int64_t)rendered->n_bytes};
    return VLORP_OK;
}
