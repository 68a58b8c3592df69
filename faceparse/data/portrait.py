"""Portraits cut out of their photos, with the mask in the alpha channel -> a grey mask per picture."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageOps

from faceparse import images
from faceparse.labels import JPEG_SUFFIXES

PHOTOS, CUTOUTS, HALF = "clip_img", "matting", "matting_human_half"
"""AISegment's folders: `clip_img/<a>/clip_<b>/<id>.jpg`, `matting/<a>/matting_<b>/<id>.png`; and what may hold both."""

Place = tuple[str, ...]
"""The folders that a file lies in, without `clip_` and `matting_`, and its stem."""


@dataclass(frozen=True)
class Portrait:
    """A cut-out and the photo that it was cut out of; `photo` is None where the cut-out is the only picture."""

    cutout: Path
    photo: Path | None


def find_portraits(folder: Path) -> tuple[dict[str, Portrait], list[str]]:
    """The portraits of a folder by the name of their mask, and a sentence for each file without a partner or a name.

    `folder` holds AISegment's two folders (or `HALF`, which holds them), or cut-outs at any depth. A portrait is called
    by its stem; those that share one are called by their folders too, `a_b_stem`, so that all fit into one folder.
    Hidden files are passed over. Raises FileNotFoundError for a folder that is missing or without pictures.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the one with {PHOTOS} and {CUTOUTS}, or with cut-outs")
    root = next((root for root in (folder, folder / HALF) if (root / PHOTOS).is_dir()), None)
    if root is None:
        cutouts, faults = _by_place(folder)
        found = {place: Portrait(path, None) for place, path in cutouts.items()}
    else:
        cutouts, faults = _by_place(root / CUTOUTS, "matting_")
        photos, more = _by_place(root / PHOTOS, "clip_")
        found = {place: Portrait(path, photos[place]) for place, path in cutouts.items() if place in photos}
        alone = [(path, PHOTOS, "photo") for place, path in cutouts.items() if place not in photos]
        alone += [(path, CUTOUTS, "cut-out") for place, path in photos.items() if place not in cutouts]
        faults += more + [f"{path}: no {what} of its folder and name in {root / other}" for path, other, what in alone]
    named, clashes = _named(found)
    return named, faults + clashes


def _by_place(folder: Path, prefix: str = "") -> tuple[dict[Place, Path], list[str]]:
    """The pictures below a folder, and a sentence for each whose place is taken; of twins, a JPEG comes last.

    `prefix` is what the names of its folders may begin with.
    """
    found: dict[Place, Path] = {}
    faults = []
    for path in sorted(images.list_images(folder, recursive=True), key=_is_jpeg):
        folders = path.relative_to(folder).parent.parts
        if any(name.startswith(".") for name in folders):
            continue
        place = (*(name.removeprefix(prefix) for name in folders), path.stem)
        first = found.setdefault(place, path)
        if first is not path:
            faults.append(f"{path}: {first} has the same folder and name; keep one of them")
    return found, faults


def _is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in JPEG_SUFFIXES


def _kind(path: Path) -> str:
    return JPEG_SUFFIXES[0] if _is_jpeg(path) else path.suffix.lower()


def _named(found: dict[Place, Portrait]) -> tuple[dict[str, Portrait], list[str]]:
    """The portraits by names that differ in more than capitals, and a sentence for each that gets none."""
    stems = Counter(place[-1].casefold() for place in found)
    named: dict[str, Portrait] = {}
    owners: dict[str, Portrait] = {}
    faults = []
    for place, portrait in found.items():
        name = place[-1] if stems[place[-1].casefold()] == 1 else "_".join(place)
        owner = owners.setdefault(name.casefold(), portrait)
        if owner is portrait:
            named[name] = portrait
        else:
            faults.append(f"{portrait.cutout}: its mask would be {name}.png, as that of {owner.cutout}; rename one")
    return named, faults


def read_cutout(path: Path) -> np.ndarray:
    """uint8 (H, W, 4) RGBA, turned as its EXIF entry says, colours as stored also where alpha is 0.

    Raises `images.UnreadableImage`, and ValueError for a picture without an alpha channel.
    """
    with images.header(path) as image:
        image.verify()  # a PNG's checksums, which decoding passes over: a changed byte would be a wrong mask
    with images.opened(path) as image:
        rgba = ImageOps.exif_transpose(image).convert("RGBA") if image.has_transparency_data else None
    if rgba is None:
        raise ValueError(f"{path}: there is no alpha channel to take the mask from; give an RGBA cut-out")
    return np.array(rgba)


def write_portrait(portrait: Portrait, mask_path: Path, face_path: Path | None = None, size: int | None = None) -> None:
    """Write the alpha channel as a grey PNG; and the picture, where `face_path` is given: the photo or own colours.

    `size` is the longer side in pixels that both are brought to; without it, a photo of the same format is copied byte
    by byte. Nothing is written unless both files are sound. Raises `images.UnreadableImage`, and ValueError for a
    cut-out without alpha and for a photo of another size.
    """
    cutout, photo = portrait.cutout, portrait.photo
    rgba = read_cutout(cutout)
    alpha = rgba[..., 3]
    picture = rgba[..., :3] if photo is None else images.read_rgb(photo)
    if picture.shape[:2] != alpha.shape:
        (height, width), (high, wide) = alpha.shape, picture.shape[:2]
        raise ValueError(f"{cutout} is {width}x{height} but its photo {photo} is {wide}x{high}; give both one size")
    hw = alpha.shape if size is None else images.fitted(alpha.shape, size)
    if face_path is not None and photo is not None and size is None and _kind(photo) == _kind(face_path):
        with images.written_whole(face_path) as beside:
            shutil.copyfile(photo, beside)
    elif face_path is not None:
        images.write_rgb(face_path, images.resize(picture, hw))
    images.write_mask(mask_path, images.resize(alpha, hw))


def write_pairs(path: Path, pairs: Iterable[tuple[Path, Path]]) -> None:
    """Write rows picture,mask under a heading; paths are relative to the table's folder, absolute on another drive."""
    rows = [[_relative(file, path.parent) for file in pair] for pair in pairs]
    images.write_csv(path, [("picture", "mask"), *rows])


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # Windows has no way from one drive to another
        return path.resolve().as_posix()
