"""vlorp beside PyTorch on one machine, in one run, alternating: speed by phase and peak memory, as ratios.

Usage: compare.py VLORP MODEL_FOLDER DATA_FOLDER [--rounds N] [--steps S] [--only equal|commonsense] [--log FILE]

The peers are set up by environment.py.  PyTorch is taken at its best: the newest wheel and Debian's (where it is
installed), transformers and a plain decoder, with and without tcmalloc, with its own number of threads and with one more
and one less, each tried once; the fastest is compared with.

  equal        4 sequences of 256 tokens, every token a target (vlorp: windows of DATA_FOLDER/text)
  commonsense  examples of DATA_FOLDER/commonsense, 8 a step, the same for all; PyTorch pads and has the head on every token

Every case runs once per round, and a ratio is taken within each round; the table gives the median of the rounds'
ratios and their spread.  The first step of a case is not counted, but told: svd methods make their bases there.
Memory is the largest resident set of the process.  MODEL_FOLDER is a LLaMA-like model in fp32.
"""
import argparse
import glob
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

import environment

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{instruction}\n\n### Response:\n")  # vlorp's template "alpaca"
WITHOUT_AVX512 = {"VLORP_CPU": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                  "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}


def run(command, preload=None):
    """(standard output, peak resident bytes) of a child."""
    env = dict(os.environ, LD_PRELOAD=preload) if preload else None
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=log, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        log.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))}: status {status}\n{log.read()[-2000:]}")
        return out.read(), usage.ru_maxrss * 1024


def torch_run(setting, model, steps, work, extra=()):
    """One run of torch_step.py; `work` says what to train on."""
    command = [setting["python"], os.path.join(HERE, "torch_step.py"), model, steps, *work, *extra]
    command += ["--plain"] if setting["plain"] else []
    command += ["--threads", setting["threads"]] if setting["threads"] else []
    out, peak = run(command, setting["preload"])
    result = json.loads(out.strip().splitlines()[-1])
    phases = {name: result[name] for name in ("forward", "backward", "optimizer")}
    seconds = [sum(step) for step in zip(*phases.values())]
    return {"seconds": seconds, "peak": peak, **phases}


def vlorp_run(args, data, n_tokens, extra):
    """One run of vlorp train; phases from metrics.jsonl."""
    with tempfile.TemporaryDirectory() as scratch:
        save = os.path.join(scratch, "run")
        _, peak = run([args.vlorp, "train", args.model, "--dataset", data, "--save_dir", save,
                       "--num_training_steps", args.steps, *extra])
        with open(os.path.join(save, "metrics.jsonl"), encoding="utf-8") as file:
            lines = [line for line in map(json.loads, file) if "loss" in line]
    if n_tokens is not None and sum(line["tokens"] for line in lines) != n_tokens:
        sys.exit(f"vlorp saw {sum(line['tokens'] for line in lines)} tokens, PyTorch {n_tokens}")

    def phase(*names):
        return [sum(line[f"{name}_seconds"] for name in names) for line in lines]
    return {"seconds": [line["seconds"] for line in lines], "peak": peak, "forward": phase("forward"),
            "head": phase("head"), "backward": phase("backward", "recompute", "gradient"),
            "optimizer": phase("update")}


def settings_to_try():
    """PyTorch's versions, allocators and threads; the first is the wheel as it comes."""
    wheel, debian, tcmalloc = environment.wheel_python(), environment.debian_python(), environment.tcmalloc()
    cores = len(os.sched_getaffinity(0))
    settings = []
    for name, python, plain in (("wheel", wheel, False), ("wheel, plain decoder", wheel, True),
                                ("Debian, plain decoder", debian, True)):
        for preload in (None, tcmalloc):
            if python and (preload or preload is None):
                settings.append({"name": name + (", tcmalloc" if preload else ""), "python": python, "plain": plain,
                                 "preload": preload, "threads": 0})
    for threads in (cores - 1, cores + 1):
        if threads > 0:
            settings.append({**settings[1], "name": f"{settings[1]['name']}, {threads} threads", "threads": threads})
    return settings


