"""SmolLM2 as `vlorp convert` writes it, against transformers: it loads, logits agree, greedy text agrees.

Usage: check_smollm2.py VLORP DUMP_LOGITS
Needs the GGUF file named by $VLORP_TEST_SMOLLM2, torch and transformers.  Exit 77: skipped.
"""
import json
import os
import sys
import tempfile

from script import run, skip

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    ",
    "Water boils at a temperature of",
    "The three primary colors are",
    "In 1969, Neil Armstrong",
    "A list of fruits: apple, banana,",
    "To make a good cup of tea, you should",
    "Photosynthesis is the process by which",
    "Question: What is 12 + 30?\nAnswer:",
]
MAX_LOGIT_DIFFERENCE = 2e-3  # fp32 on both sides, 30 layers, sums in another order
MAX_TIE_GAP = 1e-3           # greedy choices may differ only where the top two are this close
NEW_TOKENS = 64


def main():
    vlorp, dump_logits = sys.argv[1:3]
    gguf = os.environ.get("VLORP_TEST_SMOLLM2", "")
    if not os.path.isfile(gguf):
        skip("VLORP_TEST_SMOLLM2 names no GGUF file")
    try:
        import numpy as np
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as missing:
        skip(str(missing))

    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.join(scratch, "model")
        run(vlorp, "convert", "--model_name", gguf, "--to", "safetensors", "--dtype", "float32", "--out", folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)

        worst = 0.0
        ties = 0
        for prompt in PROMPTS:
            ids = tokenizer(prompt)["input_ids"]
            ours = [int(i) for i in run(vlorp, "tokenize", "--model_name", folder, text_in=prompt).split()]
            if ours != ids:
                sys.exit(f"{prompt!r}: vlorp tokenizes to {ours}, transformers to {ids}")
            raw = os.path.join(scratch, "logits.f32")
            run(dump_logits, folder, raw, *map(str, ids))
            with torch.no_grad():
                theirs = model(torch.tensor([ids])).logits[0].numpy()
            mine = np.fromfile(raw, dtype=np.float32).reshape(theirs.shape)
            difference = float(np.abs(mine - theirs).max())
            worst = max(worst, difference)
            if not difference <= MAX_LOGIT_DIFFERENCE:
                sys.exit(f"{prompt!r}: logits differ by {difference:.3g}")

            answer = json.loads(run(vlorp, "generate", "--model_name", folder, "--prompt", prompt,
                                    "--max_new_tokens", str(NEW_TOKENS), "--json"))
            with torch.no_grad():
                made = model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False,
                                      repetition_penalty=1.0)[0].tolist()[len(ids):]
            got = answer["text"]
            want = tokenizer.decode(made, skip_special_tokens=True)
            if got != want:
                same = next(i for i in range(len(made))
                            if not got.startswith(tokenizer.decode(made[:i + 1], skip_special_tokens=True)))
                with torch.no_grad():
                    top = model(torch.tensor([ids + made[:same]])).logits[0, -1].topk(2).values
                gap = float(top[0] - top[1])
                if not gap < MAX_TIE_GAP:
                    sys.exit(f"{prompt!r}: greedy text differs at token {same}, where the top two are {gap:.3g} apart\n"
                             f"vlorp        {got!r}\ntransformers {want!r}")
                ties += 1
        print(f"{len(PROMPTS)} prompts: largest logit difference {worst:.3g}, "
              f"greedy continuations equal, {ties} of them up to a tie")


if __name__ == "__main__":
    main()
