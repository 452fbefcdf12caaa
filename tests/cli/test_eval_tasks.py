#!/usr/bin/env python3
"""vlorp eval --task: results, the log and going on from it, prompts, mistakes.  Run by CTest:
test_eval_tasks.py VLORP."""
import json
import os

from program import DATA, STORIES, ProgramTest, main, run

COMMONSENSE = ["boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy", "ARC-Challenge", "openbookqa"]


class EvalTasks(ProgramTest):
    def words(self, task, *more, limit="4"):
        return ["eval", STORIES, "--task", task, "--data_dir", DATA, "--limit", limit, "--quiet", *more]

    def evaluate(self, task, *more, limit="4"):
        code, out, err = run(*self.words(task, "--json", *more, limit=limit))
        self.assertEqual(code, 0, err)
        for line in err.decode().splitlines():
            self.assertRegex(line, "^vlorp: warning: .* tokens and lost their beginning$")
        return json.loads(out)

    def lines(self, path):
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_commonsense_is_the_mean_of_eight(self):
        report = self.evaluate("commonsense")
        self.assertEqual(list(report["tasks"]), COMMONSENSE)
        accuracies = [task["accuracy"] for task in report["tasks"].values()]
        self.assertAlmostEqual(report["commonsense_average"], sum(accuracies) / 8)
        for task in report["tasks"].values():
            self.assertEqual((task["questions"], task["by"], task["shots"]), (4, "likelihood", 0))
            self.assertEqual(task["accuracy"], task["correct"] / 4)
            low, high = task["interval_95"]
            self.assertTrue(0 <= low <= task["accuracy"] <= high <= 1)
        self.assertNotIn("commonsense_average", self.evaluate("boolq,piqa"))

    def test_mmlu_adds_up(self):
        mmlu = self.evaluate("mmlu", "--max_length", "256", limit="1")["tasks"]["mmlu"]
        self.assertEqual((mmlu["questions"], len(mmlu["subjects"])), (57, 57))
        self.assertEqual(sum(part["correct"] for part in mmlu["categories"].values()), mmlu["correct"])
        self.assertEqual({name: part["questions"] for name, part in mmlu["categories"].items()},
                         {"stem": 18, "humanities": 13, "social sciences": 12, "other": 14})
        self.assertAlmostEqual(mmlu["mean_of_subjects"],
                               sum(part["accuracy"] for part in mmlu["subjects"].values()) / 57)
        self.assertTrue(0 < mmlu["cut"] < 57)
        table = run(*self.words("mmlu", "--max_length", "256", limit="1"))[1].decode()
        self.assertIn("world_religions", table)
        self.assertIn("mean of the subjects", table)

    def test_log(self):
        log = self.path("log.jsonl")
        report = self.evaluate("boolq,ARC-Easy", "--log", log)
        first, *lines = self.lines(log)
        self.assertEqual([task["task"] for task in first["settings"]["tasks"]], ["boolq", "ARC-Easy"])
        self.assertEqual([(line["task"], line["item"]) for line in lines],
                         [(task, item) for task in ("boolq", "ARC-Easy") for item in range(4)])
        for line in lines:
            sums = line["log_likelihoods"]
            self.assertEqual(len(sums), len(line["options"]))
            self.assertEqual(line["choice"], sums.index(max(sums)))
            self.assertEqual(line["correct"], line["choice"] == line["answer"])
        with open(f"{DATA}/commonsense/boolq/test.json", encoding="utf-8") as file:
            record = json.load(file)[2]
        self.assertIn(record["instruction"], lines[2]["prompt"])
        self.assertEqual(lines[2]["options"][lines[2]["answer"]], record["output"])
        self.assertEqual(sum(line["correct"] for line in lines[:4]), report["tasks"]["boolq"]["correct"])

    def test_goes_on_from_the_log(self):
        log = self.path("log.jsonl")
        whole = self.evaluate("boolq,ARC-Easy", "--log", log)
        with open(log, "rb") as file:
            content = file.read()
        places = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
        for at in (0, 40, places[0], places[2] + 17, places[4], places[7] - 1, len(content)):
            with open(log, "wb") as file:
                file.write(content[:at])
            again = self.evaluate("boolq,ARC-Easy", "--log", log)
            with open(log, "rb") as file:
                after = file.read()
            self.assertEqual(again["tasks"], whole["tasks"], at)
            old, new = content.splitlines(), after.splitlines()
            self.assertEqual(old[0], new[0])
            self.assertEqual(len(old), len(new))
            for a, b in zip(old[1:], new[1:]):  # other neighbours in a pass may change the last bits
                a, b = json.loads(a), json.loads(b)
                for x, y in zip(a.pop("log_likelihoods"), b.pop("log_likelihoods")):
                    self.assertAlmostEqual(x, y, delta=1e-4)
                self.assertEqual(a, b)

    def test_a_log_of_something_else(self):
        log = self.path("log.jsonl")
        self.evaluate("boolq", "--log", log)
        with open(log, "rb") as file:
            before = file.read()
        self.refuses(2, self.words("boolq", "--log", log, "--max_length", "400"),
                     "max_length is null there and 400 here")
        self.refuses(2, self.words("boolq", "--log", log, limit="5"), "another evaluation: tasks is ")
        self.refuses(2, self.words("piqa", "--log", log), "another evaluation: tasks is ")
        self.refuses(2, self.words("boolq", "--log", log, "--dtype", "bfloat16"), "dtype")
        with open(log, "rb") as file:
            self.assertEqual(file.read(), before)
        with open(log, "ab") as file:
            file.write(before.splitlines(keepends=True)[1])
        self.refuses(1, self.words("boolq", "--log", log), "log.jsonl: line 6: it does not follow the line before")
        self.refuses(1, self.words("boolq", "--log", self.path("no folder/log")), "No such file")
        self.refuses(1, self.words("boolq", "--log", f"{DATA}/commonsense/boolq/test.json"), "test.json")

    def test_batches_do_not_matter(self):
        results = []
        for batch in ("1", "3", "32"):
            log = self.path(f"log{batch}.jsonl")
            self.evaluate("hellaswag,mmlu", "--batch", batch, "--log", log, "--max_length", "200", limit="1")
            results.append(self.lines(log)[1:])
        for lines in results[1:]:
            for a, b in zip(results[0], lines):
                self.assertEqual(a["item"], b["item"])
                for x, y in zip(a["log_likelihoods"], b["log_likelihoods"]):
                    self.assertAlmostEqual(x, y, delta=1e-4)

    def test_generation(self):
        results = []
        for batch in ("1", "5"):
            log = self.path(f"generated{batch}.jsonl")
            report = self.evaluate("piqa,gsm8k", "--by", "generation", "--shots", "0", "--batch", batch, "--log", log,
                                   "--max_new_tokens", "16", limit="6")
            lines = self.lines(log)[1:]
            results.append(lines)
            self.assertEqual([(line["task"], line["item"]) for line in lines],
                             [(task, item) for task in ("piqa", "gsm8k") for item in range(6)])
            for name, task in report["tasks"].items():
                mine = [line for line in lines if line["task"] == name]
                self.assertEqual(task["by"], "generation")
                self.assertEqual(task["correct"], sum(line["correct"] for line in mine))
                self.assertEqual(task["near_misses"], sum(line["near_miss"] for line in mine))
        self.assertEqual(*results)
        self.assertTrue(all(line["text"] for line in results[0]))
        again = self.evaluate("piqa,gsm8k", "--by", "generation", "--log", log, "--max_new_tokens", "16", limit="6")
        self.assertEqual(again["tasks"], report["tasks"])
        self.refuses(2, self.words("piqa,gsm8k", "--by", "generation", "--log", log, limit="6"),
                     "max_new_tokens is 16 there and 0 here")
        shots = self.evaluate("gsm8k", "--shots", "1", "--max_new_tokens", "4", limit="2")["tasks"]["gsm8k"]
        self.assertEqual((shots["by"], shots["shots"], shots["questions"]), ("generation", 1, 2))

    def test_show_prompt(self):
        code, out, err = run("eval", "--task", "mmlu", "--shots", "5", "--data_dir", DATA, "--show_prompt", "--json")
        self.assertEqual((code, err), (0, b""))
        shown = json.loads(out)
        log = self.path("log.jsonl")
        self.evaluate("mmlu", "--shots", "5", "--log", log, limit="1")
        line = self.lines(log)[1]
        self.assertEqual((shown["prompt"], shown["options"]), (line["prompt"], line["options"]))
        self.assertEqual((shown["template"], shown["version"], shown["answer"]), ("mmlu-subject", 1, line["answer"]))
        text = run("eval", "--task", "boolq,gsm8k", "--data_dir", DATA, "--show_prompt")[1].decode()
        self.assertIn("--- boolq, template alpaca version 1 ---\nBelow is an instruction", text)
        self.assertIn('* "the correct answer is false"', text)
        self.assertIn("--- gsm8k, template question-answer version 1 ---\nQuestion: Janet", text)

    def test_mistakes(self):
        self.refuses(2, self.words("ppl,boolq"), "ppl goes alone")
        self.refuses(2, self.words("boolq", "--shots", "5"), "boolq has no solved examples")
        self.refuses(2, self.words("mmlu", "--shots", "6"), "it holds 5 examples, not 6")
        self.refuses(2, self.words("bool"), "'bool' is not one of", "did you mean boolq?")
        self.refuses(2, self.words("boolq", "--max_length", "8"), "8 tokens have no room for an answer")
        self.refuses(2, ["eval", STORIES, "--task", "boolq"], "no folder", "--data_dir")
        self.refuses(2, ["eval", STORIES, "--task", "mmlu", "--data_dir", self.folder], "holds none of mmlu/test/")
        self.refuses(2, ["eval", "--task", "boolq", "--data_dir", DATA], "model: none was given")

    def test_damaged_files_are_named(self):
        bad = "What?,one,two,three,four,E\n"
        self.path("mmlu/test/anatomy_test.csv", "Why?,one,two,three,four,A\n" + bad)
        self.refuses(1, ["eval", STORIES, "--task", "mmlu", "--data_dir", self.folder],
                     "anatomy_test.csv: line 2: the row has 6 fields, of which the last is no letter A to D")
        os.remove(self.path("mmlu/test/anatomy_test.csv"))
        self.path("mmlu/test/cooking_test.csv", "Why?,one,two,three,four,A\n")
        self.refuses(1, ["eval", STORIES, "--task", "mmlu", "--data_dir", self.folder],
                     "cooking: it is none of MMLU's 57 subjects")


if __name__ == "__main__":
    main()
