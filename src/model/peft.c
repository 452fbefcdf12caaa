#include "model/peft.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "format/json.h"
#include "format/safetensors.h"

enum { MAX_RANK = 1 << 20 };

struct vlorpi_peft {
    vlorpi_mem *mem;
    char *folder;
    json_t *config;
    vlorpi_mapped_file mapped;
    vlorpi_safetensors *file;
    vlorpi_lora lora;
};

static vlorp_status join(char out[PATH_MAX], const char *folder, const char *name, vlorp_err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= PATH_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s/%s: the path is too long", folder, name);
    }
    return VLORP_OK;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool vlorpi_peft_is_folder(const char *path)
{
    char config[PATH_MAX];
    return join(config, path, VLORPI_PEFT_CONFIG, NULL) == VLORP_OK && exists(config);
}

/* A field that says nothing: missing, null, false, "none", an empty list or object, and what weights began with where
 * that did not change the base. */
static bool says_nothing(const char *field, const json_t *value)
{
    static const char *const harmless[] = {"none", "gaussian", "orthogonal", "eva", "lora_only"};
    if (strcmp(field, "init_lora_weights") == 0 && json_is_boolean(value)) {
        return true;
    }
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < sizeof harmless / sizeof harmless[0]; i++) {
        if (strcmp(text, harmless[i]) == 0) {
            return true;
        }
    }
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static vlorp_status check_fields(const json_t *config, const char *path, vlorp_err *err)
{
    static const char *const refused[] = {"bias",            "fan_in_fan_out",     "modules_to_save", "use_dora",
                                          "rank_pattern",    "alpha_pattern",      "lora_bias",       "layer_replication",
                                          "use_qalora",      "target_parameters",  "use_bdlora",      "arrow_config",
                                          "init_lora_weights", "trainable_token_indices", "alora_invocation_tokens",
                                          "kasa_config",     "velora_config",      "monteclora_config"};
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    if (type == NULL || strcmp(type, "LORA") != 0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: peft_type: LORA is read, not %.40s", path,
                   type != NULL ? type : "a file without it");
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!says_nothing(refused[i], json_object_get(config, refused[i]))) {
            (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: %s: an adapter that uses it is not read", path,
                                 refused[i]);
            vlorpi_err_hint(err, "merge it with peft (merge_and_unload, save_pretrained) and give the merged folder");
            return VLORP_E_UNSUPPORTED;
        }
    }
    return VLORP_OK;
}

static vlorp_status read_config(vlorpi_peft *peft, const char *path, vlorp_err *err)
{
    VLORP_TRY(vlorpi_json_load(&peft->config, path, err));
    const json_t *rank = json_object_get(peft->config, "r");
    const json_t *alpha = json_object_get(peft->config, "lora_alpha");
    const json_t *dropout = json_object_get(peft->config, "lora_dropout");
    VLORP_TRY(check_fields(peft->config, path, err));
    peft->lora = (vlorpi_lora){
        .rank = json_integer_value(rank),
        .alpha = json_number_value(alpha),
        .dropout = json_number_value(dropout),
        .rank_scaled = json_is_true(json_object_get(peft->config, "use_rslora")),
    };
    if (peft->lora.rank < 1 || peft->lora.rank > MAX_RANK || !(peft->lora.alpha > 0) ||
        !(peft->lora.dropout >= 0 && peft->lora.dropout < 1)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s: r, lora_alpha or lora_dropout is missing or out of range", path);
    }
    return VLORP_OK;
}

static vlorp_status open_folder(vlorpi_peft *peft, vlorp_err *err)
{
    char path[PATH_MAX];
    VLORP_TRY(join(path, peft->folder, VLORPI_PEFT_CONFIG, err));
    VLORP_TRY(read_config(peft, path, err));
    VLORP_TRY(join(path, peft->folder, VLORPI_PEFT_WEIGHTS, err));
    if (!exists(path)) {
        (void)vlorpi_err_set(err, VLORP_E_IO, "%s: %s", path, strerror(errno));
        vlorpi_err_hint(err, "adapters are read from %s; an adapter_model.bin becomes one by loading it in peft and "
                        "save_pretrained", VLORPI_PEFT_WEIGHTS);
        return VLORP_E_IO;
    }
    VLORP_TRY(vlorpi_mapped_file_open(&peft->mapped, path, err));
    return vlorpi_safetensors_parse(&peft->file, peft->mem, peft->mapped.bytes, peft->mapped.n_bytes, path, err);
}

