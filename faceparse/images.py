"""Pictures and masks as files: read, write, list, pair and look at them.

Arrays are uint8; pictures are (H, W, 3) RGB, masks (H, W). What is written appears under its name only when complete.
"""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import os
import re
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from faceparse.labels import FOREGROUND, JPEG_SUFFIXES, LabelSet

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm"})
MAX_PIXELS = 1 << 29
"""Largest picture that is decoded (536 million pixels, 1.6 GB as RGB); a larger one is taken for a bomb."""
SMALL_PIXELS, PIXELS_PER_BYTE = 1 << 26, 10_000
"""A picture of more pixels than both, the second for each byte of its file, is a bomb: a PNG of one bit has 8250."""
MARK = "faceparse"
"""What a file says that was made here: as "Software" in a PNG mask, as the comment in a JPEG overlay."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own would refuse the photos of 200-megapixel telephones
warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata; set once: it can't be per thread

_ORIENTATION = 0x0112  # EXIF's number for the way a camera was held
_BAND_PIXELS = 1 << 20
_HALF_WRITTEN = ".part"

# How an upright picture lies in its file: orientation -> are rows and columns swapped, then the steps along each.
_STORED = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, -1, 1),
    7: (True, -1, -1),
    8: (True, 1, -1),
}

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"

# What Pillow's decoders raise for files that are broken, cut short or not pictures at all.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class UnreadableImage(ValueError):
    """A file that is missing or is no picture; the message names the file and the reason."""


def _unreadable(path: str | os.PathLike[str], reason: object) -> UnreadableImage:
    return UnreadableImage(f"{os.fspath(path)}: cannot be read as a picture ({reason})")


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture as a person sees it: uint8 (H, W, 3) RGB, turned as its EXIF entry says.

    Grey, 16-bit, CMYK, palette and transparent pictures are converted (transparent parts show white); of an animation,
    the first frame. Raises `UnreadableImage`.
    """
    with opened(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) RGB from a Pillow image of any mode, turned as its EXIF entry says."""
    image.load()  # a TIFF turns itself as it loads
    if _orientation(image) != 1:  # a copy of a large photo is not made for nothing
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # more than 8 bits, which convert("RGB") would clip
        return np.repeat(_to_8_bit(np.asarray(image))[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def as_stored(upright: np.ndarray, image: Image.Image) -> np.ndarray:
    """An array (..., H, W) made from `to_rgb(image)`, turned back to lie as `image` does: (..., height, width)."""
    sideways, down, across = _STORED[_orientation(image)]
    turned = upright.swapaxes(-1, -2) if sideways else upright
    return np.ascontiguousarray(turned[..., ::down, ::across])


def _orientation(image: Image.Image) -> int:
    """EXIF's 1 to 8; 1, upright, for any other entry or none."""
    orientation = image.getexif().get(_ORIENTATION)
    return orientation if orientation in _STORED else 1


def _to_8_bit(grey: np.ndarray) -> np.ndarray:
    """uint8 from 16-bit integers, or from floats whose white is 1 or 255."""
    if np.issubdtype(grey.dtype, np.floating):
        grey = np.nan_to_num(grey)
        return np.clip(grey * (255 if grey.max() <= 1 else 1), 0, 255).astype(np.uint8)
    return np.clip(grey.astype(np.int64) >> 8, 0, 255).astype(np.uint8)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """A mask's stored values, uint8 (H, W): the indices of a palette picture, the grey values of any other.

    Raises `UnreadableImage`.
    """
    with opened(path) as image:
        return np.array(image if image.mode in ("L", "P") else image.convert("L"))


def read_grey(path: str | os.PathLike[str]) -> np.ndarray:
    """Brightness of an RGB, grey or palette picture, uint8 (H, W), without EXIF turn; faster than `read_mask`.

    Where kornia-rs is installed (the extra "fast"), several times as fast for PNGs. Raises `UnreadableImage`.
    """
    try:
        check_is_file(path)
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise _unreadable(path, error.strerror or error) from error
    rgb = _plain_png(data.tobytes())
    if rgb is not None:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    except cv2.error as error:  # more pixels than OpenCV takes
        raise _unreadable(path, error.err) from error
    if bgr is None:
        raise _unreadable(path, "empty, cut short or not a picture")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


