"""libvlorp against the specification in numpy: check_optimizer.py PATH_OF_LIBVLORP.

Exit status: 0 passed, 1 a difference, 77 numpy is missing (1 with VLORP_REQUIRE_ALL=1).
"""
import ctypes as ct
import itertools
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
except ImportError:
    print("SKIP: this Python has no numpy; set VLORP_TEST_PYTHON to one that has")
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

import formulas
import vlorp_ctypes as v

LIMIT = 1e-5  # relative norm of one step's update
LIMIT_OF_RATIOS = 1e-3  # where it is a ratio to a single number per channel, which may cancel to almost nothing
# Mean gradients are of a model's size.  That matters to Adam's rules: their first steps are nearly
# sign(Ghat), and only eps keeps entries of Ghat that cancel to almost nothing, with few correct bits, small.
GRAD_SCALE = 1e-3
SEED = 20250504
GAP = 7
SIDES = {"left": v.LEFT, "right": v.RIGHT}
POLICIES = {"reset": v.RESET, "transport": v.TRANSPORT, "keep": v.KEEP}
DISTRIBUTIONS = {"normal": v.NORMAL, "rademacher": v.RADEMACHER, "svd": v.SVD}
RULES = {"projfactor": v.PROJFACTOR, "vlorp_os": v.VLORP_OS, "vlorp_ss": v.VLORP_SS, "vlorp_sgd": v.VLORP_SGD}
# The published baselines, which leave the momentum policy out and take factors from 1 on.
BASELINES = {"galore": v.GALORE, "fira": v.FIRA, "apollo": v.APOLLO, "apollo_mini": v.APOLLO_MINI, "flora": v.FLORA}
LATE = ("fira", "apollo", "apollo_mini")  # the whole gradient is kept
ORACLES = {"flora": formulas.Flora, **{rule: formulas.Whole for rule in LATE}}
ALPHA = 0.25
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


class Row:
    """One matrix of a handle, its oracle, and what is asked for it."""

    def __init__(self, handle, rng, index, shape, setting, rule, policy, decay, size):
        self.setting = setting
        self.is_late = rule in LATE
        self.is_ratio = rule in ("fira", "apollo") and setting is not None and setting[1] * setting[2] == 1
        self.weight = (rng.standard_normal(shape) * size).astype(np.float32)
        name = f"model.layers.{index}.weight"
        self.transposed = False
        if setting is None:
            self.number = handle.add(name, self.weight, rule=rule, decay=decay)
            self.oracle = (formulas.AdamW if rule == v.ADAMW else formulas.Sgd)(self.weight, decay)
            return
        side, c, r, distribution = setting[:4]
        self.transposed = len(setting) > 4
        stored = np.ascontiguousarray(self.weight.T) if self.transposed else self.weight
        self.number = handle.add(name, stored, rule={**RULES, **BASELINES}[rule], decay=decay,
                                 transposed=self.transposed, side=SIDES[side], factor=max(1, int(c)), rank=r,
                                 divisor=int(1 / c) if c < 1 else 0, distribution=DISTRIBUTIONS[distribution])
        kind, alpha = ORACLES.get(rule, formulas.Projected), ALPHA if rule in BASELINES else 1.0
        if rule == "galore":
            rule, policy = "vlorp_ss", "keep"
        self.oracle = kind(self.weight, name, rule, side, handle.used(self.number), SEED, GAP, policy, distribution,
                           decay, alpha=alpha)
        self.weight = stored

    def view(self):
        return (self.weight.T if self.transposed else self.weight).astype(np.float64)

    def enter_step(self, handle, gradient):
        o = self.oracle
        if self.setting is None:
            return
        if not (o.distribution == "svd" and not o.exact):
            o.enter_step()
            p = handle.projection(self.number)
            expect(np.array_equal(p.view(np.uint32), o.P.astype(np.float32).view(np.uint32)),
                   f"P differs: {self.setting}, step {o.t}")
            return
        expect(handle.wants_probe(self.number) == (o.due() and not self.is_late),
               f"wants_probe is wrong: {self.setting}, step {o.t}")
        if o.due() and not self.is_late:
            handle.probe(self.number, gradient.T if self.transposed else gradient)
            p = handle.projection(self.number).astype(np.float64)
            check_basis(p, gradient, o, self.setting)
            o.enter_step(p)


    def end_step(self, handle, gradient):
        """P of a late rule is of the step's own gradient."""
        if self.is_late and self.oracle.distribution == "svd" and not self.oracle.exact and self.oracle.due():
            p = handle.projection(self.number).astype(np.float64)
            check_basis(p, gradient, self.oracle, self.setting)
            self.oracle.enter_step(p)


