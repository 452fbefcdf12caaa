"""The optimizer's steps: libvlorp, the torch path, factored layers and hooks all do the same."""
import copy
import io

import pytest
import torch
from torch import nn

from common import SETTINGS, go_on, mlp, mlp_batches, mlp_loss, moved, same, saved_bytes, train
from vlorp import binding
from vlorp.gradient import ProjectedGrad
from vlorp.optim import ProjFactor

STEPS = 8  # two refreshes


@pytest.fixture(scope="module")
def reference():
    model = mlp()
    optimizer, norms = train(model, mlp_loss, mlp_batches(2 * STEPS), accumulate=2)
    return model, norms, optimizer


def library_run(batches, clip):
    """libvlorp alone, fed with the whole gradients of an unmodified model."""
    model = mlp()
    library = binding.Library()
    kw = dict(seed=42, update_gap=SETTINGS["update_proj_gap"])
    handle = binding.Handle(library, **kw)
    for name, p in model.named_parameters():
        if p.dim() > 1:
            handle.add_matrix(name, *p.shape, dtype=binding.F32, weight=p.data_ptr(), decay=SETTINGS["weight_decay"],
                              factor=SETTINGS["factor"], rank=SETTINGS["rank"])
        else:
            handle.add_vector(name, p.numel(), dtype=binding.F32, weight=p.data_ptr())
    handle.commit()
    norms = []
    for i, batch in enumerate(batches):
        model.zero_grad()
        mlp_loss(model, batch).backward()
        for number, p in enumerate(model.parameters()):
            address = binding.ct.c_void_p(p.grad.data_ptr())
            handle.call(*("accumulate", number, address, binding.ct.c_int64(0)) if p.dim() > 1 else
                        ("accumulate_vector", number, address))
        if i % 2:
            norms.append(handle.step(SETTINGS["lr"], 1.0, clip).grad_norm)
    return model, norms


def test_the_librarys_own_steps_on_the_same_gradients(reference):
    model, norms = library_run(mlp_batches(2 * STEPS), 0.5)
    assert moved(reference[0], model, mlp()) < 1e-5
    assert same(reference[1], norms)
    assert max(norms) > 1  # clipping acted


@pytest.mark.parametrize("other", [dict(factored=False), dict(backend="torch"), dict(backend="torch", factored=False)])
@pytest.mark.parametrize("setting", [
    dict(), dict(momentum="transport"), dict(momentum="keep"), dict(proj_matrix_dist="rademacher"),
    dict(momentum="transport", proj_matrix_dist="rademacher"), dict(factor=1, rank=5), dict(factor=0.5, rank=24),
    dict(side="left"), dict(side="right", momentum="transport"), dict(scale=0.25), dict(factor=None, rank=None)],
    ids=str)
def test_every_way_is_the_same(setting, other):
    a, b = mlp(), mlp()
    _, norms = train(a, mlp_loss, mlp_batches(STEPS), **setting)
    _, others = train(b, mlp_loss, mlp_batches(STEPS), **setting | other)
    assert moved(a, b, mlp()) < 1e-5 and same(norms, others)


def test_bfloat16_weights_are_equal_to_the_bit():
    def run(**settings):
        model = mlp(torch.bfloat16)
        train(model, mlp_loss, mlp_batches(STEPS, torch.bfloat16), clip=1e9, **settings)
        return model
    a, b, nearest = run(), run(backend="torch"), run(rounding="nearest")
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert not all(torch.equal(p, q) for p, q in zip(a.parameters(), nearest.parameters()))


def test_mixed_dtypes_work():
    a, b = mlp(), mlp()
    for model in (a, b):
        model[2].to(torch.bfloat16)
        model[2].register_forward_pre_hook(lambda module, args: args[0].to(torch.bfloat16))
        model[2].register_forward_hook(lambda module, args, out: out.float())
    train(a, mlp_loss, mlp_batches(4))
    train(b, mlp_loss, mlp_batches(4), backend="torch")
    assert moved(a, b, mlp()) < 1e-5 and a[2].weight.dtype == torch.bfloat16


