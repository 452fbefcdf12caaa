"""One PyTorch training run to compare with: prints a JSON line with the seconds of each step's parts.

Usage: torch_step.py MODEL_FOLDER STEPS (--equal BATCH LENGTH | --examples FILE) [options]
--equal: random ids, every token a target.  --examples: a JSON list of batches, each a list of {"ids", "n_prompt"};
padded to the longest of the batch, or to --pad, with the head on every token, as transformers trains.
"""
import argparse
import json
import time

import torch

import environment


def make_model(args):
    if args.plain:
        from plain_llama import Llama
        model = Llama(args.model)
        model.checkpointing = args.checkpointing
        return model.train(), model
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).train()
    if args.checkpointing:
        model.gradient_checkpointing_enable()
    # padding comes after the tokens, so a causal model needs no mask for it
    return model, lambda ids, labels: model(input_ids=ids, labels=labels, use_cache=False).loss


def equal_batch(args, vocab):
    batch, length = args.equal
    ids = torch.randint(0, vocab, (batch, length))
    return ids, ids


def padded_batch(examples, pad):
    length = max(pad, max(len(e["ids"]) for e in examples))
    ids = torch.zeros(len(examples), length, dtype=torch.long)
    labels = torch.full((len(examples), length), -100)
    for i, e in enumerate(examples):
        ids[i, :len(e["ids"])] = torch.tensor(e["ids"])
        labels[i, e["n_prompt"]:len(e["ids"])] = torch.tensor(e["ids"][e["n_prompt"]:])
    return ids, labels


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("steps", type=int)
    parser.add_argument("--equal", type=int, nargs=2)
    parser.add_argument("--examples")
    parser.add_argument("--pad", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="plain_llama instead of transformers")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--optimizer", default="adamw", choices=["adamw", "galore", "apollo"])
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, loss_of = make_model(args)
    if args.optimizer == "adamw":
        fast = {"foreach": True} if args.plain else {}
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, **fast)
    else:
        optimizer = getattr(environment, args.optimizer)(model)
    batches = None
    if args.examples:
        with open(args.examples, encoding="utf-8") as file:
            batches = json.load(file)
    vocab = next(model.parameters()).shape[0]
    parts = []
    for step in range(args.steps):
        ids, labels = padded_batch(batches[step], args.pad) if batches else equal_batch(args, vocab)
        times = [time.perf_counter()]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(ids, labels)
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter())
        del loss
        parts.append([b - a for a, b in zip(times, times[1:])])
    print(json.dumps({"forward": [p[0] for p in parts], "backward": [p[1] for p in parts],
                      "optimizer": [p[2] for p in parts], "threads": torch.get_num_threads(),
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
