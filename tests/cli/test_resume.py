#!/usr/bin/env python3
"""Runs that were stopped, killed or damaged, and go on.  Run by CTest: test_resume.py VLORP; the repository's root is
the working directory.  `--kills N` and `--seed S` before unittest's own words repeat or extend the killed runs."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from program import has_sanitizer

VLORP = ""
KILLS = 0  # chosen below
SEED = random.SystemRandom().randrange(1 << 32)
MODEL = "share/tiny"
TIMEOUT_SECONDS = 300
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk's syncs are not what is tested
TIMES = {"tokens_per_second", "seconds", "memory_bytes"}


def run(*words, **how):
    """(exit status, standard output, standard error) of the program."""
    result = subprocess.run([VLORP, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            timeout=TIMEOUT_SECONDS, check=False, **how)
    return result.returncode, result.stdout.decode(), result.stderr.decode(errors="replace")


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def latest(folder):
    return contents(f"{folder}/state/latest").decode().strip()


def outcome(folder):
    """What must be equal to the bit: weights, the optimizer's state, metrics but for times and memory.  A checkpoint of
    adapters has not the weights of a merged model."""
    checkpoint = f"{folder}/state/{latest(folder)}"
    with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
        metrics = [{key: value for key, value in json.loads(line).items()
                    if key not in TIMES and not key.endswith("_seconds")} for line in file]
    weights = {}
    for place in (checkpoint, f"{folder}/model"):
        weights.update({name: contents(f"{place}/{name}") for name in os.listdir(place) if name.endswith(".safetensors")})
        assert all(weights[name] == contents(f"{place}/{name}") for name in weights if os.path.exists(f"{place}/{name}"))
    return weights, contents(f"{checkpoint}/vlorp_optimizer.bin"), metrics


class ResumeTest(unittest.TestCase):
    model = (MODEL, "--init", "random")

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=MEMORY)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.path("data.jsonl")
        with open(self.data, "w", encoding="utf-8") as file:
            for i in range(100):
                file.write(json.dumps({"question": f"How many are {i} and {i * 7 % 13}?",
                                       "answer": f"{i + i * 7 % 13}." * (1 + i % 4)}) + "\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def words(self, name, *more, steps=10):
        batch = [] if "--batch_size" in more else ["--batch_size", "2"]
        return ["train", *self.model, "--dataset", self.data, "--save_dir", self.path(name), "--threads",
                "1", "--total_batch_size", "4", *batch, "--lr", "1e-3", "--update_proj_gap", "3", "--quiet",
                "--num_training_steps", str(steps), *more]

    def train(self, name, *more, steps=10):
        code, out, err = run(*self.words(name, *more, steps=steps))
        self.assertEqual(code, 0, err)
        self.assertEqual(out, f"{self.path(name)}/model\n")
        return self.path(name)

    def go_on(self, folder, *more):
        code, _, err = run("train", "--continue_from", folder, *more)
        self.assertEqual(code, 0, err)
        return outcome(folder)

    def start(self, words):
        child = subprocess.Popen([VLORP, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def kill(self, *settings):
        """SIGKILL after random times, saves included: what goes on ends with the bits of the run that was let alone."""
        print(f"--kills {KILLS} --seed {SEED} ...", end=" ", file=sys.stderr, flush=True)
        dice = random.Random(SEED)
        begin = time.monotonic()
        whole = self.train("whole", *settings)
        span = time.monotonic() - begin
        wanted = outcome(whole)
        n_kills = n_runs = 0
        while n_kills < KILLS:
            name = f"run{n_runs}"
            n_runs += 1
            folder = self.path(name)
            words = self.words(name, *settings)
            while n_kills < KILLS:
                child = self.start(words)
                try:
                    child.wait(dice.uniform(0, 1.1 * span))
                    span = max(0.1, 0.9 * span)  # the machine got faster
                except subprocess.TimeoutExpired:
                    pass
                child.send_signal(signal.SIGKILL)
                code = child.wait()
                self.assertIn(code, (0, -signal.SIGKILL), f"{words}, seed {SEED}")
                ended = code == 0
                n_kills += not ended
                if ended:
                    break
                words = self.words(name, *settings, *(["--continue_from", folder] if os.path.exists(
                    f"{folder}/state/latest") else ["--overwrite"]))
            if os.path.exists(f"{folder}/state/latest"):
                self.assertEqual(self.go_on(folder), wanted, f"{folder}, seed {SEED}")
                self.assertEqual(contents(f"{folder}/best/model.safetensors"),
                                 contents(f"{whole}/best/model.safetensors"))
                left = [file for place in (folder, f"{folder}/state") for file in os.listdir(place)
                        if ".partial-" in file or ".old-" in file]
                self.assertEqual(left, [])
            shutil.rmtree(folder, ignore_errors=True)

    def compare(self, *settings, cut=5):
        """10 steps against `cut`, going on, and the rest: identical bits."""
        settings = [*settings, "--eval_every", "4"]
        whole = outcome(self.train("whole", *settings))
        parts = self.train("parts", *settings, "--save_every", str(cut), "--keep", "99")
        with open(f"{parts}/state/latest", "w", encoding="utf-8") as file:  # as if it had stopped there
            file.write(f"{cut}\n")
        self.assertEqual(self.go_on(parts), whole, settings)
        for name in ("whole", "parts"):
            shutil.rmtree(self.path(name))

    def mount(self, size):
        """A disk of its own; the test skips where none can be had."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small disk takes root")
        disk = self.path("disk")
        os.mkdir(disk)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", disk], check=False)
        return disk

    def refuses(self, code, words, *texts, **how):
        """Exit status, no result, one error line and at most a hint, which hold every text."""
        got, out, err = run(*words, **how)
        self.assertEqual((got, out), (code, ""), err)
        errors = [line for line in err.splitlines() if not line.startswith("vlorp: warning: ")]
        self.assertTrue(errors and errors[0].startswith("vlorp: error: "), err)
        self.assertLessEqual(len(errors), 2, err)
        for text in texts:
            self.assertIn(text, "\n".join(errors))


