"""From a picture to its mask, with any checkpoint.

    uint8 (H, W, 3) RGB -> float32 (3, h, w) -> logits (K, h, w) -> probabilities (K, h, w) -> (K, H, W) -> uint8 (H, W)

The network sees the picture small; its probabilities are brought to the picture's size and decided last. With `zoom`,
faces that are small in the picture are looked at again, each for itself.
"""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from faceparse import bundled, checkpoint, images
from faceparse.cutout import soft_alpha
from faceparse.devices import choose_device
from faceparse.folding import folded
from faceparse.labels import CELEBAMASK, FACE, FOREGROUND, PERSON, LabelSet, label_set
from faceparse.transforms import Preprocess
from faceparse.words import hint
from faceparse.zoom import Zoomed, joined, looks

BAND_VALUES = 1 << 22
"""Probabilities held at the picture's size at a time (16 MB): a 12000x9000 photo is decided in bands of rows."""

TILE = 256
"""Side of the squares, in the picture's pixels, in which the likeliest of many classes is looked for."""

TILES_PAY = 2
"""Masks of so many times the pixels of the network's map are decided in tiles; smaller ones are quicker in bands."""

ZOOMS = ("auto", "none")
"""Whether faces that are small in a picture are looked at again."""

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
"""What a predictor takes: a path, a Pillow image, or uint8 (H, W, 3) RGB, (H, W) grey or (H, W, 4) RGBA."""


class Predictor:
    """Answers uint8 masks of the same height and width for pictures of any size.

    A file is answered upright, as its EXIF entry turns it; a Pillow image as it lies, at its own height and width,
    though the network sees it upright too.

    A mask is 0 and 255 for a two-class label set, class ids of `labels` for any other. `answers` is a smaller set made
    of the model's classes, for instance the face out of all 19: its probabilities are the sums of its members'. `about`
    is what the weights file says of its training.

    `zoom` is "none", one look at the whole picture, or "auto": faces that are small in it are found and looked at
    again, each for itself; for the person it is one look all the same. `flip` averages what is seen with what is seen
    in the mirror. Raises ValueError for answers that the model's classes can't give, and for another zoom.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: LabelSet,
        preprocess: Preprocess,
        device: str | None = None,
        about: dict[str, str] | None = None,
        answers: LabelSet | None = None,
        zoom: str = "none",
        flip: bool = False,
    ):
        if zoom not in ZOOMS:
            raise ValueError(f"there is no zoom {zoom!r}; {hint(zoom, ZOOMS)}")
        self.device = choose_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()  # 1.7 times as fast on a CPU
        self.labels = answers or labels
        self.flip = flip
        members = self.labels.members_in(labels)
        self._planes = members[1:] if self.labels.is_binary else members
        self._faces = _faces_of(labels) if zoom == "auto" else []
        self._mirrored = labels.mirror_table[: len(labels)].tolist()
        self.preprocess = preprocess
        self.about = about or {}
        self._one_batch = threading.Lock()  # on a GPU: its memory has room for a batch, and MPS for one thread

    def __call__(self, picture: Picture) -> np.ndarray:
        """The mask, uint8 (H, W). Raises ValueError for what is no picture."""
        return self.predict_batch([picture])[0]

    def probabilities(self, picture: Picture) -> np.ndarray:
        """float32 in 0..1: (H, W), that of the foreground, for a two-class label set; (K, H, W) for any other."""
        image = as_rgb(picture)
        small = self.seen([image])[0]
        full = np.empty((len(self._planes), *image.shape[:2]), np.float32)
        for rows, band in _bands(small, image.shape[:2]):
            full[:, rows] = band
        return _as_given(picture, full[0] if self.labels.is_binary else full)

    def predict_batch(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """The mask of each picture; pictures that look alike in size to the network go through it together."""
        rgb = [as_rgb(picture) for picture in pictures]
        masks = [self.decided(small, image.shape[:2]) for small, image in zip(self.seen(rgb), rgb, strict=True)]
        return [_as_given(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]

    def seen(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray | Zoomed]:
        """What decides the mask of each picture, uint8 (H, W, 3) RGB: as `small`, and with `zoom` the faces besides."""
        if not self._faces:
            return [*self.small(pictures)]
        planes = [*self._planes, self._faces]
        return [
            Zoomed(answer[:-1], looks(picture, answer[-1], partial(self._look, planes=planes), self.preprocess.size))
            for picture, answer in zip(pictures, self._look(pictures, planes), strict=True)
        ]

    def small(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Probabilities at the network's size, float32 (C, h, w): the foreground's (C = 1), or those of all classes.

        Pictures are uint8 (H, W, 3) RGB, each seen as a whole.
        """
        return self._look(pictures, self._planes)

    @torch.inference_mode()
    def _look(self, pictures: Sequence[np.ndarray], planes: list[list[int]]) -> list[np.ndarray]:
        inputs = [self.preprocess(picture) for picture in pictures]
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, tensor in enumerate(inputs):
            alike[tensor.shape].append(index)
        answers: dict[int, np.ndarray] = {}
        for indices in alike.values():
            answers.update(zip(indices, self._ask(torch.stack([inputs[i] for i in indices]), planes), strict=True))
        return [answers[index] for index in range(len(inputs))]

    def _ask(self, batch: Tensor, planes: list[list[int]]) -> np.ndarray:  # (B, 3, h, w) -> (B, C, h, w)
        with nullcontext() if self.device.type == "cpu" else self._one_batch:
            return self._asked(batch, planes)

    def _asked(self, batch: Tensor, planes: list[list[int]]) -> np.ndarray:
        batch = batch.to(self.device, memory_format=torch.channels_last)
        p = self.model(batch).float().softmax(dim=1)
        if self.flip:
            mirrored = self.model(batch.flip(3)).float().softmax(dim=1)
            p = (p + mirrored.flip(3)[:, self._mirrored]) / 2
        if len(planes) < p.shape[1] or planes != [[k] for k in range(p.shape[1])]:
            p = torch.stack([p[:, ids].sum(dim=1) for ids in planes], dim=1)
        return p.cpu().numpy()

    def subject(self, small: np.ndarray) -> np.ndarray:
        """float32 (h, w) in 0..1: the probability of all but the background, out of what `small` answers."""
        return small[0] if self.labels.is_binary else 1 - small[0]

    def alpha(self, picture: np.ndarray, small: np.ndarray | Zoomed) -> np.ndarray:
        """Opacity of all but the background, float32 (H, W) in 0..1 with soft edges, out of what `small` or `seen` say.

        The picture is uint8 (H, W, 3) RGB.
        """
        if not isinstance(small, Zoomed):
            return soft_alpha(picture, self.subject(small))
        alpha = soft_alpha(picture, self.subject(small.whole))
        near = [
            replace(look, small=soft_alpha(picture[look.box.part], self.subject(look.small.astype(np.float32)))[None])
            for look in small.looks
        ]
        return joined(alpha[None], slice(0, len(picture)), near, len(picture))[0]

    def decided(self, small: np.ndarray | Zoomed, size_hw: tuple[int, int]) -> np.ndarray:
        """The mask, uint8 (H, W), out of what `small` says, at any size, or `seen`, at the picture's own."""
        if not (self.labels.is_binary or isinstance(small, Zoomed)) and _tiles_pay(small.shape[1:], size_hw):
            return _likeliest_at(small, size_hw)
        mask = np.empty(size_hw, np.uint8)
        for rows, band in _bands(small, size_hw):
            mask[rows] = (band[0] > 0.5) * np.uint8(FOREGROUND) if self.labels.is_binary else _likeliest(band)
        return mask


