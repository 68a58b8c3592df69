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

THING_RADIUS, THING_LENGTH = (0.1, 0.38), (0.5, 2.0)
"""Size of a thing held before a face, as shares of the side of a square as large as the face."""

SHEET_CHANCE, BALL_CHANCE = 0.35, 0.4
"""Share of the things that are flat; and of the others, that have a ball at their tip."""

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


def cover_with_thing(
    image: np.ndarray, mask: np.ndarray, face: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Something held before the face, mostly from below: a round thing of several parts, or a flat one with a print.

    Round ones have the outline and the shine of what a lathe makes: bottles, cones, sticks with a ball at the end.
    Unchanged without a face.
    """
    if not face.any():
        return image, mask
    side = np.sqrt(np.count_nonzero(face))
    pixels = np.argwhere(face)
    tip, other = pixels[rng.integers(len(pixels), size=2)]
    toward = np.arctan2(*(tip - other + (side * 0.7, 0))) + rng.normal(0, 0.4)
    y, x = (np.indices(mask.shape, np.float32) - tip[:, None, None].astype(np.float32)) / np.float32(side)
    cosine, sine = np.float32(np.cos(toward)), np.float32(np.sin(toward))
    along, across = x * cosine + y * sine, y * cosine - x * sine
    near = (along > -1) & (along < THING_LENGTH[1] + 1) & (np.abs(across) < THING_LENGTH[1])
    draw = _sheet if rng.random() < SHEET_CHANCE else _turned_solid
    inside, part, light = draw(along[near], across[near], rng)
    colours = np.array([_some_colour(image, face, rng) for _ in range(part.max() + 1)])
    greyed = rng.uniform(0, 1, (len(colours), 1))  # most things are not as gaudy as any red with any green and blue
    colours += (colours.mean(axis=1, keepdims=True) - colours) * greyed
    where, surface = np.zeros(mask.shape, bool), np.zeros(image.shape, np.float32)
    where[near], surface[near] = inside, colours[part] * light[:, None]
    return _painted(image, where, surface, rng), mask * ~where


Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each place: whether the thing is there, bool; which of its parts is seen, int; and the light on it, about 1."""


def _turned_solid(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A solid of revolution, (places,) along its axis from its tip and across it, in sides of the face."""
    length, radius, parts = rng.uniform(*THING_LENGTH), rng.uniform(*THING_RADIUS), int(rng.integers(2, 6))
    ends, radii = np.sort(rng.uniform(0, 1, parts)), radius * rng.uniform(0.55, 1, parts)
    curve = np.linspace(0, 1, 256)
    part_there = np.searchsorted(ends[:-1], curve)
    reach_there = radii[part_there] if rng.random() < 0.5 else np.interp(curve, ends, radii)  # in steps, or smoothly
    at = (along * (255 / length)).clip(0, 255).astype(np.intp)
    part, reach = part_there[at], reach_there.astype(np.float32)[at]
    near = np.sqrt((1 - (across / reach) ** 2).clip(0, 1))  # to the viewer
    bend = rng.uniform(-0.3, 0.6) * radius * near  # its ends are circles that are seen from above or below
    gloss, spot, width = rng.uniform(0, 0.7), rng.uniform(-0.7, 0.7), rng.uniform(0.1, 0.4)
    inside = (np.abs(across) < reach) & (along > -bend) & (along < length + bend)
    light = 0.45 + 0.55 * near + gloss * np.exp(-(((across / reach - spot) / width) ** 2))
    if rng.random() < BALL_CHANCE:
        size = radius * rng.uniform(0.9, 1.2)
        u, v = along / size, across / size
        far = np.hypot(u * rng.uniform(0.8, 1.2), v)
        shine = 0.4 + 0.6 * np.sqrt((1 - far**2).clip(0, 1)) + gloss * np.exp(-((np.hypot(u, v - spot) / width) ** 2))
        weave = 1 + rng.uniform(0, 0.3) * np.sign(np.sin(u * 25) * np.sin(v * 25))
        ball = far < 1
        light, part = np.where(ball, shine * weave, light), np.where(ball, parts, part)
        inside = ball | (inside & (along > 0))
    return inside, part, light


def _sheet(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A flat thing between an ellipse and a rectangle, a little bent: its two parts are the ground and the print."""
    half = rng.uniform(*THING_LENGTH, 2) / 2
    u, v = along - half[0] * rng.uniform(0, 1), across + rng.uniform(-0.2, 0.2) * along
    v = v * (1 + rng.uniform(-0.25, 0.25) * u) + rng.uniform(-0.15, 0.15) * u**2  # seen from the side, and bent
    power = rng.uniform(2, 12)
    inside = np.abs(u / half[0]) ** power + np.abs(v / half[1]) ** power < 1
    cells, pitch = rng.random((64, 64)) < rng.uniform(0, 0.5), rng.uniform(0.02, 0.2, 2)
    printed = cells[(u / pitch[0]).astype(np.intp) % 64, (v / pitch[1]).astype(np.intp) % 64]
    return inside, printed.astype(np.intp), 1 + rng.uniform(-0.3, 0.3) * u + rng.uniform(-0.3, 0.3) * v


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
    """The picture with a grained surface over `where`, bool (H, W), its edge soft; `colour` is (3,) or (H, W, 3)."""
    height, width = where.shape
    grain = int(rng.choice([2, 4, 16, 64]))  # cells of the texture along a side
    texture = rng.normal(0, rng.uniform(2, 40), (grain, grain, 1)) + rng.normal(0, 4, (grain, grain, 3))
    surface = cv2.resize(texture.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    surface += colour.astype(np.float32)
    alpha = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 0.7)[..., None]
    return np.rint(image * (1 - alpha) + np.clip(surface, 0, 255) * alpha).astype(np.uint8)
