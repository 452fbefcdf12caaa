"""One PyTorch training run to compare with: prints a JSON line {"seconds": [per step]}.

Usage: torch_step.py MODEL_FOLDER BATCH LENGTH STEPS [--bf16] [--checkpointing]
Every token is a target, as in vlorp's plain-text form; AdamW as PyTorch ships it.
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def main():
    folder, batch, length, steps = sys.argv[1], *map(int, sys.argv[2:5])
    dtype = torch.bfloat16 if "--bf16" in sys.argv else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.train()
    if "--checkpointing" in sys.argv:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    torch.manual_seed(0)
    seconds = []
    for _ in range(steps):
        ids = torch.randint(0, model.config.vocab_size, (batch, length))
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads(), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
