"""The published command line, scaled down: losses fall, the output loads in transformers, and
transformers gives our held-out loss.

Usage: check_training.py VLORP
Needs $VLORP_TEST_SMOLLM2 (a GGUF file), the shared data, torch and transformers.  Exit 77: skipped.
Prompt, answer and mask are made here from the published template, not by our code.
"""
import json
import os
import sys
import tempfile

from script import run, skip

TEMPLATE = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
            "request.\n\n### Instruction:\n{instruction}\n\n### Response:\n")
MAX_LOSS_DIFFERENCE = 1e-3
MAX_LENGTH = 256
N_HELD_OUT = 24


def held_out_loss(folder, records):
    """Mean nats per answer token by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    total, count = 0.0, 0
    for record in records:
        prompt = TEMPLATE.format(instruction=record["instruction"])
        encoded = tokenizer(prompt + record["output"], return_offsets_mapping=True)
        ids = (encoded["input_ids"] + [tokenizer.eos_token_id])[:MAX_LENGTH]
        ends = ([end for _, end in encoded["offset_mapping"]] + [10**9])[:MAX_LENGTH]
        with torch.no_grad():
            log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for t in range(len(ids) - 1):
            if ends[t + 1] > len(prompt):  # a token that holds any of the answer is a target
                total -= float(log_p[t, ids[t + 1]])
                count += 1
    return total / count, count


def main():
    vlorp = sys.argv[1]
    data = os.environ.get("VLORP_TEST_DATA", "../shared/data")
    gguf = os.environ.get("VLORP_TEST_SMOLLM2", "")
    if not os.path.isfile(gguf):
        skip("VLORP_TEST_SMOLLM2 names no GGUF file")
    if not os.path.isdir(os.path.join(data, "commonsense")):
        skip(f"no {data}/commonsense")
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as missing:
        skip(str(missing))

    with open(os.path.join(data, "commonsense/ARC-Easy/test.json"), encoding="utf-8") as file:
        records = json.load(file)[:N_HELD_OUT]
    with tempfile.TemporaryDirectory() as scratch:
        held = os.path.join(scratch, "held_out.json")
        with open(held, "w", encoding="utf-8") as file:
            json.dump(records, file)
        folder = os.path.join(scratch, "smollm2")
        run(vlorp, "convert", "--model_name", gguf, "--to", "safetensors", "--dtype", "bfloat16", "--out", folder)
        save = os.path.join(scratch, "run")
        out = run(vlorp, "train", "--model_name", folder, "--data_dir", data, "--dataset", "commonsense",
                  "--lr", "1e-4", "--activation_checkpointing", "--batch_size", "4", "--total_batch_size", "8",
                  "--num_training_steps", "6", "--warmup_steps", "2", "--weight_decay", "0",
                  "--grad_clipping", "1.0", "--dtype", "bfloat16", "--eval_every", "6", "--update_proj_gap", "5",
                  "--scale", "0.25", "--single_gpu", "--factor", "64", "--rank", "1", "--optimizer", "projfactor",
                  "--max_length", str(MAX_LENGTH), "--wandb_expname", "check", "--eval_data", held,
                  "--save_dir", save)
        model_folder = out.rstrip("\n").split("\n")[-1]
        if os.path.abspath(model_folder) != os.path.abspath(os.path.join(save, "model")):
            sys.exit(f"the last line of standard output is {model_folder!r}, not the model folder")
        lines = [json.loads(line) for line in open(os.path.join(save, "metrics.jsonl"), encoding="utf-8")]
        losses = [line["loss"] for line in lines if "loss" in line]
        evals = [line["eval_loss"] for line in lines if "eval_loss" in line]
        first, last = sum(losses[:2]) / 2, sum(losses[-2:]) / 2
        theirs, n_tokens = held_out_loss(model_folder, records)
        print(f"training loss {first:.4f} -> {last:.4f}; held-out {evals[0]:.4f} -> {evals[-1]:.4f}; "
              f"transformers says {theirs:.4f} over {n_tokens} tokens")
        if not (last < first and evals[-1] < evals[0]):
            sys.exit("the losses did not fall")
        if not abs(theirs - evals[-1]) <= MAX_LOSS_DIFFERENCE:
            sys.exit(f"transformers' held-out loss differs by {abs(theirs - evals[-1]):.3g}")


if __name__ == "__main__":
    main()
