"""The pictures of `test.py`: each is read, asked, decided and written by one of several threads."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from faceparse.commands.places import Place
    from faceparse.commands.scoring import Measured, Scores
    from faceparse.cutout import Background
    from faceparse.predictor import Predictor
    from faceparse.zoom import Zoomed

BATCH_PIXELS = 1 << 25
"""Pixels in one batch (100 MB as RGB), whatever --batch_size says, unless a single picture is larger."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors after which no other mask can be written either."""

PIXELS_AT_ONCE = 1 << 26
"""Pixels that all threads hold together, unless a single picture has more: one of 100 megapixels takes 1 GB."""


@dataclass(frozen=True)
class Outputs:
    """Who answers, and what is written of each picture beside its mask."""

    predictor: Predictor
    overlay: bool = False
    background: Background | None = None
    scores: Scores | None = None

    def write(self, place: Place, picture: np.ndarray, seen: np.ndarray | Zoomed) -> Answered:
        """Write all of one picture, uint8 (H, W, 3) RGB, of which `Predictor.seen` answered `seen`."""
        mask = self.predictor.decided(seen, picture.shape[:2])
        problems = self._write_mask(place, mask)
        written = not problems
        problems += self._write_overlay(place, picture, mask) if self.overlay else []
        problems += self._write_cutout(place, picture, seen, self.background) if self.background else []
        return Answered(place, written, problems, self.scores.measure(place, picture, mask) if self.scores else None)

    def _write_mask(self, place: Place, mask: np.ndarray) -> list[str]:
        """Write the mask, class ids as a palette PNG; one sentence where it can't be written."""
        from faceparse import images

        labels = self.predictor.labels
        with problems_of(place.mask) as problems:
            images.write_mask(place.mask, mask, None if labels.is_binary else labels)
        return problems

    def _write_overlay(self, place: Place, picture: np.ndarray, mask: np.ndarray) -> list[str]:
        """Write the view of the mask over the picture; one sentence where there can be none."""
        from faceparse import images
        from faceparse.legend import add_legend

        labels = self.predictor.labels
        view = images.overlay(picture, mask, labels)
        with problems_of(place.overlay) as problems:
            images.write_overlay(place.overlay, view if labels.is_binary else add_legend(view, mask, labels))
        return problems

    def _write_cutout(
        self, place: Place, picture: np.ndarray, seen: np.ndarray | Zoomed, background: Background
    ) -> list[str]:
        """Write the subject before the background; one sentence where it can't be written."""
        from faceparse import images

        view = background.behind(picture, self.predictor.alpha(picture, seen))
        write = images.write_mask if background.is_transparent else images.write_overlay
        with problems_of(place.cutout) as problems:
            write(place.cutout, view)
        return problems


@dataclass(frozen=True)
class Answered:
    """What came of a picture; how its mask compares with the true one where scores are asked for."""

    place: Place
    written: bool
    problems: Sequence[str]
    measured: Measured | None = None


class Room:
    """Room for so many pixels, which threads share; what has more than all of it goes alone."""

    def __init__(self, pixels: int):
        self._free = self._all = pixels
        self._changed = threading.Condition()

    @contextmanager
    def for_pixels(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for them; it is theirs in the block."""
        wanted = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def pictures_at_once(predictor: Predictor, batch_size: int) -> int:
    """How many pictures go through the network together: `batch_size` on a GPU; on a CPU, one in each thread."""
    return 1 if predictor.device.type == "cpu" else batch_size


def segment_pictures(
    places: Sequence[Place], outputs: Outputs, batch_size: int = 1, verbose: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Write the mask of every picture that can be read: picture -> mask, and one sentence for each problem.

    Each core works on a batch of its own, see `pictures_at_once`. `verbose` names each mask on stderr instead of
    drawing a bar. Raises OSError when the disk is full.
    """
    from tqdm import tqdm

    from faceparse.devices import MOST_AT_ONCE, one_thread_each
    from faceparse.parallel import ahead

    written: dict[str, str] = {}
    problems: list[str] = []
    answered = partial(segment_batch, outputs=outputs, room=Room(PIXELS_AT_ONCE))
    with (
        one_thread_each() if len(places) > 1 else nullcontext(1) as cores,
        tqdm(total=len(places), unit="picture", disable=verbose) as progress,
    ):
        for done in ahead(batches(places, batch_size), answered, min(cores, MOST_AT_ONCE)):
            for one in done:
                problems += one.problems
                if one.written:
                    written[str(one.place.picture)] = str(one.place.mask)
                    if verbose:
                        print(f"{one.place.picture} -> {one.place.mask}", file=sys.stderr)
                if outputs.scores and one.measured:
                    problems += outputs.scores.add(one.measured)
            progress.update(len(done))
    return written, problems


def batches(places: Iterable[Place], batch_size: int) -> Generator[list[Place], None, None]:
    """Runs of at most `batch_size` pictures and `BATCH_PIXELS` pixels, in order; a larger picture comes alone."""
    batch: list[Place] = []
    pixels = 0
    for place in places:
        size = pixels_of(place.picture)
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(place)
        pixels += size
    yield batch


def pixels_of(picture: Path) -> int:
    """Pixels of a picture, from its header; 0 for a file that is none, which reading it will tell."""
    from faceparse.images import UnreadableImage, size_of

    try:
        height, width = size_of(picture)
    except UnreadableImage:
        return 0
    return height * width


def segment_batch(batch: Sequence[Place], outputs: Outputs, room: Room) -> list[Answered]:
    """Read the pictures of a batch, ask for them together, and write what came of each."""
    from faceparse.images import UnreadableImage, read_rgb

    done: dict[Place, Answered] = {}
    readable: list[tuple[Place, np.ndarray]] = []
    with room.for_pixels(sum(pixels_of(place.picture) for place in batch)):
        for place in batch:
            try:
                readable.append((place, read_rgb(place.picture)))
            except UnreadableImage as error:
                done[place] = Answered(place, False, [str(error)])
        answers = outputs.predictor.seen([picture for _, picture in readable])
        for (place, picture), seen in zip(readable, answers, strict=True):
            done[place] = outputs.write(place, picture, seen)
    return [done[place] for place in batch]


@contextmanager
def problems_of(path: Path) -> Iterator[list[str]]:
    """A list that gets one sentence when `path` can't be written in the block; a full disk is raised."""
    problems: list[str] = []
    try:
        yield problems
    except ValueError as error:  # the sentence names the file
        problems.append(str(error))
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        problems.append(f"{path}: can't be written ({error.strerror or error})")
