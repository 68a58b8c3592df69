"""Learning from weights that are there already: their probabilities are targets beside the true ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceparse import checkpoint
from faceparse.bundled import weights_file
from faceparse.devices import autocast
from faceparse.distributed import ALONE, Ranks
from faceparse.folding import folded
from faceparse.labels import LabelSet
from faceparse.transforms import Preprocess

TEMPERATURE = 2.0
"""Logits of both are divided by it, so that the less likely classes tell something, too."""


class Teacher:
    """One model, or several whose probabilities are averaged, that answers for the classes of a student.

    Hinton et al. 2015, https://arxiv.org/abs/1503.02531, pixel by pixel. `preprocess` is the student's: each model gets
    the student's batch as its own mean and deviation want it. `share` is the loss's weight beside the other one. With
    `flip` each answer is the mean with that in the mirror. Raises ValueError for a file whose classes do not make up
    those of `labels`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: LabelSet,
        preprocess: Preprocess,
        device: torch.device,
        share: float,
        flip: bool = False,
        ranks: Ranks = ALONE,
    ):
        self.share, self.flip, self.ranks = share, flip, ranks
        self.models = [_Model(checkpoint.load(file), file, labels, preprocess).to(device) for file in files]

    def loss(self, image: Tensor, logits: Tensor, precision: str) -> Tensor:
        """`share` times the distance of the student's `logits`, float32 (B, K, H, W), to what is said of its batch."""
        return self.share * distance(logits, self.probabilities(image, precision), self.ranks)

    @torch.no_grad()
    def probabilities(self, image: Tensor, precision: str) -> Tensor:
        """The student's batch (B, 3, H, W) -> float32 (B, K, H, W), softened by `TEMPERATURE`."""
        with autocast(image.device, precision):
            answers = [model(image) for model in self.models]
            if self.flip:
                answers += [model.mirrored(model(image.flip(3))) for model in self.models]
        return torch.stack(answers).mean(dim=0)


def distance(logits: Tensor, p: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """T² KL(p || softmax(logits / T)), T = `TEMPERATURE`, mean over all pixels; p and logits are (B, K, H, W).

    T² keeps the gradient as large as that of a cross entropy. Labels play no part: ignored pixels count as well.
    """
    log_q = (logits / TEMPERATURE).log_softmax(dim=1)
    each = F.kl_div(log_q, p, reduction="none").sum(dim=1)
    return TEMPERATURE**2 * ranks.total(each.mean()) / ranks.count


def fingerprints(files: Sequence[Path]) -> list[str]:
    """The SHA-256 of each file, or of the bundled weights of that name."""
    return [hashlib.sha256(weights_file(file).read_bytes()).hexdigest() for file in files]


class _Model(nn.Module):
    """A teacher's model on the student's pictures, for the student's classes."""

    scale: Tensor
    shift: Tensor

    def __init__(self, start: checkpoint.Checkpoint[nn.Module], file: Path, labels: LabelSet, preprocess: Preprocess):
        super().__init__()
        try:
            self.members = labels.members_in(start.labels)
        except ValueError as error:
            raise ValueError(f"{file} can't teach these labels: {error}") from error
        own, given = start.preprocess, preprocess
        mean, std, own_mean, own_std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (given.mean, given.std, own.mean, own.std)
        )
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)
        self.swaps = labels.mirror_table[: len(labels)].tolist()
        self.model = folded(start.model.requires_grad_(False)).to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        p = (self.model(image * self.scale + self.shift).float() / TEMPERATURE).softmax(dim=1)
        if len(self.members) < p.shape[1]:
            p = torch.stack([p[:, ids].sum(dim=1) for ids in self.members], dim=1)
        return p

    def mirrored(self, p: Tensor) -> Tensor:
        """What was answered for the mirror image, turned back: left and right change names with it."""
        return p.flip(3)[:, self.swaps]
