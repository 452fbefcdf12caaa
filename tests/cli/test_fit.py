#!/usr/bin/env python3
"""plan: for every form of a model, and --fit, whose command line must really fit.  Run by CTest: test_fit.py VLORP."""
import json
import re
import shlex

from program import DATA, STORIES, ProgramTest, main, run

MIB = 1 << 20


class Forms(ProgramTest):
    def totals(self, model):
        code, out, err = run("plan", model, "--optimizer", "all", "--json", "--max_length", "256")
        self.assertEqual(code, 0, err)
        return {name: usage["total"] for name, usage in json.loads(out).items()}

    def test_all_forms(self):
        """A folder, its config.json and a GGUF file of one model differ by tables alone."""
        with open(f"{STORIES}/config.json", encoding="utf-8") as file:
            config = self.path("config.json", file.read())
        alone = self.totals(config)
        self.assertGreaterEqual(len(alone), 6)
        for other in (STORIES, f"{DATA}/models/stories260K-gguf/stories260K.gguf"):
            totals = self.totals(other)
            self.assertEqual(totals.keys(), alone.keys())
            for name, total in totals.items():
                self.assertGreaterEqual(total, alone[name], name)
                self.assertLess(total - alone[name], MIB, name)

    def test_known_names(self):
        """Published sizes stand in for a model that is not on this machine; nothing else reads them."""
        parameters = {"llama-2-7b": 6738415616, "llama-2-70b": 68976648192, "llama-3-8b": 8030261248,
                      "llama-3.2-1b": 1235814400, "tinyllama-1.1b": 1100048384, "smollm2-135m": 134515008,
                      "smollm2-360m": 361821120, "smollm2-1.7b": 1711376384, "llama-2-13b": 13015864320}
        for name, n in parameters.items():
            code, out, err = run("plan", name, "--json")
            self.assertEqual(code, 0, err)
            self.assertIn(b"published", err)
            weights = json.loads(out)["projfactor"]["weights"]
            self.assertAlmostEqual(weights / (2 * n), 1, delta=1e-3, msg=name)
        self.refuses(1, ["train", "llama-2-7b", "--dataset", "x"], "meta-llama/Llama-2-7b-hf")


class Fit(ProgramTest):
    def data(self):
        lines = [{"question": f"How many is {i} and 1? " + "It is asked by a girl with a dog. " * 9,
                  "answer": f"It is {i + 1}."} for i in range(64)]
        return self.path("data.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def fit(self, *words):
        code, out, err = run("plan", *words, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_proposal_fits(self):
        """The command, pasted, is planned as it was said and trains within the same limit."""
        data = self.data()
        seen = set()
        for limit in ("12MiB", "16MiB", "24MiB", "400MiB"):
            report = self.fit(STORIES, "--dataset", data, "--fit", limit, "--momentum", "transport", "--seed", "7")
            proposal = report["proposal"]
            self.assertEqual(report["limit"], int(limit[:-3]) * MIB)
            self.assertLessEqual(proposal["memory"]["total"], report["limit"])
            words = shlex.split(proposal["command"])
            self.assertEqual(words[:3], ["vlorp", "train", STORIES])
            for pair in (["--momentum", "transport"], ["--seed", "7"], ["--memory_limit", limit]):
                self.assertEqual(words[words.index(pair[0]):][:2], pair)
            code, _, err = run(*words[1:], "--num_training_steps", "1", "--save_dir", self.path("run"), "--overwrite")
            self.assertEqual(code, 0, f"{words}: {err.decode()}")
            plan, ledger = [float(x) for x in re.search(r"total +([\d.]+) MiB +([\d.]+) MiB", err.decode()).groups()]
            self.assertAlmostEqual(plan, proposal["memory"]["total"] / MIB, delta=0.01 * plan)
            self.assertEqual(plan, ledger)
            self.assertGreater(report["estimate"]["seconds"], 0)
            seen.add((proposal["budget"], proposal["activation_checkpointing"], proposal["micro_tokens"]))
        self.assertEqual(len(seen), 4, seen)  # every limit has settings of its own
        self.assertIn((32, False), [settings[:2] for settings in seen])  # where there is room: the largest, and the fastest

    def test_every_rule(self):
        report = self.fit(STORIES, "--fit", "12MiB", "--max_length", "256")
        rules = report["optimizers"]
        for name, rule in rules.items():
            if "refusal" in rule:
                continue
            length = [] if "--max_length" in rule["options"] else ["--max_length", "256"]
            words = ["plan", STORIES, "--optimizer", name, "--json", *length, *rule["options"].split()]
            code, out, err = run(*words)
            self.assertEqual(code, 0, err)
            total = json.loads(out)[name]["total"]
            if rule["fits"]:
                self.assertLessEqual(rule["total"], 12 * MIB)
            if not rule["as_asked"]:
                self.assertEqual(total, rule["total"], name)
        self.assertTrue(rules["projfactor"]["fits"])
        code, out, _ = run("plan", STORIES, "--fit", "12MiB", "--max_length", "256")
        self.assertEqual(code, 0)
        for name in rules:
            self.assertRegex(out.decode(), rf"(?m)^{name} ")
        self.assertIn(b"an estimate", out)

    def test_rank_of_adapters(self):
        report = self.fit(STORIES, "--optimizer", "lora", "--rank", "32", "--fit", "12MiB", "--max_length", "256",
                          "--batch_size", "1")
        words = shlex.split(report["proposal"]["command"])
        rank = int(words[words.index("--rank") + 1])
        self.assertIn(rank, (1, 2, 4, 8, 16))
        wider = ["plan", *words[2:3], *words[words.index("--activation_checkpointing"):words.index("--memory_limit")],
                 "--json"]
        wider[wider.index("--rank") + 1] = str(2 * rank)
        code, out, err = run(*wider)
        self.assertEqual(code, 0, err)
        self.assertGreater(json.loads(out)["lora"]["total"], 12 * MIB)

    def test_no_proposal(self):
        code, out, err = run("plan", STORIES, "--fit", "1MiB")
        self.assertEqual(code, 1)
        self.assertIn(b"does not fit", out)
        self.assertIn(b"vlorp: error: projfactor does not fit 1.0 MiB: it needs", err)
        self.refuses(2, ["plan", STORIES, "--fit", "1GiB", "--memory_limit", "1GiB"], "--memory_limit")

    def test_words_are_quoted(self):
        data = self.path("my data's.jsonl", '{"question": "a", "answer": "b"}\n')
        words = shlex.split(self.fit(STORIES, "--dataset", data, "--fit", "1GiB")["proposal"]["command"])
        self.assertEqual(words[words.index("--dataset") + 1], data)


if __name__ == "__main__":
    main()
