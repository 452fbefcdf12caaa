#!/usr/bin/env python3
"""The manual page says what --help says, and groff reads it without a warning.  Run by CTest: test_man.py VLORP."""
import os
import re
import shutil
import subprocess
import sys
import unittest

from program import VLORP, ProgramTest, main, run

sys.path.insert(0, "tools")
import make_man


class ManTest(ProgramTest):
    def page(self):
        with open("man/vlorp.1", encoding="utf-8") as file:
            return file.read()

    def test_it_is_what_the_program_says(self):
        self.assertEqual(self.page(), make_man.make(os.path.abspath(VLORP)),
                         "tools/make_man.py VLORP writes the page anew")

    def test_every_option_of_every_command_is_there(self):
        page = self.page().replace("\\-", "-")
        for command in re.findall(r"^  (\w+) +\S", run("--help")[1].decode(), re.MULTILINE):
            options = re.findall(r"^  (?:-\w,|   ) --(\S+)", run(command, "--help")[1].decode(), re.MULTILINE)
            self.assertGreater(len(options), 5, command)
            for option in options:
                self.assertIn(f"\\fB--{option}\\fR", page, command)

    @unittest.skipIf(shutil.which("groff") is None, "no groff")
    def test_groff_reads_it(self):
        got = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-ww", "man/vlorp.1"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, check=True)
        self.assertEqual(got.stderr, b"")
        for title in (b"SYNOPSIS", b"COMMANDS", b"OPTIONS", b"FILES", b"EXIT STATUS", b"ENVIRONMENT", b"EXAMPLES"):
            self.assertIn(title, got.stdout)


if __name__ == "__main__":
    main()
