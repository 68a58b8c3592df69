"""DeepLabV3 (Chen et al. 2017, https://arxiv.org/abs/1706.05587): atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        pooled = self._pool(x)  # (B, out_channels, 1, 1)
        branches = [branch(x) for branch in self.branches] + [pooled.expand(-1, -1, *x.shape[-2:])]
        return self.dropout(self.project(torch.cat(branches, dim=1)))

    def _pool(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(x, 1)
        norm = self.pooled[1]
        assert isinstance(norm, nn.BatchNorm2d)
        if len(x) > 1 or not self.training:
            return self.pooled(x)
        # One picture has one value a channel here, of which there are no statistics: take those gathered so far.
        x = self.pooled[0](x)
        return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))


class DeepLabV3Decoder(nn.Module):
    """ASPP and a 3x3 convolution. Rates are torchvision's, at output stride 8 and 16 alike, so that its states fit."""

    stages = 1
    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256,), rates: Sequence[int] = (12, 24, 36)):
        super().__init__()
        (out_channels,) = widths
        self.out_channels = out_channels
        self.aspp = ASPP(channels[-1], out_channels, rates)
        self.smooth = conv_bn_relu(out_channels, out_channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.smooth(self.aspp(features[-1]))


_TORCHVISION = {
    "backbone.": "encoder.",
    "classifier.0.convs.4.1.": "decoder.aspp.pooled.0.",
    "classifier.0.convs.4.2.": "decoder.aspp.pooled.1.",
    "classifier.0.convs.": "decoder.aspp.branches.",
    "classifier.0.project.": "decoder.aspp.project.",
    "classifier.1.": "decoder.smooth.0.",
    "classifier.2.": "decoder.smooth.1.",
    "classifier.4.": "head.",
}
"""Beginnings of torchvision's parameter names -> ours; the first that fits counts."""


def state_from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of torchvision's `deeplabv3_resnet50` under our names, without its auxiliary classifier.

    `create_model("deeplabv3", "resnet50", classes)` loads it and returns the same logits.
    """
    renamed = {}
    for key, value in state.items():
        for theirs, ours in _TORCHVISION.items():
            if key.startswith(theirs):
                renamed[ours + key.removeprefix(theirs)] = value
                break
    return renamed
