"""Which parameters of a model are projected, and what each is called.

A linear layer inside a repeated block is ``attn`` when its path names attention, else ``mlp``; the input embedding is
``embed``, the output layer ``head``.  That covers LLaMA-like models, GPT-2, OPT and BLOOM without a list of names.
Linear layers outside the blocks (a classifier, a projection of the embedding) are left to AdamW.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

ROLES = ("attn", "mlp", "embed", "head")


def is_conv1d(module: nn.Module) -> bool:
    """transformers' Conv1D: a linear layer whose weight is stored [in, out]."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


@dataclass
class Target:
    """One weight matrix W [n, m] to be projected, and the modules that use it."""

    name: str
    param: nn.Parameter
    transposed: bool
    modules: list[nn.Module] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        a, b = self.param.shape
        return (b, a) if self.transposed else (a, b)


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, nn.Embedding)) or is_conv1d(module)


def _roles(model: nn.Module) -> dict[str, str]:
    """Module name to role, for every linear layer and embedding that has one."""
    blocks = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    get = {"embed": "get_input_embeddings", "head": "get_output_embeddings"}
    special: dict[int, str] = {}
    for role, getter in get.items():
        try:
            module = getattr(model, getter)()
        except (AttributeError, NotImplementedError):
            continue
        if isinstance(module, nn.Module):
            special.setdefault(id(module), role)
    roles = {}
    for name, module in model.named_modules():
        if id(module) in special:
            roles[name] = special[id(module)]
        elif isinstance(module, nn.Linear) or is_conv1d(module):
            if not blocks or any(name.startswith(block + ".") for block in blocks):
                roles[name] = "attn" if "attn" in name or "attention" in name else "mlp"
    return roles


def find_targets(model: nn.Module, wanted: Sequence[str]) -> list[Target]:
    """The matrices of the roles, or of the modules whose names match the patterns, in ``wanted``; in model order.

    Raises ValueError when there are none, or when a word is neither a role nor the pattern of any layer's name.
    """
    roles = _roles(model)
    matrices = {name: module for name, module in model.named_modules() if _is_matrix(module)}
    chosen: set[str] = set()
    for word in wanted:
        found = ({name for name, role in roles.items() if role == word and name in matrices} if word in ROLES
                 else set(fnmatch.filter(matrices, word)))
        if not found and word not in ROLES:
            raise ValueError(f"targets: {word!r} is neither a role ({', '.join(ROLES)}) nor the name of a linear layer "
                             "or embedding of this model")
        chosen |= found
    if not chosen:
        raise ValueError(f"{type(model).__name__} has no linear layers of the roles {', '.join(wanted)}: pass "
                         "targets=[...] with the names of nn.Linear, Conv1D or nn.Embedding modules (patterns like "
                         "'*.proj' are allowed), or use torch.optim.AdamW for it")
    parameter_names = {id(p): name for name, p in model.named_parameters()}
    targets: dict[int, Target] = {}
    for name, module in matrices.items():
        weight = module.weight
        if not isinstance(weight, nn.Parameter) or not weight.requires_grad:
            continue
        if name not in chosen and id(weight) not in targets and not _shares(weight, chosen, matrices):
            continue
        target = targets.get(id(weight))
        if target is None:
            target = Target(parameter_names[id(weight)], weight, is_conv1d(module))
            targets[id(weight)] = target
        if target.transposed != is_conv1d(module):
            raise ValueError(f"{target.name} is shared by a Conv1D and another layer, which store it in different ways")
        target.modules.append(module)
    if not targets:
        raise ValueError("every targeted weight is frozen (requires_grad is False): nothing is left to project")
    return list(targets.values())


def _shares(weight: torch.Tensor, chosen: set[str], matrices: dict[str, nn.Module]) -> bool:
    """Whether a chosen module uses the same weight (a tied head and embedding are one matrix)."""
    return any(matrices[name].weight is weight for name in chosen)
