"""One projected weight: its sums S, its moments, its projection, and how gradients enter S."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import binding
from .gradient import ProjectedGrad
from .projection import Projection

if TYPE_CHECKING:
    from .optim import ProjFactor

CACHED_FROM = 4  # slices: P is then at most a sixteenth of S, and is kept from one use to the next


def _no_slot() -> None:
    return None


class Slot:
    """A weight W [n, m] of the optimizer ``owner``; ``param`` stores W or, where ``transposed``, its transpose.

    The life of S follows ``param.grad``: as long as that is this slot's ProjectedGrad, S holds the sums of the
    gradients so far; once anybody sets it to None, S counts as empty.
    """

    def __init__(self, owner: ProjFactor, name: str, param: nn.Parameter, transposed: bool, projection: Projection,
                 used: binding.Used) -> None:
        self._owner = weakref.ref(owner)
        self.name = name
        self.param = param
        self.transposed = transposed
        self.projection = projection
        self.used = used
        self.S: Tensor | None = None
        self.state: dict[str, Tensor] = {}
        self.reduced = False
        self._P: Tensor | None = None
        self._P_key: tuple[int, torch.device] | None = None

    def __reduce__(self) -> Any:
        return _no_slot, ()  # a model that is saved or copied whole is a plain one

    @property
    def alive(self) -> bool:
        """Whether the optimizer still exists; without it the layer is a plain one."""
        return self._owner() is not None

    @property
    def owner(self) -> ProjFactor:
        owner = self._owner()
        if owner is None:
            raise RuntimeError(f"the ProjFactor that projects {self.name} is gone")
        return owner

    def P(self, refresh: int | None = None) -> Tensor:
        """The projection in force now, or of another refresh."""
        owner = self.owner
        current = owner.steps_taken // owner.update_proj_gap
        key = (current if refresh is None else refresh, self.param.device)
        if self._P is not None and self._P_key == key:
            return self._P
        P = owner.make_projection(self, key[0])
        if key[0] == current and self.projection.c >= CACHED_FROM:
            self._P, self._P_key = P, key
        return P

    def open(self) -> Tensor:
        """S, ready to be added to."""
        grad = self.param.grad
        if isinstance(grad, ProjectedGrad) and grad.slot is self and self.S is not None:
            if self.reduced:
                raise RuntimeError(f"{self.name}: the gradients of this step were summed over the ranks already; call "
                                   "step() or zero_grad() before the next backward pass")
            return self.S
        self.owner.ensure_state()
        assert self.S is not None
        self.S.zero_()
        self.reduced = False
        self.param.grad = ProjectedGrad(self)
        if grad is not None:
            self.accumulate(grad)
        return self.S

    def accumulate(self, G: Tensor) -> None:
        """Adds a whole gradient, laid out as the weight."""
        S = self.open()
        G = G.to_dense() if G.is_sparse else G
        with torch.no_grad():
            S.add_(self.projection.down((G.t() if self.transposed else G).float(), self.P()))

    def input_to_save(self, x: Tensor, compute_dtype: torch.dtype) -> Tensor:
        """What a layer keeps of its inputs [T, m] for accumulate_factors: the projected ones where that is less."""
        if self.projection.right and not self.projection.exact and self.projection.coarse == 1:
            return self.projection.project_inputs(x.float(), self.P())
        return x.to(compute_dtype)

    def accumulate_factors(self, dy: Tensor, saved: Tensor) -> None:
        """Adds the gradient dy^T x without forming it (a factor below one forms it for the moment)."""
        S = self.open()
        dy, saved = dy.float(), saved.float()
        if self.projection.coarse > 1:
            S.add_(self.projection.down(dy.t() @ saved, self.P()))
        elif self.projection.right:
            S.addmm_(dy.t(), saved)
        else:
            S.addmm_(self.projection.project_outputs(dy, self.P()).t(), saved)

    def accumulate_rows(self, ids: Tensor, dy: Tensor) -> None:
        """Adds an embedding's gradient: row ids[t] receives dy[t]."""
        S = self.open()
        dy = dy.float()
        if self.projection.right and self.projection.coarse == 1:
            S.index_add_(0, ids, self.projection.project_inputs(dy, self.P()))
            return
        G = torch.zeros(self.projection.n, self.projection.m, device=dy.device).index_add_(0, ids, dy)
        S.add_(self.projection.down(G, self.P()))

    def sums(self) -> Tensor:
        """S, over all ranks."""
        self.owner.reduce()
        return self.open() if not self.reduced else self._held()

    def _held(self) -> Tensor:
        assert self.S is not None
        return self.S

    def squared_norm(self) -> Tensor:
        return self.projection.squared_norm(self.sums(), self.P())

    def scale(self, factor: Tensor | float, divide: bool) -> None:
        S = self.sums()
        S.div_(factor) if divide else S.mul_(factor)

    def zero(self) -> None:
        if self.S is not None:
            self.S.zero_()
        self.reduced = False

    def dense_gradient(self) -> Tensor:
        """The back-projection of S, laid out as the weight."""
        G = self.projection.up(self.sums(), self.P()) / self.projection.r
        return (G.t() if self.transposed else G).contiguous().to(self.param.dtype)

    def hook(self, param: Tensor) -> None:
        """After autograd accumulated a whole gradient into param.grad."""
        grad = param.grad
        if self.alive and grad is not None and not isinstance(grad, ProjectedGrad):
            self.param.grad = None
            self.accumulate(grad)
