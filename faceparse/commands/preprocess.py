"""Raw CelebAMask-HQ, one file per part of a face, or cut-outs -> one mask per picture; resized and split, if asked."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faceparse.commands import Parser, finish, whole_from
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS, OF_CELEBAMASK, LabelSet

CHOICES = [*OF_CELEBAMASK, CELEBAMASK.name]
"""The label sets that can be made of CelebAMask-HQ's parts."""

MARKER = ".labels"
"""The file in a folder of masks that says which label set they hold; hidden, so that it is no mask to anyone."""

PAIRS = "pairs.csv"
"""The file in a folder of masks that says which picture each mask of a cut-out belongs to."""

Sources = tuple[list[Path], Path | None]
"""What a picture's mask is made of, its part files or its one cut-out, and its photo where one is asked for."""


@dataclass(frozen=True)
class Task:
    """What a mask is made of and where it goes; the photo, and where the picture goes, where one is asked for."""

    sources: list[Path]
    mask: Path
    photo: Path | None = None
    face: Path | None = None


@dataclass(frozen=True)
class Job:
    """The pictures by name, what is wrong with others, what the masks hold, and how one picture's are written."""

    pictures: dict[str, Sources]
    faults: list[str]
    content: str
    write: Callable[[Task], None]


@dataclass(frozen=True)
class Layout:
    """A way in which raw data lies in a folder: what its flag says, and how the job is found there.

    With `has_photos` the folder holds the photos, or what stands for them, too, and `PAIRS` lists them; otherwise
    --faces_dir tells where they are. With `has_classes` the masks are of --labels.
    """

    help: str
    job: Callable[[Path, argparse.Namespace], Job]
    has_photos: bool
    has_classes: bool


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "preprocess",
        "One mask per picture: the part files of CelebAMask-HQ painted into N.png without loss, later "
        "parts over earlier ones, or the alpha channel of cut-outs. Masks that an earlier run has finished are kept.",
    )
    flag = parser.add_argument
    raw = parser.add_mutually_exclusive_group(required=True)
    for name, layout in LAYOUTS.items():
        raw.add_argument(f"--{name}", type=Path, metavar="DIR", help=layout.help)
    flag("--output_mask", type=Path, required=True, metavar="DIR", help="folder for the masks; made if it is missing")
    without = ", ".join(f"--{name}" for name, layout in LAYOUTS.items() if not layout.has_classes)
    kinds = (
        "what the masks hold: 0 and 255 (face, hair), or the ids of all classes in a PNG with a palette (celebamask); "
        f"take one folder for each (default: {FACE.name}; not with {without})"
    )
    flag("--labels", choices=CHOICES, help=kinds)
    flag("--size", type=whole_from(1), metavar="PX", help="longer side of what is written (default: as it is)")
    photos = "folder of the photos, N.jpg; needs --size and --output_faces (default: only masks are written)"
    flag("--faces_dir", type=Path, metavar="DIR", help=photos)
    faces = (
        "folder for the photos at --size, made if it is missing; of raw data that has its photos with it, for these "
        "or, where there are none, the cut-outs' own colours, under the masks' names"
    )
    flag("--output_faces", type=Path, metavar="DIR", help=faces)
    split = (
        "CSV of rows name,True|False or name,train|val|test: what it names goes into train/, val/ and test/ of the "
        "output (default: everything, into one folder)"
    )
    flag("--split", type=Path, metavar="CSV", help=split)
    workers = "processes (default: %(default)s, one a core)"
    flag("--workers", type=whole_from(1), default=os.cpu_count() or 1, metavar="N", help=workers)
    flag("--overwrite", action="store_true", help="make finished masks anew (default: keep them)")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    parser = create_parser()
    args = parser.read(argv)
    name, raw, layout = layout_of(args)
    if layout.has_photos and args.faces_dir:
        parser.error(f"--{name} has photos of its own; leave --faces_dir out")
    if not layout.has_classes and args.labels:
        parser.error(f"--{name} has masks of its own; leave --labels out")
    if not layout.has_photos and not bool(args.faces_dir) == bool(args.output_faces) <= bool(args.size):
        parser.error("--faces_dir and --output_faces go together, and with --size")
    outputs = [folder.resolve() for folder in (args.output_mask, args.output_faces) if folder]
    if args.output_faces and outputs[1] in (outputs[0], args.faces_dir and args.faces_dir.resolve()):
        parser.error("--output_faces takes a folder of its own: neither the photos' nor the masks'")
    if layout.has_photos and any(raw.resolve() in (folder, *folder.parents) for folder in outputs):
        parser.error(f"--output_mask and --output_faces take folders outside --{name}, whose pictures are all read")
    return args


