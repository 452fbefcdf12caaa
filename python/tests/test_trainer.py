"""The quick start: Hugging Face's Trainer and TRL's SFTTrainer, end to end on a small model with its tokenizer."""
import os
import pathlib

import pytest
import torch
import transformers as tf

import common
from vlorp.gradient import ProjectedGrad
from vlorp.optim import ProjFactor
from vlorp.trainer import ProjFactorCallback

DATA = pathlib.Path(os.environ.get("VLORP_TEST_DATA") or pathlib.Path(__file__).parents[3] / "shared" / "data")
FOLDER = DATA / "models" / "stories260K-hf"
STEPS = 8
LR = 2e-3
LEARNT = 0.9  # of the loss before training, at most this is left
TEXTS = [f"Once upon a time, {name} had a {thing}. {name} was very happy." for name in ("Lily", "Tom", "Ben", "Mia")
         for thing in ("dog", "cat", "red ball", "big cake", "little boat", "new friend", "garden", "blue hat")]


def model():
    if not FOLDER.exists():
        pytest.exit(f"SKIP: there is no {FOLDER}; VLORP_TEST_DATA names the folder of test data",
                    1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)
    return tf.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


class Stories(torch.utils.data.Dataset):
    def __init__(self):
        tokenizer = tf.AutoTokenizer.from_pretrained(FOLDER)
        self.rows = [torch.tensor(tokenizer(text)["input_ids"][:16]) for text in TEXTS]
        assert all(len(row) == 16 for row in self.rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


def settings(out, kind=tf.TrainingArguments, **given):
    return kind(**dict(output_dir=str(out), max_steps=STEPS, per_device_train_batch_size=2,
                       gradient_accumulation_steps=2, logging_steps=1, save_steps=4, report_to=[], use_cpu=True,
                       disable_tqdm=True, seed=1, max_grad_norm=1.0, bf16=False) | given)


def corpus_loss(m):
    m.eval()
    ids = torch.stack(Stories().rows)
    with torch.no_grad():
        return float(m(input_ids=ids, labels=ids).loss)


@pytest.fixture(scope="module")
def loss_before():
    return corpus_loss(model())


def quick_start(out, resume=None, **given):
    m = model()
    optimizer = ProjFactor(m, lr=LR, factor=8, rank=1, update_proj_gap=3, num_training_steps=STEPS, warmup_steps=2)
    trainer = tf.Trainer(model=m, args=settings(out, **given), train_dataset=Stories(),
                         optimizers=(optimizer, optimizer.get_scheduler()), callbacks=[ProjFactorCallback(optimizer)])
    trainer.train(resume_from_checkpoint=resume)
    logs = [log for log in trainer.state.log_history if "loss" in log]
    return m, optimizer, logs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, *quick_start(out)


def test_it_learns(whole, loss_before):
    _, m, optimizer, logs = whole
    assert len(logs) == STEPS == optimizer.steps_taken
    assert corpus_loss(m) < LEARNT * loss_before
    rates = [log["learning_rate"] for log in logs]
    assert rates[0] == pytest.approx(LR / 2) and rates[1] == pytest.approx(LR) and rates[-1] < 0.4 * LR


def test_the_logged_norm_is_true_and_clipping_acts(whole, tmp_path):
    """The norm of the whole gradient, computed by an unmodified model on the Trainer's first step."""
    _, _, optimizer, logs = whole
    seen = []
    class Look(tf.TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            m = kwargs["model"]
            seen.append(float(torch.nn.utils.clip_grad_norm_(m.parameters(), float("inf"))))
            seen.append([p.grad is not None for p in m.parameters()])
            seen.append(sum(isinstance(p.grad, ProjectedGrad) for p in m.parameters()))
    m = model()
    o = ProjFactor(m, lr=LR, factor=8, rank=1, update_proj_gap=3)
    args = settings(tmp_path, max_steps=1)
    tf.Trainer(model=m, args=args, train_dataset=Stories(), callbacks=[Look()],
               optimizers=(o, torch.optim.lr_scheduler.ConstantLR(o, 1.0))).train()
    assert all(seen[1]) and seen[2] == len(o.slots) > 0
    assert logs[0]["grad_norm"] > 1 and abs(seen[0] - 1.0) < 1e-3  # clipped to max_grad_norm before the step
    assert abs(o.grad_norm - 1.0) < 1e-3
    plain = model()
    loaded = tf.Trainer(model=plain, args=settings(tmp_path / "plain", max_steps=1), train_dataset=Stories())
    loaded.train()
    exact = next(log["grad_norm"] for log in loaded.state.log_history if "grad_norm" in log)
    assert abs(logs[0]["grad_norm"] / exact - 1) < 0.15  # an estimate: 8 numbers a row stand for 64


def test_resumed_training_is_identical(whole, tmp_path):
    out, m, _, logs = whole
    resumed, optimizer, later = quick_start(tmp_path, resume=str(out / "checkpoint-4"))
    assert optimizer.steps_taken == STEPS
    assert all(torch.equal(a, b) for a, b in zip(m.parameters(), resumed.parameters()))
    keys = ("loss", "grad_norm", "learning_rate", "step")
    assert [[log[k] for k in keys] for log in logs[4:]] == [[log[k] for k in keys] for log in later[-4:]]


@pytest.mark.parametrize("given", [dict(gradient_checkpointing=True), dict(bf16=True),
                                   dict(gradient_checkpointing=True, bf16=True, gradient_accumulation_steps=4,
                                        per_device_train_batch_size=1)], ids=str)
def test_checkpointing_and_autocast(whole, loss_before, tmp_path, given):
    m, _, logs = quick_start(tmp_path, **given)
    assert corpus_loss(m) < LEARNT * loss_before
    if "bf16" not in given:
        assert common.moved(whole[1], m, model()) < 1e-5
    assert abs(logs[0]["loss"] / whole[3][0]["loss"] - 1) < 0.01
    assert abs(logs[0]["grad_norm"] / whole[3][0]["grad_norm"] - 1) < 0.02


def test_bfloat16_weights(tmp_path, loss_before):
    m = model().to(torch.bfloat16)
    optimizer = ProjFactor(m, lr=LR, factor=8, rank=1, num_training_steps=STEPS,
                           targets=("attn", "mlp", "embed", "head"))
    trainer = tf.Trainer(model=m, args=settings(tmp_path), train_dataset=Stories(),
                         optimizers=(optimizer, optimizer.get_scheduler()))
    trainer.train()
    assert corpus_loss(m) < LEARNT * loss_before and m.lm_head.weight.dtype == torch.bfloat16


def test_sft_trainer(tmp_path, loss_before):
    import datasets
    import trl
    m = model()
    optimizer = ProjFactor(m, lr=LR, factor=8, rank=1, num_training_steps=STEPS, warmup_steps=2)
    tokenizer = tf.AutoTokenizer.from_pretrained(FOLDER)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    args = settings(tmp_path, trl.SFTConfig, gradient_checkpointing=False, max_length=32)
    trainer = trl.SFTTrainer(model=m, args=args,
                             train_dataset=datasets.Dataset.from_dict({"text": TEXTS}), processing_class=tokenizer,
                             optimizers=(optimizer, optimizer.get_scheduler()),
                             callbacks=[ProjFactorCallback(optimizer)])
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert optimizer.steps_taken == STEPS and corpus_loss(m) < LEARNT * loss_before
    assert all(log["grad_norm"] > 0 for log in logs)


def test_the_callback_refuses_what_cannot_work(tmp_path):
    m = model()
    optimizer = ProjFactor(m, num_training_steps=STEPS)
    trainer = tf.Trainer(model=m, args=settings(tmp_path), train_dataset=Stories(),
                         callbacks=[ProjFactorCallback(optimizer)])
    with pytest.raises(ValueError, match="another optimizer"):
        trainer.train()
    args = settings(tmp_path)
    object.__setattr__(args, "deepspeed", "ds.json")
    with pytest.raises(ValueError, match="deepspeed"):
        ProjFactorCallback(optimizer).on_train_begin(args, None, None, optimizer=optimizer)
