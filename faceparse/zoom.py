"""Faces in whole photos: found coarsely, each looked at again at the scale that networks were trained on, and joined.

    picture (H, W, 3) -> coarse finder (h, w) + tiles of a finer one -> boxes -> looks (C, h, w) -> bands (C, rows, W)

A network sees a picture with its longer side at, say, 384 px, where a face of a whole photo has a few pixels. Pure
functions around `ask`, which is the network: pictures, uint8 (H, W, 3) RGB, to float32 (C + 1, h, w) each, the answer's
C planes of probabilities and one that says where the faces are, the finder's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from faceparse.images import fitted, resize

MAYBE = 0.1
"""Probability from which a pixel of the coarse look may be a face: small ones are seen faintly."""

SPECK = 16
"""Pixels, at the network's size, under which what may be a face is none."""

FINEST = 7
"""How many times finer than the whole picture the tiles are, at most: faces of 1.5 % of it are 40 of 384 px there."""

WORTH = 1.5
"""How many times finer they have to be to be looked at."""

OVERLAP = 1 / 8
"""Share of a tile that its neighbour sees, too."""

FRAME = 0.6
"""Share of a look that its face takes up: .75 of CelebAMask-HQ's pictures, which training makes .75 to 1.3 as large."""

GAIN = 1.25
"""How much larger a face has to come out to be worth a look of its own."""

COVERED = 0.9
"""Share of a tile that looks will show anyway, from which it is left out."""

AGAIN = 0.6
"""A look is taken again, once, where the one for the face that it shows has less (IoU) in common with it."""

MOST_LOOKS = 64
"""Faces that are looked at in a picture, the largest first: time and memory stay bounded in front of a crowd."""

FAINT, WELL = 48, 96
"""Pixels of a face, at the network's size, up to which only its own look counts, and from which the whole does as much.

Close by, networks trained on faces are readier to see one, in the orange of a suit for instance; both have to see it.
"""

AT_A_TIME = 8
"""Tiles or looks that are asked for together."""

RAMP = 1 / 8
"""Share of a look's side over which it fades into what was seen before."""

MARGIN = 0.25
"""How far around what turns out to be no face it is taken away, as a share of its side."""

