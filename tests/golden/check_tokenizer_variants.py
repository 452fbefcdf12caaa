"""Compares ids and decoded text with the Hugging Face tokenizers library on small tokenizers of every make.

usage: check_tokenizer_variants.py DUMP_TOKENS [N_RANDOM]

DUMP_TOKENS is the program dump_tokens of this folder.  Needs the Python package tokenizers.  Each variant is trained
here on a few hundred kilobytes of text of the tree and of many scripts, saved as tokenizer.json, and read by both.
Prints one line per variant; exit status 1 when anything differs.  The normaliser Strip is left out: with it the library
(0.23) panics or stops merging.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from check_tokenizers import ODD_TEXTS, random_texts

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
ADDED_TEXTS = [
    "<s>", "a<s>b", " <s> ", "x <mask> y", "x  <mask>\n\t y<mask>", "<mask><mask> <mask>",
    "the<|im_end|>end <|im_end|>",
    "word wordy aword word. (word) word-word\u00e9 word\u0301 9word", "new tok newtok new  tok",
    "AbC abc ABC", "<|im_<|im_end|>",
    "\u00e9clair e\u0301clair", "fi \ufb01x", "<s></s><unk>\u2603\u2603\u2603<unk>", "\u2581<s>\u2581 <s>\u2581",
    "end <mask>", "\r\n<s>\r\n", "\u00a0<mask>\u00a0<mask>\u2003",
]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
             r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
DEEPSEEK_LLM = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+",
                r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
                r"\s+$", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+"]


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(*steps, prefix=False):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)])


def llama_decoder():
    return decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                              decoders.Strip(" ", 1, 0)])


P, N, D = pre_tokenizers, normalizers, decoders
# name: (pre-tokenizer, normaliser, decoder, options of BPE)
VARIANTS = {
    "gpt2": (P.ByteLevel(add_prefix_space=False), None, D.ByteLevel(), {}),
    "gpt2 prefix space": (P.ByteLevel(add_prefix_space=True), None, D.ByteLevel(), {}),
    "llama3": (byte_level(split(LLAMA3)), None, D.ByteLevel(), {"ignore_merges": True}),
    "qwen2": (byte_level(split(QWEN2)), N.NFC(), D.ByteLevel(), {}),
    "gpt-4o": (byte_level(split(GPT4O)), None, D.ByteLevel(), {}),
    "gpt-4o removed inverted": (byte_level(split(GPT4O, "removed", True)), None, D.ByteLevel(), {}),
    "deepseek-v3": (byte_level(*[split(p) for p in DEEPSEEK3]), None, D.ByteLevel(), {}),
    "deepseek-llm": (byte_level(*[split(p) for p in DEEPSEEK_LLM]), None, D.ByteLevel(), {}),
    "starcoder": (P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]), None, D.ByteLevel(), {}),
    "falcon": (P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False),
                           split("[0-9][0-9][0-9]")]), None, D.ByteLevel(), {}),
    "bloom": (byte_level(split(" ?[^(\\s|.,!?…。，、।۔،)]+")), None, D.ByteLevel(), {}),
    "digits first": (byte_level(P.Digits(False)), None, D.ByteLevel(), {}),
    "punctuation isolated": (byte_level(P.Punctuation()), N.NFKC(), D.ByteLevel(), {}),
    "punctuation merged": (byte_level(P.Punctuation("merged_with_previous")), N.NFD(), D.ByteLevel(), {}),
    "split merged next": (byte_level(P.Split(" ", "merged_with_next")), None, D.ByteLevel(), {}),
    "split merged previous": (byte_level(P.Split(" ", "merged_with_previous")), None, D.ByteLevel(), {}),
    "split removed": (byte_level(P.Split(" ", "removed")), None, D.ByteLevel(), {}),
    "split contiguous": (byte_level(P.Split("a", "contiguous")), None, D.ByteLevel(), {}),
    "whitespace": (P.Whitespace(), None, None, {"unk_token": "<unk>"}),
    "whitespace split": (P.WhitespaceSplit(), N.Lowercase(), D.Fuse(), {"unk_token": "<unk>", "fuse_unk": True}),
    "char delimiter": (P.CharDelimiterSplit("e"), None, D.Fuse(), {"unk_token": "<unk>"}),
    "bert": (P.BertPreTokenizer(), None, D.Fuse(), {"unk_token": "<unk>"}),
    "unicode scripts": (P.UnicodeScripts(), None, D.Fuse(), {"unk_token": "<unk>"}),
    "metaspace always": (P.Metaspace(prepend_scheme="always"), None, D.Metaspace(prepend_scheme="always"),
                         {"unk_token": "<unk>"}),
    "metaspace first": (P.Metaspace(prepend_scheme="first"), None, D.Metaspace(prepend_scheme="first"),
                        {"unk_token": "<unk>", "fuse_unk": True}),
    "metaspace first whole": (P.Metaspace(prepend_scheme="first", split=False), None, llama_decoder(),
                              {"unk_token": "<unk>", "byte_fallback": True}),
    "metaspace never": (P.Metaspace(prepend_scheme="never"), None, D.Metaspace(prepend_scheme="never"),
                        {"unk_token": "<unk>"}),
    "metaspace underscore": (P.Metaspace(replacement="_"), None, D.Metaspace(replacement="_"), {"unk_token": "<unk>"}),
    "llama": (None, N.Sequence([N.Prepend("\u2581"), N.Replace(" ", "\u2581")]), llama_decoder(),
              {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}),
    "gemma": (P.Split(" ", "merged_with_previous"), N.Replace(" ", "\u2581"),
              D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse()]),
              {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}),
    "replace by a pattern": (P.ByteLevel(add_prefix_space=False), N.Replace(Regex(r"\s{2,}|\d"), "#"), D.ByteLevel(),
                             {}),
    "strip accents": (P.ByteLevel(add_prefix_space=False), N.Sequence([N.NFKD(), N.StripAccents()]), D.ByteLevel(), {}),
    "lowercase": (P.ByteLevel(add_prefix_space=False), N.Sequence([N.NFKD(), N.Lowercase()]), D.ByteLevel(), {}),
    "no splitting": (None, None, D.Fuse(), {"unk_token": "<unk>"}),
    "wordpiece decoder": (P.Whitespace(), None, D.WordPiece(), {"unk_token": "<unk>"}),
    "bpe decoder": (P.WhitespaceSplit(), None, D.BPEDecoder(), {"unk_token": "<unk>"}),
}

# Parts that no decoder-only model of the known families uses: an error that names them.
REFUSED = {"char delimiter": "CharDelimiterSplit", "bert": "BertPreTokenizer", "unicode scripts": "UnicodeScripts",
           "wordpiece decoder": "WordPiece", "bpe decoder": "BPEDecoder", "strip accents": "StripAccents"}


def corpus():
    for path in sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "src/text").glob("*.c")):
        yield from path.read_text(encoding="utf-8").splitlines(keepends=True)
    yield from [text for text in ODD_TEXTS + list(random_texts(40)) if len(text) < 1000]


def build(pre, normal, decoder, options):
    tokenizer = Tokenizer(models.BPE(**options))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if normal is not None:
        tokenizer.normalizer = normal
    if decoder is not None:
        tokenizer.decoder = decoder
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(decoder, D.ByteLevel) else []
    bytes_ = [f"<0x{i:02X}>" for i in range(256)] if options.get("byte_fallback") else []
    trainer = trainers.BpeTrainer(vocab_size=1200, special_tokens=SPECIALS + bytes_, initial_alphabet=alphabet,
                                  show_progress=False, limit_alphabet=300, max_token_length=16)
    tokenizer.train_from_iterator(corpus(), trainer)
    if bytes_:  # byte tokens are plain tokens of the vocabulary
        data = json.loads(tokenizer.to_str())
        data["added_tokens"] = [token for token in data["added_tokens"] if not token["content"].startswith("<0x")]
        tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True), AddedToken("<rs>", rstrip=True)])
    tokenizer.add_tokens([AddedToken("word", single_word=True), AddedToken("new tok", normalized=True),
                          AddedToken("AbC", normalized=False), AddedToken("\u00e9clair"), "   "])

    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


def ours(dump, path, flag, paths):
    result = subprocess.run([dump, path, flag, *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return None if result.returncode != 0 else result.stdout.splitlines(), result.stderr.strip()


def compare(name, dump, tokenizer, texts, folder, paths):
    path = os.path.join(folder, "tokenizer.json")
    tokenizer.save(path)
    lines, error = ours(dump, path, "--text", paths)
    refused = name in REFUSED and lines is None and REFUSED[name] in error and "not supported" in error
    if lines is None or name in REFUSED:
        print(f"{name}: {error}")
        return 0 if refused else 1
    # tokenizers 0.23 shows an added token as its normaliser leaves it, older ones and we as it was added
    added = tokenizer.get_added_tokens_decoder()
    renamed = {id_ for id_, token in added.items() if tokenizer.id_to_token(id_) != token.content}
    bad_ids = bad_text = n = 0
    for text, ids, decoded in zip(texts, lines[::2], lines[1::2]):
        ids = [int(word) for word in ids.split()]
        wanted = tokenizer.encode(text, add_special_tokens=True).ids
        n += len(wanted)
        if ids != wanted:
            bad_ids += 1
            if bad_ids < 4:
                at = next((i for i, (a, b) in enumerate(zip(ids, wanted)) if a != b), min(len(ids), len(wanted)))
                near = slice(max(0, at - 2), at + 6)
                print("  ids differ:", repr(text[:70]), "at", at, [tokenizer.id_to_token(i) for i in ids[near]],
                      [tokenizer.id_to_token(i) for i in wanted[near]])
        elif not renamed.intersection(wanted):
            mine, theirs = bytes.fromhex(decoded).decode("utf-8"), tokenizer.decode(wanted, skip_special_tokens=False)
            bad_text += mine != theirs
            if mine != theirs and bad_text < 4:
                print("  text differs:", repr(mine[:90]), repr(theirs[:90]))
    print(f"{name}: {len(lines) // 2} texts, {n} tokens, {bad_ids} with other ids, {bad_text} with other text")
    return bad_ids + bad_text + (len(lines) != 2 * len(texts))


def main():
    dump = sys.argv[1]
    n_random = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    texts = ODD_TEXTS + ADDED_TEXTS + list(random_texts(n_random))
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, text in enumerate(texts):
            paths.append(os.path.join(folder, str(i)))
            pathlib.Path(paths[-1]).write_bytes(text.encode("utf-8"))
        for name, parts in VARIANTS.items():
            bad += compare(name, dump, build(*parts), texts, folder, paths)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
