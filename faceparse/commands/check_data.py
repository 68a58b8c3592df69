"""Look through pictures and masks before a training: what is wrong, what they show, and whether a test is honest."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from faceparse.commands import Parser, finish
from faceparse.labels import LABEL_SETS, LabelSet, label_set
from faceparse.words import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faceparse.data.folder import Pair

MOST_EMPTY = 3
"""How many masks without a class are named before they are only counted."""


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "check-data",
        "List every fault of a folder of pictures and a folder of their masks, count the classes, and with --split "
        "find pictures of which a copy is in another part.",
    )
    flag = parser.add_argument
    flag("--faces_dir", metavar="DIR", type=Path, required=True, help="folder of pictures")
    flag("--masks_dir", metavar="DIR", type=Path, required=True, help="folder of their masks, same stems")
    names = f"{', '.join(LABEL_SETS)}, or a .json file with classes of your own (default: %(default)s)"
    flag("--labels", metavar="SET", default="face", help=f"classes to look for: {names}")
    flag(
        "--soft_targets", action="store_true", help="masks hold the foreground's share, 0 to 255, an alpha for instance"
    )
    flag("--split", metavar="CSV", type=Path, help="rows name,True|False or name,train|val|test")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def main(argv: list[str] | None = None) -> int:
    """Print what was found; 1 when something is wrong."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Faults go to stderr, a line each, and counts to stdout."""
    from faceparse.data.folder import examine
    from faceparse.data.splits import PARTS, read_split

    labels = label_set(args.labels)
    pairs, faults = examine(args.faces_dir, args.masks_dir, labels, args.soft_targets)
    print(f"{len(pairs)} sound pairs")
    print("\n".join(count_lines(pairs, labels)))
    if args.split:
        part_of = read_split(args.split)
        parts = {part: [pair for pair in pairs if part_of.get(pair.image.stem) == part] for part in PARTS}
        there = {pair.image.stem for pair in pairs}
        faults += [f"{args.split}: {stem} is no sound pair of these folders" for stem in part_of if stem not in there]
        sizes = ", ".join(f"{part} {len(members)}" for part, members in parts.items())
        print(f"{args.split}: {sizes}, in none {len(there - set(part_of))}")
        faults += copies_across(parts)
    print(f"{len(faults)} faults")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def count_lines(pairs: Sequence[Pair], labels: LabelSet) -> list[str]:
    """How many pictures show each class, and how many none, with the masks of the first of these."""
    shown = Counter(class_id for pair in pairs for class_id in pair.classes)
    width = max(map(len, labels.classes))
    lines = [
        f"{name:<{width}} in {shown[class_id]:>6} pictures" for class_id, name in enumerate(labels.classes) if class_id
    ]
    empty = [str(pair.mask) for pair in pairs if not pair.classes]
    count = "1 mask is" if len(empty) == 1 else f"{len(empty)} masks are"
    named = f": {listed(empty, MOST_EMPTY)}" if empty else ""
    return [*lines, f"{count} all background{named}"]


def copies_across(parts: dict[str, list[Pair]]) -> list[str]:
    """A sentence about every picture of one part that is in another, too."""
    from faceparse.data.copies import find_copies

    part_of = {pair.image: name for name, pairs in parts.items() for pair in pairs}
    pictures = ([pair.image for pair in pairs] for pairs in parts.values())
    return [
        f"{second} ({part_of[second]}) shows the same as {first} ({part_of[first]})"
        for first, second in find_copies(*pictures)
    ]
