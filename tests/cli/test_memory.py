#!/usr/bin/env python3
"""Memory as a user meets it: refusals with settings that really fit, cgroups and ulimit respected, what the
process takes beyond the ledger.  Run by CTest: test_memory.py VLORP."""
import json
import os
import re
import resource
import subprocess
import time
import unittest

from program import STORIES, TIMEOUT_SECONDS, VLORP, ProgramTest, has_sanitizer, main, run

LIBRARY_MIB = 96  # what the program states that libraries take at most
CGROUPS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))


def mib(text, title):
    """The figures of a line of the memory table."""
    line = next(line for line in text.splitlines()[::-1] if line.startswith(title))
    unit = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}
    return [float(number) * unit[name] for number, name in re.findall(r"([\d.]+) (B|KiB|MiB|GiB)\b", line)]


class MemoryTest(ProgramTest):
    def words(self, *more):
        data = self.path("data.jsonl")
        if not os.path.exists(data):
            self.path("data.jsonl", "".join(json.dumps(
                {"question": f"How many is {i} and 1? " + "It is asked by a girl with a dog. " * 9,
                 "answer": f"It is {i + 1}."}) + "\n" for i in range(64)))
        return ["train", STORIES, "--dataset", data, "--num_training_steps", "1", "--save_dir", self.path("run"),
                "--batch_size", "32", *more]

    def refusal(self, words, **how):
        """The needed MiB and the proposals of a refused run, as lists of words."""
        self.refuses(1, words, "the plan needs", "it fits with", "--force", **how)
        err = run(*words, **how)[2].decode()
        need = float(re.search(r"the plan needs ([\d.]+) MiB", err).group(1))
        proposals = re.findall(r"(--[^()]+) \(([\d.]+) MiB\)", err)
        self.assertFalse(os.path.exists(self.path("run")))  # nothing was written
        return need, [(options.split(), float(size)) for options, size in proposals]


def replace(words, option):
    """words with an option given anew."""
    kept = list(words)
    name = option[0]
    for old in (name, "--no_" + name[2:]):
        if old in kept:
            at = kept.index(old)
            del kept[at:at + (2 if at + 1 < len(kept) and not kept[at + 1].startswith("--") else 1)]
    return kept + option


def options_of(words):
    """["--a", "1", "--b"] as [["--a", "1"], ["--b"]]."""
    found = []
    for word in words:
        if word.startswith("--"):
            found.append([word])
        else:
            found[-1].append(word)
    return found


class Refusals(MemoryTest):
    def check(self, limit, words):
        """Every proposal, taken, fits the same limit, at the size that was said."""
        words = words + ["--memory_limit", f"{limit}MiB"]
        need, proposals = self.refusal(words)
        self.assertGreater(need, limit)
        self.assertGreater(len(proposals), 0)
        for options, size in proposals:
            self.assertLessEqual(size, limit)
            taken = words
            for option in options_of(options):
                taken = replace(taken, option)
            code, _, err = run(*taken)
            self.assertEqual(code, 0, f"{options}: {err.decode()}")
            planned = mib(err.decode(), "total")[0]
            if "--max_length" not in options:
                self.assertAlmostEqual(planned, size, delta=0.006 * size + 0.06)
            self.assertLessEqual(planned, limit * 1.006)
            subprocess.run(["rm", "-r", self.path("run")], check=True)
        return [options for options, _ in proposals]

    def test_memory_limit(self):
        options = self.check(90, self.words("--no_activation_checkpointing"))
        self.assertIn(["--activation_checkpointing"], options)
        self.assertIn("--batch_size", [words[0] for words in options])
        self.check(30, self.words("--optimizer", "adamw", "--activation_checkpointing"))
        # far below what one way can do alone: several together
        together = self.check(12, self.words("--no_activation_checkpointing", "--dtype", "float32"))
        self.assertGreater(len(options_of(together[0])), 1)
        self.check(25, self.words("--micro_tokens", "8192"))
        self.check(30, self.words("--factor", "16", "--rank", "2", "--activation_checkpointing"))

    def test_no_way(self):
        self.refuses(1, self.words("--memory_limit", "1MiB"), "1.0 MiB are allowed (--memory_limit)",
                     "no setting of this model fits")

    def test_force(self):
        code, _, err = run(*self.words("--memory_limit", "20MiB", "--force"))
        self.assertEqual(code, 0, err)


