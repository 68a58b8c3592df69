"""Hands over faces, as pure functions of arrays and a random generator: resize, turn, place, match colour, blend.

Pictures are uint8 (H, W, 3) RGB. Angles are degrees, counter-clockwise. `paste_natural` follows the occluders of Voo et
al. 2022 (https://arxiv.org/abs/2205.06218): sized and coloured by the face, feathered in the picture, hard in the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from hand_generator import RECOLOUR_CHANCE

PLAIN_SHARE = 0.5
"""Plain style: longer side of the turned hand, as a share of the picture's shorter side."""

AREA_RANGE = (0.35, 1.0)
"""Natural style: area of the hand, as a share of the face's area."""

COVER_RANGE = (0.05, 0.70)
"""Natural style: share of the face that the hand may hide."""

TURN = 45.0
"""Natural style: a given angle is changed by up to this many degrees, so that four right angles make every angle."""

_SIZES, _PLACES = 4, 8  # tries before the place nearest to the wanted cover is taken


@dataclass(frozen=True)
class Hand:
    """A crop: `image` uint8 (h, w, 3) RGB, `mask` bool (h, w), True where the hand is; `name` for the manifest."""

    image: np.ndarray
    mask: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class Pasted:
    """A face with a hand over it.

    `image` uint8 (H, W, 3) RGB; `mask` uint8 (H, W), the given mask with 0 under the hand; `hand` bool (H, W), where
    the hand is. `angle` in degrees; `scale` turns pixels of the hand's crop into the picture's; `x`, `y` are the left
    upper corner of the turned crop, without its empty margins, in the picture, negative where it reaches beyond.
    """

    image: np.ndarray
    mask: np.ndarray
    hand: np.ndarray
    angle: float
    scale: float
    x: int
    y: int


@dataclass(frozen=True)
class _Place:
    """Where a hand goes: its turned `outline`, bool (h, w), and how it got there, as in `Pasted`."""

    outline: np.ndarray
    angle: float
    scale: float
    x: int
    y: int


def paste_plain(
    image: np.ndarray,
    mask: np.ndarray,
    hand: Hand,
    rng: np.random.Generator,
    angle: float = 0.0,
    face: np.ndarray | None = None,
) -> Pasted:
    """The hand turned by `angle`, at a fixed share of the picture, anywhere inside it, with a hard edge.

    `image` uint8 (H, W, 3) RGB, `mask` uint8 (H, W) of 0/255 or ids. `face`, bool (H, W), is where the face is (None:
    where the mask is not 0); here it only has to hold a pixel. ValueError for an empty hand and a face-less mask.
    """
    _face_of(mask, face)
    hand = _tight(hand)
    scale = PLAIN_SHARE * min(mask.shape) / max(_turned(_alpha(hand.mask), angle).shape)
    resized = _resized(hand, scale)
    outline = _outline(resized, angle)
    room = np.maximum(np.subtract(mask.shape, outline.shape), 0)
    y, x = (int(value) for value in rng.integers(0, room + 1))
    colours = cv2.copyTo(_turned(resized.image, angle, border=cv2.BORDER_REPLICATE), _alpha(outline))
    return _blended(image, mask, colours, _alpha(outline), _Place(outline, angle, scale, x, y))


def paste_natural(
    image: np.ndarray,
    mask: np.ndarray,
    hand: Hand,
    rng: np.random.Generator,
    angle: float | None = None,
    face: np.ndarray | None = None,
    recolour: float = RECOLOUR_CHANCE,
) -> Pasted:
    """The hand at the face's size, over a part of the face, often in its colour, with a soft edge.

    `image` uint8 (H, W, 3) RGB, `mask` uint8 (H, W) of 0/255 or ids. `face`, bool (H, W), is where the face is (None:
    where the mask is not 0). `angle` None means any; a given one is changed by up to `TURN` degrees. The hand hides a
    share of the face within `COVER_RANGE` where the face has enough pixels. `recolour` is the chance that its colours
    are moved toward those of the face. ValueError for an empty hand and a face-less mask.
    """
    face = _face_of(mask, face)
    hand = _tight(hand)
    angle = float(rng.uniform(0, 360) if angle is None else (angle + rng.uniform(-TURN, TURN)) % 360)
    hand, place = _placed(hand, face, angle, rng)
    # Eroded by a pixel, so that the feather that turning and blurring add stays at the outline.
    alpha = cv2.erode(_alpha(hand.mask), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    colours = _recoloured(_without_fringe(hand, place.scale), image, face, rng, recolour)
    sigma = _matching_blur(colours, alpha, image, face)
    # Premultiplied by alpha, so that neither turning nor blurring mixes the hand's old background into its edge.
    layer = _turned(cv2.merge([cv2.copyTo(colours, alpha), alpha]), angle)
    layer = cv2.GaussianBlur(layer, (5, 5), sigma, borderType=cv2.BORDER_CONSTANT)
    return _blended(image, mask, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), cv2.extractChannel(layer, 3), place)


