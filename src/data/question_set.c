#include "data/question_set.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/mapped_file.h"
#include "data/data_files.h"
#include "data/record_store.h"

typedef struct question_group {
    char name[128];
    int64_t begin, end;  /* of its questions in the store of records */
    int64_t shots_begin; /* of its examples in the list of shots */
} question_group;

struct vlorpi_question_set {
    vlorpi_mem *mem;
    vlorpi_question_kind kind;
    int n_shots;
    vlorpi_record_store records, shots;
    vlorpi_record *shot_records; /* [n_groups * n_shots] borrowed from shots */
    question_group *groups;      /* [n_groups] */
    int n_groups;
};

/* What the reader's callback works on. */
typedef struct reading {
    vlorpi_record_store *store;
    vlorpi_question_kind kind;
    int64_t room; /* records still to be kept */
} reading;

static vlorp_status keep_record(void *ctx, const vlorpi_record *record, vlorp_err *err)
{
    reading *r = ctx;
    vlorpi_question question;
    VLORP_TRY(vlorpi_question_of(&question, r->kind, record, err));
    if (r->room == 0) {
        return VLORP_OK;
    }
    r->room--;
    return vlorpi_record_store_add(r->store, record, err);
}

static vlorp_status read_file(reading *r, const char *path, vlorpi_form form, vlorp_err *err)
{
    vlorpi_mapped_file file;
    vlorpi_records_report report;
    VLORP_TRY(vlorpi_mapped_file_open(&file, path, err));
    vlorp_status status = vlorpi_records_read(&report, r->store->mem, path, file.bytes, file.n_bytes, form,
                                              keep_record, r, err);
    vlorpi_mapped_file_close(&file);
    return status;
}

/* What the star of place stands for in path, which ends as place does behind it. */
static void name_group(question_group *group, const char *path, const char *place)
{
    const char *star = strchr(place, '*');
    const char *slash = strrchr(path, '/');
    if (star != NULL && slash != NULL) {
        (void)snprintf(group->name, sizeof group->name, "%.*s", (int)(strlen(slash + 1) - strlen(star + 1)), slash + 1);
    }
}

static vlorp_status read_shots(vlorpi_question_set *set, const vlorpi_question_files *files, question_group *group,
                               vlorp_err *err)
{
    char path[PATH_MAX];
    const char *place = files->shots_place;
    const char *star = strchr(place, '*');
    int n = star != NULL ? snprintf(path, sizeof path, "%s/%.*s%s%s", files->data_dir, (int)(star - place), place,
                                    group->name, star + 1)
                         : snprintf(path, sizeof path, "%s/%s", files->data_dir, place);
    if (n >= PATH_MAX) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: the path is too long", files->data_dir);
    }
    group->shots_begin = set->shots.n;
    reading r = {.store = &set->shots, .kind = files->kind, .room = files->n_shots};
    VLORP_TRY(read_file(&r, path, files->form, err));
    if (r.room > 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "%s: it holds %lld examples, not %d", path,
                   (long long)(set->shots.n - group->shots_begin), files->n_shots);
    }
    return VLORP_OK;
}

static vlorp_status read_group(vlorpi_question_set *set, const vlorpi_question_files *files, const char *path,
                               vlorp_err *err)
{
    question_group *group = &set->groups[set->n_groups++];
    name_group(group, path, files->place);
    group->begin = set->records.n;
    reading r = {.store = &set->records, .kind = files->kind, .room = files->limit > 0 ? files->limit : INT64_MAX};
    VLORP_TRY(read_file(&r, path, files->form, err));
    group->end = set->records.n;
    return files->n_shots > 0 ? read_shots(set, files, group, err) : VLORP_OK;
}

static vlorp_status read_groups(vlorpi_question_set *set, const vlorpi_question_files *files,
                                const vlorpi_data_files *found, vlorp_err *err)
{
    set->groups = vlorpi_mem_calloc(set->mem, VLORPI_MEM_DATA, (size_t)found->n, sizeof set->groups[0]);
    if (set->groups == NULL) {
        return vlorpi_mem_fail(set->mem, VLORPI_MEM_DATA, (size_t)found->n * sizeof set->groups[0], err);
    }
    for (int i = 0; i < found->n; i++) {
        VLORP_TRY(read_group(set, files, found->paths[i], err));
    }
    size_t n_bytes = (size_t)set->shots.n * sizeof set->shot_records[0];
    set->shot_records = vlorpi_mem_alloc(set->mem, VLORPI_MEM_DATA, n_bytes);
    if (set->shot_records == NULL) {
        return vlorpi_mem_fail(set->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    for (int64_t i = 0; i < set->shots.n; i++) {
        set->shot_records[i] = vlorpi_record_store_get(&set->shots, i);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_question_set_open(vlorpi_question_set **out, vlorpi_mem *mem, const vlorpi_question_files *files,
                                      vlorp_err *err)
{
    *out = NULL;
    vlorpi_question_set *set = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *set);
    if (set == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *set, err);
    }
    *set = (vlorpi_question_set){.mem = mem, .kind = files->kind, .n_shots = files->n_shots,
                                 .records = {.mem = mem}, .shots = {.mem = mem}};
    vlorpi_data_files found;
    vlorp_status status =
        vlorpi_data_files_at(&found, mem, files->place, files->data_dir, files->place, files->form, err);
    if (status == VLORP_OK) {
        status = read_groups(set, files, &found, err);
    }
    vlorpi_data_files_deinit(&found);
    if (status != VLORP_OK) {
        vlorpi_question_set_free(set);
        return status;
    }
    *out = set;
    return VLORP_OK;
}

void vlorpi_question_set_free(vlorpi_question_set *set)
{
    if (set != NULL) {
        vlorpi_record_store_deinit(&set->records);
        vlorpi_record_store_deinit(&set->shots);
        vlorpi_mem_free(set->mem, set->shot_records);
        vlorpi_mem_free(set->mem, set->groups);
        vlorpi_mem_free(set->mem, set);
    }
}

int64_t vlorpi_question_set_n(const vlorpi_question_set *set)
{
    return set->records.n;
}

int vlorpi_question_set_n_groups(const vlorpi_question_set *set)
{
    return set->n_groups;
}

const char *vlorpi_question_set_group(const vlorpi_question_set *set, int group)
{
    return set->groups[group].name;
}

void vlorpi_question_set_get(const vlorpi_question_set *set, int64_t i, vlorpi_question *question)
{
    vlorpi_record record = vlorpi_record_store_get(&set->records, i);
    vlorp_err err;
    vlorp_status status = vlorpi_question_of(question, set->kind, &record, &err); /* it did when it was read */
    (void)status;
    for (question->group = 0; i >= set->groups[question->group].end;) {
        question->group++;
    }
    question->n_shots = set->n_shots;
    question->shots = set->shot_records + set->groups[question->group].shots_begin;
}

static void add_records(vlorpi_checksum *sum, const vlorpi_record_store *store)
{
    for (int64_t i = 0; i < store->n; i++) {
        vlorpi_checksum_add(sum, store->items[i].n_bytes, sizeof store->items[i].n_bytes);
    }
    vlorpi_checksum_add(sum, store->text, store->n_bytes);
}

uint64_t vlorpi_question_set_checksum(const vlorpi_question_set *set)
{
    vlorpi_checksum sum = vlorpi_checksum_begin(0);
    add_records(&sum, &set->records);
    add_records(&sum, &set->shots);
    return vlorpi_checksum_value(&sum);
}
