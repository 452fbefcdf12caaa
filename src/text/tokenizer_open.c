/* tokenizer_open.c - finds the files of a tokenizer and hands them to their readers. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mapped_file.h"
#include "format/json.h"
#include "text/tokenizer_readers.h"

/* Puts the file's path in front of the error, once. */
static vlorp_status in_file(vlorp_status status, const char *path, vlorp_err *err)
{
    if (status != VLORP_OK && err != NULL) {
        vlorpi_err_prefix(err, "%s", path);
    }
    return status;
}

static vlorp_status join_path(char out[PATH_MAX], const char *folder, const char *name, vlorp_err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= PATH_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", folder);
    }
    return VLORP_OK;
}

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return join_path(path, folder, name, NULL) == VLORP_OK && access(path, F_OK) == 0;
}

/* *out NULL when the file is not there. */
static vlorp_status load_json(json_t **out, const char *folder, const char *name, vlorp_err *err)
{
    char path[PATH_MAX];
    *out = NULL;
    if (!has_file(folder, name)) {
        return VLORP_OK;
    }
    VLORP_TRY(join_path(path, folder, name, err));
    return vlorpi_json_load(out, path, err);
}

/* --- the files that the vocabulary comes from --- */

static vlorp_status open_json(vlorpi_tokenizer *t, const char *path, vlorp_err *err)
{
    json_t *root;
    VLORP_TRY(vlorpi_json_load(&root, path, err));
    vlorp_status status = in_file(vlorpi_tokenizer_read_json(t, root, err), path, err);
    json_decref(root);
    return status;
}

/* Added tokens of folders without tokenizer.json, as an array of objects with content and id: from
 * added_tokens_decoder of tokenizer_config.json ({"7": {"content": ...}}), or from added_tokens.json
 * ({"text": 7}).  *out NULL: none. */
static vlorp_status collect_added(json_t **out, const json_t *config, const json_t *old, vlorp_err *err)
{
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    json_t *from = json_is_object(decoder) ? decoder : (json_t *)(uintptr_t)old;
    json_t *list = json_array();
    bool ok = list != NULL;
    for (void *at = json_object_iter(from); at != NULL && ok; at = json_object_iter_next(from, at)) {
        json_t *value = json_object_iter_value(at);
        const char *key = json_object_iter_key(at);
        json_t *token = from == decoder ? json_copy(value) : json_object();
        if (from == decoder) {
            ok = json_is_object(token) && json_object_set_new(token, "id", json_integer(strtoll(key, NULL, 10))) == 0;
        } else {
            ok = token != NULL && json_object_set(token, "id", value) == 0 &&
                 json_object_set_new(token, "content", json_string(key)) == 0;
        }
        ok = json_array_append_new(list, token) == 0 && ok;
    }
    if (!ok) {
        json_decref(list);
        VLORP_FAIL(err, VLORP_E_FORMAT, "added tokens must be objects with content by their id");
    }
    *out = list;
    return VLORP_OK;
}

/* vocab.json with merges.txt, or tokenizer.model (pieces set). */
static vlorp_status open_slow(vlorpi_tokenizer *t, const char *folder, const char *pieces, vlorp_err *err)
{
    char merges_path[PATH_MAX];
    json_t *config = NULL;
    json_t *old = NULL;
    json_t *added = NULL;
    json_t *vocab = NULL;
    vlorpi_mapped_file file = {0};
    VLORP_TRY(join_path(merges_path, folder, "merges.txt", err));
    const char *path = pieces != NULL ? pieces : merges_path;
    vlorp_status status = load_json(&config, folder, "tokenizer_config.json", err);
    status = status == VLORP_OK ? load_json(&old, folder, "added_tokens.json", err) : status;
    status = status == VLORP_OK ? in_file(collect_added(&added, config, old, err), folder, err) : status;
    status = status == VLORP_OK && pieces == NULL ? load_json(&vocab, folder, "vocab.json", err) : status;
    status = status == VLORP_OK ? vlorpi_mapped_file_open(&file, path, err) : status;
    if (status == VLORP_OK && pieces != NULL) {
        status = in_file(vlorpi_tokenizer_read_pieces(t, file.bytes, file.n_bytes, added, err), path, err);
    } else if (status == VLORP_OK) {
        status = in_file(vlorpi_tokenizer_read_vocab_merges(t, vocab, (const char *)file.bytes, file.n_bytes, added,
                                                            config, err), folder, err);
    }
    vlorpi_mapped_file_close(&file);
    json_decref(config);
    json_decref(old);
    json_decref(added);
    json_decref(vocab);
    return status;
}

/* --- the other files of a folder --- */

static vlorp_status read_template_file(vlorpi_tokenizer *t, const char *folder, vlorp_err *err)
{
    char path[PATH_MAX];
    vlorpi_mapped_file file;
    if (!has_file(folder, "chat_template.jinja")) {
        return VLORP_OK;
    }
    VLORP_TRY(join_path(path, folder, "chat_template.jinja", err));
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = VLORP_OK;
    if (file.n_bytes > 0 && t->chat_template == NULL) {
        status = vlorpi_tokenizer_copy_text(t, &t->chat_template, (const char *)file.bytes, file.n_bytes, err);
    }
    vlorpi_mapped_file_close(&file);
    return status;
}

