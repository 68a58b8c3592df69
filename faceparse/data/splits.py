"""Which picture is for training, validation or test: read from a file, drawn by sizes, or CelebA's official one."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from faceparse.images import IMAGE_SUFFIXES, write_csv

SPLIT_WORDS = {"true": "train", "train": "train", "val": "val", "false": "test", "test": "test"}
"""What the second column of a split file may say: True and False are the words of the published ones."""

CELEBA_PARTS = {"0": "train", "1": "val", "2": "test"}
"""The numbers in CelebA's `list_eval_partition.txt`."""

PARTS = ("train", "val", "test")


def read_split(path: Path) -> dict[str, str]:
    """Stem -> "train", "val" or "test" from CSV rows `name,True|False` or `name,train|val|test`.

    The first row may be a heading: its first word is no picture's and no number. Raises FileNotFoundError, and
    ValueError for other rows and for a picture in two parts.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of a split")
    parts: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not "".join(row).strip():
                    continue
                name = Path(row[0].strip())
                stem = name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name
                if len(row) < 2 or row[1].strip().lower() not in SPLIT_WORDS:
                    if number == 1 and stem == name.name and not stem.isdecimal():
                        continue  # a heading
                    raise ValueError(f"{path}, line {number}: expected name,True or name,False, got {','.join(row)!r}")
                part = SPLIT_WORDS[row[1].strip().lower()]
                if parts.setdefault(stem, part) != part:
                    raise ValueError(f"{path}, line {number}: {stem} is in {parts[stem]} already; keep one of the rows")
    except csv.Error as error:
        raise ValueError(f"{path}: not a text file of rows name,True|False") from error
    return parts


def write_split(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write rows (name of a picture, part) that `read_split` reads."""
    write_csv(path, rows)


def draw_split(names: Sequence[str], sizes: Sequence[int], seed: int) -> list[tuple[str, str]]:
    """So many of the names, drawn at random, for train, val and test; the same for the same seed and names.

    The rows come in the order of the names; names beyond the sizes are left out. Raises ValueError for too few names.
    """
    if sum(sizes) > len(names):
        wanted = "/".join(map(str, sizes))
        raise ValueError(f"{wanted} are {sum(sizes)} pictures, but there are {len(names)}; ask for fewer")
    order = np.random.default_rng(seed).permutation(len(names))[: sum(sizes)]
    drawn = dict(zip(order.tolist(), np.repeat(PARTS, sizes).tolist(), strict=True))
    return [(name, drawn[i]) for i, name in enumerate(names) if i in drawn]


def celeba_split(mapping: Path, partition: Path) -> list[tuple[str, str]]:
    """Rows (`N.jpg` of CelebA-HQ, part): CelebA's official partition, carried over.

    `mapping` is CelebA-HQ-to-CelebA-mapping.txt (columns idx, orig_idx, orig_file), `partition` is
    list_eval_partition.txt (rows `000001.jpg 0`, where 0, 1, 2 are train, val, test). Raises OSError and ValueError
    that name the file and the line.
    """
    part_of = {}
    for number, words in _lines(partition, columns=2):
        if words[1] not in CELEBA_PARTS:
            raise ValueError(f"{partition}, line {number}: expected NAME and 0, 1 or 2, got {' '.join(words)!r}")
        part_of[words[0]] = CELEBA_PARTS[words[1]]
    rows = []
    for number, words in _lines(mapping, columns=3):
        if number == 1 and not words[0].isdecimal():
            continue  # the heading
        if words[2] not in part_of:
            raise ValueError(f"{mapping}, line {number}: {words[2]} is not in {partition}")
        rows.append((f"{words[0]}.jpg", part_of[words[2]]))
    return rows


def _lines(path: Path, columns: int) -> Iterable[tuple[int, list[str]]]:
    """Number and words of each line that is not empty; ValueError for another number of words."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines(), 1):
        words = line.split()
        if words and len(words) != columns:
            raise ValueError(f"{path}, line {number}: expected {columns} columns, got {line!r}")
        if words:
            yield number, words