Ask = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class Box(NamedTuple):
    """Part of a picture, in whole pixels; `bottom` and `right` are the first outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def side(self) -> int:
        """The longer one."""
        return max(self.bottom - self.top, self.right - self.left)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside."""
        return self.bottom <= self.top or self.right <= self.left

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def widened(self, margin: int) -> Box:
        """By so many pixels on each side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def within(self, other: Box) -> Box:
        """What of it is inside another."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, left, min(self.bottom, other.bottom), min(self.right, other.right))

    def holds(self, other: Box) -> bool:
        """Whether the middle of another is inside."""
        y, x = (other.top + other.bottom) / 2, (other.left + other.right) / 2
        return self.top <= y < self.bottom and self.left <= x < self.right

    def iou(self, other: Box) -> float:
        """Area in common over area of both."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        common = max(0, height) * max(0, width)
        return common / (self._area + other._area - common)

    @property
    def _area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Look:
    """A part of a picture, seen for itself: float (C, h, w) at any size, as a whole picture is answered.

    `share` is how much of the answer comes from it, 0 to 1, the rest being the whole's.
    """

    box: Box
    small: np.ndarray
    share: float = 1.0

    def rows(self, rows: slice) -> np.ndarray:
        """float32 (C, n, width of the box): the answer in those rows of the picture, bilinear."""
        top, left, bottom, right = self.box
        at = (np.arange(rows.start, rows.stop) - top + 0.5) * (self.small.shape[1] / (bottom - top)) - 0.5
        at = np.clip(at, 0, self.small.shape[1] - 1)
        above = at.astype(int)
        below = np.minimum(above + 1, self.small.shape[1] - 1)
        share = (at - above).astype(np.float32)[:, None]
        tall = self.small[:, above] * (1 - share) + self.small[:, below] * share
        wide = (right - left, len(at))
        return np.stack([cv2.resize(plane, wide, interpolation=cv2.INTER_LINEAR) for plane in tall])


@dataclass(frozen=True)
class Zoomed:
    """A whole picture, float32 (C, h, w), and its faces, each seen for itself."""

    whole: np.ndarray
    looks: tuple[Look, ...]


def looks(picture: np.ndarray, finder: np.ndarray, ask: Ask, size: int) -> tuple[Look, ...]:
    """The faces of a picture, uint8 (H, W, 3) RGB, each seen for itself; none where the whole shows them as well.

    `finder` is float32 (h, w), where the whole picture shows faces; `size` the longer side at which the network sees
    pictures.
    """
    shape = picture.shape[:2]
    faces = _apart(_faces_in(finder, shape))
    faces = _apart([*faces, *_small_faces(picture, [framed(face, shape) for face in faces], ask, size)])
    worthy = [face for face in faces if framed(face, shape).side * GAIN <= max(shape)]
    taken: list[Look] = []
    for start in range(0, min(len(worthy), MOST_LOOKS), AT_A_TIME):
        some = worthy[start : min(start + AT_A_TIME, MOST_LOOKS)]
        boxes = [framed(face, shape) for face in some]
        answers = ask([picture[box.part] for box in boxes])
        shown = [_face_at(box, answer[-1]) for box, answer in zip(boxes, answers, strict=True)]
        moved = {
            at: framed(face, shape)
            for at, face in enumerate(shown)
            if face and framed(face, shape).iou(boxes[at]) < AGAIN
        }
        again = ask([picture[box.part] for box in moved.values()]) if moved else []
        for at, answer in zip(moved, again, strict=True):
            boxes[at], answers[at], shown[at] = moved[at], answer, _face_at(moved[at], answer[-1])
        for coarse, face, box, answer in zip(some, shown, boxes, answers, strict=True):
            if not face and not _called(finder, coarse, shape):
                continue
            part = box if face else coarse.widened(round(coarse.side * MARGIN)).within(box)
            if part.is_empty:  # it looked again elsewhere, and saw no face there either
                continue
            if all(part.iou(other.box) < AGAIN for other in taken):
                seen_before = (face or coarse).side * max(finder.shape) / max(shape)
                share = float(np.interp(seen_before, (FAINT, WELL), (1, 0.5)))
                taken.append(Look(part, _cut(answer[:-1], box, part), share))
    return tuple(taken)


def framed(face: Box, shape: Sequence[int]) -> Box:
    """The square around a face that takes up `FRAME` of it, moved and then cut to fit a picture of shape (H, W)."""
    side = max(1, round(face.side / FRAME))
    edges = []
    for start, end, length in ((face.top, face.bottom, shape[0]), (face.left, face.right, shape[1])):
        low = min(max(0, (start + end - side) // 2), max(0, length - side))
        edges.append((low, min(low + side, length)))
    (top, bottom), (left, right) = edges
    return Box(top, left, bottom, right)


def joined(band: np.ndarray, rows: slice, looks: Sequence[Look], height: int) -> np.ndarray:
    """Rows of a picture of that height as the whole answers them, float32 (C, n, W), with the looks laid over.

    There are no seams: a look fades out towards its edges, and where looks overlap, each counts the more, the nearer
    its middle is.
    """
    there = [look for look in looks if look.box.top < rows.stop and look.box.bottom > rows.start]
    if not there:
        return band
    cover, total = np.zeros((2, *band.shape[1:]), np.float32)
    parts = []
    for look in there:
        top, left, bottom, right = look.box
        part = slice(max(rows.start, top), min(rows.stop, bottom))
        inside = np.s_[..., part.start - rows.start : part.stop - rows.start, left:right]
        (fade_y, near_y), (fade_x, near_x) = _weights(top, bottom, height), _weights(left, right, band.shape[2])
        here = slice(part.start - top, part.stop - top)
        np.maximum(cover[inside], look.share * np.outer(fade_y[here], fade_x), out=cover[inside])
        weight = np.outer(near_y[here], near_x)
        total[inside] += weight
        parts.append((look, part, inside, weight))
    band = band * (1 - cover)
    share = np.divide(cover, total, out=cover, where=total > 0)
    for look, part, inside, weight in parts:
        band[inside] += look.rows(part) * (share[inside] * weight)
    return band


def _weights(start: int, end: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one side of a look: how much it covers what was seen before, and how near its middle is; float32, 0 to 1.

    The picture's own border is no edge to fade at.
    """
    place = (np.arange(end - start, dtype=np.float32) + 0.5) / (end - start)
    low = place / RAMP if start > 0 else np.ones_like(place)
    high = (1 - place) / RAMP if end < length else np.ones_like(place)
    return np.minimum(np.minimum(low, high), 1), (1 - np.abs(2 * place - 1)) ** 2


