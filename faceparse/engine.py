"""One epoch of training and one pass of evaluation, as plain functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faceparse.devices import autocast
from faceparse.distributed import ALONE, Ranks
from faceparse.losses import Loss
from faceparse.metrics import Confusion
from faceparse.teacher import Teacher

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass
class Pass:
    """How far a pass through the pictures has come: steps done, pictures learnt from, the sum of their losses.

    `seed` is that of what the model draws along the way: dropout. `seconds` were spent until its state was last kept.
    """

    seed: int = 0
    steps: int = 0
    pictures: int = 0
    total_loss: float = 0.0
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Mean over the pictures."""
        return self.total_loss / max(self.pictures, 1)


@dataclass(frozen=True)
class Step:
    """The loss of a step, and whether it and its gradient were finite; if not, weights and statistics are as before."""

    loss: float
    finite: bool


def train_one_epoch(
    model: nn.Module,
    average: AveragedModel,
    batches: Batches,
    loss_fn: Loss,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    device: torch.device,
    precision: str,
    clip_norm: float,
    along: Pass,
    ranks: Ranks = ALONE,
    teacher: Teacher | None = None,
) -> Iterator[Step]:
    """One pass, step by step; `average` follows the weights. What the `teacher` says of a batch is learnt as well.

    Batches are float32 (B, 3, H, W) pictures and what the loss takes: int64 (B, H, W) ids, or shares of two classes.
    `along` says which steps are done, `batches` holds those after them; it is up to date at every step that comes out.
    Of several ranks each has its share of every batch, `model` from `Ranks.parallel`, and a loss of the whole batch:
    loss and gradient, and whether they are finite, are the same on all.
    """
    model.train()
    for image, target in batches:
        torch.manual_seed(along.seed + along.steps)  # whoever goes on from here draws the same dropout
        image, target = _to(device, image), target.to(device, non_blocking=True)
        statistics = [buffer.clone() for buffer in model.buffers()]
        with autocast(device, precision):
            logits = model(image)
        loss = loss_fn(logits.float(), target)
        if teacher:
            loss = loss + teacher.loss(image, logits.float(), precision)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        told, length = torch.stack([loss.detach(), norm]).tolist()  # a GPU is waited for once
        step = Step(told, math.isfinite(told) and math.isfinite(length))
        if step.finite:
            optimizer.step()
            average.update_parameters(model)
            pictures = len(image) * ranks.count
            along.pictures, along.total_loss = along.pictures + pictures, along.total_loss + step.loss * pictures
        else:
            for buffer, before in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(before)
        scheduler.step()  # per step, not per epoch
        along.steps += 1
        yield step


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Batches,
    loss_fn: Loss,
    classes: int,
    device: torch.device,
    precision: str = "auto",
    ranks: Ranks = ALONE,
) -> tuple[float, Confusion]:
    """Mean loss over the pictures and the pooled confusion of `classes` classes. Targets are int64 (B, H, W) ids.

    Of several ranks each has batches of its own, none maybe, and a loss of its own; the result is of all pictures.
    """
    model.eval()
    confusion = Confusion(classes)
    total, seen = 0.0, 0
    for image, target in batches:
        image, target = _to(device, image), target.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = model(image)
        total, seen = total + loss_fn(logits.float(), target).item() * len(image), seen + len(image)
        confusion.add(logits.argmax(dim=1).cpu(), target.cpu())
    confusion.counts = ranks.total(torch.from_numpy(confusion.counts)).numpy()
    total, seen = ranks.total(torch.tensor([total, seen], dtype=torch.float64)).tolist()
    return total / max(seen, 1), confusion


def create_optimizer(model: nn.Module, lr: float, encoder_lr: float, weight_decay: float) -> Optimizer:
    """AdamW with a rate of its own for the encoder; biases and norms, which have one axis, do not decay."""
    groups = []
    for part, rate in (("encoder", encoder_lr), ("", lr)):
        named = [(n, p) for n, p in model.named_parameters() if n.startswith("encoder.") == (part == "encoder")]
        groups.append({"params": [p for _, p in named if p.ndim > 1], "lr": rate, "weight_decay": weight_decay})
        groups.append({"params": [p for _, p in named if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())  # elsewhere not always
    return torch.optim.AdamW(groups, fused=fused)


def create_schedule(optimizer: Optimizer, steps: int, warmup: int, floor: float = 0.01) -> LRScheduler:
    """Rate per step: up in a line for `warmup` steps, then down half a cosine to `floor` times the peak at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        along = min(1.0, (step - warmup) / max(1, steps - warmup))
        return floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.tensor(along * torch.pi))))

    return LambdaLR(optimizer, factor)


def create_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and statistics; its memory grows to `decay` over the first steps."""

    def blend(averages: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # torch hands over one dtype at a time
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
            return
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averages, currents, count)

    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True)


def _to(device: torch.device, image: Tensor) -> Tensor:
    return image.to(device, non_blocking=True, memory_format=torch.channels_last)
