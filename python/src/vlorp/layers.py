"""Layers whose backward pass adds to S and never forms a weight gradient.

``factor_module`` changes the class of a linear layer, Conv1D or embedding to one whose forward is an autograd
function: it keeps the projected inputs (T x M numbers) instead of the inputs (T x m) on the right side, and its
backward pass adds dY^T X, projected, to the slot's sums.  Without gradients, or for a weight without a slot (a copy of
the model), the layer is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .slot import Slot
from .targets import is_conv1d

SLOT = "_vlorp_slot"  # the attribute of a Parameter that names its slot


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, slot: Slot) -> Tensor:
        y = F.linear(x, weight.t() if slot.transposed else weight, bias)
        with torch.autocast(x.device.type, enabled=False):
            saved = slot.input_to_save(x.reshape(-1, x.shape[-1]), y.dtype)
        ctx.save_for_backward(weight, saved)
        ctx.slot, ctx.x_shape, ctx.x_dtype = slot, x.shape, x.dtype
        ctx.bias_dtype = None if bias is None else bias.dtype
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        weight, saved = ctx.saved_tensors
        dx = dbias = None
        with torch.autocast(grad.device.type, enabled=False):
            dy = grad.reshape(-1, grad.shape[-1])
            if ctx.needs_input_grad[0]:
                w = weight.to(dy.dtype)
                dx = (dy @ (w.t() if ctx.slot.transposed else w)).view(ctx.x_shape).to(ctx.x_dtype)
            if ctx.needs_input_grad[1]:
                ctx.slot.accumulate_factors(dy, saved)
            if ctx.needs_input_grad[2]:
                dbias = dy.sum(0).to(ctx.bias_dtype)
        return dx, None, dbias, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding_idx: int | None, slot: Slot) -> Tensor:
        ctx.save_for_backward(ids, weight)  # the weight, so that a step between forward and backward is noticed
        ctx.slot, ctx.padding_idx = slot, padding_idx
        return F.embedding(ids, weight, padding_idx)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, None]:
        ids, _ = ctx.saved_tensors
        rows, dy = ids.reshape(-1), grad.reshape(-1, grad.shape[-1])
        if ctx.padding_idx is not None:
            dy = dy.masked_fill((rows == ctx.padding_idx).unsqueeze(-1), 0)
        with torch.autocast(grad.device.type, enabled=False):
            ctx.slot.accumulate_rows(rows, dy)
        return None, None, None, None


def _slot(weight: Tensor) -> Slot | None:
    if not torch.is_grad_enabled() or not weight.requires_grad:
        return None
    slot: Slot | None = getattr(weight, SLOT, None)
    return slot if slot is not None and slot.alive else None


# Sums are a side effect of the backward pass, which a compiled graph would not keep in its place.
_uncompiled: Any = torch.compiler.disable
_linear: Callable[[Tensor, Tensor, Tensor | None, Slot], Tensor] = _uncompiled(_Linear.apply)
_embedding: Callable[[Tensor, Tensor, int | None, Slot], Tensor] = _uncompiled(_Embedding.apply)


class FactoredLinear(nn.Linear):
    """nn.Linear whose weight gradient is never formed."""

    def forward(self, input: Tensor) -> Tensor:
        slot = _slot(self.weight)
        return super().forward(input) if slot is None else _linear(input, self.weight, self.bias, slot)


class FactoredEmbedding(nn.Embedding):
    """nn.Embedding whose dense gradient is never formed."""

    def forward(self, input: Tensor) -> Tensor:
        slot = _slot(self.weight)
        if slot is None:
            return F.embedding(input, self.weight, self.padding_idx)
        return _embedding(input, self.weight, self.padding_idx, slot)


_conv1d_classes: dict[type[nn.Module], type[nn.Module]] = {}


def _factored_conv1d(base: type[nn.Module]) -> type[nn.Module]:
    """The same for transformers' Conv1D, which this module does not import."""
    if base not in _conv1d_classes:
        def forward(self: Any, x: Tensor) -> Tensor:
            slot = _slot(self.weight)
            if slot is None:
                y: Tensor = base.forward(self, x)
                return y
            return _linear(x, self.weight, self.bias, slot)

        _conv1d_classes[base] = type("FactoredConv1D", (base,), {"forward": forward, "__module__": __name__})
        globals()["FactoredConv1D"] = _conv1d_classes[base]  # where pickle looks for it
    return _conv1d_classes[base]


def factor_module(module: nn.Module) -> bool:
    """Makes a layer factored; False leaves it as it is: one whose forward is not the plain one goes through the
    hook."""
    if type(module) is nn.Linear:
        module.__class__ = FactoredLinear
    elif type(module) is nn.Embedding and module.max_norm is None and not (module.scale_grad_by_freq or module.sparse):
        module.__class__ = FactoredEmbedding
    elif is_conv1d(module):
        module.__class__ = _factored_conv1d(type(module))
    else:
        return isinstance(module, (FactoredLinear, FactoredEmbedding, *_conv1d_classes.values()))
    return True


def restore_module(module: nn.Module) -> None:
    """The layer's own class again."""
    if isinstance(module, (FactoredLinear, FactoredEmbedding, *_conv1d_classes.values())):
        module.__class__ = type(module).__mro__[1]
