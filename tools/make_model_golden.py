"""Makes tests/golden/data/tiny_*: random models with odd sizes, and what transformers computes with them.

Each folder is a Hugging Face model; golden.json holds three packed examples and the sum of their
losses, golden.safetensors the logits of every token and the gradient of that sum for every tensor.
Weights are float32, the arithmetic is float64.

Usage: python tools/make_model_golden.py        (torch, transformers and safetensors installed)
"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "data"
COMMON = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "bos_token_id": 1,
          "eos_token_id": 2, "initializer_range": 0.02, "max_position_embeddings": 64, "torch_dtype": "float32"}
MODELS = {
    # heads wider than hidden/heads, three query heads per key head, a head of its own
    "tiny_untied": {"hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 6,
                    "num_key_value_heads": 2, "head_dim": 10, "vocab_size": 67, "rms_norm_eps": 1e-5,
                    "rope_theta": 5000.0, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False},
    # every bias that a LLaMA configuration can ask for; embedding and head are one matrix
    "tiny_biased": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "num_key_value_heads": 4, "vocab_size": 53, "rms_norm_eps": 1e-6,
                    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}, "attention_bias": True,
                    "mlp_bias": True, "tie_word_embeddings": True},
}


def make(name, sizes, seed):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**COMMON, **sizes}, indent=1) + "\n")
    config = transformers.AutoConfig.from_pretrained(folder)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() == 2 else 0.5
            parameter.copy_(scale * torch.randn_like(parameter) + (1.0 if parameter.dim() == 1 else 0.0))
    save_file({n: p.detach().clone() for n, p in model.named_parameters()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    model = model.double()

    lengths = [13, 1, 20]
    ids = [torch.randint(0, config.vocab_size, (n,)) for n in lengths]
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
    tensors = {"grad." + n: p.grad.float() for n, p in model.named_parameters()}
    tensors["logits"] = torch.cat(logits).float()
    save_file(tensors, folder / "golden.safetensors", metadata={"format": "pt"})
    golden = {"computed_with": f"torch {torch.__version__}, transformers {transformers.__version__}, float64",
              "seed": seed, "lengths": lengths, "ids": torch.cat(ids).tolist(), "targets": torch.cat(targets).tolist(),
              "loss_sum": loss.item()}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    assert set(load_file(folder / "model.safetensors")) == {n for n, _ in model.named_parameters()}
    print(name, loss.item(), sum(p.numel() for p in model.parameters()), "parameters")


for number, (name, sizes) in enumerate(MODELS.items()):
    make(name, sizes, 7 + number)
