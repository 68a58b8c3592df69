"""A mask over its picture, with the names of the classes in it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from faceparse.commands import Parser, finish, png_file
from faceparse.labels import CELEBAMASK, FACE, FOREGROUND, IGNORE, LABEL_SETS, holds_ids, label_set


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser("show", "Lay a mask over its picture, in the classes' colours, with their names beside it.")
    flag = parser.add_argument
    flag("picture", metavar="PICTURE", type=Path, help="photo, of the mask's size or a whole number of times larger")
    flag("mask", metavar="MASK", type=Path, help="its mask: 0/255, or a PNG of class ids")
    flag("--out", metavar="FILE", type=png_file, help="PNG to write (default: PICTURE's name and _shown.png, here)")
    names = f"{', '.join(LABEL_SETS)}, or a .json file with classes of your own"
    known = f"{FACE.name} for 0/255, {CELEBAMASK.name} for ids"
    flag("--labels", metavar="SET", help=f"what the mask shows: {names} (default: {known})")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    args = create_parser().read(argv)
    args.out = args.out or Path(f"{args.picture.stem}_shown.png")
    return args


def main(argv: list[str] | None = None) -> int:
    """Draw one picture; 1 for files that do not fit."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Read both, lay one over the other, write."""
    from faceparse import images
    from faceparse.commands.places import path_key
    from faceparse.data.folder import is_binary, to_ids
    from faceparse.legend import add_legend

    if path_key(args.out) in map(path_key, (args.picture, args.mask)):
        raise ValueError(f"{args.out} is to be shown; name another file with --out")
    picture, values = images.read_pair(args.picture, args.mask)
    labels = label_set(args.labels) if args.labels else CELEBAMASK if holds_ids(values, args.mask) else FACE
    ids = to_ids(values, labels, is_binary(args.mask, values, labels))
    ids[ids == IGNORE] = 0
    view = images.overlay(picture, ids * FOREGROUND if labels.is_binary else ids, labels)
    images.write_mask(args.out, add_legend(view, ids, labels))
    print(args.out, file=sys.stderr)
    return 0
