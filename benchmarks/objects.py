"""Things drawn over held-out faces: glasses, paper, cups, locks of hair, surgical masks, microphones.

Pure functions. Every thing is drawn in the face's own coordinates (u, v), and in its light: the eyes lie at (-1, 0) and
(1, 0), the mouth at (0, 2), so that it turns and narrows with the head; a unit is about 31 mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from faceparse.labels import CELEBAMASK, face_of

NARROWEST = 0.45
"""Distance of the eyes, as a share of that from eyes to mouth, under which a head is turned too far to be drawn on."""

SHADOW = 0.4
"""How much light a thing takes from what is close beside it."""

FINE = 4
"""Hair is drawn this many times as large, and made small."""

SEEN_THROUGH = ("l_eye", "r_eye", "l_brow", "r_brow")
"""What stays what it is behind clear lenses, as in CelebAMask-HQ, whose order paints these after the glasses."""


@dataclass(frozen=True)
class Frame:
    """A face: `u`, `v` float32 (H, W), coordinates of every pixel; `unit`, pixels; `light` float32 (H, W), about 1."""

    image: np.ndarray
    ids: np.ndarray
    u: np.ndarray
    v: np.ndarray
    unit: float
    to_picture: np.ndarray
    light: np.ndarray

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Opacity, float32 in 0..1, of what reaches so many units beyond each pixel."""
        return np.clip(distance * self.unit + 0.5, 0, 1).astype(np.float32)

    def turned(self, u: float, v: float, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates around (u, v), turned clockwise."""
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return (self.u - u) * c + (self.v - v) * s, (self.v - v) * c - (self.u - u) * s


Layer = tuple[np.ndarray, np.ndarray, float]
"""Where it is, float32 (H, W) in 0..1, its colours, (H, W, 3) or (3,) before the light, and how opaque it is, 0..1."""


def frame_of(image: np.ndarray, ids: np.ndarray) -> Frame | None:
    """The frame of a picture, uint8 (H, W, 3) RGB with 19-class ids; None unless both eyes and the lips are seen."""
    wanted = [["r_eye"], ["l_eye"], ["u_lip", "l_lip", "mouth"]]  # the person's right eye is the picture's left
    points = []
    for names in wanted:
        there = np.isin(ids, [CELEBAMASK.id(name) for name in names])
        if np.count_nonzero(there) < 20:
            return None
        points.append(np.argwhere(there).mean(axis=0)[::-1])
    left, right, mouth = points
    if np.linalg.norm(right - left) < NARROWEST * np.linalg.norm(mouth - (left + right) / 2) or left[0] >= right[0]:
        return None
    to_picture = cv2.getAffineTransform(np.float32([(-1, 0), (1, 0), (0, 2)]), np.float32(points))
    back = cv2.invertAffineTransform(to_picture)
    y, x = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(np.float32)
    u, v = (row[0] * x + row[1] * y + row[2] for row in back)
    unit = float(np.sqrt(abs(np.linalg.det(to_picture[:, :2]))))
    face = face_of(ids, ids=True)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[face] / 150
    slope = np.polyfit(u[face].clip(-2, 2), grey, 1)[0]
    light = np.clip(grey.mean(), 0.4, 1.2) + float(np.clip(slope, -0.15, 0.15)) * u.clip(-2.5, 2.5)
    return Frame(image, ids, u, v, unit, to_picture, light.clip(0.3, 1.3).astype(np.float32))


def suits(kind: str, ids: np.ndarray) -> bool:
    """Whether a face would carry that: no second glasses, and locks only of hair that is there."""
    if kind == "glasses":
        return not (ids == CELEBAMASK.id("eye_g")).any()
    return kind != "hair" or np.count_nonzero(ids == CELEBAMASK.id("hair")) > 0.02 * ids.size


def cover(frame: Frame, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thing of that kind over the face: picture uint8 (H, W, 3), ids uint8 (H, W), and where it is, bool (H, W)."""
    image, ids = frame.image.astype(np.float32), frame.ids.copy()
    draw, class_name = KINDS[kind]
    layers = draw(frame, rng)
    whole = np.max([where * opacity for where, _, opacity in layers], axis=0)
    drop = np.float32([[1, 0, rng.uniform(-0.12, 0.12) * frame.unit], [0, 1, 0.12 * frame.unit]])
    shade = cv2.GaussianBlur(cv2.warpAffine(whole, drop, ids.shape[::-1]), (0, 0), 0.14 * frame.unit)
    image *= 1 - SHADOW * shade[..., None]
    grain = rng.normal(0, 2.5, (*ids.shape, 3)).astype(np.float32)
    covered = np.zeros(ids.shape, bool)
    seen_through = np.isin(ids, [CELEBAMASK.id(name) for name in SEEN_THROUGH])
    for where, colour, opacity in layers:
        surface = colour * frame.light[..., None] + grain
        image += (surface - image) * (cv2.GaussianBlur(where, (0, 0), 0.6) * opacity)[..., None]
        covered |= (where >= 0.5) & (~seen_through if opacity < 0.5 else True)
    ids[covered] = CELEBAMASK.id(class_name)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), ids, covered