class Exact(ResumeTest):
    def test_rules(self):
        for optimizer in ("projfactor", "vlorp-os", "vlorp-ss", "vlorp-sgd", "sgd", "adamw", "adafactor", "adamw8bit",
                          "galore", "fira", "apollo", "apollo-mini", "flora"):
            for dtype in ("bfloat16",) if os.environ.get("VLORP_TEST_FEW") else ("float32", "bfloat16"):
                self.compare("--optimizer", optimizer, "--dtype", dtype)
        self.compare("--optimizer", "lomo", "--dtype", "bfloat16", "--batch_size", "4")

    def test_settings(self):
        for settings in (["--activation_checkpointing"],
                         ["--activation_checkpointing", "--dtype", "bfloat16", "--target", "all"],
                         ["--momentum", "transport"], ["--proj_type", "svd"], ["--momentum", "keep", "--proj_type", "rademacher"],
                         ["--factor", "1/4", "--rank", "8"], ["--state_dtype", "bfloat16", "--dtype", "bfloat16"]):
            self.compare(*settings)

    def test_adaptive_budget(self):
        """Cut inside a window, and right after a new division."""
        for cut, settings in ((5, ["--momentum", "transport"]), (6, ["--optimizer", "vlorp-ss", "--state_dtype", "bfloat16"]),
                              (7, ["--optimizer", "vlorp-sgd"])):
            self.compare("--adaptive_budget", *settings, cut=cut)

    def test_any_cut(self):
        for cut in (1, 3, 4, 9):  # before, at and after a projection and an evaluation
            self.compare(cut=cut)


class Killed(ResumeTest):
    def wait_for_metrics(self, name, n_lines):
        path = self.path(f"{name}/metrics.jsonl")
        until = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            if os.path.exists(path) and contents(path).count(b"\n") >= n_lines:
                return
            time.sleep(0.002)
        self.fail("the run takes no steps")

    def test_kill_at_any_instant(self):
        self.kill("--save_every", "1", "--eval_every", "4", "--keep_best")

    def test_signals(self):
        wanted = outcome(self.train("whole", steps=60))
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            name = number.name
            child = self.start(self.words(name, steps=60))
            self.wait_for_metrics(name, 2)
            child.send_signal(number)
            self.assertEqual(child.wait(TIMEOUT_SECONDS), code)
            step = int(latest(self.path(name)))
            self.assertTrue(2 <= step < 60, step)
            self.assertEqual(contents(self.path(f"{name}/metrics.jsonl")).count(b"\n"), step)
            self.assertEqual(self.go_on(self.path(name)), wanted)

    def test_a_second_signal(self):
        words = self.words("run", steps=60)
        words[words.index("--total_batch_size") + 1] = "40960"  # a step that does not end soon
        child = self.start(words)
        while not os.path.exists(self.path("run/metrics.jsonl")):
            self.assertIsNone(child.poll())
            time.sleep(0.01)
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        time.sleep(0.1)
        begin = time.monotonic()
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(TIMEOUT_SECONDS), 130)
        self.assertLess(time.monotonic() - begin, 2)
        self.assertFalse(os.path.exists(self.path("run/state/latest")))


