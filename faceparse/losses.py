"""Losses by name: each takes log-probabilities (B, K, H, W) and class ids (B, H, W), and returns a scalar.

Pixels whose id is `IGNORE` are passed over; where no pixel counts a loss is 0. `create_loss` adds them up by name.
Of several ranks each gives its pictures, as many as the others, and gets the loss of all of them as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from faceparse.distributed import ALONE, Ranks
from faceparse.labels import IGNORE
from faceparse.words import hint

Loss = Callable[[Tensor, Tensor], Tensor]
Term = Callable[[Tensor, Tensor, Ranks], Tensor]

SMOOTHING = 0.1
"""`soft_bce`: the share of a target that is spread evenly over all classes."""

FOCUS = 2.0
"""`focal`: the power of 1 - p."""

OHEM_P, OHEM_SHARE = 0.7, 1 / 16
"""`ohem`: pixels count whose true class has less than this probability, and at least this share of all, the hardest."""

LOVASZ_PIXELS, LOVASZ_SHARE = 1 << 11, 1 / 32
"""`lovasz` looks at a grid, for it has to sort pixels, once a class: at most about so many of each picture, and at most
this share of the batch unless that is fewer than of one picture."""


def cross_entropy(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Mean over the pixels that count of -log p(true class)."""
    total = F.nll_loss(log_p, target, ignore_index=IGNORE, reduction="sum")
    return ranks.total(total) / ranks.total((target != IGNORE).sum()).clamp(min=1)