@cache
def _fast_decoder() -> Callable[[bytes, tuple[int, int], str], np.ndarray] | None:
    """kornia-rs's decoder of 8-bit PNGs: (bytes, (H, W), "rgb") -> (H, W, 3); None where it is not installed."""
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:
        return None
    return decode_image_png_u8


def _plain_png(data: bytes) -> np.ndarray | None:
    """uint8 (H, W, 3) RGB of a sound 8-bit RGB PNG, in a fraction of the usual time; None for anything else."""
    decode, is_whole = _fast_decoder(), data.startswith(_PNG_START) and data.endswith(_PNG_END)
    if decode is None or not is_whole or data[24:26] != b"\x08\x02":  # 8 bits, RGB
        return None
    width, height = struct.unpack(">II", data[16:24])
    if width * height > MAX_PIXELS:
        return None
    try:
        pixels = decode(data, (height, width), "rgb")
    except Exception:  # kornia-rs raises nothing narrower; OpenCV has another try, and the last word
        return None
    return pixels if pixels.shape == (height, width, 3) else None  # a transparent colour makes a fourth channel


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A Pillow image with its pixels loaded; everything that goes wrong becomes `UnreadableImage`."""
    with header(path) as image:
        image.load()
        yield image


@contextmanager
def header(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A Pillow image of which only the header is read; everything that goes wrong becomes `UnreadableImage`."""
    try:
        check_is_file(path)
        with Image.open(path) as image:
            pixels, size = image.width * image.height, os.path.getsize(path)
            if pixels > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} is more than {MAX_PIXELS} pixels")
            if pixels > max(SMALL_PIXELS, PIXELS_PER_BYTE * size):
                raise ValueError(f"{image.width}x{image.height} pixels in {size} bytes: a decompression bomb")
            yield image
    except UnidentifiedImageError as error:
        raise _unreadable(path, "not a picture of a known format") from error
    except _DECODE_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error).replace(repr(os.fspath(path)), "the file")
        raise _unreadable(path, reason) from error


