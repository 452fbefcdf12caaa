"""Writes the seed files for the three tokenizer targets: small, and each telling something.

Usage: make_tokenizer_corpus.py FOLDER
"""
import json
import pathlib
import struct
import sys


def alphabet():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(other)}}


def added(id_, content, **flags):
    return {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **flags}


def byte_level():
    vocab = {c: i for i, c in enumerate(alphabet().values())}
    merges = []
    for left, right in ["he", "ll", ("he", "ll"), ("hell", "o"), "Ġw", "12"]:
        vocab[left + right] = len(vocab)
        merges.append(f"{left} {right}")
    n = len(vocab)
    return {
        "version": "1.0",
        "added_tokens": [added(n, "<s>", lstrip=True, rstrip=True), added(n + 1, "wor", special=False, single_word=True,
                                                                         normalized=True)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False},
            {"type": "Replace", "pattern": {"Regex": "(a|b)+c"}, "content": "x"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "MergedWithPrevious"},
            {"type": "Split", "pattern": {"Regex": "\\s+(?!\\S)|\\s+"}, "behavior": "MergedWithNext", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}]},
        "post_processor": {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [n], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": None, "ignore_merges": True},
    }


def sentencepiece():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)}}
    for token in ["▁", "h", "e", "l", "o", "▁h", "el", "lo", "ello"]:
        vocab[token] = len(vocab)
    return {
        "added_tokens": [added(i, c) for c, i in vocab.items() if i < 3],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["▁", "h"], ["e", "l"], ["l", "o"], ["el", "lo"]],
                  "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
    }


def metaspace():
    return {
        "added_tokens": [added(0, "<unk>")],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<unk>", 0], "cls": ["<unk>", 0]},
        "model": {"type": "BPE", "vocab": {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3}, "merges": ["▁ a"], "unk_token": "<unk>"},
    }


def changed(base, path, value):
    root = json.loads(json.dumps(base()))
    at = root
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return root


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, wire, value):
    if wire == 0:
        return varint(number << 3) + varint(value)
    if wire == 5:
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def piece(text, score, kind=1):
    return field(1, 2, field(1, 2, text.encode()) + field(2, 5, score) + field(3, 0, kind))


def model(kind=2, normalizer=field(3, 0, 1) + field(4, 0, 0)):
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(0, 256, 5)]
    pieces += [("▁a", -1.0, 1), ("ab", -1.0, 1), ("abc", -2.0, 1), ("▁", -3.0, 1), ("a", -4.0, 1), ("b", -5.0, 1),
               ("c", -6.0, 1), ("<user>", 0.0, 4)]
    return (b"".join(piece(*p) for p in pieces) + field(2, 2, field(3, 0, kind) + field(35, 0, 1) + field(40, 0, 0)) +
            field(3, 2, normalizer))


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(**keys):
    """A GGUF file of tokenizer keys alone; '__' in a name is a point."""
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    for name, value in keys.items():
        out += text("tokenizer." + name.replace("__", "."))
        if isinstance(value, bool):
            out += struct.pack("<IB", 7, value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        elif isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value[0], str):
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            kind, form = (6, "<f") if isinstance(value[0], float) else (5, "<i")
            out += struct.pack("<IIQ", 9, kind, len(value)) + b"".join(struct.pack(form, item) for item in value)
    return out


def write_gguf(folder):
    bytes_ = byte_level()["model"]
    tokens = [*sorted(bytes_["vocab"], key=bytes_["vocab"].get), "<s>", "</s>"]
    level = {"ggml__model": "gpt2", "ggml__tokens": tokens, "ggml__token_type": [1] * (len(tokens) - 2) + [3, 4],
             "ggml__merges": bytes_["merges"], "ggml__bos_token_id": len(tokens) - 2, "ggml__add_bos_token": True}
    pieces = sorted(sentencepiece()["model"]["vocab"], key=sentencepiece()["model"]["vocab"].get)
    spm = {"ggml__model": "llama", "ggml__tokens": pieces, "ggml__scores": [float(-i) for i in range(len(pieces))],
           "ggml__token_type": [2, 3, 3] + [6] * 256 + [1] * (len(pieces) - 259), "ggml__eos_token_id": 2,
           "ggml__add_space_prefix": False, "chat_template": "{{ messages }}"}
    for pre in ("default", "llama-bpe", "qwen2", "smollm", "tekken", "unheard-of"):
        put(folder, "byte_level_" + pre.replace("-", "_"), gguf(**level, ggml__pre=pre))
    put(folder, "sentencepiece", gguf(**spm))
    put(folder, "no_scores", gguf(**{**spm, "ggml__scores": [0.5]}))
    put(folder, "nan_scores", gguf(**{**spm, "ggml__scores": [float("nan")] * len(pieces)}))
    put(folder, "far_id", gguf(**{**spm, "ggml__eos_token_id": 2**32 - 2}))
    put(folder, "types_short", gguf(**{**level, "ggml__token_type": [1]}))
    put(folder, "merge_of_nothing", gguf(**{**level, "ggml__merges": ["q zz", " ", ""]}))


def put(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode())


def main():
    root = pathlib.Path(sys.argv[1])
    folder = root / "tokenizer"
    put(folder, "byte_level", byte_level())
    put(folder, "sentencepiece", sentencepiece())
    put(folder, "metaspace", metaspace())
    put(folder, "empty_vocab", changed(metaspace, ["model", "vocab"], {}))
    put(folder, "far_id", changed(metaspace, ["model", "vocab", "a"], 500000000))
    put(folder, "same_id", changed(metaspace, ["model", "vocab", "a"], 1))
    put(folder, "unknown_merge", changed(metaspace, ["model", "merges"], ["▁ q"]))
    put(folder, "catastrophe", changed(metaspace, ["pre_tokenizer"], {
        "type": "Split", "pattern": {"Regex": "(\\p{L}|\\p{L}\\p{L}|.)*\\1$"}, "behavior": "Removed"}))
    put(folder, "deep_pattern", changed(metaspace, ["normalizer"], {
        "type": "Replace", "pattern": {"Regex": "(" * 400 + ")" * 400}, "content": ""}))
    nested = {"type": "NFC"}
    for _ in range(25):
        nested = {"type": "Sequence", "normalizers": [nested, {"type": "NFKD"}]}
    put(folder, "deep_steps", changed(metaspace, ["normalizer"], nested))
    write_gguf(root / "tokenizer_gguf")
    folder = root / "sentencepiece"
    put(folder, "bpe", model())
    put(folder, "extra_spaces", model(normalizer=b""))
    put(folder, "unigram", model(kind=1))
    put(folder, "charsmap", model(normalizer=field(2, 2, b"map")))
    put(folder, "long_field", field(1, 2, b"abc")[:-3] + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    put(folder, "empty", b"")


main()
