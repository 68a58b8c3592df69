"""Lay out the held-out part of the data, on which weights are scored: clean faces, and the same faces behind hands.

    python benchmarks/held_out.py --faces_dir data/images --masks_dir data/masks --faces_split SPLIT.csv \\
        --hands_dir HANDS --out data/held_out

Takes the False rows of both splits (HANDS/split.csv for the hands) and runs `hand_generator` on them. Writes to --out:
faces/ and masks/ (as given), coverings/eye_g, hair and hat (0/255 masks of these classes, of the faces that have them),
fahand/ and mahand/ (with hands), and hand/, 0/255 masks of what the hands hide of the person. With --backgrounds_dir
also scene/ and mascene/: each face once more, cut out and made small on a photo without people, most with a plain body,
and a tenth of the photos without a face. With --covered also, with 0/255 masks of the face, glasses carved out of it:
maface/ of faces/, glasses/ and maglasses/ (the faces with glasses alone), covered/ and macovered/ (each face once more
behind a rectangle). With --spoiled also spoiled/KIND/images and masks: the faces in other colours, blurred, coded as
small poor JPEGs, and turned, see `SPOILED` below.

`--objects N` and `--photos N` lay out N pictures of each kind of `benchmarks/objects.py` and `benchmarks/photos.py`, in
OUT/objects/KIND and OUT/photos/KIND: images/; masks/, 19-class ids where things lie over faces, 0/255 of the face in
whole photos; person/, 0/255 masks of people with what they hold; and other/, 0/255 of what must not be called face: the
thing, the bare body, or all of a picture without a face. `--person_dir PORTRAITS` writes surroundings/, 0/255 of where
each portrait shows nobody.

Then `test.py --images_path OUT/faces --masks_path OUT/masks --save_path ...` scores, likewise for fahand and scene, and
`--called_face PREDICTED` prints the share of the hands' pixels that the masks in PREDICTED call face, or of the pixels
of `--other OUT/objects/cup/other`.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import objects, photos
from faceparse import images, metrics
from faceparse.commands import finish
from faceparse.data.splits import read_split
from faceparse.labels import CELEBAMASK, FOREGROUND, LabelSet, face_of, holds_ids
from faceparse.occlusion import cover_with_rectangle, shrink_onto
from hand_generator.__main__ import main as generate

COVERINGS = ("eye_g", "hair", "hat")
"""Classes of the true masks that lie over faces and are no face."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--faces_dir", type=Path, help="pictures of the data set")
    flag("--masks_dir", type=Path, help="their 19-class masks")
    flag("--faces_split", type=Path, help="CSV of rows name,True|False")
    flag("--hands_dir", type=Path, help="folder with images/, masks/ and split.csv (default: no hands)")
    flag("--backgrounds_dir", type=Path, help="photos without people, for whole scenes (default: none are made)")
    flag("--person_dir", type=Path, help="portraits with images/ and masks/ of people (default: none)")
    flag("--covered", action="store_true", help="faces with glasses, and behind rectangles (default: none are made)")
    flag("--spoiled", action="store_true", help="faces recoloured, blurred, recoded, turned (default: none are made)")
    flag("--objects", type=int, default=0, metavar="N", help="faces behind things, of each kind (default: none)")
    flag("--photos", type=int, default=0, metavar="N", help="whole photos, of each kind (default: none)")
    flag("--out", type=Path, required=True, help="folder to lay them out in")
    flag("--repeats", type=int, default=5, help="faces for each hand (default: %(default)s)")
    flag("--seed", type=int, default=1, help="seed of the hands' places (default: %(default)s)")
    flag("--called_face", type=Path, metavar="PREDICTED", help="score these masks of OUT/fahand instead")
    flag("--other", type=Path, metavar="DIR", help="masks of what is no face there (default: OUT/hand)")
    args = parser.parse_args(argv)
    if not args.called_face and not (args.faces_dir and args.masks_dir and args.faces_split):
        parser.error("name the faces: --faces_dir, --masks_dir and --faces_split; or --called_face")
    if args.photos and not (args.backgrounds_dir or args.called_face):
        parser.error("--photos needs --backgrounds_dir")
    return args


