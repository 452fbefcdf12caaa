"""Compares ids and offsets with the Hugging Face tokenizers library, and written files with transformers.

usage: check_tokenizers.py DUMP_TOKENS [SHARED_DATA [MODEL.gguf ...]]

DUMP_TOKENS is the program dump_tokens of this folder.  Needs the Python packages tokenizers and
transformers.  Prints one line per tokenizer; exit status 1 when anything differs.
"""

import glob
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ODD_TEXTS = [
    "",
    " ",
    "a",
    "  two  spaces \t\ttabs\n\n\nlines\r\n\r\n end  ",
    "don't DON'T I'LL you'Re it\u2019s 'Sa",
    "e\u0301 \u00e9 a\u0323\u0302 \u1ead n\u0303o \u212b \u2126 \ufb01 \u2460 \uff21\uff22 \u01c4",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \uac01\u11a8",
    "\u0958 \u09c7\u09be \u0b47\u0b3e \u1025\u102e \u0928\u093c",
    "q\u0307\u0323 \u0301start \u0344 \u0340\u0341 \u0f73 \u2adc",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f9d1\U0001f3fd\u200d\U0001f680",
    "x\u0085y\u00a0z\u1680\u2003\u2028\u2029\u202f\u3000w\ufeff\u200b\u180e.",
    "1234567 12.5e-3 \u0661\u0662\u0663 \u00b2\u00bd \u2167 \u4e09 \U0001d7d8",
    "\u5317\u4eac\u6b22\u8fce\u4f60 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 "
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "<s>a</s> <unk><|endoftext|> <|im_start|>user\nhi<|im_end|>\n<think>no</think><|begin_of_text|>",
    "\u2581visible\u2581\u2581spaces \u2581 <0x41><0xFF>",
    "\x00\x01\x7f\u0080\u009f\u00ad\ufffd\U0010ffff\ue000",
    "a" * 5000 + " " * 3000 + "ab" * 3000 + "\n" * 100 + "!?" * 500,
    "=" * 65 + "-" * 129 + "\t" * 33 + "0" * 77,
]


def random_texts(n):
    rng = random.Random(7)
    pools = [(0x20, 0x7E), (0x20, 0x40), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x900, 0xDFF),
             (0x1100, 0x11FF), (0x1E00, 0x20FF), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF),
             (0x1F600, 0x1F64F), (0x9, 0xD)]
    for _ in range(n):
        chosen = rng.sample(pools, 3)
        yield "".join(chr(rng.randint(*rng.choice(chosen))) for _ in range(rng.randint(1, 200)))


def documents(data):
    for path in sorted(glob.glob(os.path.join(data, "text", "**", "*.*"), recursive=True)):
        with open(path, "rb") as f:
            yield f.read().decode("utf-8")
    for path in sorted(glob.glob(os.path.join(data, "commonsense", "*", "*.json"))):
        with open(path, encoding="utf-8") as f:
            for record in json.load(f)[:20]:
                yield record["instruction"] + "\n" + record["output"]
    yield from ODD_TEXTS
    yield from random_texts(300)


def ours(dump, model, folder, count, *flags):
    """One list of (id, begin, end) for each document."""
    paths = [os.path.join(folder, str(i)) for i in range(count)]
    result = subprocess.run([dump, model, *flags, *paths], check=True, stdout=subprocess.PIPE, text=True)
    documents_, now = [], []
    for line in result.stdout.splitlines():
        if line == "#":
            documents_.append(now)
            now = []
        else:
            now.append(tuple(map(int, line.split())))
    return documents_


def byte_offsets(text):
    offsets, at = [], 0
    for character in text:
        offsets.append(at)
        at += len(character.encode("utf-8"))
    return offsets + [at]


