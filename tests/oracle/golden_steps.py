"""The inputs of tests/golden/data/exact_rules.npz, for the script that makes it and for the one that compares.

RandomState's streams are frozen by numpy, so neither weights nor gradients have to be stored.
"""
import numpy as np

STEPS = 20
STORED = (1, 20)  # steps whose weights are in the file
DECAY = 0.1
# name: shape; the first is large enough for 8-bit moments, and its rows are no multiple of their blocks
SHAPES = {"wide": (50, 83), "tall": (45, 30), "small": (7, 30), "vector": (45,)}


def lr(step):
    return 0.01 * (1 - step / 40)


def weights():
    rng = np.random.RandomState(11)
    return {name: (0.1 * rng.standard_normal(shape)).astype(np.float32) for name, shape in SHAPES.items()}


def gradients(step):
    """Rows and columns of different sizes, a row and a column of zeros, as an embedding has them."""
    rng = np.random.RandomState(100 + step)
    out = {}
    for name, shape in SHAPES.items():
        g = 1e-3 * rng.standard_normal(shape)
        if len(shape) == 2:
            g *= np.exp(0.5 * rng.standard_normal((shape[0], 1))) * np.exp(0.5 * rng.standard_normal((1, shape[1])))
            g[step % 3] = 0
            g[:, 2] = 0
        out[name] = g.astype(np.float32)
    return out
