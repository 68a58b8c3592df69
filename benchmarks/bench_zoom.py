"""Faces in whole photos: one look at the picture against `zoom="auto"`, which looks again at each face.

    python benchmarks/bench_zoom.py --faces_dir data/images --masks_dir data/masks --faces_split SPLIT.csv \\
        --backgrounds_dir BACKGROUNDS

Composes scenes out of the split's False rows: up to five faces, each 1.5 to 80 % of the picture's height, turned by up
to 45 degrees, some cut by the border, with hair and clothes on photos without people or walls of such photos; a quarter
of the scenes has no face. Prints for each way of looking: IoU of the face, pooled; faces of each size that were found,
which is half of their pixels, and their IoU, pooled within twice the box of each; what is called face though it is not,
of all scenes and of those without a face; and seconds of one core for a picture. In brackets are 95 %: for the IoU of a
bootstrap over the scenes, for the share of the faces found Wilson's. `--out` keeps scenes and overlays.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from benchmarks.photos import laid_over, placed
from faceparse import images, load, metrics
from faceparse.data.splits import read_split
from faceparse.labels import FOREGROUND, face_of
from faceparse.predictor import Predictor

WAYS = {
    "one look": {"zoom": "none"},
    "one look, flip": {"zoom": "none", "flip": True},
    "zoom": {"zoom": "auto"},
    "zoom, flip": {"zoom": "auto", "flip": True},
}
"""Row of the table -> what `load` is told."""

SIDES = (512, 4000)
"""The longer side of a scene, pixels."""
HEIGHTS = (0.015, 0.8)
"""Of a face, as a share of the scene's height."""
SMALLEST = 24
"""Pixels, under which nobody could say where a face ends."""
TURN = 45.0
"""Degrees to either side."""
WITHOUT = 0.25
"""Share of the scenes without a face."""
CUT = 0.15
"""Share of the faces whose middle may lie anywhere up to the border; the others are in the picture."""
BINS = (0.015, 0.03, 0.06, 0.12, 0.25, 0.8)
"""Between them lie the sizes that are told apart."""


