"""Parameters on the CPU, updated in place by libvlorp.

Sums and moments live in the library's memory; torch sees them as tensors over it, so nothing is copied.  A handle
serves one parameter group, because a handle has one learning rate.
"""

from __future__ import annotations

import ctypes as ct
import functools
from typing import Any

import torch
from torch import Tensor, nn

from . import binding
from .slot import Slot

DTYPES = {torch.float32: binding.F32, torch.bfloat16: binding.BF16}
DISTRIBUTIONS = {"normal": binding.NORMAL, "rademacher": binding.RADEMACHER}
MOMENTUM = {"reset": binding.RESET, "transport": binding.TRANSPORT, "keep": binding.KEEP}
ROUNDING = {"stochastic": binding.STOCHASTIC, "nearest": binding.NEAREST}


@functools.cache
def library() -> binding.Library:
    return binding.Library()


def view(tensor: binding.Tensor, handle: binding.Handle) -> Tensor:
    """A float32 tensor over the handle's memory, which it keeps alive."""
    shape = list(tensor.shape[:tensor.n_dims])
    n = 1
    for extent in shape:
        n *= extent
    memory: Any = (ct.c_float * n).from_address(tensor.data)
    memory.owner = handle
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)


class Handles:
    """What both kinds of group share: a handle, its parameters in order, and the state as tensors by parameter."""

    def __init__(self, settings: dict[str, Any], pool: binding.Pool) -> None:
        self.handle = binding.Handle(library(), pool=pool, **settings)
        self.params: list[nn.Parameter] = []
        self.names: list[str] = []

    def commit(self) -> dict[str, dict[str, Tensor]]:
        """State tensors by the parameter's name and the field's."""
        self.handle.commit()
        states: dict[str, dict[str, Tensor]] = {name: {} for name in self.names}
        for tensor in self.handle.tensors():
            states[tensor.parameter.decode()][tensor.field.decode()] = view(tensor, self.handle)
        return states

    def point(self) -> None:
        """Hands over where the weights are now."""
        for number, param in enumerate(self.params):
            self.handle.set_weight(number, param.data_ptr())

    def step(self, lr: float, grad_scale: float, steps_taken: int) -> None:
        if self.handle.steps_taken != steps_taken:
            self.handle.steps_taken = steps_taken
        self.point()
        self.handle.step(lr, grad_scale)


class Projected(Handles):
    """Slots of one group."""

    def __init__(self, slots: list[Slot], settings: dict[str, Any], pool: binding.Pool, distribution: str,
                 decay: float) -> None:
        super().__init__(settings, pool)
        for slot in slots:
            p, used = slot.projection, slot.used
            coarse = {"divisor": p.coarse} if p.coarse > 1 else {}
            asked = {"budget": used.M} if p.exact else {"factor": 1 if coarse else p.c, "rank": p.r, **coarse}
            self.handle.add_matrix(slot.name, p.n, p.m, dtype=DTYPES[slot.param.dtype], weight=slot.param.data_ptr(),
                                   transposed=slot.transposed, decay=decay, side=used.side,
                                   distribution=DISTRIBUTIONS[distribution], **asked)
            self.params.append(slot.param)
            self.names.append(slot.name)
        states = self.commit()
        for number, slot in enumerate(slots):
            slot.S = view(self.handle.gradient(number), self.handle).view(slot.projection.s_shape)
            slot.state = states[slot.name]


class Plain(Handles):
    """Parameters under AdamW, whose gradients are lent: those of one group."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], settings: dict[str, Any], pool: binding.Pool,
                 decay: float) -> None:
        super().__init__(settings, pool)
        for name, param in named:
            kind = DTYPES[param.dtype]
            if param.dim() < 2:
                self.handle.add_vector(name, param.numel(), dtype=kind, weight=param.data_ptr(), lent_gradient=True)
            else:
                columns = param.shape[-1]
                self.handle.add_matrix(name, param.numel() // columns, columns, dtype=kind, weight=param.data_ptr(),
                                       rule=binding.ADAMW, decay=decay, lent_gradient=True)
            self.params.append(param)
            self.names.append(name)
        self.states = self.commit()

    def step(self, lr: float, grad_scale: float, steps_taken: int) -> None:
        kept = []  # gradients that had to be copied live until the step has read them
        for number, param in enumerate(self.params):
            if param.grad is None:
                continue
            grad = param.grad.to_dense() if param.grad.is_sparse else param.grad
            grad = grad.contiguous() if grad.dtype in DTYPES else grad.float().contiguous()
            kept.append(grad)
            self.handle.lend_gradient(number, grad.data_ptr(), DTYPES[grad.dtype])
        super().step(lr, grad_scale, steps_taken)
