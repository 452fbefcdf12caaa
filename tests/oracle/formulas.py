"""The specification's formulas in numpy, written apart from the C sources.

Projections are made from rng.h's definition in binary32; everything else is float64.  Ghat is
formed as a whole matrix: no closed form, no streaming.
"""
import math

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
f32 = np.float32


def fnv1a(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def mix(z):
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def philox(seed, name, stream, number, blocks, call=0):
    """Words [len(blocks), 4] of Philox4x32-10."""
    hash_of_call = fnv1a(name) + call * 0xD1342543DE82EF95
    key = mix(seed ^ mix((hash_of_call + stream * GOLDEN) & MASK))
    k = [key & 0xFFFFFFFF, key >> 32]
    blocks = np.asarray(blocks, np.uint64)
    low = np.uint64(0xFFFFFFFF)
    x = [blocks & low, blocks >> np.uint64(32), np.full_like(blocks, number & 0xFFFFFFFF),
         np.full_like(blocks, stream)]
    for _ in range(10):
        a = x[0] * np.uint64(0xD2511F53)
        b = x[2] * np.uint64(0xCD9E8D57)
        x = [(b >> np.uint64(32)) ^ x[1] ^ np.uint64(k[0]), b & low,
             (a >> np.uint64(32)) ^ x[3] ^ np.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(x, 1).astype(np.uint32)


def box_muller(x, y):
    """Two normals for each pair of words, in binary32 throughout."""
    one, two = f32(1), f32(2)
    u = ((x >> 8) + np.uint32(1)).astype(f32) * f32(2.0**-24)
    mantissa, exponent = np.frexp(u)  # mantissa in [1/2, 1)
    small = mantissa < np.uint32(0x3F3504F3).view(f32)
    mantissa = np.where(small, mantissa * two, mantissa)
    exponent = np.where(small, exponent - 1, exponent).astype(f32)
    f = mantissa - one
    t = f / (two + f)
    z = t * t
    series = one + z * (f32(1 / 3) + z * (f32(1 / 5) + z * (f32(1 / 7) + z * f32(1 / 9))))
    log = exponent * f32(math.log(2)) + (two * t) * series
    radius = np.sqrt(f32(-2) * log)
    a = (((y & np.uint32(0x3FFFFFFF)) >> 6).astype(f32) * f32(2.0**-24) - f32(0.5)) * f32(math.pi / 2)
    w = a * a
    c = one + w * (f32(-0.5) + w * (f32(1 / 24) + w * (f32(-1 / 720) + w * f32(1 / 40320))))
    s = a * (one + w * (f32(-1 / 6) + w * (f32(1 / 120) + w * (f32(-1 / 5040) + w * f32(1 / 362880)))))
    quadrant = y >> 30
    first = np.choose(quadrant, [c, -s, -c, s])
    second = np.choose(quadrant, [s, c, -s, -c])
    return radius * first, radius * second


def make_projection(seed, name, refresh, d, r, distribution, stream=0):
    n = d * r
    if distribution == "rademacher":
        words = philox(seed, name, stream, refresh, np.arange((n + 127) // 128)).reshape(-1)
        bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
        return (1.0 - 2.0 * bits.reshape(-1)[:n].astype(f32)).astype(f32).reshape(d, r)
    words = philox(seed, name, stream, refresh, np.arange((n + 3) // 4)).reshape(-1, 2)
    even, odd = box_muller(words[:, 0], words[:, 1])
    return np.stack([even, odd], 1).reshape(-1)[:n].reshape(d, r)


def rounding_draws(seed, name, step, n, m, stream=1, call=0):
    """The 16-bit draw of each element of an [n, m] matrix.  call: of a rounding of sums within its step."""
    row, col = np.meshgrid(np.arange(n, dtype=np.uint64), np.arange(m, dtype=np.uint64), indexing="ij")
    block = row * np.uint64(1 << 32) + col // np.uint64(128) * np.uint64(16) + col % np.uint64(16)
    half = (col % np.uint64(128) // np.uint64(16)).astype(np.int64)
    words = philox(seed, name, stream, step, block.reshape(-1), call).reshape(n, m, 4)
    word = np.take_along_axis(words, (half // 2)[:, :, None], 2)[:, :, 0]
    return np.where(half % 2 == 0, word & np.uint32(0xFFFF), word >> 16)


def reread(G, side, f):
    """A factor of 1 / f: the same numbers, row-major, in another shape."""
    n, m = G.shape
    return G.reshape(n // f, m * f) if side == "right" else G.reshape(n * f, m // f)


def down(G, P, side, c, f=1):
    G = reread(G, side, f)
    d = P.shape[0]
    if side == "right":
        return np.einsum("ikj,jq->ikq", G.reshape(G.shape[0], c, d), P)
    return np.einsum("aq,abj->qbj", P, G.reshape(d, c, G.shape[1]))


def up(S, P, side, s, shape):
    if side == "right":
        return s * np.einsum("ikq,jq->ikj", S, P).reshape(shape)
    return s * np.einsum("aq,qbj->abj", P, S).reshape(shape)


def squared_norm(S, P, side, distribution):
    d, r = P.shape
    Q = np.einsum("ikq,ikp->qp", S, S) if side == "right" else np.einsum("qbj,pbj->qp", S, S)
    if distribution == "svd":
        return np.trace(Q)
    if distribution == "rademacher":
        return np.trace(Q) / r
    return d / r * np.trace(np.linalg.solve(P.T @ P, Q))


def budgets_of(s_dim):
    """M that adaptive_budget may choose: three significant bits, and s_dim itself."""
    return [M for M in range(1, s_dim) if M < 8 or M % 2 ** (M.bit_length() - 3) == 0] + [s_dim]


def divide(norms, s_dims, u_dims, factors, bytes_of, pools):
    """docs/method.md section 4: M ~ q, rounded upwards in the order of q^2 / (M M') as far as the pools go."""
    squares = [(s + c) * g / u for g, s, u, c in zip(norms, s_dims, u_dims, factors)]
    ladders = [budgets_of(s) for s in s_dims]
    place = [0] * len(ladders)
    while True:
        best, gain = None, -1.0
        for i, ladder in enumerate(ladders):
            if place[i] + 1 == len(ladder):
                continue
            there = [ladder[p + (i == k)] for k, (ladder, p) in enumerate(zip(ladders, place))]
            ratio = squares[i] / (ladder[place[i]] * ladder[place[i] + 1])
            if ratio > gain and (bytes_of(there) <= np.array(pools)).all():
                best, gain = i, ratio
        if best is None:
            return [ladder[p] for ladder, p in zip(ladders, place)]
        place[best] += 1


class Projected:
    """docs/method.md sections 2 and 4, one matrix under projfactor, vlorp_os, vlorp_ss or vlorp_sgd.

    P of svd comes from set_probe; its tie to the gradient is checked apart."""

    def __init__(self, W, name, rule, side, used, seed, gap, momentum, distribution, decay=0.0, betas=(0.9, 0.999),
                 eps=1e-6, alpha=1.0):
        self.rule, self.name, self.side, self.seed, self.gap = rule, name, side, seed, gap
        self.momentum, self.distribution, self.decay = momentum, distribution, decay
        self.betas, self.eps, self.alpha = betas, eps, alpha
        self.c, self.r, self.d, self.f, self.exact = used.c, used.r, used.d, used.f, used.exact
        self.W = W.astype(np.float64)
        self.n, self.m = W.shape
        self.t = 0
        self.since = 0  # steps since the momentum's count began
        self.age = 0    # of v in S's space
        svd = distribution == "svd" and not self.exact
        self.s = 1.0 if svd else 1 / self.r
        u = (self.n if side == "right" else self.m) // self.f
        shape = (u, self.c, self.r) if side == "right" else (self.r, self.c, u)
        shape = W.shape if rule == "vlorp_os" else shape
        self.ms, self.v = np.zeros(shape), np.zeros(shape)
        self.vr, self.vc = np.zeros(self.n), np.zeros(self.m)
        self.P = np.zeros((self.d, self.r)) if svd else self.projection(0)

    def projection(self, refresh):
        if self.exact:
            return np.ones((1, 1))
        p = make_projection(self.seed, self.name, refresh, self.d, self.r, self.distribution)
        return p.astype(np.float64)

    def due(self):
        return self.t % self.gap == 0 and not self.exact

    def enter_step(self, probed=None):
        """Takes up a new P where a refresh is due; call it before the step's gradients."""
        if not self.due() or (self.t == 0 and probed is None):
            return
        old, self.P = self.P, self.projection(self.t // self.gap) if probed is None else probed
        if self.momentum == "reset":
            self.since = 0
        if self.rule not in ("projfactor", "vlorp_ss"):
            return
        if self.momentum == "reset":
            self.ms[:] = 0
        elif self.momentum == "transport":
            B = self.s * old.T @ self.P
            self.ms = self.ms @ B if self.side == "right" else np.einsum("qp,qbj->pbj", B, self.ms)

    def reshape(self, used):
        """adaptive_budget gave it another M."""
        self.c, self.r, self.d, self.exact = used.c, used.r, used.d, used.exact
        self.s = 1 / self.r
        self.P = self.projection(self.t // self.gap)
        if self.rule != "vlorp_os":
            u = self.n if self.side == "right" else self.m
            shape = (u, self.c, self.r) if self.side == "right" else (self.r, self.c, u)
            self.ms, self.v = np.zeros(shape), np.zeros(shape)
            self.since = self.age = 0

    def squared_norm(self, G):
        if self.exact:
            return float((G**2).sum())
        return squared_norm(down(G, self.P, self.side, self.c, self.f), self.P, self.side, self.distribution)

    def step(self, G, lr):
        """G: the clipped mean gradient."""
        b1, b2 = self.betas
        s = self.alpha * self.s
        shape = self.W.shape
        S = down(G, self.P, self.side, self.c, self.f)
        Ghat = up(S, self.P, self.side, s, shape)
        self.t += 1
        self.since += 1
        self.age += 1
        subspace = self.rule in ("projfactor", "vlorp_ss")
        eta = lr * math.sqrt(1 - b2**(self.age if self.rule == "vlorp_ss" else self.t)) / (1 - b1**(self.since if subspace else self.t))
        fed = Ghat if self.rule == "vlorp_os" else S
        self.ms = b1 * self.ms + (1 - b1) * fed
        self.v = b2 * self.v + (1 - b2) * fed**2
        if self.rule == "projfactor":
            self.vr = b2 * self.vr + (1 - b2) * (Ghat**2).sum(1)
            self.vc = b2 * self.vc + (1 - b2) * (Ghat**2).sum(0)
            Mhat = up(self.ms, self.P, self.side, s, shape)
            total = max(self.vr.sum(), 1e-30)
            update = eta * Mhat / (np.sqrt(np.outer(self.vr, self.vc) / total) + self.eps)
        elif self.rule == "vlorp_os":
            update = eta * self.ms / (np.sqrt(self.v) + self.eps)
        elif self.rule == "vlorp_ss":
            update = eta * up(self.ms / (np.sqrt(self.v) + self.eps), self.P, self.side, s, shape)
        else:
            update = lr * Ghat
        self.W = self.W - update
        self.W = self.W - lr * self.decay * self.W


class Whole(Projected):
    """fira, apollo and apollo_mini: their papers' formulas on the whole gradient, which is projected at the step."""

    def __init__(self, *args, **rest):
        super().__init__(*args, **rest)
        self.p = math.sqrt(self.s)
        self.last_norm = 0.0

    def enter_step(self, probed=None):
        if self.due():
            self.P = self.projection(self.t // self.gap) if probed is None else probed

    def squared_norm(self, G):
        return float((G**2).sum())

    def factors(self, N, R):
        if self.rule == "apollo_mini":
            return np.linalg.norm(N) / (np.linalg.norm(R) + 1e-8)
        axes = (1, 2) if self.side == "right" else (0, 1)
        f = np.sqrt((N**2).sum(axes)) / (np.sqrt((R**2).sum(axes)) + 1e-8)
        return f[:, None] if self.side == "right" else f[None, :]

    def limited(self, U):
        norm = np.linalg.norm(U)
        shrink = max(norm / (self.last_norm + 1e-8), 1.01) / 1.01 if self.last_norm > 0 else 1.0
        self.last_norm = norm / shrink
        return U / shrink

    def step(self, G, lr):
        b1, b2 = self.betas
        self.t += 1
        R = self.p * down(G, self.P, self.side, self.c)
        self.ms = b1 * self.ms + (1 - b1) * R
        self.v = b2 * self.v + (1 - b2) * R**2
        N = self.ms / (np.sqrt(self.v) + self.eps)
        if self.rule == "fira":
            back = [self.alpha * self.p * up(X, self.P, self.side, 1.0, G.shape) for X in (R, N)]
            update = back[1] + self.limited(self.factors(N, R) * (G - back[0]))
        else:
            update = math.sqrt(self.alpha) * self.limited(self.factors(N, R) * G)
        self.W = self.W - lr * math.sqrt(1 - b2**self.t) / (1 - b1**self.t) * update
        self.W = self.W - lr * self.decay * self.W


class Flora(Projected):
    """A new P in every step; the momentum's own P changes every gap steps, within the step."""

    def projection(self, refresh, stream=0):
        if self.exact:
            return np.ones((1, 1))
        return make_projection(self.seed, self.name, refresh, self.d, self.r, self.distribution, stream).astype(
            np.float64)

    def enter_step(self):
        self.P = self.projection(self.t)

    def step(self, G, lr):
        b1 = self.betas[0]
        old = self.projection(self.t // self.gap, 9)
        self.t += 1
        new = self.projection(self.t // self.gap, 9)
        Ghat = up(down(G, self.P, self.side, self.c), self.P, self.side, self.s, G.shape)
        b2 = 1 - self.t**-0.8
        self.vr = b2 * self.vr + (1 - b2) * (Ghat**2 + 1e-30).mean(1)
        self.vc = b2 * self.vc + (1 - b2) * (Ghat**2 + 1e-30).mean(0)
        u = Ghat / np.sqrt(np.outer(self.vr, self.vc) / self.vr.mean())
        z = (1 - b1) * u + b1 * up(self.ms, old, self.side, self.s, G.shape)
        if self.t % self.gap == 0 and not self.exact:
            B = self.s * old.T @ new
            self.ms = self.ms @ B if self.side == "right" else np.einsum("qp,qbj->pbj", B, self.ms)
        self.ms = b1 * self.ms + (1 - b1) * down(u, new, self.side, self.c)
        z = z / max(1.0, math.sqrt((z**2).mean()))
        lr = lr * max(1e-3, math.sqrt((self.W**2).mean()))
        self.W = self.W - lr * self.decay * self.W
        self.W = self.W - lr * z


class Sgd:
    def __init__(self, W, decay=0.0):
        self.W, self.decay = W.astype(np.float64), decay

    def squared_norm(self, G):
        return float((G**2).sum())

    def step(self, G, lr):
        self.W = self.W - lr * G
        self.W = self.W - lr * self.decay * self.W


class AdamW:
    """torch.optim.AdamW's formula, one matrix."""

    def __init__(self, W, decay=0.0, betas=(0.9, 0.999), eps=1e-6):
        self.W, self.decay, self.betas, self.eps, self.t = W.astype(np.float64), decay, betas, eps, 0
        self.m1, self.v = np.zeros(W.shape), np.zeros(W.shape)

    def enter_step(self):
        pass

    def squared_norm(self, G):
        return (G**2).sum()

    def step(self, G, lr):
        b1, b2 = self.betas
        self.t += 1
        self.W = self.W * (1 - lr * self.decay)
        self.m1 = b1 * self.m1 + (1 - b1) * G
        self.v = b2 * self.v + (1 - b2) * G**2
        denominator = np.sqrt(self.v) / math.sqrt(1 - b2**self.t) + self.eps
        self.W = self.W - lr / (1 - b1**self.t) * self.m1 / denominator
