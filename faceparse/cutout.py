"""Cut-outs: a subject with soft edges in its own colours, alone or before another background; pure functions.

    probabilities (h, w) + picture (H, W, 3) -> alpha (H, W) -> cut-out (H, W, 4) -> picture (H, W, 3)

A pixel on a soft edge shows a mixture of subject and background. Laid over something else, the background in it is the
dark or bright halo of a poor cut-out; so the subject's own colour is worked out there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceparse.images import fitted, middle, read_rgb, resize

RADIUS = 4
"""Pixels at the network's size over which an edge of the mask looks for the picture's."""
SMOOTHNESS = 1e-3
"""How much contrast (variance of grey in 0..1) an edge of the picture has before the mask follows it."""
BACKGROUND, SUBJECT = 0.3, 0.9
"""Alpha up to the first is surely background, from the second on the subject: networks mark too much at their edges."""

COLOUR_SIDE, COLOUR_SIGMA = 128, 4.0
"""The longer side of the picture that colours around an edge are averaged in, and how far, in its pixels."""

BEHIND_PIXELS = 1 << 23
"""Pixels that a background is held at, at most, if it is blurred or made larger than it was: 100 MB as float32."""
BAND_PIXELS = 1 << 20
"""Pixels of a picture that are worked on at a time: what is made on the way stays small beside a large photo."""


def soft_alpha(picture: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Opacity of the subject, float32 (H, W) in 0..1, with edges that follow the picture's.

    `picture` is uint8 (H, W, 3) RGB, `probability` float32 (h, w), the subject's at the network's size. The fast guided
    filter (https://arxiv.org/abs/1505.00996): near each pixel alpha is taken for a linear function of brightness.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    size_wh = probability.shape[::-1]
    guide = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    mean, mean_p = _box(guide), _box(probability)
    slope = (_box(guide * probability) - mean * mean_p) / (_box(guide * guide) - mean * mean + SMOOTHNESS)
    offset = _box(mean_p - slope * mean) - BACKGROUND
    scale = 1 / (SUBJECT - BACKGROUND)  # here, where the planes are small
    slope, offset = _box(slope) * (scale / 255), offset * scale
    alpha = np.empty(grey.shape, np.float32)
    for rows in _bands(grey.shape):
        band = _enlarged(slope, grey.shape, rows) * grey[rows] + _enlarged(offset, grey.shape, rows)
        np.clip(band, 0, 1, out=alpha[rows])
    return alpha


def cut_out(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The subject alone: uint8 (H, W, 4) RGBA, alpha not multiplied in, black where it is 0.

    On soft edges the colour is the subject's, estimated from the sure pixels around (https://arxiv.org/abs/2006.14970).
    `picture` is uint8 (H, W, 3) RGB, `alpha` float32 (H, W) in 0..1.
    """
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    for rows, band in _cut_out_bands(picture, alpha):
        rgba[rows] = band
    return rgba