def load(
    path: str | os.PathLike[str] | None = None,
    device: str | None = None,
    labels: str | None = None,
    classes: Sequence[str] | None = None,
    zoom: str = "none",
    flip: bool = False,
) -> Predictor:
    """A predictor with the weights in `path`, or with an exported model.

    `path` may also be the name of bundled weights, "face", "celebamask" or "person"; None takes those that are best for
    the labels or classes asked for, and for the face where nothing is asked.

    `device` is a name such as "cpu" or "cuda:1"; None chooses the fastest that is there; ONNX models run on the CPU.
    `labels` names a smaller set that a 19-class checkpoint answers too, "face" or "hair"; `classes` are some of its
    classes, whose masks become one of 0 and 255. `zoom` and `flip` are a `Predictor`'s. Raises FileNotFoundError and
    ValueError, each naming the file, the device, the labels or the class, and OSError where ONNX Runtime is needed and
    missing.

    A TorchScript archive (.ts, .pt) is a program: load none that you would not run.
    """
    if labels is not None and classes is not None:
        raise ValueError("give either labels or classes")
    read = checkpoint.load_for_use(bundled.best_for(labels, classes) if path is None else path)
    if isinstance(read.model, checkpoint.OnnxModel):
        if device not in (None, "cpu"):
            raise ValueError(f"{path}: ONNX models run on the CPU, not on {device!r}; leave the device out")
        device = "cpu"
    answers = read.labels.of_classes(classes) if classes is not None else label_set(labels) if labels else None
    return Predictor(folded(read.model), read.labels, read.preprocess, device, read.about, answers, zoom, flip)