def main(argv: list[str] | None = None) -> int:
    return finish(lay_out, parse_args(argv))


def lay_out(args: argparse.Namespace) -> int:
    """What the flags ask for, or the score of it."""
    if args.called_face:
        what, other = ("its", args.other) if args.other else ("the hands'", args.out / "hand")
        called, low, high = share_called_face(other, args.called_face)
        print(f"share of {what} pixels called face: {called:.4f} [{low:.4f}, {high:.4f}]")
        return 0
    copy_held_out(args.faces_split, args.faces_dir, args.out / "faces")
    copy_held_out(args.faces_split, args.masks_dir, args.out / "masks")
    status = write_hands(args.out, args.hands_dir, args.repeats, args.seed) if args.hands_dir else 0
    if args.backgrounds_dir:
        write_scenes(args.out, args.backgrounds_dir, args.seed)
    if args.person_dir:
        write_surroundings(args.out, args.person_dir)
    if args.covered:
        write_covered(args.out, args.seed)
    if args.spoiled:
        write_spoiled(args.out, args.seed)
    write_coverings(args.out)
    write_objects(args.out, args.objects, args.seed)
    write_photos(args.out, args.photos, args.backgrounds_dir, args.seed)
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


def write_surroundings(out: Path, person_dir: Path) -> None:
    """Where the portraits show nobody, 0/255: no face can be there."""
    for path in images.list_images(person_dir / "masks"):
        person = images.read_mask(path) > 127
        images.write_mask(out / "surroundings" / f"{path.stem}.png", np.uint8(FOREGROUND) * ~person)


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


def recoloured(image: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Other light: each channel by its own gain and gamma, between two thirds and one and a half."""
    gains, gammas = np.exp(rng.uniform(-0.4, 0.4, (2, 3)))
    return (255 * ((image / 255) ** gammas * gains).clip(0, 1)).round().astype(np.uint8), ids


def blurred(image: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Out of focus: Gaussian, sigma of 0.8 to 1.6 % of the longer side."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.008, 0.016) * max(ids.shape)), ids


def recoded(image: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A thumbnail that was made large again: 128 px, as a JPEG of quality 8 to 20."""
    thumbnail = images.resize(image, images.fitted(ids.shape, 128))
    coded = cv2.imencode(".jpg", thumbnail, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 21))])[1]
    return images.resize(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), ids.shape), ids


def turned(image: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """About the middle, by 20 to 45 degrees to either side, on grey; the corners are lost."""
    height, width = ids.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.choice([-1, 1]) * rng.uniform(20, 45), 1)
    picture = cv2.warpAffine(image, matrix, (width, height), borderValue=(127, 127, 127))
    return picture, cv2.warpAffine(ids, matrix, (width, height), flags=cv2.INTER_NEAREST)


SPOILED = {kind.__name__: kind for kind in (recoloured, blurred, recoded, turned)}
"""How a picture may be worse than those of the data set: uint8 (H, W, 3) RGB, uint8 (H, W) ids, chance -> both."""


def write_spoiled(out: Path, seed: int) -> None:
    """Every face once more in each way of `SPOILED`."""
    for kind, (name, spoil) in enumerate(SPOILED.items()):
        for number, path in enumerate(images.list_images(out / "faces")):
            pair = images.read_pair(path, out / "masks" / f"{path.stem}.png")
            picture, ids = spoil(*pair, np.random.default_rng([seed, kind, number]))
            images.write_rgb(out / "spoiled" / name / "images" / f"{path.stem}.jpg", picture)
            images.write_mask(out / "spoiled" / name / "masks" / f"{path.stem}.png", ids, CELEBAMASK)


