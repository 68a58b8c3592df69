"""Every class name, id, colour, mirror pair, paint order and group of the library; they stand nowhere else.

A mask on disk holds class ids (uint8); `IGNORE` marks pixels that neither a loss nor a score looks at. A smaller label
set is a lookup table over a larger one, so that no second copy of the data is ever made.
"""

from __future__ import annotations

import colorsys
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from faceparse.words import hint

if TYPE_CHECKING:  # numpy is imported when the first table is built: `--help` has no use for it
    from collections.abc import Sequence

    import numpy as np

IGNORE = 255
"""Id of the pixels that losses and scores pass over."""

FOREGROUND = 255
"""Value of a set pixel in the 0/255 mask of a two-class label set."""

MAX_NAME = 256
"""Most characters in the name of a class or of a label set."""

JPEG_SUFFIXES = (".jpg", ".jpeg")
"""A mask in such a file can't hold ids: JPEG adds values around the true ones."""


@dataclass(frozen=True)
class LabelSet:
    """Named classes with ids 0, 1, 2 ... in order; class 0 is the background.

    `colours` are RGB, 0..255. `mirrors` names the pairs that change places when a picture is flipped left to right.
    `members` says, class by class, which classes of `source` make up a class of this set.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    mirrors: tuple[tuple[str, str], ...] = ()
    source: LabelSet | None = None
    members: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def is_binary(self) -> bool:
        """Whether a mask of this set is written as 0 and 255 instead of class ids."""
        return len(self.classes) == 2

    def id(self, class_name: str) -> int:
        """The id of a class; ValueError names the choices when there is no such class."""
        if class_name not in self.classes:
            raise ValueError(f"label set {self.name!r} has no class {class_name!r}; {hint(class_name, self.classes)}")
        return self.classes.index(class_name)

    @cached_property
    def mirror_table(self) -> np.ndarray:
        """uint8 (256,): the id that each id turns into when the picture is flipped left to right."""
        import numpy as np

        table = np.arange(256, dtype=np.uint8)
        for left, right in self.mirrors:
            table[self.id(left)], table[self.id(right)] = self.id(right), self.id(left)
        return table

    @cached_property
    def table(self) -> np.ndarray:
        """uint8 (256,): ids of `source` (this set itself where there is none) -> ids of this set; `IGNORE` stays."""
        import numpy as np

        table = np.zeros(256, dtype=np.uint8)
        table[IGNORE] = IGNORE
        if self.source is None:
            table[: len(self)] = np.arange(len(self))
        for class_id, names in enumerate(self.members):
            for name in names:
                assert self.source is not None
                table[self.source.id(name)] = class_id
        return table

    def group(self, name: str, colour: tuple[int, int, int], members: tuple[str, ...]) -> LabelSet:
        """A two-class set over this one: `members` become class 1, called `name`; everything else is background."""
        return LabelSet(
            name=name,
            classes=("background", name),
            colours=((0, 0, 0), colour),
            source=self,
            members=((), members),
        )

    def of_classes(self, names: Sequence[str]) -> LabelSet:
        """The two-class set of some classes together, in the colour of the first.

        Raises ValueError as `id`, and for none or the background, which is whatever no class takes.
        """
        ids = [self.id(name) for name in names]
        if not all(ids) or not ids:
            raise ValueError(f"name one or more classes but the background out of: {', '.join(self.classes[1:])}")
        return self.group("+".join(names), self.colours[ids[0]], tuple(names))

    def members_in(self, larger: LabelSet) -> list[list[int]]:
        """For each class of this set the ids of `larger` that make it up; the background is whatever no class takes.

        Raises ValueError when this set is not made of the classes of `larger`.
        """
        if self.classes == larger.classes:
            return [[class_id] for class_id in range(len(self))]
        if self.source is None or self.source.classes != larger.classes:
            raise ValueError(
                f"{self.name!r} can't be made of the classes of {larger.name!r}: {', '.join(larger.classes)}"
            )
        made = self.table[: len(larger)]
        return [[id_ for id_ in range(len(larger)) if made[id_] == class_id] for class_id in range(len(self))]


# CelebAMask-HQ (Lee et al. 2020, https://arxiv.org/abs/1907.11922), ids in the order of its authors' g_mask.py.
# `l_` is the person's left, which is the picture's right.
_CELEBAMASK_COLOURS = {
    "background": (0, 0, 0),
    "skin": (204, 110, 90),
    "nose": (76, 153, 0),
    "eye_g": (204, 204, 0),
    "l_eye": (51, 51, 255),
    "r_eye": (0, 204, 204),
    "l_brow": (204, 0, 204),
    "r_brow": (255, 153, 255),
    "l_ear": (102, 51, 0),
    "r_ear": (255, 128, 0),
    "mouth": (102, 204, 0),
    "u_lip": (255, 255, 0),
    "l_lip": (0, 0, 153),
    "hair": (40, 80, 190),
    "hat": (255, 102, 178),
    "ear_r": (0, 255, 255),
    "neck_l": (240, 240, 240),
    "neck": (255, 204, 153),
    "cloth": (0, 102, 51),
}

CELEBAMASK = LabelSet(
    name="celebamask",
    classes=tuple(_CELEBAMASK_COLOURS),
    colours=tuple(_CELEBAMASK_COLOURS.values()),
    mirrors=(("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")),
)

_PARTS = "skin, nose, glasses, left eye, right eye, left brow, right brow, left ear, right ear, mouth (inside), "
_PARTS += "upper lip, lower lip, hair, hat, earring, necklace, neck, clothes"
SAID = dict(zip(CELEBAMASK.classes[1:], _PARTS.split(", "), strict=True))
"""CelebAMask-HQ's classes as people call them."""