def gpt2(folder):
    vocab = os.path.join(folder, "vocab.json")
    tokenizer = Tokenizer(models.BPE.from_file(vocab, os.path.join(folder, "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>"]
    tokenizer.add_special_tokens([name for name in names if tokenizer.token_to_id(name) is not None])
    return tokenizer


def compare(name, dump, model, tokenizer, texts, folder):
    """Offsets of characters that a normaliser changed are counted, not failed: ours cover the whole
    changed run, theirs a part of it."""
    specials = [tokenizer.encode(text).ids for text in texts[:5]]
    special_rows = ours(dump, model, folder, 5, "--special")
    bad_special = sum([row[0] for row in a] != b for a, b in zip(special_rows, specials))
    tokenizer.post_processor = None  # ByteLevel's trims offsets
    rows = ours(dump, model, folder, len(texts))
    bad_ids = bad_offsets = wider = n_tokens = 0
    for i, (text, mine) in enumerate(zip(texts, rows)):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        at = byte_offsets(text)
        n_tokens += len(mine)
        if [row[0] for row in mine] != encoding.ids:
            bad_ids += 1
            if bad_ids < 4:
                print("  ids differ in document", i, repr(text[:80]), [r[0] for r in mine][:20], encoding.ids[:20])
            continue
        for row, (begin, end) in zip(mine, encoding.offsets):
            theirs = (at[begin], at[end])
            if row[1:] != theirs:
                changed = tokenizer.normalizer is not None and row[1] <= theirs[0] and row[2] >= theirs[1]
                wider += changed
                bad_offsets += not changed
                if not changed and bad_offsets < 4:
                    print("  offsets differ in document", i, row, theirs, repr(text[:60]))
    print(f"{name}: {len(texts)} documents, {n_tokens} tokens: {bad_ids} with other ids, {bad_offsets} other "
          f"offsets, {wider} wider ones, {bad_special} of 5 other special tokens")
    return bad_ids + bad_offsets + bad_special


def check_written(dump, model, texts, folder):
    """Files written from GGUF metadata load in transformers and encode as the GGUF does."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as out:
        subprocess.run([dump, model, "--write", out], check=True)
        bad = compare("written from " + os.path.basename(model), dump, model,
                      Tokenizer.from_file(os.path.join(out, "tokenizer.json")), texts, folder)
        loaded = AutoTokenizer.from_pretrained(out)
        rows = ours(dump, model, folder, 30, "--special")
        other = sum([row[0] for row in mine] != loaded(text)["input_ids"] for text, mine in zip(texts, rows))
        again = sum(a != b for a, b in zip(ours(dump, out, folder, len(texts)), ours(dump, model, folder, len(texts))))
        print(f"  transformers: {other} of 30 documents differ; read back by us: {again} differ; "
              f"bos {loaded.bos_token} eos {loaded.eos_token} chat template: {loaded.chat_template is not None}")
        return bad + other + again


def main():
    dump = sys.argv[1]
    data = sys.argv[2] if len(sys.argv) > 2 else "../shared/data"
    texts = list(documents(data))
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(texts):
            with open(os.path.join(folder, str(i)), "wb") as f:
                f.write(text.encode("utf-8"))
        root = os.path.join(data, "tokenizers")
        for name in ["llama2", "llama3", "qwen3"]:
            model = os.path.join(root, name)
            tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
            bad += compare(name, dump, model, tokenizer, texts, folder)
        model = os.path.join(data, "models", "stories260K-hf")
        bad += compare("stories260K", dump, model, Tokenizer.from_file(os.path.join(model, "tokenizer.json")), texts,
                       folder)
        for name in ["gpt2", "opt"]:
            model = os.path.join(root, name)
            tokenizer = gpt2(model)
            if name == "opt":
                from tokenizers.processors import TemplateProcessing
                tokenizer.post_processor = TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
            bad += compare(name, dump, model, tokenizer, texts, folder)
        ggufs = sorted(glob.glob(os.path.join(root, "gguf-vocab", "*.gguf"))) + sys.argv[3:]
        ggufs += [os.path.join(data, "models", "stories260K-gguf", "stories260K.gguf")]
        for model in ggufs:
            bad += check_written(dump, model, texts, folder)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
