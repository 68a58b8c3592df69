"""The custom encoder-decoder: U-Net's way up (https://arxiv.org/abs/1505.04597) with one convolution a stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceparse.models.blocks import resize_to


class EncDecDecoder(nn.Module):
    """Up x2 bilinear, the next finer stage beside it, 3x3 convolution, ReLU; four times, then up x2 once more.

    Over ResNet-50 (64 channels at 1/2, 256, 512, 1024, 2048 at 1/32). The last map has about the picture's own size;
    the head's 3x3 convolution works there.
    """

    stages = 5
    head_kernel = 3

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (1028, 514, 256, 64)):
        super().__init__()
        coarser = [channels[-1], *widths[:-1]]
        finer = channels[-2:-6:-1]
        self.convs = nn.ModuleList(
            nn.Conv2d(below + beside, width, 3, padding=1)
            for below, beside, width in zip(coarser, finer, widths, strict=True)
        )
        self.out_channels = widths[-1]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[-1]
        for conv, finer in zip(self.convs, features[-2:-6:-1], strict=True):
            x = resize_to(x, finer, align_corners=False)
            x = F.relu(conv(torch.cat([x, finer], dim=1)))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
