"""Makes tests/golden/data/tiny_*: random models with odd sizes, and what transformers computes with them.

Each folder is a Hugging Face model; golden.json holds packed examples and the sum of their losses,
golden.safetensors the logits of every token and the gradient of that sum for every tensor.  The
arithmetic is float64 on the stored weights, which are float32 or bfloat16.  tiny_*.gguf are the same
models as llama.cpp's converter would write them, with a vocabulary that stands for nothing.

Usage: python tools/make_model_golden.py [NAME ...]     (torch, transformers, safetensors; gguf for GGUF)
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "data"
COMMON = {"hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 64,
         "torch_dtype": "float32"}
SMALL = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 83, "torch_dtype": "bfloat16"}

# name: (config.json beside COMMON, lengths of the examples, whether the weights come in shards, in GGUF too)
MODELS = {
    # heads wider than hidden/heads, three query heads per key head, a head of its own
    "tiny_untied": ({**LLAMA, "hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 2,
                     "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "vocab_size": 67,
                     "rms_norm_eps": 1e-5, "rope_theta": 5000.0, "attention_bias": False, "mlp_bias": False,
                     "tie_word_embeddings": False}, [13, 1, 20], False, False),
    # every bias that a LLaMA configuration can ask for; embedding and head are one matrix
    "tiny_biased": ({**LLAMA, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 53, "rms_norm_eps": 1e-6,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}, "attention_bias": True,
                     "mlp_bias": True, "tie_word_embeddings": True}, [13, 1, 20], False, False),
    # LLaMA 3: scaled rotary positions, used far beyond the original context; tied; in shards
    "tiny_llama3": ({**LLAMA, **SMALL, "head_dim": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
                     "max_position_embeddings": 256, "rope_theta": 500.0,
                     "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                      "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
                    [90, 5], True, True),
    # Qwen2: biases of q, k and v; the second layer looks back over nine tokens; linear scaling as old files say it
    "tiny_qwen2": ({**SMALL, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6,
                    "tie_word_embeddings": True, "max_position_embeddings": 128, "rope_theta": 1000.0,
                    "rope_scaling": {"type": "linear", "factor": 4.0}, "use_sliding_window": True,
                    "sliding_window": 9, "max_window_layers": 1}, [7, 40, 1], False, False),
    # Qwen3: norms of queries and keys, heads wider than hidden/heads; everything as transformers 5 writes it
    "tiny_qwen3": ({**SMALL, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "rms_norm_eps": 1e-6,
                    "head_dim": 12, "tie_word_embeddings": False, "max_position_embeddings": 128,
                    "attention_bias": False, "use_sliding_window": False, "sliding_window": None,
                    "max_window_layers": 2, "layer_types": ["full_attention", "full_attention"],
                    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}, [30, 2, 11], False, True),
    # Mistral: one key head for four queries, a window that is shorter than the texts
    "tiny_mistral": ({**SMALL, "architectures": ["MistralForCausalLM"], "model_type": "mistral",
                      "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
                      "max_position_embeddings": 128, "rope_theta": 10000.0, "sliding_window": 11},
                     [40, 3, 12], False, False),
}


def shards_of(tensors):
    """The tensors in two halves, as transformers names the files."""
    names = list(tensors)
    halves = [names[: len(names) // 2], names[len(names) // 2:]]
    files = [f"model-{i + 1:05d}-of-00002.safetensors" for i in range(2)]
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())},
             "weight_map": {name: file for file, half in zip(files, halves) for name in half}}
    return {file: {name: tensors[name] for name in half} for file, half in zip(files, halves)}, index


def save_weights(folder, tensors, sharded):
    if not sharded:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    files, index = shards_of(tensors)
    for file, part in files.items():
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def interleaved(weight, n_heads):
    """Query or key rows in the order that llama.cpp's converter gives LLaMA's."""
    shape = weight.shape
    return weight.reshape(n_heads, 2, shape[0] // n_heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def llama3_divisors(config, scaled):
    plain = 1.0 / config["rope_theta"] ** (torch.arange(0, config["head_dim"], 2).float() / config["head_dim"])
    return (plain / scaled).float().numpy()


def write_gguf(path, config, tensors, inv_freq):
    import gguf
    arch = config["model_type"]
    n_layers, n_heads, n_kv = (config[k] for k in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads"))
    out = gguf.GGUFWriter(path, arch)
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_block_count(n_layers)
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(n_heads)
    out.add_head_count_kv(n_kv)
    out.add_key_length(config["head_dim"])
    out.add_value_length(config["head_dim"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_rope_freq_base(config["rope_theta"] if "rope_theta" in config else config["rope_parameters"]["rope_theta"])
    tokens = ["<unk>", "<s>", "</s>"] + [chr(0x4E00 + i) for i in range(config["vocab_size"] - 3)]
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([-float(i) for i in range(len(tokens))])
    out.add_token_types([2, 3, 3] + [1] * (len(tokens) - 3))
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    if config.get("rope_scaling", {}).get("rope_type") == "llama3":
        out.add_tensor("rope_freqs.weight", llama3_divisors(config, inv_freq))
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()), n_layers)
    for name, tensor in tensors.items():
        weight = tensor.float().numpy()
        for which, heads in ((".q_proj.", n_heads), (".k_proj.", n_kv)):
            if arch == "llama" and which in name:
                weight = interleaved(weight, heads)
        to = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if weight.ndim == 1:
            out.add_tensor(to, weight.copy())
        else:
            bf16 = gguf.GGMLQuantizationType.BF16
            out.add_tensor(to, gguf.quants.quantize(weight, bf16), raw_dtype=bf16)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def random_model(folder, seed):
    """A model of the folder's configuration whose weights survive storing in its dtype."""
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    stored = json.loads((folder / "config.json").read_text())["torch_dtype"]
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() == 2 else 0.5
            value = scale * torch.randn_like(parameter) + (1.0 if parameter.dim() == 1 else 0.0)
            parameter.copy_(value.to(getattr(torch, stored)))
    tensors = {n: p.detach().to(getattr(torch, stored)).clone() for n, p in model.named_parameters()}
    return model.double(), tensors


