#include "cli/text_out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

vlorp_status vlorpi_text_out_keep(vlorpi_text_out *out, const char *text, size_t n_bytes, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(out->mem, VLORPI_MEM_DATA, &out->text, out->n_bytes + n_bytes, 1, err));
    memcpy(out->text + out->n_bytes, text, n_bytes);
    out->n_bytes += n_bytes;
    return VLORP_OK;
}

static vlorp_status write_text(void *ctx, const char *text, size_t n_bytes, vlorp_err *err)
{
    vlorpi_text_out *out = ctx;
    if (out->keeps) {
        VLORP_TRY(vlorpi_text_out_keep(out, text, n_bytes, err));
    }
    if (out->shows && (fwrite(text, 1, n_bytes, stdout) != n_bytes || fflush(stdout) != 0)) {
        VLORP_FAIL(err, VLORP_E_IO, "standard output: %s", strerror(errno));
    }
    return VLORP_OK;
}

vlorpi_text_sink vlorpi_text_out_sink(vlorpi_text_out *out)
{
    return (vlorpi_text_sink){.write = write_text, .ctx = out};
}
