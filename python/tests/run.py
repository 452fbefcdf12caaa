"""Runs test files with pytest where what they need is installed: run.py LIBRARY_DIR MODULE,... FILE...

Exit status: pytest's, or 77 when a module is missing (1 with VLORP_REQUIRE_ALL=1).
"""
import importlib.util
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    os.environ["VLORP_LIBRARY_DIR"] = sys.argv[1]
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    missing = [name for name in ["pytest", *sys.argv[2].split(",")] if importlib.util.find_spec(name) is None]
    if missing:
        print(f"SKIP: this Python has no {', '.join(missing)}; set VLORP_TEST_PYTHON to one with "
              "tests/requirements.txt")
        return 1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77
    sys.path.insert(0, str(HERE.parent / "src"))
    import pytest
    return pytest.main(["-c", str(HERE.parent / "pyproject.toml"), "--rootdir", str(HERE),
                        *(str(HERE / name) for name in sys.argv[3:])])


if __name__ == "__main__":
    sys.exit(main())
