#!/usr/bin/env python3
"""vlorp generate --chat: one message, and conversations on a terminal (a pseudo-terminal here).  Run by CTest:
test_chat.py VLORP; the repository's root is the working directory."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

from program import STORIES, TIMEOUT_SECONDS, VLORP, ProgramTest, main, run

SMOLLM2 = os.environ.get("VLORP_TEST_SMOLLM2", "")
# zephyr's form, which needs no special tokens of its own, with BOS in front
TEMPLATE = ("{{ bos_token }}{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
            "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + "
            "message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + "
            "message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
            "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}")


class Terminal:
    """The program with standard input on a terminal, as a session leader so that Ctrl-C reaches it."""

    def __init__(self, *words):
        leader, follower = pty.openpty()

        def lead():
            os.setsid()
            import fcntl
            import termios
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.leader = leader
        self.process = subprocess.Popen([VLORP, *words], stdin=follower, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=lead)
        os.close(follower)
        self.out = b""
        self.err = b""

    def _read(self, seconds):
        streams = [self.process.stdout, self.process.stderr]
        for stream in select.select(streams, [], [], seconds)[0]:
            got = os.read(stream.fileno(), 65536)
            if stream is self.process.stdout:
                self.out += got
            else:
                self.err += got

    def wait_for(self, condition):
        end = time.monotonic() + TIMEOUT_SECONDS / 4
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                self._read(0.1)
                if condition():
                    return
                raise AssertionError(f"waited in vain: {self.out} {self.err}")
            self._read(0.1)

    def wait_for_prompt(self, n=1):
        """n prompts have been shown since the beginning."""
        self.wait_for(lambda: self.err.count(b"> ") >= n)

    def type(self, text):
        os.write(self.leader, text.encode() if isinstance(text, str) else text)

    def leave(self):
        """The exit status, with all output read."""
        code = self.process.wait(TIMEOUT_SECONDS / 4)
        self.out += self.process.stdout.read()
        self.err += self.process.stderr.read()
        self.close()
        return code

    def close(self):
        if self.leader is not None:
            os.close(self.leader)
            self.leader = None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class ChatTest(ProgramTest):
    def model(self, template=TEMPLATE):
        """stories260K with a chat template of its own."""
        folder = os.path.join(self.folder, "model")
        shutil.copytree(STORIES, folder)
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "tokenizer_config.json")
        os.chmod(path, 0o644)
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["chat_template"] = template
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        return folder

    def terminal(self, *words):
        terminal = Terminal(*words)
        self.addCleanup(terminal.close)
        return terminal


class OneMessage(ChatTest):
    def test_message_and_system(self):
        model = self.model()
        words = ["--max_new_tokens", "12", "--json"]
        dressed = "<|user|>\nHi there</s>\n<|assistant|>\n"
        wanted = json.loads(run("generate", model, "--prompt", dressed, *words)[1])
        got = json.loads(run("generate", model, "--chat", "--prompt", "Hi there", *words)[1])
        for key in ("text", "prompt_tokens", "new_tokens", "finish"):
            self.assertEqual(got[key], wanted[key])
        wanted = json.loads(run("generate", model, "--prompt", "<|system|>\nBe kind</s>\n" + dressed, *words)[1])
        got = json.loads(run("generate", model, "--chat", "--system", "Be kind", "--prompt", "Hi there", *words)[1])
        self.assertEqual((got["text"], got["prompt_tokens"]), (wanted["text"], wanted["prompt_tokens"]))

    def test_template_in_a_file_of_its_own(self):
        model = self.model(template=None)
        self.refuses(1, ["generate", model, "--chat", "--prompt", "x"], "no chat template", "--chat")
        with open(os.path.join(model, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write(TEMPLATE)
        self.assertEqual(run("generate", model, "--chat", "--prompt", "x", "--max_new_tokens", "2")[0], 0)

    def test_unknown_template(self):
        model = self.model("{% for m in messages %}{{ m['content'] }}{% endfor %}")
        self.refuses(1, ["generate", model, "--chat", "--prompt", "x"], "chatml, llama2, mistral, llama3, zephyr",
                     "without --chat")

    def test_misuse(self):
        self.refuses(2, ["generate", STORIES, "--system", "x", "--prompt", "y"], "--system", "--chat")

    def test_seed_and_threads(self):
        texts = [run("generate", STORIES, "--prompt", "Once", "--temperature", "0.9", "--top_k", "50", "--top_p", "0.9",
                     "--seed", seed, "--threads", threads, "--max_new_tokens", "60")[1]
                 for seed, threads in (("1", "1"), ("1", "2"), ("2", "1"))]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_ends_that_the_folder_names(self):
        """An id of generation_config.json ends a text, alone or in a list, whatever EOS is."""
        model = self.model()
        made = run("generate", model, "--prompt", "Once upon a time", "--max_new_tokens", "30")[1].decode()
        ids = run("tokenize", model, "--no_special", text_in=("Once upon a time" + made).encode())[1].split()
        prompt_ids = run("tokenize", model, "--no_special", text_in=b"Once upon a time")[1].split()
        new_ids = [int(i) for i in ids[len(prompt_ids):]]
        end = next(i for i in new_ids[5:] if i not in new_ids[:5])
        for value in (end, [2, end]):
            with open(os.path.join(model, "generation_config.json"), "w", encoding="utf-8") as file:
                json.dump({"eos_token_id": value}, file)
            words = ["--prompt", "Once upon a time", "--max_new_tokens", "30", "--json"]
            got = json.loads(run("generate", model, *words)[1])
            self.assertEqual(got["finish"], "end")
            self.assertEqual(got["new_tokens"], new_ids.index(end))


class Conversation(ChatTest):
    def test_conversation(self):
        model = self.model()
        terminal = self.terminal("generate", model, "--chat", "--max_new_tokens", "10")
        terminal.wait_for_prompt()
        terminal.type("Hi there\n")
        terminal.wait_for_prompt(2)
        first = terminal.out.decode().rstrip("\n")
        terminal.type("And then?\n")
        terminal.wait_for_prompt(3)
        second = terminal.out.decode()[len(first) + 1:].rstrip("\n")
        # the same words as one prompt give the same answers
        talk = "<|user|>\nHi there</s>\n<|assistant|>\n"
        self.assertEqual(run("generate", model, "--prompt", talk, "--max_new_tokens", "10")[1].decode(), first)
        talk += f"{first}</s>\n<|user|>\nAnd then?</s>\n<|assistant|>\n"
        self.assertEqual(run("generate", model, "--prompt", talk, "--max_new_tokens", "10")[1].decode(), second)
        # what was computed stays: only the new message's tokens are
        found = re.findall(r"(\d+) tokens, (\d+) of them new", terminal.err.decode())
        counts = [tuple(map(int, pair)) for pair in found]
        added = b"</s>\n<|user|>\nAnd then?</s>\n<|assistant|>\n"
        n_second = len(run("tokenize", model, "--no_special", text_in=added)[1].split())
        self.assertEqual(counts[0][0], counts[0][1])
        self.assertLessEqual(counts[1][1], n_second + 2)
        self.assertGreater(counts[1][0], counts[1][1] + counts[0][0])
        terminal.type(b"\x04")
        self.assertEqual(terminal.leave(), 0)

    def test_commands(self):
        model = self.model()
        terminal = self.terminal("generate", model, "--chat", "--max_new_tokens", "6")
        terminal.wait_for_prompt()
        terminal.type("/help\n")
        terminal.wait_for_prompt(2)
        for word in ("/system", "/clear", "/quit", "Ctrl-C", "Ctrl-D"):
            self.assertIn(word, terminal.err.decode())
        self.assertEqual(terminal.out, b"")
        terminal.type("/system Be kind\n")
        terminal.wait_for_prompt(3)
        terminal.type("One\\\ntwo\n")
        terminal.wait_for_prompt(4)
        first = terminal.out.decode()
        talk = "<|system|>\nBe kind</s>\n<|user|>\nOne\ntwo</s>\n<|assistant|>\n"
        self.assertEqual(run("generate", model, "--prompt", talk, "--max_new_tokens", "6")[1].decode() + "\n", first)
        terminal.type("/clear\n")
        terminal.wait_for_prompt(5)
        terminal.type("One\\\ntwo\n")
        terminal.wait_for_prompt(6)
        self.assertEqual(terminal.out.decode(), first * 2)
        terminal.type("/quit\n")
        self.assertEqual(terminal.leave(), 0)

    def test_full_context(self):
        """A message beyond the model's positions is refused, and the conversation goes on."""
        terminal = self.terminal("generate", self.model(), "--chat")
        terminal.wait_for_prompt()
        for _ in range(3):  # a terminal's line has at most 4095 bytes
            terminal.type("word " * 200 + "\\\n")
        terminal.type("end\n")
        terminal.wait_for_prompt(2)
        self.assertIn("512 positions", terminal.err.decode())
        self.assertIn("/clear", terminal.err.decode())
        self.assertEqual(terminal.out, b"")
        terminal.type("Hi\n")
        terminal.wait_for_prompt(3)
        self.assertGreater(len(terminal.out), 1)
        terminal.type(b"\x04")
        self.assertEqual(terminal.leave(), 0)

    def test_texts_without_chat(self):
        terminal = self.terminal("generate", STORIES, "--max_new_tokens", "8", "--quiet")
        terminal.type("Once\nOnce\n")
        wanted = run("generate", STORIES, "--prompt", "Once", "--max_new_tokens", "8")[1] + b"\n"
        terminal.wait_for(lambda: len(terminal.out) >= 2 * len(wanted))
        terminal.type(b"\x04")
        self.assertEqual(terminal.leave(), 0)
        self.assertEqual(terminal.out, 2 * wanted)

    def test_interrupt_at_the_prompt(self):
        terminal = self.terminal("generate", STORIES)
        terminal.wait_for_prompt()
        terminal.type(b"\x03")
        self.assertEqual(terminal.leave(), 128 + signal.SIGINT)
        terminal = self.terminal("generate", STORIES)
        terminal.wait_for_prompt()
        terminal.process.terminate()
        self.assertEqual(terminal.leave(), 128 + signal.SIGTERM)

    def test_json_needs_a_prompt(self):
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        self.refuses(2, ["generate", STORIES, "--json"], "--json", "standard input", stdin=follower)
        os.close(follower)

    @unittest.skipUnless(SMOLLM2, "VLORP_TEST_SMOLLM2 names no file")
    def test_interrupt_of_an_answer(self):
        terminal = self.terminal("generate", SMOLLM2, "--chat")
        terminal.wait_for_prompt()
        terminal.type("Write a very long story about a lighthouse.\n")
        terminal.wait_for(lambda: len(terminal.out) > 40)
        terminal.type(b"\x03")
        terminal.wait_for_prompt(2)
        n_stopped = len(terminal.out)
        self.assertIn("stopped", terminal.err.decode())
        terminal.type("Say only the word yes.\n")
        terminal.wait_for(lambda: len(terminal.out) > n_stopped)
        terminal.type(b"\x03")
        terminal.wait_for_prompt(3)
        terminal.type("Write a very long story about a mountain.\n")
        n_before = len(terminal.out)
        terminal.wait_for(lambda: len(terminal.out) > n_before)
        terminal.process.terminate()
        self.assertEqual(terminal.leave(), 128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
