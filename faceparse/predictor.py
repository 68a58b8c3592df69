"""From a picture to its mask, with any checkpoint.

    uint8 (H, W, 3) RGB -> float32 (3, h, w) -> logits (K, h, w) -> probabilities (K, h, w) -> (K, H, W) -> uint8 (H, W)

The network sees the picture small; its probabilities are brought to the picture's size and decided last.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from faceparse import bundled, checkpoint, images
from faceparse.devices import choose_device
from faceparse.folding import folded
from faceparse.labels import FOREGROUND, LabelSet, label_set
from faceparse.transforms import Preprocess

BAND_VALUES = 1 << 22
"""Probabilities held at the picture's size at a time (16 MB): a 12000x9000 photo is decided in bands of rows."""

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
"""What a predictor takes: a path, a Pillow image, or uint8 (H, W, 3) RGB, (H, W) grey or (H, W, 4) RGBA."""


class Predictor:
    """Answers uint8 masks of the same height and width for pictures of any size.

    A file is answered upright, as its EXIF entry turns it; a Pillow image as it lies, at its own height and width,
    though the network sees it upright too.

    A mask is 0 and 255 for a two-class label set, class ids of `labels` for any other. `answers` is a smaller set made
    of the model's classes, for instance the face out of all 19: its probabilities are the sums of its members'. `about`
    is what the weights file says of its training. Raises ValueError for answers that the model's classes can't give.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: LabelSet,
        preprocess: Preprocess,
        device: str | None = None,
        about: dict[str, str] | None = None,
        answers: LabelSet | None = None,
    ):
        self.device = choose_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()  # 1.7 times as fast on a CPU
        self.labels = answers or labels
        self._members = None if self.labels.classes == labels.classes else self.labels.members_in(labels)
        self.preprocess = preprocess
        self.about = about or {}

    def __call__(self, picture: Picture) -> np.ndarray:
        """The mask, uint8 (H, W). Raises ValueError for what is no picture."""
        return self.predict_batch([picture])[0]

    def probabilities(self, picture: Picture) -> np.ndarray:
        """float32 in 0..1: (H, W), that of the foreground, for a two-class label set; (K, H, W) for any other."""
        image = as_rgb(picture)
        small = self.small([image])[0]
        full = np.empty((len(small), *image.shape[:2]), np.float32)
        for rows, band in _bands(small, image.shape[:2]):
            full[:, rows] = band
        return _as_given(picture, full[0] if self.labels.is_binary else full)

    def predict_batch(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """The mask of each picture; pictures that look alike in size to the network go through it together."""
        rgb = [as_rgb(picture) for picture in pictures]
        masks = [self.decided(small, image.shape[:2]) for small, image in zip(self.small(rgb), rgb, strict=True)]
        return [_as_given(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]

    @torch.inference_mode()
    def small(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Probabilities at the network's size, float32 (C, h, w): the foreground's (C = 1), or those of all classes.

        Pictures are uint8 (H, W, 3) RGB.
        """
        inputs = [self.preprocess(picture) for picture in pictures]
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, tensor in enumerate(inputs):
            alike[tensor.shape].append(index)
        answers: dict[int, np.ndarray] = {}
        for indices in alike.values():
            answers.update(zip(indices, self._ask(torch.stack([inputs[i] for i in indices])), strict=True))
        return [answers[index] for index in range(len(inputs))]

    def _ask(self, batch: Tensor) -> np.ndarray:  # (B, 3, h, w) -> (B, C, h, w)
        logits = self.model(batch.to(self.device, memory_format=torch.channels_last))
        p = logits.float().softmax(dim=1)
        if self._members:
            p = torch.stack([p[:, ids].sum(dim=1) for ids in self._members], dim=1)
        return (p[:, 1:] if self.labels.is_binary else p).cpu().numpy()

    def subject(self, small: np.ndarray) -> np.ndarray:
        """float32 (h, w) in 0..1: the probability of all but the background, out of what `small` answers."""
        return small[0] if self.labels.is_binary else 1 - small[0]

    def decided(self, small: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """The mask, uint8 (H, W), at any size, out of what `small` answers."""
        mask = np.empty(size_hw, np.uint8)
        for rows, band in _bands(small, size_hw):
            mask[rows] = (band[0] > 0.5) * np.uint8(FOREGROUND) if self.labels.is_binary else _likeliest(band)
        return mask


def load(
    path: str | os.PathLike[str] | None = None,
    device: str | None = None,
    labels: str | None = None,
    classes: Sequence[str] | None = None,
) -> Predictor:
    """A predictor with the weights in `path`, or with an exported model.

    `path` may also be the name of bundled weights, "face", "celebamask" or "person"; None takes those that are best for
    the labels or classes asked for, and for the face where nothing is asked.

    `device` is a name such as "cpu" or "cuda:1"; None chooses the fastest that is there; ONNX models run on the CPU.
    `labels` names a smaller set that a 19-class checkpoint answers too, "face" or "hair"; `classes` are some of its
    classes, whose masks become one of 0 and 255. Raises FileNotFoundError and ValueError, each naming the file, the
    device, the labels or the class, and OSError where ONNX Runtime is needed and missing.

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
    return Predictor(folded(read.model), read.labels, read.preprocess, device, read.about, answers)


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


def _bands(small: np.ndarray, size_hw: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Probabilities (C, h, w) at (H, W), a band of rows at a time: the rows, and float32 (C, rows, W).

    Bilinear resizing is separable: the rows are made first, while the map is still narrow, the columns band by band.
    """
    height, width = size_hw
    tall = [_stretched(plane, height, plane.shape[1]) for plane in small]
    step = max(1, BAND_VALUES // (len(tall) * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        yield rows, np.stack([_stretched(plane[rows], rows.stop - rows.start, width) for plane in tall])


def _likeliest(band: np.ndarray) -> np.ndarray:
    """uint8 (rows, W): the class of the largest of float32 (K, rows, W), in a sixth of the time of `argmax(axis=0)`."""
    largest, ids = band[0].copy(), np.zeros(band.shape[1:], np.uint8)
    for class_id, plane in enumerate(band[1:], 1):
        np.maximum(ids, (plane > largest) * np.uint8(class_id), out=ids)
        np.maximum(largest, plane, out=largest)
    return ids


def _stretched(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 (h, w) -> (height, width): averaged where it shrinks, bilinear where it grows."""
    shrinks = height < plane.shape[0] or width < plane.shape[1]
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
