#include "cli/resume_options.h"

#include "train/run_state.h"

vlorp_status vlorpi_resume_options(vlorpi_options *options, vlorpi_mem *mem, vlorp_err *err)
{
    vlorpi_run_folder folder;
    char checkpoint[VLORPI_PATH_BYTES];
    json_t *record = NULL;
    const char *path = vlorpi_options_text(options, "continue_from");
    VLORP_TRY(vlorpi_run_folder_choose(&folder, path, "", "", "", err));
    VLORP_TRY(vlorpi_run_state_find(checkpoint, folder.state, err));
    VLORP_TRY(vlorpi_run_state_settings(&record, checkpoint, mem, err));
    vlorp_status status = vlorpi_options_apply_run(options, record, folder.path, err);
    json_decref(record);
    VLORP_TRY(status);
    return vlorpi_options_check(options, err);
}