def _cut_out_bands(picture: np.ndarray, alpha: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """What `cut_out` answers, a band of rows at a time: the rows, and uint8 (rows, W, 4)."""
    shape = alpha.shape
    small_hw = fitted(shape, min(COLOUR_SIDE, max(shape)))
    small, weight = resize(picture, small_hw), cv2.resize(alpha, small_hw[::-1], interpolation=cv2.INTER_AREA)
    subject = _mean_where(small, weight**8, COLOUR_SIGMA)
    behind = _mean_where(small, (1 - weight) ** 8, COLOUR_SIGMA)
    for rows in _bands(shape):
        seen, a = picture[rows], alpha[rows]
        there = a > 0
        rgba = cv2.copyTo(cv2.merge([seen, cv2.convertScaleAbs(a, alpha=255)]), there.view(np.uint8))
        soft = np.flatnonzero(there & (a < 1))  # numbers of pixels: quicker than a mask
        if len(soft):
            a = a.reshape(-1, 1)[soft]
            fore, back = (_enlarged(plane, shape, rows).reshape(-1, 3)[soft] for plane in (subject, behind))
            own = fore + a * (seen.reshape(-1, 3)[soft] - a * fore - (1 - a) * back)
            rgba.reshape(-1, 4)[soft, :3] = np.clip(np.round(own), 0, 255)
        yield rows, rgba


def over(cutout: np.ndarray, background: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB: a cut-out, uint8 (H, W, 4) RGBA, laid over a background, uint8 (H, W, 3) RGB."""
    alpha = cutout[..., 3].astype(np.float32) / 255
    return cv2.blendLinear(cv2.cvtColor(cutout, cv2.COLOR_RGBA2RGB), background, alpha, 1 - alpha)


def _out_of_focus(picture: np.ndarray, alpha: np.ndarray, percent: float) -> np.ndarray:
    """The picture out of focus, without the subject's colours: float32 (h, w, 3), smaller; or the picture itself.

    `percent` is the blur's standard deviation in percent of the picture's longer side; 0 leaves the picture sharp.
    """
    sigma = max(alpha.shape) * percent / 100
    if sigma == 0:
        return picture
    scale = min(1.0, 4 / sigma, (BEHIND_PIXELS / alpha.size) ** 0.5)  # blurred is as good as small
    small_hw = max(1, round(alpha.shape[0] * scale)), max(1, round(alpha.shape[1] * scale))
    away = 1 - cv2.resize(alpha, small_hw[::-1], interpolation=cv2.INTER_AREA)
    return _mean_where(resize(picture, small_hw), away, sigma * scale)


class Background:
    """What a subject is laid over: `blur`, a colour `#rrggbb`, a picture file, or nothing, `transparent`.

    `blur` is the strength of the first, its standard deviation in percent of the picture's longer side, 0 for none.
    Raises ValueError for anything else.
    """

    def __init__(self, kind: str, blur: float = 2.0):
        self.kind, self.blur = kind, blur
        self._scene: np.ndarray | None = None
        self._fitted: tuple[tuple[int, ...], np.ndarray] | None = None  # for one size: a video asks for it every frame
        if re.fullmatch("#[0-9a-fA-F]{6}", kind):
            self._scene = np.array([[list(bytes.fromhex(kind[1:]))]], np.uint8)
        elif kind not in ("blur", "transparent"):
            if not Path(kind).is_file():
                raise ValueError(f"{kind}: no such background; give blur, transparent, #rrggbb or a picture file")
            self._scene = read_rgb(kind)

    @property
    def is_transparent(self) -> bool:
        """Whether the answer is a cut-out alone."""
        return self.kind == "transparent"

    def behind(self, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """The subject before this background: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA where it is transparent.

        `picture` is uint8 (H, W, 3) RGB, `alpha` float32 (H, W) in 0..1.
        """
        if self.is_transparent:
            return cut_out(picture, alpha)
        scene, view = self._behind(picture, alpha), np.empty_like(picture)
        for rows, cutout in _cut_out_bands(picture, alpha):
            view[rows] = over(cutout, cv2.convertScaleAbs(_enlarged(scene, alpha.shape, rows)))
        return view

    def _behind(self, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """What is laid behind, (h, w, 3) at the picture's size or smaller."""
        if self._scene is None:
            return _out_of_focus(picture, alpha, self.blur)
        held = self._fitted  # other threads may ask at other sizes meanwhile
        if held is None or held[0] != alpha.shape:
            part = middle(self._scene, (alpha.shape[0], alpha.shape[1]))
            is_held = alpha.size <= max(BEHIND_PIXELS, part[..., 0].size)
            held = self._fitted = alpha.shape, resize(part, (alpha.shape[0], alpha.shape[1])) if is_held else part
        return held[1]


def _box(plane: np.ndarray) -> np.ndarray:
    return cv2.blur(plane, (2 * RADIUS + 1, 2 * RADIUS + 1))


def _mean_where(picture: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """float32 (h, w, 3): the mean colour around each pixel of the pixels with weight, float32 (h, w)."""
    weight = np.maximum(weight, 1e-6)[..., None]  # where nothing near has any, the picture's own mean
    weighted = cv2.GaussianBlur(picture * weight, (0, 0), sigma)
    return weighted / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of a picture of shape (H, W), some at a time."""
    step = max(1, BAND_PIXELS // shape[1])
    return (slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step))


def _enlarged(plane: np.ndarray, hw: tuple[int, ...], rows: slice) -> np.ndarray:
    """These rows of (h, w) or (h, w, 3) at (H, W), bilinear."""
    if plane.shape[:2] == tuple(hw):
        return plane[rows]
    if rows == slice(0, hw[0]):
        return cv2.resize(plane, (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)
    last = plane.shape[0] - 1
    at = np.clip((np.arange(rows.start, rows.stop) + 0.5) * plane.shape[0] / hw[0] - 0.5, 0, last)
    low = at.astype(int)
    share = (at - low).astype(np.float32).reshape(-1, *[1] * (plane.ndim - 1))
    tall = plane[low] * (1 - share) + plane[np.minimum(low + 1, last)] * share
    return cv2.resize(tall, (hw[1], len(tall)), interpolation=cv2.INTER_LINEAR)