def best_setting(args, work):
    """The fastest by its best step, or the one that --setting names."""
    tried = []
    for setting in settings_to_try() if args.setting else []:
        if setting["name"] == args.setting:
            return setting
    for setting in settings_to_try():
        result = torch_run(setting, args.model, 3, work)
        tried.append((min(result["seconds"][1:]), setting))
        print(f"PyTorch, {setting['name']}: {min(result['seconds'][1:]):.2f} s a step, {result['peak'] / 2**30:.2f} GiB",
              flush=True)
    return min(tried, key=lambda pair: pair[0])[1]


def alternate(args, cases, pairs):
    """{name: [result of each round]}; cases: {name: function}; pairs: {case: the case that it is compared with}."""
    if args.cases:
        chosen = [name for name in cases if any(word in name for word in args.cases)]
        cases = {name: cases[name] for name in cases if name in chosen or name in [pairs[c] for c in chosen]}
    results = {name: [] for name in cases}
    for i in range(args.rounds):
        for name, measure in cases.items():
            result = measure()
            results[name].append(result)
            print(f"round {i + 1}: {name}: {statistics.median(result['seconds'][1:]):.3f} s", file=sys.stderr, flush=True)
            if args.log:
                with open(args.log, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"round": i, "case": name, **result}) + "\n")
    return results


def median_step(result):
    return statistics.median(result["seconds"][1:])


def report(results, pairs, tokens_per_step):
    """The table; pairs: {case: the case that it is compared with}."""
    print("\n| | compared with | tokens/s | ratio, median (least to most) | forward / head / backward / optimizer s | "
          "first step s | peak GiB | ratio |\n|" + " --- |" * 8)
    for name, runs in results.items():
        base = results[pairs[name]]
        ratios = [median_step(b) / median_step(r) for r, b in zip(runs, base)]
        peak, base_peak = (max(r["peak"] for r in which) for which in (runs, base))
        step = statistics.median(median_step(r) for r in runs)
        parts = [f"{statistics.median(s for r in runs for s in r[part][1:]):.2f}" if part in runs[0] else "-"
                 for part in ("forward", "head", "backward", "optimizer")]
        first = statistics.median(r["seconds"][0] for r in runs)
        print(f"| {name} | {pairs[name] if pairs[name] != name else ''} | {tokens_per_step / step:.0f} | "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {' / '.join(parts)} | "
              f"{first:.2f} | {peak / 2**30:.2f} | {peak / base_peak:.2f} |")
    print()


def compare_equal(args):
    work = ["--equal", 4, 256]
    best = best_setting(args, work)
    text = sorted(glob.glob(os.path.join(args.data, "text", "*.txt")))[0]
    shape = ["--batch_size", 4, "--total_batch_size", 4, "--max_length", 256]
    project = ["--target", "all", "--rank", 1]
    keep, recompute = "--no_activation_checkpointing", "--activation_checkpointing"
    plain, checkpointed = f"PyTorch AdamW ({best['name']})", "PyTorch AdamW, checkpointing"
    cases = {plain: lambda: torch_run(best, args.model, args.steps, work),
             checkpointed: lambda: torch_run(best, args.model, args.steps, work, ["--checkpointing"])}
    pairs = {plain: plain, checkpointed: checkpointed}
    for memory, base in ((keep, plain), (recompute, checkpointed)):
        for name, options in (("adamw", ["--optimizer", "adamw", "--dtype", "float32"]),
                              ("projfactor, all, M = 256", [*project, "--factor", 256, "--dtype", "float32"]),
                              ("projfactor, all, M = 64", [*project, "--factor", 64, "--dtype", "float32"]),
                              ("projfactor, all, M = 64, bf16", [*project, "--factor", 64, "--dtype", "bfloat16"])):
            case = f"vlorp {name}" + (", checkpointing" if memory == recompute else "")
            cases[case] = lambda options=options, memory=memory: vlorp_run(
                args, text, None, [*shape, memory, *options])
            pairs[case] = base
    results = alternate(args, cases, pairs)
    print(f"\nequal: 4 x 256 tokens, {args.rounds} rounds of {args.steps} steps")
    report(results, pairs, 4 * 256)


