"""vlorp beside PyTorch on one machine, in one run, alternating: tokens/s and peak memory as ratios.

Usage: compare.py VLORP MODEL_FOLDER TEXT_FILE [--rounds N] [--batch B] [--length T] [--steps S]
The Python that runs this needs torch and transformers; TEXT_FILE is plain text for vlorp's side.
Each program trains on sequences of the same number of tokens with every token a target; peak memory
is the largest resident set of the process, file pages included.  All steps but the first of each round
count; on a machine that others use too, the best step is the better estimate of what a program can do.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    """(standard output, peak resident bytes) of a child."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=out, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        log.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)}: status {status}\n{log.read()[-2000:]}")
        return out.read(), usage.ru_maxrss * 1024


def torch_round(args, extra):
    out, peak = run([sys.executable, os.path.join(HERE, "torch_step.py"), args.model, str(args.batch), str(args.length),
                     str(args.steps), *extra])
    seconds = json.loads(out.strip().splitlines()[-1])["seconds"][1:]
    return [args.batch * args.length / s for s in seconds], peak


def vlorp_round(args, extra):
    with tempfile.TemporaryDirectory() as scratch:
        save = os.path.join(scratch, "run")
        _, peak = run([args.vlorp, "train", "--model_name", args.model, "--dataset", args.text, "--max_length",
                       str(args.length), "--batch_size", str(args.batch), "--total_batch_size", str(args.batch),
                       "--num_training_steps", str(args.steps), "--save_dir", save,
                       *extra])
        with open(os.path.join(save, "metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    return [line["tokens"] / line["seconds"] for line in lines if "loss" in line][1:], peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    keep = "--no_activation_checkpointing"
    recompute = "--activation_checkpointing"
    cases = [
        ("PyTorch AdamW fp32", torch_round, []),
        ("PyTorch AdamW fp32, checkpointing", torch_round, ["--checkpointing"]),
        ("vlorp adamw fp32", vlorp_round, ["--optimizer", "adamw", "--dtype", "float32", keep]),
        ("vlorp projfactor fp32, target all", vlorp_round,
         ["--dtype", "float32", "--target", "all", "--factor", "64", "--rank", "1", keep]),
        ("vlorp projfactor bf16, target all", vlorp_round,
         ["--dtype", "bfloat16", "--target", "all", "--factor", "64", "--rank", "1", keep]),
        ("vlorp projfactor bf16, target all, checkpointing", vlorp_round,
         ["--dtype", "bfloat16", "--target", "all", "--factor", "64", "--rank", "1", recompute]),
        ("vlorp projfactor bf16, target all, checkpointing, bf16 state", vlorp_round,
         ["--dtype", "bfloat16", "--target", "all", "--factor", "64", "--rank", "1", "--state_dtype", "bfloat16",
          recompute]),
    ]
    rates = {name: [] for name, _, _ in cases}
    peaks = {name: 0 for name, _, _ in cases}
    for _ in range(args.rounds):
        for name, measure, extra in cases:
            measured, peak = measure(args, extra)
            rates[name] += measured
            peaks[name] = max(peaks[name], peak)
    base_rate, base_best = statistics.median(rates[cases[0][0]]), max(rates[cases[0][0]])
    base_peak = peaks[cases[0][0]]
    print(f"{args.batch} x {args.length} tokens, {args.rounds} rounds of {args.steps} steps\n")
    print("| | tokens/s median | ratio | tokens/s best | ratio | peak GiB | ratio |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, _, _ in cases:
        median, best = statistics.median(rates[name]), max(rates[name])
        print(f"| {name} | {median:.0f} | {median / base_rate:.2f} | {best:.0f} | {best / base_best:.2f} | "
              f"{peaks[name] / 2**30:.2f} | {peaks[name] / base_peak:.2f} |")


if __name__ == "__main__":
    main()
