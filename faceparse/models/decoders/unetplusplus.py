"""UNet++ (Zhou et al. 2018, https://arxiv.org/abs/1807.10165): U-Nets of growing depth, each helped by the last."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from faceparse.models.blocks import UpBlock, partner_channels


class UNetPlusPlusDecoder(nn.Module):
    """A way up from every feature but the finest; beside each step is also what shallower ways made of that size.

    `x_START_STEP` is the block of the way from feature START that makes STEP's size; both count from the coarsest. The
    way from the coarsest feature is U-Net's: it has `widths` and goes on to about the picture's own size; the others
    keep the features' channels. There is no deep supervision. The defaults are segmentation_models_pytorch's, so that
    states can be exchanged with it; but that needs sizes divisible by 32.
    """

    stages = 4
    head_kernel = 3

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (256, 128, 64, 32, 16)):
        super().__init__()
        finer = partner_channels(channels, widths)
        self.out_channels, self.steps = widths[-1], len(widths)
        self.blocks = nn.ModuleDict()
        for start in range(len(channels) - 1):
            below, made = channels[-1 - start], widths if start == 0 else channels[-2::-1]
            for step in range(start, len(made)):
                self.blocks[f"x_{start}_{step}"] = UpBlock(below, finer[step] * (step - start + 1), made[step])
                below = made[step]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        beside = [[finer] for finer in features[-2::-1]]  # coarsest first; of one size, newest first
        for start in reversed(range(len(beside))):
            x = features[-1 - start]
            for step in range(start, len(beside)):
                x = self.blocks[f"x_{start}_{step}"](x, beside[step])
                beside[step].insert(0, x)
        for step in range(len(beside), self.steps):
            x = self.blocks[f"x_0_{step}"](x)
        return x  # (B, widths[-1], about H, about W)


SMP_NAMES: dict[str, str] = {}
"""Beginnings of segmentation_models_pytorch's parameter names -> ours: they are the same."""
