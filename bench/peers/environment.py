"""Where the peers come from: a virtual environment of their own, and what Debian installs.

The newest wheels go into build/peers-venv (a few hundred MB from PyPI, once).  Debian's PyTorch is used where it is
installed: scripts/setup python3-torch libopenblas0-openmp libtcmalloc-minimal4
"""
import ctypes.util
import glob
import os
import pathlib
import subprocess
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"
PACKAGES = ["transformers==5.23.0", "accelerate==1.15.0", "peft==0.21.2"]
ALONE = ["galore-torch==1.0", "apollo-torch==1.0.3"]  # without their GPU dependencies
DEBIAN_PYTHON = "/usr/bin/python3"


def wheel_python():
    """The interpreter of build/peers-venv, which is made where it is not there; vlorp's package is in it."""
    venv = ROOT / "build" / "peers-venv"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        print(f"making {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, *PACKAGES, ROOT / "python"], check=True)
        subprocess.run([*pip, "--no-deps", *ALONE], check=True)
        (venv / "complete").touch()
    return os.fspath(python)


def debian_python():
    """Debian's interpreter where it has torch, else None."""
    try:
        subprocess.run([DEBIAN_PYTHON, "-c", "import torch"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return DEBIAN_PYTHON


def tcmalloc():
    """The path of a tcmalloc library, or None."""
    found = glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4")
    return found[0] if found else ctypes.util.find_library("tcmalloc_minimal")


def without_bitsandbytes():
    """galore-torch and apollo-torch import it for their 8-bit variants, which are not used here."""
    import torch
    for name in ("bitsandbytes", "bitsandbytes.optim", "bitsandbytes.optim.optimizer", "bitsandbytes.functional"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["bitsandbytes.optim.optimizer"].Optimizer2State = torch.optim.Optimizer
    sys.modules["bitsandbytes"].functional = sys.modules["bitsandbytes.functional"]


def low_rank_groups(model, **settings):
    """Linear layers of attention and MLP in one group, as both packages' documentation has it; the rest apart."""
    import torch
    chosen = [m.weight for name, m in model.named_modules()
              if isinstance(m, torch.nn.Linear) and ("attn" in name or "mlp" in name)]
    ids = {id(p) for p in chosen}
    return [{"params": [p for p in model.parameters() if id(p) not in ids]}, {"params": chosen, **settings}]


def galore(model):
    without_bitsandbytes()
    from galore_torch import GaLoreAdamW
    groups = low_rank_groups(model, rank=64, update_proj_gap=200, scale=0.25, proj_type="std")
    return GaLoreAdamW(groups, lr=2e-5)


def apollo(model):
    without_bitsandbytes()
    from apollo_torch import APOLLOAdamW
    groups = low_rank_groups(model, rank=64, proj="random", scale_type="channel", scale=1,
                             update_proj_gap=200, proj_type="std")
    return APOLLOAdamW(groups, lr=2e-5)