def layout_of(args: argparse.Namespace) -> tuple[str, Path, Layout]:
    """The flag of the raw data that was given, its folder, and what it means."""
    given = next(name for name in LAYOUTS if getattr(args, name) is not None)
    return given, getattr(args, given), LAYOUTS[given]


def main(argv: list[str] | None = None) -> int:
    """Make the masks; the exit status is 1 when a picture got none."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Make every mask that is not there yet, name the pictures that get none, count; the exit status."""
    from tqdm import tqdm

    from faceparse.images import check_apart

    start = time.monotonic()
    _, raw, layout = layout_of(args)
    job = layout.job(raw, args)
    planned = plan(job.pictures, args)
    check_apart(*inputs_and_outputs(planned, args, layout))
    claim(args.output_mask, job.content if args.size is None else f"{job.content} {args.size}", args.overwrite)
    tasks = planned if args.overwrite else unfinished(planned)
    for sentence in job.faults:
        print(f"no mask: {sentence}", file=sys.stderr)
    broken = set()
    with tqdm(total=len(tasks), unit="picture") as progress:
        for task, fault in zip(tasks, faults_of(tasks, job.write, args.workers), strict=True):
            if fault:
                broken.add(task.mask)
                progress.write(f"no mask: {fault}", file=sys.stderr)
            progress.update()
    if layout.has_photos:
        write_pairs(args.output_mask / PAIRS, [task for task in planned if task.mask not in broken])
        left = sorted({*args.output_mask.rglob("*.png")} - {task.mask for task in planned})
        if left:
            count = f"the first of {len(left)} that no picture here is for any more"
            print(f"{left[0]}: a mask of an earlier run, {count}; delete them", file=sys.stderr)
    failed = len(job.faults) + len(broken)
    print(
        f"{args.output_mask}: {len(tasks) - len(broken)} masks written, {len(planned) - len(tasks)} kept, "
        f"{failed} failed, in {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


def from_parts(folder: Path, args: argparse.Namespace) -> Job:
    """The pictures of CelebAMask-HQ by their numbers."""
    from faceparse.data.celebamask import find_parts

    photos = photos_by_number(args.faces_dir) if args.faces_dir else {}
    pictures: dict[str, Sources] = {}
    for number, paths in find_parts(folder).items():
        # reading a photo that is not there will say that it is missing
        photo = photos.get(number, args.faces_dir / f"{number}.jpg") if args.faces_dir else None
        pictures[str(number)] = paths, photo
    labels = LABEL_SETS[args.labels or FACE.name]
    return Job(pictures, [], labels.name, partial(write_parts, labels=labels, size=args.size))


def from_cutouts(folder: Path, args: argparse.Namespace) -> Job:
    """The portraits of AISegment, or of a folder of cut-outs, by the names of their masks."""
    from faceparse.data.portrait import find_portraits

    portraits, faults = find_portraits(folder)
    pictures: dict[str, Sources] = {name: ([one.cutout], one.photo) for name, one in portraits.items()}
    return Job(pictures, faults, "alpha", partial(write_portrait, size=args.size))


def plan(pictures: dict[str, Sources], args: argparse.Namespace) -> list[Task]:
    """What is to be written where; ValueError when --split names none, or an earlier run had another split."""
    from faceparse.data.splits import PARTS, read_split

    part_of = read_split(args.split) if args.split else None
    tasks = []
    for name, (sources, photo) in pictures.items():
        part = "" if part_of is None else part_of.get(name)
        if part is None:
            continue
        lossless = photo is None or photo.suffix.lower() == ".png"
        face = args.output_faces / part / f"{name}.{'png' if lossless else 'jpg'}" if args.output_faces else None
        mask = args.output_mask / part / f"{name}.png"
        for other in PARTS if part else ():
            if other != part and (stale := args.output_mask / other / mask.name).exists():
                raise ValueError(f"{stale}: by {args.split} it belongs into {part}; delete it or choose another folder")
        tasks.append(Task(sources, mask, photo, face))
    if pictures and not tasks:
        first = next(iter(pictures))
        raise ValueError(f"{args.split}: it names none of the {len(pictures)} pictures; the first is called {first}")
    return tasks


def inputs_and_outputs(tasks: list[Task], args: argparse.Namespace, layout: Layout) -> tuple[list[Path], list[Path]]:
    """Every file that is read, and every file that may be written."""
    read = [path for task in tasks for path in (*task.sources, task.photo) if path is not None]
    written = [path for task in tasks for path in (task.mask, task.face) if path is not None]
    own = [args.output_mask / MARKER, *([args.output_mask / PAIRS] if layout.has_photos else [])]
    return [*read, *([args.split] if args.split else [])], [*written, *own]


def photos_by_number(faces_dir: Path) -> dict[int, Path]:
    """The photos whose names are numbers."""
    from faceparse.images import list_images

    return {int(path.stem): path for path in list_images(faces_dir) if path.stem.isdecimal()}


def claim(masks_dir: Path, content: str, overwrite: bool) -> None:
    """Note in `masks_dir`, made if missing, what its masks hold; ValueError when they hold something else."""
    from faceparse.images import written_whole

    marker = masks_dir / MARKER
    held = marker.read_text().strip() if marker.exists() else content
    if held != content and not overwrite:
        raise ValueError(f"{masks_dir} holds masks of {held!r}; choose another folder for {content!r}, or --overwrite")
    with written_whole(marker) as beside:
        beside.write_text(f"{content}\n")


def unfinished(tasks: list[Task]) -> list[Task]:
    """Those of which a file is missing; every folder is listed once."""
    outputs = {path.parent for task in tasks for path in (task.mask, task.face) if path is not None}
    there = {folder / name for folder in outputs if folder.is_dir() for name in os.listdir(folder)}
    return [task for task in tasks if not {task.mask, task.face or task.mask} <= there]


def faults_of(tasks: list[Task], write: Callable[[Task], None], workers: int) -> Iterator[str | None]:
    """Do the tasks, in `workers` processes (1: in this one), and yield in their order what `fault_of` returns."""
    if not tasks:
        return
    from faceparse.parallel import worker_map

    # Pieces of 16 pictures take longer than handing them over; smaller ones, at the end of few, keep everyone busy.
    pieces = min(16, 1 + len(tasks) // (4 * workers))
    with worker_map(min(workers, len(tasks))) as map_in_workers:
        yield from map_in_workers(partial(fault_of, write=write), tasks, chunksize=pieces)


def fault_of(task: Task, write: Callable[[Task], None]) -> str | None:
    """Write one picture's mask, and its photo; what is wrong when they can't be made, else None."""
    try:
        write(task)
    except ValueError as error:
        if task.face is not None:
            task.face.unlink(missing_ok=True)  # training refuses a photo without a mask
        return str(error)
    return None


def write_parts(task: Task, labels: LabelSet, size: int | None) -> None:
    """The parts as a mask of `labels`, and the photo where one is asked for; ValueError for files that are unfit."""
    from faceparse.data import celebamask

    if task.photo is not None and task.face is not None and size is not None:
        celebamask.write_face(task.photo, task.face, size)
    celebamask.write_mask(task.sources, task.mask, labels, size)


def write_portrait(task: Task, size: int | None) -> None:
    """The cut-out's alpha as a mask, and the picture where one is asked for; ValueError for files that are unfit."""
    from faceparse.data import portrait

    portrait.write_portrait(portrait.Portrait(task.sources[0], task.photo), task.mask, task.face, size)


def write_pairs(path: Path, tasks: list[Task]) -> None:
    """Write the table of which picture belongs to which mask."""
    from faceparse.data import portrait

    portrait.write_pairs(path, [(task.face or task.photo or task.sources[0], task.mask) for task in tasks])


LAYOUTS: dict[str, Layout] = {
    "masks_parts": Layout(
        "the published folder CelebAMask-HQ-mask-anno with <n // 2000>/<nnnnn>_<part>.png, or its parent",
        from_parts,
        has_photos=False,
        has_classes=True,
    ),
    "matting": Layout(
        "AISegment's folder with clip_img and matting, or any folder of RGBA cut-outs, at any depth: masks of 0 to "
        f"255, listed with their pictures in {PAIRS} beside them",
        from_cutouts,
        has_photos=True,
        has_classes=False,
    ),
}
"""Flag -> the raw data that it names; a newcomer is one file in `data/` and one row here."""
