#!/usr/bin/env python3
"""Adapters as a user meets them: runs that go on, are killed or moved, and mistakes.  Run by CTest: test_lora.py VLORP;
the repository's root is the working directory.  Words as of test_resume.py."""
import json
import os
import shutil

import test_resume as resume


class Lora(resume.ResumeTest):
    def setUp(self):
        super().setUp()
        self.model = (resume.MODEL, "--init", "random")
        self.base = f"{self.train('base', steps=1)}/model"
        self.model = (self.base, "--optimizer", "lora")

    def test_exact(self):
        for settings in ([], ["--lora_dropout", "0.2", "--activation_checkpointing", "--dtype", "bfloat16"],
                         ["--lora_save", "adapter", "--rank", "3", "--lora_alpha", "0.1"]):
            self.compare(*settings)

    def test_kill_at_any_instant(self):
        self.kill("--save_every", "1", "--eval_every", "4", "--keep_best", "--lora_dropout", "0.1")

    def test_micro_batches_change_nothing(self):
        """What is dropped does not depend on how a step is cut."""
        losses = []
        for size in ("1", "4"):
            folder = self.train(f"cut{size}", "--lora_dropout", "0.3", "--batch_size", size, "--overwrite", steps=4)
            with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
                losses.append([json.loads(line)["loss"] for line in file])
        for a, b in zip(*losses):
            self.assertAlmostEqual(a, b, delta=1e-5)

    def words(self, name, *more, steps=10):
        words = super().words(name, *more, steps=steps)
        if "--batch_size" in more:  # said twice, it would contradict itself
            at = words.index("--batch_size")
            del words[at:at + 2]
        return words

    def test_record(self):
        folder = self.train("run", "--lora_dropout", "0.1", "--rank", "4", steps=1)
        with open(f"{folder}/run.json", encoding="utf-8") as file:
            record = json.load(file)
        self.assertEqual(record["options"]["optimizer"], "lora")
        self.assertEqual((record["lora"]["rank"], record["lora"]["alpha"], record["lora"]["dropout"]), (4, 4, 0.1))
        code, _, err = resume.run("train", "--config", f"{folder}/run.json", "--save_dir", self.path("again"))
        self.assertEqual(code, 0, err)
        self.assertEqual(resume.outcome(self.path("again")), resume.outcome(folder))
        plain = self.words("rate", steps=1)
        at = plain.index("--lr")
        del plain[at:at + 2]
        code, _, err = resume.run(*plain)
        self.assertEqual(code, 0, err)
        with open(self.path("rate/run.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["options"]["lr"], 2e-4)

    def test_base_moved(self):
        """A checkpoint finds its base by the path; elsewhere it is named."""
        folder = self.train("run", steps=4)
        wanted = self.go_on(folder, "--num_training_steps", "8")
        shutil.rmtree(folder)
        folder = self.train("run", steps=4)
        moved = self.path("moved")
        os.rename(self.base, moved)
        self.refuses(1, ["train", "--continue_from", folder, "--num_training_steps", "8"], self.base)
        self.assertEqual(self.go_on(folder, moved, "--num_training_steps", "8"), wanted)

    def test_base_changed(self):
        """Adapters that learnt beside other weights do not go on beside these."""
        folder = self.train("run", steps=4)
        path = f"{self.base}/model.safetensors"
        with open(path, "r+b") as file:
            first = 8 + int.from_bytes(file.read(8), "little")  # byte of the first tensor
            file.seek(first)
            before = file.read(4)
            file.seek(first)
            file.write(b"\x00\x00\x80\x3e")
        self.refuses(1, ["train", "--continue_from", folder, "--num_training_steps", "8"], self.base, folder,
                     "not the weights", "put the model back")
        with open(path, "r+b") as file:
            file.seek(first)
            file.write(before)
        self.go_on(folder, "--num_training_steps", "8")

    def test_trains_on(self):
        adapter = f"{self.train('run', '--lora_save', 'adapter', '--rank', '4', steps=2)}/model"
        self.assertEqual(sorted(os.listdir(adapter)), ["adapter_config.json", "adapter_model.safetensors"])
        for model in ((adapter,), (self.base, "--adapter", adapter)):
            self.model = (*model, "--optimizer", "lora")
            self.compare("--lora_save", "adapter", cut=3)
            self.compare(cut=3)
        self.model = (adapter, "--optimizer", "lora")
        self.refuses(2, self.words("no", "--rank", "8"), "--rank 8", "has 4")
        self.refuses(2, self.words("no", "--lora_alpha", "2"), "--lora_alpha 2", "has 4")
        self.model = (adapter,)
        self.refuses(1, self.words("no"), "an adapter", "vlorp convert")

    def test_mistakes(self):
        self.refuses(2, ["train", resume.MODEL, "--init", "random", "--optimizer", "lora", "--dataset", self.data,
                         "--save_dir", self.path("no")], "--init random")
        self.refuses(1, self.words("no", "--rank", "4096"), "rank 4096")
        code, _, err = resume.run(*[word for word in self.words("note", "--factor", "4", steps=1) if word != "--quiet"])
        self.assertEqual(code, 0, err)
        self.assertIn("--factor has no effect with --optimizer lora", err)
        adapter = f"{self.train('run', '--lora_save', 'adapter', steps=1)}/model"
        for name, change in (("r", {"r": 5}), ("use_dora", {"use_dora": True}), ("peft_type", {"peft_type": "IA3"}),
                             ("lora_alpha", {"lora_alpha": "x"})):
            broken = self.path(f"broken_{name}")
            shutil.copytree(adapter, broken)
            with open(f"{broken}/adapter_config.json", encoding="utf-8") as file:
                config = json.load(file)
            with open(f"{broken}/adapter_config.json", "w", encoding="utf-8") as file:
                json.dump({**config, **change}, file)
            self.refuses(1, ["convert", broken, "--out", self.path("out")], "broken_", name)
        weights = resume.contents(f"{adapter}/adapter_model.safetensors")
        cut = self.path("cut")
        shutil.copytree(adapter, cut)
        for n in (0, 7, 100, len(weights) - 1):
            with open(f"{cut}/adapter_model.safetensors", "wb") as file:
                file.write(weights[:n])
            self.refuses(1, ["convert", cut, "--out", self.path("out")], "adapter_model.safetensors")
        self.assertFalse(os.path.exists(self.path("out")))


if __name__ == "__main__":
    resume.main()
