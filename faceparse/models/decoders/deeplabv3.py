"""DeepLabV3 (Chen et al. 2017, https://arxiv.org/abs/1706.05587): atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from faceparse.models.blocks import ASPP, conv_bn_relu


class DeepLabV3Decoder(nn.Module):
    """ASPP and a 3x3 convolution over the coarsest feature. `widths`: channels of the result."""

    stages = 1
    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256,)):
        super().__init__()
        (self.out_channels,) = widths
        self.aspp = ASPP(channels[-1], self.out_channels)
        self.smooth = conv_bn_relu(self.out_channels, self.out_channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.smooth(self.aspp(features[-1]))


SMP_NAMES = {
    r"aspp\.convs\.4\.1\.": "aspp.pooled.0.",
    r"aspp\.convs\.4\.2\.": "aspp.pooled.1.",
    r"aspp\.convs\.": "aspp.branches.",
    r"conv\.": "smooth.0.",
    r"bn\.": "smooth.1.",
}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""

TORCHVISION_NAMES = {
    r"backbone\.": "encoder.",
    r"classifier\.0\.convs\.4\.1\.": "decoder.aspp.pooled.0.",
    r"classifier\.0\.convs\.4\.2\.": "decoder.aspp.pooled.1.",
    r"classifier\.0\.convs\.": "decoder.aspp.branches.",
    r"classifier\.0\.project\.": "decoder.aspp.project.",
    r"classifier\.1\.": "decoder.smooth.0.",
    r"classifier\.2\.": "decoder.smooth.1.",
    r"classifier\.4\.": "head.",
}
"""Beginnings of torchvision's parameter names (patterns) -> ours, those of the whole model."""