STYLES: dict[str, Callable[..., Pasted]] = {"natural": paste_natural, "plain": paste_plain}
"""Style -> function (image, mask, hand, rng, angle, face) -> `Pasted`."""


def _face_of(mask: np.ndarray, face: np.ndarray | None) -> np.ndarray:
    """Where the face is, bool (H, W); ValueError when it is nowhere."""
    face = mask > 0 if face is None else face
    if not face.any():
        raise ValueError("the mask holds no face pixel, so there is no face to put a hand on")
    return face


def _alpha(mask: np.ndarray) -> np.ndarray:
    """uint8 (h, w), 0 and 255, from bool."""
    return mask.view(np.uint8) * np.uint8(255)


def _tight(hand: Hand) -> Hand:
    """The crop without its empty margins; ValueError when there is no hand in it."""
    x, y, width, height = cv2.boundingRect(hand.mask.view(np.uint8))
    if width == 0:
        raise ValueError(f"hand {hand.name!r} has an empty mask, so there is nothing to paste")
    window = np.s_[y : y + height, x : x + width]
    return Hand(hand.image[window], hand.mask[window], hand.name)


def _resized(hand: Hand, scale: float) -> Hand:
    """The crop at `scale` times its size, one pixel at least, its mask decided at one half."""
    height, width = hand.mask.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR  # which skips pixels below one half
    alpha = cv2.resize(_alpha(hand.mask), size, interpolation=method)
    return Hand(cv2.resize(hand.image, size, interpolation=method), alpha >= min(128, alpha.max()), hand.name)


