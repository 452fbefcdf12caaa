#!/usr/bin/env python3
"""What train shows before it trains (--dry_run), and how long a run is.  Run by CTest: test_dry_run.py VLORP."""
import json
import os
import re

from program import STORIES, ProgramTest, main, on_terminal, run

LONG = "There was a girl named Lily and she had a dog and a cat and a ball. " * 12


class DryRun(ProgramTest):
    def data(self):
        records = [{"prompt": f"Lily has {i} cats.", "completion": f" She has {i} dogs too." * (1 + i % 3)}
                   for i in range(20)]
        records += [{"prompt": "Only a prompt", "completion": ""}] * 2  # dropped
        records += [{"prompt": LONG, "completion": " The end."}]  # its answer is beyond max_length: dropped
        records += [{"prompt": "Say it.", "completion": LONG}]  # cut
        return self.path("data.jsonl", "".join(json.dumps(record) + "\n" for record in records))

    def words(self, *more):
        return ["train", STORIES, "--dataset", self.data(), "--max_length", "64", "--batch_size", "4",
                "--total_batch_size", "8", *more]

    def dry(self, *more):
        code, out, err = run(*self.words("--dry_run", *more))
        self.assertEqual((code, err), (0, b""), err)
        return out.decode()

    def test_examples_and_counts(self):
        before = sorted(os.listdir("."))
        text = self.dry()
        self.assertEqual(sorted(os.listdir(".")), before)
        self.assertEqual(os.listdir(self.folder), ["data.jsonl"])  # nothing was written
        self.assertNotIn("\033", text)
        examples = text.split("--- example ")[1:]
        self.assertEqual(len(examples), 3)
        for example in examples:
            found = re.search(r"tokens, (\d+) of them trained ---\n<s> (.*?)\{\+(.*?)\+\}\n", example, re.DOTALL)
            prompt, answer = found.group(2), found.group(3)
            self.assertTrue(prompt == "Say it." or re.fullmatch(r"Lily has \d+ cats\.", prompt), prompt)
            self.assertTrue(answer.endswith("</s>") or prompt == "Say it.")  # the cut one lost its end
            self.assertTrue(answer.startswith(" She has") or answer.startswith(LONG[:20]), answer)
        self.assertIn("24 records gave 24 examples; 1 (4.2 %) cut at 64 tokens, 3 (12.5 %) dropped", text)
        self.assertIn("3 an epoch", text)  # 21 examples by 8
        self.assertIn("nothing was trained, nothing was written", text)

    def lengths(self):
        """Tokens of each kept example, by the program's own tokenizer, EOS added, cut at 64."""
        with open(self.data(), encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        kept = [record for record in records if record["completion"] and record["prompt"] != LONG]
        found = []
        for record in kept:
            ids = run("tokenize", STORIES, text_in=(record["prompt"] + record["completion"]).encode())[1].split()
            found.append(min(64, len(ids) + 1))
        return found

    def test_packing(self):
        text = self.dry("--no_activation_checkpointing")
        lengths = self.lengths()
        total = sum(lengths)
        self.assertEqual(int(re.search(r"without padding +(\d+) tokens", text).group(1)), total)
        padded = int(re.search(r"micro-batch's longest +(\d+) tokens", text).group(1))
        self.assertGreater(padded, total)
        self.assertLessEqual(padded, 64 * len(lengths))
        full = re.search(r"padded to max_length +(\d+) tokens +([\d.]+) %", text)
        self.assertEqual(int(full.group(1)), 64 * len(lengths))
        self.assertAlmostEqual(float(full.group(2)), 100 * total / (64 * len(lengths)), delta=0.06)
        # one example in each micro-batch: nothing to pad
        alone = self.dry("--no_packing")
        self.assertEqual(int(re.search(r"micro-batch's longest +(\d+) tokens", alone).group(1)), total)

    def colored(self, env):
        code, text = on_terminal("stdout", *self.words("--dry_run"), env=env)
        self.assertEqual(code, 0)
        return text

    def test_color(self):
        colored = self.colored({"NO_COLOR": ""})
        self.assertIn("\033[1;4;32m She has", colored)
        self.assertNotIn("{+", colored)
        plain = self.colored({"NO_COLOR": "1"})
        self.assertIn("{+ She has", plain)
        self.assertNotIn("\033", plain)

    def test_control_characters(self):
        data = self.path("bad.jsonl", json.dumps({"prompt": "a\u001b[31m\u009b1m", "completion": "b\u0007\tc\n"}) + "\n")
        code, out, err = run("train", STORIES, "--dataset", data, "--dry_run")
        self.assertEqual(code, 0, err)
        for bad in (b"\x1b", b"\x07", b"\xc2\x9b"):
            self.assertNotIn(bad, out)

    def test_does_not_fit(self):
        code, out, err = run(*self.words("--dry_run", "--memory_limit", "2MiB"))
        self.assertEqual(code, 1)
        self.assertIn(b"the plan needs", err)
        self.assertIn(b"--- example 1", out)


class Length(ProgramTest):
    def data(self):
        return self.path("data.jsonl", "".join(
            json.dumps({"question": f"How many is {i} and 1?", "answer": "It is " + "one more than " * (i % 5) + f"{i}."})
            + "\n" for i in range(30)))

    def tokens(self, *more):
        code, _, err = run("train", STORIES, "--dataset", self.data(), "--total_batch_size", "4", "--save_dir",
                           self.path("run"), "--overwrite", *more)
        self.assertEqual(code, 0, err)
        with open(self.path("run/metrics.jsonl"), encoding="utf-8") as file:
            return [json.loads(line)["tokens"] for line in file]

    def test_max_train_tokens(self):
        epoch = sum(self.tokens("--num_training_steps", "15")) // 2  # 60 examples: two epochs
        for wanted in (1, 300, epoch - 1, epoch, epoch + 1, 2 * epoch + 333):
            steps = self.tokens("--max_train_tokens", str(wanted))
            self.assertGreaterEqual(sum(steps), wanted)
            self.assertLess(sum(steps[:-1]), wanted)
        self.assertEqual(self.tokens("--max_train_tokens", "1K"), self.tokens("--max_train_tokens", "1000"))

    def test_epochs(self):
        self.assertEqual(len(self.tokens("--epochs", "1")), 8)
        self.assertEqual(len(self.tokens("--epochs", "1.5")), 12)  # 45 examples by 4
        self.assertEqual(len(self.tokens()), 8)

    def test_disagreements(self):
        words = ["train", STORIES, "--dataset", self.data()]
        for a, b in (("num_training_steps", "epochs"), ("num_training_steps", "max_train_tokens"),
                     ("epochs", "max_train_tokens")):
            self.refuses(2, [*words, f"--{a}", "3", f"--{b}", "3"], f"--{b}: --{a} says how long", "give one of the two")
        self.refuses(2, [*words, "--max_train_tokens", "0.5"], "whole number such as 250000, 100M or 1B")

    def test_eval_data(self):
        other = self.path("other.jsonl", '{"question": "Who?", "answer": "Lily."}\n' * 3)
        code, _, err = run("train", STORIES, "--dataset", self.data(), "--eval_data", other, "--num_training_steps", "1",
                           "--save_dir", self.path("run"))
        self.assertEqual(code, 0, err)
        self.assertIn(b"3 held out", err)
        # 2 % of 30 is none: at least one; 60 examples of 3000, at most 256
        text = run("train", STORIES, "--dataset", self.data(), "--eval_every", "5", "--dry_run")[1].decode()
        self.assertIn("; 1 held out", text)
        many = self.path("many.jsonl", '{"question": "Who?", "answer": "Lily."}\n' * 3000)
        text = run("train", STORIES, "--dataset", many, "--eval_every", "5", "--dry_run")[1].decode()
        self.assertIn("; 60 held out", text)
        more = self.path("more.jsonl", '{"question": "Who?", "answer": "Lily."}\n' * 13000)
        text = run("train", STORIES, "--dataset", more, "--eval_every", "5", "--dry_run")[1].decode()
        self.assertIn("; 256 held out", text)
        self.assertNotIn("held out", run("train", STORIES, "--dataset", many, "--dry_run")[1].decode())


if __name__ == "__main__":
    main()
