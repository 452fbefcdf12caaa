"""GGUF against llama.cpp, both ways: what `vlorp convert` writes gives the same tokens and the same greedy text
there, and what llama.cpp quantises is read here as llama.cpp itself reads it.

Usage: check_llama_cpp.py VLORP DUMP_LOGITS [MODEL...]
Needs: pip install cyllama==0.2.18 gguf numpy  (cyllama's wheel holds llama.cpp).  Exit 77: skipped.
Without MODEL: random models of every family, four shared tokenizers, stories260K as folder and as GGUF.  With MODEL
(SmolLM2-135M-Instruct, as folder or as GGUF, takes minutes) its forms, and the quantised types too.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata

from script import skip

PROMPTS = ["Once upon a time", "The capital of France is", "def add(a, b):\n    return",
           "One day, Lily and Tom went to"]
TEXTS = ["Hello, wörld! 12345 + 678", "  two  spaces\n\n\tand tabs ", "한국어 日本語 العربية 🦙🚀",
         "don't WE'LL i'm", "<s> <|im_start|>user\nHi<|im_end|>", "", "a", "\u00a0nbsp \u2028 e\u0301 ﬁ"]
NEW_TOKENS = 32
# f32 on both sides, sums in another order; a greedy choice may differ where the best two are this close.
MAX_DIFFERENCE = 2e-3
MAX_TIE_GAP = 1e-3
# llama_ftype numbers.
FTYPES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17,
          "Q6_K": 18}

try:
    import gguf
    import numpy as np
    from cyllama.llama import llama_cpp
except ImportError as missing:
    skip(str(missing))


def run(*command, text_in=None):
    done = subprocess.run(command, input=text_in, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.decode()}")
    return done.stdout.decode()


class Model(llama_cpp.LlamaModel):
    """cyllama's get_logits_ith asks the model for its vocabulary's size, which that class does not tell."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


class Peer:
    """A GGUF file in llama.cpp, with a key-value cache in fp32."""

    def __init__(self, path):
        params = llama_cpp.LlamaModelParams()
        params.n_gpu_layers = 0
        params.use_extra_bufts = False
        self.model = Model(path, params)
        self.vocab = self.model.get_vocab()

    def ids(self, text, special=True):
        return list(self.vocab.tokenize(text, True, special))

    def context(self):
        params = llama_cpp.LlamaContextParams()
        params.n_ctx, params.n_batch, params.n_ubatch = 512, 512, 512
        params.n_threads = params.n_threads_batch = len(os.sched_getaffinity(0))
        params.type_k = params.type_v = 0
        params.flash_attn_type = 0
        return llama_cpp.LlamaContext(self.model, params)

    def logits(self, ids):
        """After the last of the tokens."""
        context = self.context()
        context.decode(llama_cpp.llama_batch_get_one(ids))
        return np.array(context.get_logits_ith(-1), dtype=np.float32)

    def greedy(self, ids, n):
        context, made, gaps = self.context(), [], []
        batch, at = ids, 0
        while len(made) < n:
            context.decode(llama_cpp.llama_batch_get_one(batch, at))
            at += len(batch)
            logits = np.array(context.get_logits_ith(-1), dtype=np.float32)
            top = np.argsort(logits)[-2:]
            gaps.append(float(logits[top[1]] - logits[top[0]]) / float(logits.std()))
            if self.vocab.is_eog(int(top[1])):
                break
            made.append(int(top[1]))
            batch = [made[-1]]
        return made, gaps


class Ours:
    def __init__(self, vlorp, dump_logits, path, scratch):
        self.vlorp, self.dump, self.path, self.scratch = vlorp, dump_logits, path, scratch

    def ids(self, text):
        return [int(i) for i in run(self.vlorp, "tokenize", self.path, text_in=text.encode()).split()]

    def logits(self, ids):
        raw = os.path.join(self.scratch, "logits.f32")
        run(self.dump, self.path, raw, *map(str, ids))
        return np.fromfile(raw, dtype=np.float32).reshape(len(ids), -1)[-1]

    def text(self, prompt):
        return json.loads(run(self.vlorp, "generate", self.path, "--prompt", prompt, "--max_new_tokens",
                              str(NEW_TOKENS), "--dtype", "float32", "--json"))["text"]


def compare_tokens(ours, peer, what, form=None):
    """form: what the tokenizer makes of a text first, as the Hugging Face library does and llama.cpp does not."""
    for text in PROMPTS + TEXTS:
        theirs = peer.ids(unicodedata.normalize(form, text) if form else text)
        if ours.ids(text) != theirs:
            sys.exit(f"{what}: {text!r}: vlorp {ours.ids(text)}, llama.cpp {theirs}")


def continuation(peer, ids, made):
    """The text of made after ids."""
    before = len(peer.vocab.detokenize(ids, remove_special=True))
    return peer.vocab.detokenize(ids + made, remove_special=True)[before:].strip()


