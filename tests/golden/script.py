"""What the checks of this folder share: skipping, and running a program that must succeed."""
import subprocess
import sys


def skip(reason):
    print("SKIP:", reason)
    sys.exit(77)


def run(*command, text_in=None):
    """Standard output as text."""
    done = subprocess.run(command, input=text_in, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout
