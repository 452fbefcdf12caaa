"""How cost grows: tokens/s over sequence length, model width and depth, and threads.

Usage: scaling.py VLORP [--svg FIGURE] [--json FILE] [--repeats N]
Random weights in the shape of SmolLM2-135M but for what a curve varies; vlorp bench step, ProjFactor c = 64, r = 1,
--target all, fp32, nothing recomputed.  Dashed: what the counted operations allow at the rate of the curve's point nearest
to SmolLM2's own shape at 1024 tokens (over threads: of one thread).  Needs about 6 GiB and ten minutes on two cores.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.fspath(pathlib.Path(__file__).resolve().parents[1]))
import figure  # noqa: E402

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
          "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
          "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "hidden_act": "silu",
          "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2}


def wide(heads):
    return {"hidden_size": 64 * heads, "intermediate_size": 64 * heads * 8 // 3 // 64 * 64,
            "num_attention_heads": heads, "num_key_value_heads": heads // 3, "num_hidden_layers": 8}


def curves(threads):
    """{title: (label of x, [(x, changes of CONFIG, tokens, threads)], x that the dashed line goes through)}"""
    return {
        "sequence length": ("tokens of the one sequence", [(t, {}, t, threads) for t in (64, 128, 256, 512, 1024, 2048,
                                                                                       4096)], 1024),
        "width (8 layers)": ("hidden size", [(64 * h, wide(h), 1024, threads) for h in (3, 6, 9, 18, 27)], 576),
        "depth": ("layers", [(n, {"num_hidden_layers": n}, 1024, threads) for n in (2, 4, 8, 16, 30)], 30),
        "threads": ("threads", [(n, {}, 1024, n) for n in range(1, threads + 1)], 1),
    }


def measure(args, changes, tokens, threads):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(CONFIG | changes, file)
        done = subprocess.run([args.vlorp, "bench", "step", path, "--init", "random", "--dtype", "float32", "--target",
                               "all", "--factor", "64", "--rank", "1", "--batch_size", "1", "--max_length", str(tokens),
                               "--no_activation_checkpointing", "--repeats", str(args.repeats), "--threads", str(threads),
                               "--json", "--quiet"], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    return {"tokens_per_second": result["tokens_per_second"], "share_of_peak": result["share_of_peak"],
            "flops": result["phases"]["whole step"]["flops"], "tokens": result["tokens"],
            "memory_bytes": result["memory_bytes"]}


def chart(title, x_label, rows, through):
    """Arguments of figure.panel: measured, and what operations alone would give."""
    at = next(row for row in rows if row["x"] == through)
    rate = at["flops"] / at["tokens"] * at["tokens_per_second"]
    lines = {"measured": [(row["x"], row["tokens_per_second"]) for row in rows],
             "-by operations": [(row["x"], rate * (row["x"] if title == "threads" else 1) / (row["flops"] / row["tokens"]))
                                for row in rows]}
    return (title, x_label, "tokens/s", lines), {"log_x": title != "threads", "log_y": title != "threads",
                                                 "zero": title == "threads"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vlorp")
    parser.add_argument("--svg")
    parser.add_argument("--json")
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    panels, results = [], {}
    for title, (x_label, points, through) in curves(len(os.sched_getaffinity(0))).items():
        rows = results[title] = [{"x": x, **measure(args, changes, tokens, threads)}
                                 for x, changes, tokens, threads in points]
        print(f"\n| {x_label} | tokens/s | GFLOP a token | share of peak | memory MiB |\n|" + " --- |" * 5)
        for row in rows:
            print(f"| {row['x']} | {row['tokens_per_second']:.1f} | {row['flops'] / row['tokens'] * 1e-9:.3f} | "
                  f"{row['share_of_peak']:.2f} | {row['memory_bytes'] / 2**20:.0f} |", flush=True)
        panels.append(chart(title, x_label, rows, through))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.svg:
        pathlib.Path(args.svg).write_text(figure.figure(panels, 2), encoding="utf-8")


if __name__ == "__main__":
    main()
