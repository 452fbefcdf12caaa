"""`vlorp eval` by likelihood beside lm-eval (PyPI lm_eval), question by question.

Usage: check_lm_eval.py VLORP MODEL [--limit N] [--batch N]
MODEL is a folder, or a GGUF file, which `vlorp convert` turns into one first; lm-eval's hf backend loads it.  lm-eval
has a task of its own made of the logged prompts and options: the same texts, its own way from texts to likelihoods and to a
choice.  Run by hand, in a Python with torch, transformers and lm_eval; exit 77: skipped.
"""
import argparse
import json
import os
import sys
import tempfile
import time

from check_tasks import DATA, TOLERANCE, compare
from script import run, skip

TASK_NAME = "mmlu"
TASK = """task: vlorp_logged
dataset_path: json
dataset_kwargs:
  data_files:
    test: {path}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list:
  - metric: acc
"""


def ask(folder, lines, scratch, batch):
    """What lm-eval says: the likelihoods of every option in order, and its accuracy."""
    import lm_eval
    from lm_eval.tasks import TaskManager
    path = os.path.join(scratch, "questions.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps({key: line[key] for key in ("prompt", "options", "answer")}) + "\n")
    with open(os.path.join(scratch, "vlorp_logged.yaml"), "w", encoding="utf-8") as file:
        file.write(TASK.format(path=path))
    result = lm_eval.simple_evaluate(
        model="hf", model_args={"pretrained": folder, "dtype": "float32"}, tasks=["vlorp_logged"], batch_size=batch,
        device="cpu", log_samples=True, task_manager=TaskManager(include_path=scratch, include_defaults=False))
    samples = sorted(result["samples"]["vlorp_logged"], key=lambda sample: sample["doc_id"])
    sums = [float(response[0]) for sample in samples for response in sample["filtered_resps"]]
    return sums, result["results"]["vlorp_logged"]["acc,none"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    try:
        import lm_eval
    except ImportError as missing:
        skip(str(missing))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model
        if not os.path.isdir(folder):
            folder = os.path.join(scratch, "model")
            run(options.vlorp, "convert", options.model, "--to", "safetensors", "--dtype", "float32", "--out", folder)
        log = os.path.join(scratch, "log.jsonl")
        report = json.loads(run(options.vlorp, "eval", folder, "--task", TASK_NAME, "--limit", str(options.limit),
                                "--data_dir", DATA, "--log", log, "--dtype", "float32", "--json"))
        with open(log, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file][1:]
        begin = time.monotonic()
        sums, accuracy = ask(folder, lines, scratch, options.batch)
        worst, ties = compare(TASK_NAME, lines, sums)
        ours = report["tasks"][TASK_NAME]["accuracy"]
        print(f"{TASK_NAME}: {len(lines)} questions, lm-eval {lm_eval.__version__}: largest difference {worst:.2g} "
              f"nats (limit {TOLERANCE:g}), {ties} ties chosen otherwise; accuracy {ours:.4f} and {accuracy:.4f}; "
              f"{report['seconds']:.1f} s and {time.monotonic() - begin:.1f} s with loading")
        if ties == 0 and abs(ours - accuracy) > 1e-9:
            sys.exit("the accuracies differ")


if __name__ == "__main__":
    main()
