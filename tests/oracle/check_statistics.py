"""What the method promises on average: check_statistics.py PATH_OF_LIBVLORP [PLOT.svg].

  E Ghat = G;  E |ghat - g|^2 = (d + 1)/r |g|^2 for normal, (d - 1)/r |g|^2 for rademacher
  the norm estimate: mean over 100 draws within 1 % of the norm
  Theorem 1 on a quadratic: the mean of |grad|^2 over T steps stays below 2 (L0 - L*) / (eta T)

Seeds are fixed and the bounds are five standard errors, so a failure is a change.  PLOT.svg shows the realised
rate beside the bound.  Exit status: 0 passed, 1 a difference, 77 numpy is missing.
"""
import itertools
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
except ImportError:
    print("SKIP: this Python has no numpy; set VLORP_TEST_PYTHON to one that has")
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

import vlorp_ctypes as v

SIDES = {"left": v.LEFT, "right": v.RIGHT}
DISTRIBUTIONS = {"normal": v.NORMAL, "rademacher": v.RADEMACHER}
failures = []


def expect(condition, text):
    if not condition:
        failures.append(text)
        print("FAIL", text)


def settings(c, r):
    return dict(factor=max(1, int(c)), rank=r, divisor=int(1 / c) if c < 1 else 0)


def back_projections(library, G, n_draws, **projection):
    """Ghat of n_draws fresh P, and the norm estimates: vlorp_sgd with lr 1 on a weight of zeros."""
    w = np.zeros(G.shape, np.float32)
    handle = v.Optimizer(library, seed=11, update_gap=1)
    number = handle.add("w", w, rule=v.VLORP_SGD, **projection)
    handle.commit()
    used = handle.used(number)
    draws, norms = [], []
    for _ in range(n_draws):
        w[:] = 0
        handle.accumulate(number, G)
        norms.append(handle.step(1.0).grad_norm)
        draws.append(-w.astype(np.float64))
    handle.close()
    return used, np.array(draws), np.array(norms)


def check_moments(library):
    rng = np.random.default_rng(1)
    G = rng.standard_normal((24, 32)).astype(np.float32)
    n = 2000
    for side, kind, (c, r) in itertools.product(SIDES, DISTRIBUTIONS, [(0.5, 2), (1, 1), (4, 2), (8, 1)]):
        used, draws, _ = back_projections(library, G, n, side=SIDES[side], distribution=DISTRIBUTIONS[kind],
                                          **settings(c, r))
        where = f"{side}, {kind}, c {c}, r {r}"
        z = (draws.mean(0) - G) / (draws.std(0) / n**0.5 + 1e-12)
        expect(np.abs(z).max() < 5, f"E Ghat is {np.abs(z).max():.1f} standard errors from G: {where}")
        squares = ((draws - G) ** 2).sum((1, 2)) / (G.astype(np.float64) ** 2).sum()
        expected = (used.d + (1 if kind == "normal" else -1)) / used.r
        error = abs(squares.mean() - expected) / (squares.std() / n**0.5 + 1e-6)
        expect(error < 5, f"variance {squares.mean():.3f} is not {expected:.3f}: {where}")
    print("E Ghat = G and the variances hold within five standard errors")


def check_norm(library):
    rng = np.random.default_rng(2)
    G = (rng.standard_normal((512, 8)) @ rng.standard_normal((8, 256)) + rng.standard_normal((512, 256)))
    true = np.linalg.norm(G)
    for side, kind in itertools.product(SIDES, DISTRIBUTIONS):
        _, _, norms = back_projections(library, G, 100, side=SIDES[side], distribution=DISTRIBUTIONS[kind], budget=64)
        within = int((np.abs(norms / true - 1) < 0.05).sum())
        print(f"norm estimate, M 64, {side}, {kind}: mean {norms.mean() / true:.4f} of the norm, "
              f"{within} of 100 within 5 %")
        expect(abs(norms.mean() / true - 1) < 0.01, f"the norm estimate is off: {side}, {kind}")
        expect(kind != "normal" or within >= 95, f"single norm estimates scatter: {side}, {kind}")


