"""The Python package beside other optimizers in one unmodified loop: python_package.py MODEL_FOLDER [options]

Every method runs in a process of its own, in turn, --rounds times: tokens/s, tokens per second of processor time (which
other users of the machine disturb less), processor seconds of the first step (where bases are made), peak resident
memory of the process, and bytes saved by a forward pass for the backward pass, most as ratios to AdamW.  The loop is
the same; only the line that makes the optimizer differs (LoRA also wraps the model). Batches are random tokens, every
token a target; clipping at 1.0; all steps but the first of each process count.

--python names an interpreter with torch, transformers, peft, galore-torch, apollo-torch and vlorp; without it the
script makes one in build/peers-venv (a few hundred MB from PyPI).
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time

import environment


def adamw(model):
    import torch
    return model, torch.optim.AdamW(model.parameters(), lr=2e-5)


def lora(model):
    import torch
    from peft import LoraConfig, get_peft_model
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)


def projfactor(**settings):
    def build(model):
        from vlorp.optim import ProjFactor
        return model, ProjFactor(model, **dict(lr=2e-5, factor=64, rank=1, update_proj_gap=30) | settings)
    return build


ALL = ("attn", "mlp", "embed", "head")
METHODS = {
    "AdamW": ("float32", adamw),
    "ProjFactor, attn and mlp": ("float32", projfactor()),
    "ProjFactor, all": ("float32", projfactor(targets=ALL)),
    "ProjFactor, all, side right": ("float32", projfactor(targets=ALL, side="right")),
    "ProjFactor, all, hooks": ("float32", projfactor(targets=ALL, factored=False)),
    "galore-torch, rank 64": ("float32", lambda model: (model, environment.galore(model))),
    "apollo-torch, rank 64": ("float32", lambda model: (model, environment.apollo(model))),
    "peft LoRA, rank 16": ("float32", lora),
    "AdamW, bf16": ("bfloat16", adamw),
    "ProjFactor, all, bf16": ("bfloat16", projfactor(targets=ALL)),
}


def saved_bytes(model, ids):
    """What a forward pass keeps, weights apart."""
    import torch
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    total = sum(sizes.values())
    del loss
    return total


def child(args):
    import torch
    from transformers import AutoModelForCausalLM
    if args.threads:
        torch.set_num_threads(args.threads)
    dtype, build = METHODS[args.child]
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, dtype))
    model.train()
    model, optimizer = build(model)
    torch.manual_seed(0)
    batches = [torch.randint(0, model.config.vocab_size, (args.batch, args.length)) for _ in range(args.steps)]
    seconds = []
    for ids in batches:
        begin, cpu = time.perf_counter(), time.process_time()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        update = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        end = time.perf_counter()
        seconds.append((end - begin, end - update, time.process_time() - cpu))
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak": peak, "saved": saved_bytes(model, batches[0])}))


def run(args, python, name):
    command = [python, os.path.abspath(__file__), args.model, "--child", name, "--batch", args.batch,
               "--length", args.length, "--steps", args.steps, "--threads", args.threads]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--jobs", type=int, default=1, help="methods at once, where wall time does not matter")
    parser.add_argument("--only", nargs="*", help="methods whose names hold one of these words")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    python = args.python or environment.wheel_python()
    names = [name for name in METHODS if not args.only or name == "AdamW" or any(word in name for word in args.only)]
    results = {name: [] for name in names}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, result in pool.map(lambda name: (name, run(args, python, name)), names * args.rounds):
            results[name].append(result)
            print(name, json.dumps(result), file=sys.stderr, flush=True)
    tokens = args.batch * args.length
    rows = {}
    for name, runs in results.items():
        steps = [step for r in runs for step in r["seconds"][1:]]
        rows[name] = (statistics.median(tokens / wall for wall, _, _ in steps),
                      tokens / min(wall for wall, _, _ in steps),
                      statistics.median(tokens / cpu for _, _, cpu in steps), min(update for _, update, _ in steps),
                      min(r["seconds"][0][2] for r in runs), max(r["peak"] for r in runs), runs[0]["saved"])
    base = rows["AdamW"]
    print(f"{args.batch} x {args.length} tokens, {args.rounds} rounds of {args.steps} steps\n")
    print("| | tokens/s median | ratio | best | ratio | per CPU s | ratio | update s | first step CPU s | peak GiB | "
          "ratio | saved MiB | ratio |")
    print("|" + " --- |" * 13)
    for name, (median, best, cpu, update, first, peak, saved) in rows.items():
        print(f"| {name} | {median:.0f} | {median / base[0]:.2f} | {best:.0f} | {best / base[1]:.2f} | {cpu:.0f} | "
              f"{cpu / base[2]:.2f} | {update:.2f} | {first:.1f} | {peak / 2**30:.2f} | {peak / base[5]:.2f} | "
              f"{saved / 2**20:.0f} | {saved / base[6]:.2f} |")


if __name__ == "__main__":
    main()
