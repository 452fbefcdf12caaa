"""Projections in torch: equal to libvlorp's to the bit, and what the formulas say."""
import ctypes as ct

import pytest
import torch

from vlorp import binding, philox
from vlorp.projection import Projection

CPU = torch.device("cpu")
SHAPES = [(64, 96, dict(factor=8, rank=2)), (1536, 576, dict(factor=64, rank=1)), (100, 1000, dict(factor=1, rank=30)),
          (96, 64, dict(factor=4, rank=3)), (64, 96, dict(factor=1, divisor=2, rank=64)),
          (96, 64, dict(factor=1, divisor=4, rank=32)), (8, 96, dict(budget=16))]


def resolved(n, m, distribution=binding.NORMAL, **asked):
    used = binding.Library().resolve("w", n, m, distribution=distribution, **asked)
    return used, Projection.from_used(used, n, m, distribution == binding.RADEMACHER)


@pytest.mark.parametrize("distribution", [binding.NORMAL, binding.RADEMACHER])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [42, (1 << 64) - 1])
def test_P_is_equal_to_the_bit(shape, distribution, seed):
    n, m, asked = shape
    used, p = resolved(n, m, distribution, **asked)
    theirs = torch.empty(used.d, used.r)
    binding.Library().projection_fill(theirs.data_ptr(), used, distribution, seed, "model.é.weight", 3)
    ours = p.make(seed, "model.é.weight", 3, CPU)
    assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))


def test_a_hundred_thousand_normals_are_equal_to_the_bit():
    used, p = resolved(1000, 1000, factor=1, rank=100)
    theirs = torch.empty(used.d, used.r)
    binding.Library().projection_fill(theirs.data_ptr(), used, binding.NORMAL, 7, "w", 1 << 33)
    assert torch.equal(p.make(7, "w", 1 << 33, CPU).view(torch.int32), theirs.view(torch.int32))


class Rng(ct.Structure):
    _fields_ = [("key", ct.c_uint32 * 2), ("number", ct.c_uint32), ("stream", ct.c_uint32)]


def test_rounding_draws_are_the_librarys():
    so = binding.Library().so
    so.vlorp_rng_make.restype, so.vlorp_rng_hash.restype = Rng, ct.c_uint64
    hashed = ct.c_uint64(so.vlorp_rng_hash(b"w"))
    rng = so.vlorp_rng_make(ct.c_uint64(42), hashed, philox.ROUNDING, ct.c_uint64(5))
    ours = philox.rounding_draws(42, "w", 5, range(3, 6), range(128, 421), CPU)
    assert ours.shape == (3, 293)
    theirs = [[so.vlorp_rng_draw16(ct.byref(rng), row, column) for column in range(128, 421)] for row in range(3, 6)]
    assert ours.tolist() == theirs


def test_rounding_keeps_what_bfloat16_holds_and_is_unbiased():
    x = torch.tensor([1.0, -2.5, 0.0, float("inf"), float("-inf")])
    most = torch.full(x.shape, 0xFFFF, dtype=torch.int32)
    assert torch.equal(philox.round_to_bf16(x, most).float(), x)
    assert philox.round_to_bf16(torch.tensor([float("nan")]), most[:1]).isnan().all()
    third = torch.full((200, 256), -1 / 3)
    rounded = philox.round_to_bf16(third, philox.rounding_draws(1, "w", 1, range(200), range(256), CPU)).float()
    assert len(rounded.unique()) == 2 and abs(rounded.mean() / third.mean() - 1) < 2e-5


def definition(G, P, p):
    """S element by element, from docs/method.md section 2."""
    G = G.reshape(p.reread)
    if p.right:
        return torch.einsum("ikj,jq->ikq", G.view(len(G), p.c, p.d), P).reshape(p.s_shape)
    return torch.einsum("aq,abj->qbj", P, G.view(p.d, p.c, -1)).reshape(p.s_shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distribution", [binding.NORMAL, binding.RADEMACHER])
def test_formulas(shape, distribution):
    n, m, asked = shape
    _, p = resolved(n, m, distribution, **asked)
    torch.manual_seed(0)
    dy, x = torch.randn(10, n), torch.randn(10, m)
    G = dy.t() @ x
    P = p.make(42, "w", 0, CPU)
    S = G if p.exact else definition(G, P, p)
    assert torch.allclose(p.down(G, P), S, atol=1e-4)
    if p.coarse == 1:
        factors = dy.t() @ p.project_inputs(x, P) if p.right else p.project_outputs(dy, P).t() @ x
        assert torch.allclose(factors, S, atol=1e-4)
    up = p.up(S, P)
    assert torch.allclose((up * G).sum(), S.square().sum(), rtol=1e-4)  # up is the adjoint of down
    rows, columns = p.sums(S, P)
    assert torch.allclose(rows, up.square().sum(1), rtol=1e-4)
    assert torch.allclose(columns, up.square().sum(0), rtol=1e-4)
    K = P.double().t() @ P.double()
    Q = torch.stack([a.double().t() @ a.double() for a in (S.reshape(-1, p.r),)])[0] if p.right else \
        S.reshape(p.r, -1).double() @ S.reshape(p.r, -1).double().t()
    expected = Q.trace() if p.exact else Q.trace() / p.r if p.rademacher else p.d / p.r * (K.inverse() @ Q).trace()
    assert torch.allclose(p.squared_norm(S, P), expected, rtol=1e-4)
