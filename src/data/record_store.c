#include "data/record_store.h"

#include <string.h>

/* Room for one more item, of n_bytes. */
static vlorp_status make_room(vlorpi_record_store *store, size_t n_bytes, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(store->mem, VLORPI_MEM_DATA, &store->text, store->n_bytes + n_bytes, 1, err));
    VLORP_TRY(vlorpi_mem_room(store->mem, VLORPI_MEM_DATA, &store->items, (size_t)store->n + 1,
                              sizeof store->items[0], err));
    return VLORP_OK;
}

vlorp_status vlorpi_record_store_add(vlorpi_record_store *store, const vlorpi_record *record, vlorp_err *err)
{
    int n_fields = vlorpi_form_of(record->form)->n_fields;
    size_t n_bytes = 0;
    for (int i = 0; i < n_fields; i++) {
        if (record->fields[i].n_bytes > INT32_MAX) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "a field of more than 2 GiB");
        }
        n_bytes += record->fields[i].n_bytes;
    }
    VLORP_TRY(make_room(store, n_bytes, err));
    vlorpi_stored_record *item = &store->items[store->n++];
    *item = (vlorpi_stored_record){.form = record->form, .begin = store->n_bytes};
    for (int i = 0; i < n_fields; i++) {
        vlorpi_bytes field = record->fields[i];
        item->n_bytes[i] = field.text != NULL ? (int32_t)field.n_bytes : -1;
        if (field.n_bytes > 0) {
            memcpy(store->text + store->n_bytes, field.text, field.n_bytes);
        }
        store->n_bytes += field.n_bytes;
    }
    return VLORP_OK;
}

vlorpi_record vlorpi_record_store_get(const vlorpi_record_store *store, int64_t i)
{
    const vlorpi_stored_record *item = &store->items[i];
    vlorpi_record record = {.form = item->form};
    size_t at = item->begin;
    for (int f = 0; f < vlorpi_form_of(item->form)->n_fields; f++) {
        if (item->n_bytes[f] >= 0) {
            record.fields[f] = (vlorpi_bytes){.text = store->text + at, .n_bytes = (size_t)item->n_bytes[f]};
            at += (size_t)item->n_bytes[f];
        }
    }
    return record;
}

void vlorpi_record_store_deinit(vlorpi_record_store *store)
{
    vlorpi_mem_free(store->mem, store->text);
    vlorpi_mem_free(store->mem, store->items);
    *store = (vlorpi_record_store){0};
}