def commonsense_examples(args, folder):
    """Files of the same examples for both programs, and their number of tokens; runs in the peers' environment."""
    code = ("import json, sys\nfrom transformers import AutoTokenizer\n"
            "t = AutoTokenizer.from_pretrained(sys.argv[1])\nrows = json.load(open(sys.argv[2]))\nout = []\n"
            "for r in rows:\n    text = sys.argv[3].format(**r)\n    ids = t(text + r['output'])['input_ids']\n"
            "    out.append({'ids': ids + [t.eos_token_id], 'n_prompt': len(t(text)['input_ids'])})\n"
            "json.dump([out[i:i + 8] for i in range(0, len(out), 8)], open(sys.argv[4], 'w'))\n"
            "print(sum(len(e['ids']) for e in out))\n")
    rows = []
    for path in sorted(glob.glob(os.path.join(args.data, "commonsense", "*", "train.json"))):
        with open(path, encoding="utf-8") as file:
            rows += json.load(file)
    n = 8 * args.steps
    random.Random(0).shuffle(rows)
    rows = rows[:n]
    data, batches = os.path.join(folder, "examples.json"), os.path.join(folder, "batches.json")
    with open(data, "w", encoding="utf-8") as file:
        json.dump(rows, file)
    out, _ = run([environment.wheel_python(), "-c", code, args.model, data, PROMPT, batches])
    return data, batches, int(out)


def compare_commonsense(args):
    with tempfile.TemporaryDirectory() as folder:
        data, batches, n_tokens = commonsense_examples(args, folder)
        work = ["--examples", batches]
        wheels = [s for s in settings_to_try() if s["python"] == environment.wheel_python() and not s["plain"]]
        best = wheels[1] if len(wheels) > 1 else wheels[0]
        base = "PyTorch AdamW, padded to the longest"
        cases = {base: lambda: torch_run(best, args.model, args.steps, work),
                 "galore-torch, rank 64": lambda: torch_run(best, args.model, args.steps, work, ["--optimizer", "galore"]),
                 "apollo-torch, rank 64": lambda: torch_run(best, args.model, args.steps, work, ["--optimizer", "apollo"]),
                 "PyTorch AdamW, padded to 1024": lambda: torch_run(best, args.model, min(args.steps, 2), work,
                                                                    ["--pad", 1024])}
        shape = ["--batch_size", 8, "--total_batch_size", 8, "--dtype", "float32", "--no_activation_checkpointing"]
        for name, options in (("adamw", ["--optimizer", "adamw"]), ("projfactor", ["--factor", 64, "--rank", 1]),
                              ("projfactor, all", ["--factor", 64, "--rank", 1, "--target", "all"])):
            cases[f"vlorp {name}"] = lambda options=options: vlorp_run(args, data, n_tokens, [*shape, *options])
        results = alternate(args, cases, dict.fromkeys(cases, base))
    mean = n_tokens / args.steps
    print(f"\ncommonsense: {args.steps} steps of 8 examples, {mean:.0f} tokens each on average, {args.rounds} rounds")
    for peer in [name for name in results if not name.startswith("vlorp")]:
        report({name: runs for name, runs in results.items() if name == peer or name.startswith("vlorp")},
               dict.fromkeys(results, peer), mean)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", choices=["equal", "commonsense"])
    parser.add_argument("--avx2", action="store_true", help="both programs without AVX-512, as on a machine that lacks it")
    parser.add_argument("--cases", nargs="*", help="only those whose names hold one of these words, and what they are compared with")
    parser.add_argument("--setting", help="PyTorch's setting, as an earlier run named it, instead of the search for the best")
    parser.add_argument("--log", help="every measured number, one JSON object a line, is added to this file")
    args = parser.parse_args()
    if args.avx2:
        os.environ.update(WITHOUT_AVX512)
    if args.only != "commonsense":
        compare_equal(args)
    if args.only != "equal":
        compare_commonsense(args)


if __name__ == "__main__":
    main()
