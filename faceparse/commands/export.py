"""Weights -> ONNX or TorchScript, kept only if the exported model answers as the weights do."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from faceparse.commands import Parser, finish


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "export",
        "Write weights as a model for ONNX Runtime or TorchScript that takes pictures of any height, width "
        "and number, and that segment --weights_path and faceparse.load() take. It is kept if it gives 99.9 % of the "
        "pixels the class that the weights give them (--int8: 99 %, and finds their foreground with an IoU of .9), and "
        "loses at most .005 of their IoU.",
    )
    flag = parser.add_argument
    flag("weights", metavar="WEIGHTS", type=Path, help="the .safetensors file, or the name of bundled weights")
    flag("--format", required=True, metavar="NAME", help="onnx or torchscript")
    flag("--out", metavar="FILE", type=Path, help="file to write (default: WEIGHTS ending in .onnx or .ts)")
    precision = parser.add_mutually_exclusive_group()
    half = "store the weights in 16 bits and compute in 32: half the file (default: off)"
    precision.add_argument("--half", dest="precision", action="store_const", const="half", help=half)
    int8 = "ONNX: store and compute in 8 bits, with ranges learnt from the pictures (default: off)"
    precision.add_argument("--int8", dest="precision", action="store_const", const="int8", help=int8)
    images = "pictures to compare on, like those that the model is for; --int8 needs them"
    flag("--images_path", metavar="PATH", type=Path, help=f"{images} (default: drawn shapes)")
    flag("--masks_path", metavar="FOLDER", type=Path, help="their true masks, to compare IoU on (default: none)")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    args = create_parser().read(argv)
    args.command = shlex.join(["faceparse", "export", *(sys.argv[1:] if argv is None else argv)])
    return args


def main(argv: list[str] | None = None) -> int:
    """Export one file; 1 when the model does not come near enough to the original."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Export, and say how near it came."""
    from faceparse.export import export

    out, measured = export(
        args.weights,
        args.format,
        args.out,
        args.precision or "float32",
        args.images_path,
        args.masks_path,
        args.command,
    )
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {measured}", file=sys.stderr)
    return 0
