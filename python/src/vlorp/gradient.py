"""The gradient of a projected weight, as ``param.grad`` shows it.

``ProjectedGrad`` has the weight's shape, dtype and device and holds no numbers of that shape: it stands for the sums S
of its slot.  Clipping works on it (its norm is the unbiased estimate of the true gradient's, and scaling scales S), so
``torch.nn.utils.clip_grad_norm_`` and whatever calls it, the Trainer included, see every parameter.  Adding a
gradient projects it.  Any other read gets the back-projection, an unbiased estimate of the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from .slot import Slot

_aten = torch.ops.aten
_SCALING = {_aten.mul_.Tensor: False, _aten.mul_.Scalar: False, _aten.div_.Tensor: True, _aten.div_.Scalar: True}
_FOREACH_SCALING = {
    _aten._foreach_mul_.Scalar: False, _aten._foreach_mul_.Tensor: False, _aten._foreach_mul_.List: False,
    _aten._foreach_mul_.ScalarList: False, _aten._foreach_div_.Scalar: True, _aten._foreach_div_.Tensor: True,
}
_NORMS = {_aten.linalg_vector_norm.default, _aten.norm.Scalar, _aten._foreach_norm.Scalar}
_UNSCALE = _aten._amp_foreach_non_finite_check_and_unscale_.default


class ProjectedGrad(Tensor):
    slot: Slot

    @staticmethod
    def __new__(cls, slot: Slot) -> ProjectedGrad:
        p = slot.param
        grad: ProjectedGrad = Tensor._make_wrapper_subclass(cls, p.shape, dtype=p.dtype, device=p.device)
        grad.slot = slot
        return grad

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch's has no types
        return f"ProjectedGrad({self.slot.name}, shape={tuple(self.shape)}, S={self.slot.projection.s_shape})"

    def dense(self) -> Tensor:
        """The back-projection in the weight's shape and dtype."""
        return self.slot.dense_gradient()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares its default as a function, not as a class method
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0]
        if func in _NORMS and (len(args) < 2 or args[1] == 2) and not kwargs.get("dim"):
            if isinstance(first, Tensor):
                return _norm(first)
            return [_norm(g) for g in first]
        if func in _SCALING and isinstance(first, ProjectedGrad):
            first.slot.scale(args[1], _SCALING[func])
            return first
        if func in _FOREACH_SCALING:
            factors = args[1] if isinstance(args[1], (list, tuple)) else [args[1]] * len(first)
            for g, factor in zip(first, factors, strict=True):
                _ = g.div_(factor) if _FOREACH_SCALING[func] else g.mul_(factor)
            return None
        if func is _aten.zero_.default:
            first.slot.zero()
            return first
        if func is _aten._foreach_zero_.default:
            for g in first:
                g.zero_()
            return None
        if func is _aten.add_.Tensor and isinstance(first, ProjectedGrad):
            return first._accumulate(args[1], kwargs.get("alpha", 1))
        if func is _aten.detach.default:
            return ProjectedGrad(first.slot)
        if func is _UNSCALE:
            return func([g.slot.sums() if isinstance(g, ProjectedGrad) else g for g in first], *args[1:])
        if func._schema.is_mutable:
            raise NotImplementedError(
                f"{func} would change the gradient of {cls._name(args)} in place, but of that only a projection "
                "exists; scaling, adding, zeroing and clip_grad_norm_ work on it")
        return func(*tree_map(_densified, args), **tree_map(_densified, kwargs))

    def _accumulate(self, other: Any, alpha: float) -> ProjectedGrad:
        if isinstance(other, ProjectedGrad):
            raise NotImplementedError(f"two projected gradients of {self.slot.name} cannot be added")
        self.slot.accumulate(other if alpha == 1 else alpha * other)
        return self

    @staticmethod
    def _name(args: Any) -> str:
        found: list[str] = []
        tree_map(lambda a: found.append(a.slot.name) if isinstance(a, ProjectedGrad) else None, args)
        return found[0]


def _densified(value: Any) -> Any:
    return value.dense() if isinstance(value, ProjectedGrad) else value


def _norm(g: Tensor) -> Tensor:
    if isinstance(g, ProjectedGrad):
        return g.slot.squared_norm().sqrt().to(torch.float32)
    norm: Tensor = torch.linalg.vector_norm(g)
    return norm