def as_rgb(picture: Picture) -> np.ndarray:
    """uint8 (H, W, 3) RGB, upright, of whatever a predictor takes; ValueError says what was expected and what came."""
    if isinstance(picture, str | os.PathLike):
        return images.read_rgb(picture)
    if isinstance(picture, Image.Image):
        return images.to_rgb(picture)
    if not isinstance(picture, np.ndarray):
        got = type(picture).__name__
    elif picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
        got = f"a {picture.dtype} array of shape {picture.shape}"
    elif picture.size == 0:
        got = f"an empty array of shape {picture.shape}"
    else:
        return picture if picture.shape[2:] == (3,) else images.to_rgb(Image.fromarray(picture))
    raise ValueError(
        f"expected a path, a Pillow image or a uint8 array (H, W, 3) RGB, (H, W) grey or (H, W, 4) RGBA, got {got}"
    )


def _as_given(picture: Picture, answer: np.ndarray) -> np.ndarray:
    """(..., H, W) of the upright picture as a caller can lay it over the picture handed in."""
    return images.as_stored(answer, picture) if isinstance(picture, Image.Image) else answer


def _faces_of(labels: LabelSet) -> list[int]:
    """The classes that show where to look again; none for people, who fill a picture as they are.

    Of 19 they are the face's: hair and clothes reach as far as they like, and faces are what pictures were framed by.
    """
    if labels.classes == PERSON.classes:
        return []
    return FACE.members_in(labels)[1] if labels.classes == CELEBAMASK.classes else list(range(1, len(labels)))


def _bands(small: np.ndarray | Zoomed, size_hw: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Probabilities (C, h, w) at (H, W), a band of rows at a time: the rows, and float32 (C, rows, W).

    Bilinear resizing is separable: the rows are made first, while the map is still narrow, the columns band by band.
    """
    height, width = size_hw
    whole, faces = (small.whole, small.looks) if isinstance(small, Zoomed) else (small, ())
    tall = [_stretched(plane, height, plane.shape[1]) for plane in whole]
    step = max(1, BAND_VALUES // (len(tall) * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        band = np.stack([_stretched(plane[rows], rows.stop - rows.start, width) for plane in tall])
        yield rows, joined(band, rows, faces, height)


def _likeliest_at(small: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W): the class of the largest of float32 (K, h, w), which are bilinear in between; H >= h, W >= w.

    Tile by tile, of the classes alone that may be the largest there: in most tiles it is one, which needs no sums.
    """
    mask = np.empty(size_hw, np.uint8)
    columns = [_between(start, small.shape[2], size_hw[1]) for start in range(0, size_hw[1], TILE)]
    for top in range(0, size_hw[0], TILE):
        rows, down = _between(top, small.shape[1], size_hw[0])
        for left, (cols, across) in zip(range(0, size_hw[1], TILE), columns, strict=True):
            part = small[:, rows, cols]
            never = part.max(axis=(1, 2)) < part.min(axis=(1, 2)).max()  # of what is no number, none
            ids = np.flatnonzero(~never)
            tile = mask[top : top + TILE, left : left + TILE]
            tile[:] = ids[0] if len(ids) == 1 else ids[_likeliest(down @ part[ids] @ across.T)]
    return mask


def _between(start: int, small: int, full: int) -> tuple[slice, np.ndarray]:
    """Of `small` values spread over `full` places, those around the tile at `start`; their shares, float32 (n, k)."""
    places = np.arange(start, min(start + TILE, full))
    at = np.clip((places + 0.5) * small / full - 0.5, 0, small - 1)
    low = at.astype(int)
    high = np.minimum(low + 1, small - 1)
    shares = np.zeros((len(places), high[-1] + 1 - low[0]), np.float32)
    each = np.arange(len(places))
    shares[each, high - low[0]] = at - low
    shares[each, low - low[0]] += 1 - (at - low)
    return slice(low[0], high[-1] + 1), shares


def _likeliest(band: np.ndarray) -> np.ndarray:
    """uint8 (rows, W): the class of the largest of float32 (K, rows, W), in a sixth of the time of `argmax(axis=0)`."""
    largest, ids = band[0].copy(), np.zeros(band.shape[1:], np.uint8)
    for class_id, plane in enumerate(band[1:], 1):
        np.maximum(ids, (plane > largest) * np.uint8(class_id), out=ids)
        np.maximum(largest, plane, out=largest)
    return ids


def _stretched(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 (h, w) -> (height, width): averaged where it shrinks, bilinear where it grows."""
    by = cv2.INTER_AREA if _shrinks(plane.shape, (height, width)) else cv2.INTER_LINEAR
    return cv2.resize(plane, (width, height), interpolation=by)


def _tiles_pay(hw: Sequence[int], to_hw: Sequence[int]) -> bool:
    return not _shrinks(hw, to_hw) and math.prod(to_hw) >= TILES_PAY * math.prod(hw)


def _shrinks(hw: Sequence[int], to_hw: Sequence[int]) -> bool:
    return to_hw[0] < hw[0] or to_hw[1] < hw[1]
