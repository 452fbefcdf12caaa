"""Several ranks: sums of projected gradients are averaged over them, which moves M / s_dim of a full gradient's
bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn


class Ranks:
    """The ranks that train together; ``group`` is "auto" (all of them, once torch.distributed is initialised), None,
    or a process group.  ``bytes_reduced`` counts what this rank handed to all-reduce."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self.bytes_reduced = 0

    @property
    def size(self) -> int:
        if self._group is None or not (dist.is_available() and dist.is_initialized()):
            return 1
        return dist.get_world_size(self._process_group)

    @property
    def _process_group(self) -> Any:
        return None if self._group == "auto" else self._group

    def leave_to_us(self, model: nn.Module, names: list[str]) -> None:
        """Tells DistributedDataParallel, if it ever wraps the model, not to wait for these parameters' gradients."""
        if self._group is None or not dist.is_available():
            return
        ignored = set(getattr(model, "_ddp_params_and_buffers_to_ignore", ())) | set(names)
        leave: Any = nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        leave(model, sorted(ignored))

    def mean(self, tensors: list[Tensor]) -> None:
        works = [dist.all_reduce(t, group=self._process_group, async_op=True) for t in tensors]
        for work, tensor in zip(works, tensors, strict=True):
            work.wait()
            tensor.div_(self.size)
            self.bytes_reduced += tensor.nbytes

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Rank 0's values everywhere."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, group=self._process_group, group_src=0)