static vlorp_status read_other_files(vlorpi_tokenizer *t, const char *folder, vlorp_err *err)
{
    static const struct {
        const char *name;
        vlorp_status (*read)(vlorpi_tokenizer *t, const json_t *config, vlorp_err *err);
    } files[] = {{"tokenizer_config.json", vlorpi_tokenizer_read_config},
                 {"special_tokens_map.json", vlorpi_tokenizer_read_config},
                 {"generation_config.json", vlorpi_tokenizer_read_model_config},
                 {"config.json", vlorpi_tokenizer_read_model_config}};
    VLORP_TRY(read_template_file(t, folder, err));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        json_t *config;
        VLORP_TRY(load_json(&config, folder, files[i].name, err));
        if (config != NULL) {
            vlorp_status status = files[i].read(t, config, err);
            json_decref(config);
            if (status != VLORP_OK) {
                vlorpi_err_prefix(err, "%s/%s", folder, files[i].name);
                return status;
            }
        }
    }
    return VLORP_OK;
}

static vlorp_status open_folder(vlorpi_tokenizer *t, const char *folder, vlorp_err *err)
{
    char path[PATH_MAX];
    if (has_file(folder, "tokenizer.json")) {
        VLORP_TRY(join_path(path, folder, "tokenizer.json", err));
        VLORP_TRY(open_json(t, path, err));
    } else if (has_file(folder, "vocab.json") && has_file(folder, "merges.txt")) {
        VLORP_TRY(open_slow(t, folder, NULL, err));
    } else if (has_file(folder, "tokenizer.model")) {
        VLORP_TRY(join_path(path, folder, "tokenizer.model", err));
        VLORP_TRY(open_slow(t, folder, path, err));
    } else {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: no tokenizer", folder);
        vlorpi_err_hint(err, "the folder needs tokenizer.json, vocab.json with merges.txt, or tokenizer.model");
        return VLORP_E_IO;
    }
    return read_other_files(t, folder, err);
}

/* --- a path of any kind --- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

static vlorp_status open_gguf(vlorpi_tokenizer *t, const vlorpi_mapped_file *file, const char *path, vlorp_err *err)
{
    vlorpi_gguf *gguf;
    VLORP_TRY(vlorpi_gguf_parse(&gguf, t->mem, file->bytes, file->n_bytes, path, err));
    vlorp_status status = in_file(vlorpi_tokenizer_read_gguf(t, gguf, err), path, err);
    vlorpi_gguf_close(gguf);
    return status;
}

/* A GGUF file, a tokenizer's own file, or a file beside it (config.json). */
static vlorp_status open_file(vlorpi_tokenizer *t, const char *path, vlorp_err *err)
{
    vlorpi_mapped_file file;
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    bool is_gguf = file.n_bytes >= 4 && memcmp(file.bytes, "GGUF", 4) == 0;
    vlorp_status status = is_gguf ? open_gguf(t, &file, path, err) : VLORP_OK;
    vlorpi_mapped_file_close(&file);
    if (is_gguf) {
        return status;
    }
    char folder[PATH_MAX];
    VLORP_TRY(join_path(folder, path, "..", err)); /* only the length matters: cut below */
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) : 1, slash != NULL ? path : ".");
    if (slash == path) {
        (void)snprintf(folder, sizeof folder, "/");
    }
    if (ends_with(path, ".model")) {
        VLORP_TRY(open_slow(t, folder, path, err));
        return read_other_files(t, folder, err);
    }
    if (ends_with(path, "tokenizer.json")) {
        VLORP_TRY(open_json(t, path, err));
        return read_other_files(t, folder, err);
    }
    if (ends_with(path, ".json") || ends_with(path, ".safetensors")) {
        return open_folder(t, folder, err);
    }
    (void)vlorpi_err_set(err, VLORP_E_FORMAT, "%s: not a tokenizer", path);
    vlorpi_err_hint(err, "name a model folder, a GGUF file, tokenizer.json or tokenizer.model");
    return VLORP_E_FORMAT;
}

/* Ends a reading: what follows from the parts, or nothing left behind. */
static vlorp_status finish(vlorpi_tokenizer **out, vlorpi_tokenizer *t, vlorp_status status, const char *name,
                           vlorp_err *err)
{
    if (status == VLORP_OK) {
        status = in_file(vlorpi_tokenizer_finish(t, err), name, err);
    }
    if (status != VLORP_OK) {
        vlorpi_tokenizer_free(t);
        return status;
    }
    *out = t;
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_open(vlorpi_tokenizer **out, vlorpi_mem *mem, const char *path, vlorp_err *err)
{
    struct stat info;
    vlorpi_tokenizer *t;
    *out = NULL;
    VLORP_TRY(vlorpi_tokenizer_create(&t, mem, err));
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    vlorp_status status = folder ? open_folder(t, path, err) : open_file(t, path, err);
    return finish(out, t, status, path, err);
}

vlorp_status vlorpi_tokenizer_from_gguf(vlorpi_tokenizer **out, vlorpi_mem *mem, const vlorpi_gguf *gguf,
                                        const char *name, vlorp_err *err)
{
    vlorpi_tokenizer *t;
    *out = NULL;
    VLORP_TRY(vlorpi_tokenizer_create(&t, mem, err));
    vlorp_status status = in_file(vlorpi_tokenizer_read_gguf(t, gguf, err), name, err);
    return finish(out, t, status, name, err);
}

vlorp_status vlorpi_tokenizer_from_json(vlorpi_tokenizer **out, vlorpi_mem *mem, const char *bytes, size_t n_bytes,
                                        const char *name, vlorp_err *err)
{
    json_t *root;
    vlorpi_tokenizer *t;
    *out = NULL;
    VLORP_TRY(vlorpi_json_parse(&root, bytes, n_bytes, name, err));
    vlorp_status status = vlorpi_tokenizer_create(&t, mem, err);
    if (status == VLORP_OK) {
        status = finish(out, t, in_file(vlorpi_tokenizer_read_json(t, root, err), name, err), name, err);
    }
    json_decref(root);
    return status;
}
