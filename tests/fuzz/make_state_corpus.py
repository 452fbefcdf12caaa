"""Writes tests/fuzz/corpus/state: make_state_corpus.py PATH_OF_LIBVLORP.  The handle is fuzz_state.c's."""
import ctypes as ct
import pathlib
import struct
import sys

import numpy as np

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "oracle"))
import vlorp_ctypes as v  # noqa: E402


def seal(body):
    h = 0xCBF29CE484222325
    for (word,) in struct.iter_unpack("<Q", body):
        h = (h ^ word) * 0x100000001B3 & (1 << 64) - 1
        h ^= h >> 32
    return body + struct.pack("<Q", h)


def main():
    handle = v.Optimizer(v.Library(sys.argv[1]), state_dtype=v.BF16)
    rules = [v.PROJFACTOR, v.VLORP_SS, v.PROJFACTOR, v.ADAMW]
    for i, (name, rule) in enumerate(zip("abcd", rules)):
        handle.add(name, np.zeros((12, 20), np.float32), rule=rule, factor=2, rank=2,
                   distribution=v.SVD if i == 2 else v.NORMAL)
    handle.commit()
    n = ct.c_uint64()
    states = []
    for step in range(2):
        handle.call("state_size", ct.byref(n))
        buffer = ct.create_string_buffer(n.value)
        handle.call("save_buffer", buffer, ct.c_size_t(n.value))
        states.append(buffer.raw)
        g = np.random.default_rng(step).standard_normal((12, 20))
        if step == 0:
            handle.probe(2, g)
            for i in range(4):
                handle.accumulate(i, g)
            handle.step(0.1)
    fresh, stepped = states
    folder = here / "corpus" / "state"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fresh").write_bytes(fresh)
    (folder / "stepped").write_bytes(stepped)
    old = bytearray(stepped[:-8])
    old[10] = 0
    old[24:32] = struct.pack("<Q", len(old))
    (folder / "version_1_0").write_bytes(old)
    records = struct.unpack_from("<I", stepped, 20)[0]
    longer = bytearray(stepped[:64]) + bytes(16)
    for i in range(records):
        longer += stepped[64 + 64 * i:128 + 64 * i] + bytes(8)
    longer += stepped[64 + 64 * records:-8]
    longer[10] = 9
    longer[12:20] = struct.pack("<II", 80, 72)
    longer[24:32] = struct.pack("<Q", len(longer) + 8)
    (folder / "version_1_9").write_bytes(seal(bytes(longer)))
    (folder / "empty").write_bytes(b"")


main()
