"""libvlorp's baselines beside the published optimizers: check_exact_rules.py PATH_OF_LIBVLORP.

tools/make_optimizer_golden.py made the values.  Exit status: 0 passed, 1 a difference, 77 numpy is missing (1 with
VLORP_REQUIRE_ALL=1).
"""
import os
import pathlib
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
except ImportError:
    print("SKIP: this Python has no numpy; set VLORP_TEST_PYTHON to one that has")
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

import golden_steps as steps
import vlorp_ctypes as v

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "data" / "exact_rules.npz"
RULES = {"adafactor": v.ADAFACTOR, "adamw8bit": v.ADAMW8BIT, "lomo": v.LOMO}
# Norm of the difference over the norm of all updates so far.  8-bit moments: where a quotient lies between two codes
# to the last bit, one of a few thousand falls to the other side.  lomo's updates here are a thousandth of the weights, and
# both round those to float32.
LIMITS = {"adafactor": 2e-6, "adamw8bit": 1e-4, "lomo": 1e-4}
failures = []


def check(library, golden, rule, level, transposed):
    """transposed: the same memory as a weight stored [m, n], whose m is the golden matrix's n."""
    handle = v.Optimizer(library, cpu_level=level, adamw_eps=1e-8)
    start = steps.weights()
    weights = {name: np.atleast_2d(w).copy() for name, w in start.items()}
    numbers = {name: handle.add(name, w, rule=RULES[rule], transposed=transposed,
                                decay=steps.DECAY if start[name].ndim > 1 or rule == "lomo" else 0.0)
               for name, w in weights.items()}
    handle.commit()
    worst = 0.0
    for k in range(steps.STEPS):
        gradients = steps.gradients(k)
        if rule == "lomo":
            handle.begin_step(steps.lr(k))
        for name, number in numbers.items():
            g = 0.5 * np.atleast_2d(gradients[name])
            for _ in range(2):
                handle.accumulate(number, g)
            if rule == "lomo":
                handle.step_one(number)
        handle.step(steps.lr(k))
        for name, w in weights.items():
            if k + 1 not in steps.STORED:
                continue
            expected = golden[f"{rule}/{name}/{k + 1}"]
            change = np.linalg.norm(expected.astype(np.float64) - start[name])
            error = np.linalg.norm(w.reshape(expected.shape).astype(np.float64) - expected) / change
            worst = max(worst, error)
            if not error <= LIMITS[rule]:
                failures.append(f"{rule}, {name}, step {k + 1}, {level}, transposed {transposed}: {error:.2e}")
                print("FAIL", failures[-1])
    handle.close()
    return worst


def main():
    library = v.Library(sys.argv[1])
    golden = np.load(GOLDEN)
    for rule in RULES:
        worst = max(check(library, golden, rule, level, transposed)
                    for level in (b"ref", b"avx2", None) for transposed in (False, True))
        print(f"{rule}: {steps.STEPS} steps, worst relative error {worst:.2e} against {', '.join(golden['versions'])}")
    print("FAILED" if failures else "passed")
    return 1 if failures else 0


sys.exit(main())
