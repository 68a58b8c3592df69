"""Batches for training, each with its share of hands, and pictures for validation."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from faceparse.data.cache import Decoded, PictureCache
from faceparse.data.folder import Pair, TrainingData, to_ids
from faceparse.distributed import Ranks
from faceparse.images import covering, read_pair
from faceparse.labels import CELEBAMASK, FOREGROUND, IGNORE, LabelSet, face_of
from faceparse.occlusion import cover_with_rectangle, cover_with_shape, cover_with_thing, shrink_onto
from faceparse.transforms import Augment, Preprocess, letterbox
from hand_generator import RECOLOUR_CHANCE
from hand_generator.paste import paste_natural


@dataclass(frozen=True)
class Draw:
    """One place in a batch: which picture, whether it shows a hand, and the seed of everything random about it."""

    index: int
    hand: bool
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Wild:
    """How often a training picture becomes one from outside an aligned crop; probabilities per picture."""

    shapes: float = 0.0
    rectangles: float = 0.0
    things: float = 0.0
    backgrounds: float = 0.0
    nobody: float = 0.0
    recolour: float = RECOLOUR_CHANCE
    """Of the hands pasted on the fly."""


Change = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""(picture, mask as stored, where the face is, random generator) -> picture and mask, changed."""


class TrainingFaces(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pairs: float32 (3, size, size) normalised and int64 (size, size) ids of `labels`.

    With `soft_targets`, for two classes, float32 (size, size) in 0..1 instead: the foreground's share of each pixel.
    A draw with a hand takes a picture out of `with_hands`, or pastes one of `hands` over a face on the fly. The result
    depends on the draw alone, not on which worker makes it, nor on what `cache`, of the pictures of `data.training` and
    then those of `data.with_hands`, spares it to decode.
    """

    def __init__(
        self,
        data: TrainingData,
        labels: LabelSet,
        augment: Augment,
        preprocess: Preprocess,
        wild: Wild = Wild(),
        soft_targets: bool = False,
        cache: PictureCache | None = None,
    ):
        self.data, self.labels, self.augment, self.preprocess, self.wild = data, labels, augment, preprocess, wild
        self.soft_targets, self.cache = soft_targets, cache

    def __len__(self) -> int:
        return len(self.data.training)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(draw.seed)
        ready_made = draw.hand and self.data.with_hands
        pair = (self.data.with_hands if ready_made else self.data.training)[draw.index]
        changes: list[Change] = [self._add_hand] if draw.hand and not ready_made else []
        changes += [cover_with_shape] if rng.random() < self.wild.shapes else []
        changes += [cover_with_rectangle] if rng.random() < self.wild.rectangles else []
        changes += [cover_with_thing] if self.wild.things and rng.random() < self.wild.things else []
        shrunk = rng.random() < self.wild.backgrounds
        nobody = self.wild.nobody > 0 and rng.random() < self.wild.nobody
        read = partial(self._read, pair)
        number = draw.index + (len(self.data.training) if ready_made else 0)
        image, mask = self.cache.get(number, read) if self.cache else read()
        person = None if pair.binary or ready_made else mask > 0  # before anything is laid over them
        changes += [partial(self._add_background, person)] if shrunk else []
        changes += [self._show_nobody] if nobody else []
        for change in changes:
            image, mask = change(image, mask, self._face(pair, mask), rng)
        target = mask if self.soft_targets else to_ids(mask, self.labels, pair.binary)
        image, target = self.augment(image, target, self.labels, rng, self.soft_targets)
        values = torch.from_numpy(target)
        return self.preprocess.normalise(image), values.float() / FOREGROUND if self.soft_targets else values.long()

    def _read(self, pair: Pair) -> Decoded:
        return self.augment.shrink(*read_pair(pair.image, pair.mask), self.soft_targets)

    def _face(self, pair: Pair, mask: np.ndarray) -> np.ndarray:
        """Where the face is, bool (H, W); with classes of one's own, wherever there is one."""
        if not pair.binary and CELEBAMASK not in (self.labels, self.labels.source):
            return (mask > 0) & (mask != IGNORE)
        return face_of(mask, not pair.binary)

    def _add_hand(
        self, image: np.ndarray, mask: np.ndarray, face: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unchanged where there is no face."""
        if not face.any():
            return image, mask
        hand = self.data.hands[int(rng.integers(len(self.data.hands)))]
        pasted = paste_natural(image, mask, hand, rng, face=face, recolour=self.wild.recolour)
        return pasted.image, pasted.mask

    def _add_background(
        self,
        person: np.ndarray | None,
        image: np.ndarray,
        mask: np.ndarray,
        face: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Half of the time the whole picture, half of the time the `person` cut out of it, where that is known."""
        background = self._background(rng)
        shown = person if person is not None and rng.random() < 0.5 else np.ones(mask.shape, bool)
        return shrink_onto(background, image, mask, face, shown, rng)

    def _show_nobody(
        self, image: np.ndarray, mask: np.ndarray, face: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return covering(self._background(rng), mask.shape), np.zeros_like(mask)

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        return self.data.backgrounds[int(rng.integers(len(self.data.backgrounds)))]


class ValidationFaces(Dataset[tuple[Tensor, Tensor]]):
    """Unchanged pairs fitted into size x size; what pads them is ignored by the scores."""

    def __init__(self, pairs: Sequence[Pair], labels: LabelSet, preprocess: Preprocess):
        self.pairs, self.labels, self.preprocess = pairs, labels, preprocess

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, ids = letterbox(*self.pairs[index].read(self.labels), self.preprocess.size, IGNORE)
        return self.preprocess.normalise(image), torch.from_numpy(ids).long()


def one_thread() -> None:
    """Keep OpenCV to one thread in this process: workers are the parallelism, and a forked thread pool would hang."""
    cv2.setNumThreads(0)


def settle_worker(_number: int) -> None:
    """Prepare a DataLoader's worker; Ctrl-C is for the parent, which stops its workers."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class BatchesWithHands(Sampler[list[Draw]]):
    """Every batch holds `hands` draws with a hand; the others go through the shuffled faces once an epoch.

    `with_hands` is the number of ready-made pictures with hands, of which a batch then holds fewer than `batch_size`; 0
    means that hands are pasted over the batch's own faces. An epoch is as long with `repeats`, float (faces,), which
    say how often each face is drawn in proportion to the others (by default once); fractions are drawn by chance.
    """

    def __init__(
        self, faces: int, with_hands: int, batch_size: int, hands: int, seed: int, repeats: np.ndarray | None = None
    ):
        self.faces, self.with_hands, self.hands, self.seed = faces, with_hands, hands, seed
        self.repeats = np.ones(faces) if repeats is None else repeats
        self.faces_a_batch = batch_size - (hands if with_hands else 0)
        if self.faces_a_batch < 1:
            raise ValueError(
                f"a batch of {batch_size} with {hands} ready-made hands has no face without; take more or fewer"
            )
        self.epoch, self.first = 0, 0  # which pass, and at which of its batches it begins

    def __len__(self) -> int:
        return max(1, self.faces // self.faces_a_batch)

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        chance = np.random.default_rng([self.seed, self.epoch, 1]).random(self.faces)
        order = rng.permutation(np.repeat(np.arange(self.faces), (self.repeats + chance).astype(int)))
        hands = rng.integers(max(1, self.with_hands), size=(len(self), self.hands))  # all, wherever the pass begins
        for step in range(self.first, len(self)):
            chosen = np.resize(order[step * self.faces_a_batch :], self.faces_a_batch)
            indices = [(int(i), False) for i in chosen]
            if self.with_hands:
                indices += [(int(i), True) for i in hands[step]]
            else:
                indices[: self.hands] = [(i, True) for i, _ in indices[: self.hands]]
            yield [Draw(i, hand, (self.seed, self.epoch, step, place)) for place, (i, hand) in enumerate(indices)]


class ShareOfBatches(Sampler[list[Draw]]):
    """This rank's part of each batch, as many draws as every other rank's: `batches`' size is theirs together."""

    def __init__(self, batches: BatchesWithHands, ranks: Ranks):
        self.batches, self.ranks = batches, ranks

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return (batch[self.ranks.share(len(batch))] for batch in self.batches)
