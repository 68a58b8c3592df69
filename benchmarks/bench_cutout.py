"""How far the edges of cut-outs are from the true ones, on people before plain grounds whose opacity is known.

    python benchmarks/bench_cutout.py --images_dir person/images --masks_dir person/masks --split person/split.csv

Takes the False rows of the split. Each mask is drawn in by `MARGIN` pixels and blurred by --softness: an opacity whose
soft edge lies within the person, so that the photo's own pixels are the person's colours all over it. With it the
person is laid over a black, a grey and a white ground; that picture is cut out with an opacity, the true one or the
network's, and laid over green, as `--background` does it, and with the picture's own colours as they are ("plain").

Error: the mean distance of a colour to the true person over green, in grey levels of 255, over all pixels of a true
opacity from .05 to .95. Halo: the same with its sign: below 0 the edge is too dark, above 0 too bright.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse import images, predictor
from faceparse.cutout import cut_out, over
from faceparse.data.splits import read_split

MARGIN = 6
"""Pixels by which a mask is drawn in: three deviations of the softest edge, 2."""

GROUNDS = {"black": 0, "grey": 128, "white": 255}
"""Name of a ground -> its grey."""

GREEN = (46, 139, 87)
"""What is laid behind the cut-out."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images_dir", type=Path, required=True, help="photos of people")
    parser.add_argument("--masks_dir", type=Path, required=True, help="their 0/255 masks")
    parser.add_argument("--split", type=Path, required=True, help="CSV of rows name,True|False")
    parser.add_argument("--weights_path", default="person", help="weights (default: %(default)s)")
    parser.add_argument("--softness", type=float, default=1.0, help="deviation in pixels (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    network = predictor.load(args.weights_path, "cpu")
    parts = read_split(args.split)
    people = [path for path in images.list_images(args.images_dir) if parts.get(path.stem) == "test"]
    tell(f"{len(people)} people, {network.preprocess.size} px to the network, edges of {args.softness} px")
    found: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for path in people:
        photo, mask = images.read_pair(path, args.masks_dir / f"{path.stem}.png")
        alpha = soft(mask, args.softness)
        band = (alpha > 0.05) & (alpha < 0.95)
        true = laid_over(photo, alpha, np.full_like(photo, GREEN))
        for ground, grey in GROUNDS.items():
            picture = laid_over(photo, alpha, np.full_like(photo, grey))
            known = {"true": alpha, "predicted": network.alpha(picture, network.small([picture])[0])}
            for of, opacity in known.items():
                for way, cut in WAYS.items():
                    view = over(cut(picture, opacity), np.full_like(photo, GREEN))
                    found.setdefault((of, ground, way), []).append(view[band].astype(float) - true[band])
    for (of, ground, way), differences in found.items():
        off = np.concatenate(differences)
        print(f"{of:9} opacity, {ground:5} ground, {way:6}  error {np.abs(off).mean():5.1f}  halo {off.mean():+6.1f}")


def soft(mask: np.ndarray, softness: float) -> np.ndarray:
    """A 0/255 mask, uint8 (H, W), as a soft opacity within it, float32 (H, W) in 0..1."""
    inner = cv2.erode(mask, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    return cv2.GaussianBlur(inner.astype(np.float32) / 255, (0, 0), softness)


def laid_over(photo: np.ndarray, alpha: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB: mixed by an opacity, float32 (H, W) in 0..1, which loses nothing to 8 bits."""
    return cv2.blendLinear(photo, ground, alpha, 1 - alpha)


def plain(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """As `cut_out`, in the picture's own colours."""
    return np.dstack([picture, np.rint(255 * alpha).astype(np.uint8)])


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"plain": plain, "cut_out": cut_out}
"""Name -> picture, uint8 (H, W, 3) RGB, and opacity to a cut-out, uint8 (H, W, 4) RGBA."""


if __name__ == "__main__":
    main()
