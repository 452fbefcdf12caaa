#!/usr/bin/env python3
"""A model of LLaMA-2-7B's (or TinyLlama-1.1B's) shape trained on one machine, its memory watched from outside.

    bench/memory/large_model.py --tokenizer FOLDER --text FILE [--shape llama-2-7b] [--state_dtype bfloat16]
                                [--work FOLDER] [--vlorp PROGRAM] [--steps N] [--results FILE]

FOLDER holds a LLaMA tokenizer (tokenizer.json), FILE is plain text.  The weights are random (--init random):
memory and time do not depend on their values.  The run takes optimizer steps of two micro-batches of --length
tokens with clipping and a refresh of the projection every second step, is interrupted by SIGINT once it has
made half of them, and goes on from its checkpoint.  All the while the process's resident memory is
read from /proc ten times a second.  7B takes 18 GiB of memory, 32 GB of disk and about three minutes a
step on two cores.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

SHAPES = {
    "llama-2-7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 32},
    "llama-2-13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40,
                    "num_attention_heads": 40, "num_key_value_heads": 40},
    "llama-2-70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
                    "num_attention_heads": 64, "num_key_value_heads": 8},
    "tinyllama-1.1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
                       "num_attention_heads": 32, "num_key_value_heads": 4},
}
COMMON = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000, "hidden_act": "silu",
          "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
          "initializer_range": 0.02, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
METHOD = ["--dtype", "bfloat16", "--target", "all", "--activation_checkpointing"]


def write_model(folder, shape, tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**COMMON, **SHAPES[shape]}))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)
    return folder / "config.json"


def n_parameters(shape):
    s = SHAPES[shape]
    width, kv = s["hidden_size"], s["hidden_size"] // s["num_attention_heads"] * s["num_key_value_heads"]
    layer = 2 * width * width + 2 * width * kv + 3 * width * s["intermediate_size"] + 2 * width
    return 2 * COMMON["vocab_size"] * width + s["num_hidden_layers"] * layer + width


def ask(args, *words):
    return json.loads(subprocess.run([args.vlorp, *words, "--json"], check=True, capture_output=True).stdout)


def plan(args, config, batch, length, optimizer, *extra):
    return ask(args, "plan", str(config), "--init", "random", *METHOD, "--factor", str(args.factor), "--rank", "1",
               "--batch_size", str(batch), "--total_batch_size", str(batch), "--max_length", str(length), "--optimizer",
               optimizer, *extra)


def resident(pid):
    """{"VmRSS", "RssAnon", "RssFile"} in bytes; nothing once the process is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines
            if line.startswith(("VmRSS", "RssAnon", "RssFile"))}


def steps_done(metrics):
    if not metrics.exists():
        return []
    lines = [json.loads(line) for line in metrics.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if "loss" in line]


def watch(command, log, metrics=None, interrupt_after=None):
    """Runs command; (exit status, seconds, peaks).  SIGINT is sent once the metrics hold so many steps."""
    peaks, begin, sent = {}, time.monotonic(), False
    with open(log, "ab") as file:
        child = subprocess.Popen(command, stdout=file, stderr=file)
        while child.poll() is None:
            for name, n_bytes in resident(child.pid).items():
                peaks[name] = max(peaks.get(name, 0), n_bytes)
            if interrupt_after and not sent and len(steps_done(metrics)) >= interrupt_after:
                child.send_signal(signal.SIGINT)
                sent = True
            time.sleep(0.1)
    return child.returncode, time.monotonic() - begin, peaks