vlorp_status vlorpi_peft_open(vlorpi_peft **out, vlorpi_mem *mem, const char *folder, vlorp_err *err)
{
    *out = NULL;
    vlorpi_peft *peft = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *peft);
    if (peft == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *peft, err);
    }
    peft->mem = mem;
    peft->folder = vlorpi_mem_strdup(mem, VLORPI_MEM_DATA, folder);
    vlorp_status status = peft->folder != NULL ? open_folder(peft, err)
                                               : vlorpi_mem_fail(mem, VLORPI_MEM_DATA, strlen(folder) + 1, err);
    if (status != VLORP_OK) {
        vlorpi_peft_close(peft);
        return status;
    }
    *out = peft;
    return VLORP_OK;
}

void vlorpi_peft_close(vlorpi_peft *peft)
{
    if (peft == NULL) {
        return;
    }
    vlorpi_safetensors_close(peft->file);
    vlorpi_mapped_file_close(&peft->mapped);
    json_decref(peft->config);
    vlorpi_mem_free(peft->mem, peft->folder);
    vlorpi_mem_free(peft->mem, peft);
}

void vlorpi_peft_unmap(vlorpi_peft *peft)
{
    vlorpi_mapped_file_close(&peft->mapped);
    peft->mapped = (vlorpi_mapped_file){0};
}

/* The base that the adapter's own configuration names. */
static vlorp_status find_base(const char **base, const vlorpi_peft *peft, vlorp_err *err)
{
    *base = json_string_value(json_object_get(peft->config, "base_model_name_or_path"));
    if (*base != NULL && exists(*base)) {
        return VLORP_OK;
    }
    (void)vlorpi_err_set(err, VLORP_E_IO, "%s: its base model %s%.200s", peft->folder,
                         *base != NULL ? "is not there: " : "is not named", *base != NULL ? *base : "");
    vlorpi_err_hint(err, "give the base as the model, and --adapter %.200s", peft->folder);
    return VLORP_E_IO;
}

vlorp_status vlorpi_peft_resolve(vlorpi_peft **peft, const char **base, vlorpi_mem *mem, const char *model,
                                 const char *adapter, vlorp_err *err)
{
    *peft = NULL;
    *base = model;
    if (adapter != NULL && vlorpi_peft_is_folder(model)) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: an adapter itself; --adapter %s needs the base model beside it", model,
                   adapter);
    }
    if (adapter != NULL) {
        return vlorpi_peft_open(peft, mem, adapter, err);
    }
    if (!vlorpi_peft_is_folder(model)) {
        return VLORP_OK;
    }
    VLORP_TRY(vlorpi_peft_open(peft, mem, model, err));
    vlorp_status status = find_base(base, *peft, err);
    if (status != VLORP_OK) {
        vlorpi_peft_close(*peft);
        *peft = NULL;
    }
    return status;
}

vlorpi_lora vlorpi_peft_lora(const vlorpi_peft *peft)
{
    return peft->lora;
}

const char *vlorpi_peft_folder(const vlorpi_peft *peft)
{
    return peft->folder;
}

const json_t *vlorpi_peft_config(const vlorpi_peft *peft)
{
    return peft->config;
}

int64_t vlorpi_peft_n_tensors(const vlorpi_peft *peft)
{
    return vlorpi_safetensors_n_tensors(peft->file);
}

const vlorpi_tensor_info *vlorpi_peft_tensor(const vlorpi_peft *peft, int64_t i)
{
    return vlorpi_safetensors_tensor(peft->file, i);
}

const vlorpi_tensor_info *vlorpi_peft_find(const vlorpi_peft *peft, const char *name)
{
    for (int64_t i = 0; i < vlorpi_peft_n_tensors(peft); i++) {
        if (strcmp(vlorpi_peft_tensor(peft, i)->name, name) == 0) {
            return vlorpi_peft_tensor(peft, i);
        }
    }
    return NULL;
}