@unittest.skipIf(VLORP and has_sanitizer(), "a sanitizer needs address space and memory of its own")
class Limits(MemoryTest):
    def limited(self, kind, n_bytes, words):
        return subprocess.run([VLORP, *words], capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
                              preexec_fn=lambda: resource.setrlimit(kind, (n_bytes, n_bytes)))

    def test_ulimit(self):
        """At every size: a run, or one error; never a crash or a hang."""
        words = self.words("--no_activation_checkpointing", "--overwrite")
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            codes = []
            for size in (120, 240, 320, 400, 440, 480, 560, 800):
                done = self.limited(kind, size << 20, words)
                codes.append(done.returncode)
                errors = done.stderr.decode().count("vlorp: error: ")
                self.assertEqual((done.returncode, errors), (1, 1) if errors else (0, 0), done.stderr)
            self.assertEqual(codes, sorted(codes, reverse=True))  # more memory never fails where less did
            self.assertIn(1, codes)
            self.assertEqual(codes[-1], 0)

    def test_ulimit_proposal(self):
        words = self.words("--no_activation_checkpointing")
        for size in range(360, 560, 20):
            done = self.limited(resource.RLIMIT_AS, size << 20, words)
            proposal = re.search(r"it fits with (--batch_size \d+|--activation_checkpointing)", done.stderr.decode())
            if done.returncode != 0 and proposal:
                taken = replace(words, proposal.group(1).split())
                self.assertEqual(self.limited(resource.RLIMIT_AS, size << 20, taken).returncode, 0)
                return
        self.fail("no size was refused with a proposal")

    def test_cgroup(self):
        for root, limit_file in CGROUPS:
            group = f"{root}/vlorp-test-{os.getpid()}"
            try:
                os.mkdir(group)
            except OSError:
                continue
            self.addCleanup(os.rmdir, group)
            if os.path.exists(f"{group}/{limit_file}"):
                break
        else:
            self.skipTest("no memory cgroup can be made here")

        def enter():
            with open(f"{group}/cgroup.procs", "w", encoding="utf-8") as file:
                file.write(str(os.getpid()))

        def in_group(words):
            return subprocess.run([VLORP, *words], capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
                                  preexec_fn=enter)

        with open(f"{group}/{limit_file}", "w", encoding="utf-8") as file:
            file.write(str(190 << 20))
        words = self.words("--no_activation_checkpointing")
        done = in_group(words)
        self.assertEqual(done.returncode, 1, done.stderr)  # the plan and the libraries are not within it
        available = float(re.search(rb"and ([\d.]+) MiB are available", done.stderr).group(1))
        self.assertGreater(available, 190 - LIBRARY_MIB - 40)
        self.assertLess(available, 190 - LIBRARY_MIB + 1)
        proposal = re.search(r"it fits with (--\w+)", done.stderr.decode()).group(1)
        taken = in_group(replace(words, [proposal]))
        self.assertEqual(taken.returncode, 0, taken.stderr)
        # left to the program, checkpointing goes on by itself
        chosen = in_group([word for word in words if word != "--no_activation_checkpointing"] + ["--overwrite"])
        self.assertEqual(chosen.returncode, 0, chosen.stderr)
        self.assertIn(b", checkpointing,", chosen.stderr)


@unittest.skipIf(VLORP and has_sanitizer(), "a sanitizer's own memory is not the program's")
class BeyondTheLedger(MemoryTest):
    def test_anonymous_memory(self):
        """The process's own pages, watched from outside, against the ledger."""
        for more in ([], ["--activation_checkpointing", "--dtype", "bfloat16", "--target", "all"]):
            words = replace(self.words(*more, "--overwrite"), ["--num_training_steps", "4"])
            with open(self.path("log"), "wb") as log:
                child = subprocess.Popen([VLORP, *words], stdout=subprocess.DEVNULL, stderr=log)
                peak = 0
                while child.poll() is None:
                    try:
                        with open(f"/proc/{child.pid}/status", encoding="utf-8") as file:
                            found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
                        peak = max(peak, int(found.group(1)) if found else 0)
                    except (FileNotFoundError, ProcessLookupError):
                        break
                    time.sleep(0.001)
                self.assertEqual(child.wait(), 0)
            with open(self.path("log"), encoding="utf-8") as file:
                ledger = mib(file.read(), "total")[1]
            self.assertGreater(peak / 1024, 0.5 * ledger)
            self.assertLess(peak / 1024 - ledger, LIBRARY_MIB)
            print(f"RssAnon {peak / 1024:.1f} MiB, ledger {ledger:.1f} MiB")


if __name__ == "__main__":
    main()
