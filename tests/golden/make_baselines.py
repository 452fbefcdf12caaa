"""Writes baselines.npz: twenty steps of two matrices by the published packages of GaLore, Fira, APOLLO and FLORA.

Needs: pip install torch transformers numpy, and, without their dependencies, galore-torch==1.0, fira==1.0.2,
apollo-torch==1.0.3 and flora-opt==0.0.3 (numpy 2.4.6 and torch 2.13 made the file that is here).  The packages run
unmodified; what they draw is replaced by the projections of docs/method.md section 2, made by tests/oracle/formulas.py,
and singular vectors get its sign.

Usage: make_baselines.py tests/golden/data/baselines.npz
"""
import math
import pathlib
import sys
import types

import numpy as np
import torch
import transformers.utils.versions  # noqa: F401  before accelerate is stubbed

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
import formulas  # noqa: E402

SEED, GAP, STEPS, RANK, LR, DECAY = 42, 7, 20, 3, 0.01, 0.1
SHAPES = {"left.weight": (12, 20), "right.weight": (24, 16)}
KEPT = (1, 8, 20)  # steps after which weights are stored


def stub_what_is_not_used():
    """8-bit variants and launchers, imported at the top of modules whose fp32 optimizers do without them."""
    for name in ("bitsandbytes", "bitsandbytes.optim", "bitsandbytes.optim.optimizer", "bitsandbytes.functional",
                 "accelerate"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["bitsandbytes.optim.optimizer"].Optimizer2State = torch.optim.Optimizer
    functional = sys.modules["bitsandbytes"].functional = sys.modules["bitsandbytes.functional"]
    functional.quantize_blockwise = functional.dequantize_blockwise = None
    sys.modules["accelerate"].Accelerator = object


def projection(name, number, rank, stream=0):
    return torch.from_numpy(formulas.make_projection(SEED, name, number, min(SHAPES[name]), rank, "normal", stream))


def signed_svd(svd):
    """The largest entry of each singular vector positive, of left and right ones apart: only one side is used."""
    def call(matrix, full_matrices=True):
        u, s, vh = svd(matrix, full_matrices=full_matrices)
        u = u * torch.sign(u.gather(0, u.abs().argmax(0, keepdim=True)))
        vh = vh * torch.sign(vh.gather(1, vh.abs().argmax(1, keepdim=True)))
        return u, s, vh
    return call


class Draws:
    """Stands for a random generator: every draw of a new seed is the next of our projections."""

    def __init__(self, name, rank, stream=0):
        self.name, self.rank, self.stream, self.seeds = name, rank, stream, []

    def __call__(self, shape, seed=None, **rest):
        if seed is None or seed not in self.seeds:
            self.seeds.append(seed)
        number = len(self.seeds) - 1 if seed is None else self.seeds.index(seed)
        p = projection(self.name, number, self.rank, self.stream)
        return (p.T if tuple(shape) == tuple(p.T.shape) else p).clone()


def run(make, name, start, gradients, see=lambda g, step: g):
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = make(weight)
    kept = []
    for step, g in enumerate(gradients):
        weight.grad = see(torch.from_numpy(g.copy()), step)
        optimizer.step()
        if step + 1 in KEPT:
            kept.append(weight.detach().numpy().copy())
    return np.stack(kept)


def galore(name, start, gradients):
    from galore_torch import GaLoreAdamW
    return run(lambda w: GaLoreAdamW([{"params": [w], "rank": RANK, "update_proj_gap": GAP, "scale": 0.25,
                                       "proj_type": "std"}], lr=LR, weight_decay=DECAY), name, start, gradients)


def fira(name, start, gradients):
    from fira import FiraAdamW
    return run(lambda w: FiraAdamW([{"params": [w], "rank": RANK, "update_proj_gap": GAP, "alpha": 0.25,
                                     "proj_type": "std"}], lr=LR, weight_decay=DECAY), name, start, gradients)


def apollo_like(rank, scale_type, scale):
    def make(name, start, gradients):
        from apollo_torch import APOLLOAdamW
        randn, torch.randn = torch.randn, Draws(name, rank)
        try:
            return run(lambda w: APOLLOAdamW([{"params": [w], "rank": rank, "proj": "random", "scale_type": scale_type,
                                               "scale": scale, "update_proj_gap": GAP, "proj_type": "std"}],
                                             lr=LR, weight_decay=DECAY), name, start, gradients)
        finally:
            torch.randn = randn
    return make


def flora(name, start, gradients):
    """Its accumulator belongs to a launcher: the gradient is compressed and read back here, by its own formula."""
    from flora_opt.optimizers.torch import flora as module
    module.stable_randn = Draws(name, RANK, stream=9)

    def compressed(g, step):
        p = projection(name, step, RANK) / math.sqrt(RANK)
        return p @ (p.T @ g) if g.shape[0] < g.shape[1] else (g @ p) @ p.T
    return run(lambda w: module.Flora([w], lr=LR, rank=RANK, kappa=GAP, beta1=0.9, weight_decay=DECAY), name, start,
               gradients, compressed)


def main():
    stub_what_is_not_used()
    torch.linalg.svd = signed_svd(torch.linalg.svd)
    rules = {"galore": galore, "fira": fira, "apollo": apollo_like(RANK, "channel", 4),
             "apollo_mini": apollo_like(1, "tensor", 128), "flora": flora}
    rng = np.random.default_rng(11)
    out = {"kept": np.array(KEPT)}
    for name, (n, m) in SHAPES.items():
        start = (rng.standard_normal((n, m)) * 0.05).astype(np.float32)
        # some directions stay, so that bases and limiters have something to hold on to
        common = rng.standard_normal((n, 4)) * [4, 3, 2, 1] @ rng.standard_normal((4, m))
        noise = rng.standard_normal((STEPS, n, m)) * np.exp(0.3 * rng.standard_normal((STEPS, 1, 1)))
        gradients = (1e-3 * (common + noise)).astype(np.float32)
        out[f"{name}.start"], out[f"{name}.gradients"] = start, gradients
        for rule, make in rules.items():
            out[f"{name}.{rule}"] = make(name, start, gradients)
    np.savez_compressed(sys.argv[1], **out)


main()
