"""Lay out the held-out part of the data, on which weights are scored: clean faces, and the same faces behind hands.

    python benchmarks/held_out.py --faces_dir data/images --masks_dir data/masks --faces_split SPLIT.csv \\
        --hands_dir HANDS --out data/held_out

Takes the False rows of both splits (HANDS/split.csv for the hands) and runs `hand_generator` on them. Writes to --out:
faces/ and masks/ (as given), fahand/ and mahand/ (with hands), and hand/, 0/255 masks of what the hands hide of the
person. With --backgrounds_dir also scene/ and mascene/: each face once more, cut out and made small on a photo without
people, most with a plain body, and a tenth of the photos without a face. With --covered also, with 0/255 masks of the
face, glasses carved out of it: maface/ of faces/, glasses/ and maglasses/ (the faces with glasses alone), covered/ and
macovered/ (each face once more behind a rectangle).

Then `test.py --images_path OUT/faces --masks_path OUT/masks --save_path ...` scores, likewise for fahand and scene, and
`--called_face PREDICTED` prints the share of the hands' pixels that the masks in PREDICTED call face.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faceparse import images
from faceparse.data.splits import read_split
from faceparse.labels import CELEBAMASK, FOREGROUND, face_of
from faceparse.occlusion import cover_with_rectangle, shrink_onto
from hand_generator.__main__ import main as generate


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--faces_dir", type=Path, help="pictures of the data set")
    flag("--masks_dir", type=Path, help="their 19-class masks")
    flag("--faces_split", type=Path, help="CSV of rows name,True|False")
    flag("--hands_dir", type=Path, help="folder with images/, masks/ and split.csv (default: no hands)")
    flag("--backgrounds_dir", type=Path, help="photos without people, for whole scenes (default: none are made)")
    flag("--covered", action="store_true", help="faces with glasses, and behind rectangles (default: none are made)")
    flag("--out", type=Path, required=True, help="folder to lay them out in")
    flag("--repeats", type=int, default=5, help="faces for each hand (default: %(default)s)")
    flag("--seed", type=int, default=1, help="seed of the hands' places (default: %(default)s)")
    flag("--called_face", type=Path, metavar="PREDICTED", help="score these masks of OUT/fahand instead")
    args = parser.parse_args(argv)
    if args.called_face:
        print(f"share of the hands' pixels called face: {share_called_face(args.out / 'hand', args.called_face):.4f}")
        return 0
    copy_held_out(args.faces_split, args.faces_dir, args.out / "faces")
    copy_held_out(args.faces_split, args.masks_dir, args.out / "masks")
    status = write_hands(args.out, args.hands_dir, args.repeats, args.seed) if args.hands_dir else 0
    if args.backgrounds_dir:
        write_scenes(args.out, args.backgrounds_dir, args.seed)
    if args.covered:
        write_covered(args.out, args.seed)
    return status


def copy_held_out(split: Path, source: Path, target: Path) -> None:
    """Copy the files whose stems have a False row."""
    parts = read_split(split)
    target.mkdir(parents=True, exist_ok=True)
    for path in images.list_images(source):
        if parts.get(path.stem) == "test":
            shutil.copy(path, target)


def write_hands(out: Path, hands_dir: Path, repeats: int, seed: int) -> int:
    """The faces behind the held-out hands, and what the hands hide; the exit status of `hand_generator`."""
    for part in ("images", "masks"):
        copy_held_out(hands_dir / "split.csv", hands_dir / part, out / "hands" / part)
    flags = {"faces_dir": "faces", "masks_dir": "masks", "hands_dir": "hands", "fahand_dir": "fahand"}
    folders = [text for name, folder in flags.items() for text in (f"--{name}", str(out / folder))]
    chance = ["--rotations", "0", "--repeats", str(repeats), "--seed", str(seed)]
    status = generate([*folders, "--mahand_dir", str(out / "mahand"), *chance])
    write_hand_masks(out)
    return status


def write_hand_masks(out: Path) -> None:
    """Where a hand has turned a class of the person into background, 0/255."""
    with (out / "fahand" / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            before = images.read_mask(out / "masks" / f"{Path(row['face']).stem}.png")
            after = images.read_mask(out / "mahand" / f"{row['number']}.png")
            images.write_mask(out / "hand" / f"{row['number']}.png", np.where(before != after, 255, 0).astype(np.uint8))


def write_scenes(out: Path, backgrounds_dir: Path, seed: int) -> None:
    """Faces made small on backgrounds, at the size of the faces, and where their face is then, 0/255."""
    backgrounds = images.list_images(backgrounds_dir)
    for number, path in enumerate(images.list_images(out / "faces")):
        rng = np.random.default_rng([seed, number])
        image, mask = images.read_pair(path, out / "masks" / f"{path.stem}.png")
        background = images.read_rgb(backgrounds[int(rng.integers(len(backgrounds)))])
        face = face_of(mask, ids=True)
        scene, left = shrink_onto(background, image, np.uint8(FOREGROUND) * face, face, mask > 0, rng)
        images.write_rgb(out / "scene" / f"{path.stem}.jpg", scene)
        images.write_mask(out / "mascene" / f"{path.stem}.png", left)


def write_covered(out: Path, seed: int) -> None:
    """Where the faces are without their glasses, 0/255; those that wear glasses; and all behind a rectangle."""
    for number, path in enumerate(images.list_images(out / "faces")):
        rng = np.random.default_rng([seed, number])
        image, ids = images.read_pair(path, out / "masks" / f"{path.stem}.png")
        face = face_of(ids, ids=True)
        mask = np.uint8(FOREGROUND) * face
        images.write_mask(out / "maface" / f"{path.stem}.png", mask)
        if (ids == CELEBAMASK.id("eye_g")).any():
            (out / "glasses").mkdir(exist_ok=True)
            shutil.copy(path, out / "glasses")
            images.write_mask(out / "maglasses" / f"{path.stem}.png", mask)
        covered, left = cover_with_rectangle(image, mask, face, rng)
        images.write_rgb(out / "covered" / f"{path.stem}.jpg", covered)
        images.write_mask(out / "macovered" / f"{path.stem}.png", left)


def share_called_face(hands: Path, predicted: Path) -> float:
    """Pooled over all pictures."""
    called = total = 0
    for path in images.list_images(hands):
        hand = images.read_mask(path) > 0
        called += np.count_nonzero(hand & (images.read_mask(predicted / path.name) > 127))
        total += np.count_nonzero(hand)
    return called / total


if __name__ == "__main__":
    sys.exit(main())