def check_is_file(path: str | os.PathLike[str]) -> None:
    """OSError for a pipe, a socket or a device, which might be waited for or read for ever; and for what is missing."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # whoever reads a folder is told that it is one
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device", os.fspath(path))


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) as `read_rgb` will return it, from the header alone. Raises `UnreadableImage`."""
    with header(path) as image:
        sideways = _STORED[_orientation(image)][0]
        return (image.width, image.height) if sideways else (image.height, image.width)


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether the file carries `MARK`: a mask or an overlay that was written here, and no photo."""
    try:
        with header(path) as image:
            return image.info.get("Software") == MARK or image.info.get("comment") == MARK.encode()
    except UnreadableImage:
        return False


def read_pair(image_path: Path, mask_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its mask at the mask's size: uint8 (H, W, 3) RGB and uint8 (H, W).

    CelebAMask-HQ publishes 1024-pixel photos with 512-pixel masks, so a picture that is a whole number of times larger
    than its mask is reduced to the mask. Raises `UnreadableImage`, and ValueError for sizes that do not fit.
    """
    image, mask = read_rgb(image_path), read_mask(mask_path)
    check_sizes(image_path, image.shape[:2], mask_path, mask.shape)
    if image.shape[:2] != mask.shape:
        image = cv2.resize(image, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    return image, mask


def check_sizes(image_path: Path, image_hw: tuple[int, ...], mask_path: Path, mask_hw: tuple[int, ...]) -> int:
    """How many times larger the picture is than its mask (a whole number, mostly 1); ValueError when it is none."""
    factor = max(1, image_hw[0] // mask_hw[0])
    if (mask_hw[0] * factor, mask_hw[1] * factor) != tuple(image_hw):
        raise ValueError(
            f"{mask_path} is {mask_hw[1]}x{mask_hw[0]} but its picture {image_path} is {image_hw[1]}x{image_hw[0]}: "
            "make the mask anew from this picture, or resize one to the other"
        )
    return factor


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the name `path` when the block ends without an error.

    A link that is called `path` is replaced by the file; what it led to stays as it is. An OSError that names no file,
    of a full disk for instance, names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = hashlib.blake2s(os.fsencode(path.name), digest_size=8).hexdigest()  # short, however long the name is
    beside = path.with_name(f".{name}.{os.getpid()}{_HALF_WRITTEN}{path.suffix}")
    beside.unlink(missing_ok=True)  # a link of that name would be followed
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def remove_half_written(folder: Path) -> None:
    """Delete what `written_whole` left in a folder when it was killed; for folders that nobody else writes to."""
    for path in folder.glob("." + "[0-9a-f]" * 16 + f".*{_HALF_WRITTEN}*"):
        path.unlink(missing_ok=True)


def check_apart(read: Iterable[Path], written: Iterable[Path]) -> None:
    """ValueError for a file that is read and would be written over, under whatever name, link or folder."""
    there: dict[tuple[int, int], Path] = {}
    for path in written:
        with suppress(OSError):  # what is not there replaces nothing
            state = path.stat()
            there[state.st_dev, state.st_ino] = path
    for path in read if there else ():
        with suppress(OSError):  # whoever reads it will tell
            state = path.stat()
            if replaced := there.get((state.st_dev, state.st_ino)):
                raise ValueError(
                    f"{path} is read and would be replaced by {replaced}; choose another folder to write to"
                )


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, a heading among them if wanted, as a table, UTF-8; names that are no text keep their bytes."""
    with (
        written_whole(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_json(path: Path, value: object) -> None:
    """Write plain values as indented JSON, UTF-8; anything else, a path for instance, as its text."""
    with written_whole(path) as beside:
        text = json.dumps(value, indent=1, default=str) + "\n"
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_mask(path: Path, mask: np.ndarray, labels: LabelSet | None = None) -> None:
    """Write uint8 (H, W) as a lossless PNG: grey, or with the colours of `labels` as a palette over its class ids.

    A view of masks, uint8 (H, W, 3) RGB or (H, W, 4) RGBA, is written as it is. The file says that it was made here.
    """
    image = Image.fromarray(np.ascontiguousarray(mask))
    if labels is not None:
        image.putpalette([channel for colour in labels.colours for channel in colour])
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", MARK)
    with written_whole(path) as beside:
        image.save(beside, format="PNG", compress_level=1, pnginfo=about)


def write_rgb(path: Path, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 (H, W, 3) RGB in the format that the suffix names; `quality` is JPEG's, 1..100.

    Raises ValueError for a picture that the format can't hold (a JPEG: over 65500 pixels a side).
    """
    with written_whole(path) as beside:
        beside.write_bytes(_encoded(path, image, quality))


def write_overlay(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as a JPEG with `MARK` as its comment.

    Raises ValueError for a picture that the format can't hold (a JPEG: over 65500 pixels a side).
    """
    data = _encoded(path, image, quality=90)
    head = 4 + int.from_bytes(data[4:6], "big")  # start of image, then JFIF's segment, which has to come first
    comment = b"\xff\xfe" + (2 + len(MARK)).to_bytes(2, "big") + MARK.encode()
    with written_whole(path) as beside, beside.open("wb") as file:
        file.writelines([data[:head], comment, data[head:]])


def _encoded(path: Path, image: np.ndarray, quality: int) -> bytes:
    """The bytes of a file with the suffix of `path`; ValueError names it when the picture does not fit the format."""
    coding = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in JPEG_SUFFIXES else []
    try:
        done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), coding)
    except cv2.error:  # OpenCV 4 raises where 5 answers False
        done = False
    if not done:
        raise ValueError(f"{path}: {image.shape[1]}x{image.shape[0]} pixels are more than this format holds")
    return data.tobytes()


def list_images(source: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """The pictures that a file, a folder (with sub-folders if `recursive`) or a glob pattern stands for, in name order.

    Hidden files are left out. Raises FileNotFoundError when there is nothing there, or no picture in it.
    """
    if not os.fspath(source):
        raise FileNotFoundError("the path of the pictures is empty: name a file, a folder or a pattern")
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found: Iterable[Path] = (
            Path(folder) / name
            for folder, _, names in os.walk(path)
            if recursive or Path(folder) == path
            for name in names
        )
    else:
        found = matching(path)
    pictures = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    if not pictures:
        if not path.is_dir():
            raise FileNotFoundError(f"{source}: no such file or folder, and no picture matches it as a pattern")
        deeper = "" if recursive else " itself (its sub-folders were not searched)"
        raise FileNotFoundError(f"{source}: no picture in this folder{deeper}")
    return sorted(pictures, key=natural_order)


def matching(pattern: Path) -> list[Path]:
    """The files that a glob pattern stands for, in name order; "[2024]" in the name of a folder that is there is text.

    "**" is any number of folders and follows no link.
    """
    folder = next((parent for parent in pattern.parents if parent.is_dir()), Path())
    names = _matching(Path(glob.escape(os.fspath(folder)), pattern.relative_to(folder)))
    return sorted({Path(name) for name in names if os.path.isfile(name)}, key=natural_order)


def _matching(pattern: Path) -> Iterator[str]:
    """As `glob.glob(pattern, recursive=True)`, but "**" follows no link: one that leads upwards has no end."""
    if "**" not in pattern.parts:
        yield from glob.glob(os.fspath(pattern))
        return
    at = pattern.parts.index("**")
    rest = pattern.parts[at + 1 :] or ("*",)
    for start in glob.glob(os.fspath(Path(*pattern.parts[:at]))):
        for folder, deeper, _ in os.walk(start):
            deeper[:] = [name for name in deeper if not name.startswith(".")]
            yield from _matching(Path(glob.escape(folder), *rest))


def natural_order(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Sort key that puts 2.jpg before 10.jpg."""
    pieces = re.findall(r"\d+|\D+", path.name)
    return os.fspath(path.parent), [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def pair_by_stem(images_dir: Path, masks_dir: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pictures with the mask of the same stem, and the pictures that have none; FileNotFoundError as `list_images`."""
    masks = {path.stem: path for path in list_images(masks_dir)}
    pictures = list_images(images_dir)
    pairs = [(path, masks[path.stem]) for path in pictures if path.stem in masks]
    return pairs, [path for path in pictures if path.stem not in masks]


def fitted(shape: Sequence[int], size: int) -> tuple[int, int]:
    """(h, w) of a picture of shape (H, W, ...) brought to `size` pixels on its longer side; at least 1 each."""
    scale = size / max(shape[:2])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def resize(image: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (h, w, 3); averaged where it shrinks, bilinear where it grows."""
    if image.shape[:2] == hw:
        return image
    shrinks = hw[0] * hw[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def covering(picture: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (h, w, 3): its middle, scaled until it covers that size, nothing squeezed."""
    return resize(middle(picture, hw), hw)  # cut first: it may be a long strip


def middle(picture: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The part of uint8 (H, W, 3) that `covering` shows, at the picture's own scale."""
    size = picture.shape[:2]
    scale = max(new / old for new, old in zip(hw, size, strict=True))
    h, w = (min(old, max(1, round(new / scale))) for new, old in zip(hw, size, strict=True))
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    return picture[top : top + h, left : left + w]


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, opacity: float = 0.5) -> np.ndarray:
    """The mask in the colours of `labels` over the picture, uint8 (H, W, 3) RGB; the background stays as it is.

    `image` is uint8 (H, W, 3) RGB, `mask` uint8 (H, W): 0/255 for a two-class set, else class ids.
    """
    palette = np.zeros((1, 256, 3), np.uint8)
    palette[0, : len(labels)] = labels.colours
    shown = image.copy()
    step = max(1, _BAND_PIXELS // image.shape[1])  # what is made on the way stays small beside a large photo
    for rows in (slice(top, top + step) for top in range(0, len(image), step)):
        ids = mask[rows] // FOREGROUND if labels.is_binary else mask[rows]
        colours = cv2.LUT(cv2.merge([ids] * 3), palette)
        cv2.copyTo(cv2.addWeighted(image[rows], 1 - opacity, colours, opacity, 0), ids, shown[rows])
    return shown
