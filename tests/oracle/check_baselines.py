"""libvlorp's galore, fira, apollo, apollo_mini and flora against the packages of their authors, by the twenty steps
that tests/golden/make_baselines.py recorded: check_baselines.py PATH_OF_LIBVLORP.

Exit status: 0 passed, 1 a difference, 77 numpy is missing (1 with VLORP_REQUIRE_ALL=1).
"""
import os
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    print("SKIP: this Python has no numpy; set VLORP_TEST_PYTHON to one that has")
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

import vlorp_ctypes as v

LIMIT = 1e-4  # of the way that a weight has gone
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "data" / "baselines.npz"
# rule, rank, distribution, scale: those of make_baselines.py
RULES = {"galore": (v.GALORE, 3, v.SVD, 0.25), "fira": (v.FIRA, 3, v.SVD, 0.25), "apollo": (v.APOLLO, 3, v.NORMAL, 4.0),
         "apollo_mini": (v.APOLLO_MINI, 1, v.NORMAL, 128.0), "flora": (v.FLORA, 3, v.NORMAL, 1.0)}


def worst_error(library, golden, name, rule, transposed):
    number, rank, distribution, scale = RULES[rule]
    start = golden[f"{name}.start"]
    handle = v.Optimizer(library, seed=42, update_gap=7, scale=scale)
    weight = np.ascontiguousarray(start.T if transposed else start).copy()
    handle.add(name, weight, rule=number, factor=1, rank=rank, distribution=distribution, decay=0.1,
               transposed=transposed)
    handle.commit()
    wanted = dict(zip(golden["kept"], golden[f"{name}.{rule}"]))
    worst = 0.0
    for step, g in enumerate(golden[f"{name}.gradients"]):
        g = g.T if transposed else g
        if handle.wants_probe(0):
            handle.probe(0, g)
        handle.accumulate(0, g)
        handle.step(0.01)
        if step + 1 in wanted:
            way = wanted[step + 1].astype(np.float64) - start
            gone = (weight.T if transposed else weight).astype(np.float64) - start
            worst = max(worst, float(np.linalg.norm(gone - way) / np.linalg.norm(way)))
    handle.close()
    return worst


def main():
    library = v.Library(sys.argv[1])
    golden = np.load(GOLDEN)
    errors = {rule: max(worst_error(library, golden, name, rule, transposed)
                        for name in ("left.weight", "right.weight") for transposed in (False, True))
              for rule in RULES}
    for rule, error in errors.items():
        print(f"{rule}: within {error:.1e} of the package after 20 steps", "" if error <= LIMIT else "FAIL")
    return 0 if max(errors.values()) <= LIMIT else 1


sys.exit(main())