def check_basis(P, G, o, setting):
    """P holds orthonormal eigenvectors of the leading eigenvalues, the largest entry of each positive."""
    R = formulas.reread(G.astype(np.float64), o.side, o.f)
    R = R.reshape(-1, o.d) if o.side == "right" else R.reshape(o.d, -1).T
    gram = R.T @ R
    values = np.linalg.eigvalsh(gram)[::-1]
    residual = gram @ P - P * values[:o.r]
    expect(np.abs(P.T @ P - np.eye(o.r)).max() < 1e-6, f"the basis is not orthonormal: {setting}")
    expect(np.abs(residual).max() < 1e-5 * values[0], f"the basis is not the leading one: {setting}")
    expect((P[np.abs(P).argmax(0), np.arange(o.r)] > 0).all(), f"a vector has the wrong sign: {setting}")


def twenty_steps(library, settings, shape, decay, rule, policy, clip, level):
    """One handle over all settings, an adamw and an sgd matrix beside them."""
    rng = np.random.default_rng(SEED)
    handle = v.Optimizer(library, seed=SEED, update_gap=GAP, momentum=POLICIES[policy], max_tokens=16,
                         cpu_level=level, scale=ALPHA if rule in BASELINES else 1.0)
    size = 1e-6  # small beside the updates, which are read off the fp32 weights
    rows = [Row(handle, rng, i, shape, s, rule, policy, decay, size) for i, s in enumerate(settings)]
    rows += [Row(handle, rng, len(rows) + i, shape, None, plain, policy, decay, size)
             for i, plain in enumerate([v.ADAMW, v.SGD])]
    handle.commit()
    worst = 0.0
    largest = [0.0] * len(rows)
    for step in range(20):
        lr = 0.01 * (1 - step / 40)
        gradients = [random_gradient(rng, *shape) for _ in rows]
        for row, g in zip(rows, gradients):
            row.enter_step(handle, g)
        for row, g in zip(rows, gradients):
            handle.accumulate(row.number, g.T if row.transposed else g)
        before = [(row.view(), row.oracle.W.copy()) for row in rows]
        result = handle.step(lr, GRAD_SCALE, clip)
        means = [GRAD_SCALE * g.astype(np.float64) for g in gradients]
        norm = sum(row.oracle.squared_norm(g) for row, g in zip(rows, means)) ** 0.5
        expect(abs(result.grad_norm / norm - 1) < 1e-5, f"norm {result.grad_norm} is not {norm}: {rule}, {policy}")
        coefficient = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        expect(abs(result.clip / coefficient - 1) < 1e-5, f"clip {result.clip} is not {coefficient}")
        for i, (row, g) in enumerate(zip(rows, means)):
            if row.setting is not None:
                row.end_step(handle, g)
            row.oracle.step(coefficient * g, lr)
            update = row.oracle.W - before[i][1]
            error = np.linalg.norm(row.view() - before[i][0] - update)
            # One row or column leaves a single number per slice, which may cancel to nothing in any
            # one step: there the largest update so far is the measure.
            largest[i] = max(largest[i], float(np.linalg.norm(update)))
            error /= largest[i] if min(shape) == 1 else float(np.linalg.norm(update))
            worst = max(worst, error)
            where = row.setting or "adamw or sgd"
            limit = LIMIT_OF_RATIOS if row.is_ratio else LIMIT
            expect(error <= limit,
                   f"update differs by {error:.2e}: {rule}, {where}, {policy}, {shape}, step {step}, {level}")
    handle.close()
    return worst


