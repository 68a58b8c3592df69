"""From a picture to what a network reads, and the changes that a picture and its mask go through in training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from faceparse.images import fitted, resize
from faceparse.labels import LabelSet

MIN_SIDE = 32
"""Fewest pixels a side that an encoder of stride 32 can work on."""

MAX_SIZE = 1 << 12
"""Largest side, pixels, at which pictures may be seen: it is memory that a weights file or a flag asks for."""


@dataclass(frozen=True)
class Preprocess:
    """How a network wants its pictures: `size` px for the longer side; RGB in 0..1 minus `mean`, divided by `std`.

    Raises ValueError for a size outside 1..`MAX_SIZE`, and for values that pictures can't be brought to.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size {self.size}: pictures are seen at 1 to {MAX_SIZE} pixels; choose one of these")
        if not all(0.001 <= value <= 1000 for value in self.std):
            raise ValueError(f"pictures can't be divided by {self.std}")
        if not all(-1000 <= value <= 1000 for value in self.mean):  # what is no number is not between, either
            raise ValueError(f"{self.mean} can't be taken from pictures")

    def __call__(self, image: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) RGB -> float32 (3, h, w): aspect kept, the longer side `size`, no side under 32 pixels."""
        return self.normalise(resize(image, self.network_hw(image.shape[0], image.shape[1])))

    def network_hw(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) at which the network sees a picture of that size."""
        scale = self.size / max(height, width)
        return max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))

    def normalise(self, image: np.ndarray) -> Tensor:
        """uint8 (h, w, 3) RGB -> float32 (3, h, w)."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        levels = (torch.arange(256.0)[:, None] - mean * 255) / (std * 255)  # (256, 3), faster than arithmetic
        return torch.from_numpy(cv2.LUT(np.ascontiguousarray(image), levels.numpy()[None])).permute(2, 0, 1)

    def undo(self, pixels: Tensor) -> np.ndarray:
        """float32 (3, h, w) normalised -> uint8 (h, w, 3) RGB."""
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        return ((pixels.cpu() * std + mean) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def letterbox(image: np.ndarray, mask: np.ndarray, size: int, fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Both fitted into size x size from the upper left; the picture is padded with black, the mask with `fill`."""
    h, w = fitted(mask.shape, size)
    below_right = (0, size - h, 0, size - w, cv2.BORDER_CONSTANT)
    small = cv2.resize(mask, (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.copyMakeBorder(resize(image, (h, w)), *below_right), cv2.copyMakeBorder(small, *below_right, value=fill)


@dataclass(frozen=True)
class Augment:
    """Random changes of a training pair; every amount is the largest one, probabilities are per picture.

    The face keeps its upright pose within `rotation` degrees and appears `scale` times as large as a picture that is
    fitted to `size`. What comes in from beyond the border is a plain colour, background in the mask.
    """

    size: int
    flip: float = 0.5
    rotation: float = 25.0
    scale: tuple[float, float] = (0.6, 1.6)
    shift: float = 0.15
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    tint: float = 0.08
    grey: float = 0.05
    blur: float = 0.15
    jpeg: float = 0.15

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, labels: LabelSet, rng: np.random.Generator, soft: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (H, W, 3) RGB and uint8 (H, W) ids of `labels` -> the same, changed, at size x size.

        A `soft` mask holds the foreground's share of each pixel instead, 0 to 255, for two classes.
        """
        image, mask = self.move(image, mask, rng, soft)
        if rng.random() < self.flip:
            image, mask = flip(image, mask, labels)
        return self.recolour(image, rng), mask

    def shrink(self, image: np.ndarray, mask: np.ndarray, soft: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Halved as often as every zoom begins with: a large photo holds no more than training can use.

        Takes and returns what `__call__` takes; 512 pixels stay as they are where `size` is 256, 4000 become 500.
        """
        return _halved(image, mask, self.size / max(mask.shape) * self.scale[1], soft)[:2]

    def move(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, soft: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scale, turn and shift in one resampling: bilinear for the picture and a soft mask, nearest for ids."""
        low, high = np.log(self.scale)
        scale = self.size / max(mask.shape) * np.exp(rng.uniform(low, high))
        image, mask, scale = _halved(image, mask, scale, soft)
        height, width = mask.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-self.rotation, self.rotation), scale)
        # A picture that has become larger than the window may move until it just fills it; a smaller one stays inside.
        slack = (np.abs(np.array([width, height]) * scale - self.size)) / 2 + self.shift * self.size
        shift = self.size / 2 - np.array([width / 2, height / 2]) + rng.uniform(-1, 1, 2) * slack
        matrix[:, 2] = matrix[:, 2] + shift
        hw = (self.size, self.size)
        border = tuple(int(v) for v in rng.integers(0, 256, 3))
        return (
            cv2.warpAffine(image, matrix, hw, flags=cv2.INTER_LINEAR, borderValue=border),
            cv2.warpAffine(mask, matrix, hw, flags=cv2.INTER_LINEAR if soft else cv2.INTER_NEAREST, borderValue=0),
        )

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Brightness, contrast, saturation, tint; now and then grey, blurred or coded as a poor JPEG."""
        contrast, brightness = 1 + rng.uniform(-1, 1) * self.contrast, rng.uniform(-1, 1) * self.brightness * 128
        gains = contrast * (1 + rng.uniform(-1, 1, 3) * self.tint)
        levels = np.arange(256, dtype=np.float32)[:, None]
        curve = np.clip((levels - 128) * gains + 128 + brightness, 0, 255).astype(np.uint8)  # (256, 3)
        image = cv2.LUT(image, curve[None])
        saturation = 0.0 if rng.random() < self.grey else 1 + rng.uniform(-1, 1) * self.saturation
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
        if rng.random() < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.0))
        if rng.random() < self.jpeg:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return image


def _halved(image: np.ndarray, mask: np.ndarray, scale: float, soft: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Both averaged down by halves as far as `scale` asks for, and what is left of it: bilinear alone would alias."""
    height, width = mask.shape
    while scale < 0.6 and min(height, width) > 2 * MIN_SIDE:
        height, width, scale = height // 2, width // 2, scale * 2
    if (height, width) != mask.shape:
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA if soft else cv2.INTER_NEAREST_EXACT)
        image = resize(image, (height, width))
    return image, mask, scale


def flip(image: np.ndarray, mask: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Both mirrored left to right; classes that have a left and a right change names with it."""
    return np.ascontiguousarray(image[:, ::-1]), labels.mirror_table[mask[:, ::-1]]
