"""adaptive_budget against the specification in numpy: check_division.py PATH_OF_LIBVLORP.

Exit status: 0 passed, 1 a difference, 77 numpy is missing (1 with VLORP_REQUIRE_ALL=1).
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

import formulas
import vlorp_ctypes as v

LIMIT = 1e-5  # relative norm of one step's update
GRAD_SCALE = 1e-3
SEED = 20250504
GAP = 3
RULES = {"projfactor": v.PROJFACTOR, "vlorp_os": v.VLORP_OS, "vlorp_ss": v.VLORP_SS, "vlorp_sgd": v.VLORP_SGD}
MOMENTS = {"projfactor": 1, "vlorp_os": 0, "vlorp_ss": 2, "vlorp_sgd": 0}  # of S's shape
POLICIES = {"reset": v.RESET, "transport": v.TRANSPORT, "keep": v.KEEP}
DISTRIBUTIONS = {"normal": v.NORMAL, "rademacher": v.RADEMACHER}
# n, m, side, c, r: the last is kept exact at first; the third is stored transposed
MATRICES = [(48, 80, "right", 8, 1), (96, 36, "left", 4, 2), (64, 64, "right", 16, 1), (20, 200, "left", 10, 1),
            (130, 24, "right", 2, 5), (16, 60, "left", 16, 1)]
TRANSPOSED = 2
failures = []


def expect(condition, text):
    if not condition:
        failures.append(text)
        print("FAIL", text)


def pool_bytes(budgets, units, widths):
    """Of S and of each moment apart, every matrix's rounded up to 64 bytes."""
    return [sum(-(-u * M * width // 64) * 64 for u, M in zip(units, budgets)) for width in widths]


def run(library, rule, policy, distribution, narrow):
    rng = np.random.default_rng(SEED)
    handle = v.Optimizer(library, seed=SEED, update_gap=GAP, momentum=POLICIES[policy], adaptive_budget=True,
                         state_dtype=v.BF16 if narrow else v.F32)
    weights = [(rng.standard_normal(shape[:2]) * 1e-6).astype(np.float32) for shape in MATRICES]
    stored = [np.ascontiguousarray(w.T) if i == TRANSPOSED else w for i, w in enumerate(weights)]
    oracles = []
    for i, (n, m, side, c, r) in enumerate(MATRICES):
        handle.add(f"layer.{i}", stored[i], rule=RULES[rule], side=v.LEFT if side == "left" else v.RIGHT, factor=c,
                   rank=r, distribution=DISTRIBUTIONS[distribution], transposed=i == TRANSPOSED)
        oracles.append(formulas.Projected(weights[i], f"layer.{i}", rule, side, handle.used(i), SEED, GAP, policy,
                                          distribution))
    handle.commit()
    registered = [handle.used(i) for i in range(len(MATRICES))]
    units, dims, factors = ([getattr(used, field) for used in registered] for field in ("u_dim", "s_dim", "c"))
    budgets = [used.M for used in registered]
    wide = 2 if narrow else 4
    widths = [wide] + ([wide] if MOMENTS[rule] > 0 else []) + ([4] if MOMENTS[rule] > 1 else [])
    pools = pool_bytes(budgets, units, widths)
    memory = handle.memory()
    sums = np.zeros(len(MATRICES))
    lr = 100.0 if rule == "vlorp_sgd" else 0.01  # updates are read off fp32 weights
    sizes = np.exp(1.5 * rng.standard_normal(len(MATRICES)))
    worst, fill, divisions = 0.0, 1.0, 0
    for step in range(5 * GAP):
        if step % (2 * GAP) == 0:
            sizes = np.exp(1.5 * rng.standard_normal(len(MATRICES)))
        for oracle in oracles:
            oracle.enter_step()
        gradients = [(size * rng.standard_normal(oracle.W.shape)).astype(np.float32)
                     for size, oracle in zip(sizes, oracles)]
        for i, g in enumerate(gradients):
            handle.accumulate(i, g.T if i == TRANSPOSED else g)
        before = [(w.T if i == TRANSPOSED else w).astype(np.float64) for i, w in enumerate(stored)]
        result = handle.step(lr, GRAD_SCALE, 1e-3)
        expect(result.clip < 1, "nothing was clipped")
        for i, (oracle, g) in enumerate(zip(oracles, gradients)):
            mean = GRAD_SCALE * g.astype(np.float64)
            sums[i] += oracle.squared_norm(mean)
            W = oracle.W.copy()
            oracle.step(result.clip * mean, lr)
            after = (stored[i].T if i == TRANSPOSED else stored[i]).astype(np.float64)
            error = np.linalg.norm(after - before[i] - (oracle.W - W)) / np.linalg.norm(oracle.W - W)
            worst = max(worst, error)
            expect(narrow or error <= LIMIT,
                   f"update differs by {error:.2e}: {rule}, {policy}, {distribution}, matrix {i}, step {step}")
        if (step + 1) % GAP != 0:
            expect(result.n_redivided == 0, "divided between two refreshes")
            continue
        if narrow:  # the norms are those of rounded sums: what was chosen need only be a division
            chosen = [handle.used(i).M for i in range(len(MATRICES))]
        else:
            chosen = formulas.divide(sums, dims, units, factors, lambda M: np.array(pool_bytes(M, units, widths)), pools)
        changed = 0
        for i, oracle in enumerate(oracles):
            used = handle.used(i)
            expect(used.M == chosen[i], f"matrix {i} has M {used.M}, not {chosen[i]}: {rule}, {distribution}, step {step}")
            expect(used.c * used.r == used.M and used.c * used.d == dims[i] and used.exact == (used.M == dims[i]),
                   f"matrix {i}: c {used.c}, r {used.r}, d {used.d}")
            if used.M != budgets[i]:
                oracle.reshape(used)
                changed += 1
            budgets[i] = used.M
        taken = pool_bytes(budgets, units, widths)
        expect(all(a <= b for a, b in zip(taken, pools)), f"{taken} bytes where there are {pools}")
        expect(result.n_redivided == changed, f"{result.n_redivided} matrices were said to change, {changed} did")
        fill = min(fill, taken[0] / pools[0])
        divisions += changed > 0
        sums[:] = 0
    expect(divisions >= 3, "hardly anything was divided anew")
    expect(bytes(memory) == bytes(handle.memory()), "a division changed the handle's size")
    handle.close()
    return worst, fill


def main():
    library = v.Library(sys.argv[1])
    worst, fill = 0.0, 1.0
    for rule, policy, distribution in itertools.product(RULES, POLICIES, DISTRIBUTIONS):
        error, full = run(library, rule, policy, distribution, False)
        worst, fill = max(worst, error), min(fill, full)
    for rule in RULES:
        fill = min(fill, run(library, rule, "transport", "normal", True)[1])
    print(f"worst relative error of an update {worst:.2e}; the emptiest pool was full by {100 * fill:.1f} %")
    expect(fill > 0.95, "bytes lie idle")
    print("FAILED" if failures else "passed")
    return 1 if failures else 0


sys.exit(main())
