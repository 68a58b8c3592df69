"""Folders of pictures and masks as training data: pairing, checking, splitting, batches with their share of hands."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from faceparse import images
from faceparse.labels import FACE, FOREGROUND, IGNORE, LabelSet
from faceparse.transforms import Augment, Preprocess, letterbox
from hand_generator.hands import pairs_in, read_hands
from hand_generator.paste import Hand, paste_natural

JPEG_SUFFIXES = (".jpg", ".jpeg")
SPLIT_WORDS = {"true": "train", "train": "train", "val": "val", "false": "test", "test": "test"}
"""What the second column of a split file may say: True and False are the words of the published ones."""


@dataclass(frozen=True)
class Pair:
    """A picture, its mask, and whether the mask is 0/255 (else it holds class ids)."""

    image: Path
    mask: Path
    binary: bool

    def read(self, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (H, W, 3) RGB and uint8 (H, W) ids of `labels`, at the mask's size."""
        image, mask = images.read_pair(self.image, self.mask)
        return image, to_ids(mask, labels, self.binary)

    def read_with_hand(self, labels: LabelSet, hand: Hand, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, with a hand pasted over the face and background under it; unchanged where there is no face."""
        image, mask = images.read_pair(self.image, self.mask)
        face = FACE.table[mask] == 1 if not self.binary and (labels.source or labels) is FACE.source else mask > 127
        if face.any():
            pasted = paste_natural(image, mask, hand, rng, face=face)
            image, mask = pasted.image, pasted.mask
        return image, to_ids(mask, labels, self.binary)


@dataclass(frozen=True)
class TrainingData:
    """What a training reads: faces, validation faces, ready-made faces with hands, hands to paste."""

    training: Sequence[Pair]
    validation: Sequence[Pair]
    with_hands: Sequence[Pair] = ()
    hands: Sequence[Hand] = ()

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}


def to_ids(mask: np.ndarray, labels: LabelSet, binary: bool) -> np.ndarray:
    """Stored mask values -> ids of `labels`: 0/255 is cut at 127, ids go through the set's table."""
    return (mask > 127).astype(np.uint8) if binary else labels.table[mask]


def is_binary(path: Path, mask: np.ndarray, labels: LabelSet) -> bool:
    """Whether a mask is 0/255 rather than class ids; ValueError names a mask that `labels` can't be read from."""
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    if path.suffix.lower() in JPEG_SUFFIXES or set(values) == {0, FOREGROUND} or set(values) == {FOREGROUND}:
        if labels.is_binary:
            return True
        raise ValueError(
            f"{path}: a 0/255 mask (or a JPEG) can't hold the {len(labels)} classes of {labels.name!r}; "
            "give PNGs of class ids"
        )
    known = labels.source or labels
    highest = max((int(v) for v in values if v != IGNORE), default=0)
    if highest >= len(known):
        raise ValueError(
            f"{path}: class id {highest} is out of range; "
            f"{known.name!r} has ids 0 to {len(known) - 1} (and {IGNORE}, ignored)"
        )
    return False


def find_pairs(images_dir: Path, masks_dir: Path, labels: LabelSet) -> list[Pair]:
    """The checked pairs of two folders, in name order.

    Every mask is read once. Raises FileNotFoundError for empty folders, ValueError for a missing mask, sizes that do
    not fit and ids out of range; the message names the file.
    """
    pairs, lonely = images.pair_by_stem(images_dir, masks_dir)
    if lonely:
        raise ValueError(
            f"{lonely[0]}: no mask with this stem in {masks_dir} "
            f"({len(lonely)} of {len(lonely) + len(pairs)} pictures have none)"
        )

    def check(pair: tuple[Path, Path]) -> tuple[int, Pair]:
        image, mask_path = pair
        mask = images.read_mask(mask_path)
        factor = images.check_sizes(image, images.size_of(image), mask_path, mask.shape)
        return factor, Pair(image, mask_path, is_binary(mask_path, mask, labels))

    with ThreadPoolExecutor() as pool:
        checked = list(tqdm(pool.map(check, pairs), f"checking {masks_dir.name}", len(pairs), unit="mask", leave=False))
    usual = max({factor for factor, _ in checked}, key=[factor for factor, _ in checked].count)
    for factor, pair in checked:
        if factor != usual:  # one odd size in a folder is a mistake; all masks at half size is how CelebAMask-HQ comes
            raise ValueError(
                f"{pair.mask}: its picture {pair.image} is {factor} times as large, "
                f"the others are {usual} times as large; resize one"
            )
    return [pair for _, pair in checked]


def read_split(path: Path) -> dict[str, str]:
    """Stem -> "train", "val" or "test" from CSV rows `name,True|False` or `name,train|val|test`."""
    parts = {}
    try:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if len(row) < 2 or row[1].strip().lower() not in SPLIT_WORDS:
                    if number == 1:
                        continue  # a heading
                    raise ValueError(f"{path}, line {number}: expected name,True or name,False, got {','.join(row)!r}")
                parts[Path(row[0].strip()).stem] = SPLIT_WORDS[row[1].strip().lower()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file of rows name,True|False") from error
    return parts


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


@dataclass(frozen=True)
class Draw:
    """One place in a batch: which picture, whether it shows a hand, and the seed of everything random about it."""

    index: int
    hand: bool
    seed: tuple[int, ...]


class TrainingFaces(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pairs: float32 (3, size, size) normalised and int64 (size, size) ids of `labels`.

    A draw with a hand takes a picture out of `with_hands`, or pastes one of `hands` over a face on the fly. The result
    depends on the draw alone, not on which worker makes it.
    """

    def __init__(self, data: TrainingData, labels: LabelSet, augment: Augment, preprocess: Preprocess):
        self.data, self.labels, self.augment, self.preprocess = data, labels, augment, preprocess

    def __len__(self) -> int:
        return len(self.data.training)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(draw.seed)
        if draw.hand and self.data.with_hands:
            image, ids = self.data.with_hands[draw.index].read(self.labels)
        elif draw.hand:
            hand = self.data.hands[int(rng.integers(len(self.data.hands)))]
            image, ids = self.data.training[draw.index].read_with_hand(self.labels, hand, rng)
        else:
            image, ids = self.data.training[draw.index].read(self.labels)
        image, ids = self.augment(image, ids, self.labels, rng)
        return self.preprocess.normalise(image), torch.from_numpy(ids).long()


class ValidationFaces(Dataset[tuple[Tensor, Tensor]]):
    """Unchanged pairs fitted into size x size; what pads them is ignored by the scores."""

    def __init__(self, pairs: Sequence[Pair], labels: LabelSet, preprocess: Preprocess):
        self.pairs, self.labels, self.preprocess = pairs, labels, preprocess

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, ids = letterbox(*self.pairs[index].read(self.labels), self.preprocess.size, IGNORE)
        return self.preprocess.normalise(image), torch.from_numpy(ids).long()


def one_thread(_worker: int = 0) -> None:
    """Keep OpenCV to one thread in this process: workers are the parallelism, and a forked thread pool would hang."""
    cv2.setNumThreads(0)


class BatchesWithHands(Sampler[list[Draw]]):
    """Every batch holds `hands` draws with a hand; the others go through the shuffled faces once an epoch.

    `with_hands` is the number of ready-made pictures with hands; 0 means that hands are pasted over the batch's faces.
    """

    def __init__(self, faces: int, with_hands: int, batch_size: int, hands: int, seed: int):
        self.faces, self.with_hands, self.batch_size, self.hands, self.seed = faces, with_hands, batch_size, hands, seed
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, self.faces // self._faces_a_batch)

    @property
    def _faces_a_batch(self) -> int:
        return max(1, self.batch_size - (self.hands if self.with_hands else 0))

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.faces)
        for step in range(len(self)):
            chosen = np.resize(order[step * self._faces_a_batch :], self._faces_a_batch)
            indices = [(int(i), False) for i in chosen]
            if self.with_hands:
                indices += [(int(i), True) for i in rng.integers(self.with_hands, size=self.hands)]
            else:
                indices[: self.hands] = [(i, True) for i, _ in indices[: self.hands]]
            yield [Draw(i, hand, (self.seed, self.epoch, step, place)) for place, (i, hand) in enumerate(indices)]
