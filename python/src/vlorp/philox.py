"""libvlorp's random numbers in torch, on any device, equal to the bit.

``include/vlorp/rng.h`` is the definition: Philox4x32-10 keyed by seed, name, stream and number; normals by Box-Muller
in binary32 from operations that are rounded once each.  Integers are kept in int64, where a product of two
32-bit words wraps as it should.
"""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

PROJECTION, ROUNDING = 0, 1

_MASK64 = (1 << 64) - 1
_MASK32 = 0xFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15
_SQRT_HALF_BITS = 0x3F3504F3


def name_hash(name: str) -> int:
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK64
    return value


def _mix(z: int) -> int:
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK64
    return z ^ z >> 31


def words(seed: int, name: str, stream: int, number: int, blocks: Tensor) -> Tensor:
    """The four words of each block, int64 [4, *blocks.shape], each below 2^32."""
    key = _mix((seed & _MASK64) ^ _mix((name_hash(name) + stream * _GOLDEN) & _MASK64))
    k0, k1 = key & _MASK32, key >> 32
    c0, c1 = blocks & _MASK32, (blocks >> 32) & _MASK32
    c2 = torch.full_like(blocks, number & _MASK32)
    c3 = torch.full_like(blocks, stream)
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = ((p1 >> 32) & _MASK32) ^ c1 ^ k0, p1 & _MASK32
        c2, c3 = ((p0 >> 32) & _MASK32) ^ c3 ^ k1, p0 & _MASK32
        k0, k1 = (k0 + 0x9E3779B9) & _MASK32, (k1 + 0xBB67AE85) & _MASK32
    return torch.stack([c0, c1, c2, c3])


def _f32(x: float) -> float:
    """The binary32 nearest to x: what torch then multiplies by is what C multiplies by."""
    value: float = struct.unpack("f", struct.pack("f", x))[0]
    return value


def _horner(z: Tensor, coefficients: list[float]) -> Tensor:
    """1 + z (a + z (b + ...)), every operation rounded."""
    value = z * _f32(coefficients[-1])
    for a in reversed(coefficients[:-1]):
        value = z * (value + _f32(a))
    return value + 1.0


def _log_of_uniform(x: Tensor) -> Tensor:
    """ln((x + 1) 2^-24) for x < 2^24."""
    u = (x + 1).to(torch.float32) * 2.0**-24
    shifted = u.view(torch.int32) - _SQRT_HALF_BITS
    k = (shifted >> 23).to(torch.float32)
    f = ((shifted & 0x007FFFFF) + _SQRT_HALF_BITS).view(torch.float32)
    g = f - 1.0
    t = g / (g + 2.0)
    series = _horner(t * t, [1 / 3, 1 / 5, 1 / 7, 1 / 9])
    return k * _f32(math.log(2)) + (t * 2.0) * series


def _normal_pair(x: Tensor, y: Tensor) -> Tensor:
    """Two normals for each pair of words, [..., 2]."""
    # torch's float32 sqrt may be a unit off (MKL); of a double, rounded to float32, none is.
    radius = torch.sqrt((_log_of_uniform(x >> 8) * -2.0).double()).to(torch.float32)
    a = (((y & 0x3FFFFFFF) >> 6).to(torch.float32) * 2.0**-24 - 0.5) * _f32(math.pi / 2)
    w = a * a
    c = _horner(w, [-1 / 2, 1 / 24, -1 / 720, 1 / 40320])
    s = a * _horner(w, [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880])
    quadrant = y >> 30
    odd = (quadrant & 1) != 0
    first, second = torch.where(odd, s, c), torch.where(odd, c, s)
    first = torch.where((quadrant == 1) | (quadrant == 2), -first, first)
    second = torch.where(quadrant >= 2, -second, second)
    return torch.stack([radius * first, radius * second], -1)


def normals(seed: int, name: str, refresh: int, n: int, device: torch.device) -> Tensor:
    """The first n entries of the projection stream, float32."""
    w = words(seed, name, PROJECTION, refresh, torch.arange((n + 3) // 4, device=device))
    pairs = torch.stack([_normal_pair(w[0], w[1]), _normal_pair(w[2], w[3])], 1)
    return pairs.reshape(-1)[:n]


def signs(seed: int, name: str, refresh: int, n: int, device: torch.device) -> Tensor:
    """The same of +1 and -1."""
    w = words(seed, name, PROJECTION, refresh, torch.arange((n + 127) // 128, device=device))
    bits = (w.t().unsqueeze(-1) >> torch.arange(32, device=device)) & 1
    return (1 - 2 * bits).reshape(-1)[:n].to(torch.float32)


def rounding_draws(seed: int, name: str, step: int, rows: range, columns: range, device: torch.device) -> Tensor:
    """16-bit draws of a block of a matrix, int32 [rows, columns]; columns starts at a multiple of 128."""
    groups = torch.arange(columns.start // 128, -(-columns.stop // 128), device=device)
    lanes = groups[:, None] * 16 + torch.arange(16, device=device)
    row = torch.arange(rows.start, rows.stop, device=device) << 32
    w = words(seed, name, ROUNDING, step, row[:, None, None] + lanes)
    halves = torch.stack([w & 0xFFFF, w >> 16], 1)  # word, low or high, row, group, lane
    draws = halves.permute(2, 3, 0, 1, 4).reshape(len(rows), -1)
    return draws[:, :len(columns)].to(torch.int32)


def round_to_bf16(x: Tensor, draws: Tensor) -> Tensor:
    """float32 to bfloat16, up with the probability of the part that is cut off; infinities and NaN are cut."""
    bits = x.contiguous().view(torch.int32)
    finite = (bits & 0x7F800000) != 0x7F800000
    rounded = (bits + torch.where(finite, draws, 0)) >> 16
    return rounded.to(torch.int16).view(torch.bfloat16)
