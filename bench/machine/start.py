"""Seconds from the start of `vlorp train` to its first step, beside reading the model's file.

Usage: start.py VLORP MODEL DATA_FILE [--rounds N] [options of train...]
MODEL is a GGUF file or a folder with one safetensors file.  The first step's begin is the time at which its line appears
in metrics.jsonl, less its own seconds.  The file is in the page cache for both.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time


def read_seconds(path):
    begin = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begin


def start_seconds(args, extra):
    with tempfile.TemporaryDirectory() as scratch:
        save = os.path.join(scratch, "run")
        metrics = os.path.join(save, "metrics.jsonl")
        begin = time.perf_counter()
        child = subprocess.Popen([args.vlorp, "train", args.model, "--dataset", args.data, "--save_dir", save,
                                  "--num_training_steps", "1", "--batch_size", "1", "--total_batch_size", "1",
                                  "--max_length", "64", *extra], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = ""
        while child.poll() is None and not line.endswith("\n"):
            time.sleep(0.002)
            if os.path.exists(metrics):
                with open(metrics, encoding="utf-8") as file:
                    line = file.read()
        seen = time.perf_counter() - begin
        _, log = child.communicate()
        if child.returncode != 0:
            raise SystemExit(log.decode()[-2000:])
        if not line:
            with open(metrics, encoding="utf-8") as file:
                line = file.read()
        return seen - json.loads(line.splitlines()[0])["seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=5)
    args, extra = parser.parse_known_args()
    path = args.model if os.path.isfile(args.model) else os.path.join(args.model, "model.safetensors")
    read_seconds(path)
    reads, starts = [], []
    for _ in range(args.rounds):
        reads.append(read_seconds(path))
        starts.append(start_seconds(args, extra))
    read, start = statistics.median(reads), statistics.median(starts)
    print(f"{path}: {os.path.getsize(path) / 2**20:.0f} MiB read in {read:.3f} s; first step after {start:.3f} s "
          f"({min(starts):.3f} to {max(starts):.3f}); {start - read:.3f} s beyond reading")


if __name__ == "__main__":
    main()