PAINT_ORDER: tuple[str, ...] = CELEBAMASK.classes[1:]
"""Order in which CelebAMask-HQ's overlapping part files are painted into one mask; a later part covers an earlier one.

It is the authors' own order, which is the order of the ids: an eye seen through glasses stays an eye, the rest of the
glasses covers skin, hair covers both, a hat covers hair.
"""

FACE = CELEBAMASK.group(
    "face",
    (0, 200, 120),
    ("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip"),
)
FACE_WITH_GLASSES = CELEBAMASK.group("face_with_glasses", (0, 140, 220), (*FACE.members[1], "eye_g"))
HAIR = CELEBAMASK.group("hair", (40, 80, 190), ("hair",))
PERSON = LabelSet("person", ("background", "person"), ((0, 0, 0), (60, 120, 220)))

LABEL_SETS: dict[str, LabelSet] = {
    labels.name: labels
    for labels in (
        FACE,
        FACE_WITH_GLASSES,
        HAIR,
        CELEBAMASK,
        PERSON,
    )
}

OF_CELEBAMASK = tuple(name for name, labels in LABEL_SETS.items() if labels.source is CELEBAMASK)
"""The sets that masks and weights of all 19 classes answer as well."""


def label_set(name: str) -> LabelSet:
    """The set of that name, or the one that a JSON file of that path describes.

    The file holds {"classes": ["background", "cat", ...]} and, if wanted, "name", "colours": [[R, G, B], ...] and
    "mirrors": [["left_ear", "right_ear"], ...]. Raises ValueError that says what is wrong with which.
    """
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    if not name.endswith(".json"):
        raise ValueError(f"there is no label set {name!r}; {hint(name, LABEL_SETS)} (or a .json file of your own)")
    try:
        shape = json.loads(Path(name).read_text(encoding="utf-8-sig"))
        own_colours = [_own_colour(class_id) for class_id in range(len(shape["classes"]))]
        shape = {"name": Path(name).stem, "colours": own_colours, "mirrors": []} | shape
    except OSError as error:
        raise ValueError(f"{name}: can't be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{name}: not a label set; it holds {{"classes": ["background", ...]}}') from error
    try:
        labels = described(shape)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error
    if labels.source is not None:
        raise ValueError(f'{name}: {labels.name!r} with these classes is a set of the package; give "name" another')
    return labels


def described(shape: dict[str, Any]) -> LabelSet:
    """The set that a file describes: "name", "classes", "colours" and "mirrors", as JSON has them.

    Of the names and classes of a set of the package it is that one, which knows what it is made of. Raises ValueError
    that says what is wrong, and KeyError and TypeError for what is no description.
    """
    name, classes, colours, mirrors = (shape[key] for key in ("name", "classes", "colours", "mirrors"))
    counts = f"{len(classes)} classes with {len(colours)} colours and {len(mirrors)} mirrored pairs"
    are_few = isinstance(classes, list) and 1 < len(classes) <= IGNORE  # first: nothing is done a million times
    are_names = are_few and all(isinstance(it, str) and _is_name(it) for it in (name, *classes))
    if not are_names or len(set(classes)) < len(classes):
        rule = f"classes are 2 to {IGNORE} different names, the background first"
        raise ValueError(f"{counts}: {rule}; a name, of the set too, has at most {MAX_NAME} characters of Unicode")
    are_rgb = len(colours) == len(classes) and all(len(colour) == 3 for colour in colours)
    if not are_rgb or not all(isinstance(it, int) and 0 <= it <= 255 for colour in colours for it in colour):
        raise ValueError(f"{counts}: colours are [R, G, B], each 0 to 255, one for every class")
    are_pairs = 2 * len(mirrors) <= len(classes) and all(len(pair) == 2 for pair in mirrors)
    mirrored = [it for pair in mirrors for it in pair] if are_pairs else []
    if not are_pairs or any(it not in classes or mirrored.count(it) > 1 for it in mirrored):
        raise ValueError(f"{counts}: mirrors are pairs of its classes, each class in one pair")
    labels = LabelSet(name, tuple(classes), tuple(map(tuple, colours)), tuple(map(tuple, mirrors)))
    known = LABEL_SETS.get(name)
    return known if known is not None and known.classes == labels.classes else labels


def _is_name(text: str) -> bool:
    """Whether it is short, and can be written: half of a surrogate pair, which JSON can spell, can't, nor be drawn."""
    return len(text) <= MAX_NAME and not any("\ud800" <= character <= "\udfff" for character in text)


def _own_colour(class_id: int) -> tuple[int, ...]:
    """A colour for a class without one; hues a golden ratio apart stay different from each other."""
    rgb = colorsys.hsv_to_rgb(class_id * 0.618 % 1, 0.8, 0.9) if class_id else (0, 0, 0)
    return tuple(round(255 * value) for value in rgb)


def holds_ids(mask: np.ndarray, path: PurePath) -> bool:
    """Whether the stored values of a mask, uint8 (H, W), are class ids; else they are 0/255, to be cut at 127.

    A JPEG is 0/255 whatever its values; any other file at `path` when 255 is in it and nothing but 0 beside.
    """
    between = (mask > 0) & (mask < FOREGROUND)
    return path.suffix.lower() not in JPEG_SUFFIXES and bool(between.any() or not mask.any())


def face_of(mask: np.ndarray, ids: bool) -> np.ndarray:
    """Where the face is, bool (H, W), in a mask as stored, uint8 (H, W): ids of `CELEBAMASK`, or 0/255."""
    return (FACE.table == 1)[mask] if ids else mask > FOREGROUND // 2
