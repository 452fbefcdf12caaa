"""`vlorp eval` by likelihood against transformers, question by question.

Usage: check_tasks.py VLORP [--model MODEL] [--tasks TASK,...] [--shots N,...] [--limit N] [--batch N]
[--threads N] [--log_dir FOLDER]
The program answers with --log; transformers gets the logged prompts and options and nothing else: its own tokens, one
pass over each whole text, the sum of the log-probabilities of the tokens that hold a byte of the option.
Seconds are of the processors, which other users of the machine disturb less; ours hold the loading too, theirs do not.
Two likelihoods may differ by 1e-3, two choices where the best of either are no further apart than that.
MODEL: a folder, a GGUF file, which is converted first, or stories260K, the shared one; by default what
$VLORP_TEST_SMOLLM2 names.  N: questions of a task, of mmlu about as many over all subjects.  Exit 77: skipped.
"""
import argparse
import json
import os
import resource
import sys
import tempfile
import time

from script import run, skip

COMMONSENSE = ["boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy", "ARC-Challenge", "openbookqa"]
DATA = os.environ.get("VLORP_TEST_DATA", "../shared/data")
TOLERANCE = 1e-3  # nats of a whole option: fp32 on both sides, sums in another order


def texts_of(tokenizer, prompt, option):
    """Ids of the whole text, and the place of the first token that holds a byte of the option."""
    coded = tokenizer(prompt + option, return_offsets_mapping=True)
    first = next(t for t, (begin, end) in enumerate(coded["offset_mapping"]) if end > len(prompt) and end > begin)
    return coded["input_ids"], first


def score(model, torch, texts, batch):
    """Log-likelihoods of (ids, first): texts that differ in their last token alone share a row; longest first."""
    groups = {}
    for i, (ids, _) in enumerate(texts):
        groups.setdefault(tuple(ids[:-1]), []).append(i)
    keys = sorted(groups, key=len, reverse=True)
    sums = [0.0] * len(texts)
    for at in range(0, len(keys), batch):
        rows = keys[at:at + batch]
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for r, row in enumerate(rows):
            ids[r, :len(row)] = torch.tensor(row)
            mask[r, :len(row)] = 1
        first = min(texts[i][1] for row in rows for i in groups[row])
        keep = longest - (first - 1)
        with torch.no_grad():
            logits = model(ids, attention_mask=mask, logits_to_keep=keep).logits.float()
        for r, row in enumerate(rows):
            for i in groups[row]:
                whole, begin = texts[i]
                places = torch.arange(begin - 1, len(whole) - 1) - (first - 1)
                chosen = torch.log_softmax(logits[r, places], dim=-1)
                sums[i] = chosen[torch.arange(len(places)), torch.tensor(whole[begin:])].double().sum().item()
    return sums


def compare(name, lines, sums):
    worst, ties, at = 0.0, 0, 0
    for line in lines:
        ours, n = line["log_likelihoods"], len(line["options"])
        theirs = sums[at:at + n]
        at += n
        difference = max(abs(a - b) for a, b in zip(ours, theirs))
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            sys.exit(f"{name}, question {line['item']}: likelihoods {ours} and {theirs}")
        choice = max(range(n), key=lambda k: theirs[k])
        if choice != line["choice"]:
            ties += 1
            if not theirs[choice] - theirs[line["choice"]] <= TOLERANCE:
                sys.exit(f"{name}, question {line['item']}: choices {line['choice']} and {choice} of {theirs}")
        if line["correct"] != (line["choice"] == line["answer"]):
            sys.exit(f"{name}, question {line['item']}: it is counted wrongly")
    return worst, ties


def answers(options, folder, task, shots, scratch, *more):
    """The program's report, and the log's lines of texts that are whole."""
    log = os.path.join(options.log_dir or scratch, f"{task}-{shots}.jsonl")
    limit = -(-options.limit // 57) if task == "mmlu" else options.limit
    command = [options.vlorp, "eval", folder, "--task", task, "--data_dir", DATA, "--limit", str(limit), "--shots",
               str(shots), "--log", log, "--batch", str(options.batch), "--threads", str(options.threads), "--dtype",
               "float32", "--json", *more]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(run(*command))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report["processor"] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file][1:]
    if report["tasks"][task]["correct"] != sum(line["correct"] for line in lines):
        sys.exit(f"{task}: the report does not count what the log says")
    return report, [line for line in lines if not line.get("cut")]


def check(options, folder, model, tokenizer, torch, task, shots, scratch):
    report, lines = answers(options, folder, task, shots, scratch)
    begin = time.process_time()
    texts = [texts_of(tokenizer, line["prompt"], option) for line in lines for option in line["options"]]
    sums = score(model, torch, texts, options.batch)
    theirs = time.process_time() - begin
    name = task + (f", {shots} shots" if shots else "")
    worst, ties = compare(name, lines, sums)
    ours = report["processor"]
    print(f"{name}: {len(lines)} questions, largest difference {worst:.2g} nats, {ties} ties chosen otherwise; "
          f"{ours:.1f} s of processor, transformers {theirs:.1f} s, ratio {theirs / ours:.2f}", flush=True)


def arguments(tasks):
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("--model", default=os.environ.get("VLORP_TEST_SMOLLM2", ""))
    parser.add_argument("--tasks", default=",".join(tasks))
    parser.add_argument("--shots", default="0", help="of mmlu and gsm8k, separated by commas")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log_dir")
    return parser


def check_all(options, check_task):
    """Calls check_task(options, folder, model, tokenizer, torch, task, shots, scratch) for each task."""
    if options.model == "stories260K":
        options.model = f"{DATA}/models/stories260K-hf"
    if not os.path.exists(options.model):
        skip("VLORP_TEST_SMOLLM2 names no GGUF file")
    if not os.path.isdir(f"{DATA}/mmlu"):
        skip(f"no {DATA}/mmlu; set VLORP_TEST_DATA to the shared data folder")
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as missing:
        skip(str(missing))
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model
        if not os.path.isdir(folder):
            folder = os.path.join(scratch, "model")
            run(options.vlorp, "convert", options.model, "--to", "safetensors", "--dtype", "float32", "--out", folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for task in options.tasks.split(","):
            for shots in options.shots.split(",") if task in ("mmlu", "gsm8k") else ["0"]:
                check_task(options, folder, model, tokenizer, torch, task, int(shots), scratch)


if __name__ == "__main__":
    check_all(arguments(COMMONSENSE + ["mmlu"]).parse_args(), check)
