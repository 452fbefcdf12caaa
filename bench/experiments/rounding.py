#!/usr/bin/env python3
"""bfloat16 weights with stochastic rounding track fp32; rounded to nearest they lose the updates.

    bench/experiments/rounding.py MODEL --dataset FILE --eval_data FILE --results FILE [--vlorp PROGRAM]
    bench/experiments/rounding.py --plot FILE --svg FIGURE

Three runs from the same bfloat16 weights, with the same examples in the same order: weights in fp32, in
bfloat16 with stochastic rounding, in bfloat16 rounded to nearest.  MODEL is a folder whose weights are
bfloat16 (`vlorp convert MODEL.gguf --dtype bfloat16 --out FOLDER`).  A run whose line stands in FILE is not
repeated.  `--plot` draws the held-out losses and prints how far each run is from the fp32 one.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ARMS = {"fp32": ["--dtype", "float32"],
        "bf16, stochastic": ["--dtype", "bfloat16", "--rounding", "stochastic"],
        "bf16, nearest": ["--dtype", "bfloat16", "--rounding", "nearest"]}
COLORS = {"fp32": "#444444", "bf16, stochastic": "#1b7f4b", "bf16, nearest": "#c2410c"}


def read(path):
    try:
        return [json.loads(line) for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def run_one(args, arm):
    with tempfile.TemporaryDirectory(prefix="vlorp-rounding-") as scratch:
        words = [args.vlorp, "train", args.model, "--dataset", args.dataset, "--eval_data", args.eval_data,
                 "--batch_size", str(args.batch), "--total_batch_size", str(args.batch), "--max_length", str(args.length),
                 "--num_training_steps", str(args.steps), "--eval_every", str(args.steps // 10), "--lr", str(args.lr),
                 "--scheduler", "constant", "--warmup_steps", "0", "--train_on_prompts", "--threads", str(args.threads),
                 "--save_dir", f"{scratch}/run", "--quiet", *ARMS[arm]]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        lines = read(f"{scratch}/run/metrics.jsonl")
    result = {"arm": arm, "lr": args.lr, "steps": args.steps,
              "loss": [round(line["loss"], 6) for line in lines if "loss" in line],
              "eval": [[line["step"], round(line["eval_loss"], 6)] for line in lines if "eval_loss" in line]}
    with open(args.results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(f"{arm}: held-out loss {result['eval'][0][1]:.4f} -> {result['eval'][-1][1]:.4f}", flush=True)


def figure(runs):
    """One SVG of held-out loss over steps."""
    width, height, left, right, top, bottom = 720, 400, 64, 150, 40, 48
    points = [point for run in runs for point in run["eval"]]
    last = max(step for step, _ in points)
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)

    def x(step):
        return left + (width - left - right) * step / last

    def y(loss):
        return top + (height - top - bottom) * (high - loss) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           'font-size="13">', f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
           f'<text x="{left}" y="22" font-size="15" fill="#111111">Held-out loss, learning rate {runs[0]["lr"]:g}</text>']
    for i in range(5):
        loss = low + (high - low) * i / 4
        step = last * i // 4
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#dddddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(loss) + 4:.1f}" text-anchor="end" fill="#333333">{loss:.2f}</text>')
        out.append(f'<text x="{x(step):.1f}" y="{height - bottom + 20}" text-anchor="middle" fill="#333333">{step}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 8}" text-anchor="middle" fill="#333333">step</text>')
    ends = sorted((y(run["eval"][-1][1]), run["arm"]) for run in runs)
    labels = {}
    for position, arm in ends:  # labels keep 16 apart
        labels[arm] = max([position] + [other + 16 for other in labels.values()])
    for run in runs:
        color = COLORS[run["arm"]]
        line = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in run["eval"])
        dash = ' stroke-dasharray="6 4"' if run["arm"] == "fp32" else ""
        out.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{width - right + 8}" y="{labels[run["arm"]] + 4:.1f}" fill="{color}">{run["arm"]}</text>')
    return "\n".join(out + ["</svg>", ""])


def plot(args):
    runs = sorted(read(args.plot), key=lambda run: list(ARMS).index(run["arm"]))
    pathlib.Path(args.svg).write_text(figure(runs), encoding="utf-8")
    exact = next(run for run in runs if run["arm"] == "fp32")
    fallen = exact["eval"][0][1] - exact["eval"][-1][1]
    print("| weights | held-out loss before | after | share of fp32's fall | training loss off fp32's, mean |")
    print("| --- | --- | --- | --- | --- |")
    for run in runs:
        off = sum(abs(a - b) for a, b in zip(run["loss"], exact["loss"])) / len(exact["loss"])
        share = (run["eval"][0][1] - run["eval"][-1][1]) / fallen
        print(f"| {run['arm']} | {run['eval'][0][1]:.4f} | {run['eval'][-1][1]:.4f} | {100 * share:.1f} % | {off:.4f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--plot", metavar="FILE", help="draw these results and stop")
    parser.add_argument("--svg", default="rounding.svg")
    parser.add_argument("--dataset", help="a file to train on, every token a target")
    parser.add_argument("--eval_data", help="a file for the held-out loss")
    parser.add_argument("--results")
    parser.add_argument("--vlorp", default="build/release/vlorp")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128, help="tokens of an example")
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.plot:
        plot(args)
        return
    if not (args.model and args.dataset and args.eval_data and args.results):
        parser.error("MODEL, --dataset, --eval_data and --results are needed")
    known = {line["arm"] for line in read(args.results)}
    for arm in ARMS:
        if arm not in known:
            run_one(args, arm)


if __name__ == "__main__":
    sys.exit(main())
