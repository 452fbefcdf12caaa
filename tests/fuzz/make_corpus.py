"""Writes the seed files of tests/fuzz/corpus: small, and each telling something.  A crash that is
found later is added beside them by hand.

Usage: make_corpus.py FOLDER
"""
import json
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def put(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def string(text):
    return struct.pack("<Q", len(text)) + text


def gguf(keys=(), tensors=(), data=b"", version=3, n_keys=None, n_tensors=None):
    """keys: (name, type, value bytes); tensors: (name, dims innermost first, type, offset)."""
    n_keys = len(keys) if n_keys is None else n_keys
    n_tensors = len(tensors) if n_tensors is None else n_tensors
    out = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)
    for name, kind, value in keys:
        out += string(name) + struct.pack("<I", kind) + value
    for name, dims, kind, offset in tensors:
        out += string(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims) + struct.pack("<IQ", kind, offset)
    return out + b"\0" * (-len(out) % 32) + data


def array(kind, n, items):
    return struct.pack("<IQ", kind, n) + items


def write_gguf(folder):
    keys = [
        (b"u8", U8, b"\x05"), (b"i16", I16, struct.pack("<h", -2)), (b"f32", F32, struct.pack("<f", 1.5)),
        (b"f64", F64, struct.pack("<d", 2.5)), (b"bool", BOOL, b"\1"), (b"u64", U64, b"\xff" * 8),
        (b"text", STRING, string(b"hello")), (b"general.alignment", U32, struct.pack("<I", 32)),
        (b"tokens", ARRAY, array(STRING, 3, string(b"a") + string(b"") + string("é".encode()))),
        (b"scores", ARRAY, array(F32, 2, struct.pack("<ff", 1, 2))),
        (b"nested", ARRAY, array(ARRAY, 2, array(I8, 1, b"\1") + array(STRING, 1, string(b"x")))),
    ]
    put(folder, "full", gguf(keys, [(b"w", (32, 2), 3, 0), (b"n", (4,), 0, 64)], b"\x11" * 40 + b"\0" * 40))
    for kind, n in ((2, 18), (6, 22), (7, 24), (8, 34), (12, 144), (14, 210), (30, 512)):
        put(folder, f"type_{kind}", gguf([], [(b"w", (256,), kind, 0)], b"\x5a" * max(n, n * 256 // (32 if n < 100 else 256))))
    put(folder, "empty", b"")
    put(folder, "head_only", gguf())
    put(folder, "version_2", gguf(keys[:2], version=2))
    put(folder, "many_keys", gguf(n_keys=100000))
    put(folder, "many_tensors", gguf(n_tensors=2**64 - 1))
    put(folder, "deep", gguf([(b"a", ARRAY, array(ARRAY, 1, b"") * 60)]))
    put(folder, "long_string", gguf([(b"a", STRING, struct.pack("<Q", 2**64 - 1))]))
    put(folder, "long_array", gguf([(b"a", ARRAY, array(U64, 2**61, b"\0" * 64))]))
    put(folder, "twice", gguf([(b"a", U8, b"\1"), (b"a", U8, b"\2")], [(b"t", (8,), 0, 0), (b"t", (8,), 0, 32)], b"\0" * 64))
    put(folder, "overlap", gguf([], [(b"a", (16,), 0, 0), (b"b", (16,), 0, 32)], b"\0" * 128))
    put(folder, "offset", gguf([], [(b"a", (16,), 0, 2**64 - 32)], b"\0" * 128))
    put(folder, "shape", gguf([], [(b"a", (2**32, 2**32), 0, 0)], b"\0" * 64))
    put(folder, "zero", gguf([], [(b"a", (0, 5), 0, 0), (b"s", (), 0, 0)], b"\0" * 4))


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors(folder):
    full = {"__metadata__": {"format": "pt"}, "b": tensor("F32", [2, 2], 8, 24), "a": tensor("BF16", [4], 0, 8),
            "n": tensor("F16", [0, 3], 24, 24), "i": tensor("I64", [], 24, 32), "q": tensor("F4", [4], 32, 34)}
    put(folder, "full", safetensors(full, b"\x3f" * 34))
    put(folder, "empty", b"")
    put(folder, "no_tensors", safetensors({}))
    put(folder, "length_huge", struct.pack("<Q", 2**64 - 1) + b"{}")
    put(folder, "length_long", struct.pack("<Q", 100) + b"{}")
    put(folder, "deep", safetensors(b"[" * 5000))
    put(folder, "twice", safetensors(b'{"a":{},"a":{}}'))
    put(folder, "overlap", safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, b"\0" * 6))
    put(folder, "gap", safetensors({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 4, 6)}, b"\0" * 6))
    put(folder, "shape", safetensors({"a": tensor("F32", [2**32, 2**32], 0, 4)}, b"\0" * 4))
    put(folder, "larger", safetensors({"a": tensor("F32", [100], 0, 400)}, b"\0" * 4))
    put(folder, "offset", safetensors({"a": tensor("F32", [1], 2**63 - 5, 2**63 - 1)}, b"\0" * 4))
    put(folder, "negative", safetensors({"a": tensor("F32", [-1], -4, 0)}, b"\0" * 4))
    put(folder, "padding", safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}      ', b"\0" * 4))


def write_json(folder):
    put(folder, "full", b'{"a": [1, -2.5e3, true, null, "x\\u00e9\\ud83d\\ude00\\n"], "b": {"c": {}}, "n": 99999999999999999999}')
    put(folder, "records", b'{"a": 1}\n{"a": 2}\n\n[3] "four" 5 true\n')
    put(folder, "empty", b"")
    put(folder, "deep", b"[" * 3000 + b"]" * 3000)
    put(folder, "deep_mixed", b'{"a":[' * 40 + b"1" + b"]}" * 40)
    put(folder, "open_string", b'["abc\\')
    put(folder, "twice", b'{"a": 1, "a": 2}')
    put(folder, "wrong_bracket", b"[1, {]}")
    put(folder, "big_numbers", b"[123456789012345678901234567890, -9223372036854775809, 1e999, 12345678901234567890]")
    put(folder, "not_utf8", b'{"a": "\xff\xfe", "b": "\xc3"}')
    put(folder, "zero_byte", b'{"a\\u0000": "\\u0000", "b": \0}')


def main():
    root = pathlib.Path(sys.argv[1])
    write_gguf(root / "gguf")
    write_safetensors(root / "safetensors")
    write_json(root / "json")


main()
