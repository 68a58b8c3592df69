"""A model whose copies on several ranks train as one would on all pictures of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from faceparse.distributed import Made, Ranks


class JoinedRanks(Ranks):
    """Ranks that talk through torch.distributed: NCCL for what is on GPUs, gloo for all else."""

    def total(self, values: Tensor) -> Tensor:
        """As `Ranks.total`; bitwise the same on all ranks."""
        return _Total.apply(values)

    def together(self, values: Tensor) -> Tensor:
        """As `Ranks.together`."""
        whole = values.new_zeros(self.count, *values.shape)
        whole[self.rank] = values
        return self.total(whole).flatten(0, 1)

    def gathered(self, value: Made) -> list[Made]:
        """As `Ranks.gathered`."""
        values: list[Any] = [None] * self.count if self.is_first else []
        dist.gather_object(value, values if self.is_first else None, dst=0)
        return values

    def first(self, make: Callable[[], Made]) -> Made:
        """As `Ranks.first`."""
        made: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(made, src=0)
        return made[0]

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """As `Ranks.parallel`."""
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"several processes can't train on {device.type}; say --device cpu, or leave torchrun out")
        if device.type == "cuda":
            convert_sync_batchnorm(model)
        _pool(model, self)
        return DistributedDataParallel(model, static_graph=True)  # a decoder may leave an encoder's last stages unused

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """As `Ranks.first_goes_ahead`."""
        if not self.is_first:
            self.first(lambda: None)
        yield
        if self.is_first:
            self.first(lambda: None)


class _Total(torch.autograd.Function):
    """Every rank goes on with the same sum, so what each made of it comes back summed, too."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _Total.apply(gradient)


class PooledBatchNorm(_BatchNorm):
    """`norm`, a batch norm, with the statistics of all ranks' pictures: torch's SyncBatchNorm is for GPUs only.

    (B, C, ...) -> the same, with B the same on all ranks; timm's dropout and activation follow where `norm` has them.
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: Any, ranks: Ranks):
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop, self.act = getattr(norm, "drop", nn.Identity()), getattr(norm, "act", nn.Identity())
        self.ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the mean and variance of all ranks' values in training, by those gathered so far otherwise."""
        if not self.training:
            return self.act(self.drop(super().forward(x)))
        axes, number = [0, *range(2, x.ndim)], self.ranks.count * x.numel() // x.shape[1]
        values = x.to(self.running_mean.dtype)  # bfloat16 has too few digits for sums
        variance, mean = torch.var_mean(values, axes, correction=0)
        pooled_mean = self.ranks.total(mean) / self.ranks.count
        pooled_variance = self.ranks.total(variance + (mean - pooled_mean).square()) / self.ranks.count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(pooled_mean, self.momentum)
            self.running_var.lerp_(pooled_variance * number / (number - 1), self.momentum)
        scale = self.weight * (pooled_variance + self.eps).rsqrt()
        scale, shift = (each.view(-1, *[1] * (x.ndim - 2)) for each in (scale, self.bias - pooled_mean * scale))
        return self.act(self.drop((values * scale + shift).to(x.dtype)))

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes."""


class PooledDropout(nn.Module):
    """`dropout`, drawn for all ranks' pictures as one process would, and this rank's part of it taken."""

    def __init__(self, dropout: nn.Module, ranks: Ranks):
        super().__init__()
        self.dropout, self.ranks = dropout, ranks

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same, with B the same on all ranks."""
        if not self.training:
            return x
        drawn_from = x if isinstance(self.dropout, nn.Dropout) else x[:, :, :1, :1]  # whole channels are dropped
        kept = self.dropout(torch.ones_like(torch.cat([drawn_from.detach()] * self.ranks.count)))
        return x * kept[self.ranks.share(len(kept))]


def _pool(module: nn.Module, ranks: Ranks) -> None:
    """Replace batch norms and dropout inside, in place; parameters and buffers stay the same ones, in their order."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
            setattr(module, name, PooledBatchNorm(child, ranks))
        elif isinstance(child, (nn.Dropout, nn.Dropout2d)):
            setattr(module, name, PooledDropout(child, ranks))
        else:
            _pool(child, ranks)
