"""Whole photos composed of held-out faces: each gets a body, clothed or bare, and a place on a photo without people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faceparse import images
from faceparse.labels import CELEBAMASK, face_of

SIDE = 640
"""The longer side of a photo, pixels."""

PROFILE = 0.12
"""From which `yaw` on a head counts as turned away: half, or nearly in profile."""


BODY = (
    (0.2, -0.15),
    (0.27, 0.12),
    (0.5, 0.3),
    (0.85, 0.42),
    (1.05, 0.62),
    (1.18, 1.1),
    (1.2, 2.4),
    (1.1, 3.1),
    (0.75, 3.5),
)
"""The right half of a body's outline: to the side and below the chin, in heights of the face."""

BELT, FEET = 2.7, 6.2
"""Where trousers begin, and where the body ends."""


@dataclass(frozen=True)
class Kind:
    """How many faces, how high as a share of the picture's height, turned by how many degrees to either side.

    `cut`: the middle of the face lies near the picture's border. `bare`: the body shows its skin from the neck down.
    `headless`: the face is beyond the upper border. `profile`: the head is turned away, see `PROFILE`.
    """

    faces: tuple[int, int] = (1, 1)
    heights: tuple[float, float] = (0.15, 0.6)
    turn: tuple[float, float] = (0, 12)
    cut: bool = False
    bare: bool = False
    headless: bool = False
    profile: bool = False


KINDS = {
    "small": Kind(heights=(0.05, 0.2)),
    "large": Kind(heights=(0.2, 0.8)),
    "several": Kind(faces=(2, 5), heights=(0.08, 0.35)),
    "tilted": Kind(heights=(0.15, 0.6), turn=(20, 45)),
    "cut": Kind(heights=(0.25, 0.8), cut=True),
    "chest": Kind(heights=(0.12, 0.35), bare=True),
    "headless": Kind(heights=(0.3, 0.6), bare=True, headless=True),
    "none": Kind(faces=(0, 0)),
    "profile": Kind(profile=True),
}

Person = tuple[np.ndarray, np.ndarray]
"""Picture uint8 (H, W, 3) RGB and its 19-class ids."""


@dataclass(frozen=True)
class Photo:
    """uint8 (H, W, 3) RGB; where faces, people and bare bodies are, bool (H, W)."""

    picture: np.ndarray
    face: np.ndarray
    person: np.ndarray
    bare: np.ndarray


def suits(kind: Kind, ids: np.ndarray) -> bool:
    """Whether a person can be shown in a photo of that kind."""
    return fits(ids) and (not kind.profile or yaw(ids) >= PROFILE)


def fits(ids: np.ndarray) -> bool:
    """Whether a person is whole but for the lower part, so that no straight edge gives the paste away."""
    height, width = ids.shape
    upper = ids[: int(0.6 * height), [0, -1]]
    straight = np.count_nonzero(ids[0]) < 0.3 * width and np.count_nonzero(upper) < 0.3 * height
    return straight and bool(face_of(ids, ids=True).any())


def eyes(ids: np.ndarray) -> tuple[complex, complex]:
    """The middle between the eyes, and the way from the right to the left one, which lies to the picture's right."""
    left, right = (middle(ids == CELEBAMASK.id(name)) for name in ("l_eye", "r_eye"))
    return (left + right) / 2, left - right


def middle(part: np.ndarray) -> complex:
    """Mean place of the set pixels as x + iy; NaN where there are none."""
    y, x = np.nonzero(part)
    return complex(x.mean(), y.mean()) if len(x) else complex(np.nan, np.nan)


def yaw(ids: np.ndarray) -> float:
    """How far the nose is beside the middle of the eyes, along their line, in distances of the eyes; 0 is frontal.

    NaN where the mask lacks an eye or the nose.
    """
    between, step = eyes(ids)
    return float(abs(((middle(ids == CELEBAMASK.id("nose")) - between) / step).real))


