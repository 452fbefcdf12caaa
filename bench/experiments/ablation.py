#!/usr/bin/env python3
"""Held-out loss of the method's choices on a real model: momentum policies, targets, projections, c and r.

    bench/experiments/ablation.py MODEL --data_dir DATA --results FILE [--vlorp PROGRAM] [--only ARM,...]
    bench/experiments/ablation.py --table FILE

Every arm changes one choice of the base (M = 64 as c 64, r 1, normal, reset, attn,mlp) and runs with the
same seeds, so that arms are compared seed by seed: same examples, same order, same held-out set.  A run
whose line stands in FILE is not repeated.  `--table` prints mean and paired 95 % interval (Student's t)
of the difference to the base.
"""
import argparse
import json
import math
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

BASE = {"factor": "64", "rank": "1", "proj_type": "normal", "momentum": "reset", "target": "attn,mlp"}
ARMS = {
    "base": {},
    "transport": {"momentum": "transport"},
    "keep": {"momentum": "keep"},
    "target all": {"target": "all"},
    "rademacher": {"proj_type": "rademacher"},
    "svd": {"proj_type": "svd"},
    "c 16, r 4": {"factor": "16", "rank": "4"},
    "c 4, r 16": {"factor": "4", "rank": "16"},
    "c 1, r 64": {"factor": "1", "rank": "64"},
    "c 1/4, r 256": {"factor": "1/4", "rank": "256"},
    "adamw": {"optimizer": "adamw"},
    "adaptive": {"adaptive_budget": "true"},
}
# Student's t at 97.5 % by degrees of freedom.
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def command(args, arm, seed, folder):
    options = {**BASE, **ARMS[arm]}
    if options.get("optimizer") == "adamw":
        options = {"optimizer": "adamw"}
    words = [args.vlorp, "train", args.model, "--dataset", str(args.work / "train.json"),
             "--eval_data", str(args.work / "held_out.json"),
             "--batch_size", str(args.batch), "--total_batch_size", str(args.batch),
             "--num_training_steps", str(args.steps), "--update_proj_gap", str(args.gap), "--lr", str(args.lr),
             "--max_length", "256", "--seed", str(seed), "--threads", str(args.threads),
             "--save_dir", str(folder), "--overwrite", "--quiet"]
    if args.prompts:
        words.append("--train_on_prompts")
    for name, value in options.items():
        words += [f"--{name}", value]
    return words


def split_data(args):
    """One held-out set for all seeds, so that seeds differ by order and projections alone."""
    records = []
    for path in sorted(pathlib.Path(args.data_dir).glob("commonsense/*/train.json")):
        records += json.loads(path.read_text(encoding="utf-8"))
    random.Random(0).shuffle(records)
    (args.work / "held_out.json").write_text(json.dumps(records[:args.held_out]), encoding="utf-8")
    (args.work / "train.json").write_text(json.dumps(records[args.held_out:]), encoding="utf-8")


def run_one(args, arm, seed):
    with tempfile.TemporaryDirectory(prefix="vlorp-ablation-") as scratch:
        folder = pathlib.Path(scratch) / "run"
        begin = time.monotonic()
        done = subprocess.run(command(args, arm, seed, folder), capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{arm}, seed {seed}: {done.stderr.strip()}", file=sys.stderr)
            return
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(folder)
    evals = [line["eval_loss"] for line in lines if "eval_loss" in line]
    steps = [line for line in lines if "loss" in line]
    result = {"arm": arm, "seed": seed, "lr": args.lr, "steps": args.steps, "batch": args.batch, "gap": args.gap,
              "prompts": args.prompts, "before": evals[0], "after": evals[-1],
              "losses": [round(line["loss"], 5) for line in steps], "tokens": sum(line["tokens"] for line in steps),
              "slowest_step": max(line["seconds"] for line in steps[1:]),
              "median_step": sorted(line["seconds"] for line in steps)[len(steps) // 2],
              "seconds": round(time.monotonic() - begin, 1)}
    with open(args.results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(f"{arm}, seed {seed}: {result['after']:.4f} in {result['seconds']} s", flush=True)


def read(path):
    try:
        return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def interval(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, T_975[len(values) - 1] * spread / math.sqrt(len(values))


def table(path):
    groups = {}
    for line in read(path):
        groups.setdefault((line["prompts"], line["lr"], line["steps"]), {}).setdefault(line["arm"], {})[line["seed"]] = line
    for (prompts, lr, steps), arms in groups.items():
        target = "all tokens" if prompts else "answers"
        print(f"\n{target}, lr {lr:g}, {steps} steps\n")
        print("| arm | seeds | held-out loss | difference to the base, 95 % | |\n| --- | --- | --- | --- | --- |")
        base = arms.get("base", {})
        for arm, runs in sorted(arms.items(), key=lambda item: list(ARMS).index(item[0])):
            mean = sum(run["after"] for run in runs.values()) / len(runs)
            shared = [runs[seed]["after"] - base[seed]["after"] for seed in runs if seed in base]
            words = ["", ""]
            if arm != "base" and shared:
                difference, half = interval(shared)
                words = [f"{difference:+.4f} ± {half:.4f}", "significant" if abs(difference) > half else "not significant"]
            print(f"| {arm} | {len(runs)} | {mean:.4f} | {words[0]} | {words[1]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--table", metavar="FILE", help="print the table of these results and stop")
    parser.add_argument("--data_dir")
    parser.add_argument("--results")
    parser.add_argument("--vlorp", default="build/release/vlorp")
    parser.add_argument("--only", help="these arms, separated by ';'")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--gap", type=int, default=6)
    parser.add_argument("--held_out", type=int, default=64, help="examples that are judged")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--prompts", action="store_true", help="train on and judge by all tokens, not the answers alone")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    if not (args.model and args.data_dir and args.results):
        parser.error("MODEL, --data_dir and --results are needed")
    args.work = pathlib.Path(args.results).absolute().parent
    keys = ("arm", "seed", "lr", "steps", "batch", "gap", "prompts")
    known = {tuple(line[key] for key in keys) for line in read(args.results)}
    split_data(args)
    wanted = args.only.split(";") if args.only else list(ARMS)
    todo = [(arm, int(seed)) for seed in args.seeds.split(",") for arm in wanted
            if (arm, int(seed), args.lr, args.steps, args.batch, args.gap, args.prompts) not in known]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda item: run_one(args, *item), todo))


if __name__ == "__main__":
    main()
