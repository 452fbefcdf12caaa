#!/usr/bin/env python3
"""The program as scripts see it: exit codes, standard output against standard error, mistakes, damaged
files.  Run by CTest: test_program.py VLORP; the repository's root is the working directory."""
import json
import os
import shutil
import subprocess

from program import DATA, STORIES, TIMEOUT_SECONDS, VLORP, ProgramTest, has_sanitizer, main, run

STORIES_GGUF = f"{DATA}/models/stories260K-gguf/stories260K.gguf"
COMMANDS = ["train", "plan", "eval", "generate", "convert", "inspect", "tokenize", "bench"]


class CommandLine(ProgramTest):
    def test_help(self):
        code, out, err = run()
        self.assertEqual((code, out), (2, b""))
        self.assertIn(b"usage: vlorp COMMAND", err)
        code, out, err = run("--help")
        self.assertEqual((code, err), (0, b""))
        for command in COMMANDS:
            self.assertIn(f"  {command} ".encode(), out)
            for words in ([command, "--help"], [command, "-h"], ["help", command]):
                code, text, err = run(*words)
                self.assertEqual((code, err), (0, b""), words)
                self.assertIn(b"--threads", text)
                self.assertLess(max(len(line) for line in text.splitlines()), 121, words)
        self.assertIn(b"--update_proj_gap", run("train", "--help")[1])
        self.assertNotIn(b"--update_proj_gap", run("generate", "--help")[1])

    def test_version(self):
        for words in (["--version"], ["train", "--version"]):
            code, out, err = run(*words)
            self.assertEqual((code, err), (0, b""))
            self.assertRegex(out, rb"^vlorp \d+\.\d+\.\d+\n$")

    def test_usage_errors(self):
        self.refuses(2, ["trian"], "trian: there is no such command", "vlorp train")
        self.refuses(2, ["study"], "this version does not have the command")
        self.refuses(2, ["train", "m", "--task", "ppl"], "--task belongs to another command")
        for command in COMMANDS:
            first = [command, "step"] if command == "bench" else [command]
            self.refuses(2, [*first, "m", "--thread", "2"], "--thread: there is no such option", "--threads")
            self.refuses(2, [*first, "m", "--threads", "0"], "--threads")
            self.refuses(2, [*first, "m", "--device", "cuda"], "it has cpu")
            self.refuses(2, [*first, "m", "another"], "another: one argument too many")
            self.refuses(1, [*first, "--config", self.path("none.json"), "m"], "none.json")
        self.refuses(2, ["train", STORIES, "--optimizer", "adagrad", "--dataset", "x"],
                     "is not one of projfactor, vlorp-os, vlorp-ss, vlorp-sgd, adamw, sgd")
        self.refuses(2, ["train", STORIES], "data")
        self.refuses(2, ["eval", STORIES], "--data")
        self.refuses(2, ["generate", "--prompt", "x"], "model")
        self.refuses(2, ["generate", STORIES, "--prompt", "x"], "VLORP_CPU", env={"VLORP_CPU": "mmx"})

    def test_models_that_are_not_there(self):
        self.refuses(1, ["generate", "llama-2-7b", "--prompt", "x"], "meta-llama/Llama-2-7b-hf")
        for command, more in (("generate", ["--prompt", "x"]), ("inspect", []), ("tokenize", []),
                              ("convert", ["--out", self.path("out")]), ("plan", []),
                              ("eval", ["--data", "README.md"])):
            self.refuses(1, [command, self.path("nothing"), *more], "nothing")

    def test_config_file(self):
        config = self.path("c.json", json.dumps({"options": {"max_new_tokens": 3, "model": STORIES, "lr": 1}}))
        code, out, _ = run("generate", "--config", config, "--prompt", "Once", "--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out)["new_tokens"], 3)
        code, out, _ = run("generate", "--config", config, "--prompt", "Once", "--json", "--max_new_tokens", "5")
        self.assertEqual(json.loads(out)["new_tokens"], 5)
        self.refuses(2, ["generate", "--config", self.path("d.json", '{"max_tokens": 3}')], "max_tokens",
                     "did you mean")
        self.refuses(2, ["generate", "--config", self.path("e.json", '{"top_k": "many"}')], "e.json", "--top_k")
        self.refuses(2, ["generate", "--config", self.path("f.json", '{"top_k": [1]}')], "f.json", "top_k")
        self.refuses(1, ["generate", "--config", self.path("g.json", "[1, 2")], "g.json")


class Results(ProgramTest):
    def test_generate(self):
        with open(f"{DATA}/models/stories260K/expected_greedy_200.txt", "rb") as file:
            expected = file.read()
        for model in (STORIES, STORIES_GGUF):
            code, out, err = run("generate", "--model_name", model, "--prompt", "", "--max_new_tokens", "200")
            self.assertEqual(code, 0, err)
            self.assertEqual(out, expected)
        code, out, err = run("generate", STORIES, "--prompt", "", "--max_new_tokens", "200", "--quiet", "--threads",
                             "1", env={"VLORP_CPU": "ref"})
        self.assertEqual((code, out, err), (0, expected, b""))

    def test_generate_json_and_sampling(self):
        base = ["generate", "-m", STORIES, "--json", "--max_new_tokens", "20"]
        code, out, _ = run(*base, "--prompt", "Once upon a time")
        result = json.loads(out)
        self.assertEqual(code, 0)
        self.assertEqual((result["new_tokens"], result["finish"]), (20, "length"))
        plain = run(*[word for word in base if word != "--json"], "--prompt", "Once upon a time")[1]
        self.assertEqual(plain.decode(), result["text"])
        piped = json.loads(run(*base, text_in=b"Once upon a time\n")[1])
        self.assertEqual(piped["text"], result["text"])
        texts = [json.loads(run(*base, "--prompt", "Once", "--temperature", "1", "--seed", seed)[1])["text"]
                 for seed in ("1", "1", "2")]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_generate_chat_needs_a_template(self):
        self.refuses(1, ["generate", STORIES, "--chat", "--prompt", "hello"], "chat")

    def test_eval(self):
        text = self.path("text.txt", "Once upon a time, there was a little girl named Lily. She liked to play.\n" * 4)
        code, out, err = run("eval", "--model_name", STORIES, "--task", "ppl", "--data", text, "--max_length", "32",
                             "--json")
        self.assertEqual(code, 0, err)
        result = json.loads(out)
        self.assertEqual(result["task"], "ppl")
        self.assertGreater(result["perplexity"], 1)
        self.assertLess(result["loss"], 3)
        self.assertEqual(result["tokens"], result["text_tokens"] - result["windows"])
        code, out, _ = run("eval", STORIES, "--data", text)
        self.assertEqual(code, 0)
        self.assertIn(b"perplexity", out)
        self.refuses(2, ["eval", STORIES, "--data", text, "--max_length", "4096"], "512")
        self.refuses(1, ["eval", STORIES, "--data", self.path("none.txt")], "none.txt")
        self.refuses(2, ["eval", STORIES, "--data", self.path("empty.txt", "")], "empty.txt")

    def test_tokenize(self):
        text = "Once upon a time, Lily ate 3 apples.".encode()
        code, out, err = run("tokenize", STORIES, text_in=text)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, rb"^\d+( \d+)*\n$")
        without = run("tokenize", STORIES, "--no_special", text_in=text)[1]
        self.assertEqual(out.split()[1:], without.split())
        self.assertEqual(run("tokenize", STORIES, "--decode", text_in=without)[1].rstrip(b"\n"), text)

    def test_inspect_and_plan(self):
        for model in (STORIES, STORIES_GGUF):
            code, out, err = run("inspect", model, "--json")
            self.assertEqual(code, 0, err)
            self.assertIsInstance(json.loads(out), dict)
        code, out, err = run("plan", STORIES, "--optimizer", "all", "--json", "--max_length", "64", "--batch_size", "4")
        self.assertEqual(code, 0, err)
        table = json.loads(out)
        self.assertLessEqual({"projfactor", "adamw"}, set(table))
        for row in table.values():
            classes = ("weights", "gradients", "optimizer_state", "activations", "workspace", "data")
            self.assertEqual(row["total"], sum(row[name] for name in classes))
        self.assertLess(table["projfactor"]["optimizer_state"], table["adamw"]["optimizer_state"])
        self.assertEqual(table["sgd"]["optimizer_state"], 0)
        code, out, err = run("plan", STORIES, "--optimizer", "all", "--json", "--adaptive_budget")
        self.assertEqual(code, 0, err)
        self.assertEqual(set(json.loads(out)), {"vlorp-os", "vlorp-ss", "vlorp-sgd", "projfactor"})
        self.assertIn(b"adamw is left out: --adaptive_budget", err)

    def test_convert(self):
        out_folder = self.path("converted")
        code, _, err = run("convert", "--model_name", STORIES_GGUF, "--to", "safetensors", "--dtype", "float32",
                           "--out", out_folder)
        self.assertEqual(code, 0, err)
        words = ["--prompt", "Once", "--max_new_tokens", "30", "--quiet"]
        self.assertEqual(run("generate", out_folder, *words)[1], run("generate", STORIES, *words)[1])

    def test_lost_output(self):
        with open("/dev/full", "wb") as full:
            for words in (["generate", STORIES, "--prompt", "Once"], ["--help"], ["train", "--help"],
                          ["generate", STORIES, "--prompt", "Once", "--json"]):
                code, _, err = run(*words, stdout=full)
                self.assertEqual(code, 1, words)
                self.assertIn(b"vlorp: error: standard output", err)


    def test_closed_streams(self):
        def without(fd, *words):
            return subprocess.run([VLORP, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=TIMEOUT_SECONDS, check=False,
                                  preexec_fn=lambda: os.close(fd))
        closed_in = without(0, "tokenize", STORIES)
        self.assertEqual(closed_in.returncode, 1)
        self.assertIn(b"vlorp: error: standard input", closed_in.stderr)
        closed_out = without(1, "generate", STORIES, "--prompt", "Once", "--max_new_tokens", "2")
        self.assertEqual(closed_out.returncode, 1)
        self.assertIn(b"vlorp: error: standard output", closed_out.stderr)
        data = self.path("data.jsonl", '{"question": "Who is Lily?", "answer": "A girl."}\n' * 4)
        run_folder = self.path("run")
        self.assertEqual(without(2, "train", STORIES, "--dataset", data, "--save_dir", run_folder,
                                 "--num_training_steps", "2").returncode, 0)
        with open(f"{run_folder}/metrics.jsonl", encoding="utf-8") as file:
            self.assertEqual([json.loads(line)["step"] for line in file], [1, 2])  # no message among them


class Training(ProgramTest):
    def data(self):
        return self.path("data.jsonl", "".join(
            json.dumps({"question": f"How many is {i} and 1?", "answer": f"It is {i + 1}."}) + "\n" for i in range(64)))

    def test_run_folder(self):
        folder = self.path("run")
        words = ["train", STORIES, "--dataset", self.data(), "--save_dir", folder, "--num_training_steps", "3",
                 "--total_batch_size", "8", "--batch_size", "4", "--lr", "1e-3", "--single_gpu", "--wandb_expname", "x"]
        code, out, err = run(*words)
        self.assertEqual(code, 0, err)
        model = out.decode().splitlines()[-1]
        self.assertEqual(os.path.realpath(model), os.path.realpath(f"{folder}/model"))
        self.assertIn(b"--single_gpu has no effect here", err)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            self.assertTrue(os.path.exists(f"{model}/{name}"), name)
        with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        steps = [line for line in lines if "loss" in line]
        self.assertEqual([line["step"] for line in steps], [1, 2, 3])
        self.assertLessEqual({"lr", "grad_norm", "tokens", "tokens_per_second", "memory_bytes"}, set(steps[0]))
        code, out, err = run("generate", model, "--prompt", "How", "--max_new_tokens", "5")
        self.assertEqual(code, 0, err)
        self.refuses(1, words, "run")  # the folder holds a run
        again = run("train", "--config", f"{folder}/run.json", "--save_dir", self.path("again"))
        self.assertEqual(again[0], 0, again[2])
        with open(f"{self.path('again')}/model/model.safetensors", "rb") as a, \
                open(f"{model}/model.safetensors", "rb") as b:
            self.assertEqual(a.read(), b.read())  # run.json repeats the run

    def test_memory_beyond_the_ledger(self):
        """What libraries and the kernel take is within the constant that the program states."""
        if has_sanitizer():
            self.skipTest("a sanitizer's own memory is not the program's")
        folder = self.path("run")
        command = [VLORP, "train", STORIES, "--dataset", self.data(), "--save_dir", folder, "--num_training_steps", "3"]
        with open(self.path("log"), "wb") as log:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
        self.assertEqual(status, 0)
        with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
            ledger = max(json.loads(line)["memory_bytes"] for line in file)
        mapped = os.path.getsize(f"{STORIES}/model.safetensors")
        self.assertGreater(usage.ru_maxrss * 1024, mapped)
        self.assertLess(usage.ru_maxrss * 1024 - ledger - mapped, 96 << 20)

    def test_overwriting_the_model_in_use(self):
        folder = self.path("run")
        words = ["--dataset", self.data(), "--save_dir", folder, "--num_training_steps", "1"]
        self.assertEqual(run("train", STORIES, *words)[0], 0)
        code, _, err = run("train", f"{folder}/model", *words, "--overwrite")
        self.assertEqual(code, 0, err)
        self.assertEqual(run("generate", f"{folder}/model", "--prompt", "x", "--max_new_tokens", "1")[0], 0)
        kept = [name for name in os.listdir(folder) if not name.startswith("events.out.tfevents.")]
        self.assertEqual(sorted(kept), ["lock", "metrics.jsonl", "model", "report.html", "run.json", "state"])

    def test_random_weights_for_a_lone_config(self):
        code, _, err = run("train", f"{STORIES}/config.json", "--init", "random", "--dataset", self.data(), "--save_dir",
                           self.path("run"), "--num_training_steps", "1")
        self.assertEqual(code, 0, err)

    def test_damaged_data(self):
        for name, content, text in (("a.jsonl", '{"question": "x", "answer": "y"}\n{"question": \n', "a.jsonl"),
                                    ("b.json", "[", "b.json"), ("c.jsonl", '{"foo": 1}\n', "c.jsonl"),
                                    ("d.parquet", "PAR1", "arquet"), ("e.jsonl", "", "e.jsonl")):
            data = self.path(name, content)
            code, out, err = run("train", STORIES, "--dataset", data, "--save_dir", self.path("run"))
            self.assertIn(code, (1, 2), name)
            self.assertEqual(out, b"")
            self.assertIn(text, err.decode())
            self.assertFalse(os.path.exists(self.path("run/model")))

    def test_a_pipe_is_no_data(self):
        os.mkfifo(self.path("pipe.jsonl"))
        self.refuses(1, ["train", STORIES, "--dataset", self.path("pipe.jsonl")], "pipe.jsonl", "not a regular file")

    def test_endless_runs_are_planned(self):
        code, _, err = run("plan", STORIES, "--dataset", self.data(), "--batch_size", "2", "--num_training_steps",
                           "1000000000000")
        self.assertEqual(code, 0, err)


class DamagedModels(ProgramTest):
    def try_all(self, model, text=""):
        for command, more in (("generate", ["--prompt", "x"]), ("inspect", []), ("eval", ["--data", "README.md"]),
                              ("convert", ["--out", self.path("out")])):
            self.refuses(1, [command, model, *more], text)
            self.assertFalse(os.path.exists(self.path("out")), command)

    def copy_of_stories(self, name):
        folder = self.path(name)
        shutil.copytree(STORIES, folder)
        for file in os.listdir(folder):
            os.chmod(f"{folder}/{file}", 0o644)
        return folder

    def test_gguf(self):
        with open(STORIES_GGUF, "rb") as file:
            good = file.read()
        self.try_all(self.path("empty.gguf", b""), "empty.gguf")
        self.try_all(self.path("magic.gguf", b"GGUX" + good[4:]), "magic.gguf")
        for n in (4, 12, 40, 3000, len(good) // 2, len(good) - 1):
            self.try_all(self.path("cut.gguf", good[:n]), "cut.gguf")
        self.try_all(self.path("counts.gguf", good[:8] + b"\xff" * 16 + good[24:]), "counts.gguf")

    def test_safetensors(self):
        folder = self.copy_of_stories("model")
        with open(f"{folder}/model.safetensors", "rb") as file:
            good = file.read()
        for bad in (b"", good[:7], b"\xff" * 8 + good[8:], good[:-1], good + b"x", b"\x02" + b"\0" * 7 + b"[]"):
            with open(f"{folder}/model.safetensors", "wb") as file:
                file.write(bad)
            self.try_all(folder, "model.safetensors")

    def test_config(self):
        folder = self.copy_of_stories("model")
        with open(f"{folder}/config.json", "rb") as file:
            good = json.load(file)
        for bad in ("", "{", "[]", "[" * 100000, json.dumps({**good, "hidden_size": -4}),
                    json.dumps({**good, "hidden_size": 1 << 62}), json.dumps({**good, "num_attention_heads": 0}),
                    json.dumps({**good, "model_type": "mamba\u001b[31m"}), json.dumps({**good, "vocab_size": "many"})):
            with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
                file.write(bad)
            self.refuses(1, ["generate", folder, "--prompt", "x"], "config.json")

    def test_tokenizer(self):
        folder = self.copy_of_stories("model")
        for bad in ("", "{}", "[" * 100000, '{"model": {"type": "BPE", "vocab": [], "merges": 3}}', "\0" * 64):
            with open(f"{folder}/tokenizer.json", "w", encoding="utf-8") as file:
                file.write(bad)
            self.refuses(1, ["generate", folder, "--prompt", "x"], "tokenizer.json")
            self.refuses(1, ["tokenize", folder], "tokenizer.json", text_in=b"x")
        os.remove(f"{folder}/tokenizer.json")
        self.refuses(1, ["generate", folder, "--prompt", "x"], "tokenizer")


if __name__ == "__main__":
    main()