def compose(kind: Kind, people: list[Person], background: np.ndarray, rng: np.random.Generator) -> Photo:
    """A photo of that kind with all of `people`, the largest at the back; each fits, see `fits`."""
    hw = (SIDE, SIDE * 3 // 4) if rng.random() < 0.4 else (SIDE * 3 // 4, SIDE)
    photo = Photo(images.covering(_part(background, rng), hw).copy(), *(np.zeros(hw, bool) for _ in range(3)))
    low, high = np.log(kind.heights)
    heights = sorted(np.exp(rng.uniform(low, high, len(people))) * hw[0], reverse=True)
    for number, ((image, ids), height) in enumerate(zip(people, heights, strict=True)):
        angle = rng.choice([-1, 1]) * rng.uniform(*kind.turn)
        middle = _middle(kind, number, len(people), height, hw, rng)
        layers = with_body(*_shrunk(image, ids, height), kind.bare, rng)
        picture, person, face, bare = placed(layers, layers[2], height, angle, middle, hw)
        laid_over(photo.picture, picture, person)
        for layer, there in ((photo.face, face), (photo.bare, bare)):
            layer[person > 0.5] = there[person > 0.5] > 0.5
        photo.person[person > 0.5] = True
    return photo


def _shrunk(image: np.ndarray, ids: np.ndarray, height: float) -> Person:
    """A person no larger than a face of that height, pixels, asks for."""
    scale = height / cv2.boundingRect(face_of(ids, ids=True).view(np.uint8))[3]
    if scale >= 1:
        return image, ids
    size = tuple(max(1, round(length * scale)) for length in ids.shape[::-1])
    small = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def _part(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Most of a photo, mirrored half of the time, so that twenty of them are not only twenty."""
    height, width = background.shape[:2]
    h, w = (int(length * rng.uniform(0.7, 1)) for length in (height, width))
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return np.ascontiguousarray(background[y : y + h, x : x + w][:, :: rng.choice([-1, 1])])


def _middle(
    kind: Kind, number: int, count: int, height: float, hw: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float]:
    """(x, y) of a face's middle: one of several in its own column, a cut one at the border, a headless one above."""
    tall, wide = hw
    column = wide / max(count, 1)
    x = column * (number + rng.uniform(0.35, 0.65)) if count > 1 else rng.uniform(0.25, 0.75) * wide
    y = rng.uniform(min(0.6 * height, 0.5 * tall), max(0.5 * tall, 0.6 * height))
    if kind.headless:
        return x, -height * rng.uniform(0.6, 0.75)
    if not kind.cut:
        return x, y
    beyond = rng.uniform(-0.1, 0.35) * height  # of the face's middle, inside the border
    side = rng.integers(3)
    return (x, beyond) if side == 0 else (beyond if side == 1 else wide - beyond, y)


def placed(
    layers: Sequence[np.ndarray],
    face: np.ndarray,
    height: float,
    angle: float,
    middle: Sequence[float],
    hw: tuple[int, int],
) -> list[np.ndarray]:
    """Layers, (H, W) bool or float or (H, W, 3), turned by `angle` degrees counter-clockwise into a canvas of `hw`.

    There `face`, bool (H, W) in the layers' place, is `height` pixels high before it is turned, and its middle lies at
    `middle` (x, y). Masks come out as float32 in 0..1.
    """
    x, y, w, h = cv2.boundingRect(face.view(np.uint8))
    scale = height / h
    shrunk = min(1.0, scale)  # averaged first: bilinear alone would alias
    size = max(1, round(face.shape[1] * shrunk)), max(1, round(face.shape[0] * shrunk))
    small = [
        cv2.resize(layer.astype(np.float32) if layer.dtype == bool else layer, size, interpolation=cv2.INTER_AREA)
        for layer in layers
    ]
    matrix = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, scale / shrunk)
    matrix[:, 2] += middle - matrix @ ((x + w / 2) * shrunk, (y + h / 2) * shrunk, 1)
    return [cv2.warpAffine(layer, matrix, hw[::-1], flags=cv2.INTER_LINEAR) for layer in small]


def laid_over(picture: np.ndarray, layer: np.ndarray, alpha: np.ndarray) -> None:
    """`layer`, (H, W, 3), over the uint8 picture, in place, where `alpha`, float (H, W), is above 0."""
    there = alpha > 0
    share = alpha[there][:, None]
    picture[there] = np.rint(picture[there] * (1 - share) + layer[there] * share)


def with_body(
    image: np.ndarray, ids: np.ndarray, bare: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """On a larger canvas: picture, uint8; where person, face and bare body are, bool."""
    height, width = ids.shape
    face = face_of(ids, ids=True)
    _, y, _, h = cv2.boundingRect(face.view(np.uint8))
    sides, below = width // 2, min(SIDE, max(0, int(y + h + FEET * h) - height))
    face = np.pad(face, ((0, below), (sides, sides)))
    whole = np.pad(ids, ((0, below), (sides, sides)))
    neck = whole == CELEBAMASK.id("neck")
    around = np.argwhere(neck if np.count_nonzero(neck) > 200 else face)
    centre, chin = float(around[:, 1].mean()), y + h
    half = [*BODY, (BODY[-1][0], FEET)]
    broad = rng.uniform(0.9, 1.1)
    right = np.array([(centre + broad * dx * h, chin + dy * h) for dx, dy in half])
    outline = np.concatenate([right, (right * [-1, 1] + [2 * centre, 0])[::-1]]).round().astype(np.int32)
    body = np.zeros(whole.shape, np.uint8)
    cv2.fillPoly(body, [outline], 255)
    soft = 1 + int(0.12 * h) // 2 * 2
    body = cv2.GaussianBlur(body, (soft, soft), 0) > 127
    dropped = ["cloth", "neck_l"] if bare else []
    kept = (whole > 0) & ~np.isin(whole, [CELEBAMASK.id(name) for name in dropped])
    own = face if bare else whole == CELEBAMASK.id("cloth")
    padded = cv2.copyMakeBorder(image, 0, below, sides, sides, cv2.BORDER_REPLICATE)
    colour = np.median(padded[own], axis=0) if own.any() else rng.uniform(20, 120) * rng.uniform(0.5, 1.6, 3)
    surface = _torso(body, colour, centre, chin, h, bare, rng)
    fade = np.clip((height - np.arange(len(whole))) / (0.08 * height), 0, 1)[:, None]  # of the picture's lower edge
    alpha = kept * np.where(face, 1, fade).astype(np.float32)
    skin = body & ~kept & (np.arange(len(whole)) < chin + BELT * h)[:, None] & bare
    if bare:  # the neck goes over into the chest
        fade = np.clip((chin + 0.35 * h - np.arange(len(whole))) / (0.3 * h), 0, 1)[:, None]
        alpha = np.where(neck, alpha * fade, alpha)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 1)[..., None] * (kept | body)[..., None]
    picture = surface * (1 - alpha) + padded * alpha
    return np.rint(picture).astype(np.uint8), kept | body, face, skin


def _torso(
    body: np.ndarray, colour: np.ndarray, centre: float, chin: int, h: int, bare: bool, rng: np.random.Generator
) -> np.ndarray:
    """float32 (H, W, 3): a rounded surface; bare, with collar bones, breast bone and breast."""
    tall, wide = body.shape
    yy, xx = np.mgrid[:tall, :wide].astype(np.float32)
    x, y = np.abs(xx - centre) / h, (yy - chin) / h
    depth = cv2.distanceTransform(np.pad(body.view(np.uint8), ((0, 1), (0, 0)), mode="edge"), cv2.DIST_L2, 5)[:-1] / h
    shade = 0.62 + 0.38 * np.sqrt(np.clip(depth / 0.35, 0, 1))
    shade += 0.08 * np.clip((xx - centre) / h, -1, 1) * rng.choice([-1, 1])
    if bare:
        shade -= 0.22 * np.exp(-(((y - 0.02) / 0.22) ** 2)) * (x < 0.5)  # below the chin
        bone = y - 0.42 + 0.16 * x
        above, under = np.exp(-((bone / 0.035) ** 2)), np.exp(-(((bone - 0.09) / 0.05) ** 2))
        shade += (0.09 * above - 0.1 * under) * (x > 0.06) * (x < 0.8)
        shade -= 0.06 * np.exp(-((x / 0.05) ** 2)) * np.clip((y - 0.5) * 3, 0, 1)
        shade -= 0.1 * np.exp(-(((np.hypot((x - 0.45) / 1.1, y - 0.95) - 0.45) / 0.06) ** 2)) * (y > 1.05) * (x > 0.05)
    folds = rng.normal(0, 0.006 if bare else 0.05, (12, 60)).astype(np.float32)
    shade += cv2.resize(folds, (wide, tall), interpolation=cv2.INTER_CUBIC)
    trousers = rng.uniform(20, 120) * rng.uniform(0.7, 1, 3)
    surface = np.where((y < BELT)[..., None], colour, trousers) * shade[..., None] + rng.normal(0, 3, (tall, wide, 1))
    if bare:
        dots = np.exp(-((((x - 0.48) / 0.05) ** 2 + ((y - 1.22) / 0.045) ** 2) ** 2))[..., None]
        surface *= 1 - dots * [0.2, 0.35, 0.35]
    return np.clip(surface, 0, 255).astype(np.float32)
