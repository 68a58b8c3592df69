"""Time `python -m hand_generator` against a plain Python loop over pixels that does the same job: read, paste, write.

    python benchmarks/bench_hands.py [--faces_dir DIR --masks_dir DIR --hands_dir DIR] [--workers 2]

Without folders it draws 40 faces and 30 hands. The loop, on one thread, makes some of the very outputs that the
generator made, from the angle, scale and place in its manifest; that both hide the same pixels is checked and printed.
It is given plain lists, Python's fastest arrays, and simpler work: it feathers over 3x3 pixels, and neither looks for
a place nor measures sharpness.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse import images
from faceparse.labels import CELEBAMASK, FACE
from hand_generator.__main__ import main as generate
from hand_generator.paste import Hand

Grid = list[list[int]]
Colours = list[list[list[int]]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time hand_generator against a loop over pixels.")
    parser.add_argument("--faces_dir", type=Path, metavar="DIR", help="pictures of faces (default: drawn)")
    parser.add_argument("--masks_dir", type=Path, metavar="DIR", help="their id masks (default: drawn)")
    parser.add_argument("--hands_dir", type=Path, metavar="DIR", help="hands, images/ and masks/ (default: drawn)")
    for what, count in (("faces", 40), ("hands", 30)):
        help_text = f"{what} to draw (default: %(default)s)"
        parser.add_argument(f"--{what}", type=int, default=count, metavar="N", help=help_text)
    parser.add_argument("--size", type=int, default=512, metavar="PX", help="side of a drawn face (default: 512)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--loops", type=int, default=5, metavar="N", help="pictures for the loop (default: %(default)s)"
    )
    return parser.parse_args(argv)


def draw_inputs(root: Path, faces: int, hands: int, size: int) -> tuple[Path, Path, Path]:
    """Faces of `size` px with id masks and hands of 320 px, with noise that JPEG has to code."""
    rng = np.random.default_rng(0)
    for number in range(faces):
        ids = np.zeros((512, 512), np.uint8)
        cv2.ellipse(ids, (256, 240), (170, 220), 0, 0, 360, CELEBAMASK.id("hair"), -1)
        cv2.ellipse(ids, (256, 270), (130, 175), 0, 0, 360, CELEBAMASK.id("skin"), -1)
        ids = cv2.resize(ids, (size, size), interpolation=cv2.INTER_NEAREST)
        colours = np.array(CELEBAMASK.colours)[ids] + rng.normal(0, 10, (size, size, 1))
        images.write_rgb(root / "faces" / f"{number}.jpg", np.clip(colours, 0, 255).astype(np.uint8))
        images.write_mask(root / "masks" / f"{number}.png", ids, CELEBAMASK)
    for number in range(hands):
        mask = np.zeros((320, 320), np.uint8)
        cv2.ellipse(mask, (160, 200), (70 + number, 90), 0, 0, 360, 255, -1)
        for x in range(100, 240, 40):
            cv2.line(mask, (x, 170), (x, 30), 255, 26)
        colours = np.where(mask[..., None] > 0, (205, 150, 120), (40, 160, 60)) + rng.normal(0, 8, (320, 320, 1))
        images.write_rgb(root / "hands" / "images" / f"{number}.png", np.clip(colours, 0, 255).astype(np.uint8))
        images.write_mask(root / "hands" / "masks" / f"{number}.png", mask)
    return root / "faces", root / "masks", root / "hands"


def loop_job(row: dict[str, str], folders: tuple[Path, Path, Path], out: Path) -> np.ndarray:
    """One output of the manifest, pixel by pixel; returns its mask."""
    faces_dir, masks_dir, hands_dir = folders
    image, ids = images.read_pair(faces_dir / row["face"], masks_dir / f"{Path(row['face']).stem}.png")
    hand = read_tight(hands_dir, row["hand"])
    picture, mask, face = image.tolist(), ids.tolist(), FACE.table[ids].tolist()
    shift = colour_shift(picture, face, hand.image.tolist(), hand.mask.tolist())
    paste_by_loop(picture, mask, hand.image.tolist(), hand.mask.tolist(), shift, row)
    pasted = np.array(mask, np.uint8)
    Image.fromarray(np.array(picture, np.uint8)).save(out / f"{row['number']}.jpg", quality=95)
    images.write_mask(out / f"{row['number']}.png", pasted, CELEBAMASK)
    return pasted


def read_tight(hands_dir: Path, name: str) -> Hand:
    """The hand's crop without empty margins."""
    path = next((hands_dir / "images").glob(f"{name}.*"))
    mask = images.read_mask(hands_dir / "masks" / f"{name}.png") > 0
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    return Hand(images.read_rgb(path)[window], mask[window], name)


