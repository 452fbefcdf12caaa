/* cmd_inspect.c - vlorp inspect: what a model file holds. */
#include <inttypes.h>
#include <stdio.h>

#include "checkpoint/inspect.h"
#include "cli/command.h"

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void print_bytes(const json_t *object, const char *key)
{
    char words[32];
    (void)printf("%s", vlorpi_output_bytes(words, sizeof words, (size_t)integer(object, key)));
}

static void print_files(json_t *report)
{
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(report, "files"), i, file) {
        (void)printf("  file %s, ", text(file, "name"));
        print_bytes(file, "bytes");
        (void)printf("\n");
    }
}

/* One line for each key, the value as JSON, so that no text can play with the terminal. */
static vlorp_status print_settings(json_t *report, const char *part, vlorp_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(report, part), key, value) {
        (void)printf("  %s = ", key);
        if (json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) != 0) {
            VLORP_FAIL(err, VLORP_E_IO, "cannot print %s", key);
        }
        (void)printf("\n");
    }
    return VLORP_OK;
}

static void print_storage(json_t *report)
{
    const char *name;
    json_t *row;
    json_object_foreach(json_object_get(report, "storage"), name, row) {
        (void)printf("  %-8s %6" PRId64 " tensors %14" PRId64 " parameters  ", name, integer(row, "tensors"),
                     integer(row, "parameters"));
        print_bytes(row, "bytes");
        (void)printf("\n");
    }
}

static void print_tensors(json_t *report)
{
    size_t i;
    const json_t *tensor;
    json_array_foreach(json_object_get(report, "tensors"), i, tensor) {
        size_t d;
        const json_t *dim;
        (void)printf("  %-48s %-5s [", text(tensor, "name"), text(tensor, "storage"));
        json_array_foreach(json_object_get(tensor, "shape"), d, dim) {
            (void)printf("%s%" PRId64, d > 0 ? ", " : "", (int64_t)json_integer_value(dim));
        }
        (void)printf("]\n");
    }
}

static vlorp_status print_report(json_t *report, vlorp_err *err)
{
    (void)printf("%s: %s\n", text(report, "path"), text(report, "kind"));
    print_files(report);
    VLORP_TRY(print_settings(report, "config", err));
    VLORP_TRY(print_settings(report, "metadata", err));
    print_tensors(report);
    (void)printf("%" PRId64 " tensors, %" PRId64 " parameters, ", integer(report, "n_tensors"),
                 integer(report, "total_parameters"));
    print_bytes(report, "total_bytes");
    (void)printf("\n");
    print_storage(report);
    return vlorpi_output_flush(err);
}

vlorp_status vlorpi_cmd_inspect(vlorpi_cli *cli, vlorp_err *err)
{
    const char *path;
    json_t *report;
    VLORP_TRY(vlorpi_options_model(cli->options, &path, err));
    VLORP_TRY(vlorpi_inspect(&report, cli->mem, path, err));
    if (vlorpi_options_bool(cli->options, "json")) {
        return vlorpi_output_json(report, err);
    }
    vlorp_status status = print_report(report, err);
    json_decref(report);
    return status;
}
