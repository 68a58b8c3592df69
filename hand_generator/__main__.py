"""`python -m hand_generator`: every hand in every rotation, several times, each on a random face."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from faceparse.commands import Parser, finish, whole_from
from hand_generator import STYLE_NAMES


def angle(text: str) -> float:
    """An argparse type: degrees, neither nan nor infinite."""
    if not math.isfinite(float(text)):
        raise argparse.ArgumentTypeError(f"expected a finite number of degrees, got {text!r}")
    return float(text)


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "hands",
        "Paste every hand, in every rotation, several times, each on a random face. Pixels under the hand "
        "become 0 in the face's mask. What an earlier run with the same settings has finished is kept.",
    )
    flag = parser.add_argument
    flag("--faces_dir", type=Path, required=True, metavar="DIR", help="folder with pictures of faces")
    flag("--masks_dir", type=Path, required=True, metavar="DIR", help="their masks, equal stems: 0/255 or class ids")
    flag("--hands_dir", type=Path, required=True, metavar="DIR", help="folder with images/ and masks/, equal stems")
    flag("--fahand_dir", type=Path, required=True, metavar="DIR", help="folder for pictures N.jpg and manifest.csv")
    flag("--mahand_dir", type=Path, required=True, metavar="DIR", help="folder for masks N.png")
    degrees = "turns of each hand, degrees counter-clockwise (default: 0 90 180 270)"
    flag("--rotations", type=angle, nargs="+", default=[0, 90, 180, 270], metavar="DEG", help=degrees)
    faces = "faces for each hand in each rotation (default: %(default)s)"
    flag("--repeats", type=whole_from(1), default=5, metavar="N", help=faces)
    styles = (
        "natural: sized, coloured and placed by the face, turned by up to 45 degrees more, soft edge; "
        "plain: fixed share of the picture, random place, hard edge (default: %(default)s)"
    )
    flag("--style", choices=STYLE_NAMES, default=STYLE_NAMES[0], help=styles)
    seed = "same seed, same bytes, whatever the number of workers (default: %(default)s)"
    flag("--seed", type=whole_from(0), default=0, metavar="N", help=seed)
    cores = os.cpu_count() or 1
    flag(
        "--workers",
        type=whole_from(1),
        default=cores,
        metavar="N",
        help="processes (default: %(default)s, one a core)",
    )
    frames = "the hands are whole frames: cut every separate hand out of them (default: off)"
    flag("--from_frames", action="store_true", help=frames)
    flag("--overwrite", action="store_true", help="make finished outputs anew (default: keep them)")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def _run(args: argparse.Namespace) -> int:
    from hand_generator.generate import run

    return run(args)


def main(argv: list[str] | None = None) -> int:
    """Generate; the exit status is 1 when anything was skipped."""
    return finish(_run, parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