def compare_text(ours, judge, what):
    """Equal greedy text, or equal up to a token where the judge's two best are nearly as good; logits.  Returns the
    texts by prompt."""
    ties, worst, texts = 0, 0.0, {}
    for prompt in PROMPTS:
        ids = judge.ids(prompt)
        worst = max(worst, float(np.abs(ours.logits(ids) - judge.logits(ids)).max()))
        made, gaps = judge.greedy(ids, NEW_TOKENS)
        got, want = ours.text(prompt).strip(), continuation(judge, ids, made)
        texts[prompt] = got
        if got == want:
            continue
        same = os.path.commonprefix([got, want])
        at = sum(same.startswith(continuation(judge, ids, made[:k + 1])) for k in range(len(made)))
        if at >= len(gaps) or not gaps[at] <= MAX_TIE_GAP:
            sys.exit(f"{what}: {prompt!r}: greedy text differs at token {at}\nvlorp     {got!r}\nllama.cpp {want!r}\n"
                     f"{gaps}")
        ties += 1
    if not worst <= MAX_DIFFERENCE:
        sys.exit(f"{what}: logits differ by {worst:.3g}, at most {MAX_DIFFERENCE} is allowed")
    print(f"{what}: tokens equal; {len(PROMPTS)} greedy texts equal, {ties} of them up to a tie; logits within "
          f"{worst:.2g}", flush=True)
    return texts


def compare_arithmetic(ours, peer, texts, what):
    """llama.cpp's own arithmetic on the same file rounds activations to the weights' type (f16, bf16) or to 8 bits
    (quantised); what that does is reported, not judged."""
    rough, equal = 0.0, 0
    for prompt, text in texts.items():
        ids = peer.ids(prompt)
        mine, theirs = ours.logits(ids), peer.logits(ids)
        rough = max(rough, float(np.abs(mine - theirs).max() / theirs.std()))
        equal += text == continuation(peer, ids, peer.greedy(ids, NEW_TOKENS)[0])
    print(f"{what}: in llama.cpp's own arithmetic {equal} of {len(texts)} greedy texts equal, logits within "
          f"{rough:.2g} of their standard deviation", flush=True)


def quantise(source, out, ftype):
    params = llama_cpp.LlamaModelQuantizeParams()
    params.ftype, params.nthread, params.allow_requantize = ftype, len(os.sched_getaffinity(0)), True
    llama_cpp.model_quantize(source, out, params)


def check_file(vlorp, dump_logits, path, scratch, what):
    """A file that is not f32.  The judge is llama.cpp's own expansion of it to f32, run in f32, where no rounding of
    activations hides anything."""
    expanded = os.path.join(scratch, "expanded.gguf")
    quantise(path, expanded, 0)
    ours, judge = Ours(vlorp, dump_logits, path, scratch), Peer(expanded)
    compare_tokens(ours, judge, what)
    texts = compare_text(ours, judge, what)
    os.remove(expanded)
    compare_arithmetic(ours, Peer(path), texts, what)


# What sets a family apart in config.json, and the vectors that its layers have besides.
ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}
BIASES = {"self_attn.q_proj.bias": 64, "self_attn.k_proj.bias": 32, "self_attn.v_proj.bias": 32}
FAMILIES = {"llama": ({"model_type": "llama"}, {}), "llama3": ({"model_type": "llama", "rope_scaling": ROPE}, {}),
            "mistral": ({"model_type": "mistral", "sliding_window": None}, {}),
            "qwen2": ({"model_type": "qwen2"}, BIASES),
            "qwen3": ({"model_type": "qwen3"}, {"self_attn.q_norm.weight": 16, "self_attn.k_norm.weight": 16})}


