"""For the Hugging Face Trainer (and TRL's): early checks, and the norm in every log.

    trainer = Trainer(..., optimizers=(optimizer, optimizer.get_scheduler()), callbacks=[ProjFactorCallback(optimizer)])

The Trainer's own clipping acts on projected weights as it is: their ``.grad`` answers with the norm's estimate and is
scaled in place. The callback is worth having for what would otherwise come late or not at all.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .optim import ProjFactor


class ProjFactorCallback(TrainerCallback):
    """Refuses, before the first step, settings under which ProjFactor cannot work, and a Trainer that steps another
    optimizer; logs the norm of all gradients where the Trainer itself has none to log."""

    def __init__(self, optimizer: ProjFactor) -> None:
        self.optimizer = optimizer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                       **kwargs: Any) -> None:
        for setting in ("deepspeed", "fsdp"):
            if getattr(args, setting, None):
                raise ValueError(f"TrainingArguments({setting}=...) splits or replaces the weights that ProjFactor "
                                 "updates in place: use plain data parallelism (DDP), which moves only the small "
                                 "projected gradients, or one device")
        stepped = kwargs.get("optimizer")
        while stepped is not None and stepped is not self.optimizer:
            stepped = getattr(stepped, "optimizer", None)
        if stepped is not self.optimizer:
            raise ValueError("the Trainer steps another optimizer than the ProjFactor of this callback: pass it as "
                             "Trainer(optimizers=(optimizer, optimizer.get_scheduler()))")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs.get("logs")
        if logs is not None and "loss" in logs and self.optimizer.grad_norm is not None:
            logs.setdefault("grad_norm", self.optimizer.grad_norm)