def compute(model, lengths):
    """(ids, targets, logits, loss) of every example; gradients stay in the model."""
    vocabulary = model.config.vocab_size
    ids = [torch.randint(0, vocabulary, (n,)) for n in lengths]
    targets = []
    logits = []
    loss = torch.zeros((), dtype=torch.float64)
    for example in ids:
        target = torch.cat([example[1:], torch.tensor([-1])])
        target[torch.rand(len(target)) < 0.25] = -1
        out = model(example[None]).logits[0]
        loss = loss + torch.nn.functional.cross_entropy(out, target, ignore_index=-1, reduction="sum")
        targets.append(target)
        logits.append(out.detach())
    loss.backward()
    return torch.cat(ids), torch.cat(targets), torch.cat(logits), loss.item()


def make(name, seed):
    config, lengths, sharded, in_gguf = MODELS[name]
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**COMMON, **config}, indent=1) + "\n")
    model, weights = random_model(folder, seed)
    save_weights(folder, weights, sharded)
    ids, targets, logits, loss = compute(model, lengths)
    tensors = {"grad." + n: p.grad.float() for n, p in model.named_parameters()}
    tensors["logits"] = logits.float()
    save_file(tensors, folder / "golden.safetensors", metadata={"format": "pt"})
    golden = {"computed_with": f"torch {torch.__version__}, transformers {transformers.__version__}, float64",
              "seed": seed, "lengths": lengths, "ids": ids.tolist(), "targets": targets.tolist(), "loss_sum": loss}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    stored = {}
    for file in folder.glob("model*.safetensors"):
        stored.update(load_file(file))
    assert set(stored) == {n for n, _ in model.named_parameters()}
    if in_gguf:
        write_gguf(OUT / f"{name}.gguf", config, weights, model.model.rotary_emb.inv_freq.float())
    print(name, loss, sum(p.numel() for p in model.parameters()), "parameters")


for number, model_name in enumerate(MODELS):
    if model_name in sys.argv[1:] or len(sys.argv) == 1:
        make(model_name, 7 + number)
