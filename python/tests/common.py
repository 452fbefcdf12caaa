"""Small models and loops that the tests share."""
import torch
from torch import nn

from vlorp.optim import ProjFactor

# Waiting for other threads costs more than these sizes gain, most of all on a machine that is busy.
torch.set_num_threads(1)


def mlp(dtype=torch.float32):
    """Both sides, one matrix that is kept exact, norms and biases."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 32), nn.LayerNorm(32), nn.Linear(32, 8)).to(dtype)


def mlp_batches(n, dtype=torch.float32, seed=1):
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(5, 7, 48, generator=g).to(dtype), torch.randn(5, 7, 8, generator=g).to(dtype))
            for _ in range(n)]


def mlp_loss(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()


def causal_lm(kind):
    """A tiny random model of a family, dropout off."""
    import transformers as tf
    torch.manual_seed(0)
    ids = dict(vocab_size=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = {
        "llama": lambda: tf.LlamaConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                                        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, **ids),
        "gpt2": lambda: tf.GPT2Config(n_embd=48, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0, embd_pdrop=0,
                                      attn_pdrop=0, **ids),
        "opt": lambda: tf.OPTConfig(hidden_size=48, ffn_dim=96, num_hidden_layers=2, num_attention_heads=4, dropout=0.0,
                                    max_position_embeddings=64, word_embed_proj_dim=48, **ids),
        "bloom": lambda: tf.BloomConfig(hidden_size=48, n_layer=2, n_head=4, **ids),
    }[kind]()
    model = tf.AutoModelForCausalLM.from_config(config)
    model.config.use_cache = False
    return model.train()


def token_batches(n):
    g = torch.Generator().manual_seed(1)
    return [torch.randint(3, 64, (2, 12), generator=g) for _ in range(n)]


def lm_loss(model, ids):
    return model(input_ids=ids, labels=ids).loss


SETTINGS = dict(lr=1e-2, factor=8, rank=2, update_proj_gap=3, weight_decay=0.1, n_threads=2)


def train(model, loss, batches, accumulate=1, clip=0.5, **settings):
    """A plain torch loop; returns the optimizer and the norms that clip_grad_norm_ saw."""
    optimizer = ProjFactor(model, **SETTINGS | settings)
    return optimizer, go_on(model, optimizer, loss, batches, accumulate, clip)


def go_on(model, optimizer, loss, batches, accumulate=1, clip=0.5):
    norms = []
    for i, batch in enumerate(batches):
        loss(model, batch).backward()
        if (i + 1) % accumulate == 0:
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
            optimizer.step()
            model.zero_grad()
    return norms


def weights(model):
    return torch.cat([p.detach().float().flatten() for p in model.parameters()])


def moved(a, b, start):
    """The difference of two trained models relative to how far the first one moved."""
    a, b, start = weights(a), weights(b), weights(start)
    assert torch.isfinite(a).all() and torch.isfinite(b).all()
    return float((a - b).norm() / (a - start).norm())


def same(a, b):
    return len(a) == len(b) and all(abs(x / y - 1) <= 1e-5 for x, y in zip(a, b))


def saved_bytes(model, forward):
    """Bytes that a forward pass keeps for the backward pass, the parameters apart; runs both."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = forward()
    total = sum(sizes.values())
    loss.backward()
    return total
