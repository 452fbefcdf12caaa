"""Generation beside llama.cpp on one machine, in one run, alternating: tokens/s of prompt and of new tokens as ratios.

Usage: generate.py VLORP MODEL.gguf [MODEL.gguf ...] [--rounds N] [--threads N] [--prompt TOKENS] [--new TOKENS]
Both programs read the same files (vlorp convert MODEL --to gguf --out MODEL.gguf --dtype float32|bfloat16).
The Python that runs this needs cyllama (PyPI), whose wheel brings llama.cpp compiled.

Rates are measured twice: by the clock, and by the processor time that was used, with one thread the
measure that other users of the machine disturb least.  A rate is that of the tokens alone, without
starting and reading: vlorp runs with few and with many tokens and the difference counts (of the time in
user mode, since what the system takes for loading varies); llama.cpp is timed inside its process.  The best
round of each counts.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def llama_worker(path, threads, n_prompt, n_new):
    """Prints {"prompt": [wall, cpu], "new": [wall, cpu]}: seconds per token."""
    from cyllama.llama import llama_cpp
    llama_cpp.disable_logging()
    llama_cpp.ggml_backend_load_all()
    params = llama_cpp.LlamaModelParams()
    params.n_gpu_layers = 0
    model = llama_cpp.LlamaModel(path, params, verbose=False)
    settings = llama_cpp.LlamaContextParams()
    settings.n_ctx = n_prompt + n_new + 8
    settings.n_batch = settings.n_ubatch = 512
    settings.n_threads = settings.n_threads_batch = threads
    context = llama_cpp.LlamaContext(model, settings, verbose=False)
    context.decode(llama_cpp.llama_batch_get_one([1]))  # whatever happens only once
    context.kv_cache_clear()

    def timed(calls, n_tokens):
        wall, cpu = time.perf_counter(), time.process_time()
        for ids, first in calls:
            context.decode(llama_cpp.llama_batch_get_one(ids, first))
        return [(time.perf_counter() - wall) / n_tokens, (time.process_time() - cpu) / n_tokens]

    prompt = timed([([100 + i % 1000 for i in range(n_prompt)], 0)], n_prompt)
    new = timed([([500 + i % 1000], n_prompt + i) for i in range(n_new)], n_new)
    print(json.dumps({"prompt": prompt, "new": new}))


def child(command):
    """(JSON object of the last line, processor seconds in user mode)."""
    environment = {**os.environ, "GOMP_SPINCOUNT": "2000"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        log.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)}: status {status}\n{log.read()[-2000:]}")
        return json.loads(out.read().strip().splitlines()[-1]), usage.ru_utime


def llama_round(args, path):
    command = [sys.executable, os.path.abspath(__file__), "--worker", path, str(args.threads), str(args.prompt),
               str(args.new)]
    return child(command)[0]


def vlorp_round(args, path):
    def run(prompt, n_new):
        result, cpu = child([args.vlorp, "generate", path, "--prompt", prompt, "--max_new_tokens", str(n_new),
                             "--threads", str(args.threads), "--json", "--quiet"])
        return result["prompt_tokens"], result["new_tokens"], result["seconds"], cpu

    short = "Once upon a time"
    few, one, wall0, cpu0 = run(short, 1)
    many, _, wall1, cpu1 = run("word " * args.prompt, 1)
    _, new, wall2, cpu2 = run(short, args.new + 1)
    return {"prompt": [(wall1 - wall0) / (many - few), (cpu1 - cpu0) / (many - few)],
            "new": [(wall2 - wall0) / (new - one), (cpu2 - cpu0) / (new - one)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--new", type=int, default=64)
    args = parser.parse_args()
    print(f"{args.threads} threads, prompts of {args.prompt} tokens, {args.new} new ones, {args.rounds} rounds\n")
    print("| model | tokens | clock: vlorp | llama.cpp | ratio | processor: vlorp | llama.cpp | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in args.models:
        rounds = [(vlorp_round(args, path), llama_round(args, path)) for _ in range(args.rounds)]
        for what in ("prompt", "new"):
            cells = []
            for measure in (0, 1):
                ours, theirs = (1 / min(r[side][what][measure] for r in rounds) for side in (0, 1))
                ratios = [r[1][what][measure] / r[0][what][measure] for r in rounds]
                cells += [f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f} (median {statistics.median(ratios):.2f})"]
            print(f"| {os.path.basename(path)} | {what} | " + " | ".join(cells) + " |", flush=True)


if sys.argv[1:2] == ["--worker"]:
    llama_worker(sys.argv[2], *map(int, sys.argv[3:]))
else:
    main()
