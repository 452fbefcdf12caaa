#!/usr/bin/env python3
"""Writes man/vlorp.1 from man/vlorp.1.in and what the program's --help says.

    tools/make_man.py build/release/vlorp            writes it
    tools/make_man.py build/release/vlorp --stdout   prints it

Needed after a change of options; the test test_man compares.
"""
import collections
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEXT_COLUMN = 32
LAST_SECTION = "Everywhere"

Option = collections.namedtuple("Option", "form text")


def output_of(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def read_help(text):
    """(summary, usage, {section: [Option]}) of one command's --help."""
    lines = text.splitlines()
    summary = lines[0].split(" - ", 1)[1]
    usage = next(line for line in lines if line.startswith("usage: ")).removeprefix("usage: ")
    sections, section = collections.OrderedDict(), None
    for i, line in enumerate(lines[3:], 3):
        if line.startswith("  ") and section is not None:
            form = line[:TEXT_COLUMN] if line[TEXT_COLUMN - 1:TEXT_COLUMN] in ("", " ") else line
            if form.strip():
                sections[section].append(Option(form.strip(), line[len(form):].strip()))
            else:
                last = sections[section][-1]
                sections[section][-1] = Option(last.form, f"{last.text} {line.strip()}".strip())
        elif line and not line.startswith("--") and lines[i - 1] == "":
            section = line
            sections[section] = []
    return summary, usage, sections


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def form_to_roff(form):
    def part(word):
        return f"\\fB{roff(word)}\\fR" if word.startswith("-") else f"\\fI{roff(word)}\\fR"
    return re.sub(r"[^\s,]+", lambda match: part(match[0]), form)


def options_to_roff(by_command):
    """Each option once, with the commands that have it."""
    order, owners = [], collections.defaultdict(list)
    for command, (_, _, sections) in by_command.items():
        for section, options in sections.items():
            if section not in order:
                order.insert(len(order) - (LAST_SECTION in order), section)
            for option in options:
                owners[section, option].append(command)
    lines = []
    for section in order:
        rows = [(option, names) for (where, option), names in owners.items() if where == section]
        usual = collections.Counter(tuple(names) for _, names in rows).most_common(1)[0][0]
        title = section if section == LAST_SECTION else f"{section} ({', '.join(usual)})"
        lines.append(f".SS {roff(title)}")
        for option, names in rows:
            lines += [".TP", form_to_roff(option.form), roff(option.text)]
            if tuple(names) != usual:
                lines[-1] += f" ({', '.join(names)})"
    return "\n".join(lines)


def make(vlorp):
    names = re.findall(r"^  (\w+) +\S", output_of(vlorp, "--help"), re.MULTILINE)
    by_command = {name: read_help(output_of(vlorp, name, "--help")) for name in names}
    parts = {
        "VERSION": output_of(vlorp, "--version").split()[1],
        "SYNOPSIS": "\n.br\n".join(
            "\\fBvlorp " + name + "\\fR" + roff(usage.removeprefix(f"vlorp {name}"))
            for name, (_, usage, _) in by_command.items()),
        "COMMANDS": "\n".join(f".TP\n.B {name}\n{roff(summary)}" for name, (summary, _, _) in by_command.items()),
        "OPTIONS": options_to_roff(by_command),
    }
    with open(os.path.join(ROOT, "man", "vlorp.1.in"), encoding="utf-8") as file:
        return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], file.read())


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--stdout"]):
        sys.exit(__doc__)
    page = make(sys.argv[1])
    if len(sys.argv) == 3:
        sys.stdout.write(page)
    else:
        with open(os.path.join(ROOT, "man", "vlorp.1"), "w", encoding="utf-8") as file:
            file.write(page)


if __name__ == "__main__":
    main()
