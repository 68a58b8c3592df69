"""Pyramid Attention Network (Li et al. 2018, https://arxiv.org/abs/1805.10180): coarse features say where to look."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from faceparse.models.blocks import BatchNorm, conv_bn_relu, resize_to


class FeaturePyramidAttention(nn.Module):
    """The narrowed feature times a map of attention seen at 1/2, 1/4 and 1/8 of its size, plus the picture's mean."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.mean = conv_bn_relu(in_channels, out_channels, 1, bias=True)
        self.narrow = conv_bn_relu(in_channels, out_channels, 1, bias=True)
        self.down = nn.ModuleList(
            [
                conv_bn_relu(in_channels, 1, 7, bias=True),
                conv_bn_relu(1, 1, 5, bias=True),
                nn.Sequential(conv_bn_relu(1, 1, 3, bias=True), conv_bn_relu(1, 1, 3, bias=True)),
            ]
        )
        self.side = nn.ModuleList([conv_bn_relu(1, 1, 7, bias=True), conv_bn_relu(1, 1, 5, bias=True)])

    def forward(self, x: Tensor) -> Tensor:
        half = self.down[0](_halved(x))
        quarter = self.down[1](_halved(half))
        attention = resize_to(self.down[2](_halved(quarter)), quarter) + self.side[1](quarter)
        attention = resize_to(attention, half) + self.side[0](half)
        return self.narrow(x) * resize_to(attention, x) + self.mean(F.adaptive_avg_pool2d(x, 1))


def _halved(x: Tensor) -> Tensor:
    """Max pooling, down to one row and one column but not to none."""
    return F.max_pool2d(x, (min(2, x.shape[-2]), min(2, x.shape[-1])))


class GlobalAttentionUpsample(nn.Module):
    """The coarser map, plus the finer feature with each channel weighted by the coarser map's mean there."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.narrow = conv_bn_relu(in_channels, out_channels, 3, bias=True)
        self.weight = nn.Sequential(nn.Conv2d(out_channels, out_channels, 1), BatchNorm(out_channels), nn.Sigmoid())

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        fine = self.narrow(fine) * self.weight(F.adaptive_avg_pool2d(coarse, 1))
        return resize_to(coarse, fine) + fine


class PANDecoder(nn.Module):
    """Attention over the coarsest feature, then three steps up to 1/4, each led by the coarser map.

    `widths`: channels of the result. Biases before batch norm, which have no effect, 3x3 before 1x1 in the steps up and
    corner-aligned upsampling are segmentation_models_pytorch's, so that states can be exchanged with it; but that fails
    on pictures whose coarsest feature has less than 8 rows or columns: here pooling ends at one.
    """

    stages = 4
    head_kernel = 3

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (32,)):
        super().__init__()
        (self.out_channels,) = widths
        self.attention = FeaturePyramidAttention(channels[-1], self.out_channels)
        self.steps = nn.ModuleList(GlobalAttentionUpsample(c, self.out_channels) for c in channels[-2:-5:-1])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.attention(features[-1])
        for step, fine in zip(self.steps, features[-2:-5:-1], strict=True):
            x = step(x, fine)
        return x  # (B, widths[0], H/4, W/4)


def _names(theirs: str, ours: str) -> dict[str, str]:
    return {rf"{theirs}\.conv\.": f"{ours}.0.", rf"{theirs}\.bn\.": f"{ours}.1."}


SMP_NAMES = {
    **_names(r"fpa\.branch1\.1", "attention.mean"),
    **_names(r"fpa\.mid\.0", "attention.narrow"),
    **_names(r"fpa\.down1\.1", "attention.down.0"),
    **_names(r"fpa\.down2\.1", "attention.down.1"),
    **_names(r"fpa\.down3\.1", "attention.down.2.0"),
    **_names(r"fpa\.down3\.2", "attention.down.2.1"),
    **_names(r"fpa\.conv1", "attention.side.0"),
    **_names(r"fpa\.conv2", "attention.side.1"),
    **_names(r"gau3\.conv1\.1", "steps.0.weight"),
    **_names(r"gau3\.conv2", "steps.0.narrow"),
    **_names(r"gau2\.conv1\.1", "steps.1.weight"),
    **_names(r"gau2\.conv2", "steps.1.narrow"),
    **_names(r"gau1\.conv1\.1", "steps.2.weight"),
    **_names(r"gau1\.conv2", "steps.2.narrow"),
}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""
