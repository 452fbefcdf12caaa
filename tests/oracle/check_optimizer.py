"""libvlorp against the specification in numpy: check_optimizer.py PATH_OF_LIBVLORP.

Exit status: 0 passed, 1 a difference, 77 numpy is missing (1 with VLORP_REQUIRE_ALL=1).
"""
import itertools
import os
import sys

try:
    import numpy as np
except ImportError:
    print("SKIP: this Python has no numpy; set VLORP_TEST_PYTHON to one that has")
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

import formulas
import vlorp_ctypes as v

LIMIT = 1e-5  # relative norm of one step's update
SEED = 20250504
SIDES = {"left": v.LEFT, "right": v.RIGHT}
POLICIES = {"reset": v.RESET, "transport": v.TRANSPORT, "keep": v.KEEP}
DISTRIBUTIONS = {"normal": v.NORMAL, "rademacher": v.RADEMACHER}
failures = []


def expect(condition, text):
    if not condition:
        failures.append(text)
        print("FAIL", text)


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def bf16_to_f32(w):
    return (w.astype(np.uint32) << 16).view(np.float32)


def random_gradient(rng, n, m):
    """Rows and columns of different sizes, so that row and column sums matter."""
    g = rng.standard_normal((n, m)) * np.exp(rng.standard_normal((n, 1))) * np.exp(rng.standard_normal((1, m)))
    return g.astype(np.float32)


def oracle_and_handle(library, names, settings, shape, decay, policy, level):
    """A handle with one projected matrix per setting and one AdamW matrix, and their oracles."""
    rng = np.random.default_rng(SEED)
    handle = v.Optimizer(library, seed=SEED, update_gap=7, momentum=POLICIES[policy], max_tokens=16, cpu_level=level)
    oracles, weights, numbers = [], [], []
    for name, (side, c, r, distribution) in zip(names, settings):
        w = (rng.standard_normal(shape) * 1e-3).astype(np.float32)
        number = handle.add(name, w, decay=decay, side=SIDES[side], factor=c, rank=r,
                            distribution=DISTRIBUTIONS[distribution])
        used = handle.used(number)
        oracles.append(formulas.ProjFactor(w, name, side, used.c, used.r, SEED, 7, policy, distribution, decay,
                                           used.exact))
        weights.append(w)
        numbers.append(number)
    w = (rng.standard_normal(shape) * 1e-3).astype(np.float32)
    numbers.append(handle.add("plain.weight", w, rule=v.ADAMW, decay=decay))
    oracles.append(formulas.AdamW(w, decay))
    weights.append(w)
    handle.commit()
    return handle, oracles, weights, numbers, rng


def twenty_steps(library, settings, shape, decay, policy, clip, level):
    names = [f"model.layers.{i}.weight" for i in range(len(settings))]
    handle, oracles, weights, numbers, rng = oracle_and_handle(library, names, settings, shape, decay, policy, level)
    worst = 0.0
    largest = [0.0] * len(numbers)
    for step in range(20):
        lr = 0.01 * (1 - step / 40)
        gradients = [random_gradient(rng, *shape) for _ in numbers]
        for oracle, number in zip(oracles, numbers):
            oracle.enter_step()
            if isinstance(oracle, formulas.ProjFactor):
                p = handle.projection(number)
                expect(np.array_equal(p.view(np.uint32), oracle.P.astype(np.float32).view(np.uint32)),
                       f"P differs: {settings}, step {step}")
        for number, g in zip(numbers, gradients):
            handle.accumulate(number, g)
        before = [w.astype(np.float64) for w in weights]
        oracle_before = [o.W.copy() for o in oracles]
        scale = 0.25
        result = handle.step(lr, scale, clip)
        means = [scale * g.astype(np.float64) for g in gradients]
        norm = sum(o.squared_norm(g) for o, g in zip(oracles, means)) ** 0.5
        expect(abs(result.grad_norm / norm - 1) < 1e-5, f"norm {result.grad_norm} is not {norm}: {settings}")
        coefficient = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        expect(abs(result.clip / coefficient - 1) < 1e-5, f"clip {result.clip} is not {coefficient}")
        for i, (oracle, g) in enumerate(zip(oracles, means)):
            oracle.step(coefficient * g, lr)
            update = oracle.W - oracle_before[i]
            error = np.linalg.norm(weights[i] - before[i] - update)
            # One row or column leaves a single number per slice, which may cancel to nothing in any
            # one step: there the largest update so far is the measure.
            largest[i] = max(largest[i], float(np.linalg.norm(update)))
            error /= largest[i] if min(shape) == 1 else float(np.linalg.norm(update))
            worst = max(worst, error)
            where = settings[i] if i < len(settings) else "adamw"
            expect(error <= LIMIT, f"update differs by {error:.2e}: {where}, {policy}, {shape}, step {step}, {level}")
    handle.close()
    return worst