def check_theorem(library):
    """L(W) = tr((W - W*)^T A (W - W*)) / 2, A diagonal with eigenvalues in (0, lipschitz]."""
    shape, steps, runs = (32, 48), 400, 8
    curves = []
    for side, (c, r) in itertools.product(SIDES, [(1, 2), (4, 2), (16, 1), (0.5, 4)]):
        per_step = np.zeros(steps)
        losses = np.zeros(steps + 1)
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            lipschitz = 2.0
            a = np.linspace(0.05, 1, shape[0])[:, None] * lipschitz
            target = rng.standard_normal(shape)
            w = np.zeros(shape, np.float32)
            handle = v.Optimizer(library, seed=seed, update_gap=1)
            number = handle.add("w", w, rule=v.VLORP_SGD, side=SIDES[side], **settings(c, r))
            handle.commit()
            used = handle.used(number)
            # c and M of the theorem are those of the matrix as it is projected
            eta = used.M / ((used.s_dim + used.c + used.M) * lipschitz)
            for step in range(steps):
                gradient = a * (w - target)
                losses[step] += 0.5 * (a * (w - target) ** 2).sum() / runs
                per_step[step] += (gradient**2).sum() / runs
                handle.accumulate(number, gradient)
                handle.step(eta)
            handle.close()
        averages = np.cumsum(per_step) / np.arange(1, steps + 1)
        bound = 2 * losses[0] / (eta * np.arange(1, steps + 1))
        worst = (averages / bound).max()
        expect((averages <= bound).all(), f"Theorem 1: {worst:.2f} of the bound: {side}, c {c}, r {r}")
        print(f"Theorem 1, {side}, c {c}, r {r}: at most {worst:.2f} of the bound, "
              f"{averages[-1] / bound[-1]:.2f} at the end")
        curves.append((f"{side}, c {c}, r {r}", averages, bound))
    return curves


def plot(path, curves):
    """Small panels, log-log, all of one scale: the bound in grey, the realised mean of |grad|^2 in colour."""
    width, height, columns = 260, 180, 4
    parts = []
    steps = len(curves[0][1])
    shown = np.unique(np.geomspace(1, steps, 60).astype(int))
    top = max(np.log10(bound.max()) for _, _, bound in curves)
    bottom = min(np.log10(min(averages.min(), bound.min())) for _, averages, bound in curves)
    for index, (title, averages, bound) in enumerate(curves):
        x0, y0 = index % columns * width + 40, index // columns * height + 30
        xs = np.log10(shown) / np.log10(steps)
        parts.append(f'<text x="{x0}" y="{y0 - 8}">{title}</text><rect x="{x0}" y="{y0}" width="{width - 60}" '
                     f'height="{height - 60}" fill="none" stroke="#bbb"/>')
        for values, colour in [(bound, "#999"), (averages, "#06c")]:
            ys = (top - np.log10(values[shown - 1])) / (top - bottom)
            points = " ".join(f"{x0 + x * (width - 60):.1f},{y0 + y * (height - 60):.1f}" for x, y in zip(xs, ys))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{x0}" y="{y0 + height - 45}" fill="#666">at the end {averages[-1] / bound[-1]:.2f} '
                     'of the bound</text>')
    rows = (len(curves) + columns - 1) // columns
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * width}" height="{rows * height + 20}" '
                   'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
                   + "".join(parts) + f'<text x="40" y="{rows * height + 12}">mean of |grad|^2 over the steps so far '
                   f'(blue) and 2 (L0 - L*) / (eta T) (grey); 1 .. {steps} steps across, '
                   f'10^{bottom:.1f} .. 10^{top:.1f} up</text></svg>\n')


def main():
    library = v.Library(sys.argv[1])
    check_moments(library)
    check_norm(library)
    curves = check_theorem(library)
    if len(sys.argv) > 2:
        plot(sys.argv[2], curves)
    print("FAILED" if failures else "passed")
    return 1 if failures else 0


sys.exit(main())
