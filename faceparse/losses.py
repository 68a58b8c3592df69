"""Losses by name: each takes logits (B, K, H, W) and class ids (B, H, W), passes over `IGNORE`, returns a scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from faceparse.labels import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the pixels that count of -log p(true class); 0 where no pixel counts."""
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t), pooled over the batch, mean over the foreground classes that its truth has.

    A batch without any foreground class scores 0. Milletari et al. 2016, https://arxiv.org/abs/1606.04797.
    """
    classes = logits.shape[1]
    counts = (target != IGNORE).float()  # (B, H, W)
    p = logits.float().softmax(dim=1) * counts[:, None]
    ids = target.masked_fill(target == IGNORE, 0)
    hit = (p.gather(1, ids[:, None])[:, 0]).flatten()  # p of the true class; 0 where ignored
    # Sums by class without a one-hot copy of the target, which alone would cost half a CPU training step.
    overlap = hit.new_zeros(classes).index_add(0, ids.flatten(), hit)
    truth = hit.new_zeros(classes).index_add(0, ids.flatten(), counts.flatten())
    ratio = 2 * overlap / (p.sum(dim=(0, 2, 3)) + truth).clamp(min=1e-6)
    present = (truth > 0)[1:].float()
    return ((1 - ratio[1:]) * present).sum() / present.sum().clamp(min=1)


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dice": dice}


def create_loss(spec: str) -> Loss:
    """The weighted sum that `spec` writes down, for instance "ce+0.5*dice". Raises ValueError for anything else."""
    terms = [_term(term.strip(), spec) for term in spec.split("+")]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * term(logits, target) for weight, term in terms]).sum()

    return loss


def _term(text: str, spec: str) -> tuple[float, Loss]:
    weight, _, name = text.rpartition("*")
    try:
        return float(weight or 1), LOSSES[name.strip()]
    except (KeyError, ValueError) as error:
        choices = ", ".join(LOSSES)
        raise ValueError(f"loss {spec!r}: {text!r} is no weight*name with a name out of {choices}") from error
