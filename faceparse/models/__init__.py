"""Architectures by name. Importing this reads only tables; torch is imported when a model is made."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceparse.models.segmenter import Segmenter


@dataclass(frozen=True)
class Architecture:
    """One decoder: where it is written, the paper, and the encoder's output stride that the paper works at."""

    module: str
    decoder: str
    paper: str
    output_stride: int = 32


ARCHITECTURES: dict[str, Architecture] = {
    "fpn": Architecture("fpn", "FPNDecoder", "https://arxiv.org/abs/1901.02446"),
    "deeplabv3": Architecture("deeplabv3", "DeepLabV3Decoder", "https://arxiv.org/abs/1706.05587", output_stride=8),
    "encdec": Architecture("encdec", "EncDecDecoder", "https://arxiv.org/abs/1505.04597"),
}
"""Name -> architecture; a newcomer is one file in `decoders/` and one line here."""


def create_model(
    arch: str,
    encoder: str,
    classes: int,
    encoder_weights: str = "none",
    output_stride: int | None = None,
    widths: Sequence[int] | None = None,
) -> Segmenter:
    """A `Segmenter`: float32 (B, 3, H, W) pictures, normalised -> logits (B, classes, H, W).

    `encoder` is resnet18, resnet34, resnet50 (ours) or a timm model that gives features. `encoder_weights` is "none",
    "imagenet" (downloaded) or a local .safetensors/.pth file of that encoder. `output_stride` and `widths`, channels in
    the decoder, are the reference's when None.
    Raises ValueError for names, strides or files that do not fit.
    """
    from faceparse.models.encoders import create_encoder
    from faceparse.models.segmenter import Segmenter

    if arch not in ARCHITECTURES:
        near = difflib.get_close_matches(arch, ARCHITECTURES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(sorted(ARCHITECTURES))}"
        raise ValueError(f"unknown architecture {arch!r}; {hint}")
    if classes < 1:
        raise ValueError(f"a model needs at least one class, got {classes}")
    entry = ARCHITECTURES[arch]
    network = create_encoder(encoder, encoder_weights, output_stride or entry.output_stride)
    decoder_class = getattr(importlib.import_module(f"faceparse.models.decoders.{entry.module}"), entry.decoder)
    if len(network.channels) < decoder_class.stages:
        have = len(network.channels)
        raise ValueError(f"{arch} needs features of {decoder_class.stages} stages, {encoder} has {have}")
    try:
        decoder = decoder_class(network.channels) if widths is None else decoder_class(network.channels, widths)
    except ValueError as error:
        raise ValueError(f"{arch} can't be built with widths {widths} over {encoder} ({error})") from error
    return Segmenter(network, decoder, classes)
