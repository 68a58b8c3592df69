"""Faces as they are met outside aligned crops, as pure functions: covered by something, or small in a larger photo.

Each takes a picture, uint8 (H, W, 3) RGB, its mask, uint8 (H, W) of 0/255 or ids, where the face is, bool (H, W), and
a random generator, and returns a new picture and mask of the same sizes. Under what covers the picture the mask is 0.
"""

from __future__ import annotations

import cv2
import numpy as np

from faceparse.images import covering

SHAPE_SIDE = (0.08, 0.35)
"""Radius of a shape, as a share of the picture's shorter side."""

RECTANGLE_SIDE = (0.2, 0.7)
"""Sides of a rectangle over a face, as shares of the sides of the box around the face."""

SHRINK = (0.25, 0.7)
"""Size of a face's picture on a background, as a share of its own."""

BODY_CHANCE = 0.6
"""Share of the faces on a background that get a body: a coloured shape from the shoulders down."""

OWN_COLOUR_CHANCE = 0.5
"""Share of the shapes and bodies that have the colour of the face, so that colour alone does not make a face."""

ALONE_CHANCE = 0.1
"""Share of the backgrounds that show no face at all."""

_CORNERS = 9  # of a shape's outline


def cover_with_shape(
    image: np.ndarray, mask: np.ndarray, face: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random outline, filled with a grained, shaded colour, anywhere over the picture.

    After the random occluders of Voo et al. 2022 (https://arxiv.org/abs/2205.06218).
    """
    height, width = mask.shape
    radius = rng.uniform(*SHAPE_SIDE) * min(height, width)
    turns = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    reach = radius * rng.uniform(0.6, 1.4, (_CORNERS, 1)) * [1.0, rng.uniform(0.5, 1.0)]
    corners = reach * np.stack([np.cos(turns), np.sin(turns)], 1) + rng.uniform(0, 1, 2) * (width, height)
    outline = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(outline, [corners.astype(np.int32)], 255)
    smooth = 1 + int(radius / 2)
    inside = cv2.blur(outline, (smooth, smooth)) > 127
    return _painted(image, inside, _some_colour(image, face, rng), rng), mask * ~inside


def cover_with_rectangle(
    image: np.ndarray, mask: np.ndarray, face: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An upright rectangle somewhere over the face: coarse dropout as a face covering. Unchanged without a face."""
    if not face.any():
        return image, mask
    x, y, width, height = cv2.boundingRect(face.view(np.uint8))
    w, h = (max(1, round(side * rng.uniform(*RECTANGLE_SIDE))) for side in (width, height))
    left, top = x + int(rng.integers(width - w + 1)), y + int(rng.integers(height - h + 1))
    inside = np.zeros(mask.shape, bool)
    inside[top : top + h, left : left + w] = True
    return _painted(image, inside, _some_colour(image, face, rng), rng), mask * ~inside


def shrink_onto(
    background: np.ndarray,
    image: np.ndarray,
    mask: np.ndarray,
    face: np.ndarray,
    shown: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The part `shown`, bool (H, W), of the picture, made small, somewhere on a background without people.

    `background` is uint8 (h, w, 3) RGB of any size; its part in the middle, enlarged as needed, becomes the picture.
    Now and then it stays alone. Most of the faces get a body, a plain one of any colour.
    """
    height, width = mask.shape
    scene, empty = covering(background, (height, width)).copy(), np.zeros_like(mask)
    if rng.random() < ALONE_CHANCE:
        return scene, empty
    scale = rng.uniform(*SHRINK)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    there = np.s_[y : y + h, x : x + w]
    if rng.random() < BODY_CHANCE:
        body, reach = np.zeros_like(mask), (int(w * rng.uniform(0.6, 1.1)), int(h * rng.uniform(1, 2)))
        cv2.ellipse(body, (x + w // 2, y + int(h * 0.85) + reach[1]), reach, 0, 0, 360, 1, -1)
        scene = _painted(scene, body > 0, _some_colour(image, face, rng), rng)
    alpha = cv2.resize(shown.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)[..., None]
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    scene[there] = np.rint(scene[there] * (1 - alpha) + small * alpha).astype(np.uint8)
    empty[there] = cv2.resize(mask, (w, h), interpolation=cv2.INTER_NEAREST_EXACT) * (alpha[..., 0] >= 0.5)
    return scene, empty


def _some_colour(image: np.ndarray, face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RGB, float (3,): about the mean of the face, or any."""
    if face.any() and rng.random() < OWN_COLOUR_CHANCE:
        return image[face].mean(axis=0) * rng.uniform(0.8, 1.2, 3)
    return rng.uniform(0, 255, 3)


def _painted(image: np.ndarray, where: np.ndarray, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with a grained, shaded surface of that colour over `where`, bool (H, W), its edge soft."""
    height, width = where.shape
    grain = int(rng.choice([2, 4, 16, 64]))  # cells of the texture along a side
    texture = rng.normal(0, rng.uniform(2, 40), (grain, grain, 1)) + rng.normal(0, 4, (grain, grain, 3))
    surface = cv2.resize(texture.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) + colour
    alpha = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 0.7)[..., None]
    return np.rint(image * (1 - alpha) + np.clip(surface, 0, 255) * alpha).astype(np.uint8)
