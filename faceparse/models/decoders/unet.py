"""U-Net's way up (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) over any encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from faceparse.models.blocks import UpBlock, partner_channels


class UNetDecoder(nn.Module):
    """Five steps up x2, nearest, each with the next finer feature beside it, where there is one, and two convolutions.

    `widths`: channels after each step. The defaults, and padded convolutions with batch norm where the paper has bare
    unpadded ones, are segmentation_models_pytorch's, so that states can be exchanged with it.
    """

    stages = 4
    head_kernel = 3

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256, 128, 64, 32, 16)):
        super().__init__()
        beside = partner_channels(channels, widths)
        self.out_channels = widths[-1]
        self.blocks = nn.ModuleList(map(UpBlock, [channels[-1], *widths[:-1]], beside, widths))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x, *finer = features[::-1]
        for i, block in enumerate(self.blocks):
            x = block(x, finer[i : i + 1])  # none is left beyond the finest
        return x  # (B, widths[-1], about H, about W)


SMP_NAMES: dict[str, str] = {}
"""Beginnings of segmentation_models_pytorch's parameter names -> ours: they are the same."""
