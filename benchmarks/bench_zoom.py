"""Faces in whole photos: one look at the picture against `zoom="auto"`, which looks again at each face.

    python benchmarks/bench_zoom.py --faces_dir data/images --masks_dir data/masks --faces_split SPLIT.csv \\
        --backgrounds_dir BACKGROUNDS

Composes scenes out of the split's False rows: up to five faces, each 1.5 to 80 % of the picture's height, turned by up
to 45 degrees, some cut by the border, with hair and clothes on photos without people or walls of such photos; a quarter
of the scenes has no face. Prints for each way of looking: IoU of the face, pooled; faces of each size that were found,
which is half of their pixels, and their IoU, pooled within twice the box of each; what is called face where there is
none; and seconds of one core for a picture. `--out` keeps scenes and overlays.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from benchmarks.photos import laid_over, placed
from faceparse import images, load
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
    tell(f"{args.scenes} scenes, seed {args.seed}")
    tallies = {way: Tally(load(args.weights_path, "cpu", "face", **WAYS[way])) for way in args.ways}
    for number in range(args.scenes):
        scene = compose(pairs, backgrounds, np.random.default_rng([args.seed, number]))
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


def compose(pairs: list[tuple[Path, Path]], backgrounds: list[Path], rng: np.random.Generator) -> Scene:
    """A scene of any size, upright or not, with its faces, the largest at the back."""
    low, high = np.log(SIDES)
    side = round(np.exp(rng.uniform(low, high)))
    height, width = (side, side * 3 // 4) if rng.random() < 0.3 else (side * 3 // 4, side)
    scene = Scene(wall(backgrounds, height, width, rng), np.zeros((height, width), np.uint8), [])
    if rng.random() < WITHOUT:
        return scene
    low, high = np.log([max(HEIGHTS[0], SMALLEST / height), HEIGHTS[1]])
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
        self.hit = self.either = self.false = self.empty = self.pictures = self.alarms = self.without = 0
        self.seconds = 0.0
        self.faces: list[tuple[float, bool, int, int]] = []  # share of the height, found, intersection, union

    def add(self, scene: Scene) -> np.ndarray:
        """Answer a scene and count; the mask."""
        start = time.process_time()
        mask = self.predictor(scene.picture)
        self.seconds += time.process_time() - start
        self.pictures += 1
        called, truth = mask == FOREGROUND, scene.faces > 0
        self.hit += np.count_nonzero(called & truth)
        self.either += np.count_nonzero(called | truth)
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


def table(tallies: dict[str, Tally]) -> str:
    """As Markdown."""
    bins = list(pairwise(BINS))
    first = next(iter(tallies.values()))
    counts = [sum(low <= face[0] < high for face in first.faces) for low, high in bins]
    heads = [f"{low:.1%} to {high:.1%} ({count})" for (low, high), count in zip(bins, counts, strict=True)]
    lines = [f"| | face IoU | {' | '.join(heads)} | called face where none is | s a picture |"]
    lines.append("|" + "---|" * (len(bins) + 4))
    for way, tally in tallies.items():
        cells = []
        for low, high in bins:
            these = [face for face in tally.faces if low <= face[0] < high]
            union = max(1, sum(face[3] for face in these))
            cells.append(f"{sum(face[1] for face in these)}, {sum(face[2] for face in these) / union:.3f}")
        false = f"{tally.false / max(1, tally.empty):.4%}, in {tally.alarms} of {tally.without}"
        iou, seconds = tally.hit / max(1, tally.either), tally.seconds / tally.pictures
        lines.append(f"| {way} | {iou:.4f} | {' | '.join(cells)} | {false} | {seconds:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
