"""Architectures by name. Importing this reads only tables; torch is imported when a model is made."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faceparse.words import hint

if TYPE_CHECKING:
    from faceparse.models.segmenter import Segmenter


@dataclass(frozen=True)
class Architecture:
    """One decoder: where it is written, the paper, the encoder's output stride and how many of its stages it uses.

    The encoder's stage i ends at stride 2**i, or less by dilation; later ones than `depth` are not used,
    and not built where the encoder can be cut (timm's EfficientNets and MobileNets can't).
    """

    module: str
    decoder: str
    paper: str
    output_stride: int = 32
    depth: int = 5


@dataclass(frozen=True)
class Convention:
    """Where references compute differently with the same weights.

    `align_corners`: how the logits are resized to the picture. `dilate_first_block`: whether the first block of a
    stage whose stride became dilation has that dilation already, or the previous stage's.
    """

    align_corners: bool
    dilate_first_block: bool


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture("unet", "UNetDecoder", "https://arxiv.org/abs/1505.04597"),
    "unetplusplus": Architecture("unetplusplus", "UNetPlusPlusDecoder", "https://arxiv.org/abs/1807.10165"),
    "linknet": Architecture("linknet", "LinkNetDecoder", "https://arxiv.org/abs/1707.03718"),
    "fpn": Architecture("fpn", "FPNDecoder", "https://arxiv.org/abs/1901.02446"),
    "pan": Architecture("pan", "PANDecoder", "https://arxiv.org/abs/1805.10180", output_stride=16),
    "pspnet": Architecture("pspnet", "PSPDecoder", "https://arxiv.org/abs/1612.01105", output_stride=8, depth=3),
    "deeplabv3": Architecture("deeplabv3", "DeepLabV3Decoder", "https://arxiv.org/abs/1706.05587", output_stride=8),
    "deeplabv3plus": Architecture(
        "deeplabv3plus", "DeepLabV3PlusDecoder", "https://arxiv.org/abs/1802.02611", output_stride=16
    ),
    "encdec": Architecture("encdec", "EncDecDecoder", "https://arxiv.org/abs/1505.04597"),
}
"""Name -> architecture; a newcomer is one file in `decoders/` and one line here."""

CONVENTIONS: dict[str, Convention] = {
    "torchvision": Convention(align_corners=False, dilate_first_block=False),
    "smp": Convention(align_corners=True, dilate_first_block=True),
}
"""Name -> convention; "smp" is segmentation_models_pytorch, for weights that come from there."""


def create_model(
    arch: str,
    encoder: str,
    classes: int,
    encoder_weights: str = "none",
    output_stride: int | None = None,
    widths: Sequence[int] | None = None,
    convention: str = "torchvision",
    partial_encoder_weights: bool = False,
) -> Segmenter:
    """A `Segmenter`: float32 (B, 3, H, W) pictures, normalised -> logits (B, classes, H, W).

    `encoder` is resnet18, resnet34, resnet50, mobilenet_v2 or a timm model that gives features. `encoder_weights` is
    "none", "imagenet" (downloaded) or a local .safetensors/.pth file of that encoder. `output_stride` and `widths`,
    channels in the decoder, are the reference's when None. `convention`, one of `CONVENTIONS`, is whose weights will be
    loaded.
    `partial_encoder_weights` takes of such a file what fits; otherwise all of it has to, but for a classifier.
    Raises ValueError for names, strides or files that do not fit.
    """
    from faceparse.models.encoders import create_encoder
    from faceparse.models.segmenter import Segmenter

    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {arch!r}; {hint(arch, ARCHITECTURES)}")
    if classes < 1:
        raise ValueError(f"a model needs at least one class, got {classes}")
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}; choose one of: {', '.join(CONVENTIONS)}")
    if widths is not None and any(width < 1 for width in widths):
        raise ValueError(f"{arch} can't be built with widths {list(widths)}: each has to be at least 1")
    entry, how = ARCHITECTURES[arch], CONVENTIONS[convention]
    if output_stride is not None and output_stride > 2**entry.depth:
        finest = f"{arch} uses its encoder up to stride {2**entry.depth}"
        raise ValueError(f"{finest}; output stride {output_stride} is not possible")
    network = create_encoder(
        encoder,
        encoder_weights,
        output_stride or entry.output_stride,
        entry.depth,
        how.dilate_first_block,
        partial_encoder_weights,
    )
    decoder_class = getattr(importlib.import_module(f"faceparse.models.decoders.{entry.module}"), entry.decoder)
    if len(network.channels) < decoder_class.stages:
        have = len(network.channels)
        raise ValueError(f"{arch} needs features of {decoder_class.stages} stages, {encoder} has {have}")
    try:
        decoder = decoder_class(network.channels) if widths is None else decoder_class(network.channels, widths)
    except ValueError as error:
        raise ValueError(f"{arch} can't be built with widths {widths} over {encoder} ({error})") from error
    return Segmenter(network, decoder, classes, how.align_corners)