def write_coverings(out: Path) -> None:
    """Where each face that has them shows its own glasses, hair or hat, 0/255."""
    for path in images.list_images(out / "masks"):
        ids = images.read_mask(path)
        for name in COVERINGS:
            there = ids == CELEBAMASK.id(name)
            if there.any():
                images.write_mask(out / "coverings" / name / path.name, np.uint8(FOREGROUND) * there)


def write_objects(out: Path, count: int, seed: int) -> None:
    """`count` faces behind each kind of thing, other faces for other kinds as far as they go."""
    for number, kind in enumerate(objects.KINDS if count else ()):
        chance, written = np.random.default_rng([seed, number]), 0
        faces = images.list_images(out / "faces")
        for at in chance.permutation(len(faces)):
            path = faces[at]
            image, ids = images.read_pair(path, out / "masks" / f"{path.stem}.png")
            frame = objects.frame_of(image, ids) if objects.suits(kind, ids) else None
            if written < count and frame:
                picture, left, thing = objects.cover(frame, kind, np.random.default_rng([seed, number, at]))
                place = Composed(out / "objects" / kind, path.stem, picture, (ids > 0) | thing, thing)
                place.write(left, CELEBAMASK)
                written += 1


def write_photos(out: Path, count: int, backgrounds_dir: Path, seed: int) -> None:
    """`count` whole photos of each kind for which there are people."""
    if not count:
        return
    pairs = [images.read_pair(path, out / "masks" / f"{path.stem}.png") for path in images.list_images(out / "faces")]
    backgrounds = [images.read_rgb(path) for path in images.list_images(backgrounds_dir)]
    for number, (name, kind) in enumerate(photos.KINDS.items()):
        people = [pair for pair in pairs if photos.suits(kind, pair[1])]
        if len(people) < kind.faces[0]:
            print(f"no photos of the kind {name}: none of the faces suits it", file=sys.stderr)
            continue
        for at in range(count):
            rng = np.random.default_rng([seed, number, at])
            crowd = rng.permutation(len(people))[: int(rng.integers(kind.faces[0], kind.faces[1] + 1))]
            background = backgrounds[int(rng.integers(len(backgrounds)))]
            photo = photos.compose(kind, [people[i] for i in crowd], background, rng)
            other = photo.bare if photo.face.any() else np.ones_like(photo.face)
            place = Composed(out / "photos" / name, f"{at:03}", photo.picture, photo.person, other)
            place.write(np.uint8(FOREGROUND) * photo.face)


@dataclass(frozen=True)
class Composed:
    """A composed picture, uint8 (H, W, 3) RGB, with where people are and what is no face, bool (H, W)."""

    folder: Path
    name: str
    picture: np.ndarray
    person: np.ndarray
    other: np.ndarray

    def write(self, mask: np.ndarray, labels: LabelSet | None = None) -> None:
        """Into images/, masks/, person/ and other/; `mask` is uint8 (H, W)."""
        images.write_rgb(self.folder / "images" / f"{self.name}.jpg", self.picture)
        images.write_mask(self.folder / "masks" / f"{self.name}.png", mask, labels)
        for part, there in (("person", self.person), ("other", self.other)):
            images.write_mask(self.folder / part / f"{self.name}.png", np.uint8(FOREGROUND) * there)


def share_called_face(others: Path, predicted: Path) -> tuple[float, float, float]:
    """Pooled over all pictures: of the pixels of `others`, 0/255 masks, those that the masks in `predicted` call it.

    Then the lower and upper end of its 95 % interval, of a bootstrap over the pictures.
    """
    counts = []
    for path in images.list_images(others):
        other, answer = images.read_mask(path) > 0, images.read_mask(predicted / path.name)
        if answer.any() and holds_ids(answer, path):
            raise ValueError(f"{predicted / path.name}: class ids; ask for the face: test.py --labels face")
        called = np.count_nonzero(other & (answer > 127))
        counts.append((called, np.count_nonzero(other)))
    (called, total), sums = np.sum(counts, axis=0), metrics.resampled(np.array(counts))
    low, high = metrics.interval(sums[:, 0] / np.maximum(sums[:, 1], 1))
    return float(called / max(total, 1)), float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
