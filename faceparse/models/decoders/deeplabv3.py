"""DeepLabV3 (Chen et al. 2017, https://arxiv.org/abs/1706.05587): atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class ASPP(nn.Module):
    """A 1x1, three dilated 3x3 convolutions and image pooling side by side, joined by a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int]):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(in_channels, out_channels, 1),
                *(conv_bn_relu(in_channels, out_channels, 3, r) for r in rates),
            ]
        )
        self.pooled = conv_bn_relu(in_channels, out_channels, 1)
        self.project = conv_bn_relu(out_channels * (len(rates) + 2), out_channels, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.adaptive_avg_pool2d(x, 1))  # (B, out_channels, 1, 1)
        branches = [branch(x) for branch in self.branches] + [pooled.expand(-1, -1, *x.shape[-2:])]
        return self.dropout(self.project(torch.cat(branches, dim=1)))


class DeepLabV3Decoder(nn.Module):
    """ASPP and a 3x3 convolution. Rates are torchvision's, at output stride 8 and 16 alike, so that its states fit."""

    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256,), rates: Sequence[int] = (12, 24, 36)):
        super().__init__()
        (out_channels,) = widths
        self.out_channels = out_channels
        self.aspp = ASPP(channels[-1], out_channels, rates)
        self.smooth = conv_bn_relu(out_channels, out_channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.smooth(self.aspp(features[-1]))