def check_grid(library):
    """Every rule x projector x side x c x r x momentum policy."""
    worst = 0.0
    n = 0
    for rule, policy in itertools.product(RULES, POLICIES):
        small, large = [], []
        for side, distribution, c, r in itertools.product(SIDES, DISTRIBUTIONS, [0.25, 1, 4, 16], [1, 2, 8]):
            (large if c * r >= 32 else small).append((side, c, r, distribution))
        n += len(small) + len(large)
        worst = max(worst, twenty_steps(library, small, (32, 48), 0.1, rule, policy, 0.0, None))
        worst = max(worst, twenty_steps(library, large, (144, 160), 0.0, rule, policy, 2e-3, None))
    print(f"grid: 20 steps of {n} settings, worst relative error of an update {worst:.2e}")


def check_baselines(library, level):
    """galore, fira, apollo, apollo_mini and flora: both sides, any c >= 1, every distribution, transposed weights."""
    worst = {}
    for rule, (shape, clip) in itertools.product(BASELINES, [((48, 80), 2e-3), ((130, 37), 0.0)]):
        kinds = [kind for kind in DISTRIBUTIONS if (rule, kind) != ("flora", "svd")]
        settings = [(side, c, r, kind, *how) for side, (c, r), kind, how in itertools.product(
            SIDES, [(1, 1), (1, 20), (4, 2), (64, 8)], kinds, [(), ("transposed",)])]
        error = twenty_steps(library, settings, shape, 0.1, rule, "keep", clip, level)
        worst[rule] = max(worst.get(rule, 0.0), error)
    print(f"{level or 'best'}: 20 steps of baselines, worst relative error of an update",
          ", ".join(f"{rule} {error:.1e}" for rule, error in worst.items()))


def check_updates(library, level):
    worst = 0.0
    shape = (48, 80)
    pairs = list(zip(itertools.cycle(POLICIES), RULES))
    for (policy, rule), distribution in itertools.product(pairs, ["normal", "rademacher"]):
        settings = [(side, c, r, distribution) for side in SIDES for c, r in
                    [(0.5, 3), (0.25, 20), (1, 1), (1, 20), (4, 2), (16, 1), (64, 1), (7, 4), (16, 8)]]
        worst = max(worst, twenty_steps(library, settings, shape, 0.1, rule, policy, 0.0, level))
    for shape in [(1, 16), (16, 1), (37, 53), (130, 300)]:
        settings = [(side, c, r, "normal") for side in SIDES for c, r in [(1, 1), (2, 3), (8, 1)]]
        worst = max(worst, twenty_steps(library, settings, shape, 0.0, "projfactor", "reset", 2e-3, level))
    for rule, shape in itertools.product(RULES, [(48, 80), (130, 37)]):
        settings = [(side, c, r, distribution, "transposed") for side in SIDES for c, r, distribution in
                    [(1, 3, "normal"), (2, 2, "svd"), (8, 1, "rademacher"), (64, 8, "normal")]]
        worst = max(worst, twenty_steps(library, settings, shape, 0.1, rule, "reset", 0.0, level))
    print(f"{level or 'best'}: 20 steps, worst relative error of an update {worst:.2e}")


def check_factors(library):
    """S from (dY, X) equals S from the formed G, whatever the storage."""
    worst = 0.0
    cases = [(16, 1), (4, 4), (1, 20), (2, 16), (64, 8), (0.5, 3), (0.25, 6), (0.125, 2)]
    for side, (c, r), transposed in itertools.product(SIDES, cases, [False, True]):
        if transposed and c < 1:
            continue
        sums = []
        for formed in (False, True):
            rng = np.random.default_rng(2)
            handle = v.Optimizer(library, max_tokens=16)
            number = handle.add("w", np.zeros((80, 48) if transposed else (48, 80), np.float32), side=SIDES[side],
                                factor=max(1, int(c)), rank=r, divisor=int(1 / c) if c < 1 else 0,
                                transposed=transposed)
            handle.commit()
            for tokens in (16, 5, 1):
                dy = rng.standard_normal((tokens, 48)).astype(np.float32)
                x = rng.standard_normal((tokens, 80)).astype(np.float32)
                g = dy.astype(np.float64).T @ x
                if formed:
                    handle.accumulate(number, g.T if transposed else g)
                else:
                    handle.accumulate_factors(number, dy, x)
            sums.append(handle.gradient(number).astype(np.float64))
            handle.close()
        worst = max(worst, relative(sums[0], sums[1]))
    print(f"factors against formed gradients: {worst:.2e}")
    expect(worst <= 1e-6, "factors and formed gradients disagree")


