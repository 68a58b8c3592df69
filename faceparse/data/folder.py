"""Folders of pictures and masks as training data: pairing, checking, splitting; and folders of hands."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from faceparse import images
from faceparse.data.splits import read_split
from faceparse.labels import FOREGROUND, IGNORE, JPEG_SUFFIXES, LabelSet, holds_ids
from hand_generator.hands import pairs_in, read_hands
from hand_generator.paste import Hand

CHECKED = ".checked.json"
"""File in a folder of masks that remembers which were found sound; hidden, so that it is no mask to anyone."""

BACKGROUND_SIDE = 1024
"""Longer side, in pixels, of the backgrounds that a training keeps in memory (2.4 MB a photo)."""


@dataclass(frozen=True)
class Pair:
    """A picture, its mask, whether the mask is 0/255 (else it holds class ids), and which classes it shows.

    `classes` are ids of the label set that it was found for, without background and `IGNORE`.
    """

    image: Path
    mask: Path
    binary: bool
    classes: frozenset[int]

    def read(self, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (H, W, 3) RGB and uint8 (H, W) ids of `labels`, at the mask's size."""
        image, mask = images.read_pair(self.image, self.mask)
        return image, to_ids(mask, labels, self.binary)


@dataclass(frozen=True)
class TrainingData:
    """What a training reads: faces, validation faces, ready-made faces with hands, hands to paste, backgrounds.

    The backgrounds are uint8 (H, W, 3) RGB.
    """

    training: Sequence[Pair]
    validation: Sequence[Pair]
    with_hands: Sequence[Pair] = ()
    hands: Sequence[Hand] = ()
    backgrounds: Sequence[np.ndarray] = ()

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}


def to_ids(mask: np.ndarray, labels: LabelSet, binary: bool) -> np.ndarray:
    """Stored mask values -> ids of `labels`: 0/255 is cut at 127, ids go through the set's table."""
    return (mask > 127).astype(np.uint8) if binary else labels.table[mask]


def is_binary(path: Path, mask: np.ndarray, labels: LabelSet) -> bool:
    """Whether a mask is 0/255 rather than class ids; ValueError names a mask that `labels` can't be read from.

    Greys between 0 and 255 are soft edges where they can't be ids: in a two-class set that is made of no other.
    """
    if not holds_ids(mask, path):
        if labels.is_binary:
            return True
        raise ValueError(
            f"{path}: a 0/255 mask (or a JPEG) can't hold the {len(labels)} classes of {labels.name!r}; "
            "give PNGs of class ids"
        )
    known = labels.source or labels
    highest = highest_id(mask)
    if highest >= len(known):
        if labels.is_binary and labels.source is None and mask.max() > 127:
            return True
        mend = f"; a 0/{FOREGROUND} mask must hold nothing else: cut it at 127" if labels.is_binary else ""
        raise ValueError(
            f"{path}: class id {highest} is out of range; "
            f"{known.name!r} has ids 0 to {len(known) - 1} (and {IGNORE}, ignored){mend}"
        )
    return False


def highest_id(mask: np.ndarray) -> int:
    """The highest class id in a mask of ids, uint8 (H, W), `IGNORE` aside."""
    return int((mask * (mask != IGNORE)).max())


def two_kinds(binary: Path, ids: Path) -> str:
    """What is wrong with two masks of one set, of which one, not a JPEG, is 0/255 and the other holds class ids."""
    ignored = f"holds only 0 and {FOREGROUND}, which is foreground, but {IGNORE} is ignored beside class ids, as in"
    return f"{binary}: {ignored} {ids.name}; give masks of one kind"


def find_pairs(images_dir: Path, masks_dir: Path, labels: LabelSet, soft: bool = False) -> list[Pair]:
    """The checked pairs of two folders, in name order.

    All masks hold the foreground's share, 0 to 255, where they are said to be `soft`. Raises FileNotFoundError for
    empty folders, and ValueError for the first fault that `examine` finds and for masks that are all background.
    """
    pairs, faults = examine(images_dir, masks_dir, labels, soft)
    if faults:
        more = f" (the first of {len(faults)} faults; faceparse check-data lists them)" if len(faults) > 1 else ""
        raise ValueError(faults[0] + more)
    if not any(pair.classes for pair in pairs):
        wanted = ", ".join(labels.classes[1:])
        raise ValueError(f"{masks_dir}: no mask shows any of {wanted}; write masks of 0 and 1 as 0 and {FOREGROUND}")
    return pairs