def tiny_model(folder, tokenizer, vocab, family="llama"):
    """Random weights, two layers, 64 wide, around the files of a tokenizer."""
    os.makedirs(folder)
    for name in os.listdir(tokenizer):
        if name != "config.json" and not name.endswith(".safetensors"):
            shutil.copy(os.path.join(tokenizer, name), folder)
    special, vectors = FAMILIES[family]
    config = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "head_dim": 16, "intermediate_size": 96, "vocab_size": vocab, "max_position_embeddings": 256,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
              "torch_dtype": "float32", **special}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    shapes = {"model.embed_tokens.weight": [vocab, 64], "model.norm.weight": [64]}
    matrices = {"self_attn.q_proj": [64, 64], "self_attn.k_proj": [32, 64], "self_attn.v_proj": [32, 64],
                "self_attn.o_proj": [64, 64], "mlp.gate_proj": [96, 64], "mlp.up_proj": [96, 64],
                "mlp.down_proj": [64, 96]}
    for layer in ("model.layers.0.", "model.layers.1."):
        shapes.update({f"{layer}{name}.weight": shape for name, shape in matrices.items()})
        shapes.update({f"{layer}{name}": [n] for name, n in vectors.items()})
        shapes.update({f"{layer}{name}.weight": [64] for name in ("input_layernorm", "post_attention_layernorm")})
    rng, header, data = np.random.default_rng(0), {}, b""
    for name, shape in shapes.items():
        mean = 1.0 if "norm" in name else 0.0
        values = rng.normal(mean, 0.25, shape).astype(np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def check_families(vlorp, dump_logits, data, scratch):
    """Logits at the end of a text that is longer than the scaled rotary positions' original length."""
    for family in FAMILIES:
        folder, path = os.path.join(scratch, family), os.path.join(scratch, f"{family}.gguf")
        tiny_model(folder, f"{data}/models/stories260K-hf", 512, family)
        run(vlorp, "convert", folder, "--out", path, "--dtype", "float32")
        ours, peer = Ours(vlorp, dump_logits, folder, scratch), Peer(path)
        ids = peer.ids("Once upon a time there was a little girl named Lily. She loved to play outside. " * 4)
        worst = float(np.abs(ours.logits(ids) - peer.logits(ids)).max())
        if len(ids) <= 64 or not worst <= MAX_DIFFERENCE:
            sys.exit(f"{family}: {len(ids)} tokens, logits differ by {worst:.3g}, at most {MAX_DIFFERENCE} is allowed")
        print(f"family {family}: logits after {len(ids)} tokens within {worst:.2g}", flush=True)


def check_tokenizers(vlorp, data, scratch):
    """Tokenizers written as metadata give llama.cpp's own vectors in llama.cpp, and vlorp's ids with special tokens."""
    for name, vectors in (("gpt2", "gpt-2"), ("llama2", "llama-spm"), ("llama3", "llama-bpe"), ("qwen3", "qwen2")):
        folder, path = os.path.join(scratch, name), os.path.join(scratch, f"{name}.gguf")
        tiny_model(folder, f"{data}/tokenizers/{name}", 160000)
        run(vlorp, "convert", folder, "--out", path, "--dtype", "float16")
        peer, ours = Peer(path), Ours(vlorp, None, path, scratch)
        base = f"{data}/tokenizers/vectors/llama.cpp/ggml-vocab-{vectors}.gguf"
        with open(f"{base}.inp", encoding="utf-8", newline="") as file:
            texts = file.read().split("\n__ggml_vocab_test__\n")[:-1]
        with open(f"{base}.out", encoding="utf-8") as file:
            lines = file.read().split("\n")
        for text, line in zip(texts, lines):
            got = list(peer.vocab.tokenize(text, False, False))
            if got != [int(word) for word in line.split()]:
                sys.exit(f"{name}: {text!r}: llama.cpp {got}, its vector {line}")
        compare_tokens(ours, peer, name, "NFC" if name == "qwen3" else None)
        print(f"tokenizer {name}: {len(texts)} of llama.cpp's vectors in llama.cpp, {len(PROMPTS + TEXTS)} texts with "
              f"special tokens as here", flush=True)


def check_written(vlorp, dump_logits, model, scratch):
    """Every form that convert writes."""
    f32 = os.path.join(scratch, "float32.gguf")
    run(vlorp, "convert", model, "--out", f32, "--dtype", "float32")
    ours, peer = Ours(vlorp, dump_logits, f32, scratch), Peer(f32)
    compare_tokens(ours, peer, f"{model} as float32")
    compare_text(ours, peer, f"{model} as float32")
    for dtype in ("float16", "bfloat16", "q8_0"):
        path = os.path.join(scratch, f"{dtype}.gguf")
        run(vlorp, "convert", model, "--out", path, "--dtype", dtype)
        check_file(vlorp, dump_logits, path, scratch, f"{model} as {dtype}")
        os.remove(path)
    return f32


def check_quantised(vlorp, dump_logits, source, scratch):
    """Every type that llama.cpp's quantiser makes of an f32 file."""
    for name, ftype in FTYPES.items():
        path = os.path.join(scratch, f"{name}.gguf")
        quantise(source, path, ftype)
        types = ", ".join(sorted({t.tensor_type.name for t in gguf.GGUFReader(path).tensors}))
        check_file(vlorp, dump_logits, path, scratch, f"{name} ({types})")
        os.remove(path)


def main():
    vlorp, dump_logits, *models = sys.argv[1:]
    data = os.environ.get("VLORP_TEST_DATA", "../shared/data")
    llama_cpp.disable_logging()
    small = [f"{data}/models/stories260K-hf", f"{data}/models/stories260K-gguf/stories260K.gguf"]
    if not models:
        with tempfile.TemporaryDirectory() as scratch:
            check_families(vlorp, dump_logits, data, scratch)
        with tempfile.TemporaryDirectory() as scratch:
            check_tokenizers(vlorp, data, scratch)
    for model in models or small:
        with tempfile.TemporaryDirectory() as scratch:
            f32 = check_written(vlorp, dump_logits, model, scratch)
            if models:
                check_quantised(vlorp, dump_logits, f32, scratch)


if __name__ == "__main__":
    main()
