/* main.c - picks the command, gives it what it needs, and turns its status into an exit code. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/resume_options.h"
#include "format/json.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SIGNAL_BASE = 128 };

const char vlorpi_program_version[] = VLORP_VERSION;

static const struct command_row {
    const char *name;
    unsigned bit;
    vlorpi_command *run;
    const char *usage;
    const char *summary;
} commands[] = {
    {"train", VLORPI_CMD_TRAIN, vlorpi_cmd_train, "MODEL --dataset NAME|FILE [options]",
     "fine-tune every weight of a model, or pre-train one (--init random)"},
    {"plan", VLORPI_CMD_PLAN, vlorpi_cmd_plan, "MODEL [--optimizer NAME|all] [--fit SIZE] [options of train]",
     "the memory of a run before it runs"},
    {"eval", VLORPI_CMD_EVAL, vlorpi_cmd_eval, "MODEL --data FILE | --task NAME,... --data_dir FOLDER [options]",
     "perplexity of a text, or answers to the questions of tasks"},
    {"generate", VLORPI_CMD_GENERATE, vlorpi_cmd_generate, "MODEL [--prompt TEXT] [options]", "go on with a text"},
    {"convert", VLORPI_CMD_CONVERT, vlorpi_cmd_convert, "MODEL --out FOLDER|FILE.gguf [--dtype NAME]",
     "write a model as a Hugging Face folder or as GGUF"},
    {"inspect", VLORPI_CMD_INSPECT, vlorpi_cmd_inspect, "MODEL [--json]", "what a model file holds"},
    {"tokenize", VLORPI_CMD_TOKENIZE, vlorpi_cmd_tokenize, "MODEL [--decode] [--no_special] < TEXT",
     "text to token ids and back"},
    {"bench", VLORPI_CMD_BENCH, vlorpi_cmd_bench, "kernels|step|optimizer [MODEL] [options of train]",
     "times kernels, whole steps and the optimizer against this machine's limit"},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_commands(FILE *out)
{
    (void)fprintf(out,
                  "vlorp %s - fine-tunes every weight of a language model in little more memory than they take\n\n"
                  "usage: vlorp COMMAND [options]\n\n",
                  vlorpi_program_version);
    for (int i = 0; i < N_COMMANDS; i++) {
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    (void)fprintf(out, "\nvlorp COMMAND --help lists the options of a command.\n");
}

static void print_help(const struct command_row *command)
{
    (void)printf("vlorp %s - %s\n\nusage: vlorp %s %s\n", command->name, command->summary, command->name,
                 command->usage);
    vlorpi_options_print_help(command->bit, stdout);
    (void)printf("\n--some_name and --some-name are the same; a switch is --x, --no_x or --x true|false.\n");
}

static const struct command_row *find_command(const char *name, vlorp_err *err)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(name, names[i]) == 0) {
            return &commands[i];
        }
    }
    if (strcmp(name, "study") == 0) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "%s: this version does not have the command", name);
        return NULL;
    }
    (void)vlorpi_err_set(err, VLORP_E_ARG, "%.100s: there is no such command", name);
    const char *nearest = vlorpi_nearest(name, names, N_COMMANDS);
    if (nearest != NULL) {
        vlorpi_err_hint(err, "did you mean vlorp %s?", nearest);
    } else {
        vlorpi_err_hint(err, "vlorp --help lists the commands");
    }
    return NULL;
}

static int exit_code(vlorp_status status)
{
    switch (status) {
    case VLORP_OK: return EXIT_DONE;
    case VLORP_E_ARG: return EXIT_USAGE;
    case VLORP_E_INTERRUPTED:
        return vlorpi_interrupt_signal != 0 ? EXIT_SIGNAL_BASE + vlorpi_interrupt_signal : EXIT_FAILED;
    default: return EXIT_FAILED;
    }
}

/* The parts that every command shares. */
static vlorp_status run_command(const struct command_row *command, const vlorpi_options *options, vlorpi_mem *mem,
                                vlorpi_output *output, vlorp_err *err)
{
    const char *level = getenv("VLORP_CPU");
    vlorpi_cli cli = {.options = options, .mem = mem, .output = output, .log = vlorpi_output_log(output)};
    cli.kernels = vlorpi_kernels_select(level);
    if (cli.kernels == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "VLORP_CPU: there is no level '%.40s'; levels are ref, avx2, avx512, neon", level);
    }
    bool given = vlorpi_options_has(options, "threads");
    cli.n_threads = given ? (int)vlorpi_options_int(options, "threads") : vlorpi_threads_physical();
    cli.exec = vlorpi_threads_exec(cli.n_threads);
    vlorpi_options_log_meaningless(options, &cli.log);
    if (command->bit == VLORPI_CMD_TRAIN && access("/dev/nvidia0", F_OK) == 0) {
        vlorpi_log_info(&cli.log, "there is a GPU; this program computes on the CPU (GPUs are for the Python package)");
    }
    vlorp_status status = command->run(&cli, err);
    vlorpi_output_end_live(output);
    return status != VLORP_OK ? status : vlorpi_output_flush(err);
}

static bool continues_a_run(const vlorpi_options *options)
{
    return (options->command & (VLORPI_CMD_TRAIN | VLORPI_CMD_PLAN)) != 0 && vlorpi_options_has(options, "continue_from");
}

static int run_words(int argc, char **argv, vlorpi_output *output, vlorpi_mem *mem)
{
    static vlorpi_options options; /* large, and alive until exit */
    vlorp_err err = {0};
    if (argc < 2) {
        print_commands(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("vlorp %s\n", vlorpi_program_version);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_commands(stdout);
        return EXIT_DONE;
    }
    bool asks_help = strcmp(argv[1], "help") == 0;
    const struct command_row *command = find_command(argv[asks_help ? 2 : 1], &err);
    vlorp_status status = VLORP_E_ARG;
    if (command != NULL && asks_help) {
        print_help(command);
        return EXIT_DONE;
    }
    if (command != NULL) {
        vlorpi_options_init(&options, command->bit);
        status = vlorpi_options_parse(&options, argc - 2, argv + 2, &err);
        if (status == VLORP_OK && options.help) {
            print_help(command);
            return EXIT_DONE;
        }
        if (status == VLORP_OK && options.version) {
            (void)printf("vlorp %s\n", vlorpi_program_version);
            return EXIT_DONE;
        }
        if (status == VLORP_OK && continues_a_run(&options)) {
            status = vlorpi_resume_options(&options, mem, &err);
        }
        if (status == VLORP_OK) {
            output->quiet = vlorpi_options_bool(&options, "quiet");
            status = run_command(command, &options, mem, output, &err);
        }
    }
    if (status != VLORP_OK) {
        vlorpi_output_error(output, &err);
    }
    return exit_code(status);
}

/* A standard stream that came closed would lend its number to the next file, and messages would land in the metrics.
 * The stand-ins refuse what the stream is for, so that lost results are still reported; messages may be lost. */
static void hold_standard_streams(void)
{
    static const int modes[] = {[STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", modes[fd]); /* the lowest free number: fd */
        }
    }
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    vlorpi_threads_bound_spinning(argv);
    vlorpi_bus_error_install();
    static vlorpi_mem mem; /* jansson's allocator books here until exit */
    vlorpi_output output;
    vlorpi_output_init(&output, false);
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    int code = run_words(argc, argv, &output, &mem);
    vlorp_err err = {0};
    if (code == EXIT_DONE && vlorpi_output_flush(&err) != VLORP_OK) {
        vlorpi_output_error(&output, &err);
        code = EXIT_FAILED;
    }
    return code;
}