def colour_shift(picture: Colours, face: Grid, hand: Colours, hand_mask: Grid) -> list[float]:
    """Half of the way from the hand's mean colour to the face's."""
    means = []
    for colours, where in ((picture, face), (hand, hand_mask)):
        sums, count = [0, 0, 0], 0
        for y in range(len(where)):
            for x in range(len(where[0])):
                if where[y][x]:
                    count += 1
                    for channel in range(3):
                        sums[channel] += colours[y][x][channel]
        means.append([value / count for value in sums])
    return [(means[0][channel] - means[1][channel]) / 2 for channel in range(3)]


def paste_by_loop(
    picture: Colours, mask: Grid, hand: Colours, hand_mask: Grid, shift: list[float], row: dict[str, str]
) -> None:
    """Turn, resize, recolour, feather and place the hand, in place, as the manifest's row says."""
    angle, scale, left, top = (float(row[key]) for key in ("angle", "scale", "x", "y"))
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    height, width = len(hand_mask), len(hand_mask[0])
    new_width = round(scale * (width * abs(cosine) + height * abs(sine)))
    new_height = round(scale * (width * abs(sine) + height * abs(cosine)))

    def source(x: int, y: int) -> tuple[float, float]:
        right, down = (x - (new_width - 1) / 2) / scale, (y - (new_height - 1) / 2) / scale
        return right * cosine - down * sine + (width - 1) / 2, right * sine + down * cosine + (height - 1) / 2

    def inside(x: int, y: int) -> bool:
        from_x, from_y = source(x, y)
        column, line = round(from_x), round(from_y)
        return 0 <= column < width and 0 <= line < height and bool(hand_mask[line][column])

    for y in range(max(0, -int(top)), min(new_height, len(mask) - int(top))):
        for x in range(max(0, -int(left)), min(new_width, len(mask[0]) - int(left))):
            if not inside(x, y):
                continue
            alpha = sum(inside(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)) / 9
            from_x, from_y = source(x, y)
            column, line = min(max(int(from_x), 0), width - 2), min(max(int(from_y), 0), height - 2)
            part_x, part_y = from_x - column, from_y - line
            pixel = picture[y + int(top)][x + int(left)]
            for channel in range(3):
                upper = hand[line][column][channel] * (1 - part_x) + hand[line][column + 1][channel] * part_x
                lower = hand[line + 1][column][channel] * (1 - part_x) + hand[line + 1][column + 1][channel] * part_x
                value = upper * (1 - part_y) + lower * part_y + shift[channel]
                pixel[channel] = min(255, max(0, round(alpha * value + (1 - alpha) * pixel[channel])))
            mask[y + int(top)][x + int(left)] = 0


def clocks() -> np.ndarray:
    """Seconds of wall time, and of processor time of this process and its finished children."""
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def agreement(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """IoU of the pixels that two masks hide of a third."""
    a, b = first != truth, second != truth
    return np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b))


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        given = args.faces_dir, args.masks_dir, args.hands_dir
        folders = given if all(given) else draw_inputs(root, args.faces, args.hands, args.size)
        argv = [
            str(v) for pair in zip(("--faces_dir", "--masks_dir", "--hands_dir"), folders, strict=True) for v in pair
        ]
        out = [
            "--fahand_dir",
            str(root / "fahand"),
            "--mahand_dir",
            str(root / "mahand"),
            "--workers",
            str(args.workers),
        ]
        start = clocks()
        status = generate([*argv, *out])
        ours = clocks() - start
        with open(root / "fahand" / "manifest.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        ours /= len(rows)
        chosen = rows[:: max(1, len(rows) // args.loops)][: args.loops]
        (root / "loop").mkdir()
        start = clocks()
        pasted = [loop_job(row, folders, root / "loop") for row in chosen]
        loop = (clocks() - start) / len(chosen)
        truth = [images.read_mask(folders[1] / f"{Path(row['face']).stem}.png") for row in chosen]
        made = [images.read_mask(root / "mahand" / f"{row['number']}.png") for row in chosen]
    same = min(agreement(*three) for three in zip(truth, pasted, made, strict=True))
    tell(f"{len(rows)} pictures, {args.workers} workers, {'given' if all(given) else f'drawn, {args.size} px'}", PIL)
    print(f"{'ms a picture':32}pictures      wall       CPU")
    for name, count, (wall, cpu) in (
        (f"hand_generator, {args.workers} processes", len(rows), ours * 1000),
        ("loop over pixels, one thread", len(chosen), loop * 1000),
    ):
        print(f"{name:32}{count:8}{wall:10.1f}{cpu:10.1f}")
    print(f"{(loop / ours)[0]:.0f} times as fast; the hidden pixels agree (smallest IoU {same:.3f})")
    return status


if __name__ == "__main__":
    sys.exit(main())