def binary_cross_entropy(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Mean over pixels and classes of -log p where the class is the true one and -log(1 - p) where it is not.

    Of two classes it is the cross entropy.
    """
    return _binary_cross_entropy(log_p, target, ranks, smoothing=0.0)


def soft_binary_cross_entropy(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """`binary_cross_entropy` toward 1 - s + s / K and s / K instead of 1 and 0, with s = `SMOOTHING`.

    Label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
    """
    return _binary_cross_entropy(log_p, target, ranks, SMOOTHING)


def _binary_cross_entropy(log_p: Tensor, target: Tensor, ranks: Ranks, smoothing: float) -> Tensor:
    classes, counts = log_p.shape[1], target != IGNORE
    low, log_true = smoothing / classes, _of_truth(log_p, target)
    everywhere = low * log_p.sum(dim=1) + (1 - low) * _log_not(log_p).sum(dim=1)  # as if no class were the true one
    at_truth = (1 - smoothing) * (log_true - _log_not(log_true))
    total = ranks.total(((everywhere + at_truth) * counts).sum())
    return -total / (classes * ranks.total(counts.sum()).clamp(min=1))


def dice(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t), pooled over the batch, mean over the foreground classes that its truth has.

    Milletari et al. 2016, https://arxiv.org/abs/1606.04797.
    """
    classes = log_p.shape[1]
    counts = (target != IGNORE).to(log_p.dtype)  # (B, H, W)
    p = log_p.exp()
    hit = _of_truth(p, target) * counts
    # Sums by class without a one-hot copy of the target, which alone would cost half a CPU training step.
    ids = _known(target).flatten()
    overlap = hit.new_zeros(classes).index_add(0, ids, hit.flatten())
    truth = hit.new_zeros(classes).index_add(0, ids, counts.flatten())
    predicted = torch.einsum("bkhw,bhw->k", p, counts)
    overlap, truth, predicted = ranks.total(torch.stack([overlap, truth, predicted]))
    ratio = 2 * overlap / (predicted + truth).clamp(min=1e-6)
    present = (truth > 0)[1:].to(ratio.dtype)
    return ((1 - ratio[1:]) * present).sum() / present.sum().clamp(min=1)


def focal(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Mean over the pixels that count of -(1 - p)^`FOCUS` log p, p of the true class.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    log_true, counts = _of_truth(log_p, target), target != IGNORE
    total = ranks.total(((1 - log_true.exp()) ** FOCUS * log_true * counts).sum())
    return -total / ranks.total(counts.sum()).clamp(min=1)


def ohem(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Mean cross entropy of the hard pixels, as `OHEM_P` and `OHEM_SHARE` say.

    Shrivastava et al. 2016, https://arxiv.org/abs/1604.03540.
    """
    log_true, target = ranks.together(_of_truth(log_p, target)), ranks.together(target)
    each = -log_true[target != IGNORE]  # (N,)
    if not len(each):
        return log_true.sum() * 0
    least = max(1, int(OHEM_SHARE * len(each)))
    threshold = each.detach().topk(least).values[-1].clamp(max=-torch.tensor(OHEM_P).log().item())
    hard = each >= threshold
    return (each * hard).sum() / hard.sum()


def lovasz(log_p: Tensor, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Lovasz-softmax: a smooth stand-in for 1 - IoU, mean over the classes that the truth has, pooled over the batch.

    Berman et al. 2018, https://arxiv.org/abs/1705.08790.
    """
    step = _lovasz_step(ranks.count * len(target), target[0].numel())
    log_p, target = (ranks.together(values[..., ::step, ::step]) for values in (log_p, target))
    counts = target != IGNORE
    ids = target[counts]  # (N,)
    classes = ids.unique()  # (C,)
    if not len(classes):
        return log_p.sum() * 0
    p = log_p.movedim(1, 0)[:, counts][classes].exp()  # (C, N)
    is_class = ids == classes[:, None]
    errors, order = (is_class.to(p.dtype) - p).abs().sort(dim=1, descending=True)
    truth = is_class.gather(1, order).to(p.dtype)
    missed, size = truth.cumsum(1), truth.sum(1, keepdim=True)
    jaccard = 1 - (size - missed) / (size + (1 - truth).cumsum(1))  # of the first n errors, for every n
    return (errors * torch.diff(jaccard, prepend=jaccard.new_zeros(len(classes), 1))).sum(1).mean()


def _lovasz_step(pictures: int, pixels: int) -> int:
    """Every how many rows and columns `lovasz` looks at, of so many pictures of so many pixels each."""
    most = min(pictures * LOVASZ_PIXELS, max(LOVASZ_PIXELS, pictures * pixels * LOVASZ_SHARE))
    return max(1, int((pictures * pixels / most) ** 0.5))


def _log_not(log_p: Tensor) -> Tensor:
    """log p -> log(1 - p), 1e-7 at least of 1 - p; `expm1` would be closer where p is near 1, and costs 15 times it."""
    return (1 - log_p.exp()).clamp(min=1e-7).log()


def _known(target: Tensor) -> Tensor:
    """The ids with 0 for `IGNORE`, so that they can index."""
    return target.masked_fill(target == IGNORE, 0)


def _of_truth(values: Tensor, target: Tensor) -> Tensor:
    """The values (B, K, H, W) of each pixel's true class, (B, H, W); of class 0 where it is ignored."""
    return values.gather(1, _known(target)[:, None])[:, 0]


LOSSES: dict[str, Term] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "soft_bce": soft_binary_cross_entropy,
    "dice": dice,
    "lovasz": lovasz,
    "focal": focal,
    "ohem": ohem,
}


def _soft_cross_entropy(log_p: Tensor, share: Tensor, ranks: Ranks = ALONE, smoothing: float = 0.0) -> Tensor:
    """Mean of -(t log p1 + (1 - t) log p0), where t is the foreground's share, drawn to 1/2 by `smoothing`."""
    t = share * (1 - smoothing) + smoothing / 2
    return ranks.total(-(t * log_p[:, 1] + (1 - t) * log_p[:, 0]).mean()) / ranks.count


def _soft_dice(log_p: Tensor, share: Tensor, ranks: Ranks = ALONE) -> Tensor:
    p = log_p[:, 1].exp()
    overlap, predicted, truth = ranks.total(torch.stack([(p * share).sum(), p.sum(), share.sum()]))
    return (1 - 2 * overlap / (predicted + truth).clamp(min=1e-6)) * (truth > 0)


SOFT_LOSSES: dict[str, Term] = {
    "ce": _soft_cross_entropy,
    "bce": _soft_cross_entropy,
    "soft_bce": partial(_soft_cross_entropy, smoothing=SMOOTHING),
    "dice": _soft_dice,
}
"""Those of `LOSSES` that also take the foreground's share of a pixel, float32 (B, H, W) in 0..1, for two classes; of
shares of 0 and 1 each is the same as of the ids 0 and 1."""


def create_loss(spec: str, soft_targets: bool = False, ranks: Ranks = ALONE) -> Loss:
    """The weighted sum that `spec` writes down, for instance "ce+0.5*dice", of logits (B, K, H, W) and ids (B, H, W).

    With `soft_targets` of logits (B, 2, H, W) and the foreground's share of each pixel, float32 (B, H, W) in 0..1.
    Raises ValueError for anything else.
    """
    losses = SOFT_LOSSES if soft_targets else LOSSES
    terms = [_term(term.strip(), spec, losses) for term in spec.split("+")]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(dim=1)  # once for all terms
        return torch.stack([weight * term(log_p, target, ranks) for weight, term in terms]).sum()

    return loss


def _term(text: str, spec: str, losses: dict[str, Term]) -> tuple[float, Term]:
    weight, _, name = (part.strip() for part in text.rpartition("*"))
    soft = " (soft targets)" if losses is SOFT_LOSSES else ""
    if name not in losses:
        raise ValueError(f"loss {spec!r}: there is no {name!r}{soft}; {hint(name, losses)}")
    try:
        factor = float(weight or 1)
        if not 0 <= factor < float("inf"):
            raise ValueError("a weight is a finite number of at least 0")
    except ValueError as error:
        choices = ", ".join(losses)
        raise ValueError(f"loss {spec!r}: {text!r} is no weight*name with a name out of {choices}{soft}") from error
    return factor, losses[name]