class Refused(ResumeTest):
    def test_clashes(self):
        folder = self.train("run", steps=2)
        go_on = ["train", "--continue_from", folder]
        self.refuses(2, [*go_on, "--lr", "0.5"], "--lr: 0.5, but the run", "was made with 0.001")
        self.refuses(2, [*go_on, "--optimizer", "adamw"], "--optimizer: adamw", "projfactor")
        self.refuses(2, [*go_on, "--num_training_steps", "1"], "--num_training_steps", "2 steps")
        self.refuses(2, [*go_on, "--overwrite"], "--overwrite")
        self.refuses(1, self.words("run"), "holds a run already", f"--continue_from {folder}")
        with open(self.data, "a", encoding="utf-8") as file:
            file.write('{"question": "And?", "answer": "No."}\n')
        self.refuses(1, [*go_on, "--num_training_steps", "3"], "data.jsonl", "100 examples then, 101 now")
        self.refuses(1, ["train", "--continue_from", self.path("nothing")], "no checkpoint to continue from")

    def test_damaged_checkpoints(self):
        folder = self.train("run", "--save_every", "1", "--keep", "2", steps=2)
        for name in ("model.safetensors", "vlorp_optimizer.bin", "vlorp_state.json", "vlorp_settings.json",
                     "vlorp_checksums", "tokenizer.json"):
            good = contents(f"{folder}/state/2/{name}")
            middle = len(good) // 2
            for bad in (good[:-1], good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:], None):
                os.remove(f"{folder}/state/2/{name}")
                if bad is not None:
                    with open(f"{folder}/state/2/{name}", "wb") as file:
                        file.write(bad)
                self.refuses(1, ["train", "--continue_from", folder], f"state/2/{name}")
                with open(f"{folder}/state/2/{name}", "wb") as file:
                    file.write(good)
        shutil.copy(f"{folder}/state/1/vlorp_optimizer.bin", f"{folder}/state/2/vlorp_optimizer.bin")
        self.refuses(1, ["train", "--continue_from", folder], "state/2/vlorp_optimizer.bin", "an older checkpoint")
        with open(f"{folder}/state/latest", "w", encoding="utf-8") as file:
            file.write("1\n")
        self.go_on(folder)

    def test_two_processes(self):
        child = subprocess.Popen([VLORP, *self.words("run", steps=100000)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(self.path("run/metrics.jsonl")):
                time.sleep(0.01)
            self.refuses(1, self.words("run", "--overwrite"), f"another process, {child.pid}, is training there")
        finally:
            child.kill()
            child.wait()


class Trouble(ResumeTest):
    def test_full_disk(self):
        self.mount("9m")
        words = self.words("disk/run", "--save_every", "2", "--keep", "5")
        self.refuses(1, words, "disk/run/state/4", "free", "the checkpoint of step 2 is whole")
        self.assertEqual(latest(self.path("disk/run")), "2")
        code, _, err = run("train", "--continue_from", self.path("disk/run"), "--save_dir", self.path("elsewhere"))
        self.assertEqual(code, 0, err)
        self.assertEqual(outcome(self.path("elsewhere")), outcome(self.train("whole")))
        shutil.rmtree(self.path("disk/run"))
        with open(self.path("disk/filler"), "wb") as file:
            file.write(bytes(6 << 20))
        self.refuses(1, words, "needs", "free")  # at the start

    def test_folder_removed(self):
        child = subprocess.Popen([VLORP, *self.words("run", steps=120)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while not os.path.exists(self.path("run/metrics.jsonl")):
            time.sleep(0.01)
        shutil.rmtree(self.path("run"))
        _, err = child.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(child.returncode, 0, err)
        self.assertIn(b"the folder is gone", err)
        self.assertTrue(os.path.exists(self.path("run/model/config.json")))

    def test_vanished_source(self):
        shutil.copytree(MODEL, self.path("source"))
        words = ["train", self.path("source"), *self.words("run", steps=120)[2:]]
        child = subprocess.Popen([VLORP, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        while not os.path.exists(self.path("run/metrics.jsonl")):
            time.sleep(0.01)
        shutil.rmtree(self.path("source"))
        _, err = child.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(child.returncode, 0, err)
        self.go_on(self.path("run"), "--num_training_steps", "121")

    def test_not_finite(self):
        model = f"{self.train('run', steps=1)}/model/model.safetensors"
        checkpoint = contents(model)
        begin = 8 + int.from_bytes(checkpoint[:8], "little")
        os.remove(model)  # the checkpoint has a link to it
        with open(model, "wb") as file:
            file.write(checkpoint[:begin + 400] + b"\0\0\xc0\x7f" * 256 + checkpoint[begin + 1424:])
        words = self.words("bad")
        words[1:4] = [f"{self.folder}/run/model"]
        self.refuses(1, words, "step 1, micro-batch 1", "not finite",
                     "model.embed_tokens.weight is the first tensor")
        self.assertFalse(os.path.exists(self.path("bad/state/latest")))

    def test_gradient_not_finite(self):
        """Weights too large to square: norms become zero and the loss is finite, but not its gradient."""
        model = f"{self.train('run', steps=1)}/model/model.safetensors"
        checkpoint = contents(model)
        n_header = int.from_bytes(checkpoint[:8], "little")
        begin, end = json.loads(checkpoint[8:8 + n_header])["model.embed_tokens.weight"]["data_offsets"]
        large = struct.pack("<2f", 2e38, -1e38) * ((end - begin) // 8)
        os.remove(model)  # the checkpoint has a link to it
        with open(model, "wb") as file:
            file.write(checkpoint[:8 + n_header + begin] + large + checkpoint[8 + n_header + end:])
        before = contents(model)
        words = self.words("bad")
        words[1:4] = [f"{self.folder}/run/model"]
        self.refuses(1, words, "step 1", "gradient", "not finite", "model.")
        self.assertFalse(os.path.exists(self.path("bad/state/latest")))
        self.assertEqual(contents(model), before)

    def test_read_only_folder(self):
        """What cannot be written is said before anything is trained; a run's checkpoint stays good."""
        disk = self.mount("60m")
        folder = self.train("disk/run", steps=5)
        self.assertEqual(subprocess.run(["mount", "-o", "remount,ro", disk], check=False).returncode, 0)
        self.refuses(1, self.words("disk/new"), "disk/new", "Read-only file system")
        self.refuses(1, ["train", "--continue_from", folder, "--num_training_steps", "10"], "Read-only file system")
        code, _, err = run("train", "--continue_from", folder, "--num_training_steps", "10", "--save_dir",
                           self.path("elsewhere"))
        self.assertEqual(code, 0, err)
        self.assertEqual((latest(folder), latest(self.path("elsewhere"))), ("5", "10"))

    def test_config_repeats(self):
        folder = self.train("run", "--dtype", "bfloat16", steps=4)
        code, _, err = run("train", "--config", f"{folder}/run.json", "--save_dir", self.path("again"))
        self.assertEqual(code, 0, err)
        self.assertEqual(outcome(self.path("again")), outcome(folder))
        self.refuses(1, ["train", "--config", f"{folder}/run.json"], "holds a run already")
        code, _, err = run("train", "--config", f"{folder}/run.json", "--continue_from", folder)
        self.assertEqual(code, 0, err)


def main():
    """Reads this module's words, then runs the tests of the script."""
    global VLORP, KILLS, SEED
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} VLORP [--kills N] [--seed S] [unittest's words]")
    VLORP = os.path.abspath(arguments.pop(0))
    while len(arguments) > 1 and arguments[0] in ("--kills", "--seed"):
        if arguments[0] == "--kills":
            KILLS = int(arguments[1])
        else:
            SEED = int(arguments[1])
        del arguments[:2]
    KILLS = KILLS or (5 if has_sanitizer() else 20)
    unittest.main(argv=[sys.argv[0], *arguments], verbosity=2)


if __name__ == "__main__":
    main()
