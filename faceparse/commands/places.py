"""Where `test.py` writes what: one mask, overlay and cut-out a picture or video, never over an input or each other.

A link in `--save_path` that leads out of it is not followed: one to a file gives way to the file that is written.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from faceparse.images import is_ours, list_images


@dataclass(frozen=True)
class Place:
    """A picture, where its mask, overlay and cut-out go, and its true mask; `truth` is None where there is none."""

    picture: Path
    mask: Path
    overlay: Path
    cutout: Path
    truth: Path | None


@dataclass(frozen=True)
class VideoPlace:
    """A video file or a camera's number, and where its mask, overlay and cut-out go: videos, or folders of PNGs."""

    source: Path | int
    mask: Path
    overlay: Path
    cutout: Path


def find_places(
    sources: Sequence[str],
    recursive: bool,
    save_path: Path,
    masks_path: Path | None,
    cutout_suffix: str = ".jpg",
    others: Iterable[Path] = (),
) -> list[Place]:
    """The places of all pictures that files, folders and glob patterns stand for, in order.

    Sub-folders are mirrored below `save_path`: those of a folder, and those below the fixed part of a pattern. Masks
    and overlays that an earlier run left in `save_path` are no pictures. `others` are files that are read as well, and
    so not written over either. Raises FileNotFoundError as `list_images`, and ValueError for a mirrored folder that is
    not inside `save_path`: through a link, or a pattern with "..".
    """
    _check_folder(save_path)
    folders = {picture: folder for source in sources for picture, folder in _listed(source, recursive, save_path)}
    if not folders:
        raise FileNotFoundError(f"{', '.join(sources)}: no picture here but masks and overlays of an earlier run")
    for folder in set(folders.values()):
        _check_inside(save_path / folder, save_path)
    truths = _truths(masks_path, folders)
    kept = {path_key(path) for path in chain(folders, truths.values(), others)}
    places = []
    for picture, folder in folders.items():
        mask = _free(save_path / folder, _mask_names(picture, save_path / folder, ".png"), kept)
        overlay = _free(mask.parent, _names_after(mask, "overlay", ".jpg"), kept)
        cutout = _free(mask.parent, _names_after(mask, "cutout", cutout_suffix), kept)
        places.append(Place(picture, mask, overlay, cutout, truths.get(picture)))
    return places


def find_video_places(
    sources: Sequence[Path | int],
    save_path: Path,
    suffix: str = ".mp4",
    cutout_suffix: str = ".mp4",
    places_of_pictures: Sequence[Place] = (),
    others: Iterable[Path] = (),
) -> list[VideoPlace]:
    """The places of video files and cameras, in `save_path`; folders of PNGs where the suffixes are empty.

    A camera's begin with its number and the time, so that a recording never replaces another. A folder is never one
    with other pictures in it, or a link, or one that `places_of_pictures` or `others`, files that are read, lie in.
    """
    _check_folder(save_path)
    files = {*others, *(source for source in sources if isinstance(source, Path))}
    files.update(path for place in places_of_pictures for path in files_of(place))
    kept = {path_key(path) for path in files | {path.parent for path in files}}
    places = []
    for source in sources:
        named = Path(time.strftime(f"camera{source}_%Y%m%d_%H%M%S")) if isinstance(source, int) else source
        mask = _free(save_path, _mask_names(named, save_path, suffix), kept)
        overlay = _free(save_path, _names_after(mask, "overlay", suffix), kept)
        cutout = _free(save_path, _names_after(mask, "cutout", cutout_suffix), kept)
        places.append(VideoPlace(source, mask, overlay, cutout))
    return places


def files_of(place: Place) -> list[Path]:
    """All files of a place, read or written."""
    return [path for path in (place.picture, place.mask, place.overlay, place.cutout, place.truth) if path is not None]


def _check_folder(save_path: Path) -> None:
    if save_path.exists() and not save_path.is_dir():
        raise FileExistsError(f"{save_path}: --save_path is a file; name a folder for the masks")


def _check_inside(folder: Path, save_path: Path) -> None:
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(save_path)):
        raise ValueError(
            f"{folder}: it lies outside of --save_path {save_path}; remove the link, or '..' from the pattern"
        )


def _listed(source: str, recursive: bool, save_path: Path) -> list[tuple[Path, Path]]:
    """The pictures of one source, each with its folder relative to the source's."""
    pictures = list_images(source, recursive)
    root, saved = _root(source), Path(os.path.realpath(save_path))
    return [
        (path, path.parent.relative_to(root))
        for path in pictures
        if saved not in Path(os.path.realpath(path)).parents or not is_ours(path)
    ]


def _root(source: str) -> Path:
    """The folder that a source's sub-folders are counted from: itself, a file's, or the fixed part of a pattern."""
    path = Path(source)
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _truths(masks_path: Path | None, folders: dict[Path, Path]) -> dict[Path, Path]:
    """Picture -> true mask: the one of the same stem in the mirrored folder; a PNG is taken before a JPEG."""
    if masks_path is None:
        return {}
    masks = list_images(masks_path, recursive=True)
    if masks_path.is_file():
        return dict.fromkeys(folders, masks_path) if len(folders) == 1 else {}
    by_stem = {(path.parent.relative_to(masks_path), path.stem): path for path in sorted(masks, key=_png_last)}
    found = {picture: by_stem.get((folder, picture.stem)) for picture, folder in folders.items()}
    return {picture: truth for picture, truth in found.items() if truth is not None}


def _png_last(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _mask_names(picture: Path, folder: Path, suffix: str) -> Iterable[str]:
    """Names for a mask, best first: the stem, marked as a mask beside its own picture, the full name of a twin."""
    stem, name = picture.stem, picture.name
    beside = [f"{stem}_mask{suffix}"] if path_key(folder / f"{stem}{suffix}") == path_key(picture) else []
    return chain([f"{stem}{suffix}", *beside, f"{name}{suffix}"], (f"{name}_mask{n}{suffix}" for n in count(1)))


def _names_after(mask: Path, what: str, suffix: str) -> Iterable[str]:
    return chain([f"{mask.stem}_{what}{suffix}"], (f"{mask.stem}_{what}{n}{suffix}" for n in count(2)))


def _free(folder: Path, names: Iterable[str], kept: set[str]) -> Path:
    """The first name that nothing else has; it is taken from then on."""
    paths = (folder / name for name in names if name.strip("."))  # a folder named after "...mp4" would be the parent
    path = next(path for path in paths if path_key(path) not in kept and not _is_of_others(path))
    kept.add(path_key(path))
    return path


def _is_of_others(path: Path) -> bool:
    """Whether it is a folder that could not be filled with frames: a link, or one with pictures not made here."""
    pictures = (file for file in path.glob("*.png") if not file.name.startswith("."))  # hidden: half-written
    return os.path.isdir(path) and (path.is_symlink() or not all(map(is_ours, pictures)))


def path_key(path: Path) -> str:
    """Equal for paths that may be one file, also on disks that know no capitals or write "é" as two characters."""
    return unicodedata.normalize("NFC", os.path.realpath(path).casefold())
