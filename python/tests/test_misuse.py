"""Mistakes: one exception that says what to do, or it works."""
import copy
import pickle

import pytest
import torch
from torch import nn

from common import SETTINGS, causal_lm, mlp, mlp_batches, mlp_loss, moved, train
from vlorp.optim import ProjFactor


def fails(error, text, call, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert text in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


@pytest.mark.parametrize("settings, text", [
    (dict(lr=-1.0), "lr -1.0"), (dict(lr=float("nan")), "lr nan"), (dict(betas=(0.9, 1.0)), "betas"),
    (dict(eps=0.0), "eps 0.0"), (dict(weight_decay=-1.0), "weight_decay"),
    (dict(update_proj_gap=0), "update_proj_gap 0"),
    (dict(scale=0.0), "scale 0.0"), (dict(proj_matrix_dist="svd"), "libvlorp alone"), (dict(factor=2.5), "factor 2.5"),
    (dict(factor=-1), "factor -1"), (dict(factor="many"), "'auto'"),
    (dict(factor=3, budget=16, rank=None), "not a multiple of factor 3"),
    (dict(factor=7, strict_factor=True), "0.weight [96, 48]"), (dict(scheduler="step"), "scheduler 'step'"),
    (dict(warmup_steps=20, num_training_steps=10), "exceed"), (dict(momentum="drop"), "reset, transport, keep"),
    (dict(side="up"), "auto, left, right"), (dict(targets=("nothing.*",)), "nothing.*"),
    (dict(max_grad_norm=0.0), "max_grad_norm"),
    (dict(min_lr_ratio=2.0), "min_lr_ratio"), (dict(backend="cuda"), "backend"), (dict(seed=-1), "seed")], ids=str)
def test_values(settings, text):
    fails(ValueError, text, ProjFactor, mlp(), **SETTINGS | settings)


def test_models_that_cannot_be_trained():
    fails(TypeError, "the model itself", ProjFactor, mlp().parameters())
    fails(ValueError, "no linear layers", ProjFactor, nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    frozen = mlp().requires_grad_(False)
    fails(ValueError, "frozen", ProjFactor, frozen)
    fails(ValueError, "float16", ProjFactor, mlp().to(torch.float16))
    fails(ValueError, "num_training_steps", ProjFactor(mlp()).get_scheduler)
    fails(NotImplementedError, "whole model", ProjFactor(mlp()).add_param_group,
          {"params": [nn.Parameter(torch.ones(2))]})
    fails(TypeError, "state_dict", pickle.dumps, ProjFactor(mlp()))
    fails(TypeError, "state_dict", copy.deepcopy, ProjFactor(mlp()))


def test_wrappers():
    class FullyShardedDataParallel(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module
    fails(ValueError, "FullyShardedDataParallel", ProjFactor, FullyShardedDataParallel(mlp()))
    model = mlp()
    model[0].weight.ds_id = 0  # as DeepSpeed ZeRO 3 marks what it partitions
    fails(ValueError, "DeepSpeed", ProjFactor, model)
    # A wrapper that replaces what the groups hold, as FSDP and DeepSpeed do after the optimizer was built.
    model = mlp()
    optimizer = ProjFactor(model)
    mlp_loss(model, mlp_batches(1)[0]).backward()
    optimizer.param_groups[0]["params"] = [nn.Parameter(torch.zeros(4))]
    fails(RuntimeError, "FSDP, DeepSpeed", optimizer.step)


def test_moving_the_model_before_training_works():
    a, b = mlp(torch.bfloat16), mlp()
    train(a, mlp_loss, mlp_batches(3, torch.bfloat16))
    optimizer = ProjFactor(b, **SETTINGS)
    b.to(torch.bfloat16)  # after the optimizer was built
    for batch in mlp_batches(3, torch.bfloat16):
        mlp_loss(b, batch).backward()
        torch.nn.utils.clip_grad_norm_(b.parameters(), 0.5)
        optimizer.step()
        b.zero_grad()
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_moving_the_model_while_training_is_an_error():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    mlp_loss(model, mlp_batches(1)[0]).backward()
    optimizer.step()
    model.to(torch.bfloat16)
    mlp_loss(model, mlp_batches(1, torch.bfloat16)[0]).backward()
    fails(RuntimeError, "0.weight was torch.float32 on cpu", optimizer.step)


def test_replaced_parameters_are_an_error():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    model[0] = nn.Linear(48, 96)
    fails(RuntimeError, "no longer holds the 0.weight", mlp_loss(model, mlp_batches(1)[0]).backward)
    assert optimizer.steps_taken == 0


def test_frozen_weights_stay():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = ProjFactor(model, **SETTINGS)
    assert [row["name"] for row in optimizer.settings()] == ["2.weight", "4.weight"]
    mlp_loss(model, mlp_batches(1)[0]).backward()
    optimizer.step()
    start = mlp()
    assert torch.equal(model[0].weight, start[0].weight) and not torch.equal(model[2].weight, start[2].weight)


def test_shared_weights_are_one_matrix():
    def shared():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 48), nn.Linear(48, 8))
        model[2].weight = model[0].weight
        return model
    a, b = shared(), shared()
    optimizer, _ = train(a, mlp_loss, mlp_batches(4))
    train(b, mlp_loss, mlp_batches(4), factored=False)
    assert len(optimizer.slots) == 2 and moved(a, b, shared()) < 1e-5


def test_what_is_not_finite_stops_before_the_update():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    batch = mlp_batches(1)[0]
    for where, name in ((0, "0.weight"), (3, "3.weight")):
        before = [p.detach().clone() for p in model.parameters()]
        mlp_loss(model, batch).backward()
        p = model[where].weight
        slot = next((s for s in optimizer.slots if s.param is p), None)
        (p.grad if slot is None else slot.S).view(-1)[3] = float("nan")
        fails(FloatingPointError, name, optimizer.step)
        assert all(torch.equal(p, q) for p, q in zip(before, model.parameters())) and optimizer.steps_taken == 0
        optimizer.zero_grad()
    mlp_loss(model, batch).backward()
    optimizer.step()
    assert optimizer.steps_taken == 1


def test_settings_that_change_are_an_error():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    mlp_loss(model, mlp_batches(1)[0]).backward()
    optimizer.param_groups[0]["weight_decay"] = 0.5
    fails(RuntimeError, "only lr may change", optimizer.step)


def test_a_state_of_other_settings_is_refused():
    optimizer, _ = train(mlp(), mlp_loss, mlp_batches(2))
    state = optimizer.state_dict()
    fails(ValueError, "update_proj_gap = 3", ProjFactor(mlp(), **SETTINGS | dict(update_proj_gap=4)).load_state_dict,
          state)
    fails(ValueError, "projections", ProjFactor(mlp(), **SETTINGS | dict(factor=4)).load_state_dict, state)
    fails(ValueError, "another model", ProjFactor(mlp()[:1], **SETTINGS).load_state_dict, state)
    fails(ValueError, "seed = 42", ProjFactor(mlp(), **SETTINGS | dict(seed=1)).load_state_dict, state)


def test_a_step_between_forward_and_backward_is_noticed():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    first, second = (mlp_loss(model, batch) for batch in mlp_batches(2))
    first.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


def test_steps_without_gradients_do_nothing():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    optimizer.step()
    assert optimizer.steps_taken == 0 and optimizer.grad_norm is None
    with torch.no_grad():
        mlp_loss(model, mlp_batches(1)[0])
    assert optimizer.steps_taken == 0


def test_parameters_without_a_gradient_are_left_alone():
    for backend in ("auto", "torch"):
        model = causal_lm("llama")
        model.unused = nn.Parameter(torch.ones(4, 4))
        optimizer = ProjFactor(model, backend=backend, weight_decay=0.5)
        ids = torch.randint(3, 64, (1, 8))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        assert torch.equal(model.unused, torch.ones(4, 4))
