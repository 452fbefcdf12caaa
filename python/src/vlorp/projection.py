"""VLoRP projections of gradients in torch (docs/method.md sections 2, 3 and 5).

Letters are those of docs/method.md: a weight's gradient G is [n, m]; the compressed dimension is cut into c slices of
d, each projected onto the r columns of P [d, r]; M = c r.  S is kept as a matrix: [u, M] on the right side (row i,
slice k, direction q at column k r + q), [M, u] on the left (row q c + b).  All arithmetic is float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import binding, philox


@dataclass(frozen=True)
class Projection:
    """What is used for one matrix [n, m]; ``coarse`` is f of a factor c = 1 / f, else 1."""

    n: int
    m: int
    right: bool
    c: int
    r: int
    d: int
    exact: bool
    coarse: int
    rademacher: bool

    @classmethod
    def from_used(cls, used: binding.Used, n: int, m: int, rademacher: bool) -> Projection:
        return cls(n, m, used.side == binding.RIGHT, used.c, used.r, used.d, used.exact, used.f, rademacher)

    @property
    def M(self) -> int:
        return self.c * self.r

    @property
    def factor(self) -> float:
        return 1 / self.coarse if self.coarse > 1 else self.c

    @property
    def reread(self) -> tuple[int, int]:
        """G's shape as it is projected: another one of the same row-major numbers for a factor below one."""
        f = self.coarse
        return (self.n // f, self.m * f) if self.right else (self.n * f, self.m // f)

    @property
    def s_shape(self) -> tuple[int, int]:
        rows, columns = self.reread
        return (rows, self.M) if self.right else (self.M, columns)

    def make(self, seed: int, name: str, refresh: int, device: torch.device) -> Tensor:
        """P [d, r]."""
        if self.exact:
            return torch.ones(1, 1, device=device)
        fill = philox.signs if self.rademacher else philox.normals
        return fill(seed, name, refresh, self.d * self.r, device).view(self.d, self.r)

    # Factors of G = dY^T X, for c >= 1.

    def project_inputs(self, x: Tensor, P: Tensor) -> Tensor:
        """Xt [T, M] of x [T, m], right side."""
        if self.exact:
            return x
        return (x.reshape(-1, self.d) @ P).view(-1, self.M)

    def project_outputs(self, dy: Tensor, P: Tensor) -> Tensor:
        """Dt [T, M] of dy [T, n], left side."""
        if self.exact:
            return dy
        return torch.einsum("aq,tab->tqb", P, dy.reshape(-1, self.d, self.c)).reshape(-1, self.M)

    # S of a whole gradient, and back.

    def down(self, G: Tensor, P: Tensor) -> Tensor:
        """S of G [n, m]."""
        if self.exact:
            return G
        rows, columns = self.reread
        if self.right:
            return (G.reshape(rows * self.c, self.d) @ P).view(self.s_shape)
        return (P.t() @ G.reshape(self.d, self.c * columns)).view(self.s_shape)

    def up(self, S: Tensor, P: Tensor) -> Tensor:
        """S (or something shaped as it) times P: [n, m], without the factor s = 1 / r."""
        if self.exact:
            return S
        if self.right:
            return (S.reshape(-1, self.r) @ P.t()).view(self.n, self.m)
        return (P @ S.reshape(self.r, -1)).view(self.n, self.m)

    def up_rows(self, S: Tensor, P: Tensor, first: int, last: int) -> Tensor:
        """Rows [first, last) of up(S, P), for c >= 1; on the left first and last are multiples of c."""
        if self.exact:
            return S[first:last]
        if self.right:
            return (S[first:last].reshape(-1, self.r) @ P.t()).view(last - first, self.m)
        return (P[first // self.c:last // self.c] @ S.reshape(self.r, -1)).view(last - first, self.m)

    def squared_norm(self, S: Tensor, P: Tensor) -> Tensor:
        """An unbiased estimate of the squared norm of G, float64 scalar (docs/method.md section 5)."""
        if self.exact:
            return S.square().sum(dtype=torch.float64)
        R = S.reshape(-1, self.r).t() if self.right else S.reshape(self.r, -1)
        gram = (R @ R.t()).double()
        if self.rademacher:
            return gram.trace() / self.r
        K = P.double().t() @ P.double()
        trace: Tensor = torch.linalg.solve(K, gram).trace()
        return self.d / self.r * trace

    def sums(self, S: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        """Row [n] and column [m] sums of squares of up(S, P), in closed form for c >= 1."""
        if self.exact or self.coarse > 1:
            squares = self.up(S, P).square()
            return squares.sum(1), squares.sum(0)
        K = P.t() @ P
        if self.right:
            slices = S.view(-1, self.c, self.r)
            rows = ((slices @ K) * slices).sum((1, 2))
            per_slice = slices.transpose(0, 1)
            gram = per_slice.transpose(1, 2) @ per_slice  # [c, r, r]
            return rows, torch.einsum("jq,kqp,jp->kj", P, gram, P).reshape(-1)
        slices = S.view(self.r, self.c, -1)
        columns = (torch.einsum("qp,pbj->qbj", K, slices) * slices).sum((0, 1))
        gram = torch.einsum("qbj,pbj->bqp", slices, slices)
        return torch.einsum("aq,bqp,ap->ab", P, gram, P).reshape(-1), columns

    def transport(self, S: Tensor, old: Tensor, new: Tensor) -> None:
        """Carries a momentum over from one P to the next, in place."""
        bridge = old.t() @ new / self.r
        if self.right:
            S.copy_((S.reshape(-1, self.r) @ bridge).view_as(S))
        else:
            S.copy_((bridge.t() @ S.reshape(self.r, -1)).view_as(S))
