"""The run behind `python -m hand_generator`: survey the inputs, plan every output, paste in processes."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
from tqdm import tqdm

from faceparse import images
from faceparse.labels import CELEBAMASK, FOREGROUND, IGNORE, face_of, holds_ids
from faceparse.parallel import Map, worker_map
from hand_generator.hands import pairs_in, read_hands
from hand_generator.paste import STYLES

MANIFEST = "manifest.csv"
JOURNAL = ".manifest.csv"
"""What a run that goes on or was killed adds to the manifest: a row for all it plans, and another when it is made."""
COLUMNS = ("number", "face", "hand", "style", "rotation", "seed", "angle", "scale", "x", "y")
PLANNED = COLUMNS[:6]  # known before the pasting: a finished output is kept when these agree
_OUTPUTS_PER_TASK = 20

Row = dict[str, str]
Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Output:
    """One picture to make: what is known of its manifest row, its face, and its own source of chance."""

    row: Row
    face: Pair
    rng: np.random.Generator

    @property
    def number(self) -> str:
        """What the files are called."""
        return self.row["number"]


@dataclass(frozen=True)
class Task:
    """Outputs of one hand, which is the `index`-th of a picture; what one worker does at a time."""

    source: Pair
    index: int
    outputs: tuple[Output, ...]


def run(args: argparse.Namespace) -> int:
    """Make what is missing and write the manifest; 1 when anything was skipped.

    Raises ValueError and OSError for what stops the whole run.
    """
    start = time.monotonic()
    _check_folders(args)
    with worker_map(args.workers) as map_in_workers:
        faces, hands, faults = _survey(args, map_in_workers)
        for fault in faults:
            print(f"skipped: {fault}", file=sys.stderr)
        listed = (row for name in (MANIFEST, JOURNAL) for row in _last_manifest(args.fahand_dir / name))
        rows = list({row["number"]: row for row in listed}.values())
        done = {} if args.overwrite else _finished(args, rows)
        tasks, kept = _plan(args, faces, hands, done)
        planned = [*rows, *(output.row for task in tasks for output in task.outputs)]
        read = [path for pair in [*faces, *(pair for pair, _ in hands)] for path in pair]
        images.check_apart(read, [path for row in planned for path in _paths(args, row)])
        _remove_stale(args, rows, kept)
        made, failed = _paste_all(args, tasks, kept, map_in_workers)
    skipped = len(faults) + failed
    print(
        f"made {made} and kept {len(kept)} faces with hands in {args.fahand_dir} (masks in {args.mahand_dir}), "
        f"skipped {skipped}, in {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )
    return 1 if skipped else 0


def _check_folders(args: argparse.Namespace) -> None:
    """ValueError when an output folder is an input folder, whose files N.jpg or N.png it could overwrite."""
    inputs = args.faces_dir, args.masks_dir, args.hands_dir / "images", args.hands_dir / "masks"
    for output in (args.fahand_dir, args.mahand_dir):
        if output.resolve() in {path.resolve() for path in inputs}:
            raise ValueError(f"{output} is read from and would be written to: choose another folder for the output")


def _survey(
    args: argparse.Namespace, map_in_workers: Map
) -> tuple[list[Pair], list[tuple[Pair, list[str]]], list[str]]:
    """Faces that can take a hand; pictures of hands with the names of their hands; a sentence for every other file."""
    face_pairs, faults = pairs_in(args.faces_dir, args.masks_dir)
    hand_pairs, hand_faults = pairs_in(args.hands_dir / "images", args.hands_dir / "masks")
    face_checks = list(map_in_workers(_face_fault, face_pairs, chunksize=32))
    hand_checks = list(map_in_workers(partial(_hand_names, from_frames=args.from_frames), hand_pairs, chunksize=4))
    faults += hand_faults + [check for check in [*face_checks, *hand_checks] if isinstance(check, str)]
    faces = [pair for pair, fault in zip(face_pairs, face_checks, strict=True) if fault is None]
    hands = [(pair, names) for pair, names in zip(hand_pairs, hand_checks, strict=True) if isinstance(names, list)]
    for what, usable, folder in (("face", faces, args.masks_dir), ("hand", hands, args.hands_dir)):
        if not usable:
            raise ValueError("; ".join([*faults[:3], f"no usable {what} is left in {folder}"]))
    return faces, hands, faults


def _face_fault(pair: Pair) -> str | None:
    """Why a face cannot take a hand, or None."""
    image_path, mask_path = pair
    try:
        mask = images.read_mask(mask_path)
        images.check_sizes(image_path, images.size_of(image_path), mask_path, mask.shape)
    except ValueError as error:
        return str(error)
    ids = holds_ids(mask, mask_path)
    if ids and ((mask >= len(CELEBAMASK)) & (mask < IGNORE)).any():
        return f"{mask_path}: holds neither 0 and 255 alone nor class ids, 0 to {len(CELEBAMASK) - 1}; make it anew"
    return None if face_of(mask, ids).any() else f"{mask_path}: no face pixel in this mask to put a hand on"


def _hand_names(pair: Pair, from_frames: bool) -> list[str] | str:
    """The names of the hands in a picture, or why there is none."""
    try:
        return [hand.name for hand in read_hands(*pair, from_frames)]
    except ValueError as error:
        return str(error)


def _last_manifest(path: Path) -> list[Row]:
    """The whole rows of a table that an earlier run has left, if any."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            whole_lines = io.StringIO(file.read().rpartition("\n")[0], newline="")
    except FileNotFoundError:
        return []
    rows = [row for row in csv.DictReader(whole_lines) if set(row) == set(COLUMNS) and None not in row.values()]
    return [row for row in rows if row["number"].isdecimal()]