def examine(images_dir: Path, masks_dir: Path, labels: LabelSet, soft: bool = False) -> tuple[list[Pair], list[str]]:
    """The sound pairs of two folders, in name order, and a sentence about every fault, which names the file.

    Faults are missing masks, files that can't be read, sizes that do not fit, ids out of range, 0/255 among class ids.
    Every mask is read, unless picture and mask are of the size and date that `CHECKED` in the folder of the masks
    remembers. Raises FileNotFoundError for empty folders.
    """
    pairs, lonely = images.pair_by_stem(images_dir, masks_dir)
    whole = masks_dir / CHECKED
    memory = {"format": 2, "labels": labels.name, "classes": list(labels.classes), "soft": soft}
    known = _remembered(whole, memory)

    def check(pair: tuple[Path, Path]) -> Any:
        image, mask_path = pair
        states = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in pair]
        if known.get(mask_path.name, [])[:2] == states:
            return known[mask_path.name]
        try:
            mask = images.read_mask(mask_path)
            factor = images.check_sizes(image, images.size_of(image), mask_path, mask.shape)
            binary = soft or is_binary(mask_path, mask, labels)
        except ValueError as error:
            return str(error)
        shown = np.flatnonzero(np.bincount(to_ids(mask, labels, binary).ravel())).tolist()
        of_foreground = [class_id for class_id in shown if class_id not in (0, IGNORE)]
        return [*states, factor, binary, of_foreground, not binary and bool(mask.any())]

    with ThreadPoolExecutor() as pool:
        found = list(tqdm(pool.map(check, pairs), f"checking {masks_dir.name}", len(pairs), unit="mask", leave=False))
    sound = {mask.name: answer for (_, mask), answer in zip(pairs, found, strict=True) if not isinstance(answer, str)}
    if sound != known:
        with suppress(OSError):  # a folder that can't be written to is checked anew every time
            images.write_json(whole, memory | {"masks": sound})
    faults = [f"{path}: no mask with this stem in {masks_dir}" for path in lonely]
    factors = [answer[2] for answer in sound.values()]
    usual = max(set(factors), key=factors.count, default=1)
    with_ids = next((masks_dir / name for name, answer in sound.items() if answer[5]), None)
    checked = []
    for (image, mask_path), answer in zip(pairs, found, strict=True):
        if isinstance(answer, str):
            faults.append(answer)
        elif answer[2] != usual:  # one odd size is a mistake; all masks at half size is how CelebAMask-HQ comes
            faults.append(
                f"{mask_path}: its picture {image} is {answer[2]} times as large, "
                f"the others are {usual} times as large; resize one"
            )
        elif with_ids and answer[3] and mask_path.suffix.lower() not in JPEG_SUFFIXES:
            faults.append(two_kinds(mask_path, with_ids))
        else:
            checked.append(Pair(image, mask_path, answer[3], frozenset(answer[4])))
    return checked, faults


def _remembered(path: Path, memory: dict[str, Any]) -> dict[str, list[Any]]:
    """Mask -> what was found, in a check of the same kind before; nothing where there was none."""
    try:
        before = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        alike = all(before[name] == value for name, value in memory.items())
        return before["masks"] if alike else {}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or somebody else's
        return {}


def of_these_faces(with_hands: Sequence[Pair], fahand_dir: Path, faces: Sequence[Pair]) -> list[Pair]:
    """The pictures with hands that show one of `faces`, as the generator's manifest says; all where there is none.

    So that no face of the validation or test part is trained on behind a hand.
    """
    manifest = fahand_dir / "manifest.csv"
    if not manifest.is_file():
        return list(with_hands)
    with manifest.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        shown = {row["number"]: Path(row["face"]).stem for row in csv.DictReader(file)}
    known = {pair.image.stem for pair in faces}
    kept = [pair for pair in with_hands if shown.get(pair.image.stem) in known]
    if not kept:
        raise ValueError(
            f"{manifest}: none of its faces is among the pictures to train on; run hand_generator on those"
        )
    return kept


def split_pairs(pairs: Sequence[Pair], split: Path | None, share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(training, validation) pairs.

    Without a file, or when it names no "val" rows, `share` of the pictures that may be trained on is drawn for
    validation, the same for the same seed; "test" rows and pictures that the file does not name are left out.
    """
    parts = read_split(split) if split else {pair.image.stem: "train" for pair in pairs}
    training = [pair for pair in pairs if parts.get(pair.image.stem) == "train"]
    validation = [pair for pair in pairs if parts.get(pair.image.stem) == "val"]
    if not validation and len(training) > 1:
        order = np.random.default_rng(seed).permutation(len(training))
        chosen = set(order[: max(1, round(share * len(training)))].tolist())
        validation = [pair for i, pair in enumerate(training) if i in chosen]
        training = [pair for i, pair in enumerate(training) if i not in chosen]
    if not training or not validation:
        raise ValueError(
            f"{split or 'the folder'}: {len(training)} pictures to train on and {len(validation)} to validate on; "
            "both need one"
        )
    return training, validation


def repeat_factors(pairs: Sequence[Pair], rare: float) -> np.ndarray:
    """How often each picture is drawn, at least 1, float64 (pairs,), so that classes of few pictures are seen more.

    A class that the share f of the pictures shows makes them sqrt(`rare` / f) times as likely, if f is under `rare`; of
    its classes a picture takes the rarest. Repeat factor sampling, Gupta et al. 2019 (https://arxiv.org/abs/1908.03195).
    """
    counts = Counter(class_id for pair in pairs for class_id in pair.classes)
    factor = {class_id: math.sqrt(rare * len(pairs) / count) for class_id, count in counts.items()}
    return np.array([max([1.0, *(factor[class_id] for class_id in pair.classes)]) for pair in pairs])


def find_hands(hands_dir: Path) -> list[Hand]:
    """The hands of a folder with images/ and masks/ of equal stems; with a split.csv in it, those of its True rows.

    Raises FileNotFoundError and ValueError naming what is missing or unfit.
    """
    pairs, faults = pairs_in(hands_dir / "images", hands_dir / "masks")
    if faults:
        raise ValueError(f"{faults[0]} ({len(faults)} hands have no partner)")
    if (hands_dir / "split.csv").exists():
        parts = read_split(hands_dir / "split.csv")
        pairs = [(image, mask) for image, mask in pairs if parts.get(image.stem) == "train"]
    hands = [hand for image, mask in pairs for hand in read_hands(image, mask)]
    if not hands:
        raise ValueError(f"{hands_dir}: no hand to paste")
    return hands


def read_backgrounds(folder: Path) -> list[np.ndarray]:
    """The pictures of a folder, uint8 (H, W, 3) RGB, large ones at `BACKGROUND_SIDE`.

    Raises FileNotFoundError and ValueError naming what is unfit.
    """
    pictures = map(images.read_rgb, images.list_images(folder))
    return [images.resize(x, images.fitted(x.shape, min(BACKGROUND_SIDE, max(x.shape[:2])))) for x in pictures]
