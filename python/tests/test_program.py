"""The program `vlorp train` and the package in a plain torch loop: the same model, examples and settings."""
import json
import os
import pathlib
import subprocess

import pytest
import torch
import transformers as tf

import common
from test_trainer import FOLDER, model
from vlorp.optim import ProjFactor

PROGRAM = pathlib.Path(os.environ["VLORP_LIBRARY_DIR"]) / "vlorp"
TEXTS = ["Once upon a time, Lily had a dog. Lily was very happy.", "Tom saw a big red ball in the park and ran to it.",
         "Mia and Ben went to the garden. They saw a little boat."]
STEPS, LR, FACTOR, RANK, GAP = 6, 5e-4, 8, 2, 3


def run_program(folder):
    """All examples in every step, so that their order does not matter; two micro-batches."""
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    subprocess.run([PROGRAM, "train", FOLDER, "--dataset", data, "--dtype", "float32", "--factor", str(FACTOR), "--rank",
                    str(RANK), "--lr", str(LR), "--scheduler", "constant", "--warmup_steps", "0", "--batch_size", "2",
                    "--total_batch_size", str(len(TEXTS)), "--num_training_steps", str(STEPS), "--update_proj_gap",
                    str(GAP), "--eps", "1e-6", "--weight_decay", "0.1", "--seed", "7", "--save_dir", folder / "run",
                    "--quiet"], check=True, capture_output=True)
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return tf.AutoModelForCausalLM.from_pretrained(folder / "run" / "model", dtype=torch.float32), lines


def run_torch():
    tokenizer = tf.AutoTokenizer.from_pretrained(FOLDER)
    rows = [torch.tensor([tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]]) for text in TEXTS]
    n_targets = sum(row.numel() - 1 for row in rows)
    m = model()
    optimizer = ProjFactor(m, lr=LR, factor=FACTOR, rank=RANK, update_proj_gap=GAP, weight_decay=0.1, seed=7)
    steps = []
    for _ in range(STEPS):
        total = 0.0
        for row in rows:
            logits = m(input_ids=row).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum") / n_targets
            loss.backward()
            total += float(loss.detach())
        steps.append((total, float(torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0))))
        optimizer.step()
        optimizer.zero_grad()
    return m, steps


@pytest.mark.skipif(not PROGRAM.exists(), reason="a build of the library alone has no program")
def test_program_and_package_take_the_same_steps(tmp_path):
    start = model()
    ours, lines = run_program(tmp_path)
    theirs, steps = run_torch()
    assert common.same([line["loss"] for line in lines], [loss for loss, _ in steps])
    assert common.same([line["grad_norm"] for line in lines], [norm for _, norm in steps])
    difference = common.moved(ours, theirs, start)
    print(f"difference {difference:.1e} of the distance moved")
    assert difference <= 1e-5