def _faces_in(finder: np.ndarray, shape: Sequence[int]) -> list[Box]:
    """What may be faces in a finder's map, float32 (h, w), of a picture of shape (H, W)."""
    pieces = cv2.connectedComponentsWithStats((finder > MAYBE).view(np.uint8))[2][1:]
    down, across = shape[0] / finder.shape[0], shape[1] / finder.shape[1]
    return [
        Box(int(y * down), int(x * across), int(np.ceil((y + h) * down)), int(np.ceil((x + w) * across)))
        for x, y, w, h, area in pieces
        if area >= SPECK
    ]


def _apart(faces: Sequence[Box]) -> list[Box]:
    """The largest first, without those whose middle is inside a larger one."""
    kept: list[Box] = []
    for face in sorted(faces, key=lambda face: face.side, reverse=True):
        if not any(larger.holds(face) for larger in kept):
            kept.append(face)
    return kept


def _small_faces(picture: np.ndarray, covered: Sequence[Box], ask: Ask, size: int) -> list[Box]:
    """What may be faces in the tiles of a finer picture, but for those tiles that are `covered`."""
    shape = picture.shape[:2]
    fine = resize(picture, fitted(shape, min(max(shape), FINEST * size)))
    if max(fine.shape) < WORTH * size:
        return []
    scale = max(fine.shape) / max(shape)
    known = np.zeros(fine.shape[:2], bool)
    for box in covered:
        known[Box(*(round(edge * scale) for edge in box)).part] = True
    tiles = [tile for tile in _tiles(fine.shape, size) if known[tile.part].mean() < COVERED]
    finder = np.zeros(fine.shape[:2], np.float32)
    for start in range(0, len(tiles), AT_A_TIME):
        some = tiles[start : start + AT_A_TIME]
        for tile, answer in zip(some, ask([fine[tile.part] for tile in some]), strict=True):
            there = finder[tile.part]
            np.maximum(there, cv2.resize(answer[-1], there.shape[::-1]), out=there)
    return _faces_in(finder, shape)


def _tiles(shape: Sequence[int], size: int) -> Iterator[Box]:
    """Squares of `size` that cover a picture of shape (H, W, ...), each overlapping its neighbours."""
    steps = []
    for length in shape[:2]:
        count = max(1, int(np.ceil((length / size - OVERLAP) / (1 - OVERLAP))))
        steps.append(np.linspace(0, max(0, length - size), count).round().astype(int).tolist())
    for top, left in product(*steps):
        yield Box(top, left, min(top + size, shape[0]), min(left + size, shape[1]))


def _face_at(box: Box, finder: np.ndarray) -> Box | None:
    """The face that a look shows; None for none. Of several, it is the one that is large and near the middle."""
    face = finder > 0.5
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(face.view(np.uint8))
    near = np.outer(*(_weights(0, length, length)[1] for length in face.shape))
    importance = np.bincount(pieces.ravel(), near.ravel(), len(stats))[1:]
    if not len(importance):
        return None
    x, y, w, h, _ = stats[1 + importance.argmax()]
    down, across = (box.bottom - box.top) / face.shape[0], (box.right - box.left) / face.shape[1]
    top, left = box.top + y * down, box.left + x * across
    return Box(int(top), int(left), int(np.ceil(top + h * down)), int(np.ceil(left + w * across)))


def _called(finder: np.ndarray, face: Box, shape: Sequence[int]) -> bool:
    """Whether the whole picture, of shape (H, W), shows a face there."""
    down, across = finder.shape[0] / shape[0], finder.shape[1] / shape[1]
    rows = slice(int(face.top * down), int(np.ceil(face.bottom * down)))
    return bool((finder[rows, int(face.left * across) : int(np.ceil(face.right * across))] > 0.5).any())


def _cut(answer: np.ndarray, box: Box, part: Box) -> np.ndarray:
    """Of an answer for a box, float32 (C, h, w), what is in a part of it, with no more pixels than the picture has.

    In 16 bits: they are many planes of many faces.
    """
    height, width = box.bottom - box.top, box.right - box.left
    h, w = min(answer.shape[1], height), min(answer.shape[2], width)
    top, bottom = ((edge - box.top) * h // height for edge in (part.top, part.bottom))
    left, right = ((edge - box.left) * w // width for edge in (part.left, part.right))
    small = np.stack([cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA) for plane in answer])
    return small[:, top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.float16)
