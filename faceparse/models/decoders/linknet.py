"""LinkNet (Chaurasia and Culurciello 2017, https://arxiv.org/abs/1707.03718): narrow steps up, features added."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from faceparse.models.blocks import BatchNorm, conv_bn_relu, resize_to


def link_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution to a quarter of the channels, transposed convolution to twice the size, 1x1 convolution."""
    narrow = in_channels // 4
    up = nn.ConvTranspose2d(narrow, narrow, 4, stride=2, padding=1)
    return nn.Sequential(
        conv_bn_relu(in_channels, narrow, 1),
        nn.Sequential(up, BatchNorm(narrow), nn.ReLU(inplace=True)),
        conv_bn_relu(narrow, out_channels, 1),
    )


class LinkNetDecoder(nn.Module):
    """Steps up x2 by transposed convolution, each added to the next finer feature, on to the picture's own size.

    `widths`: channels of the result. Kernels of 4, one block instead of the paper's last three layers and the default
    width are segmentation_models_pytorch's, so that states can be exchanged with it; but that needs sizes divisible by
    32: here a map that is a row or column larger than the feature that it meets is cut to its size.
    """

    stages = 4
    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (32,)):
        super().__init__()
        (self.out_channels,) = widths
        without_partner = [channels[0]] * (5 - len(channels))
        self.blocks = nn.ModuleList(
            link_block(*pair) for pair in pairwise([*channels[::-1], *without_partner, self.out_channels])
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x, *finer = features[::-1]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(finer):
                x = resize_to(x, finer[i], "nearest") + finer[i]
        return x  # (B, widths[-1], about H, about W)


SMP_NAMES = {r"blocks\.(\d+)\.block\.": r"blocks.\1."}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""
