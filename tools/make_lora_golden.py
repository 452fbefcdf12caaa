#!/usr/bin/env python3
"""Makes tests/golden/data/lora: adapters of a small model before and after some steps of PEFT and torch's AdamW.

Usage: make_lora_golden.py MODEL_FOLDER (stories260K of the shared data)
Needs torch, transformers and peft.  Everything is computed in float64 and stored in float32.
"""
import json
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "data", "lora")
RANK, ALPHA, STEPS, LR, WEIGHT_DECAY = 2, 3, 20, 2e-3, 0.1
LENGTHS = [19, 7, 26, 12]


def adapters(model, matrices):
    """The adapters' tensors under the names that PEFT saves."""
    return {name.replace(".default", ""): value.detach().float().contiguous() for name, value in
            model.named_parameters() if any(f"lora_{matrix}" in name for matrix in matrices)}


def main():
    torch.manual_seed(11)
    base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float64)
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"))
    examples = [torch.randint(3, base.config.vocab_size, (n,)) for n in LENGTHS]
    targets = []
    for ids in examples:  # of each token the next, some left out
        wanted = torch.cat([ids[1:], torch.tensor([-1])])
        wanted[::4] = -1
        targets.append(wanted)
    n_targets = sum(int((wanted >= 0).sum()) for wanted in targets)
    start = adapters(model, "A")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_A" in name:
                value.copy_(value.float())  # what both begin with
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=WEIGHT_DECAY)
    losses = []
    for _ in range(STEPS):
        loss = 0
        for ids, wanted in zip(examples, targets):
            logits = model(ids[None]).logits[0]
            loss = loss + torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum")
        loss = loss / n_targets
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    os.makedirs(OUT, exist_ok=True)
    tensors = {f"start.{name}": value for name, value in start.items()}
    tensors.update({f"end.{name}": value for name, value in adapters(model, "AB").items()})
    save_file(tensors, os.path.join(OUT, "golden.safetensors"))
    with open(os.path.join(OUT, "golden.json"), "w", encoding="utf-8") as file:
        json.dump({"rank": RANK, "alpha": ALPHA, "steps": STEPS, "lr": LR, "weight_decay": WEIGHT_DECAY,
                   "lengths": LENGTHS, "ids": torch.cat(examples).tolist(), "targets": torch.cat(targets).tolist(),
                   "n_targets": n_targets, "losses": losses}, file)
        file.write("\n")


if __name__ == "__main__":
    main()
