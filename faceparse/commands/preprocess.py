"""Raw CelebAMask-HQ, one file per part of a face -> one mask per picture."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faceparse.commands import finish, whole_from
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS, LabelSet

CHOICES = [name for name, labels in LABEL_SETS.items() if CELEBAMASK in (labels, labels.source)]
"""The label sets that can be made of CelebAMask-HQ's parts."""

MARKER = ".labels"
"""The file in a folder of masks that says which label set they hold; hidden, so that it is no mask to anyone."""

Task = tuple[list[Path], Path]
"""The part files of a picture, and where its mask goes."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="preprocess_data.py",
        description="Paint the part files of every picture of CelebAMask-HQ into one mask, N.png, without loss. "
        "Later parts cover earlier ones. Masks that an earlier run has finished are kept.",
    )
    flag = parser.add_argument
    parts = "the published folder CelebAMask-HQ-mask-anno with <n // 2000>/<nnnnn>_<part>.png, or its parent"
    flag("--masks_parts", type=Path, required=True, metavar="DIR", help=parts)
    flag("--output_mask", type=Path, required=True, metavar="DIR", help="folder for the masks; made if it is missing")
    kinds = (
        "what the masks hold: 0 and 255 (face, hair), or the ids of all classes in a PNG with a palette (celebamask); "
        "take one folder for each (default: %(default)s)"
    )
    flag("--labels", choices=CHOICES, default=FACE.name, help=kinds)
    workers = "processes (default: %(default)s, one a core)"
    flag("--workers", type=whole_from(1), default=os.cpu_count() or 1, metavar="N", help=workers)
    flag("--overwrite", action="store_true", help="make finished masks anew (default: keep them)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Make the masks; the exit status is 1 when a picture got none."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Paint every picture that has no mask yet, name those that can't be painted, count; the exit status."""
    from tqdm import tqdm

    from faceparse.data.celebamask import find_parts

    start = time.monotonic()
    pictures = find_parts(args.masks_parts)
    claim(args.output_mask, args.labels, args.overwrite)
    tasks = unfinished(pictures, args.output_mask, args.overwrite)
    failed = 0
    with tqdm(total=len(tasks), unit="picture") as progress:
        for fault in faults_of(tasks, LABEL_SETS[args.labels], args.workers):
            if fault:
                failed += 1
                progress.write(f"no mask: {fault}", file=sys.stderr)
            progress.update()
    print(
        f"{args.output_mask}: {len(tasks) - failed} masks written, {len(pictures) - len(tasks)} kept, {failed} failed, "
        f"in {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


def claim(masks_dir: Path, labels: str, overwrite: bool) -> None:
    """Note in `masks_dir`, made if missing, what its masks hold; ValueError when they hold something else."""
    masks_dir.mkdir(parents=True, exist_ok=True)
    marker = masks_dir / MARKER
    held = marker.read_text().strip() if marker.exists() else labels
    if held != labels and not overwrite:
        raise ValueError(f"{masks_dir} holds masks of {held!r}; choose another folder for {labels!r}, or --overwrite")
    marker.write_text(f"{labels}\n")


def unfinished(pictures: dict[int, list[Path]], masks_dir: Path, overwrite: bool) -> list[Task]:
    """What is to be done; `masks_dir` is listed once."""
    finished = set() if overwrite else set(os.listdir(masks_dir))
    tasks = [(paths, masks_dir / f"{number}.png") for number, paths in pictures.items()]
    return [task for task in tasks if task[1].name not in finished]


def faults_of(tasks: list[Task], labels: LabelSet, workers: int) -> Iterator[str | None]:
    """Do the tasks, in `workers` processes (1: in this one), and yield in their order what `fault_of` returns."""
    if not tasks:
        return
    from faceparse.parallel import worker_map

    # Pieces of 16 pictures take longer than handing them over; smaller ones, at the end of few, keep everyone busy.
    pieces = min(16, 1 + len(tasks) // (4 * workers))
    with worker_map(min(workers, len(tasks))) as map_in_workers:
        yield from map_in_workers(partial(fault_of, labels=labels), tasks, chunksize=pieces)


def fault_of(task: Task, labels: LabelSet) -> str | None:
    """Write one picture's mask; what is wrong with its parts when it can't be painted, else None."""
    from faceparse.data import celebamask

    try:
        celebamask.write_mask(*task, labels)
    except ValueError as error:
        return str(error)
    return None