def train(args, config, run, log):
    """Both halves of the run; a list of (name, seconds, peaks)."""
    words = [args.vlorp, "train", str(config), "--init", "random", *METHOD, "--factor", str(args.factor), "--rank", "1",
             "--state_dtype", args.state_dtype, "--dataset", args.text, "--max_length", str(args.length), "--batch_size", "1",
             "--total_batch_size", "2", "--num_training_steps", str(args.steps), "--update_proj_gap", "2", "--lr",
             str(args.lr), "--grad_clipping", "1.0", "--save_dir", str(run)]
    parts = []
    code, seconds, peaks = watch(words, log, run / "metrics.jsonl", args.steps // 2)
    parts.append(("init, steps, interrupted, saved", seconds, peaks))
    if code != 130:
        sys.exit(f"the interrupted run ended with {code}, not 130; see {log}")
    code, seconds, peaks = watch([args.vlorp, "train", "--continue_from", str(run)], log)
    parts.append(("resumed, steps, saved", seconds, peaks))
    if code != 0:
        sys.exit(f"the resumed run ended with {code}; see {log}")
    return parts


def report(args, config, parts, steps):
    weights = 2 * n_parameters(args.shape)
    machine = ask(args, "bench", "kernels", str(config), "--micro_tokens", "16", "--repeats", "1")["machine"]
    planned = plan(args, config, 1, args.length, "projfactor", "--state_dtype", args.state_dtype, "--dataset",
                   args.text)["projfactor"]
    peak = max(peaks["RssAnon"] for _, _, peaks in parts)
    whole = max(peaks["VmRSS"] for _, _, peaks in parts)
    print(f"\n{args.shape}, state {args.state_dtype}: {n_parameters(args.shape) / 1e9:.2f} billion parameters, "
          f"{weights / 1e9:.2f} GB of bf16 weights\n")
    print("| part | seconds | peak RSS, GB | anonymous, GB | of the weights |\n| --- | --- | --- | --- | --- |")
    for name, seconds, peaks in parts:
        print(f"| {name} | {seconds:.0f} | {peaks['VmRSS'] / 1e9:.2f} | {peaks['RssAnon'] / 1e9:.2f} | "
              f"{peaks['VmRSS'] / weights:.3f} |")
    print(f"\nplanned {planned['total'] / 1e9:.2f} GB, {100 * (peak / planned['total'] - 1):+.1f} % measured (anonymous); "
          f"whole peak {whole / weights:.3f} times the weights\n")
    names = ["forward", "head", "backward", "recompute", "gradient", "update"]
    print("| step | loss | seconds | " + " | ".join(names) + " | TFLOP | of the FMA peak |")
    print("| --- " * (len(names) + 5) + "|")
    shown = steps if len(steps) <= 8 else steps[::len(steps) // 5] + steps[-1:]
    for step in shown:
        phases = " | ".join(f"{step[name + '_seconds']:.1f}" for name in names)
        share = step["flops"] / step["seconds"] / machine["fma_flops"]
        print(f"| {step['step']} | {step['loss']:.3f} | {step['seconds']:.1f} | {phases} | {step['flops'] / 1e12:.2f} | "
              f"{share:.2f} |")


def print_plans(args, tokenizer):
    """What the method and others take at the sizes people ask about."""
    print("| plan, bf16, checkpointing | projfactor | adamw | vlorp-os |\n| --- | --- | --- | --- |")
    cases = [("llama-2-7b", 1, 512), ("llama-2-7b", 16, 1024), ("llama-2-13b", 1, 512), ("llama-2-70b", 1, 512)]
    for shape, batch, length in cases:
        config = write_model(args.work / f"plan-{shape}", shape, tokenizer)
        usage = plan(args, config, batch, length, "all")
        row = " | ".join(f"{usage[name]['total'] / 1e9:.1f} GB" for name in ("projfactor", "adamw", "vlorp-os"))
        print(f"| {shape}, {batch} x {length} tokens | {row} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-2-7b")
    parser.add_argument("--tokenizer", required=True, type=pathlib.Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--vlorp", default="build/release/vlorp")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/large_model"))
    parser.add_argument("--state_dtype", default="float32")
    parser.add_argument("--factor", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="tokens of a micro-batch")
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--results", help="also keep the raw numbers here (JSON)")
    parser.add_argument("--plans", action="store_true", help="print the plans alone, train nothing")
    args = parser.parse_args()
    print_plans(args, args.tokenizer)
    if args.plans:
        return
    config = write_model(args.work / args.shape, args.shape, args.tokenizer)
    run = args.work / f"run-{args.shape}-{args.state_dtype}"
    shutil.rmtree(run, ignore_errors=True)
    parts = train(args, config, run, args.work / "log.txt")
    steps = steps_done(run / "metrics.jsonl")
    if args.results:
        pathlib.Path(args.results).write_text(json.dumps({"parts": parts, "steps": steps, "cores": os.cpu_count()}))
    report(args, config, parts, steps)
    shutil.rmtree(run)


if __name__ == "__main__":
    main()
