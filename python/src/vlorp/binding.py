"""libvlorp's C interface by ctypes: structures, one handle, and the threads it runs on.

Needs no torch and no numpy: memory is handed over as addresses.  The shared libraries are those beside this package, or
those in the folder that the environment variable ``VLORP_LIBRARY_DIR`` names (a build of the source tree).
The headers under ``include/vlorp`` say what the fields mean.
"""

from __future__ import annotations

import ctypes as ct
import os
from pathlib import Path
from typing import Any

F32, BF16 = 0, 1
AUTO, LEFT, RIGHT = 0, 1, 2
NORMAL, RADEMACHER, SVD = 0, 1, 2
PROJFACTOR, ADAMW, VLORP_OS, VLORP_SS, VLORP_SGD, SGD, ADAFACTOR, ADAMW8BIT = range(8)
GALORE, FIRA, APOLLO, APOLLO_MINI, FLORA, LOMO = range(8, 14)
RESET, TRANSPORT, KEEP = 0, 1, 2
STOCHASTIC, NEAREST = 0, 1
CONSTANT, LINEAR, COSINE, COSINE_RESTARTS = range(4)
E_NUMERIC = -8


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
                ("cpu_level", ct.c_char_p), ("state_dtype", ct.c_int),
                ("adaptive_budget", ct.c_bool)]


class Matrix(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("n", ct.c_int64), ("m", ct.c_int64), ("ld", ct.c_int64), ("dtype", ct.c_int),
                ("transposed", ct.c_bool), ("weight", ct.c_void_p), ("rule", ct.c_int), ("projection", Projection),
                ("lr_factor", ct.c_double), ("weight_decay", ct.c_double), ("lent_gradient", ct.c_bool),
                ("keeps_gradient", ct.c_bool)]


class Vector(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("n", ct.c_int64), ("dtype", ct.c_int), ("weight", ct.c_void_p),
                ("lr_factor", ct.c_double), ("lent_gradient", ct.c_bool)]


class Info(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("n", ct.c_int64), ("m", ct.c_int64), ("is_vector", ct.c_bool),
                ("rule", ct.c_int), ("projection", Used), ("distribution", ct.c_int)]


class Tensor(ct.Structure):
    _fields_ = [("parameter", ct.c_char_p), ("field", ct.c_char_p), ("data", ct.c_void_p), ("dtype", ct.c_int),
                ("n_dims", ct.c_int), ("shape", ct.c_int64 * 3)]


class Step(ct.Structure):
    _fields_ = [("lr", ct.c_double), ("grad_scale", ct.c_double), ("max_grad_norm", ct.c_double)]


class StepResult(ct.Structure):
    _fields_ = [("grad_norm", ct.c_double), ("clip", ct.c_double), ("counted", ct.c_bool),
                ("n_redivided", ct.c_int64)]


class Schedule(ct.Structure):
    _fields_ = [("kind", ct.c_int), ("lr", ct.c_double), ("n_steps", ct.c_int64), ("warmup_steps", ct.c_int64),
                ("min_lr_ratio", ct.c_double), ("n_cycles", ct.c_int64)]


class Memory(ct.Structure):
    _fields_ = [("bytes", ct.c_size_t * 5), ("n_blocks", ct.c_int64 * 5)]


class VlorpError(RuntimeError):
    """What libvlorp refused, in its own words; ``code`` is its status."""

    def __init__(self, code: int, text: str, hint: str = "") -> None:
        super().__init__(f"{text} ({hint})" if hint else text)
        self.code = code


def library_path(name: str) -> Path:
    """Where the shared library ``name`` is; ImportError says what to do when it is not there."""
    folder = Path(os.environ.get("VLORP_LIBRARY_DIR") or Path(__file__).with_name("lib"))
    for file in (f"lib{name}.so", f"lib{name}.dylib"):
        if (folder / file).exists():
            return folder / file
    raise ImportError(f"there is no lib{name} in {folder}: install the package (pip install ./python), or let "
                      "VLORP_LIBRARY_DIR name a folder with a build of libvlorp")


