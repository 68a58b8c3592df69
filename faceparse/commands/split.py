"""Write down which pictures are for training, validation and test."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from faceparse.commands import Parser, finish, whole_from


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "split",
        "Write a CSV of rows name,train|val|test for train.py --split: drawn at random by sizes, or the "
        "official partition of CelebA carried over to CelebA-HQ.",
    )
    flag = parser.add_argument
    flag("out", type=Path, metavar="CSV", help="file to write")
    flag("--faces_dir", type=Path, metavar="DIR", help="folder of the pictures; with --mapping, only these are named")
    flag("--sizes", type=sizes, metavar="N/N/N", help="pictures to train, validate and test on, such as 3375/375/250")
    flag("--seed", type=whole_from(0), default=0, metavar="N", help="seed of the draw (default: %(default)s)")
    flag("--mapping", type=Path, metavar="TXT", help="CelebA-HQ-to-CelebA-mapping.txt of CelebAMask-HQ")
    flag("--partition", type=Path, metavar="TXT", help="list_eval_partition.txt of CelebA")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    parser = create_parser()
    args = parser.read(argv)
    official = bool(args.mapping and args.partition)
    if official == bool(args.sizes) or bool(args.mapping) != bool(args.partition):
        parser.error("give either --sizes, or --mapping and --partition")
    if args.sizes and not args.faces_dir:
        parser.error("--sizes needs --faces_dir, whose pictures are drawn")
    return args


def sizes(text: str) -> list[int]:
    """`3375/375/250` as three numbers."""
    numbers = text.split("/")
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"expected three numbers such as 3375/375/250, got {text!r}")
    return [int(number) for number in numbers]


def main(argv: list[str] | None = None) -> int:
    """Write the file; the exit status is 1 when it can't be made."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Make the rows, write them, count them."""
    from faceparse.data.splits import PARTS, celeba_split, draw_split, write_split
    from faceparse.images import list_images

    pictures = [path.name for path in list_images(args.faces_dir)] if args.faces_dir else []
    if args.sizes:
        rows = draw_split(pictures, args.sizes, args.seed)
    else:
        there = {Path(name).stem for name in pictures}
        rows = celeba_split(args.mapping, args.partition)
        rows = [row for row in rows if Path(row[0]).stem in there] if pictures else rows
        if not rows:
            raise ValueError(f"{args.mapping}: it names no picture of {args.faces_dir}, which are to be called N.jpg")
    write_split(args.out, rows)
    counts = Counter(part for _, part in rows)
    print(f"{args.out}: " + ", ".join(f"{counts[part]} {part}" for part in PARTS), file=sys.stderr)
    return 0