def check_updates(library, level):
    worst = 0.0
    shape = (48, 80)
    for policy, distribution in itertools.product(POLICIES, DISTRIBUTIONS):
        settings = [(side, c, r, distribution) for side in SIDES for c, r in
                    [(1, 1), (1, 8), (1, 20), (4, 1), (4, 2), (4, 8), (16, 1), (16, 2), (64, 1), (7, 4), (16, 8)]]
        worst = max(worst, twenty_steps(library, settings, shape, 0.1, policy, 0.0, level))
    for shape in [(1, 16), (16, 1), (37, 53), (130, 300)]:
        settings = [(side, c, r, "normal") for side in SIDES for c, r in [(1, 1), (2, 3), (8, 1)]]
        worst = max(worst, twenty_steps(library, settings, shape, 0.0, "reset", 0.5, level))
    print(f"{level or 'best'}: 20 steps of projfactor and adamw, worst relative error of an update {worst:.2e}")


def check_factors(library):
    """S from (dY, X) equals S from the formed G."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for side, (c, r) in itertools.product(SIDES, [(16, 1), (4, 4), (1, 20), (2, 16), (64, 8)]):
        updated = []
        for formed in (False, True):
            rng = np.random.default_rng(2)
            w = np.zeros((48, 80), np.float32)
            handle = v.Optimizer(library, max_tokens=16)
            number = handle.add("w", w, side=SIDES[side], factor=c, rank=r)
            handle.commit()
            for tokens in (16, 5, 1):
                dy = rng.standard_normal((tokens, 48)).astype(np.float32)
                x = rng.standard_normal((tokens, 80)).astype(np.float32)
                if formed:
                    handle.accumulate(number, dy.astype(np.float64).T @ x)
                else:
                    handle.accumulate_factors(number, dy, x)
            handle.step(0.01)
            updated.append(w.copy())
            handle.close()
        worst = max(worst, relative(updated[0].astype(np.float64), updated[1].astype(np.float64)))
    print(f"factors against formed gradients: {worst:.2e}")
    expect(worst <= 1e-5, "factors and formed gradients disagree")


def check_rounding(library):
    """bf16 weights: one step equals numpy's stochastic rounding of the fp32 result, bit for bit."""
    rng = np.random.default_rng(3)
    shape = (9, 300)
    start = (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    g = random_gradient(rng, *shape)
    for rule, settings in [(v.PROJFACTOR, dict(side=v.RIGHT, factor=4, rank=1)),
                           (v.PROJFACTOR, dict(side=v.LEFT, factor=3, rank=1)), (v.ADAMW, {})]:
        wide, narrow = bf16_to_f32(start).copy(), start.copy()
        for w in (wide, narrow):
            handle = v.Optimizer(library, seed=5, rounding=v.STOCHASTIC)
            number = handle.add("rounded.weight", w, rule=rule, **settings)
            handle.commit()
            handle.accumulate(number, g)
            handle.step(1e-3)
            handle.close()
        draws = formulas.rounding_draws(5, "rounded.weight", 1, *shape)
        expected = ((wide.view(np.uint32) + draws) >> 16).astype(np.uint16)
        expect(np.array_equal(expected, narrow), f"stochastic rounding differs: rule {rule}, {settings}")
        expect(not np.array_equal(expected, start), "the rounding test changed nothing")


def main():
    library = v.Library(sys.argv[1])
    for level in (b"ref", b"avx2", None):
        check_updates(library, level)
    check_factors(library)
    check_rounding(library)
    print("FAILED" if failures else "passed")
    return 1 if failures else 0


sys.exit(main())
