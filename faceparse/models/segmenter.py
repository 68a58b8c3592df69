"""The frame around every architecture: encoder -> decoder -> head -> logits at the input's size."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Three = tuple[float, float, float]


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) -> features, finest first: one (B, channels[i], H / strides[i], W / strides[i]) each.

    `mean` and `std` are what the pictures, RGB in 0..1, are normalised with for the encoder's published weights.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: Three
    std: Three


class Segmenter(nn.Module):
    """Encoder, decoder and a convolution to the classes, answered at the size of the question."""

    def __init__(self, encoder: Encoder, decoder: nn.Module, classes: int, align_corners: bool = False):
        super().__init__()
        kernel = cast(int, decoder.head_kernel)
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(cast(int, decoder.out_channels), classes, kernel, padding=kernel // 2)
        self.classes = classes
        self.align_corners = align_corners

    def forward(self, image: Tensor) -> Tensor:  # (B, 3, H, W)
        features = self.encoder(image)  # [(B, C_i, H/s_i, W/s_i)], finest first
        logits = self.head(self.decoder(features))  # (B, K, h, w)
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=self.align_corners)
