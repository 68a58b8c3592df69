"""Panoptic FPN's semantic branch (Kirillov et al. 2019, https://arxiv.org/abs/1901.02446), the light default."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from faceparse.models.blocks import resize_to


class SmoothedLevel(nn.Module):
    """3x3 convolution, group norm and ReLU, once per level on the way from `level` to the finest one, at least once."""

    def __init__(self, in_channels: int, out_channels: int, steps: int):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1, bias=False),
                nn.GroupNorm(32, out_channels),
                nn.ReLU(inplace=True),
            )
            for i in range(max(1, steps))
        )

    def forward(self, x: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """`finer`: the levels on the way, finest last, for their sizes; empty at the finest level itself."""
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(finer):
                x = resize_to(x, finer[i])
        return x


class FPNDecoder(nn.Module):
    """Top-down pyramid over the features at 1/4 ... 1/32; its levels are smoothed, brought to 1/4 and added up.

    `widths`: channels of the pyramid, channels of the result. The defaults, group norm, dropout and corner-aligned
    upsampling between levels are segmentation_models_pytorch's, so that states can be exchanged with it; but that needs
    sizes divisible by 32: here a level is brought to the size of the next finer one.
    """

    stages = 4
    head_kernel = 1

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256, 128), dropout: float = 0.2):
        super().__init__()
        pyramid_channels, out_channels = widths
        self.out_channels = out_channels
        self.laterals = nn.ModuleList(nn.Conv2d(c, pyramid_channels, 1) for c in channels[-4:])
        self.smooth = nn.ModuleList(SmoothedLevel(pyramid_channels, out_channels, steps) for steps in range(4))
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        pyramid = [lateral(c) for lateral, c in zip(self.laterals, features[-4:], strict=True)]  # p2 ... p5
        for i in (2, 1, 0):
            pyramid[i] = pyramid[i] + resize_to(pyramid[i + 1], pyramid[i], mode="nearest")
        levels = [smooth(p, pyramid[:i][::-1]) for i, (smooth, p) in enumerate(zip(self.smooth, pyramid, strict=True))]
        return self.dropout(levels[0] + levels[1] + levels[2] + levels[3])  # (B, out_channels, H/4, W/4)


SMP_NAMES = {
    r"p2\.skip_conv\.": "laterals.0.",
    r"p3\.skip_conv\.": "laterals.1.",
    r"p4\.skip_conv\.": "laterals.2.",
    r"p5\.": "laterals.3.",
    r"seg_blocks\.3\.block\.(\d)\.block\.": r"smooth.0.blocks.\1.",
    r"seg_blocks\.2\.block\.(\d)\.block\.": r"smooth.1.blocks.\1.",
    r"seg_blocks\.1\.block\.(\d)\.block\.": r"smooth.2.blocks.\1.",
    r"seg_blocks\.0\.block\.(\d)\.block\.": r"smooth.3.blocks.\1.",
}
"""Beginnings of segmentation_models_pytorch's parameter names (patterns) -> ours."""
