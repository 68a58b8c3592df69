"""DeepLabV3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611): DeepLabV3, with outlines from the feature at 1/4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from faceparse.models.blocks import ASPP, conv_bn_relu, resize_to, separable_bn_relu


class DeepLabV3PlusDecoder(nn.Module):
    """Separable ASPP over the coarsest feature, brought to 1/4, beside the narrowed feature there, once more convolved.

    `widths`: channels of the result, channels that the feature at 1/4 is narrowed to. One last convolution where the
    paper has two, the ASPP's rates, one convolution after it that the paper does not have and corner-aligned upsampling
    are segmentation_models_pytorch's, so that states can be exchanged with it.
    """

    stages = 4
    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256, 48)):
        super().__init__()
        self.out_channels, narrow = widths
        self.aspp = ASPP(channels[-1], self.out_channels, separable=True)
        self.smooth = separable_bn_relu(self.out_channels, self.out_channels)
        self.narrow = conv_bn_relu(channels[-4], narrow, 1)
        self.fuse = separable_bn_relu(narrow + self.out_channels, self.out_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        outlines = self.narrow(features[-4])
        x = self.smooth(self.aspp(features[-1]))
        return self.fuse(torch.cat([resize_to(x, outlines), outlines], dim=1))  # (B, widths[0], H/4, W/4)


SMP_NAMES = {
    r"aspp\.0\.convs\.4\.1\.": "aspp.pooled.0.",
    r"aspp\.0\.convs\.4\.2\.": "aspp.pooled.1.",
    r"aspp\.0\.convs\.": "aspp.branches.",
    r"aspp\.0\.project\.": "aspp.project.",
    r"aspp\.1\.": "smooth.0.",
    r"aspp\.2\.": "smooth.1.",
    r"block1\.": "narrow.",
    r"block2\.": "fuse.",
}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""
