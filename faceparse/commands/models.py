"""The architectures as a table: parameters, multiply-adds, the encoder's strides and the paper of each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from faceparse.commands import Parser, finish, whole_from
from faceparse.models import ARCHITECTURES

if TYPE_CHECKING:
    from torch import nn

HEADER = ("architecture", "encoder", "params/M", "madds/G", "strides", "paper")


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "models",
        "Every architecture over an encoder: millions of parameters, billions of multiply-adds for one "
        "square picture (convolutions and matrix products), the strides of the encoder's features, and the paper.",
    )
    flag = parser.add_argument
    encoders = "resnet18, resnet34, resnet50, mobilenet_v2, or a timm model's name; several make several rows"
    flag("--encoder", metavar="NAME", nargs="+", default=["mobilenetv2_100"], help=encoders)
    flag("--size", metavar="PX", type=whole_from(32), default=512, help="side of the picture, pixels")
    flag("--classes", metavar="N", type=whole_from(1), default=2, help="classes to tell apart")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 for an encoder that does not exist."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Build each model without memory for its weights, and count."""
    from faceparse.models.encoders import create_encoder
    from faceparse.models.outline import outlined

    with outlined():
        for encoder in args.encoder:
            create_encoder(encoder)
        rows = [row(arch, encoder, args.size, args.classes) for arch in ARCHITECTURES for encoder in args.encoder]
    widths = [max(len(line[i]) for line in [HEADER, *rows] if len(line) == len(HEADER)) for i in range(len(HEADER))]
    for line in [HEADER, *rows]:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)).rstrip())
    return 0


def row(arch: str, encoder: str, size: int, classes: int) -> tuple[str, ...]:
    """The cells of one model under `HEADER`; where it can't be built, the reason follows its names."""
    from faceparse.models import create_model

    try:
        model = create_model(arch, encoder, classes)
    except ValueError as error:
        return arch, encoder, str(error)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        arch,
        encoder,
        f"{parameters / 1e6:8.2f}",
        f"{multiply_adds(model, (size, size)) / 1e9:7.2f}",
        " ".join(map(str, model.encoder.strides)),
        ARCHITECTURES[arch].paper,
    )


def multiply_adds(model: nn.Module, size_hw: Sequence[int]) -> int:
    """Of the convolutions and matrix products for one picture (1, 3, H, W), on the device that the model is on."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, 3, *size_hw, device=device))
    return counter.get_total_flops() // 2  # it counts a multiplication and an addition as two
