#!/usr/bin/env python3
"""What a run leaves for people: TensorBoard's event files, report.html, the live line.  Run by CTest:
test_run_files.py VLORP."""
import glob
import html.parser
import json
import os
import re
import struct
import subprocess
import time

from program import STORIES, TIMEOUT_SECONDS, VLORP, ProgramTest, main, on_terminal, run


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """The records of a TFRecord file; both sums of each are checked."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        head = data[at:at + 8]
        n, = struct.unpack("<Q", head)
        if struct.unpack("<I", data[at + 8:at + 12])[0] != masked(head):
            raise ValueError("sum of a length")
        body = data[at + 12:at + 12 + n]
        if struct.unpack("<I", data[at + 12 + n:at + 16 + n])[0] != masked(body):
            raise ValueError("sum of a record")
        yield body
        at += 16 + n


def fields(message):
    """(field number, value) of a protobuf message: integers, and bytes for everything of a length."""
    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        elif key & 7 == 2:
            n, at = varint(at)
            value, at = message[at:at + n], at + n
        else:
            n = {1: 8, 5: 4}[key & 7]
            value, at = message[at:at + n], at + n
        yield key >> 3, value


def scalars(path):
    """{tag: [(step, value)]} of an event file, whose first record is its version and second the session's start."""
    found = {}
    for i, record in enumerate(records(path)):
        event = dict(fields(record))
        if i == 0:
            assert event[3] == b"brain.Event:2", event
        elif i == 1:
            assert dict(fields(event[7])) == {1: 1}, event
        else:
            for number, value in fields(event[5]):
                assert number == 1
                entry = dict(fields(value))
                found.setdefault(entry[1].decode(), []).append((event.get(2, 0), struct.unpack("<f", entry[2])[0]))
    return found


class Reader(html.parser.HTMLParser):
    """Counts elements, keeps the text, and sees that tags close in order."""
    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.text, self.addresses = [], {}, "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


