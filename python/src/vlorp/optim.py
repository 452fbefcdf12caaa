"""ProjFactor: projected gradients, one momentum of their size, row and column sums (arXiv 2505.01744, algorithm 2).

    from vlorp.optim import ProjFactor

    optimizer = ProjFactor(model, lr=2e-5, factor=64, rank=1, num_training_steps=1000)
    trainer = Trainer(model=model, args=args, train_dataset=data, optimizers=(optimizer, optimizer.get_scheduler()))
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from . import binding, checks, layers, native, rules
from .distributed import Ranks
from .gradient import ProjectedGrad
from .projection import Projection
from .slot import Slot
from .targets import Target, find_targets

SCHEDULES = {"constant": binding.CONSTANT, "linear": binding.LINEAR, "cosine": binding.COSINE,
             "cosine_restarts": binding.COSINE_RESTARTS}
SIDES = {"auto": binding.AUTO, "left": binding.LEFT, "right": binding.RIGHT}
# What a group's entries may not change to once state exists; only lr may.
FIXED = ("betas", "eps", "weight_decay", "correct_bias", "update_proj_gap", "scale", "proj_matrix_dist", "momentum",
         "seed", "projections", "names")


def default_budget(hidden: int) -> int:
    """The power of two nearest hidden / 16, within 16 .. 256."""
    budget = 16
    while budget < 256 and 2 * budget - hidden // 16 <= hidden // 16 - budget:
        budget *= 2
    return budget


class _BeforeForward:
    """A hook that neither keeps the optimizer alive nor is saved with the model."""

    def __init__(self, optimizer: ProjFactor) -> None:
        self._optimizer = weakref.ref(optimizer)

    def __call__(self, module: nn.Module, args: Any) -> None:
        optimizer = self._optimizer()
        if optimizer is not None:
            optimizer.before_forward()

    def __reduce__(self) -> Any:
        return _no_hook, ()


def _no_hook() -> Callable[[nn.Module, Any], None]:
    return _nothing


def _nothing(module: nn.Module, args: Any) -> None:
    """What is left of the hook in a model that was saved whole."""


class ProjFactor(torch.optim.Optimizer):
    """Trains all weights of ``model``: its targeted matrices by ProjFactor, everything else by AdamW.

    The published arguments:

    lr, betas, eps, weight_decay     decay is decoupled and never applied to 1-D parameters; eps also serves AdamW
    correct_bias                     False leaves out both bias corrections (and then takes the torch path)
    rank, factor                     r and c; a factor below one is 1/2, 1/4, ...; None or "auto": from ``budget``
    update_proj_gap                  steps between two draws of the projection
    scale                            multiplies the back-projection; it cancels up to eps
    scheduler, num_training_steps,   what ``get_scheduler()`` returns; they change nothing else.  warmup_steps is a
    warmup_steps, min_lr_ratio       count, or a fraction of the run below 1
    gradient_accumulation            accepted; sums are plain sums, and the caller's scaling of the loss stays
    proj_matrix_dist                 "normal" ("gaussian") or "rademacher"

    and more, by keyword:

    budget          M = c r numbers per row; default: the power of two nearest hidden/16, within 16 .. 256
    side            "auto" (the smaller dimension is compressed), "left" or "right"
    strict_factor   True: a matrix that factor does not divide is an error instead of getting the nearest setting
    targets         roles ("attn", "mlp", "embed", "head") or patterns of module names
    momentum        at a refresh: "reset", "transport" or "keep"
    rounding        of bfloat16 weights: "stochastic" or "nearest"
    seed            of projections and rounding
    factored        True: the targeted layers save projected inputs and never form a weight gradient; False: gradients
                    are formed by autograd and projected by hooks
    max_grad_norm   clips in ``step`` (besides what a trainer clips before it); None: does not
    backend         "auto": libvlorp for parameters on the CPU, torch elsewhere; "torch": torch everywhere
    n_threads       of libvlorp; default: torch's
    process_group   ranks to sum over: "auto" (all, when torch.distributed is initialised), None (none), or a group

    ``step`` consumes the projected gradients: ``param.grad`` of a projected weight is None afterwards.
    """

    def __init__(self, model: nn.Module, lr: float = 2e-5, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-6, weight_decay: float = 0.0, correct_bias: bool = True, rank: int | None = None,
                 update_proj_gap: int = 30, scale: float = 1.0, factor: float | str | None = None,
                 scheduler: str = "cosine", gradient_accumulation: int = 1, num_training_steps: int | None = None,
                 warmup_steps: float = 0.03, min_lr_ratio: float = 0.1, proj_matrix_dist: str = "normal", *,
                 budget: int | None = None, side: str = "auto", strict_factor: bool = False,
                 targets: Sequence[str] = ("attn", "mlp"), momentum: str = "reset", rounding: str = "stochastic",
                 seed: int = 42, factored: bool = True, max_grad_norm: float | None = None, backend: str = "auto",
                 n_threads: int | None = None, process_group: Any = "auto") -> None:
        model = checks.plain_model(model)
        distribution = {"gaussian": "normal"}.get(proj_matrix_dist, proj_matrix_dist)
        checks.values(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, update_proj_gap=update_proj_gap,
                      scale=scale, gradient_accumulation=gradient_accumulation, max_grad_norm=max_grad_norm, seed=seed)
        checks.choices(scheduler=(scheduler, SCHEDULES), proj_matrix_dist=(distribution, native.DISTRIBUTIONS),
                       side=(side, SIDES), momentum=(momentum, native.MOMENTUM), rounding=(rounding, native.ROUNDING),
                       backend=(backend, ("auto", "torch")))
        checks.schedule(num_training_steps, warmup_steps, min_lr_ratio)
        self.model = model
        self.update_proj_gap, self.scale, self.momentum, self.seed = update_proj_gap, scale, momentum, seed
        self.distribution, self.rounding, self.factored = distribution, rounding, factored
        self.max_grad_norm = max_grad_norm
        self.steps_taken = 0
        self.grad_norm: float | None = None
        self.ranks = Ranks(process_group)
        self._schedule = (scheduler, num_training_steps, warmup_steps, min_lr_ratio)
        self._native = backend == "auto" and correct_bias
        self._n_threads = n_threads
        self._ready = False
        self._seen: dict[int, tuple[torch.device, torch.dtype]] = {}
        self._handles: list[tuple[int, native.Handles]] = []

        found = find_targets(model, targets)
        hidden = getattr(getattr(model, "config", None), "hidden_size", max(min(target.shape) for target in found))
        asked = self._asked(hidden, factor, rank, budget)
        asked.update(side=SIDES[side], strict=strict_factor, distribution=native.DISTRIBUTIONS[distribution])
        self.slots = [self._slot(target, asked) for target in found]
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._building = True
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
                    "correct_bias": correct_bias, "steps_taken": 0}
        super().__init__(self._groups(model), defaults)
        self._building = False
        checks.dtypes(self._names, [p for group in self.param_groups for p in group["params"]])
        self._own = [list(group["params"]) for group in self.param_groups]
        self._fixed = [{name: group[name] for name in checks.HANDLE_SETTINGS} for group in self.param_groups]
        self._attach(found)

    # Construction.

    @staticmethod
    def _asked(hidden: int, factor: float | str | None, rank: int | None, budget: int | None) -> dict[str, Any]:
        """The fields of a projection that is asked for; what is open is filled in as the program does."""
        if factor == "auto":
            factor = None
        if isinstance(factor, str):
            raise ValueError(f"factor {factor!r}: a number, or 'auto'")
        if factor is not None and (factor <= 0 or (factor if factor >= 1 else 1 / factor) % 1 != 0):
            raise ValueError(f"factor {factor}: a whole number, or 1/2, 1/4, ...")
        if budget is None and (factor is None or rank is None):
            shared = default_budget(hidden)
            if factor is not None:
                rank = max(1, int(shared / factor))
            elif rank is not None:
                factor = max(1, shared // rank)
            else:
                budget = shared
        asked: dict[str, Any] = {"rank": rank or 0, "budget": budget or 0}
        if factor is None:
            return asked
        return asked | ({"factor": int(factor)} if factor >= 1 else {"factor": 1, "divisor": int(1 / factor)})

    def _slot(self, target: Target, asked: dict[str, Any]) -> Slot:
        n, m = target.shape
        try:
            used = native.library().resolve(target.name, n, m, **asked)
        except binding.VlorpError as error:
            raise ValueError(str(error)) from None
        projection = Projection.from_used(used, n, m, self.distribution == "rademacher")
        if projection.coarse > 1 and target.transposed:
            raise ValueError(f"{target.name}: a Conv1D weight takes factors from 1 on")
        return Slot(self, target.name, target.param, target.transposed, projection, used)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Projected matrices, plain matrices, and what is never decayed."""
        projected = {id(slot.param) for slot in self.slots}
        plain = [p for p in model.parameters() if p.requires_grad and id(p) not in projected]
        groups: list[dict[str, Any]] = [{
            "params": [slot.param for slot in self.slots], "kind": "projected", "names": [s.name for s in self.slots],
            "update_proj_gap": self.update_proj_gap, "scale": self.scale, "proj_matrix_dist": self.distribution,
            "momentum": self.momentum, "seed": self.seed,
            "projections": [[p.right, p.factor, p.r] for p in (slot.projection for slot in self.slots)]}]
        for params, extra in ([p for p in plain if p.dim() > 1], {}), ([p for p in plain if p.dim() < 2],
                                                                        {"weight_decay": 0.0}):
            if params:
                groups.append({"params": params, "kind": "adamw", "names": [self._names[id(p)] for p in params],
                               "seed": self.seed, **extra})
        return groups

    def _attach(self, found: list[Target]) -> None:
        """Hooks on the weights, factored layers, and what DistributedDataParallel must leave to us."""
        self._hooks = []
        self._factored: list[nn.Module] = []
        for slot, target in zip(self.slots, found, strict=True):
            older = getattr(slot.param, layers.SLOT, None)
            if older is not None and older.alive:
                older.owner.close()
            setattr(slot.param, layers.SLOT, slot)
            param: Any = slot.param
            self._hooks.append(param.register_post_accumulate_grad_hook(slot.hook))
            if self.factored:
                self._factored += [module for module in target.modules if layers.factor_module(module)]
        self.ranks.leave_to_us(self.model, [slot.name for slot in self.slots])
        self._hooks.append(self.model.register_forward_pre_hook(_BeforeForward(self)))

    def close(self) -> None:
        """Gives the model back as it was: plain layers, no hooks.  The optimizer is of no more use."""
        for hook in self._hooks:
            hook.remove()
        for module in self._factored:
            layers.restore_module(module)
        for slot in self.slots:
            if getattr(slot.param, layers.SLOT, None) is slot:
                delattr(slot.param, layers.SLOT)
            if isinstance(slot.param.grad, ProjectedGrad):
                slot.param.grad = None
        self._hooks, self._factored = [], []

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if not getattr(self, "_building", False):
            raise NotImplementedError("ProjFactor is built from the whole model; freeze what should not be trained, "
                                      "and build a new optimizer when that changes")
        super().add_param_group(param_group)

    def __reduce__(self) -> Any:
        raise TypeError("a ProjFactor cannot be pickled or copied: save its state_dict(), and load it into a new one")

    # State.

    def before_forward(self) -> None:
        """Ranks begin with the same weights, as DistributedDataParallel sees to for those that it reduces."""
        if not self._ready and self.ranks.size > 1:
            self.ensure_state()

    def ensure_state(self) -> None:
        """Allocates sums and moments where the parameters are now; the first forward or backward pass does it."""
        if self._ready:
            return
        checks.still_in_model(self.model, self.slots)
        params = [p for own in self._own for p in own]
        checks.dtypes(self._names, params)
        self._seen = {id(p): (p.device, p.dtype) for p in params}
        pool: binding.Pool | None = None
        for number, group in enumerate(self.param_groups):
            cpu = [p for p in group["params"] if self._native and p.device.type == "cpu" and p.is_contiguous()]
            if cpu:
                pool = pool or binding.Pool(self._n_threads or torch.get_num_threads())
                self._allocate_native(number, group, {id(p) for p in cpu}, pool)
            if group["kind"] == "projected":
                self._allocate_slots(slot for slot in self.slots if slot.S is None)
            else:
                for p in group["params"]:
                    if p not in self.state:
                        zeros = torch.zeros(p.shape, dtype=torch.float32, device=p.device)
                        self.state[p] = {"exp_avg": zeros, "exp_avg_sq": torch.zeros_like(zeros)}
        self._ready = True
        self.ranks.broadcast(slot.param.data for slot in self.slots)

    def _allocate_native(self, number: int, group: dict[str, Any], cpu: set[int], pool: binding.Pool) -> None:
        beta1, beta2 = group["betas"]
        settings = {"seed": self.seed, "beta1": beta1, "beta2": beta2, "eps": group["eps"], "adamw_eps": group["eps"],
                    "rounding": native.ROUNDING[self.rounding]}
        if group["kind"] == "projected":
            slots = [slot for slot in self.slots if id(slot.param) in cpu]
            settings |= {"scale": self.scale, "update_gap": self.update_proj_gap,
                         "momentum": native.MOMENTUM[self.momentum]}
            self._handles.append((number, native.Projected(slots, settings, pool, self.distribution,
                                                           group["weight_decay"])))
            for slot in slots:
                self.state[slot.param] = slot.state
            return
        named = [(self._names[id(p)], p) for p in group["params"] if id(p) in cpu]
        plain = native.Plain(named, settings, pool, group["weight_decay"])
        self._handles.append((number, plain))
        for name, p in named:
            self.state[p] = {field: tensor.view(p.shape) for field, tensor in plain.states[name].items()}

    def _allocate_slots(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            p, device = slot.projection, slot.param.device
            slot.S = torch.zeros(p.s_shape, device=device)
            slot.state = {"momentum": torch.zeros_like(slot.S), "row_sums": torch.zeros(p.n, device=device),
                          "column_sums": torch.zeros(p.m, device=device)}
            self.state[slot.param] = slot.state

    def make_projection(self, slot: Slot, refresh: int) -> Tensor:
        """P of one weight: by libvlorp on the CPU, by the same generator in torch elsewhere."""
        device, p = slot.param.device, slot.projection
        if not self._native or device.type != "cpu":
            return p.make(self.seed, slot.name, refresh, device)
        P = torch.empty(p.d, p.r)
        native.library().projection_fill(P.data_ptr(), slot.used, native.DISTRIBUTIONS[self.distribution], self.seed,
                                         slot.name, refresh)
        return P

    def state_dict(self) -> dict[str, Any]:
        for group in self.param_groups:
            group["steps_taken"] = self.steps_taken
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where ``state_dict`` was saved, bit for bit; settings other than the learning rate must agree."""
        saved, state = state_dict["param_groups"], state_dict["state"]
        checks.same_settings(self.param_groups, saved, FIXED)
        self.steps_taken = saved[0]["steps_taken"]
        if state:
            self.ensure_state()
        for group, other in zip(self.param_groups, saved, strict=True):
            for p, key in zip(group["params"], other["params"], strict=True):
                for field, tensor in self.state.get(p, {}).items():
                    if key not in state:
                        tensor.zero_()
                        continue
                    if state[key][field].numel() != tensor.numel():
                        raise ValueError(f"the saved {field} of {self._names[id(p)]} has the shape "
                                         f"{tuple(state[key][field].shape)}, this optimizer's {tuple(tensor.shape)}")
                    if state[key][field] is not tensor:
                        tensor.copy_(state[key][field].view(tensor.shape))
            group.update({k: v for k, v in other.items() if k != "params" and k not in FIXED})

    # Gradients.

    def reduce(self) -> None:
        """Means of S over the ranks, once a step."""
        if self.ranks.size > 1 and any(not slot.reduced for slot in self.slots):
            pending = [slot for slot in self.slots if not slot.reduced]
            self.ranks.mean([slot.open() for slot in pending])
            for slot in pending:
                slot.reduced = True

    def _norm(self) -> float:
        """The norm of all gradients together; FloatingPointError names the first that is not finite."""
        squares = []
        owners = []
        slots = {id(slot.param): slot for slot in self.slots}
        for own in self._own:
            for p in own:
                slot = slots.get(id(p))
                if slot is not None:
                    squares.append(slot.squared_norm())
                elif p.grad is not None:
                    grad = p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                    squares.append(torch.linalg.vector_norm(grad, dtype=torch.float32).double().square())
                else:
                    continue
                owners.append(p)
        total = torch.stack([square.to(squares[0].device) for square in squares])
        norm = float(total.sum().sqrt())
        if not math.isfinite(norm):
            bad = owners[int((~torch.isfinite(total)).int().argmax())]
            raise FloatingPointError(f"the gradient of {self._names[id(bad)]} is not finite; weights and state are as "
                                     f"before step {self.steps_taken + 1}")
        return norm

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter.  Raises FloatingPointError, and changes nothing, when a gradient is not
        finite."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        checks.same_parameters(self.param_groups, self._own)
        if not any(p.grad is not None for own in self._own for p in own):
            return loss
        self.ensure_state()
        checks.unmoved(self._names, self._seen, [p for own in self._own for p in own])
        for slot in self.slots:
            slot.hook(slot.param)  # a gradient that was assigned by hand
            if not slot.reduced:
                slot.open()
        self.reduce()
        self.grad_norm = self._norm()
        coefficient = 1.0
        if self.max_grad_norm is not None:
            coefficient = min(1.0, self.max_grad_norm / (self.grad_norm + 1e-6))
        covered: set[int] = set()
        for number, handle in self._handles:
            checks.fixed_settings(self.param_groups[number], self._fixed[number])
            handle.step(float(self.param_groups[number]["lr"]), coefficient, self.steps_taken)
            covered |= {id(p) for p in handle.params}
        self._torch_step(covered, coefficient)
        for own in self._own:
            torch.autograd.graph.increment_version(own)
        for slot in self.slots:
            slot.param.grad = None
            slot.reduced = False
        self.steps_taken += 1
        return loss

    def _torch_step(self, covered: set[int], coefficient: float) -> None:
        """The parameters that no handle covers."""
        t = self.steps_taken + 1
        slots = {id(slot.param): slot for slot in self.slots}
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if id(p) in covered:
                    continue
                slot = slots.get(id(p))
                resets = slot is not None and self.momentum == "reset" and not slot.projection.exact
                t1 = (t - 1) % self.update_proj_gap + 1 if resets else t
                x = rules.Scalars(float(group["lr"]), group["weight_decay"], beta1, beta2, group["eps"], t, t1,
                                  coefficient, group["correct_bias"])
                rounding = rules.Rounding(self.seed, self._names[id(p)], t, self.rounding == "nearest")
                if slot is not None:
                    assert slot.S is not None
                    rules.projfactor(p.data, slot.transposed, slot.S, slot.state, slot.projection, slot.P,
                                     self.momentum, self.update_proj_gap, self.scale, x, rounding)
                elif p.grad is not None:
                    rules.adamw(p.data, p.grad.to_dense() if p.grad.is_sparse else p.grad, self.state[p], x, rounding)

    # What others ask for.

    def get_scheduler(self) -> LambdaLR:
        """The schedule of the constructor's arguments, as a torch scheduler."""
        kind, n_steps, warmup, floor = self._schedule
        if n_steps is None and kind != "constant":
            raise ValueError(f"the schedule {kind!r} needs num_training_steps; or use a scheduler of your own")
        if warmup < 1 and n_steps is None:
            warmup = 0
        schedule = native.library().so.vlorp_schedule_default()
        schedule.kind, schedule.lr, schedule.min_lr_ratio = SCHEDULES[kind], 1.0, floor
        schedule.n_steps = n_steps or 0
        schedule.warmup_steps = int(warmup) if warmup >= 1 else round(warmup * (n_steps or 0))
        return LambdaLR(self, lambda step: native.library().schedule_lr(schedule, step))

    def settings(self) -> list[dict[str, Any]]:
        """What is used for each projected weight: name, shape, side, factor, rank, and whether it is kept exact."""
        return [{"name": slot.name, "shape": [p.n, p.m], "side": "right" if p.right else "left", "factor": p.factor,
                 "rank": p.r, "exact": p.exact, "adjusted": bool(slot.used.adjusted)}
                for slot in self.slots for p in (slot.projection,)]

    def memory(self) -> dict[str, int]:
        """Bytes of the sums of projected gradients, and of moments and row and column sums."""
        gradients = sum(slot.S.nbytes for slot in self.slots if slot.S is not None)
        state = sum(t.nbytes for tensors in self.state.values() for t in tensors.values())
        return {"gradients": gradients, "optimizer_state": state}
