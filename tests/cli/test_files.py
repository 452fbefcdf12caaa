#!/usr/bin/env python3
"""Model files as they should not be: cut off, flipped, absurd, of the wrong kind, unreadable, changing while they
are read.  The program refuses each with one error line and exit status 1, or reads it; it never crashes or hangs.
And conversion, which reads and writes every form.  Run by CTest: test_files.py VLORP."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time
import unicodedata

from program import DATA, STORIES, VLORP, ProgramTest, main, run

STORIES_GGUF = f"{DATA}/models/stories260K-gguf/stories260K.gguf"
CORPUS = "tests/fuzz/corpus"
HUGE = [0, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def cuts(n):
    """Places to cut a file of n bytes at: its beginning, its end, and between."""
    return sorted({k for k in [0, 1, 3, 7, 8, 9, 15, 23, n // 4, n // 2, n - n // 4, n - 2, n - 1] if 0 <= k < n})


class FileTest(ProgramTest):
    def folder_like_stories(self, **changed):
        """A copy of the shared model; changed: file name with '_' for '.', and its new bytes."""
        folder = self.path("model")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            content = changed.pop(name.replace(".", "_"), None)
            if content is None:
                os.symlink(os.path.abspath(f"{STORIES}/{name}"), f"{folder}/{name}")
            else:
                self.path(f"model/{name}", content)
        for name, content in changed.items():
            self.path("model/" + name.replace("__", "."), content)
        return folder

    def survives(self, words, about):
        """Done, or refused as every refusal must be.  Returns the exit status."""
        code, out, err = run(*words)
        self.assertIn(code, (0, 1), f"{about}: {words}: exit {code}: {err}")
        if code == 1:
            lines = err.decode(errors="replace").splitlines()
            errors = [line for line in lines if line.startswith("vlorp: error: ")]
            self.assertEqual(out, b"", about)
            self.assertEqual(len(errors), 1, f"{about}: {lines}")
            self.assertEqual(lines[-1 if lines[-1] == errors[0] else -2], errors[0], f"{about}: {lines}")
            controls = [c for c in err.decode("utf-8") if c != "\n" and unicodedata.category(c) == "Cc"]
            self.assertEqual(controls, [], about)
        return code

    def converts(self, model, about):
        out = self.path("out")
        code = self.survives(["convert", model, "--out", out, "--dtype", "bfloat16"], about)
        self.assertEqual(os.path.exists(out), code == 0, about)
        shutil.rmtree(out, ignore_errors=True)
        self.assertEqual([name for name in os.listdir(self.folder) if ".partial" in name], [], about)
        return code

    def refused(self, model, about):
        self.assertEqual(self.converts(model, about), 1, about)


class Damaged(FileTest):
    def test_gguf(self):
        whole = read(STORIES_GGUF)
        path = self.path("x.gguf")
        for n in cuts(len(whole)):
            self.path("x.gguf", whole[:n])
            self.refused(path, f"cut at {n}")
        n_refused = 0
        for value in HUGE:
            for at in (4, 8, 16, 24):  # version, tensors, keys, the first key's length
                width = 4 if at == 4 else 8
                if struct.unpack_from("<Q" if width == 8 else "<I", whole, at)[0] == value or value >> (8 * width):
                    continue
                damaged = bytearray(whole)
                damaged[at:at + width] = value.to_bytes(width, "little")
                self.path("x.gguf", bytes(damaged))
                n_refused += self.converts(path, f"{value} at {at}")
        self.assertGreater(n_refused, 20)
        header = whole.index(b"token_embd.weight") + 2000
        rng = random.Random(1)
        for i in range(40):
            damaged = bytearray(whole)
            at = rng.randrange(header)
            if i % 2 == 0:
                damaged[at] ^= 1 << rng.randrange(8)
            else:
                damaged[at:at + 8] = rng.choice(HUGE).to_bytes(8, "little")
            self.path("x.gguf", bytes(damaged))
            self.survives(["generate", path, "--prompt", "One", "--max_new_tokens", "2"], f"damage {i} at {at}")

    def test_gguf_corpus(self):
        for name in sorted(os.listdir(f"{CORPUS}/gguf")):
            self.path("x.gguf", read(f"{CORPUS}/gguf/{name}"))
            self.refused(self.path("x.gguf"), name)
            self.survives(["inspect", self.path("x.gguf")], name)
            self.survives(["tokenize", self.path("x.gguf")], name)

    def test_types_that_are_not_read(self):
        whole = read(STORIES_GGUF)
        at = whole.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight") + 4 + 16
        self.assertEqual(struct.unpack_from("<I", whole, at)[0], 0)
        for kind, name in ((24, "I8"), (25, "I16"), (26, "I32")):
            self.path("x.gguf", whole[:at] + struct.pack("<I", kind) + whole[at + 4:])
            for words in (["generate", self.path("x.gguf"), "--prompt", "a"],
                          ["convert", self.path("x.gguf"), "--out", self.path("out")]):
                self.refuses(1, words, "x.gguf", "blk.0.attn_q.weight", name, "Q2_K to Q6_K")

    def test_safetensors(self):
        whole = read(f"{STORIES}/model.safetensors")
        n_header = struct.unpack_from("<Q", whole)[0]
        for n in cuts(len(whole)):
            self.refused(self.folder_like_stories(model_safetensors=whole[:n]), f"cut at {n}")
        for value in HUGE:
            self.refused(self.folder_like_stories(model_safetensors=value.to_bytes(8, "little") + whole[8:]), value)
        rng = random.Random(2)
        for i in range(30):
            damaged = bytearray(whole)
            at = rng.randrange(n_header + 8)
            damaged[at] ^= 1 << rng.randrange(8)
            self.converts(self.folder_like_stories(model_safetensors=bytes(damaged)), f"flip {i} at {at}")
        header = json.loads(whole[8:8 + n_header])
        name = "model.norm.weight"
        begin, end = header[name]["data_offsets"]
        absurd = [{"dtype": "F32", "shape": [64], "data_offsets": offsets} for offsets in
                  ([begin, end + 4], [end, begin], [-4, 252], [2**64 - 256, 2**64], [0, 256], [begin], "ab", [0.5, 1])]
        absurd += [{"dtype": kind, "shape": shape, "data_offsets": [begin, end]} for kind, shape in
                   (("F32", [2**62, 4]), ("F32", [-64]), ("F32", 64), ("F32", [64.0]), ("I32", [64]), (7, [64]),
                    ("F32", [8, 8]), ("F32", [1] * 9 + [64]))]
        for row in absurd + [None, [], "x", {}]:
            text = json.dumps({**header, name: row}).encode()
            damaged = struct.pack("<Q", len(text)) + text + whole[8 + n_header:]
            self.refused(self.folder_like_stories(model_safetensors=damaged), row)

    def test_index(self):
        whole = read(f"{STORIES}/model.safetensors")
        names = [name for name in json.loads(whole[8:8 + struct.unpack_from("<Q", whole)[0]]) if name[0] != "_"]
        full = dict.fromkeys(names, "a.safetensors")
        maps = [None, 5, [], {}, "a.safetensors", dict.fromkeys(names, 5), dict.fromkeys(names, "../a.safetensors"),
                dict.fromkeys(names, "/etc/passwd"), dict.fromkeys(names, "missing.safetensors"),
                dict.fromkeys(names, "model.safetensors.index.json"), dict.fromkeys(names, "."),
                dict.fromkeys(names, ""), {**full, "no.such.tensor": "a.safetensors"}, dict(list(full.items())[1:]),
                {name: f"{i}.safetensors" for i, name in enumerate(names)}]
        texts = [json.dumps({"weight_map": m}) for m in maps] + ["", "[]", "{", "null", '{"weight_map"', "\0" * 100,
                 json.dumps({"weight_map": full})[:-3], '{"weight_map": {"a": "b", "a": "b"}}', "[" * 100000]
        for text in texts + [json.dumps({"weight_map": full})]:
            folder = self.folder_like_stories(**{"a__safetensors": whole, "model__safetensors__index__json": text})
            os.remove(f"{folder}/model.safetensors")
            (self.refused if text in texts else self.converts)(folder, text[:200])
        self.assertEqual(self.converts(folder, "whole"), 0)

    def test_json_values(self):
        """Every value of config.json and of tokenizer_config.json replaced by those of other kinds."""
        config = json.loads(read(f"{STORIES}/config.json"))
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
        for key in config:
            for value in ("x", -1, 0, 2**63 - 1, 1e308, [], {"a": {}}):
                folder = self.folder_like_stories(config_json=json.dumps({**config, key: value}))
                code = self.survives(["plan", folder, "--json"], f"{key}: {value}")
                self.assertTrue(code == 1 or key not in sizes, f"{key}: {value}")
        for text in ("", "{", "[]", "nul", "5", '{"a": 1, "a": 2}', "{" * 70000, '{"a": "\\ud800"}', "\xff\xfe{}"):
            self.refused(self.folder_like_stories(config_json=text.encode("latin-1")), text[:40])
        other = json.loads(read(f"{STORIES}/tokenizer_config.json"))
        for key in [*other, "chat_template", "added_tokens_decoder"]:
            for value in (7, [], {"content": 5}, "x" * 100000):
                folder = self.folder_like_stories(tokenizer_config_json=json.dumps({**other, key: value}))
                self.survives(["tokenize", folder], f"{key}: {str(value)[:20]}")

    def test_tokenizers(self):
        whole = read(f"{STORIES}/tokenizer.json")
        for n in cuts(len(whole)):
            self.assertEqual(self.survives(["tokenize", self.folder_like_stories(tokenizer_json=whole[:n])], n), 1)
        rng = random.Random(3)
        for i in range(30):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            self.survives(["tokenize", self.folder_like_stories(tokenizer_json=bytes(damaged))], f"flip {i}")
        for kind, name in (("tokenizer", "tokenizer.json"), ("sentencepiece", "tokenizer.model")):
            for case in sorted(os.listdir(f"{CORPUS}/{kind}")):
                path = self.path(name, read(f"{CORPUS}/{kind}/{case}"))
                self.survives(["tokenize", path], f"{kind}/{case}")
        pieces = read(f"{CORPUS}/sentencepiece/bpe")
        for n in cuts(len(pieces)):
            self.survives(["tokenize", self.path("tokenizer.model", pieces[:n])], f"tokenizer.model cut at {n}")
        vocab = {chr(c): c - 33 for c in range(33, 127)} | {"Ġ": 94, "ab": 95}
        good = json.dumps(vocab, ensure_ascii=False)
        pairs = [("{", "a b\n"), ("[]", "a b\n"), (json.dumps({"a": "b"}), "a b\n"), (json.dumps({"a": -1}), ""),
                 (json.dumps({"a": 2**40}), ""), (json.dumps({"a": 0, "b": 0}), ""), (good, "a\n"), (good, "a zz\n"),
                 (good, "\xff\n"), (good, "a b c\n"), (good, "\0\n"), ("", "")]
        for i, (vocab_text, merges) in enumerate([*pairs, (good, "#version: 0.2\na b\n")]):
            folder = self.path(f"slow{i}")
            self.path(f"slow{i}/vocab.json", vocab_text)
            self.path(f"slow{i}/merges.txt", merges.encode("latin-1"))
            self.assertEqual(self.survives(["tokenize", folder], (vocab_text[:40], merges)), int(i < len(pairs)))

    def test_not_files(self):
        """A folder, a pipe, a device, a link to itself in a file's place; nothing there; nothing to be read."""
        def put(kind, path):
            os.remove(path)
            if kind == "folder":
                os.makedirs(path)
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "loop":
                os.symlink(os.path.basename(path), path)
            elif kind == "device":
                os.symlink("/dev/zero", path)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            for kind in ("folder", "pipe", "loop", "device", "nothing"):
                folder = self.folder_like_stories()
                put(kind, f"{folder}/{name}")
                self.assertEqual(self.survives(["generate", folder, "--prompt", "a"], f"{name}: {kind}"), 1)
        self.path("x.gguf", "")
        for kind in ("folder", "loop", "device"):
            put(kind, self.path("x.gguf"))
            self.assertEqual(self.survives(["inspect", self.path("x.gguf")], kind), 1)
            shutil.rmtree(self.path("x.gguf"), ignore_errors=True)
            self.path("y", "")
            os.replace(self.path("y"), self.path("x.gguf"))

    def test_no_permission(self):
        os.chmod(self.folder, 0o755)
        folder = self.folder_like_stories(config_json=read(f"{STORIES}/config.json"),
                                          model_safetensors=read(f"{STORIES}/model.safetensors"),
                                          tokenizer_json=read(f"{STORIES}/tokenizer.json"),
                                          tokenizer_config_json=read(f"{STORIES}/tokenizer_config.json"))
        vlorp = self.path("vlorp")
        shutil.copy(VLORP, vlorp)  # root reads everything: as somebody else, from where he may look

        def drop():
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
        words = [vlorp, "generate", folder, "--prompt", "a", "--max_new_tokens", "1"]
        done = subprocess.run(words, capture_output=True, preexec_fn=drop, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            os.chmod(f"{folder}/{name}", 0)
            done = subprocess.run(words, capture_output=True, preexec_fn=drop, check=False)
            os.chmod(f"{folder}/{name}", 0o644)
            self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
            self.assertEqual(done.stderr.count(b"vlorp: error: "), 1)
            self.assertIn(b"Permission denied", done.stderr)
            self.assertIn(name.encode(), done.stderr)
        done = subprocess.run([vlorp, "convert", folder, "--out", self.path("no.gguf")], capture_output=True,
                              preexec_fn=drop, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"Permission denied", done.stderr)


class Changing(FileTest):
    def test_cut_while_read(self):
        """A model loses its end while it is converted: SIGBUS becomes one error line that names the file."""
        config = {**json.loads(read(f"{STORIES}/config.json")), "vocab_size": 700000, "torch_dtype": "float32"}
        whole = read(f"{STORIES}/model.safetensors")
        n_header = struct.unpack_from("<Q", whole)[0]
        header = {k: v for k, v in json.loads(whole[8:8 + n_header]).items() if k != "__metadata__"}
        at = 0
        for name in sorted(header, key=lambda name: name == "model.embed_tokens.weight"):
            if name == "model.embed_tokens.weight":
                header[name]["shape"][0] = config["vocab_size"]
            n_bytes = 4
            for dim in header[name]["shape"]:
                n_bytes *= dim
            header[name]["data_offsets"] = [at, at + n_bytes]
            at += n_bytes
        text = json.dumps(header).encode()
        for _ in range(20):
            folder = self.folder_like_stories(config_json=json.dumps(config),
                                              model_safetensors=struct.pack("<Q", len(text)) + text)
            weights = f"{folder}/model.safetensors"
            os.truncate(weights, 8 + len(text) + at)  # 179 MB of zeros that take no space
            with subprocess.Popen([VLORP, "convert", folder, "--dtype", "bfloat16", "--out", self.path("out")],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                while process.poll() is None and not any(".partial" in name for name in os.listdir(self.folder)):
                    time.sleep(0.0005)
                process.send_signal(signal.SIGSTOP)
                os.truncate(weights, 8 + len(text))
                process.send_signal(signal.SIGCONT)
                out, err = process.communicate()
            if process.returncode != 0:
                break
            shutil.rmtree(self.path("out"))  # it was read already: once more
        self.assertEqual((process.returncode, out), (1, b""), err)
        self.assertEqual(err.count(b"\n"), 1, err)
        self.assertTrue(err.startswith(b"vlorp: error: ") and weights.encode() in err and b"cut short" in err, err)


class Convert(FileTest):
    def tensors(self, folder):
        """Name to (dtype, bytes), over all shards, and the names of the shards."""
        index = f"{folder}/model.safetensors.index.json"
        shards = ["model.safetensors"]
        if os.path.exists(index):
            shards = sorted(set(json.loads(read(index))["weight_map"].values()))
        found = {}
        for shard in shards:
            data = read(f"{folder}/{shard}")
            n_header = struct.unpack_from("<Q", data)[0]
            for name, row in json.loads(data[8:8 + n_header]).items():
                if name != "__metadata__":
                    begin, end = row["data_offsets"]
                    found[name] = (row["dtype"], data[8 + n_header + begin:8 + n_header + end])
        return found, shards

    def convert(self, model, out, *words):
        code, text, err = run("convert", model, "--out", self.path(out), *words)
        self.assertEqual((code, text), (0, b""), err)
        return self.path(out)

    def test_shards_and_dtypes(self):
        original, _ = self.tensors(STORIES)
        sharded = self.convert(STORIES, "sharded", "--shard_size", "100000")
        tensors, shards = self.tensors(sharded)
        self.assertEqual(tensors, original)
        self.assertGreater(len(shards), 8)
        for shard in shards:
            self.assertLess(os.path.getsize(f"{sharded}/{shard}"), 160000)  # the embedding alone is 131072
        half = self.convert(sharded, "half", "--dtype", "bfloat16")
        tensors, shards = self.tensors(half)
        self.assertEqual((shards, {dtype for dtype, _ in tensors.values()}), (["model.safetensors"], {"BF16"}))
        self.assertEqual(json.loads(read(f"{half}/config.json"))["torch_dtype"], "bfloat16")
        wide, _ = self.tensors(self.convert(half, "wide", "--dtype", "float32"))
        for name, (dtype, data) in wide.items():
            self.assertEqual(dtype, "F32")
            narrow = bytearray(len(data) // 2)
            narrow[0::2], narrow[1::2] = data[2::4], data[3::4]
            self.assertEqual((data[0::4].strip(b"\0"), bytes(narrow)), (b"", tensors[name][1]), name)

    def test_gguf(self):
        """To GGUF in every form and on from there; the text of the f32 ones is the original's."""
        words = ["--prompt", "Once upon a time", "--max_new_tokens", "30"]
        want = run("generate", STORIES, *words)[1]
        for dtype in ("float32", "float16", "bfloat16", "q8_0"):
            path = self.convert(STORIES, f"{dtype}.gguf", "--dtype", dtype)
            code, text, err = run("generate", path, *words)
            self.assertEqual(code, 0, err)
            if dtype == "float32":
                self.assertEqual(text, want)
        back = self.convert(self.path("float32.gguf"), "back")
        self.assertEqual(self.tensors(back)[0], self.tensors(STORIES)[0])
        self.assertEqual(run("generate", back, *words)[1], want)
        path = self.path("float32.gguf")
        self.refuses(1, ["convert", STORIES, "--out", path], path, "exists already", "--overwrite")
        self.refuses(2, ["convert", STORIES, "--out", self.path("f"), "--dtype", "q8_0"], "q8_0", "--to gguf")
        self.convert(STORIES, "float32.gguf", "--overwrite", "--to", "gguf")
        self.refuses(1, ["convert", STORIES, "--out", self.path("back"), "--to", "gguf"], "a folder is there")

    def test_trained_model_to_gguf(self):
        data = self.path("d.jsonl", "".join(json.dumps({"text": "One day a cat sat."}) + "\n" for _ in range(4)))
        code, _, err = run("train", STORIES, "--dataset", data, "--save_dir", self.path("run"), "--num_training_steps",
                           "2", "--batch_size", "2", "--total_batch_size", "2", "--quiet")
        self.assertEqual(code, 0, err)
        path = self.convert(self.path("run/model"), "run.gguf")
        words = ["--prompt", "Once", "--max_new_tokens", "20"]
        self.assertEqual(run("generate", path, *words)[1], run("generate", self.path("run/model"), *words)[1])


if __name__ == "__main__":
    main()
