#!/usr/bin/env python3
"""A small model fine-tuned on the commonsense training sets, judged on all eight tasks before and after.

    bench/experiments/finetune.py MODEL --data_dir DATA --out FOLDER [--vlorp PROGRAM] [--only ARM;...]
    bench/experiments/finetune.py --table FOLDER

The published recipe scaled down: bf16, one epoch's beginning of shuffled examples, answers as targets, a new projection
every 30 steps, clipping at 1, cosine schedule after a warm-up.  All arms see the same examples in the same order.
Questions are the first --limit of each task, answered by generation as published; the first --long_limit of --long
TASK, these by likelihood too.  What stands in FOLDER is not repeated: trainings go on where they were interrupted, and
so do evaluations.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

ARMS = {
    "before": None,
    "projfactor": ["--optimizer", "projfactor", "--factor", "64", "--rank", "1", "--lr", "3e-4"],
    "projfactor-1e-4": ["--optimizer", "projfactor", "--factor", "64", "--rank", "1", "--lr", "1e-4"],
    "adamw": ["--optimizer", "adamw", "--lr", "1e-4"],
    "lora": ["--optimizer", "lora", "--rank", "16", "--lr", "1e-3"],
}
TASKS = ["boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy", "ARC-Challenge", "openbookqa"]


def train(args, arm):
    """The folder of the trained model."""
    run = args.out / arm
    if not (run / "model").exists():
        words = ["train", args.model, "--dataset", "commonsense", "--data_dir", args.data_dir, "--dtype", "bfloat16",
                 "--batch_size", "16", "--total_batch_size", "16", "--num_training_steps", str(args.steps),
                 "--warmup_steps", "0.1", "--max_length", "256", "--update_proj_gap", "30", "--grad_clipping", "1.0",
                 *ARMS[arm], "--quiet", "--save_dir", str(run)]
        if run.exists():
            words = ["train", "--continue_from", str(run), "--quiet"]
        subprocess.run([args.vlorp, *words], check=True, stdout=subprocess.DEVNULL)
    return run / "model"


def judge(args, arm, model):
    short = [task for task in TASKS if task not in args.long]
    for name, tasks, limit, by in (("generation", short, args.limit, "generation"),
                                   ("generation-long", args.long, args.long_limit, "generation"),
                                   ("likelihood-long", args.long, args.long_limit, "likelihood")):
        path = args.out / f"{arm}-{name}.json"
        if path.exists():
            continue
        words = [args.vlorp, "eval", str(model), "--task", ",".join(tasks), "--data_dir", args.data_dir, "--by", by,
                 "--limit", str(limit), "--dtype", "bfloat16", "--json", "--quiet", "--log", str(path.with_suffix(".jsonl"))]
        begin = time.monotonic()
        out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        path.write_text(json.dumps({"seconds": round(time.monotonic() - begin), "result": json.loads(out)}, indent=1) + "\n",
                        encoding="utf-8")
        print(f"{arm}: {path.name}", file=sys.stderr, flush=True)


def tally(args, arm, by, task):
    """{"questions", "correct", "near_misses", "accuracy", "interval_95"} of one task, or None."""
    for suffix in ("-long", ""):
        path = args.out / f"{arm}-{by}{suffix}.json"
        if path.exists():
            tasks = json.loads(path.read_text(encoding="utf-8"))["result"]["tasks"]
            if task in tasks:
                return tasks[task]
    return None


def print_accuracies(args, by):
    arms = [arm for arm in ARMS if any(tally(args, arm, by, task) for task in TASKS)]
    tasks = [task for task in TASKS if any(tally(args, arm, by, task) for arm in arms)]
    print(f"\nby {by}: % right (95 % interval)\n\n| task | questions | {' | '.join(arms)} |\n|" + " --- |" * (2 + len(arms)))
    for task in tasks:
        cells, n = [], 0
        for arm in arms:
            t = tally(args, arm, by, task)
            n = t["questions"] if t else n
            cells.append("{:.1f} ({:.1f} to {:.1f})".format(100 * t["accuracy"], *(100 * x for x in t["interval_95"])) if t else "-")
        print(f"| {task} | {n} | {' | '.join(cells)} |")


def table(args):
    for by in ("generation", "likelihood"):
        print_accuracies(args, by)
    print("\n| arm | steps | tokens | training s | loss, first and last tenth |\n|" + " --- |" * 5)
    for arm in ARMS:
        path = args.out / arm / "metrics.jsonl"
        if path.exists():
            lines = [line for line in map(json.loads, path.read_text().splitlines()) if "loss" in line]
            n = max(1, len(lines) // 10)
            ends = [sum(line["loss"] for line in part) / n for part in (lines[:n], lines[-n:])]
            print(f"| {arm} | {len(lines)} | {sum(line['tokens'] for line in lines)} | "
                  f"{sum(line['seconds'] for line in lines):.0f} | {ends[0]:.3f}, {ends[1]:.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--table", metavar="FOLDER", help="print what stands there and stop")
    parser.add_argument("--data_dir")
    parser.add_argument("--out")
    parser.add_argument("--vlorp", default="build/release/vlorp")
    parser.add_argument("--only", help="these arms, separated by ';'")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--long", nargs="*", default=["ARC-Easy"])
    parser.add_argument("--long_limit", type=int, default=1000)
    args = parser.parse_args()
    args.out = pathlib.Path(args.table or args.out or "")
    if args.table:
        table(args)
        return
    if not (args.model and args.data_dir and args.out.name):
        parser.error("MODEL, --data_dir and --out are needed")
    args.out.mkdir(parents=True, exist_ok=True)
    for arm in args.only.split(";") if args.only else ARMS:
        judge(args, arm, args.model if ARMS[arm] is None else train(args, arm))


if __name__ == "__main__":
    main()