def check_rounding(library):
    """bf16 weights: one step equals numpy's stochastic rounding of the fp32 result, bit for bit."""
    rng = np.random.default_rng(3)
    shape = (16, 300)  # large enough for 8-bit moments
    start = (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    g = random_gradient(rng, *shape)
    fine = [dict(side=v.RIGHT, factor=4, rank=1), dict(side=v.LEFT, factor=3, rank=1)]
    cases = [(rule, settings) for rule in RULES.values() for settings in fine]
    cases += [(v.PROJFACTOR, dict(side=v.RIGHT, factor=1, rank=2, divisor=3)),
              (v.VLORP_SGD, dict(side=v.LEFT, factor=1, rank=2, divisor=2)), (v.ADAMW, {}), (v.SGD, {}),
              (v.ADAFACTOR, {}), (v.ADAMW8BIT, {}),
              (v.PROJFACTOR, dict(side=v.RIGHT, factor=1, rank=2, transposed=True))]
    cases += [(rule, settings) for rule in BASELINES.values() for settings in fine]
    for rule, settings in cases:
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


def to_bf16(x, draws):
    return ((np.ascontiguousarray(x, np.float32).view(np.uint32) + draws.reshape(x.shape)) >> 16).astype(np.uint16)


def check_narrow_state(library):
    """bf16 S and m_s: stored bit for bit as rng.h says, and twenty steps near those of fp32 state."""
    rng = np.random.default_rng(4)
    shape = (48, 80)
    worst = 0.0
    for rule, side, (c, r) in itertools.product(RULES, SIDES, [(0.5, 3), (4, 2), (16, 1)]):
        setting = dict(rule=RULES[rule], side=SIDES[side], factor=max(1, int(c)), rank=r,
                       divisor=int(1 / c) if c < 1 else 0)
        weights = [np.zeros(shape, np.float32) for _ in range(2)]
        wide, narrow = [v.Optimizer(library, seed=9, update_gap=GAP, state_dtype=kind) for kind in (v.F32, v.BF16)]
        for handle, w in zip((wide, narrow), weights):
            handle.add("narrow.weight", w, **setting)
            handle.commit()
        for step in range(20):
            g = random_gradient(rng, *shape)
            for part in range(2):
                before = bf16_to_f32(narrow.gradient(0)) if part else 0
                lone = v.Optimizer(library, seed=9, update_gap=GAP)
                lone.add("narrow.weight", weights[0].copy(), **setting)
                lone.commit()
                lone.so.vlorp_optimizer_set_steps_taken(lone.handle, ct.c_int64(step), None)
                lone.accumulate(0, g)
                for handle in (wide, narrow):
                    handle.accumulate(0, g)
                if part == 0:
                    sums = lone.gradient(0)
                    draws = formulas.rounding_draws(9, "narrow.weight", step + 1, 1, sums.size, 7, 0)
                    expect(np.array_equal(narrow.gradient(0), to_bf16(sums, draws)),
                           f"S is not rounded as stated: {rule}, {side}, {c}, {r}, step {step}")
                else:
                    after = bf16_to_f32(narrow.gradient(0))
                    size = np.abs(before) + np.abs(after)
                    expect((np.abs(after - before - lone.gradient(0)) <= size / 100 + 1e-30).all(),
                           f"S is not added up: {rule}, {side}, {c}, {r}, step {step}")
                lone.close()
            for handle in (wide, narrow):
                handle.step(0.01, GRAD_SCALE)
        worst = max(worst, relative(weights[1].astype(np.float64), weights[0].astype(np.float64)))
        wide.close()
        narrow.close()
    print(f"bf16 state: weights after 20 steps within {worst:.2e} of those with fp32 state")
    expect(worst < 0.03, "bf16 state strays")


def main():
    library = v.Library(sys.argv[1])
    check_grid(library)
    for level in (b"ref", b"avx2", None):
        check_updates(library, level)
    for level in (b"ref", None):
        check_baselines(library, level)
    check_factors(library)
    check_rounding(library)
    check_narrow_state(library)
    print("FAILED" if failures else "passed")
    return 1 if failures else 0


sys.exit(main())