def _finished(args: argparse.Namespace, rows: list[Row]) -> dict[str, Row]:
    """Number -> row, for the outputs that were made and whose picture and mask are there."""
    return {row["number"]: row for row in rows if row["angle"] and all(path.is_file() for path in _paths(args, row))}


def _remove_stale(args: argparse.Namespace, rows: list[Row], kept: list[Row]) -> None:
    """Delete what `rows` lists and this run will not keep: the new manifest would not tell it from its own."""
    numbers = {row["number"] for row in kept}
    stale = [_paths(args, row) for row in rows if row["number"] not in numbers]
    there = [paths for paths in stale if any(path.is_file() for path in paths)]
    for path in (path for paths in there for path in paths):
        path.unlink(missing_ok=True)
    if there:
        print(f"removed {len(there)} outputs of an earlier run from {args.fahand_dir}", file=sys.stderr)


def _paths(args: argparse.Namespace, row: Row) -> Pair:
    """Where an output's picture and mask go."""
    return args.fahand_dir / f"{row['number']}.jpg", args.mahand_dir / f"{row['number']}.png"


def _plan(
    args: argparse.Namespace, faces: list[Pair], hands: list[tuple[Pair, list[str]]], done: dict[str, Row]
) -> tuple[list[Task], list[Row]]:
    """The tasks, and the rows in `done` that stay as they are. Outputs are numbered by (hand, rotation, repeat)."""
    tasks: list[Task] = []
    kept: list[Row] = []
    numbers = itertools.count()
    for source, index, name in ((source, *hand) for source, names in hands for hand in enumerate(names)):
        turns = (rotation for rotation in args.rotations for _ in range(args.repeats))
        outputs = [_output(args, next(numbers), faces, name, rotation) for rotation in turns]
        kept += [done[output.number] for output in outputs if _same(output, done)]
        missing = [output for output in outputs if not _same(output, done)]
        slices = (missing[i : i + _OUTPUTS_PER_TASK] for i in range(0, len(missing), _OUTPUTS_PER_TASK))
        tasks += [Task(source, index, tuple(some)) for some in slices]
    return tasks, kept


def _output(args: argparse.Namespace, number: int, faces: list[Pair], hand: str, rotation: float) -> Output:
    """An output on a random face; seed and number alone decide everything about it that is left to chance."""
    rng = np.random.default_rng([args.seed, number])
    face = faces[rng.integers(len(faces))]
    planned = str(number), face[0].name, hand, args.style, f"{rotation:g}", str(args.seed)
    return Output(dict(zip(PLANNED, planned, strict=True)), face, rng)


def _same(output: Output, done: dict[str, Row]) -> bool:
    """Whether an earlier run has finished this very output."""
    row = done.get(output.number)
    return row is not None and all(row[column] == output.row[column] for column in PLANNED)


def _paste_all(args: argparse.Namespace, tasks: list[Task], kept: list[Row], map_in_workers: Map) -> tuple[int, int]:
    """Do the tasks and write the manifest, also when interrupted; how many outputs were made, and how many failed."""
    made: list[Row] = []
    failed = 0
    _write_manifest(args.fahand_dir / MANIFEST, kept)  # what it lists from now on is there, whenever this is killed
    try:
        with (
            _table(args.fahand_dir / JOURNAL) as (journal, file),
            tqdm(total=sum(len(task.outputs) for task in tasks), unit="face", disable=not tasks) as bar,
        ):
            journal.writerows(output.row for task in tasks for output in task.outputs)
            file.flush()
            for results in map_in_workers(partial(_do, args), tasks):
                finished = [result for result in results if isinstance(result, dict)]
                made += finished
                journal.writerows(finished)
                file.flush()
                faults = [result for result in results if isinstance(result, str)]
                for fault in faults:
                    bar.write(f"skipped: {fault}", file=sys.stderr)
                failed += len(faults)
                bar.update(len(results))
    finally:
        _write_manifest(args.fahand_dir / MANIFEST, kept + made)
    (args.fahand_dir / JOURNAL).unlink(missing_ok=True)  # not after Ctrl-C: workers finish what they are at
    return len(made), failed


def _do(args: argparse.Namespace, task: Task) -> list[Row | str]:
    """Paste and write the outputs of a task: the manifest's row for each, or why it could not be made."""
    hand = read_hands(*task.source, args.from_frames)[task.index]
    results: list[Row | str] = []
    for output in task.outputs:
        try:
            image, mask = images.read_pair(*output.face)
        except ValueError as error:  # a photo that was found to be cut short only now
            results.append(f"{error}, so there is no number {output.number}")
            continue
        ids = holds_ids(mask, output.face[1])
        face = face_of(mask, ids)
        mask = mask if ids else face * np.uint8(FOREGROUND)  # a JPEG's noise would make a PNG look like ids
        pasted = STYLES[args.style](image, mask, hand, output.rng, float(output.row["rotation"]), face)
        image_path, mask_path = _paths(args, output.row)
        images.write_rgb(image_path, pasted.image)
        images.write_mask(mask_path, pasted.mask, CELEBAMASK if ids else None)
        place = {"angle": f"{pasted.angle:.2f}", "scale": f"{pasted.scale:.4f}", "x": str(pasted.x), "y": str(pasted.y)}
        results.append(output.row | place)
    return results


def _write_manifest(path: Path, rows: list[Row]) -> None:
    """One row for each output, in the order of their numbers."""
    with images.written_whole(path) as beside, _table(beside) as (writer, _):
        writer.writerows(sorted(rows, key=lambda row: int(row["number"])))


@contextmanager
def _table(path: Path) -> Iterator[tuple[csv.DictWriter[str], TextIO]]:
    """A new table with its heading, to write rows to; and the file that it is written in."""
    path.unlink(missing_ok=True)  # a link of that name would be followed
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # names may be any bytes
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield writer, file
