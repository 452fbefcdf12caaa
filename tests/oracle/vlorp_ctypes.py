"""libvlorp's C interface by ctypes, as far as the oracle needs it."""
import ctypes as ct

import numpy as np

F32, BF16 = 0, 1
AUTO, LEFT, RIGHT = 0, 1, 2
NORMAL, RADEMACHER, SVD = 0, 1, 2
PROJFACTOR, ADAMW, VLORP_OS, VLORP_SS, VLORP_SGD, SGD = range(6)
RESET, TRANSPORT, KEEP = 0, 1, 2
STOCHASTIC, NEAREST = 0, 1


class Err(ct.Structure):
    _fields_ = [("code", ct.c_int), ("text", ct.c_char * 768), ("hint", ct.c_char * 384)]


class Projection(ct.Structure):
    _fields_ = [("side", ct.c_int), ("distribution", ct.c_int), ("factor", ct.c_int64), ("rank", ct.c_int64),
                ("budget", ct.c_int64), ("strict", ct.c_bool), ("divisor", ct.c_int64)]


class Used(ct.Structure):
    _fields_ = [("side", ct.c_int), ("c", ct.c_int64), ("r", ct.c_int64), ("d", ct.c_int64), ("M", ct.c_int64),
                ("s_dim", ct.c_int64), ("u_dim", ct.c_int64), ("exact", ct.c_bool), ("adjusted", ct.c_bool),
                ("f", ct.c_int64)]


class Exec(ct.Structure):
    _fields_ = [("for_each", ct.c_void_p), ("ctx", ct.c_void_p), ("n_threads", ct.c_int)]


class Allocator(ct.Structure):
    _fields_ = [("alloc", ct.c_void_p), ("free", ct.c_void_p), ("ctx", ct.c_void_p)]


class Config(ct.Structure):
    _fields_ = [("seed", ct.c_uint64), ("beta1", ct.c_double), ("beta2", ct.c_double), ("eps", ct.c_double),
                ("adamw_eps", ct.c_double), ("scale", ct.c_double), ("update_gap", ct.c_int64),
                ("momentum", ct.c_int), ("rounding", ct.c_int), ("max_tokens", ct.c_int64), ("exec", Exec),
                ("allocator", Allocator), ("all_reduce", ct.c_void_p), ("all_reduce_ctx", ct.c_void_p),
                ("cpu_level", ct.c_char_p), ("state_dtype", ct.c_int)]


class Matrix(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("n", ct.c_int64), ("m", ct.c_int64), ("ld", ct.c_int64), ("dtype", ct.c_int),
                ("transposed", ct.c_bool), ("weight", ct.c_void_p), ("rule", ct.c_int), ("projection", Projection),
                ("lr_factor", ct.c_double), ("weight_decay", ct.c_double)]


class Info(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("n", ct.c_int64), ("m", ct.c_int64), ("is_vector", ct.c_bool),
                ("rule", ct.c_int), ("projection", Used), ("distribution", ct.c_int)]


class Tensor(ct.Structure):
    _fields_ = [("parameter", ct.c_char_p), ("field", ct.c_char_p), ("data", ct.c_void_p), ("dtype", ct.c_int),
                ("n_dims", ct.c_int), ("shape", ct.c_int64 * 3)]


class Step(ct.Structure):
    _fields_ = [("lr", ct.c_double), ("grad_scale", ct.c_double), ("max_grad_norm", ct.c_double)]


class StepResult(ct.Structure):
    _fields_ = [("grad_norm", ct.c_double), ("clip", ct.c_double), ("counted", ct.c_bool)]


class Library:
    def __init__(self, path):
        self.so = ct.CDLL(path)
        self.so.vlorp_optimizer_config_default.restype = Config
        self.so.vlorp_matrix_default.restype = Matrix
        self.so.vlorp_optimizer_wants_probe.restype = ct.c_bool

    def check(self, status, err):
        if status != 0:
            raise RuntimeError(f"status {status}: {err.text.decode()}")


class Optimizer:
    """One handle; parameters are numbered as they are added."""

    def __init__(self, library, **settings):
        self.lib = library
        self.so = library.so
        config = self.so.vlorp_optimizer_config_default()
        for key, value in settings.items():
            setattr(config, key, value)
        self.handle = ct.c_void_p()
        err = Err()
        library.check(self.so.vlorp_optimizer_create(ct.byref(self.handle), ct.byref(config), ct.byref(err)), err)
        self.kept = []

    def call(self, name, *args):
        err = Err()
        status = getattr(self.so, "vlorp_optimizer_" + name)(self.handle, *args, ct.byref(err))
        self.lib.check(status, err)

    def add(self, name, weight, rule=PROJFACTOR, decay=0.0, lr_factor=1.0, transposed=False, **projection):
        """weight: float32 or uint16 (bfloat16) array [n, m] ([m, n] when transposed), updated in place."""
        assert weight.flags.c_contiguous
        m = self.so.vlorp_matrix_default()
        m.name, m.n, m.m = name.encode(), *(weight.shape[::-1] if transposed else weight.shape)
        m.transposed = transposed
        m.dtype = F32 if weight.dtype == np.float32 else BF16
        m.weight = weight.ctypes.data
        m.rule, m.weight_decay, m.lr_factor = rule, decay, lr_factor
        for key, value in projection.items():
            setattr(m.projection, key, value)
        number = ct.c_int()
        self.call("add_matrix", ct.byref(m), ct.byref(number))
        self.kept.append(weight)
        return number.value

    def commit(self):
        self.call("commit")

    def used(self, number):
        info = Info()
        self.call("parameter", number, ct.byref(info))
        return info.projection

    def projection(self, number):
        used = self.used(number)
        p = np.empty((used.d, used.r), np.float32)
        self.call("projection", number, ct.c_void_p(p.ctypes.data))
        return p

    def wants_probe(self, number):
        return self.so.vlorp_optimizer_wants_probe(self.handle, number)

    def probe(self, number, g):
        g = np.ascontiguousarray(g, np.float32)
        self.call("probe", number, ct.c_void_p(g.ctypes.data), ct.c_int64(0))

    def gradient(self, number):
        """The sums as they are stored: float32, or uint16 under bfloat16 state."""
        t = Tensor()
        self.call("gradient", number, ct.byref(t))
        kind = np.float32 if t.dtype == F32 else np.uint16
        shape = t.shape[:t.n_dims]
        n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer(ct.string_at(t.data, n_bytes), kind).reshape(shape).copy()

    def accumulate(self, number, g):
        g = np.ascontiguousarray(g, np.float32)
        self.call("accumulate", number, ct.c_void_p(g.ctypes.data), ct.c_int64(0))

    def accumulate_factors(self, number, dy, x):
        dy, x = np.ascontiguousarray(dy, np.float32), np.ascontiguousarray(x, np.float32)
        self.call("accumulate_factors", number, ct.c_void_p(dy.ctypes.data), ct.c_int64(0),
                  ct.c_void_p(x.ctypes.data), ct.c_int64(0), ct.c_int64(dy.shape[0]))

    def step(self, lr, grad_scale=1.0, max_grad_norm=0.0):
        result = StepResult()
        step = Step(lr, grad_scale, max_grad_norm)
        self.call("step", ct.byref(step), ct.byref(result))
        return result

    def close(self):
        self.so.vlorp_optimizer_free(self.handle)
        self.handle = None
