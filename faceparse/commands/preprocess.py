"""Raw CelebAMask-HQ, one file per part of a face -> one mask per picture; and both resized and split, if asked."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faceparse.commands import finish, whole_from
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS, LabelSet

CHOICES = [name for name, labels in LABEL_SETS.items() if CELEBAMASK in (labels, labels.source)]
"""The label sets that can be made of CelebAMask-HQ's parts."""

MARKER = ".labels"
"""The file in a folder of masks that says which label set they hold; hidden, so that it is no mask to anyone."""


@dataclass(frozen=True)
class Task:
    """The part files of a picture and where its mask goes; the photo and where it goes, where one is asked for."""

    parts: list[Path]
    mask: Path
    photo: Path | None = None
    face: Path | None = None


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
    flag("--size", type=whole_from(1), metavar="PX", help="longer side of what is written (default: as it is)")
    photos = "folder of the photos, N.jpg; needs --size and --output_faces (default: only masks are written)"
    flag("--faces_dir", type=Path, metavar="DIR", help=photos)
    flag("--output_faces", type=Path, metavar="DIR", help="folder for the photos at --size; made if it is missing")
    parts = "CSV of rows name,True|False or name,train|val|test: what it names goes into train/, val/ and test/"
    flag("--split", type=Path, metavar="CSV", help=f"{parts} of the output (default: everything, into one folder)")
    workers = "processes (default: %(default)s, one a core)"
    flag("--workers", type=whole_from(1), default=os.cpu_count() or 1, metavar="N", help=workers)
    flag("--overwrite", action="store_true", help="make finished masks anew (default: keep them)")
    args = parser.parse_args(argv)
    if not bool(args.faces_dir) == bool(args.output_faces) <= bool(args.size):
        parser.error("--faces_dir and --output_faces go together, and with --size")
    if args.output_faces and args.output_faces.resolve() in (args.faces_dir.resolve(), args.output_mask.resolve()):
        parser.error("--output_faces takes a folder of its own: neither the photos' nor the masks'")
    return args


def main(argv: list[str] | None = None) -> int:
    """Make the masks; the exit status is 1 when a picture got none."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Paint every picture that has no mask yet, name those that can't be painted, count; the exit status."""
    from tqdm import tqdm

    from faceparse.data.celebamask import find_parts

    start = time.monotonic()
    pictures = find_parts(args.masks_parts)
    planned = plan(pictures, args)
    claim(args.output_mask, args.labels if args.size is None else f"{args.labels} {args.size}", args.overwrite)
    tasks = planned if args.overwrite else unfinished(planned)
    failed = 0
    with tqdm(total=len(tasks), unit="picture") as progress:
        for fault in faults_of(tasks, LABEL_SETS[args.labels], args.size, args.workers):
            if fault:
                failed += 1
                progress.write(f"no mask: {fault}", file=sys.stderr)
            progress.update()
    print(
        f"{args.output_mask}: {len(tasks) - failed} masks written, {len(planned) - len(tasks)} kept, {failed} failed, "
        f"in {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


def plan(pictures: dict[int, list[Path]], args: argparse.Namespace) -> list[Task]:
    """What is to be written where; ValueError when --split names none, or an earlier run had another split."""
    from faceparse.data.splits import PARTS, read_split

    part_of = read_split(args.split) if args.split else None
    photos = photos_by_number(args.faces_dir) if args.faces_dir else {}
    tasks = []
    for number, paths in pictures.items():
        part = "" if part_of is None else part_of.get(str(number))
        if part is None:
            continue
        photo = face = None
        if args.faces_dir:
            photo = photos.get(number, args.faces_dir / f"{number}.jpg")  # reading it will say that it is missing
            face = args.output_faces / part / f"{number}.{'png' if photo.suffix.lower() == '.png' else 'jpg'}"
        mask = args.output_mask / part / f"{number}.png"
        for other in PARTS if part else ():
            if other != part and (stale := args.output_mask / other / mask.name).exists():
                raise ValueError(f"{stale}: by {args.split} it belongs into {part}; delete it or choose another folder")
        tasks.append(Task(paths, mask, photo, face))
    if not tasks:
        raise ValueError(f"{args.split}: it names none of the {len(pictures)} pictures, which are called 0, 1, 2 ...")
    return tasks


def photos_by_number(faces_dir: Path) -> dict[int, Path]:
    """The photos whose names are numbers."""
    from faceparse.images import list_images

    return {int(path.stem): path for path in list_images(faces_dir) if path.stem.isdecimal()}


def claim(masks_dir: Path, content: str, overwrite: bool) -> None:
    """Note in `masks_dir`, made if missing, what its masks hold; ValueError when they hold something else."""
    masks_dir.mkdir(parents=True, exist_ok=True)
    marker = masks_dir / MARKER
    held = marker.read_text().strip() if marker.exists() else content
    if held != content and not overwrite:
        raise ValueError(f"{masks_dir} holds masks of {held!r}; choose another folder for {content!r}, or --overwrite")
    marker.write_text(f"{content}\n")


def unfinished(tasks: list[Task]) -> list[Task]:
    """Those of which a file is missing; every folder is listed once."""
    outputs = {path.parent for task in tasks for path in (task.mask, task.face) if path is not None}
    there = {folder / name for folder in outputs if folder.is_dir() for name in os.listdir(folder)}
    return [task for task in tasks if not {task.mask, task.face or task.mask} <= there]


def faults_of(tasks: list[Task], labels: LabelSet, size: int | None, workers: int) -> Iterator[str | None]:
    """Do the tasks, in `workers` processes (1: in this one), and yield in their order what `fault_of` returns."""
    if not tasks:
        return
    from faceparse.parallel import worker_map

    # Pieces of 16 pictures take longer than handing them over; smaller ones, at the end of few, keep everyone busy.
    pieces = min(16, 1 + len(tasks) // (4 * workers))
    with worker_map(min(workers, len(tasks))) as map_in_workers:
        yield from map_in_workers(partial(fault_of, labels=labels, size=size), tasks, chunksize=pieces)


def fault_of(task: Task, labels: LabelSet, size: int | None) -> str | None:
    """Write one picture's mask, and its photo; what is wrong when they can't be made, else None."""
    from faceparse.data import celebamask

    try:
        if task.photo is not None and task.face is not None and size is not None:
            celebamask.write_face(task.photo, task.face, size)
        celebamask.write_mask(task.parts, task.mask, labels, size)
    except ValueError as error:
        if task.face is not None:
            task.face.unlink(missing_ok=True)  # training refuses a photo without a mask
        return str(error)
    return None
