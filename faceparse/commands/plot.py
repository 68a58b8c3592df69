"""The curves of trainings as one picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from faceparse.commands import Parser, finish, png_file


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "plot",
        "Draw losses, scores and learning rate over the epochs. Several trainings are drawn over each other, each in "
        "its colour: the training loss and the IoU pale, the validation loss and the Dice full.",
    )
    flag = parser.add_argument
    flag(
        "runs",
        metavar="RUN",
        type=Path,
        nargs="+",
        help="run folders, train's --weights_dir, or exp1 ... in --runs_dir",
    )
    flag("--out", metavar="FILE", type=png_file, default=Path("curves.png"), help="PNG to write")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def main(argv: list[str] | None = None) -> int:
    """Draw one picture; 1 for a folder without curves."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Read, draw, write."""
    from faceparse.curves import draw_curves, read_curves
    from faceparse.images import write_mask

    write_mask(args.out, draw_curves({str(folder): read_curves(folder) for folder in args.runs}))
    print(args.out, file=sys.stderr)
    return 0
