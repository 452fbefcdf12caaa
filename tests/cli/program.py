"""What tests of the program share: running it, and what an error must look like."""
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

VLORP = sys.argv[1] if len(sys.argv) > 1 else ""
DATA = os.environ.get("VLORP_TEST_DATA", "../shared/data")
STORIES = f"{DATA}/models/stories260K-hf"
TIMEOUT_SECONDS = 600


def run(*words, stdin=subprocess.DEVNULL, text_in=None, env=None, stdout=subprocess.PIPE):
    """Runs the program; returns (exit code, standard output, standard error), both as bytes."""
    given = {"input": text_in} if text_in is not None else {"stdin": stdin}
    result = subprocess.run([VLORP, *words], stdout=stdout, stderr=subprocess.PIPE, timeout=TIMEOUT_SECONDS,
                            check=False, env={**os.environ, **(env or {})}, **given)
    return result.returncode, result.stdout, result.stderr


def on_terminal(stream, *words, env=None):
    """Runs the program with stdout or stderr, as stream says, on a terminal; returns (exit code, what it showed)."""
    leader, follower = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: follower}
    child = subprocess.Popen([VLORP, *words], stdin=subprocess.DEVNULL, **streams,
                             env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(follower)
    text = b""
    try:
        while chunk := os.read(leader, 65536):
            text += chunk
    except OSError:
        pass  # the other end closed
    os.close(leader)
    return child.wait(TIMEOUT_SECONDS), text.decode()


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def refuses(self, code, words, *texts, **how):
        """Exit status `code`, nothing on standard output, one error line and at most a hint, which together
        hold every text."""
        got, out, err = run(*words, **how)
        lines = err.decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("vlorp: error: ")]
        self.assertEqual(got, code, f"{words}: {err}")
        self.assertEqual(out, b"", words)
        self.assertEqual(len(errors), 1, f"{words}: {lines}")
        after = lines[lines.index(errors[0]) + 1:]
        self.assertTrue(after == [] or (len(after) == 1 and after[0].startswith("hint: ")), f"{words}: {lines}")
        for text in texts:
            self.assertIn(text, "\n".join([errors[0], *after]), words)


def has_sanitizer():
    """A sanitizer's own memory is not the program's, and it needs address space of its own."""
    with open(VLORP, "rb") as file:
        return b"__asan_init" in file.read()


def main():
    if not VLORP:
        sys.exit(f"usage: {sys.argv[0]} VLORP")
    if not os.path.isdir(STORIES):
        print(f"SKIP: no {STORIES}; set VLORP_TEST_DATA to the shared data folder", file=sys.stderr)
        sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
