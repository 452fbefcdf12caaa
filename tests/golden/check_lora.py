"""LoRA adapters against PEFT, both ways: logits, training on, merging.

Usage: check_lora.py VLORP DUMP_LOGITS DUMP_MASKS
Needs the shared data (stories260K), torch, transformers and peft.  Exit 77: skipped.
"""
import json
import os
import subprocess
import sys
import tempfile

from script import run, skip

MAX_LOGIT_DIFFERENCE = 1e-4   # fp32 on both sides; logits are about 10
MAX_WEIGHT_DIFFERENCE = 1e-4  # of an adapter's elements after 20 steps
STEPS, LR, EXAMPLES = 20, 2e-3, 4
IDS = [1, 403, 407, 261, 378, 31, 97, 402, 300, 12, 411, 5, 222]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Check:
    def __init__(self, vlorp, dump_logits, dump_masks, base, scratch):
        import numpy
        import peft
        import torch
        import transformers
        torch.manual_seed(5)
        torch.set_num_threads(1)  # faster for so little
        self.np, self.peft, self.torch, self.transformers = numpy, peft, torch, transformers
        self.vlorp, self.dump_logits, self.dump_masks = vlorp, dump_logits, dump_masks
        self.base, self.scratch = base, scratch
        self.data = self.path("data.jsonl")
        with open(self.data, "w", encoding="utf-8") as file:
            for i in range(EXAMPLES):
                file.write(json.dumps({"question": f"Lily has {i} cats. Why?", "answer": "She is happy. " * (1 + i % 3)})
                           + "\n")

    def path(self, name):
        return os.path.join(self.scratch, name)

    def model(self, folder=None):
        return self.transformers.AutoModelForCausalLM.from_pretrained(folder or self.base, dtype=self.torch.float32).eval()

    def ours(self, folder):
        """Our logits of a model's or an adapter's folder."""
        out = self.path("logits")
        run(self.dump_logits, folder, out, *map(str, IDS))
        return self.np.fromfile(out, dtype=self.np.float32).reshape(len(IDS), -1)

    def theirs(self, model):
        with self.torch.no_grad():
            return model(self.torch.tensor([IDS])).logits[0].numpy()

    def same_logits(self, what, a, b):
        worst = float(abs(a - b).max())
        print(f"{what}: logits differ by {worst:.2g}")
        if not worst <= MAX_LOGIT_DIFFERENCE:
            sys.exit(f"{what}: more than {MAX_LOGIT_DIFFERENCE}")

    def make(self, name, **how):
        """A folder that PEFT writes, its B not zero, and the model in memory."""
        config = self.peft.LoraConfig(task_type="CAUSAL_LM", **how)
        model = self.peft.get_peft_model(self.model(), config).eval()
        with self.torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_B" in key:
                    value.normal_(0, 0.05)
        model.save_pretrained(self.path(name))
        return self.path(name), model

    def train(self, model, name, *more):
        return run(self.vlorp, "train", model, "--optimizer", "lora", "--dataset", self.data, "--total_batch_size",
                   str(EXAMPLES), "--num_training_steps", str(STEPS), "--lr", str(LR), "--scheduler", "constant",
                   "--warmup_steps", "0", "--weight_decay", "0.1", "--save_dir", self.path(name), "--quiet", *more).strip()

    def examples(self):
        """Ids and targets as the program trains them."""
        for line in run(self.dump_masks, self.base, self.data, "512").splitlines()[1:]:
            codes = [int(word) for word in line.split()]
            ids = [code if code >= 0 else ~code for code in codes]
            yield ids, [code if code >= 0 else -1 for code in codes[1:]] + [-1]

    def torch_steps(self, model):
        """The same run by PEFT and torch: AdamW, the mean over targets, clipping to 1."""
        torch = self.torch
        trained = [value for value in model.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.1)
        examples = list(self.examples())
        n_targets = sum(target >= 0 for _, targets in examples for target in targets)
        for _ in range(STEPS):
            optimizer.zero_grad()
            for ids, targets in examples:
                logits = model(torch.tensor([ids])).logits[0]
                (torch.nn.functional.cross_entropy(logits, torch.tensor(targets), ignore_index=-1, reduction="sum")
                 / n_targets).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()

    def tensors(self, folder):
        from safetensors.torch import load_file
        return load_file(os.path.join(folder, "adapter_model.safetensors"))

    def theirs_to_ours(self):
        """Adapters that PEFT made: read, merged, and trained on."""
        for name, how in {"all": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
                          "some": {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"], "use_rslora": True},
                          "layers": {"r": 2, "target_modules": ALL, "layers_to_transform": [1, 3]}}.items():
            folder, model = self.make(name, **how)
            self.same_logits(f"peft's {name}, read here", self.ours(folder), self.theirs(model))
            merged = self.path(f"{name}-merged")
            run(self.vlorp, "convert", folder, "--out", merged)
            self.same_logits(f"peft's {name}, merged here, read here", self.ours(merged), self.theirs(model))
            self.same_logits(f"peft's {name}, merged here, in transformers", self.theirs(self.model(merged)),
                             self.theirs(model))
            trained = self.train(folder, f"{name}-run", "--lora_save", "adapter")
            model.train()
            self.torch_steps(model)
            model.eval()
            self.same_weights(f"peft's {name}, trained on", trained, model)

    def same_weights(self, what, folder, model):
        ours = self.tensors(folder)
        theirs = self.peft.get_peft_model_state_dict(model)
        if sorted(ours) != sorted(theirs):
            sys.exit(f"{what}: other tensors: {sorted(set(ours) ^ set(theirs))}")
        worst = max(float((ours[key] - theirs[key]).abs().max()) for key in ours)
        print(f"{what}: weights differ by {worst:.2g} after {STEPS} steps")
        if not worst <= MAX_WEIGHT_DIFFERENCE:
            sys.exit(f"{what}: more than {MAX_WEIGHT_DIFFERENCE}")

    def ours_to_theirs(self):
        """Adapters made here load in PEFT, alone and by the path of their base, and equal the merged model."""
        settings = ["--rank", "4", "--lora_alpha", "6", "--lora_dropout", "0.1"]
        adapter = self.train(self.base, "apart", *settings, "--lora_save", "adapter")
        merged = self.train(self.base, "merged", *settings)
        model = self.peft.PeftModel.from_pretrained(self.model(), adapter).eval()
        moved = abs(self.ours(self.base) - self.ours(adapter)).max()
        print(f"twenty steps moved logits by {moved:.2g}")
        if not moved > 0.1:
            sys.exit("the adapter does nothing")
        self.same_logits("made here, read by peft", self.theirs(model), self.ours(adapter))
        auto = self.peft.AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=self.torch.float32).eval()
        self.same_logits("made here, with its base by peft", self.theirs(auto), self.ours(adapter))
        self.same_logits("merged at the end, in transformers", self.theirs(self.model(merged)), self.ours(adapter))
        trained_on = self.path("trained_on")
        run(self.vlorp, "train", self.base, "--adapter", adapter, "--optimizer", "lora", "--dataset", self.data,
            "--num_training_steps", "1", "--save_dir", trained_on, "--quiet")
        text = run(self.vlorp, "generate", adapter, "--prompt", "Once", "--max_new_tokens", "8")
        if text != run(self.vlorp, "generate", merged, "--prompt", "Once", "--max_new_tokens", "8"):
            sys.exit("adapter and merged model generate other text")

    def refused(self):
        """What we cannot do is refused by name."""
        for name, how in {"use_dora": {"use_dora": True}, "bias": {"bias": "all"},
                          "modules_to_save": {"modules_to_save": ["lm_head"]},
                          "alpha_pattern": {"alpha_pattern": {"q_proj": 3}},
                          "embed_tokens": {"target_modules": ["q_proj", "embed_tokens"]}}.items():
            folder, _ = self.make(f"no-{name}", **{"r": 2, "target_modules": ["q_proj"], **how})
            done = subprocess.run([self.vlorp, "convert", folder, "--out", self.path("nothing")], capture_output=True,
                                  text=True)
            if done.returncode != 1 or name not in done.stderr or os.path.exists(self.path("nothing")):
                sys.exit(f"{name}: exit {done.returncode}: {done.stderr}")


def main():
    base = os.path.join(os.environ.get("VLORP_TEST_DATA", "../shared/data"), "models/stories260K-hf")
    if not os.path.isdir(base):
        skip(f"no {base}")
    try:
        import peft  # noqa: F401
    except ImportError as missing:
        skip(str(missing))
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(*sys.argv[1:4], os.path.abspath(base), scratch)
        check.theirs_to_ours()
        check.ours_to_theirs()
        check.refused()


if __name__ == "__main__":
    main()
