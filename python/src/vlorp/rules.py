"""The update rules in torch, for weights that libvlorp does not reach (docs/method.md section 4).

Weights are updated in place in pieces, so that no temporary has a large matrix's size.  The order of operations is
that of the C library; bfloat16 weights are rounded stochastically with the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import philox
from .projection import Projection

PIECE = 1 << 22  # elements of a weight that are worked on at once


@dataclass(frozen=True)
class Scalars:
    """One step of one parameter: t counts from 1, t1 since the momentum was last zero."""

    lr: float
    decay: float
    beta1: float
    beta2: float
    eps: float
    t: int
    t1: int
    grad_scale: float
    correct_bias: bool

    @property
    def bias1(self) -> float:
        return 1 - self.beta1**self.t1 if self.correct_bias else 1.0

    @property
    def bias2(self) -> float:
        return 1 - self.beta2**self.t if self.correct_bias else 1.0


@dataclass(frozen=True)
class Rounding:
    """How a bfloat16 weight is stored; nearest draws nothing."""

    seed: int
    name: str
    step: int
    nearest: bool

    def draws(self, rows: range, columns: range, device: torch.device) -> Tensor:
        return philox.rounding_draws(self.seed, self.name, self.step, rows, columns, device)


def _store(weight: Tensor, value: Tensor, rounding: Rounding, first_row: int, first_column: int) -> None:
    """weight, a block of a matrix as it is stored that begins at (first_row, first_column), takes value's numbers."""
    if weight.dtype != torch.bfloat16 or rounding.nearest:
        weight.copy_(value)
        return
    rows = range(first_row, first_row + weight.shape[0])
    columns = range(first_column, first_column + weight.shape[1])
    weight.copy_(philox.round_to_bf16(value, rounding.draws(rows, columns, weight.device)))


def projfactor(weight: Tensor, transposed: bool, S: Tensor, state: dict[str, Tensor], projection: Projection,
               make_P: Callable[[int], Tensor], momentum: str, gap: int, scale: float, x: Scalars,
               rounding: Rounding) -> None:
    """One step of a matrix; S holds the sums of its gradients, state the tensors momentum, row_sums, column_sums."""
    P = make_P((x.t - 1) // gap)
    m, rows, columns = state["momentum"], state["row_sums"], state["column_sums"]
    M = m.view(S.shape)
    if (x.t - 1) % gap == 0 and x.t > 1 and not projection.exact:
        if momentum == "reset":
            M.zero_()
        elif momentum == "transport":
            projection.transport(M, make_P((x.t - 1) // gap - 1), P)
    M.mul_(x.beta1).add_(S, alpha=(1 - x.beta1) * x.grad_scale)
    s = scale / projection.r
    new_rows, new_columns = projection.sums(S, P)
    gain = (1 - x.beta2) * x.grad_scale**2 * s**2
    rows.mul_(x.beta2).add_(new_rows, alpha=gain)
    columns.mul_(x.beta2).add_(new_columns, alpha=gain)
    total = rows.sum(dtype=torch.float64).clamp_min(1e-30)
    row_root = (rows.double() / total).sqrt().to(torch.float32)
    column_root = columns.double().sqrt().to(torch.float32)
    eta = x.lr * math.sqrt(x.bias2) / x.bias1
    matrix = weight.t() if transposed else weight

    def update(first: int, last: int, up: Tensor) -> None:
        part = matrix[first:last]
        moved = part.float() - up * (eta * s) / (row_root[first:last, None] * column_root + x.eps)
        if x.decay:
            moved -= x.lr * x.decay * moved
        if transposed:
            _store(part.t(), moved.t(), rounding, 0, first)
        else:
            _store(part, moved, rounding, first, 0)

    if projection.coarse > 1:
        update(0, projection.n, projection.up(M, P))
        return
    # Pieces begin at whole groups of c rows (left) and of 128 draws (transposed).
    unit = math.lcm(1 if projection.right or projection.exact else projection.c, 128 if transposed else 1)
    step = max(1, PIECE // projection.m // unit) * unit
    for first in range(0, projection.n, step):
        last = min(projection.n, first + step)
        update(first, last, projection.up_rows(M, P, first, last))


def adamw(weight: Tensor, grad: Tensor, state: dict[str, Tensor], x: Scalars, rounding: Rounding) -> None:
    """One step in PyTorch's order of operations, on a matrix or on a vector as one row."""
    columns = weight.shape[-1] if weight.dim() > 1 else weight.numel()
    w, g = weight.view(-1, columns), grad.reshape(-1, columns)
    m_all, v_all = state["exp_avg"].view(-1, columns), state["exp_avg_sq"].view(-1, columns)
    step = max(1, PIECE // max(1, columns))
    for first in range(0, w.shape[0], step):
        piece = slice(first, first + step)
        part, m, v = g[piece].float() * x.grad_scale, m_all[piece], v_all[piece]
        m.mul_(x.beta1).add_(part, alpha=1 - x.beta1)
        v.mul_(x.beta2).addcmul_(part, part, value=1 - x.beta2)
        moved = w[piece].float()
        moved = moved - x.lr * x.decay * moved
        moved -= (x.lr / x.bias1) * m / (v.sqrt() / math.sqrt(x.bias2) + x.eps)
        _store(w[piece], moved, rounding, first, 0)