def glasses(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """Dark, tinted or clear lenses of any shape between round and square, in a frame, and its temples."""
    wide, tall, power = rng.uniform(0.7, 0.85), rng.uniform(0.45, 0.7), rng.uniform(2, 4)
    thick, lower = rng.uniform(0.05, 0.14), rng.uniform(0.05, 0.2)
    clear = rng.random() < 0.4
    opacity = rng.uniform(0.04, 0.12) if clear else rng.uniform(0.75, 0.97)
    reach = [((np.abs(frame.u - u) / wide) ** power + (np.abs(frame.v - lower) / tall) ** power) for u in (-1, 1)]
    nearest = np.minimum(*reach).clip(1e-6)
    distance = (1 - nearest ** (1 / power)) * min(wide, tall)  # inside a lens, about
    rim = frame.inside(thick / 2 - np.abs(distance))
    bar = frame.inside(thick / 2 - np.abs(frame.v - lower + 0.25 * tall + 0.1 * frame.u**2))
    bridge = bar * (np.abs(frame.u) < 1.05 - wide)
    temple = bar * ((np.abs(frame.u) > 0.95 + wide) & (np.abs(frame.u) < 2.4) & _person(frame))
    tint = rng.uniform(10, 60, 3) if not clear else np.full(3, 225.0)
    along = ((frame.v - lower + tall) / (2 * tall)).clip(0, 1)[..., None]
    glint = frame.inside(0.09 - np.abs(frame.u - np.sign(frame.u) + 0.8 * (frame.v - lower) + 0.35)) * (distance > 0.1)
    metal = rng.random() < 0.3
    dark = np.full(3, rng.uniform(120, 190)) if metal else rng.uniform(10, 70) * rng.uniform(0.5, 1, 3)
    return [
        (frame.inside(distance), tint * (0.7 + 0.8 * along), opacity),
        (glint * frame.inside(distance), np.full(3, 245.0), 0.22),
        (np.maximum.reduce([rim, bridge, temple]), dark * (1 + 0.3 * np.cos(6 * frame.v))[..., None], 0.97),
    ]


def paper(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """A printed sheet, bent a little, over the lower part or a side of the face."""
    side = rng.choice([-1, 0, 1], p=[0.3, 0.4, 0.3])
    half = np.array([rng.uniform(1.8, 2.8), rng.uniform(2.0, 3.2)])
    centre = (side * rng.uniform(1.6, 2.4), rng.uniform(0.2, 1.6)) if side else (rng.uniform(-0.6, 0.6), half[1] + 0.9)
    x, y = frame.turned(*centre, rng.uniform(-25, 25))
    x = x * (1 + rng.uniform(-0.06, 0.06) * y)  # seen from above or below
    y = y + rng.uniform(-0.06, 0.06) * x**2
    sheet = frame.inside(np.minimum(half[0] - np.abs(x), half[1] - np.abs(y)))
    fold = 1 + 0.06 * np.tanh((x - rng.uniform(-1, 1)) * 4) + rng.uniform(-0.05, 0.05) * x
    white = np.array([250, 248, 240]) * rng.uniform(0.88, 1.0) * rng.uniform([0.97, 0.97, 0.9], 1)
    pitch = rng.uniform(0.14, 0.3)
    line, column = np.floor(y / pitch).astype(int), np.floor((x + 5) / 0.07).astype(int)
    words = rng.random((64, 128)) < 0.8
    ends = rng.uniform(0.5, 1, 64)[line % 64] * half[0] * 1.7 - half[0]
    printed = (np.abs(y / pitch - line - 0.5) < 0.24) & words[line % 64, column % 128] & (x < ends)
    printed &= (np.abs(x) < half[0] * 0.85) & (np.abs(y) < half[1] * 0.88)
    ink = cv2.GaussianBlur(printed.astype(np.float32), (0, 0), 0.7)[..., None] * rng.uniform(0.3, 0.75)
    return [(sheet, white * fold[..., None] * (1 - ink), 1.0)]


def cup(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """A mug or a paper cup held to the mouth: a tapering cylinder, its rim, its handle or a sleeve."""
    x, y = frame.turned(rng.uniform(-0.5, 0.5), rng.uniform(1.5, 2.1), rng.uniform(-18, 18))
    top, mug = rng.uniform(1.1, 1.5), rng.random() < 0.5
    tall = rng.uniform(2.4, 3.0) if mug else rng.uniform(3.2, 4.2)
    half = top * (1 - (0.02 if mug else 0.1) * y)
    bend = 0.22 * np.sqrt((1 - (x / top) ** 2).clip(0, 1))  # both ends are seen from above
    body = frame.inside(np.minimum.reduce([half - np.abs(x), y, tall + bend - y]))
    rim = frame.inside((1 - np.hypot(x / top, y / 0.24)) * 0.24)
    colour = rng.uniform(30, 250, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(215, 250))
    across = (x / half).clip(-1, 1)
    shading = (
        0.55 + 0.45 * np.sqrt(1 - (across - 0.25).clip(-1, 1) ** 2) + 0.12 * np.exp(-(((across - 0.4) / 0.12) ** 2))
    )
    surface = colour * shading[..., None]
    if not mug:
        sleeve = ((y - bend > 0.3 * tall) & (y - bend < 0.75 * tall))[..., None]
        surface = np.where(sleeve, np.array([165, 125, 85]) * shading[..., None], surface)
    layers: list[Layer] = [(body, surface, 1.0)]
    if mug:
        ring = np.hypot((x - rng.choice([-1, 1]) * (top + 0.25)) / 0.8, (y - tall / 2) / 0.95)
        handle = frame.inside((0.2 - np.abs(ring - 0.85)) * 0.8) * (np.abs(x) > half)
        layers.insert(0, (handle, colour * (0.75 + 0.3 * np.cos(5 * ring))[..., None], 1.0))
    inner = frame.inside((1 - np.hypot(x / (top * 0.92), y / 0.19)) * 0.19)
    return [*layers, (rim, colour * 0.95 + 15, 1.0), (inner, colour * 0.45 if mug else colour * 0.9, 1.0)]


def hair(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """Locks that fall over forehead, eyes and cheeks, in the colour of the person's own hair."""
    own = frame.image[frame.ids == CELEBAMASK.id("hair")].astype(float)
    base = np.median(own, axis=0) / float(frame.light.mean())
    height, width = (length * FINE for length in frame.ids.shape)
    drawn, tone = np.zeros((height, width), np.uint8), np.full((height, width), 128, np.uint8)
    roots = (frame.ids == CELEBAMASK.id("hair")) & (np.abs(frame.u) < 1.8) & (frame.v < -1.2) & (frame.v > -3.2)
    grown = np.stack([frame.u[roots], frame.v[roots]], axis=1)
    for _ in range(int(rng.integers(2, 6))):
        side = rng.choice([-1, 1])
        root = grown[rng.integers(len(grown))] if len(grown) else (side * rng.uniform(0.0, 1.6), -2.6)
        end = side * rng.uniform(0.3, 2.2), rng.uniform(0.0, 3.4)
        bow = (root[0] + end[0]) / 2 + rng.uniform(-1.0, 1.0), rng.uniform(-1.6, 0.4)
        spread, wave, phase = rng.uniform(0.1, 0.4), rng.uniform(0.0, 0.12), rng.uniform(0, 6)
        for _ in range(int(rng.integers(30, 110))):
            along = np.linspace(0, rng.uniform(0.6, 1.0), 24)[:, None]
            path = (1 - along) ** 2 * root + 2 * along * (1 - along) * np.array(bow) + along**2 * np.array(end)
            tuft = 0.35 + 1.2 * along * (1 - along) * 2  # narrow at the root and at the tip
            offset = rng.normal(0, spread / 2, 2) * tuft + wave * np.sin(6 * along + phase) * [[1, 0.2]]
            points = (path + offset) @ frame.to_picture[:, :2].T + frame.to_picture[:, 2]
            line = max(1, round(rng.uniform(0.008, 0.03) * frame.unit * FINE))
            shade = int(np.clip(rng.normal(128, 30), 50, 230))
            for layer, value in ((drawn, 255), (tone, shade)):
                cv2.polylines(layer, [(points * FINE).round().astype(np.int32)], False, value, line, cv2.LINE_AA)
    small = frame.ids.shape[::-1]
    where, shades = (
        cv2.resize(layer, small, interpolation=cv2.INTER_AREA) / np.float32(255) for layer in (drawn, tone)
    )
    shine = 1 + 0.25 * np.sin(1.7 * frame.v + rng.uniform(0, 6))
    return [(where, base * (0.35 + 1.3 * shades * shine)[..., None], 0.97)]


def surgical_mask(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """A pleated mask from the bridge of the nose around the chin, as wide as the face is, and its ear loops."""
    face = face_of(frame.ids, ids=True)
    hull = np.zeros(face.shape, np.uint8)
    outlines = cv2.findContours(face.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(outlines)), 1)
    out = cv2.distanceTransform(hull, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    hugging = cv2.GaussianBlur(out, (0, 0), 0.12 * frame.unit) / frame.unit + 0.12
    top = rng.uniform(0.35, 0.75)
    upper = frame.v - top - 0.16 * frame.u**2 * (1 + 0.2 * np.abs(frame.u))
    sides = rng.uniform(1.75, 2.0) - np.abs(frame.u) + 0.12 * (frame.v - 2) ** 2 * 0.3
    distance = np.minimum.reduce([upper, hugging, sides, 4.3 - frame.v])
    cloth = frame.inside(distance)
    colours = [(168, 202, 222), (168, 202, 222), (235, 236, 236), (45, 45, 50), (190, 220, 200), (225, 190, 200)]
    colour = np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.9, 1.08, 3)
    pleats = sum(np.exp(-(((frame.v - at - 0.06 * frame.u**2) / 0.05) ** 2)) for at in top + np.array([0.9, 1.4, 1.9]))
    nose = 0.1 * np.exp(-((frame.u / 0.35) ** 2) - ((frame.v - top - 0.35) / 0.5) ** 2)
    hem = 0.1 * np.exp(-(((distance - 0.13) / 0.03) ** 2))
    shading = 1.05 - 0.085 * frame.u**2 - 0.2 * pleats + nose - hem - 0.05 * (frame.v - 2)
    layers: list[Layer] = [(cloth, colour * shading.clip(0.3, 1.3)[..., None], 1.0)]
    loop = np.zeros(face.shape, np.uint8)
    for side in (-1, 1):
        for start, end in (((1.8, top + 0.7), (2.5, -0.1)), ((1.75, 2.7), (2.5, 0.9))):
            points = np.array([start, end]) * [side, 1] @ frame.to_picture[:, :2].T + frame.to_picture[:, 2]
            cv2.polylines(
                loop, [points.round().astype(np.int32)], False, 255, max(1, round(0.06 * frame.unit)), cv2.LINE_AA
            )
    return [((loop / np.float32(255)) * (face & (distance < 0)), np.full(3, 225.0), 0.9), *layers]


def microphone(frame: Frame, rng: np.random.Generator) -> list[Layer]:
    """A microphone before the mouth or the chin: a ball of wire mesh, a ring and a tapering handle."""
    x, y = frame.turned(rng.uniform(-0.6, 0.6), rng.uniform(2.0, 3.0), rng.uniform(-40, 40))
    radius, long = rng.uniform(0.6, 0.85), rng.uniform(4, 7)
    ball = frame.inside(radius - np.hypot(x, y * rng.choice([1.0, 0.85])))
    half = radius * (0.72 - 0.05 * (y - radius))
    handle = frame.inside(np.minimum.reduce([half - np.abs(x), y - 0.5 * radius, long - y]))
    ring = frame.inside(np.minimum(radius * 0.86 - np.abs(x), 0.13 - np.abs(y - 0.72 * radius)))
    across = (x / half.clip(0.05)).clip(-1, 1)
    round_ = 0.45 + 0.55 * np.sqrt(1 - across**2) + 0.5 * np.exp(-(((across + 0.3) / 0.14) ** 2))
    black = rng.uniform(25, 55) if rng.random() < 0.8 else rng.uniform(120, 180)
    mesh_colour = rng.uniform(40, 80) if rng.random() < 0.6 else rng.uniform(120, 180)
    near = np.sqrt((1 - (np.hypot(x, y) / radius) ** 2).clip(0, 1))
    light = (
        0.4 + 0.7 * near + 0.5 * np.exp(-(((x + 0.3 * radius) ** 2 + (y + 0.35 * radius) ** 2) / (0.2 * radius) ** 2))
    )
    mesh = 1 + 0.35 * np.sin(x * 38 / radius) * np.sin(y * 38 / radius)
    return [
        (handle, np.full(3, black) * round_[..., None], 1.0),
        (ball, np.full(3, mesh_colour) * (light * mesh)[..., None], 1.0),
        (ring, np.full(3, 150.0) * round_[..., None], 1.0),
    ]


def _person(frame: Frame) -> np.ndarray:
    return frame.ids > 0


KINDS: dict[str, tuple[Callable[[Frame, np.random.Generator], list[Layer]], str]] = {
    "glasses": (glasses, "eye_g"),
    "paper": (paper, "background"),
    "cup": (cup, "background"),
    "hair": (hair, "hair"),
    "mask": (surgical_mask, "background"),
    "microphone": (microphone, "background"),
}
"""Kind -> how it is drawn, and the class that is then there."""
