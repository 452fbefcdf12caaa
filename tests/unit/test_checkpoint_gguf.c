/* GGUF out: what is written reads back equal to the bit, blocks are those of the gguf package, the
 * model is never held, and every failure leaves the disk as it was. */
#include "checkpoint_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoint/put_weight.h"
#include "base/mapped_file.h"
#include "format/json.h"

static const vlorp_exec serial = {.n_threads = 1};

static vlorpi_conversion conversion_of(const char *model, const char *out, vlorpi_convert_to to,
                                       vlorpi_storage storage)
{
    return (vlorpi_conversion){.model = model, .out = out, .to = to, .storage = storage,
                               .kernels = vlorpi_kernels_select(NULL), .exec = &serial};
}

static void convert(const char *model, const char *out, vlorpi_convert_to to, vlorpi_storage storage)
{
    vlorp_err err;
    vlorpi_storage stored;
    const vlorpi_conversion conversion = conversion_of(model, out, to, storage);
    ASSERT_OK(vlorpi_convert(&conversion, &mem, &stored, &err));
    assert_int_equal(stored, storage);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

/* safetensors -> GGUF -> safetensors, and GGUF -> GGUF, whose rows are put back and put again.  The
 * folder and the GGUF file of the shared model were made apart, by another program. */
static void test_round_trips(void **state)
{
    (void)state;
    const char *folder = shared_data("models/stories260K-hf");
    const char *gguf = shared_data("models/stories260K-gguf/stories260K.gguf");
    convert(folder, path_of("f32.gguf"), VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_F32);
    expect_same_tensors(gguf, path_of("f32.gguf"));
    convert(path_of("f32.gguf"), path_of("f32"), VLORPI_CONVERT_TO_FOLDER, VLORPI_STORAGE_F32);
    expect_same_tensors(folder, path_of("f32"));
    convert(gguf, path_of("again.gguf"), VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_F32);
    expect_same_tensors(gguf, path_of("again.gguf"));

    convert(folder, path_of("bf16"), VLORPI_CONVERT_TO_FOLDER, VLORPI_STORAGE_BF16);
    convert(path_of("bf16"), path_of("bf16.gguf"), VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_BF16);
    convert(path_of("bf16.gguf"), path_of("bf16-again"), VLORPI_CONVERT_TO_FOLDER, VLORPI_STORAGE_BF16);
    expect_same_tensors(path_of("bf16"), path_of("bf16-again"));
    assert_int_equal(vlorpi_mem_peak(&mem).bytes[VLORPI_MEM_WEIGHTS], 0);
}

/* Matrices in the asked form, those whose rows are not whole blocks as F16, vectors as F32. */
static void test_types(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_source *source;
    convert(shared_data("models/stories260K-hf"), path_of("q8.gguf"), VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_Q8_0);
    ASSERT_OK(vlorpi_source_open(&source, &mem, path_of("q8.gguf"), 1, &err));
    assert_string_equal(vlorpi_source_find(source, "token_embd.weight")->storage_name, "Q8_0");
    assert_string_equal(vlorpi_source_find(source, "blk.0.attn_q.weight")->storage_name, "Q8_0");
    assert_string_equal(vlorpi_source_find(source, "blk.4.ffn_down.weight")->storage_name, "F16"); /* rows of 172 */
    assert_string_equal(vlorpi_source_find(source, "blk.4.ffn_norm.weight")->storage_name, "F32");
    int64_t type = -1;
    assert_true(vlorpi_gguf_get_int(vlorpi_source_gguf(source), "general.file_type", &type));
    assert_int_equal(type, 7);
    vlorpi_source_close(source);
}

/* Appends a parameter of rows of m values as Q8_0 to a new file. */
static vlorp_status put_q8_0(const char *name, float *values, int64_t n, int64_t m, vlorp_err *err)
{
    vlorpi_param param = {.name = (char *)(uintptr_t)"w", .n_dims = 2, .n = n, .m = m, .dtype = VLORP_F32,
                          .data = values};
    vlorpi_params params = {.mem = &mem, .items = &param, .n = 1};
    vlorpi_checkpoint_model model = {.params = &params, .kernels = vlorpi_kernels_select(NULL)};
    vlorpi_checkpoint_saver saver;
    vlorpi_arena arena = vlorpi_arena_counter();
    vlorpi_checkpoint_layout(&saver, &arena, &params, NULL);
    VLORP_TRY(vlorpi_arena_init(&arena, &mem, VLORPI_MEM_WORKSPACE, arena.peak_bytes, err));
    vlorpi_checkpoint_layout(&saver, &arena, &params, NULL);
    vlorpi_file_writer writer;
    int folder = open(root, O_RDONLY | O_DIRECTORY);
    vlorp_status status = vlorpi_file_writer_open(&writer, folder, root, name, NULL, 0, err);
    assert_int_equal(status, VLORP_OK);
    status = vlorpi_put_weight(&writer, &saver, &model, 0, (vlorpi_stored_form){.storage = VLORPI_STORAGE_Q8_0}, err);
    status = vlorpi_file_writer_close(&writer, status, err);
    (void)close(folder);
    vlorpi_arena_deinit(&arena, &mem);
    return status;
}

static void test_blocks(void **state)
{
    (void)state;
    enum { ROWS = 2, COLUMNS = 512 };
    vlorp_err err;
    vlorpi_source *golden;
    vlorpi_mapped_file made;
    float values[ROWS * COLUMNS];
    ASSERT_OK(vlorpi_source_open(&golden, &mem, "tests/golden/data/quants.gguf", 1, &err));
    const vlorpi_tensor_info *want = vlorpi_source_find(golden, "make.Q8_0");
    ASSERT_OK(vlorpi_tensor_read_f32(values, vlorpi_source_find(golden, "make.Q8_0.from"), 0, ROWS * COLUMNS, &err));
    ASSERT_OK(put_q8_0("q8", values, ROWS, COLUMNS, &err));
    ASSERT_OK(vlorpi_mapped_file_open(&made, path_of("q8"), &err));
    assert_int_equal(made.n_bytes, want->n_bytes);
    assert_memory_equal(made.bytes, want->bytes, want->n_bytes);
    vlorpi_mapped_file_close(&made);
    vlorpi_source_close(golden);
    static const float cannot[] = {INFINITY, NAN, 1e38f};
    for (int i = 0; i < 3; i++) {
        values[40] = cannot[i];
        assert_int_equal(put_q8_0("x", values, ROWS, COLUMNS, &err), VLORP_E_NUMERIC);
        assert_non_null(strstr(err.text, "tensor w"));
        assert_int_equal(unlink(path_of("x")), 0);
    }
    for (int i = 0; i < 32; i++) {
        values[i] = 1e-42f; /* its scale has no finite inverse */
    }
    values[40] = 0;
    ASSERT_OK(put_q8_0("small", values, 1, 32, &err));
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void refuse(const vlorpi_conversion *conversion, vlorp_status status, const char *text)
{
    vlorp_err err;
    vlorpi_storage stored;
    int n = n_entries(root);
    assert_int_equal(vlorpi_convert(conversion, &mem, &stored, &err), status);
    if (strstr(err.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, text);
    }
    assert_int_equal(n_entries(root), n);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

static void test_places(void **state)
{
    (void)state;
    vlorp_err err;
    vlorpi_storage stored;
    const char *model = shared_data("models/stories260K-hf");
    char out[512];
    (void)snprintf(out, sizeof out, "%s", path_of("m.gguf"));
    vlorpi_conversion c = conversion_of(model, out, VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_F32);
    write_text("m.gguf", "notes of mine");
    refuse(&c, VLORP_E_IO, "exists already");
    c.overwrite = true;
    refuse(&c, VLORP_E_IO, "not a GGUF file");
    assert_int_equal(truncate(out, 0), 0);
    ASSERT_OK(vlorpi_convert(&c, &mem, &stored, &err));
    c.model = out; /* onto itself: the old file stays mapped until the new one is whole */
    ASSERT_OK(vlorpi_convert(&c, &mem, &stored, &err));
    expect_same_tensors(shared_data("models/stories260K-gguf/stories260K.gguf"), out);
    c.model = model;
    c.out = root;
    refuse(&c, VLORP_E_IO, "a folder is there");
    c.out = path_of("none/m.gguf");
    refuse(&c, VLORP_E_IO, "none: No such file");
    c.out = "";
    refuse(&c, VLORP_E_ARG, "no name");
}

/* The signal comes before the first tensor is read. */
static void test_interrupt(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = SIGINT;
    const char *model = shared_data("models/stories260K-hf");
    vlorpi_conversion c = conversion_of(model, path_of("m.gguf"), VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_F32);
    c.stop = &stop;
    refuse(&c, VLORP_E_INTERRUPTED, "m.gguf: interrupted");
    c.out = path_of("m");
    c.to = VLORPI_CONVERT_TO_FOLDER;
    refuse(&c, VLORP_E_INTERRUPTED, "m: interrupted");
}

/* Writing stops after so many bytes, as on a full disk; memory ends at every allocation. */
static void test_failures(void **state)
{
    (void)state;
    vlorpi_conversion c = conversion_of(shared_data("models/stories260K-hf"), path_of("m.gguf"),
                                        VLORPI_CONVERT_TO_GGUF, VLORPI_STORAGE_F16);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    static const rlim_t limits[] = {0, 10, 5000, 20000, 500000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rlimit limit = {.rlim_cur = limits[i], .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        refuse(&c, VLORP_E_IO, "m.gguf.partial");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
    vlorp_status status = VLORP_E_NOMEM;
    for (uint64_t n = 1; status != VLORP_OK; n = n < 200 ? n + 1 : n + n / 7) {
        vlorp_err err;
        vlorpi_storage stored;
        mem.fail_at = n;
        status = vlorpi_convert(&c, &mem, &stored, &err);
        mem.fail_at = 0;
        assert_true(status == VLORP_OK || status == VLORP_E_NOMEM);
        assert_int_equal(n_entries(root), status == VLORP_OK ? 1 : 0);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
    }
}

int main(void)
{
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    const struct CMUnitTest tests[] = {
        WITH_ROOT(test_round_trips), WITH_ROOT(test_types),    WITH_ROOT(test_blocks),
        WITH_ROOT(test_places),      WITH_ROOT(test_interrupt), WITH_ROOT(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