@dataclass(frozen=True)
class Scene:
    """uint8 (H, W, 3) RGB, the number of the face at each pixel from 1 on, uint8 (H, W), and their heights, pixels."""

    picture: np.ndarray
    faces: np.ndarray
    heights: list[float]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--faces_dir", type=Path, required=True, help="pictures of the data set")
    flag("--masks_dir", type=Path, required=True, help="their 19-class masks")
    flag("--faces_split", type=Path, required=True, help="CSV of rows name,True|False")
    flag("--backgrounds_dir", type=Path, required=True, help="photos without people")
    flag("--weights_path", help="weights, or the name of bundled ones (default: face)")
    flag("--scenes", type=int, default=40, help="scenes to compose (default: %(default)s)")
    flag(
        "--side", nargs=2, type=int, default=SIDES, metavar=("MIN", "MAX"), help="longer side (default: %(default)s px)"
    )
    flag(
        "--height",
        nargs=2,
        type=float,
        default=HEIGHTS,
        metavar=("MIN", "MAX"),
        help="of a face, as a share of the scene's (default: %(default)s)",
    )
    flag("--without", type=float, default=WITHOUT, help="share of the scenes without a face (default: %(default)s)")
    flag("--seed", type=int, default=1, help="(default: %(default)s)")
    flag("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=f"{', '.join(WAYS)} (default: all)")
    flag("--out", type=Path, help="folder for scenes and overlays (default: none are kept)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    parts = read_split(args.faces_split)
    pairs = [
        pair for pair in images.pair_by_stem(args.faces_dir, args.masks_dir)[0] if parts.get(pair[0].stem) == "test"
    ]
    backgrounds = images.list_images(args.backgrounds_dir)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    faces = f"faces of {args.height[0]:.1%} to {args.height[1]:.1%} of the height"
    tell(f"{args.scenes} scenes of {args.side[0]} to {args.side[1]} px, {faces}, seed {args.seed}")
    tallies = {way: Tally(load(args.weights_path, "cpu", "face", **WAYS[way])) for way in args.ways}
    for number in range(args.scenes):
        rng = np.random.default_rng([args.seed, number])
        scene = compose(pairs, backgrounds, args.side, args.height, args.without, rng)
        if args.out:
            images.write_rgb(args.out / f"{number}.jpg", scene.picture)
        for way, tally in tallies.items():
            mask = tally.add(scene)
            if args.out:
                view = images.overlay(scene.picture, mask, tally.predictor.labels)
                images.write_overlay(args.out / f"{number}_{way.replace(', ', '_').replace(' ', '_')}.jpg", view)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(tallies))
    return 0


def compose(
    pairs: list[tuple[Path, Path]],
    backgrounds: list[Path],
    sides: Sequence[int],
    heights: Sequence[float],
    without: float,
    rng: np.random.Generator,
) -> Scene:
    """A scene, upright or not, with its faces, the largest at the back, or, by the chance `without`, with none.

    `sides`, pixels, and `heights`, shares of the scene's, are the least and the greatest.
    """
    low, high = np.log(sides)
    side = round(np.exp(rng.uniform(low, high)))
    height, width = (side, side * 3 // 4) if rng.random() < 0.3 else (side * 3 // 4, side)
    scene = Scene(wall(backgrounds, height, width, rng), np.zeros((height, width), np.uint8), [])
    if rng.random() < without:
        return scene
    low, high = np.log([max(heights[0], SMALLEST / height), heights[1]])
    for share in sorted(np.exp(rng.uniform(low, high, int(rng.integers(1, 6)))), reverse=True):
        pair = pairs[int(rng.integers(len(pairs)))]
        add_face(scene, *images.read_pair(*pair), share * height, rng)
    return scene


def wall(backgrounds: list[Path], height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) RGB: one photo enlarged, which is smooth, or a wall of up to 6 x 6 of them."""
    count = int(rng.integers(1, 7)) if rng.random() < 0.7 else 1
    rows, columns = (np.linspace(0, length, count + 1).round().astype(int) for length in (height, width))
    picture = np.zeros((height, width, 3), np.uint8)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            photo = images.read_rgb(backgrounds[int(rng.integers(len(backgrounds)))])
            picture[top:bottom, left:right] = images.covering(photo, (bottom - top, right - left))
    return picture


def add_face(
    scene: Scene,
    image: np.ndarray,
    ids: np.ndarray,
    height: float,
    rng: np.random.Generator,
    turns: tuple[float, float] = (-TURN, TURN),
) -> None:
    """The person of a picture, their face of that height, pixels, somewhere in the scene, over what is there."""
    face = face_of(ids, ids=True)
    if not face.any():
        return
    angle = rng.uniform(*turns)
    tall, wide = scene.faces.shape
    margin = 0 if rng.random() < CUT else 0.55 * height
    middle = [rng.uniform(min(margin, length / 2), max(length - margin, length / 2)) for length in (wide, tall)]
    picture, person, seen = placed((image, ids > 0, face), face, height, angle, middle, (tall, wide))
    laid_over(scene.picture, picture, person)
    scene.faces[person > 0.5] = 0
    scene.heights.append(height)
    scene.faces[seen > 0.5] = len(scene.heights)


class Tally:
    """What one way of looking has got right so far."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.false = self.empty = self.alarms = self.without = 0  # in scenes without a face
        self.seconds = 0.0
        self.pixels: list[tuple[int, int, int]] = []  # of a scene: rightly called face, called face, face
        self.sizes: list[int] = []  # of a scene, pixels
        self.faces: list[tuple[float, bool, int, int]] = []  # share of the height, found, intersection, union

    def add(self, scene: Scene) -> np.ndarray:
        """Answer a scene and count; the mask."""
        start = time.process_time()
        mask = self.predictor(scene.picture)
        self.seconds += time.process_time() - start
        called, truth = mask == FOREGROUND, scene.faces > 0
        self.pixels.append(tuple(map(np.count_nonzero, (called & truth, called, truth))))
        self.sizes.append(truth.size)
        if not scene.heights:
            self.without += 1
            self.alarms += bool(called.any())
            self.false += np.count_nonzero(called)
            self.empty += called.size
        for number, height in enumerate(scene.heights, 1):
            face = scene.faces == number
            if face.any():  # nobody stands before it
                x, y, w, h = cv2.boundingRect(face.view(np.uint8))
                near = np.s_[max(0, y - h // 2) : y + h + h // 2, max(0, x - w // 2) : x + w + w // 2]
                others = (scene.faces[near] > 0) & ~face[near]
                hit = np.count_nonzero(called[near] & face[near])
                either = np.count_nonzero((called[near] | face[near]) & ~others)
                found = hit > 0.5 * np.count_nonzero(face)
                self.faces.append((height / len(face), found, hit, either))
        return mask


def wilson(found: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share."""
    z = 1.96
    middle, half = found + z * z / 2, z * math.sqrt(found * (of - found) / of + z * z / 4)
    return (middle - half) / (of + z * z), (middle + half) / (of + z * z)


def table(tallies: dict[str, Tally]) -> str:
    """As Markdown."""
    first = next(iter(tallies.values()))
    known = [face[0] for face in first.faces]
    bins = [(low, high) for low, high in pairwise(BINS) if any(low <= share < high for share in known)]
    counts = [sum(low <= share < high for share in known) for low, high in bins]
    heads = [f"{low:.1%} to {high:.1%} ({count})" for (low, high), count in zip(bins, counts, strict=True)]
    heads = ["", "face IoU", *heads, "not face, called face", "in scenes without a face", "s a picture"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for way, tally in tallies.items():
        pixels = np.array(tally.pixels)
        hit, called, truth = pixels.sum(axis=0)
        low, high = metrics.interval(metrics.iou(*np.moveaxis(metrics.resampled(pixels), -1, 0)))
        cells = [way, f"{metrics.iou(hit, called, truth):.4f} [{low:.4f}, {high:.4f}]"]
        for (least, most), count in zip(bins, counts, strict=True):
            these = [face for face in tally.faces if least <= face[0] < most]
            found, union = sum(face[1] for face in these), max(1, sum(face[3] for face in these))
            low, high = wilson(found, count)
            cells.append(f"{found} [{low:.2f}, {high:.2f}], IoU {sum(face[2] for face in these) / union:.3f}")
        cells.append(f"{(called - hit) / (sum(tally.sizes) - truth):.4%}")
        cells.append(f"{tally.false / max(1, tally.empty):.4%}, in {tally.alarms} of {tally.without}")
        lines.append(f"| {' | '.join(cells)} | {tally.seconds / len(tally.pixels):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