def _turned(array: np.ndarray, angle: float, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """The array turned about its middle, in a frame that holds all of it; beyond its edge: 0, or as `border`."""
    height, width = array.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = max(1, round(width * cosine + height * sine)), max(1, round(width * sine + height * cosine))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(array, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)


def _outline(hand: Hand, angle: float) -> np.ndarray:
    """Where the turned hand is, bool (h, w); never empty."""
    turned = _turned(_alpha(hand.mask), angle)
    return turned >= min(128, turned.max())


def _placed(hand: Hand, face: np.ndarray, angle: float, rng: np.random.Generator) -> tuple[Hand, _Place]:
    """The hand at a random size, and a place for it over a part of the face.

    A random pixel of the hand falls on a random pixel of the face. The first try that hides a share within
    `COVER_RANGE` is taken, else the one that comes nearest.
    """
    face_pixels, hand_area = np.flatnonzero(face), np.count_nonzero(hand.mask)
    nearest: tuple[float, Hand, _Place] | None = None
    for _ in range(_SIZES):
        scale = float(np.sqrt(rng.uniform(*AREA_RANGE) * len(face_pixels) / hand_area))
        resized = _resized(hand, scale)
        outline = _outline(resized, angle)
        corners = _corners(face_pixels, face.shape[1], np.flatnonzero(outline), outline.shape[1], rng)
        for x, y in corners:
            there, here = _windows(face.shape, outline.shape, x, y)
            cover = np.count_nonzero(face[there] & outline[here]) / len(face_pixels)
            miss = max(COVER_RANGE[0] - cover, cover - COVER_RANGE[1], 0.0)
            if nearest is None or miss < nearest[0]:
                nearest = miss, resized, _Place(outline, angle, scale, x, y)
            if miss == 0:
                return nearest[1:]
    assert nearest is not None
    return nearest[1:]


def _corners(
    face_pixels: np.ndarray, face_width: int, hand_pixels: np.ndarray, hand_width: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """`_PLACES` left upper corners (x, y) that lay a random hand pixel on a random face pixel (flat indices)."""
    face_y, face_x = np.divmod(rng.choice(face_pixels, _PLACES), face_width)
    hand_y, hand_x = np.divmod(rng.choice(hand_pixels, _PLACES), hand_width)
    return list(zip((face_x - hand_x).tolist(), (face_y - hand_y).tolist(), strict=True))


def _windows(
    picture_hw: tuple[int, ...], crop_hw: tuple[int, ...], x: int, y: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture that a crop at (x, y) lies over, and the same part in the crop."""
    (height, width), (crop_height, crop_width) = picture_hw, crop_hw
    top, left, bottom, right = max(0, y), max(0, x), min(height, y + crop_height), min(width, x + crop_width)
    return np.s_[top:bottom, left:right], np.s_[top - y : bottom - y, left - x : right - x]


def _without_fringe(hand: Hand, scale: float) -> Hand:
    """The crop with the colours along its outline, where its old background shines in, taken from further inside."""
    reach = max(2, round(2 * scale))  # pixels: two of the crop, and two of the picture at least
    inner = cv2.erode(_alpha(hand.mask), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    window = 4 * reach + 1, 4 * reach + 1
    near, colours = cv2.blur(inner, window), cv2.blur(cv2.copyTo(hand.image, inner), window)
    known = cv2.divide(colours, cv2.merge([near, near, near]), scale=255)
    fringe = (near >= 32) & (inner == 0)  # with too little of the inside near, 8 bits do not hold its colour
    return Hand(cv2.copyTo(known, fringe.view(np.uint8), hand.image.copy()), hand.mask, hand.name)


def _recoloured(hand: Hand, image: np.ndarray, face: np.ndarray, rng: np.random.Generator, chance: float) -> np.ndarray:
    """The hand's picture a little lighter or darker, and by `chance` moved toward the colours of the face."""
    light, matched, amount = rng.uniform(0.88, 1.12), rng.random() < chance, rng.uniform(0.6, 1.0)
    mean, spread = _colour(hand.image, hand.mask)
    gain, target = 1.0, mean
    if matched:
        face_mean, face_spread = _colour(image, face)
        gain += amount * (np.clip(face_spread / max(spread, 1.0), 0.7, 1.4) - 1)
        target = mean + amount * (face_mean - mean)
    table = ((np.arange(256)[:, None] - mean) * gain + target) * light  # (256, 3), one column for each of R, G, B
    return cv2.LUT(hand.image, np.clip(np.rint(table), 0, 255).astype(np.uint8)[None])


def _colour(image: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean (3,) and spread, one for all channels, of the pixels in `where`, bool (h, w)."""
    step = 1 + min(where.shape) // 128  # a part of the pixels tells the colour of many just as well
    some = np.ascontiguousarray(where[::step, ::step])
    some, step = (some, step) if some.any() else (where, 1)
    mean, spread = cv2.meanStdDev(np.ascontiguousarray(image[::step, ::step]), mask=some.view(np.uint8))
    return mean.ravel(), float(spread.mean())


def _matching_blur(colours: np.ndarray, alpha: np.ndarray, image: np.ndarray, face: np.ndarray) -> float:
    """Sigma in pixels of the blur that makes a hand as soft as the face: 0.5 to 1.5."""
    ratio = _detail(colours, alpha) / max(_detail(image, face.view(np.uint8)), 1.0)
    return float(np.clip(0.5 * ratio, 0.5, 1.5))


def _detail(image: np.ndarray, where: np.ndarray) -> float:
    """Spread of the Laplacian of the brightness where `where`, uint8 (h, w), is not 0, in the middle of that part."""
    x, y, width, height = cv2.boundingRect(where)
    middle = np.s_[y + height // 4 : y + height * 3 // 4 + 1, x + width // 4 : x + width * 3 // 4 + 1]
    edges = cv2.Laplacian(cv2.cvtColor(image[middle], cv2.COLOR_RGB2GRAY), cv2.CV_16S)
    return float(cv2.meanStdDev(edges, mask=where[middle])[1].item())


def _blended(image: np.ndarray, mask: np.ndarray, colours: np.ndarray, alpha: np.ndarray, place: _Place) -> Pasted:
    """`colours`, premultiplied by `alpha` (uint8, 0..255), over the picture, and 0 in the mask under the outline."""
    there, here = _windows(mask.shape, alpha.shape, place.x, place.y)
    image, mask, hand = image.copy(), mask.copy(), np.zeros(mask.shape, dtype=bool)
    clear = cv2.bitwise_not(alpha[here])
    kept = cv2.multiply(image[there], cv2.merge([clear, clear, clear]), scale=1 / 255)
    image[there] = cv2.add(kept, colours[here])
    hand[there] = place.outline[here]
    mask[there] *= ~place.outline[here]
    return Pasted(image, mask, hand, place.angle, place.scale, place.x, place.y)
