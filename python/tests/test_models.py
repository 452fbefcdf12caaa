"""transformers' families: targets by role, factored against hooks, embedding and head, autocast, checkpointing."""
import pytest
import torch

from common import causal_lm, go_on, lm_loss, moved, same, saved_bytes, token_batches, train
from vlorp.gradient import ProjectedGrad
from vlorp.optim import ProjFactor

FAMILIES = {
    "llama": {f"model.layers.{i}.{name}.weight" for i in range(2) for name in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
        "mlp.down_proj")},
    "gpt2": {f"transformer.h.{i}.{name}.weight" for i in range(2) for name in (
        "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")},
    "opt": {f"model.decoder.layers.{i}.{name}.weight" for i in range(2) for name in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")},
    "bloom": {f"transformer.h.{i}.{name}.weight" for i in range(2) for name in (
        "self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")},
}
EMBEDDING = {"llama": "model.embed_tokens.weight", "gpt2": "transformer.wte.weight",
             "opt": "model.decoder.embed_tokens.weight", "bloom": "transformer.word_embeddings.weight"}
ALL = ("attn", "mlp", "embed", "head")
STEPS = 5


@pytest.mark.parametrize("kind", FAMILIES)
def test_targets_are_found_by_role(kind):
    names = lambda targets: {row["name"] for row in ProjFactor(causal_lm(kind), targets=targets).settings()}
    assert names(("attn", "mlp")) == FAMILIES[kind]
    attention = {name for name in FAMILIES[kind] if "attn" in name or "attention" in name}
    assert names(("attn",)) == attention and names(("mlp",)) == FAMILIES[kind] - attention
    assert names(ALL) == FAMILIES[kind] | {EMBEDDING[kind]}  # the head is tied to it: one matrix


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_way_is_the_same(kind):
    def run(**settings):
        model = causal_lm(kind)
        if settings.pop("checkpointing", False):
            model.gradient_checkpointing_enable(dict(use_reentrant=settings.pop("reentrant")))
        _, norms = train(model, lm_loss, token_batches(STEPS), **settings)
        return model, norms
    a, norms = run()
    for settings in (dict(factored=False), dict(backend="torch"), dict(checkpointing=True, reentrant=False),
                     dict(checkpointing=True, reentrant=True)):
        b, others = run(**settings)
        assert moved(a, b, causal_lm(kind)) < 1e-5 and same(norms, others), settings
    a, norms = run(targets=ALL)
    for settings in (dict(factored=False), dict(backend="torch")):
        b, others = run(targets=ALL, **settings)
        assert moved(a, b, causal_lm(kind)) < 1e-5 and same(norms, others), settings


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_autocast(kind):
    def loss(model, ids):
        with torch.autocast("cpu", torch.bfloat16):
            return lm_loss(model, ids)
    a, b, exact = causal_lm(kind), causal_lm(kind), causal_lm(kind)
    _, norms = train(a, loss, token_batches(1), clip=1e9)
    _, others = train(b, loss, token_batches(1), clip=1e9, factored=False)
    _, wide = train(exact, lm_loss, token_batches(1), clip=1e9)
    # Whole gradients are rounded to bfloat16 by autograd, projected ones are not.
    assert abs(norms[0] / others[0] - 1) < 3e-3 and abs(norms[0] / wide[0] - 1) < 3e-2
    assert a.get_input_embeddings().weight.dtype == torch.float32


def test_an_untied_head_and_its_embedding_are_two_matrices():
    model = causal_lm("llama")
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    names = {row["name"] for row in ProjFactor(model, targets=("head",)).settings()}
    assert names == {"lm_head.weight"}


def test_padding_has_no_gradient():
    a, b = causal_lm("opt"), causal_lm("opt")
    batches = token_batches(3)
    for ids in batches:
        ids[:, -3:] = 1  # OPT's padding
    for model in (a, b):
        assert model.get_input_embeddings().padding_idx is not None
    train(a, lm_loss, batches, targets=ALL)
    train(b, lm_loss, batches, targets=ALL, factored=False)
    assert moved(a, b, causal_lm("opt")) < 1e-5


@pytest.mark.parametrize("kind", FAMILIES)
def test_less_is_saved_for_the_backward_pass(kind):
    ids = token_batches(1)[0]
    model = causal_lm(kind)
    plain = saved_bytes(model, lambda: lm_loss(model, ids))
    model.zero_grad()
    optimizer = ProjFactor(model, factor=8, rank=1, side="right")
    assert saved_bytes(model, lambda: lm_loss(model, ids)) < plain
    assert all(isinstance(slot.param.grad, ProjectedGrad) for slot in optimizer.slots)


def test_compiled_models_train_alike():
    a, b = causal_lm("llama"), causal_lm("llama")
    train(a, lm_loss, token_batches(2))
    compiled = torch.compile(b, backend="eager")
    optimizer = ProjFactor(compiled, lr=1e-2, factor=8, rank=2, update_proj_gap=3, weight_decay=0.1)
    assert optimizer.slots[0].name == "model.layers.0.self_attn.q_proj.weight"
    go_on(compiled, optimizer, lm_loss, token_batches(2))
    assert moved(a, b, causal_lm("llama")) < 1e-5
