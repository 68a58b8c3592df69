"""PSPNet (Zhao et al. 2017, https://arxiv.org/abs/1612.01105): the picture's means over 1, 4, 9 and 36 parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceparse.models.blocks import conv_bn_relu, resize_to


class PSPDecoder(nn.Module):
    """Pyramid pooling over the coarsest feature: the means of each grid, narrowed, beside the feature; 1x1 convolution.

    `widths`: channels of the result. Working on the encoder's first three stages, where the paper dilates the other two
    down to the same stride 8, is segmentation_models_pytorch's choice, as are the grid of one without a norm, the last
    1x1 convolution where the paper's is 3x3 and corner-aligned upsampling; so states can be exchanged with it.
    """

    stages = 1
    head_kernel = 3
    grids = (1, 2, 3, 6)

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (512,)):
        super().__init__()
        (self.out_channels,) = widths
        narrow = channels[-1] // len(self.grids)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[-1], narrow, 1), nn.ReLU(inplace=True))
            if grid == 1
            else conv_bn_relu(channels[-1], narrow, 1)
            for grid in self.grids
        )
        self.fuse = conv_bn_relu(channels[-1] + narrow * len(self.grids), self.out_channels, 1)
        self.dropout = nn.Dropout2d(0.2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[-1]
        means = [part(F.adaptive_avg_pool2d(x, grid)) for part, grid in zip(self.parts, self.grids, strict=True)]
        return self.dropout(self.fuse(torch.cat([*(resize_to(mean, x) for mean in means), x], dim=1)))


SMP_NAMES = {
    r"psp\.blocks\.(\d)\.pool\.1\.": r"parts.\1.",
    r"conv\.": "fuse.",
}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""
