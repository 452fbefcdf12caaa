#!/usr/bin/env python3
"""Every optimizer in one loop: held-out loss at its best learning rate, speed, slowest step, planned and measured peak.

    bench/experiments/optimizers.py MODEL --data_dir DATA --results FILE [--vlorp PROGRAM] [--only NAME;...]
    bench/experiments/optimizers.py --table FILE

All see the same examples in the same order (the commonsense training sets, answers as targets) for the same number of
steps.  The learning rate is chosen for each from one grid with the first seed, by held-out loss; the other seeds run at
that rate alone.  A run whose line stands in FILE is not repeated.  Speed and memory come from runs of their own (--timing: a
few steps of each on a quiet machine), so that the others may share it.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from ablation import interval, read, split_data

M64 = {"factor": "64", "rank": "1"}
ROWS = {
    "projfactor, c 64, r 1": {"optimizer": "projfactor", **M64},
    "projfactor, target all": {"optimizer": "projfactor", **M64, "target": "all"},
    "vlorp-os, c 64, r 1": {"optimizer": "vlorp-os", **M64},
    "vlorp-ss, c 64, r 1": {"optimizer": "vlorp-ss", **M64},
    "vlorp-sgd, c 64, r 1": {"optimizer": "vlorp-sgd", **M64},
    "adamw": {"optimizer": "adamw"},
    "sgd": {"optimizer": "sgd"},
    "lomo": {"optimizer": "lomo"},
    "adafactor": {"optimizer": "adafactor"},
    "adamw8bit": {"optimizer": "adamw8bit"},
    "galore, r 64": {"optimizer": "galore", "rank": "64"},
    "fira, r 64": {"optimizer": "fira", "rank": "64"},
    "apollo, r 64": {"optimizer": "apollo", "rank": "64"},
    "apollo-mini": {"optimizer": "apollo-mini"},
    "flora, r 64": {"optimizer": "flora", "rank": "64"},
    "lora, r 16": {"optimizer": "lora", "rank": "16"},
}


def options(args, row):
    words = []
    for name, value in ROWS[row].items():
        words += [f"--{name}", value]
    return [*words, "--batch_size", str(args.batch), "--total_batch_size", str(args.batch), "--max_length", "160",
            "--dataset", str(args.work / "train.json"), "--eval_data", str(args.work / "held_out.json"),
            "--eval_every", str(args.steps), "--activation_checkpointing=false"]


def planned_bytes(args, row):
    out = subprocess.run([args.vlorp, "plan", args.model, "--json", "--quiet", *options(args, row)], check=True,
                         capture_output=True, text=True).stdout
    return next(iter(json.loads(out).values()))["total"]


def run_one(args, row, seed, lr):
    """Trains, adds a line to the results and returns it."""
    with tempfile.TemporaryDirectory(prefix="vlorp-optimizers-") as scratch:
        folder = pathlib.Path(scratch) / "run"
        with open(pathlib.Path(scratch) / "log", "w+", encoding="utf-8") as log:
            child = subprocess.Popen([args.vlorp, "train", args.model, *options(args, row), "--num_training_steps",
                                      str(args.steps), "--lr", str(lr), "--seed", str(seed), "--save_dir", str(folder),
                                      "--quiet"], stdout=subprocess.DEVNULL, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
            log.seek(0)
            error = log.read().strip()
        lines = []
        if (folder / "metrics.jsonl").exists():
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        if folder.exists():
            shutil.rmtree(folder)
    steps = [line for line in lines if "loss" in line]
    evals = [line["eval_loss"] for line in lines if "eval_loss" in line]
    result = {"row": row, "seed": seed, "lr": lr, "steps": args.steps, "batch": args.batch, "timing": args.timing,
              "before": evals[0] if evals else None, "after": evals[-1] if status == 0 else None,
              "losses": [round(line["loss"], 5) for line in steps], "tokens": [line["tokens"] for line in steps],
              "step_seconds": [round(line["seconds"], 4) for line in steps],
              "planned_bytes": planned_bytes(args, row),
              "ledger_bytes": max((line["memory_bytes"] for line in steps), default=None),
              "resident_bytes": usage.ru_maxrss * 1024}
    if status != 0:
        result["error"] = error
    with open(args.results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(f"{row}, seed {seed}, lr {lr:g}: {result['after']} {error if status else ''}", flush=True)
    return result


def loss_of(line):
    return line["after"] if line["after"] is not None else float("inf")


def run_all(args):
    known = {(line["row"], line["seed"], line["lr"]): line for line in read(args.results)
             if (line["steps"], line["batch"], line["timing"]) == (args.steps, args.batch, args.timing)}

    def run(row, seed, lr):
        return known.get((row, seed, lr)) or run_one(args, row, seed, lr)
    rows = args.only.split(";") if args.only else list(ROWS)
    if args.timing:
        for row in rows:
            run(row, args.seeds[0], args.grid[0])
        return
    for row in rows:
        grid = [run(row, args.seeds[0], lr) for lr in args.grid]
        best = min(grid, key=loss_of)
        if loss_of(best) < float("inf"):
            for seed in args.seeds[1:]:
                run(row, seed, best["lr"])


def table(path):
    rows, timings = {}, {}
    for line in read(path):
        (timings if line["timing"] else rows).setdefault(line["row"], []).append(line)
    grid = sorted({line["lr"] for lines in rows.values() for line in lines})
    print("| optimizer | held-out loss (each seed) | lr | " + " | ".join(f"lr {lr:g}" for lr in grid) +
          " | tokens/s | slowest / median step | planned MiB | measured MiB |\n|" + " --- |" * (7 + len(grid)))
    for row in sorted(rows, key=list(ROWS).index):
        lines = rows[row]
        first = lines[0]["seed"]
        best = min((line for line in lines if line["seed"] == first), key=loss_of)
        same = [line["after"] for line in lines if line["lr"] == best["lr"] and line["after"] is not None]
        mean, _ = interval(same)
        by_lr = {line["lr"]: loss_of(line) for line in lines if line["seed"] == first}
        words = ["-"] * 4
        for timing in timings.get(row, []):
            seconds = timing["step_seconds"]
            median = sorted(seconds[1:])[len(seconds[1:]) // 2]
            rate = sum(timing["tokens"][1:]) / sum(seconds[1:])
            words = [f"{rate:.0f}", f"{max(seconds) / median:.1f}", f"{timing['planned_bytes'] / 2**20:.0f}",
                     f"{timing['resident_bytes'] / 2**20:.0f}"]
        print(f"| {row} | {mean:.4f} ({', '.join('%.4f' % loss for loss in same)}) | {best['lr']:g} | "
              + " | ".join("%.3f" % by_lr[lr] if lr in by_lr else "-" for lr in grid) + " | " + " | ".join(words) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--table", metavar="FILE", help="print the table of these results and stop")
    parser.add_argument("--data_dir")
    parser.add_argument("--results")
    parser.add_argument("--vlorp", default="build/release/vlorp")
    parser.add_argument("--only", help="these rows, separated by ';'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--grid", type=float, nargs="+", default=[1e-4, 1e-3, 1e-2])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--timing", action="store_true", help="one run of each row, for speed and memory")
    parser.add_argument("--held_out", type=int, default=32, help="examples that are judged")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    if not (args.model and args.data_dir and args.results):
        parser.error("MODEL, --data_dir and --results are needed")
    args.work = pathlib.Path(args.results).absolute().parent
    split_data(args)
    run_all(args)


if __name__ == "__main__":
    main()
