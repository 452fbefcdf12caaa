"""A LLaMA decoder in plain PyTorch, for versions that transformers does not run on (Debian's 1.13).

Reads a Hugging Face folder in fp32.  Attention is PyTorch's fused one where there is one.
"""
import json
import math
import os
import struct

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.H, self.G = c["num_attention_heads"], c["num_key_value_heads"]
        D = c["hidden_size"]
        self.E = c.get("head_dim") or D // self.H
        self.q_proj = nn.Linear(D, self.H * self.E, bias=False)
        self.k_proj = nn.Linear(D, self.G * self.E, bias=False)
        self.v_proj = nn.Linear(D, self.G * self.E, bias=False)
        self.o_proj = nn.Linear(self.H * self.E, D, bias=False)

    def forward(self, x, cos, sin, mask):
        B, T, _ = x.shape
        q = rotate(self.q_proj(x).view(B, T, self.H, self.E).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(B, T, self.G, self.E).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(B, T, self.G, self.E).transpose(1, 2)
        k = k.repeat_interleave(self.H // self.G, 1)
        v = v.repeat_interleave(self.H // self.G, 1)
        if hasattr(F, "scaled_dot_product_attention"):
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            o = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(self.E) + mask, -1) @ v
        return self.o_proj(o.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        D, width = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(D, width, bias=False)
        self.up_proj = nn.Linear(D, width, bias=False)
        self.down_proj = nn.Linear(width, D, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c)
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Names of parameters are those of transformers without the prefix "model."; head and embedding are tied."""

    def __init__(self, folder):
        super().__init__()
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.c = c = json.load(file)
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.checkpointing = False
        self.load(folder)

    def load(self, folder):
        with open(os.path.join(folder, "model.safetensors"), "rb") as file:
            n = struct.unpack("<Q", file.read(8))[0]
            table = json.loads(file.read(n))
            data = file.read()
        own = dict(self.named_parameters())
        for name, entry in table.items():
            if name in ("__metadata__", "lm_head.weight"):
                continue
            begin, end = entry["data_offsets"]
            assert entry["dtype"] == "F32", "plain_llama reads fp32 folders"
            with torch.no_grad():
                own.pop(name.removeprefix("model.")).copy_(
                    torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).view(entry["shape"]))
        assert not own, f"not in the file: {sorted(own)}"

    def forward(self, ids, labels):
        c = self.c
        T = ids.shape[1]
        E = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        theta = c.get("rope_theta") or c["rope_parameters"]["rope_theta"]
        angle = torch.arange(T).float()[:, None] * theta ** (-torch.arange(0, E, 2).float() / E)
        cos, sin = (torch.cat((f(angle), f(angle)), -1) for f in (torch.cos, torch.sin))
        mask = torch.full((T, T), float("-inf")).triu(1)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = checkpoint(layer, x, cos, sin, mask, use_reentrant=False) if self.checkpointing \
                else layer(x, cos, sin, mask)
        logits = self.norm(x) @ self.embed_tokens.weight.t()
        return F.cross_entropy(logits[:, :-1].reshape(-1, c["vocab_size"]), labels[:, 1:].reshape(-1))
