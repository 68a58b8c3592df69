"""Pictures as they should not be: good ones in every format, changed by chance, and faults made on purpose."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

HW = (48, 64)
"""Height and width of the good pictures: the left half is dark, the right half is bright."""

SAVED: dict[str, dict[str, object]] = {
    "jpg": {"quality": 90},
    "png": {},
    "webp": {"lossless": True},
    "tif": {"compression": "tiff_lzw"},
    "gif": {},
    "bmp": {},
    "jp2": {},
    "ppm": {},
}
"""Suffix -> how Pillow saves it."""


def half() -> Image.Image:
    """RGB, dark on the left, bright on the right."""
    pixels = np.full((*HW, 3), 8, np.uint8)
    pixels[:, HW[1] // 2 :] = 247
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **more: object) -> bytes:
    """The bytes of a file; `form` is Pillow's name or a suffix of `SAVED`."""
    file = io.BytesIO()
    name = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(form, form.upper())
    image.save(file, name, **{**SAVED.get(form, {}), **more})  # type: ignore[arg-type]
    return file.getvalue()


def good() -> dict[str, bytes]:
    """Name -> a file whose mask is known: bright on the right."""
    image = half()
    files = {f"good.{suffix}": encoded(image, suffix) for suffix in SAVED}
    odd_names = ["a b.png", "a\nb.png", "лицо.png", "面😀.png", "a..png", "%s{0}.png", "-x.png", "é.png", "x" * 251]
    files |= {name if "." in name else f"{name}.png": files["good.png"] for name in odd_names}
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "white")] * 3}
    files |= {f"animated.{suffix}": encoded(image, suffix, **frames) for suffix in ("gif", "png", "webp", "tif")}
    files["wrong suffix.jpg"] = files["good.png"]
    files["wrong suffix.png"] = files["good.jpg"]
    files["huge exif.jpg"] = encoded(image, "jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0e" * 32000)
    files["broken icc.jpg"] = encoded(image, "jpg", icc_profile=b"no profile" * 5000)
    files["broken icc.png"] = encoded(image, "png", icc_profile=b"\0" * 128)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files["cut icc.webp"] = encoded(image, "webp", icc_profile=profile[: len(profile) // 2])
    floats = np.repeat(np.asarray(image.convert("L"), np.float32)[..., None] / 255, 1, axis=2)[..., 0]
    floats[:4, :4] = np.nan
    files["some nan.tif"] = encoded(Image.fromarray(floats), "TIFF")
    return files


def odd() -> dict[str, bytes]:
    """Name -> a file that is a picture, of which no more is said than that it has a mask of its size."""
    flat = np.full(HW, np.nan, np.float32)
    files = {"nan.tif": encoded(Image.fromarray(flat), "TIFF")}
    files["infinite.tif"] = encoded(Image.fromarray(flat - np.inf), "TIFF")
    for height, width in ((1, 1), (1, 300), (300, 1), (2, 5000)):
        files[f"{width}x{height}.png"] = encoded(Image.new("RGB", (width, height), "white"), "png")
    files["1x1.gif"] = encoded(Image.new("P", (1, 1)), "gif")
    return files


def bad() -> dict[str, bytes]:
    """Name -> a file that can't be a picture."""
    files = {"empty.jpg": b"", "zeros.png": bytes(5000), "text.webp": b"not a picture\n" * 99, "html.gif": b"<html>"}
    files["half.jpg"] = encoded(half(), "jpg")[:400]
    files["half.png"] = encoded(half(), "png")[:60]
    files["bomb.png"] = _png(60_000, 60_000)
    files["bomb of nothing.png"] = _png(2**31 - 1, 2**31 - 1)
    files["no width.png"] = _png(0, 10)
    files["bomb.bmp"] = b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 65_000, 65_000, 1, 24, 0, 0, 0, 0, 0, 0
    )
    files["bomb.gif"] = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b";"
    files["bomb of one colour.gif"] = b"GIF89a" + struct.pack("<HHBBB", 20_800, 5_168, 0x80, 0, 0) + bytes(6)
    files["bomb of one colour.gif"] += b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2D\1\0;"
    files["bomb.ppm"] = b"P6 99999 99999 255\n"
    return files


def _png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few zeros."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(9999)),
        b"IEND": b"",
    }
    whole = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + whole


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 32))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(64, len(data)))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _zero(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(1, 200)] = bytes(rng.randrange(1, 200))


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randrange(1, 300)] * rng.randrange(1, 20)


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (_cut, _flip, _flip, _flip_head, _zero, _repeat)


def mutated(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of good and odd files, each changed once or twice by chance."""
    rng = random.Random(seed)
    rgba = Image.merge("RGBA", [*half().split(), Image.linear_gradient("L").resize(HW[::-1])])
    more = {"grey.jpg": encoded(half().convert("L"), "jpg"), "cmyk.jpg": encoded(half().convert("CMYK"), "jpg")}
    more |= {"progressive.jpg": encoded(half(), "jpg", progressive=True), "alpha.png": encoded(rgba, "png")}
    more |= {"deep.png": encoded(Image.fromarray(np.full(HW, 40_000, np.uint16)), "png")}
    more |= {"palette.png": encoded(half().convert("P"), "png"), "alpha.webp": encoded(rgba, "webp", lossless=False)}
    more |= {"deflate.tif": encoded(rgba, "tif", compression="tiff_adobe_deflate")}
    more |= {"jpeg.tif": encoded(half(), "tif", compression="jpeg")}
    more |= {"turned.jpg": encoded(half(), "jpg", exif=_turned())}
    sources = list(({**good(), **odd(), **more}).items())
    for number in range(count):
        name, data = sources[number % len(sources)]
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2))):
            if changed:
                rng.choice(CHANGES)(changed, rng)
        yield f"{number:05}.{name.rpartition('.')[2]}", bytes(changed)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()
