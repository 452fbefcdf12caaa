"""Mistakes of use, each with one exception that says what to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from .slot import Slot

HANDLE_SETTINGS = ("betas", "eps", "weight_decay", "correct_bias")  # that libvlorp's handles hold

_REPLACED = "FSDP, DeepSpeed or a conversion replaced it"
_SHARDED = ("ProjFactor updates whole weights where they are, and {what} splits or replaces them. Use "
            "DistributedDataParallel, which moves only the small projected gradients, or one device")


def plain_model(model: nn.Module) -> nn.Module:
    """The module whose parameter names are the checkpoint's; ValueError for wrappers that would hide the parameters."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"ProjFactor takes the model itself (an nn.Module), not {type(model).__name__}: "
                        "ProjFactor(model, lr=...)")
    original = getattr(model, "_orig_mod", None)  # torch.compile's wrapper
    if isinstance(original, nn.Module):
        model = original
    for module in model.modules():
        kind = type(module).__name__
        if isinstance(module, nn.parallel.DistributedDataParallel):
            raise ValueError("build ProjFactor from the model before DistributedDataParallel wraps it: the wrapper "
                             "would reduce gradients that are never formed")
        if kind in ("FullyShardedDataParallel", "DeepSpeedEngine") or kind.startswith("FSDP"):
            raise ValueError(_SHARDED.format(what=kind))
    for name, p in model.named_parameters():
        sharded(name, p)
    return model


def sharded(name: str, p: torch.Tensor) -> None:
    kind = type(p).__name__
    if kind in ("DTensor", "FlatParameter"):
        raise ValueError(f"{name} is a {kind}. " + _SHARDED.format(what="FSDP"))
    if hasattr(p, "ds_id"):
        raise ValueError(f"{name} is partitioned. " + _SHARDED.format(what="DeepSpeed ZeRO"))


def values(*, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, update_proj_gap: int,
           scale: float, gradient_accumulation: int, max_grad_norm: float | None, seed: int) -> None:
    """Comparisons are written so that NaN fails them."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas {betas}: two numbers in [0, 1)")
    for name, value, valid, what in [
            ("lr", lr, 0 <= lr < math.inf, "0 or more"), ("eps", eps, 0 < eps < 1, "in (0, 1)"),
            ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or more"),
            ("scale", scale, 0 < scale < math.inf, "above 0"),
            ("update_proj_gap", update_proj_gap, update_proj_gap >= 1 and update_proj_gap == int(update_proj_gap),
             "a whole number from 1 on"),
            ("gradient_accumulation", gradient_accumulation, gradient_accumulation >= 1, "1 or more"),
            ("max_grad_norm", max_grad_norm, max_grad_norm is None or max_grad_norm > 0, "above 0, or None"),
            ("seed", seed, 0 <= seed < 1 << 64, "from 0 to 2^64 - 1")]:
        if not valid:
            raise ValueError(f"{name} {value}: it must be {what}")


def choices(**given: tuple[str, Collection[str]]) -> None:
    for name, (value, valid) in given.items():
        if value not in valid:
            svd = " (svd needs a probe of the gradient and is in libvlorp alone)" if value == "svd" else ""
            raise ValueError(f"{name} {value!r}: one of {', '.join(valid)}{svd}")


def schedule(num_training_steps: int | None, warmup_steps: float, min_lr_ratio: float) -> None:
    if num_training_steps is not None and num_training_steps < 1:
        raise ValueError(f"num_training_steps {num_training_steps}: it must be 1 or more")
    if not 0 <= warmup_steps < math.inf:
        raise ValueError(f"warmup_steps {warmup_steps}: a count, or a fraction of the run below 1")
    if num_training_steps is not None and warmup_steps >= 1 and warmup_steps > num_training_steps:
        raise ValueError(f"warmup_steps {warmup_steps} exceed num_training_steps {num_training_steps}: the learning "
                         "rate would never be reached")
    if not 0 <= min_lr_ratio <= 1:
        raise ValueError(f"min_lr_ratio {min_lr_ratio}: in [0, 1]")


def dtypes(names: dict[int, str], params: Iterable[torch.Tensor]) -> None:
    for p in params:
        if p.dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"{names[id(p)]} is {str(p.dtype).removeprefix('torch.')}: weights are trained in float32 "
                             "or bfloat16 (each may be either); convert it with .to(torch.bfloat16)")


def still_in_model(model: nn.Module, slots: list[Slot]) -> None:
    """The model's parameters must be those that the optimizer was built with."""
    present = {id(p) for p in model.parameters()}
    for name, p in model.named_parameters():
        sharded(name, p)
    for slot in slots:
        if id(slot.param) not in present:
            raise RuntimeError(f"the model no longer holds the {slot.name} that this optimizer was built with "
                               f"({_REPLACED}): build "
                               "ProjFactor after whatever replaces parameters")


def same_parameters(groups: list[dict[str, Any]], own: list[list[nn.Parameter]]) -> None:
    if [[id(p) for p in group["params"]] for group in groups] != [[id(p) for p in params] for params in own]:
        raise RuntimeError(f"the parameters of a group are not those that this optimizer was built with ({_REPLACED}). "
                           + _SHARDED.format(what="what replaced them"))


def unmoved(names: dict[int, str], seen: dict[int, tuple[torch.device, torch.dtype]],
            params: list[nn.Parameter]) -> None:
    for p in params:
        if seen[id(p)] != (p.device, p.dtype):
            device, dtype = seen[id(p)]
            raise RuntimeError(f"{names[id(p)]} was {dtype} on {device} when training began and is {p.dtype} on "
                               f"{p.device} now: move or convert the model before the first forward pass, or build a "
                               "new ProjFactor (its state_dict moves over)")


def fixed_settings(group: dict[str, Any], built: dict[str, Any]) -> None:
    """Only the learning rate may change from step to step."""
    for name in HANDLE_SETTINGS:
        if tuple_or(group[name]) != tuple_or(built[name]):
            raise RuntimeError(f"{name} of a parameter group changed from {built[name]} to {group[name]} after the "
                               "optimizer was built: only lr may change; build a new ProjFactor")


def tuple_or(value: Any) -> Any:
    """Lists and tuples compare alike: a saved state may hold either."""
    return tuple(tuple_or(v) for v in value) if isinstance(value, (list, tuple)) else value


def same_settings(groups: list[dict[str, Any]], saved: list[dict[str, Any]], fixed: Collection[str]) -> None:
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in saved]:
        raise ValueError("the saved state is of another model, or of other targets")
    for group, other in zip(groups, saved, strict=True):
        for name in fixed:
            if name in group and tuple_or(group[name]) != tuple_or(other.get(name)):
                raise ValueError(f"the saved state was made with {name} = {short(other.get(name))}, this optimizer "
                                 f"with {short(group[name])}: build it with the same settings")


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:76] + " ..."
