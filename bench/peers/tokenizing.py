"""Tokenising speed of vlorp beside the tokenizers library, one core each, same documents, alternating.

Usage: tokenizing.py DUMP_TOKENS DATA_FOLDER [--rounds N] [--tokenizer NAME ...]
The Python that runs this needs tokenizers.  DUMP_TOKENS is the test program of that name, whose encoder is the one that
every command uses.  Documents are DATA_FOLDER/text/*.txt in pieces of about 2000 characters (as training data comes) and
whole.  Loading is not counted.  Both sides are pinned to one core.  Ids are compared before anything is timed.
"""
import argparse
import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer  # noqa: E402  (reads the environment)


def pieces_of(text, n):
    """Cut at line ends, at least n characters each."""
    out, now = [], ""
    for line in text.splitlines(keepends=True):
        now += line
        if len(now) >= n:
            out.append(now)
            now = ""
    return out + [now] if now else out


def vlorp_seconds(dump, model, paths):
    out = subprocess.run([dump, model, "--decode", *paths], check=True, stdout=subprocess.PIPE, text=True).stdout
    return sum(float(s) for s in re.findall(r"encode ([0-9.]+) s", out))


def library_seconds(tokenizer, texts):
    begin = time.perf_counter()
    for text in texts:
        tokenizer.encode(text, add_special_tokens=False)
    return time.perf_counter() - begin


def check_ids(dump, model, tokenizer, texts, paths):
    out = subprocess.run([dump, model, *paths], check=True, stdout=subprocess.PIPE, text=True).stdout
    ours = [[int(line.split()[0]) for line in document.splitlines()] for document in out.split("#\n")[:-1]]
    wrong = sum(a != tokenizer.encode(t, add_special_tokens=False).ids for a, t in zip(ours, texts))
    if wrong or len(ours) != len(texts):
        sys.exit(f"{wrong} of {len(texts)} documents have other ids")
    return sum(map(len, ours))


def measure(args, name, texts, kind):
    model = os.path.join(args.data, "tokenizers", name)
    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    n_bytes = sum(len(text.encode()) for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, text in enumerate(texts):
            paths.append(os.path.join(folder, str(i)))
            with open(paths[-1], "wb") as file:
                file.write(text.encode())
        n_tokens = check_ids(args.dump, model, tokenizer, texts, paths)
        rows = [(vlorp_seconds(args.dump, model, paths), library_seconds(tokenizer, texts)) for _ in range(args.rounds)]
    ratios = sorted(theirs / ours for ours, theirs in rows)
    best = [min(column) for column in zip(*rows)]
    print(f"{name}, {len(texts)} {kind}, {n_bytes} bytes, {n_tokens} tokens: vlorp {n_tokens / best[0] / 1e6:.2f} M "
          f"tokens/s, tokenizers {n_tokens / best[1] / 1e6:.2f}; ratio {statistics.median(ratios):.2f} "
          f"({ratios[0]:.2f} .. {ratios[-1]:.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", metavar="DUMP_TOKENS")
    parser.add_argument("data", metavar="DATA_FOLDER")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokenizer", nargs="*", default=["llama2", "llama3", "qwen3"])
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    whole = []
    for path in sorted(glob.glob(os.path.join(args.data, "text", "**", "*.txt"), recursive=True)):
        with open(path, encoding="utf-8", newline="") as file:
            whole.append(file.read())
    cut = [piece for text in whole for piece in pieces_of(text, 2000)]
    for name in args.tokenizer:
        measure(args, name, cut, "documents")
        measure(args, name, whole, "whole files")


if __name__ == "__main__":
    main()
