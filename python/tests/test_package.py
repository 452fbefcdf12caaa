"""What `pip install ./python` gives: a wheel with its libraries, no second OpenMP runtime, and types."""
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]

USE = """
import re, sys, torch
from vlorp import binding
from vlorp.optim import ProjFactor
import vlorp
assert vlorp.__file__.startswith(sys.prefix), vlorp.__file__
assert binding.Library().so.vlorp_version().decode() == vlorp.__version__
layer = torch.nn.Linear(256, 512)
optimizer = ProjFactor(layer, factor=8, rank=1, n_threads=2)
layer(torch.randn(64, 256)).square().mean().backward()
before = layer.weight.detach().clone()
optimizer.step()
assert not torch.equal(before, layer.weight)
with open("/proc/self/maps") as file:
    runtimes = {line.split()[-1] for line in file if re.search(r"lib(gomp|iomp5|omp)[-.]", line)}
assert len(runtimes) <= 1 and not any("vlorp" in path for path in runtimes), runtimes
print("used")
"""


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    environment = os.environ | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-build-isolation",
        "--no-deps", "--no-index", "-w", out, PACKAGE, env=environment)
    (found,) = out.glob("vlorp-*.whl")
    return found


def test_the_wheel_holds_libraries_that_need_libc_and_libm_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    assert {"vlorp/py.typed", "vlorp/optim.py", "vlorp/lib/libvlorp.so", "vlorp/lib/libvlorp_pool.so"} <= names
    assert "-py3-none-linux_" in wheel.name and not any("test" in name or "program" in name for name in names)
    for name in ("libvlorp.so", "libvlorp_pool.so"):
        dynamic = run("readelf", "--dynamic", tmp_path / "vlorp" / "lib" / name)
        needed = [line.split("[")[1].rstrip("]\n") for line in dynamic.splitlines() if "(NEEDED)" in line]
        assert needed and all(n.split(".so")[0] in ("libc", "libm", "libpthread") for n in needed), needed
        assert "RUNPATH" not in dynamic and "RPATH" not in dynamic


def test_an_installed_wheel_works(wheel, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", wheel)
    # torch is the one that runs this test: a copy would take minutes
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "torch.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    environment = {k: v for k, v in os.environ.items() if k not in ("VLORP_LIBRARY_DIR", "PYTHONPATH")}
    assert "used" in run(python, "-c", USE, env=environment, cwd=tmp_path)


def test_without_the_library_the_message_says_what_to_do(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(PACKAGE / 'src')!r})\nfrom vlorp import binding\nbinding.Library()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"VLORP_LIBRARY_DIR": str(tmp_path)})
    assert done.returncode == 1 and "pip install ./python" in done.stderr
