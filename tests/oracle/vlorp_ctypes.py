"""libvlorp for the checks here: the Python package's binding, with numpy arrays for memory."""
import ctypes as ct
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python" / "src"))

from vlorp.binding import *  # noqa: E402, F401, F403
from vlorp.binding import BF16, F32, PROJFACTOR, Handle  # noqa: E402


def pointer(array):
    """Valid as long as the caller keeps the array."""
    return ct.c_void_p(array.ctypes.data)


class Optimizer(Handle):
    """One handle over numpy arrays."""

    def __init__(self, library, **settings):
        super().__init__(library, **settings)
        self.kept = []

    def add(self, name, weight, rule=PROJFACTOR, transposed=False, **rest):
        """weight: float32 or uint16 (bfloat16) array [n, m] ([m, n] when transposed), updated in place."""
        assert weight.flags.c_contiguous
        n, m = weight.shape[::-1] if transposed else weight.shape
        self.kept.append(weight)
        return self.add_matrix(name, n, m, dtype=F32 if weight.dtype == np.float32 else BF16,
                               weight=weight.ctypes.data, transposed=transposed, rule=rule, **rest)

    def projection(self, number):
        used = self.used(number)
        p = np.empty((used.d, used.r), np.float32)
        self.call("projection", number, pointer(p))
        return p

    def wants_probe(self, number):
        return self.so.vlorp_optimizer_wants_probe(self.handle, number)

    def probe(self, number, g):
        g = np.ascontiguousarray(g, np.float32)
        self.call("probe", number, pointer(g), ct.c_int64(0))

    def gradient(self, number):
        """The sums as they are stored: float32, or uint16 under bfloat16 state."""
        t = super().gradient(number)
        kind = np.float32 if t.dtype == F32 else np.uint16
        shape = t.shape[:t.n_dims]
        n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer(ct.string_at(t.data, n_bytes), kind).reshape(shape).copy()

    def accumulate(self, number, g):
        g = np.ascontiguousarray(g, np.float32)
        self.call("accumulate", number, pointer(g), ct.c_int64(0))

    def accumulate_factors(self, number, dy, x):
        dy, x = np.ascontiguousarray(dy, np.float32), np.ascontiguousarray(x, np.float32)
        self.call("accumulate_factors", number, pointer(dy), ct.c_int64(0), pointer(x), ct.c_int64(0),
                  ct.c_int64(dy.shape[0]))