def test_no_gradient_of_a_projected_weight_is_formed(reference):
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    mlp_loss(model, mlp_batches(1)[0]).backward()
    grads = [layer.weight.grad for layer in (model[0], model[2], model[4])]
    assert all(isinstance(g, ProjectedGrad) for g in grads)
    assert type(model[3].weight.grad) is torch.Tensor
    # right [96, 48] and left [32, 96] at M = 16, and [8, 32] whole
    assert optimizer.memory()["gradients"] == 4 * (96 * 16 + 16 * 96 + 8 * 32)
    assert reference[2].settings()[2]["exact"]


def test_what_is_saved_for_the_backward_pass():
    def saved(model):
        return saved_bytes(model, lambda: mlp_loss(model, mlp_batches(1)[0]))
    plain, model = mlp(), mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    # The first layer (right) keeps 35 x 16 numbers instead of 35 x 48; the others' inputs are kept by the ReLU and
    # whole.
    assert saved(plain) - saved(model) == 4 * 35 * (48 - 16)
    optimizer.close()
    assert saved(model) == saved(plain)


def test_the_norm_is_the_estimate_and_clipping_acts():
    def grads(scale):
        model = mlp()
        optimizer = ProjFactor(model, **SETTINGS)
        (scale * mlp_loss(model, mlp_batches(1)[0])).backward()
        return model, optimizer
    model, optimizer = grads(1.0)
    total = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    again = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    assert total > 0.1 and abs(float(again) / 1e-3 - 1) < 1e-3
    by_slot = sum(float(slot.squared_norm()) for slot in optimizer.slots)
    others = sum(float(p.grad.square().sum()) for p in model.parameters() if not isinstance(p.grad, ProjectedGrad))
    assert abs((by_slot + others) ** 0.5 / 1e-3 - 1) < 1e-3
    plain = mlp()
    mlp_loss(plain, mlp_batches(1)[0]).backward()
    exact = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1e9)
    assert abs(float(total / exact) - 1) < 0.2  # an estimate, of few numbers here
    # max_grad_norm of the constructor does the same within the step
    a, b = mlp(), mlp()
    train(a, mlp_loss, mlp_batches(4), clip=0.25)
    train(b, mlp_loss, mlp_batches(4), clip=1e9, max_grad_norm=0.25)
    assert moved(a, b, mlp()) < 1e-5


def test_gradients_that_come_otherwise_are_added():
    """A weight used outside its layer, and a gradient assigned by hand."""
    a, b = mlp(), mlp()
    x = mlp_batches(1)[0]
    for model, settings in ((a, {}), (b, dict(factored=False))):
        optimizer = ProjFactor(model, **SETTINGS | settings)
        (mlp_loss(model, x) + 0.1 * model[0].weight.square().sum()).backward()
        optimizer.step()
    assert moved(a, b, mlp()) < 1e-5
    c, d = mlp(), mlp()
    for model, settings in ((c, {}), (d, dict(backend="torch"))):
        optimizer = ProjFactor(model, **SETTINGS | settings)
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert moved(c, d, mlp()) < 1e-5


def test_reading_a_projected_gradient_gives_its_back_projection():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    mlp_loss(model, mlp_batches(1)[0]).backward()
    slot = optimizer.slots[0]
    expected = slot.projection.up(slot.S, slot.P()) / slot.projection.r
    assert torch.allclose(slot.param.grad + 0, expected) and not torch.isnan(slot.param.grad).any()
    with pytest.raises(NotImplementedError, match="0.weight"):
        slot.param.grad.clamp_(-1, 1)
    optimizer.zero_grad(set_to_none=False)
    assert float(slot.S.abs().max()) == 0 and float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)) == 0