class Library:
    """libvlorp, loaded."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.so = ct.CDLL(os.fspath(path if path is not None else library_path("vlorp")))
        self.so.vlorp_version.restype = ct.c_char_p
        self.so.vlorp_optimizer_config_default.restype = Config
        self.so.vlorp_matrix_default.restype = Matrix
        self.so.vlorp_vector_default.restype = Vector
        self.so.vlorp_projection_default.restype = Projection
        self.so.vlorp_schedule_default.restype = Schedule
        self.so.vlorp_schedule_lr.restype = ct.c_double
        self.so.vlorp_optimizer_wants_probe.restype = ct.c_bool
        self.so.vlorp_optimizer_steps_taken.restype = ct.c_int64
        self.so.vlorp_optimizer_free.restype = None
        self.so.vlorp_optimizer_free.argtypes = [ct.c_void_p]

    def check(self, status: int, err: Err) -> None:
        if status != 0:
            raise VlorpError(status, err.text.decode(errors="replace"), err.hint.decode(errors="replace"))

    def resolve(self, name: str, n: int, m: int, **asked: Any) -> Used:
        """The settings that a matrix [n, m] gets when ``asked`` (fields of Projection) is asked."""
        projection = self.so.vlorp_projection_default()
        for key, value in asked.items():
            setattr(projection, key, value)
        used, err = Used(), Err()
        self.check(self.so.vlorp_projection_resolve(ct.byref(used), ct.byref(projection), name.encode(),
                                                    ct.c_int64(n), ct.c_int64(m), ct.byref(err)), err)
        return used

    def projection_fill(self, address: int, used: Used, distribution: int, seed: int, name: str, refresh: int) -> None:
        """Writes P [d, r] in float32 to address."""
        self.so.vlorp_projection_fill(ct.c_void_p(address), ct.byref(used), distribution, ct.c_uint64(seed),
                                      name.encode(), ct.c_uint64(refresh))

    def schedule_lr(self, schedule: Schedule, step: int) -> float:
        return float(self.so.vlorp_schedule_lr(ct.byref(schedule), ct.c_int64(step)))


class Pool:
    """Threads for one handle at a time, asleep between its loops; ``exec`` goes into its configuration."""

    def __init__(self, n_threads: int, path: str | os.PathLike[str] | None = None) -> None:
        so = ct.CDLL(os.fspath(path if path is not None else library_path("vlorp_pool")))
        so.vlorp_pool_create.restype = ct.c_void_p
        so.vlorp_pool_exec.restype = Exec
        so.vlorp_pool_exec.argtypes = [ct.c_void_p]
        so.vlorp_pool_free.restype = None
        so.vlorp_pool_free.argtypes = [ct.c_void_p]
        self._free = so.vlorp_pool_free
        self._pool: int | None = so.vlorp_pool_create(n_threads)
        if not self._pool:
            raise MemoryError("no memory for threads")
        self.exec: Exec = so.vlorp_pool_exec(self._pool)

    def __del__(self) -> None:
        if getattr(self, "_pool", None):
            self._free(self._pool)
            self._pool = None


class Handle:
    """One vlorp_optimizer; parameters are numbered as they are added.  Weights and lent gradients are borrowed."""

    def __init__(self, library: Library, *, pool: Pool | None = None, **settings: Any) -> None:
        self.lib = library
        self.so = library.so
        self.handle = ct.c_void_p()
        self.pool = pool
        config = self.so.vlorp_optimizer_config_default()
        for key, value in settings.items():
            setattr(config, key, value)
        if pool is not None:
            config.exec = pool.exec
        err = Err()
        library.check(self.so.vlorp_optimizer_create(ct.byref(self.handle), ct.byref(config), ct.byref(err)), err)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if getattr(self, "handle", None):
            self.so.vlorp_optimizer_free(self.handle)
            self.handle = ct.c_void_p()

    def call(self, name: str, *args: Any) -> None:
        err = Err()
        status = getattr(self.so, "vlorp_optimizer_" + name)(self.handle, *args, ct.byref(err))
        self.lib.check(status, err)

    def add_matrix(self, name: str, n: int, m: int, *, dtype: int, weight: int | None = None, ld: int = 0,
                   transposed: bool = False, rule: int = PROJFACTOR, decay: float = 0.0, lr_factor: float = 1.0,
                   lent_gradient: bool = False, **projection: Any) -> int:
        """Registers a weight at the address ``weight``; ``projection`` are fields of Projection."""
        x = self.so.vlorp_matrix_default()
        x.name, x.n, x.m, x.ld, x.dtype, x.transposed, x.weight = name.encode(), n, m, ld, dtype, transposed, weight
        x.rule, x.weight_decay, x.lr_factor, x.lent_gradient = rule, decay, lr_factor, lent_gradient
        for key, value in projection.items():
            setattr(x.projection, key, value)
        number = ct.c_int()
        self.call("add_matrix", ct.byref(x), ct.byref(number))
        return number.value

    def add_vector(self, name: str, n: int, *, dtype: int, weight: int | None = None, lr_factor: float = 1.0,
                   lent_gradient: bool = False) -> int:
        x = self.so.vlorp_vector_default()
        x.name, x.n, x.dtype, x.weight, x.lr_factor = name.encode(), n, dtype, weight, lr_factor
        x.lent_gradient = lent_gradient
        number = ct.c_int()
        self.call("add_vector", ct.byref(x), ct.byref(number))
        return number.value

    def commit(self) -> None:
        self.call("commit")

    def used(self, number: int) -> Used:
        info = Info()
        self.call("parameter", number, ct.byref(info))
        used: Used = info.projection
        return used

    def set_weight(self, number: int, address: int) -> None:
        self.call("set_weight", number, ct.c_void_p(address))

    def lend_gradient(self, number: int, address: int, dtype: int) -> None:
        self.call("lend_gradient", number, ct.c_void_p(address), dtype)

    def gradient(self, number: int) -> Tensor:
        """The sums of a parameter; its memory is the handle's."""
        tensor = Tensor()
        self.call("gradient", number, ct.byref(tensor))
        return tensor

    def tensors(self) -> list[Tensor]:
        """The state; its memory is the handle's."""
        found = []
        for index in range(self.so.vlorp_optimizer_n_tensors(self.handle)):
            tensor = Tensor()
            self.call("tensor", index, ct.byref(tensor))
            found.append(tensor)
        return found

    def memory(self) -> int:
        """Bytes that the handle holds, or will after commit."""
        use = Memory()
        self.call("memory_use", ct.byref(use))
        return int(sum(use.bytes))

    @property
    def steps_taken(self) -> int:
        return int(self.so.vlorp_optimizer_steps_taken(self.handle))

    @steps_taken.setter
    def steps_taken(self, steps: int) -> None:
        self.call("set_steps_taken", ct.c_int64(steps))

    def discard(self) -> None:
        self.call("discard")

    def begin_step(self, lr: float, grad_scale: float = 1.0) -> None:
        """Under lomo, before the step's first gradient; step is then given the same numbers."""
        self.call("begin_step", ct.byref(Step(lr, grad_scale, 0.0)))

    def step_one(self, number: int) -> None:
        """Updates a parameter of lomo now."""
        self.call("step_one", number)

    def step(self, lr: float, grad_scale: float = 1.0, max_grad_norm: float = 0.0) -> StepResult:
        result = StepResult()
        step = Step(lr, grad_scale, max_grad_norm)
        self.call("step", ct.byref(step), ct.byref(result))
        return result
