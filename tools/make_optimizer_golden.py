"""Makes tests/golden/data/exact_rules.npz: what others' optimizers do to a few matrices in 20 steps.

    adafactor   transformers.optimization.Adafactor, scale_parameter and relative_step off
    adamw8bit   bitsandbytes.optim.AdamW8bit; its CPU library rounds to codes by a coarse table in which 0 becomes 2e-5 of
                the block's largest number, so the rounding is the one it has for other types, to the nearest number, as on GPUs
    lomo        lomo_optim.Lomo on a loss whose gradients are the given ones

Inputs and settings are in tests/oracle/golden_steps.py; the versions of the packages are stored in the file.
Usage: python tools/make_optimizer_golden.py     (torch, transformers, bitsandbytes==0.50.2, lomo-optim==0.1.1)
"""
import importlib.metadata
import pathlib
import sys

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import golden_steps as steps  # noqa: E402

PACKAGES = ("torch", "transformers", "bitsandbytes", "lomo-optim", "numpy")


class Parameters(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, w in steps.weights().items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(w)))


def stepper(build):
    """optimizer.step() after gradients are set, with decay for matrices only."""
    def run(model):
        groups = [{"params": [p for p in model.parameters() if (p.ndim > 1) == matrices],
                   "weight_decay": steps.DECAY if matrices else 0.0} for matrices in (True, False)]
        optimizer = build(groups)

        def step(k, gradients):
            for group in optimizer.param_groups:
                group["lr"] = steps.lr(k)
            for name, p in model.named_parameters():
                p.grad = torch.from_numpy(gradients[name].copy())
            optimizer.step()
        return step
    return run


def adafactor(groups):
    from transformers.optimization import Adafactor
    return Adafactor(groups, lr=1e-3, scale_parameter=False, relative_step=False)


def quantize_to_nearest(x, code, absmax_out, codes_out, blocksize):
    """In place of bitsandbytes.backends.cpu.ops._quant_blockwise_fp32_direct."""
    codes, absmax = torch.ops.bitsandbytes.quantize_blockwise(x.double(), code, blocksize)
    codes_out.copy_(codes)
    absmax_out.copy_(absmax)


def adamw8bit(groups):
    import bitsandbytes.backends.cpu.ops
    from bitsandbytes.optim import AdamW8bit
    bitsandbytes.backends.cpu.ops._quant_blockwise_fp32_direct = quantize_to_nearest
    return AdamW8bit(groups, lr=1e-3)


def lomo(model):
    """One decay for all parameters; the sum of weights times gradients has these gradients."""
    from lomo_optim import Lomo
    optimizer = Lomo(model, lr=1e-3, weight_decay=steps.DECAY)

    def step(k, gradients):
        loss = sum((p * torch.from_numpy(gradients[name])).sum() for name, p in model.named_parameters())
        optimizer.fused_backward(loss, steps.lr(k))
    return step


def main():
    arrays = {"versions": np.array([f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES])}
    for rule, build in (("adafactor", stepper(adafactor)), ("adamw8bit", stepper(adamw8bit)), ("lomo", lomo)):
        model = Parameters()
        step = build(model)
        for k in range(steps.STEPS):
            step(k, steps.gradients(k))
            if k + 1 in steps.STORED:
                for name, p in model.named_parameters():
                    arrays[f"{rule}/{name}/{k + 1}"] = p.detach().numpy().copy()
    out = ROOT / "tests" / "golden" / "data" / "exact_rules.npz"
    np.savez_compressed(out, **arrays)
    print(out, out.stat().st_size)


main()
