#!/usr/bin/env python3
"""Tasks that are asked while a run trains (--eval_task).  Run by CTest: test_eval_training.py VLORP."""
import glob
import json
import re

from program import DATA, STORIES, ProgramTest, main, run

TIMES = {"tokens_per_second", "seconds", "memory_bytes"}
TASKS = ["--eval_task", "boolq,mmlu", "--eval_limit", "1", "--eval_every", "2", "--data_dir", DATA]


class EvalTraining(ProgramTest):
    def setUp(self):
        super().setUp()
        self.lr, self.steps = "1e-3", "6"
        records = [{"prompt": f"Lily has {i} cats.", "completion": f" She has {i} dogs too." * (1 + i % 3)}
                   for i in range(40)]
        self.data = self.path("data.jsonl", "".join(json.dumps(record) + "\n" for record in records))

    def words(self, name, *more):
        return ["train", STORIES, "--dataset", self.data, "--save_dir", self.path(name), "--threads", "1",
                "--total_batch_size", "4", "--batch_size", "2", "--lr", self.lr, "--save_every", "3", "--keep", "9",
                "--num_training_steps", self.steps, *more]

    def train(self, name, *more):
        code, _, err = run(*self.words(name, *more))
        self.assertEqual(code, 0, err)
        return self.path(name), err.decode()

    def contents(self, path):
        with open(path, "rb") as file:
            return file.read()

    def outcome(self, folder):
        """The weights, the steps' metrics but for times, and the tasks' lines."""
        with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        model = self.contents(f"{folder}/model/model.safetensors")
        steps = [{key: value for key, value in line.items() if key not in TIMES and not key.endswith("_seconds")}
                 for line in lines if "task" not in line]
        return model, steps, [line for line in lines if "task" in line]

    def test_training_is_not_disturbed(self):
        folder, err = self.train("asked", *TASKS)
        asked = self.outcome(folder)
        plain = self.outcome(self.train("plain", "--eval_every", "2")[0])
        self.assertEqual(asked[:2], plain[:2])
        self.assertEqual(plain[2], [])
        self.assertEqual([(line["step"], line["task"], line["questions"]) for line in asked[2]],
                         [(step, task, n) for step in (0, 2, 4, 6) for task, n in (("boolq", 1), ("mmlu", 57))])
        for line in asked[2]:
            self.assertAlmostEqual(line["accuracy"], line["correct"] / line["questions"])
        self.assertIn("mmlu after step 6: ", err)
        plan, ledger = re.search(r"total +(\S+ \S+) +(\S+ \S+)", err).groups()
        self.assertEqual(plan, ledger)
        events = self.contents(*glob.glob(f"{folder}/events.out.tfevents.*"))
        self.assertEqual(events.count(b"eval/mmlu_accuracy"), 4)
        report = self.contents(f"{folder}/report.html")
        self.assertEqual([report.count(b"Accuracy: " + task + b" over steps") for task in (b"mmlu", b"boolq")], [1, 1])
        self.assertEqual(events.count(b"eval/boolq_accuracy"), 4)

    def test_the_end_is_what_eval_says(self):
        folder, _ = self.train("run", *TASKS)
        code, out, err = run("eval", f"{folder}/model", "--task", "mmlu", "--limit", "1", "--data_dir", DATA, "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["tasks"]["mmlu"]["correct"], self.outcome(folder)[2][-1]["correct"])

    def test_going_on(self):
        whole = self.outcome(self.train("whole", *TASKS)[0])
        folder, _ = self.train("cut", *TASKS)
        with open(f"{folder}/state/latest", "w", encoding="utf-8") as file:
            file.write("3\n")
        code, _, err = run("train", "--continue_from", folder)
        self.assertEqual(code, 0, err)
        self.assertEqual(self.outcome(folder), whole)

    def test_generated_answers(self):
        """gsm8k has no list of answers: it is generated, within the plan, and as eval does it."""
        record = json.dumps({"question": "How many cats are two cats and two cats?", "answer": "2 and 2 is 4.\n#### 4"})
        for name, n in (("train", 40), ("test", 5)):
            self.path(f"gsm8k/{name}.jsonl", (record + "\n") * n)
        self.data, self.lr, self.steps = "gsm8k", "1e-2", "40"
        words = ["--data_dir", self.folder]
        folder, err = self.train("run", *words, "--eval_task", "gsm8k", "--eval_limit", "3", "--eval_every", "20")
        model, steps, tasks = self.outcome(folder)
        self.assertEqual([(line["step"], line["correct"], line["questions"]) for line in (tasks[0], tasks[-1])],
                         [(0, 0, 3), (40, 3, 3)])
        plan, ledger = re.search(r"total +(\S+ \S+) +(\S+ \S+)", err).groups()
        self.assertEqual(plan, ledger)
        code, out, err = run("eval", f"{folder}/model", "--task", "gsm8k", "--data_dir", self.folder, "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["tasks"]["gsm8k"]["correct"], 5)
        plain = self.outcome(self.train("plain", *words, "--eval_every", "20")[0])
        self.assertEqual((model, steps), plain[:2])

    def test_without_a_held_out_loss(self):
        folder, _ = self.train("run", "--eval_task", "openbookqa", "--eval_limit", "3", "--data_dir", DATA)
        _, steps, tasks = self.outcome(folder)
        self.assertEqual([line["step"] for line in tasks], [0, 6])
        self.assertNotIn("eval_loss", steps[0])

    def test_mistakes(self):
        self.refuses(2, self.words("run", "--eval_task", "boolq"), "no folder", "--data_dir")
        self.refuses(2, self.words("run", "--eval_task", "bool"), "did you mean boolq?")


if __name__ == "__main__":
    main()