class RunFiles(ProgramTest):
    def words(self, folder, *more):
        data = self.path("data<b>&.jsonl", "".join(
            json.dumps({"question": f"How many is {i} and 1?", "answer": f"It is {i + 1}."}) + "\n" for i in range(64)))
        return ["train", STORIES, "--dataset", data, "--total_batch_size", "4", "--save_dir", folder, *more]

    def metrics(self, folder):
        with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_event_file(self):
        folder = self.path("run")
        for n_steps in ("3", "7"):  # the second overwrites the first
            code, _, err = run(*self.words(folder, "--num_training_steps", n_steps, "--eval_every", "3", "--overwrite"))
            self.assertEqual(code, 0, err)
        paths = glob.glob(f"{folder}/events.out.tfevents.*")
        self.assertEqual(len(paths), 1)
        found = scalars(paths[0])
        names = {"train/loss": "loss", "train/learning_rate": "lr", "train/grad_norm": "grad_norm", "eval/loss": "eval_loss"}
        self.assertEqual(set(found), set(names))
        for tag, name in names.items():
            wanted = [(line["step"], line[name]) for line in self.metrics(folder) if name in line]
            self.assertEqual([step for step, _ in found[tag]], [step for step, _ in wanted])
            for (_, got), (_, value) in zip(found[tag], wanted):
                self.assertAlmostEqual(got, value, delta=1e-6 * abs(value) + 1e-12)

    def test_report(self):
        folder = self.path("run<i>")
        code, _, err = run(*self.words(folder, "--num_training_steps", "6", "--eval_every", "3", "--tags", "<script>&\"x",
                                       "--wandb_expname", "w"))
        self.assertEqual(code, 0, err)
        self.assertIn(b"--tags has no effect here: metrics go to the run's folder", err)
        self.assertIn(b"--wandb_expname has no effect here", err)
        with open(f"{folder}/report.html", encoding="utf-8") as file:
            text = file.read()
        page = Reader(text)
        self.assertEqual(page.open, [])
        self.assertEqual(page.addresses, [])  # self-contained
        self.assertNotIn("http", text)
        self.assertEqual(page.count["svg"], 5)
        self.assertEqual(page.count["polyline"], 6)
        self.assertNotIn("script", page.count)
        self.assertNotIn("b", page.count)
        self.assertNotIn("i", page.count)
        self.assertIn('<script>&"x', page.text)
        lines = self.metrics(folder)
        losses = [line["loss"] for line in lines if "loss" in line]
        evals = [line["eval_loss"] for line in lines if "eval_loss" in line]
        self.assertIn(f"Training loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last.", page.text)
        self.assertIn(f"Held-out loss {evals[0]:.4f} before, {evals[-1]:.4f} after.", page.text)
        self.assertIn("6 of 6 steps", page.text)
        curve = re.search(r'<polyline class="first" points="([^"]*)"', text).group(1).split()
        heights = [float(point.split(",")[1]) for point in curve]
        self.assertEqual(len(heights), 6)
        for i in range(5):  # larger losses stand higher
            self.assertEqual(heights[i] < heights[i + 1], losses[i] > losses[i + 1])
        self.assertEqual(os.path.exists(f"{folder}/report.html.partial"), False)

    def test_adaptive_budget(self):
        """Each new division is told; the report lists the last, whose bytes are those of equal budgets."""
        folder = self.path("run")
        code, _, err = run(*self.words(folder, "--num_training_steps", "5", "--update_proj_gap", "2", "--adaptive_budget"))
        self.assertEqual(code, 0, err)
        told = re.findall(r"after step (\d+) the budget is divided anew: (\d+) of 35 matrices changed, M from (\d+) .* to (\d+)",
                          err.decode())
        self.assertEqual([int(line[0]) for line in told], [2, 4])
        with open(f"{folder}/report.html", encoding="utf-8") as file:
            rows = re.findall(r'<tr><td>(model[^<]*)</td><td class="n">(\d+) x (\d+)</td><td class="n">(\d+)</td>'
                              r'<td class="n">(\d+)</td><td class="n">(\d+)', file.read())
        self.assertEqual(len(rows), 35)
        budgets = [int(row[5]) for row in rows]
        self.assertEqual([min(budgets), max(budgets)], [int(x) for x in told[-1][2:]])
        self.assertGreater(len(set(budgets)), 3)
        spent = sum(max(int(n), int(m)) * M for (_, n, m, _, _, _), M in zip(rows, budgets))
        there = sum(max(int(n), int(m)) * 16 for _, n, m, _, _, _ in rows)
        self.assertLessEqual(spent, there)
        self.assertGreater(spent, 0.98 * there)
        for words, text in ((["--optimizer", "adamw"], "adamw projects nothing"), (["--proj_type", "svd"], "not svd"),
                            (["--factor", "1/2", "--rank", "32"], "factors from 1 on")):
            code, _, err = run(*self.words(folder, "--adaptive_budget", "--overwrite", *words))
            self.assertIn(code, (1, 2))
            self.assertIn(text, err.decode())

    def test_report_while_it_runs(self):
        """Every checkpoint brings the report up to date."""
        folder = self.path("run")
        child = subprocess.Popen([VLORP, *self.words(folder, "--num_training_steps", "100000", "--save_every", "2",
                                              "--threads", "1")],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            reports = set()
            for _ in range(TIMEOUT_SECONDS * 20):
                if os.path.exists(f"{folder}/report.html"):
                    with open(f"{folder}/report.html", encoding="utf-8") as file:
                        reports.add(re.search(r"(\d+) of 100000 steps", file.read()).group(1))
                if len(reports) > 1 or child.poll() is not None:
                    break
                time.sleep(0.05)
            self.assertIsNone(child.poll())
            self.assertGreater(len(reports), 1)
            self.assertTrue(all(int(step) % 2 == 0 for step in reports), reports)
        finally:
            child.kill()
            child.wait()

    def test_hint_of_a_spike(self):
        words = self.words(self.path("run"), "--num_training_steps", "60", "--warmup_steps", "0", "--grad_clipping",
                           "0", "--threads", "1")
        hint = b"hint: the loss rose from "
        code, _, err = run(*words, "--lr", "1")
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count(hint), 1, err)
        self.assertIn(b"a longer warm-up (--warmup_steps, now 0)", err)
        code, _, err = run(*words, "--lr", "1e-4", "--overwrite")
        self.assertEqual(code, 0, err)
        self.assertNotIn(hint, err)
        code, _, err = run(*words, "--lr", "1", "--overwrite", "--quiet")
        self.assertEqual((code, err), (0, b""))

    def test_progress(self):
        words = self.words(self.path("run"), "--num_training_steps", "4", "--overwrite")
        code, live = on_terminal("stderr", *words)
        self.assertEqual(code, 0)
        for step in range(1, 5):  # one line, rewritten
            self.assertRegex(live, rf"\r\033\[Kstep {step}/4  loss [\d.]+  \d+ tokens/s  [\d.]+ [KMG]iB  [\d.]+ s left")
        plain = run(*words)[2].decode()
        self.assertNotIn("\033", plain)
        self.assertNotIn("\r", plain)
        self.assertRegex(plain, r"\nstep 4/4  loss [\d.]+  \d+ tokens/s")

    def test_metrics_fields(self):
        folder = self.path("run")
        self.assertEqual(run(*self.words(folder, "--num_training_steps", "2", "--eval_every", "1"))[0], 0)
        for line in self.metrics(folder):
            wanted = {"step", "eval_loss"} if "eval_loss" in line else {
                "step", "loss", "lr", "grad_norm", "tokens", "tokens_per_second", "memory_bytes"}
            self.assertLessEqual(wanted, set(line))


if __name__ == "__main__":
    main()
