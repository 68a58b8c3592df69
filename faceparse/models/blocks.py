"""What two or more networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can also train on a batch of one: (B, C, H, W) -> the same.

    One value a channel has no statistics; it is normalised with those gathered so far.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU: (B, in_channels, H, W) -> (B, out_channels, H, W)."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def separable_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise 1x1 convolution, batch norm, ReLU: as `conv_bn_relu` at a fraction of the work."""
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, 1, dilation, dilation, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        ),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def resize_to(x: Tensor, partner: Tensor, mode: str = "bilinear", align_corners: bool = True) -> Tensor:
    """`x` (B, C, h, w) at the height and width of `partner` (B, any, H, W): (B, C, H, W).

    `mode` is "bilinear" or "nearest"; `align_corners`, which only "bilinear" knows, is segmentation_models_pytorch's.
    """
    corners = align_corners if mode == "bilinear" else None
    return F.interpolate(x, size=partner.shape[-2:], mode=mode, align_corners=corners)


class ASPP(nn.Module):
    """A 1x1, three dilated 3x3 convolutions and image pooling side by side, joined by a 1x1 convolution.

    (B, in_channels, H, W) -> (B, out_channels, H, W). `separable` makes the dilated convolutions depthwise separable.
    The rates are those of torchvision and segmentation_models_pytorch at every output stride, so that states fit; the
    papers halve them at output stride 16.
    """

    rates: Sequence[int] = (12, 24, 36)

    def __init__(self, in_channels: int, out_channels: int, separable: bool = False):
        super().__init__()
        dilated = [
            separable_bn_relu(in_channels, out_channels, rate)
            if separable
            else conv_bn_relu(in_channels, out_channels, 3, rate)
            for rate in self.rates
        ]
        self.branches = nn.ModuleList([conv_bn_relu(in_channels, out_channels, 1), *dilated])
        self.pooled = conv_bn_relu(in_channels, out_channels, 1)
        self.project = conv_bn_relu(out_channels * (len(self.rates) + 2), out_channels, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.adaptive_avg_pool2d(x, 1))  # (B, out_channels, 1, 1)
        branches = [branch(x) for branch in self.branches] + [pooled.expand(-1, -1, *x.shape[-2:])]
        return self.dropout(self.project(torch.cat(branches, dim=1)))


class UpBlock(nn.Module):
    """U-Net's step up: x2, nearest, then two 3x3 convolutions over the map and the finer ones `beside` it.

    (B, in_channels, h, w) and maps (B, any, H, W), `beside_channels` in all -> (B, out_channels, H, W); 2h, 2w if there
    are none.
    """

    def __init__(self, in_channels: int, beside_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = conv_bn_relu(in_channels + beside_channels, out_channels, 3)
        self.conv2 = conv_bn_relu(out_channels, out_channels, 3)

    def forward(self, x: Tensor, beside: Sequence[Tensor] = ()) -> Tensor:
        x = resize_to(x, beside[0], "nearest") if beside else F.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv2(self.conv1(torch.cat([x, *beside], dim=1)))


def partner_channels(channels: Sequence[int], widths: Sequence[int]) -> list[int]:
    """Channels of the finer feature that each step up meets, coarsest first; 0 for steps beyond the finest feature.

    Five steps lead from 1/32 to the picture's own size. Raises ValueError unless there is one of `widths` for each.
    """
    met = [*channels[-2::-1], 0, 0][: max(5, len(channels) - 1)]
    if len(widths) != len(met):
        raise ValueError(f"it takes {len(met)} widths, one a step up")
    return met