@pytest.mark.parametrize("settings", [dict(), dict(backend="torch"), dict(factored=False), dict(momentum="transport")],
                         ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resumed_training_is_identical(settings, dtype):
    batches = mlp_batches(STEPS, dtype)
    whole = mlp(dtype)
    train(whole, mlp_loss, batches, **settings)
    half = mlp(dtype)
    optimizer, _ = train(half, mlp_loss, batches[:4], **settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    file = io.BytesIO()
    torch.save([half.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    weights, state, _ = torch.load(file, weights_only=True)
    resumed = mlp(dtype)
    resumed.load_state_dict(weights)
    other = ProjFactor(resumed, **SETTINGS | settings)
    other.load_state_dict(state)
    assert other.steps_taken == 4
    go_on(resumed, other, mlp_loss, batches[4:])
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters()))


def test_a_state_moves_between_libvlorp_and_torch():
    batches = mlp_batches(STEPS)
    a = mlp()
    optimizer, _ = train(a, mlp_loss, batches[:4])
    b = copy.deepcopy(a)
    other = ProjFactor(b, **SETTINGS | dict(backend="torch"))
    other.load_state_dict(optimizer.state_dict())
    go_on(a, optimizer, mlp_loss, batches[4:])
    go_on(b, other, mlp_loss, batches[4:])
    assert moved(a, b, mlp()) < 1e-5


def test_learning_rates_come_from_the_groups():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS | dict(num_training_steps=10, warmup_steps=2))
    scheduler = optimizer.get_scheduler()
    seen = []
    for batch in mlp_batches(10):
        seen.append(optimizer.param_groups[0]["lr"])
        mlp_loss(model, batch).backward()
        before = model[0].weight.detach().clone()
        optimizer.step()
        scheduler.step()
        assert not torch.equal(before, model[0].weight)
    assert seen[0] == pytest.approx(SETTINGS["lr"] / 2) and seen[1] == seen[2] == pytest.approx(SETTINGS["lr"])
    assert seen[2:] == sorted(seen[2:], reverse=True) and seen[-1] > 0.1 * SETTINGS["lr"]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in model.parameters()]
    mlp_loss(model, mlp_batches(1)[0]).backward()
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters()))


def test_no_bias_correction():
    a, b = mlp(), mlp()
    train(a, mlp_loss, mlp_batches(1), correct_bias=False, weight_decay=0.0)
    train(b, mlp_loss, mlp_batches(1), weight_decay=0.0)
    start = mlp()
    # the first step: projfactor's factor is sqrt(1 - b2) / (1 - b1), AdamW's m and v are left as they are
    ratio = (a[0].weight - start[0].weight).norm().detach() / (b[0].weight - start[0].weight).norm().detach()
    assert abs(float(ratio) / (0.1 / 0.001**0.5) - 1) < 1e-3
    ratio = (a[0].bias - start[0].bias).norm().detach() / (b[0].bias - start[0].bias).norm().detach()
    assert abs(float(ratio) / (0.1 / 0.001**0.5) - 1) < 0.05  # eps counts for more


def test_closures_and_gradient_scalers():
    a, b = mlp(), mlp()
    x = mlp_batches(1)[0]
    optimizer = ProjFactor(a, **SETTINGS)
    def closure():
        optimizer.zero_grad()
        loss = mlp_loss(a, x)
        loss.backward()
        return loss
    assert float(optimizer.step(closure).detach()) == pytest.approx(float(mlp_loss(mlp(), x).detach()))
    scaled = ProjFactor(b, **SETTINGS)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(mlp_loss(b, x)).backward()
    scaler.step(scaled)
    assert moved(a, b, mlp()) < 1e-5
    scaler.update()
    before = b[0].weight.detach().clone()
    scaler.scale(mlp_loss(b, (x[0] * float("inf"), x[1]))).backward()
    scaler.step(scaled)
    assert torch.equal(before, b[0].weight) and scaled.steps_taken == 1


def test_a_copy_of_the_model_is_a_plain_one():
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    twin = copy.deepcopy(model)
    mlp_loss(twin, mlp_batches(1)[0]).backward()
    assert type(twin[0].weight.grad) is torch.Tensor and model[0].weight.grad is None
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    mlp_loss(loaded, mlp_batches(1)[0]).backward()
    assert type(loaded[0].weight.grad) is torch.Tensor
    newer = ProjFactor(model, **SETTINGS)  # takes over from the older one
    mlp_loss(model, mlp_batches(1)[0]).backward()
    newer.step()
    assert optimizer.steps_taken == 0 and newer.steps_taken == 1
    newer.close()
    assert type(model[0]) is nn.Linear
    mlp_loss(model, mlp_batches(1)[0]).backward()
    assert type(model[0].weight.grad) is torch.Tensor
