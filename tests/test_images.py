"""Reading, writing, listing and pairing pictures of every kind that a user may hand over."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceparse import images
from faceparse.images import UnreadableImage
from faceparse.labels import CELEBAMASK, FACE

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

Reader = Callable[[Path], object]
READERS: tuple[Reader, ...] = (images.read_rgb, images.read_mask, images.read_grey)


def save(path: Path, image: Image.Image | list | np.ndarray, **options: object) -> Path:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.array(image, dtype=np.uint8) if isinstance(image, list) else image)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def noise(size: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (size, size, 1), np.uint8).repeat(3, 2) * 255


def encoded(image: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


# reading


# How a camera writes the upright picture [[1, 2], [3, 4], [5, 6]] for each EXIF orientation.
STORED = {
    1: [[1, 2], [3, 4], [5, 6]],
    2: [[2, 1], [4, 3], [6, 5]],
    3: [[6, 5], [4, 3], [2, 1]],
    4: [[5, 6], [3, 4], [1, 2]],
    5: [[1, 3, 5], [2, 4, 6]],
    6: [[2, 4, 6], [1, 3, 5]],
    7: [[6, 4, 2], [5, 3, 1]],
    8: [[5, 3, 1], [6, 4, 2]],
}


@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_as_its_exif_entry_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", STORED[orientation], exif=exif)
    assert images.read_rgb(path)[..., 0].tolist() == STORED[1]
    assert images.size_of(path) == (3, 2)
    assert images.read_grey(path).tolist() == images.read_mask(path).tolist() == STORED[orientation]


@pytest.mark.parametrize("orientation", STORED)
def test_what_is_made_of_an_upright_picture_is_turned_back_to_lie_as_stored(orientation: int) -> None:
    stored = np.array(STORED[orientation], np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = images.to_rgb(image)[..., 0]
    assert upright.tolist() == STORED[1]
    assert images.as_stored(upright, image).tolist() == stored.tolist()
    both = images.as_stored(np.stack([upright, upright + 1]), image)
    assert both.tolist() == [stored.tolist(), (stored + 1).tolist()]


def test_an_exif_entry_that_means_nothing_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    path = save(tmp_path / "a.png", STORED[1], exif=exif)
    assert images.read_rgb(path)[..., 0].tolist() == STORED[1]
    assert images.size_of(path) == (3, 2)


def test_16_bit_grey_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 255, 256, 0x8042, 65535]], np.uint16))
    assert images.read_rgb(path).tolist() == [[[v] * 3 for v in (0, 0, 1, 0x80, 255)]]


def test_16_bit_colour_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    blue_green_red = np.array([[[0x0100, 0x7F00, 0xFF00]]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), blue_green_red)
    assert images.read_rgb(tmp_path / "a.png").tolist() == [[[0xFF, 0x7F, 0x01]]]


def test_floats_are_white_at_1_or_at_255(tmp_path: Path) -> None:
    assert images.read_rgb(save(tmp_path / "a.tif", np.array([[0, 1]], np.float32)))[0, :, 0].tolist() == [0, 255]
    assert images.read_rgb(save(tmp_path / "b.tif", np.array([[7, 300]], np.float32)))[0, :, 0].tolist() == [7, 255]


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    assert np.abs(images.read_rgb(path).astype(int) - RED).max() <= 3


def palette_image(indices: list[list[int]]) -> Image.Image:
    image = Image.fromarray(np.array(indices, np.uint8))
    image.putpalette([*RED, *GREEN, *BLUE])
    return image


def test_a_palette_picture_is_read_in_its_colours_and_as_a_mask_in_its_indices(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", palette_image([[0, 1, 2]]))
    assert images.read_rgb(path).tolist() == [[list(RED), list(GREEN), list(BLUE)]]
    assert images.read_mask(path).tolist() == [[0, 1, 2]]


def test_transparent_parts_show_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", palette_image([[0, 1]]), transparency=1)
    assert images.read_rgb(path).tolist() == [[list(RED), list(WHITE)]]
    half = save(tmp_path / "b.png", Image.fromarray(np.array([[(*RED, 255), (*RED, 0), (0, 0, 0, 51)]], np.uint8)))
    assert images.read_rgb(half).tolist() == [[list(RED), list(WHITE), [204] * 3]]  # 255 x (1 - 51 / 255)
    grey = save(tmp_path / "c.png", Image.merge("LA", [Image.new("L", (1, 1), 9), Image.new("L", (1, 1), 0)]))
    assert images.read_rgb(grey).tolist() == [[list(WHITE)]]


def test_a_grey_pixel_is_a_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", [[77]])
    assert images.read_rgb(path).tolist() == [[[77, 77, 77]]]
    assert images.read_mask(path).tolist() == images.read_grey(path).tolist() == [[77]]
    assert images.size_of(path) == (1, 1)


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.read_rgb(tmp_path / "a.gif")[0, 0].tolist() == list(RED)


def test_coloured_parts_have_the_same_brightness_whoever_decodes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kornia_rs", reason="the extra 'fast' is not installed")
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    colours[20:] //= 40  # so dark that rounding decides
    save(tmp_path / "a.png", colours)
    save(tmp_path / "clear.png", Image.fromarray(colours), transparency=(1, 2, 3))
    fast = [images.read_grey(tmp_path / name) for name in ("a.png", "clear.png")]
    monkeypatch.setattr(images, "_fast_decoder", lambda: None)
    usual = [images.read_grey(tmp_path / name) for name in ("a.png", "clear.png")]
    assert [x.tolist() for x in fast] == [x.tolist() for x in usual]


@pytest.mark.usefixtures("decoder")
def test_grey_is_brightness_for_rgb_grey_and_palette_alike(tmp_path: Path) -> None:
    expected = [[0, 255, 255, 0]]
    rgb = np.array(expected, np.uint8)[..., None].repeat(3, 2)
    palette = Image.fromarray(np.array([[0, 1, 1, 0]], np.uint8))
    palette.putpalette([0, 0, 0, *WHITE])
    grey = Image.fromarray(np.array(expected, np.uint8))
    for image in (Image.fromarray(rgb), palette, grey, grey.convert("1")):
        assert images.read_grey(save(tmp_path / "a.png", image)).tolist() == expected


# what can't be read


@pytest.mark.parametrize(
    ("reader", "form"),
    [(reader, "PNG") for reader in READERS] + [(images.read_rgb, "JPEG"), (images.read_mask, "JPEG")],
)
def test_a_picture_that_is_cut_short_is_unreadable_and_named(tmp_path: Path, reader: Reader, form: str) -> None:
    whole = encoded(noise(), form)
    for share in (0.1, 0.5, 0.9):
        path = tmp_path / "cut.png"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableImage, match=r"cut\.png: cannot be read as a picture \(.+\)"):
            reader(path)


@pytest.fixture(params=["kornia-rs", "OpenCV"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with the fast reader of PNGs, where it is installed, and once without."""
    if request.param == "OpenCV":
        monkeypatch.setattr(images, "_fast_decoder", lambda: None)
    else:
        pytest.importorskip("kornia_rs", reason="the extra 'fast' is not installed")
    return request.param


@pytest.mark.usefixtures("decoder")
def test_a_part_is_read_whole_or_not_at_all_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = encoded(noise(), "PNG")
    for length in range(len(whole)):
        path = tmp_path / "cut.png"
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImage):
            images.read_grey(path)


@pytest.mark.usefixtures("decoder")
def test_a_part_with_a_changed_bit_is_never_read_as_another_part(tmp_path: Path) -> None:
    picture = noise()
    whole, refused = encoded(picture, "PNG"), 0
    for place in range(len(whole)):
        path = tmp_path / "bit.png"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert images.read_grey(path).tolist() == picture[..., 0].tolist()
        except UnreadableImage:
            refused += 1
    assert refused >= len(whole) - 12  # all but the end mark, which carries no pixel


@pytest.mark.parametrize("reader", (*READERS, images.size_of))
@pytest.mark.parametrize("content", [b"", b"not a picture at all\n" * 50], ids=["empty", "text"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, reader: Reader, content: bytes) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"holiday\.jpg: cannot be read as a picture \(.+\)") as error:
        reader(path)
    assert str(error.value).count(str(path)) == 1


@pytest.mark.parametrize("reader", (*READERS, images.size_of))
def test_a_folder_and_a_missing_file_are_named_with_the_reason(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(UnreadableImage, match=r"Is a directory"):
        reader(tmp_path)
    with pytest.raises(UnreadableImage, match=r"gone\.png: .*No such file"):
        reader(tmp_path / "gone.png")


@pytest.mark.parametrize("reader", READERS)
def test_a_decompression_bomb_is_refused(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(UnreadableImage, match=r"bomb\.png"):
        reader(header_of(tmp_path / "bomb.png", 60_000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest undoes the filter of images.py
def test_a_photo_of_400_megapixels_is_not_too_large_and_one_of_600_is(tmp_path: Path) -> None:
    photo = header_of(tmp_path / "photo.png", 20_000)
    os.truncate(photo, 40_000)  # zeros to 10,000 pixels a byte
    with pytest.raises(UnreadableImage, match=r"truncated"):  # for its missing pixels, not for their number
        images.read_mask(photo)
    os.truncate(photo, 39_999)
    with pytest.raises(UnreadableImage, match=r"20000x20000 pixels in 39999 bytes: a decompression bomb"):
        images.read_mask(photo)
    with pytest.raises(UnreadableImage, match=r"25000x25000 is more than 536870912 pixels"):
        images.read_mask(header_of(tmp_path / "bomb.png", 25_000))


def header_of(path: Path, side: int) -> Path:
    """A PNG that says it is `side` x `side`, 8-bit grey, and holds no pixels."""
    header = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    chunks = b"".join(png_chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b"")))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_pillows_warnings_of_odd_metadata_are_not_shown() -> None:
    code = (
        "import warnings, faceparse.images; warnings.warn_explicit('odd', UserWarning, 'f', 1, module='PIL.Image');"
        "warnings.warn_explicit('kept', UserWarning, 'f', 2, module='PILLAR')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kept" in done.stderr
    assert "odd" not in done.stderr


def test_an_unreadable_picture_can_be_told_across_processes(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage) as caught:
        images.read_rgb(tmp_path / "gone.png")
    told = pickle.loads(pickle.dumps(caught.value))
    assert type(told) is UnreadableImage
    assert str(told) == str(caught.value)


def test_a_text_file_is_said_to_be_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("dear diary")
    with pytest.raises(UnreadableImage, match=r"a\.jpg: .* \(not a picture of a known format\)$"):
        images.read_rgb(tmp_path / "a.jpg")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


# pairs


def test_a_1024_photo_is_reduced_to_its_512_mask(tmp_path: Path) -> None:
    photo = np.zeros((1024, 1024, 3), np.uint8)
    photo[0, :2] = 200  # two of the four pixels that make the first one
    image, mask = images.read_pair(
        save(tmp_path / "a.png", photo), save(tmp_path / "m.png", np.full((512, 512), 3, np.uint8))
    )
    assert image.shape == (512, 512, 3)
    assert image[0, :2, 0].tolist() == [100, 0]
    assert np.unique(mask).tolist() == [3]


def test_a_pair_of_one_size_is_left_as_it_is(tmp_path: Path) -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    image, mask = images.read_pair(save(tmp_path / "a.png", picture), save(tmp_path / "m.png", picture[..., 0]))
    assert image.tolist() == picture.tolist()
    assert mask.tolist() == picture[..., 0].tolist()


@pytest.mark.parametrize("mask_hw", [(4, 7), (3, 3), (16, 12), (4, 3)])
def test_sizes_that_do_not_fit_are_named_with_both_files(tmp_path: Path, mask_hw: tuple[int, int]) -> None:
    photo = save(tmp_path / "a.png", np.zeros((8, 7, 3), np.uint8))
    mask = save(tmp_path / "m.png", np.zeros(mask_hw, np.uint8))
    sizes = rf"m\.png is {mask_hw[1]}x{mask_hw[0]} but its picture .*a\.png is 7x8: make the mask anew"
    with pytest.raises(ValueError, match=sizes):
        images.read_pair(photo, mask)


def test_check_sizes_tells_how_many_times_larger_the_picture_is() -> None:
    assert images.check_sizes(Path("a"), (1024, 512), Path("m"), (512, 256)) == 2
    assert images.check_sizes(Path("a"), (5, 7), Path("m"), (5, 7)) == 1


def test_pictures_find_the_mask_of_their_stem_and_the_others_are_told(tmp_path: Path) -> None:
    for name in ("images/10.jpg", "images/9.jpg", "images/8.png", "masks/9.png", "masks/10.png", "masks/77.png"):
        save(tmp_path / name, [[0]])
    pairs, alone = images.pair_by_stem(tmp_path / "images", tmp_path / "masks")
    assert [(image.name, mask.name) for image, mask in pairs] == [("9.jpg", "9.png"), ("10.jpg", "10.png")]
    assert [path.name for path in alone] == ["8.png"]


# writing


def test_a_written_mask_reads_back_equal(tmp_path: Path) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images.write_mask(tmp_path / "new/folder/a.png", mask)
    assert images.read_mask(tmp_path / "new/folder/a.png").tolist() == mask.tolist()
    assert Image.open(tmp_path / "new/folder/a.png").mode == "L"


def test_a_mask_of_ids_carries_the_colours_as_its_palette(tmp_path: Path) -> None:
    ids = np.arange(19, dtype=np.uint8)[None]
    images.write_mask(tmp_path / "a.png", ids, CELEBAMASK)
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert images.read_mask(tmp_path / "a.png").tolist() == ids.tolist()
    assert images.read_rgb(tmp_path / "a.png").tolist() == [[list(colour) for colour in CELEBAMASK.colours]]


def test_a_slice_of_a_mask_can_be_written(tmp_path: Path) -> None:
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)[:, ::2]
    images.write_mask(tmp_path / "a.png", mask)
    assert images.read_mask(tmp_path / "a.png").tolist() == mask.tolist()


def test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def write_half() -> None:
        with images.written_whole(path) as beside:
            beside.write_bytes(b"half")
            assert path.read_bytes() == b"old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", b"old")]


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    images.write_mask(tmp_path / f"{'n' * 251}.png", np.zeros((1, 1), np.uint8))
    assert [len(file.name) for file in tmp_path.iterdir()] == [255]


def test_a_name_of_80_chinese_characters_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'面' * 80}.png"  # 240 bytes and 4
    with images.written_whole(path) as beside:
        beside.write_bytes(b"whole")
        assert beside.parent == tmp_path
        assert beside.name.startswith(".")
        with images.written_whole(tmp_path / f"{'面' * 79}.png") as other:
            assert other != beside
            other.touch()
    assert path.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 2


def test_masks_and_overlays_are_told_from_photos(tmp_path: Path) -> None:
    picture = noise()
    images.write_mask(tmp_path / "ids.png", np.zeros((4, 4), np.uint8), CELEBAMASK)
    images.write_mask(tmp_path / "mask.png", np.zeros((4, 4), np.uint8))
    images.write_overlay(tmp_path / "overlay.jpg", picture)
    images.write_rgb(tmp_path / "photo.jpg", picture, quality=90)
    images.write_rgb(tmp_path / "photo.png", picture)
    (tmp_path / "text.png").write_text("Software faceparse")
    ours = {path.name for path in tmp_path.iterdir() if images.is_ours(path)}
    assert ours == {"ids.png", "mask.png", "overlay.jpg"}
    assert np.array_equal(images.read_rgb(tmp_path / "overlay.jpg"), images.read_rgb(tmp_path / "photo.jpg"))
    assert cv2.imread(str(tmp_path / "overlay.jpg")).shape == picture.shape


def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path: Path) -> None:
    picture = np.tile(np.array([200, 100, 50], np.uint8), (16, 16, 1))
    images.write_rgb(tmp_path / "a.png", picture)
    images.write_rgb(tmp_path / "a.jpg", picture)
    assert images.read_rgb(tmp_path / "a.png").tolist() == picture.tolist()
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"
    assert np.abs(images.read_rgb(tmp_path / "a.jpg").astype(int) - picture).max() <= 3


def test_jpeg_quality_changes_the_size(tmp_path: Path) -> None:
    for quality in (20, 95):
        images.write_rgb(tmp_path / f"{quality}.jpg", noise(), quality)
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


# listing


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("10.jpg", "2.JPG", "1.png", ".hidden.png", "deep/3.webp", "deep/er/4.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def listed(source: Path, **options: bool) -> list[str]:
    return [path.name for path in images.list_images(source, **options)]


def test_a_folder_stands_for_its_visible_pictures_in_natural_order(album: Path) -> None:
    assert listed(album) == ["1.png", "2.JPG", "10.jpg"]


def test_sub_folders_are_listed_when_asked_for(album: Path) -> None:
    assert listed(album, recursive=True) == ["1.png", "2.JPG", "10.jpg", "3.webp", "4.tif"]


def test_a_pattern_stands_for_the_pictures_that_match(album: Path) -> None:
    assert listed(album / "1*.*") == ["1.png", "10.jpg"]
    assert listed(album / "**" / "*.tif") == ["4.tif"]


def test_a_file_stands_for_itself_whatever_its_name(album: Path) -> None:
    assert listed(album / "notes.txt") == ["notes.txt"]


def test_a_folder_without_pictures_is_named_with_the_mend(album: Path) -> None:
    (album / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: no picture in this folder itself \(its sub-folders were not"):
        images.list_images(album / "empty")
    with pytest.raises(FileNotFoundError, match=r"empty: no picture in this folder$"):
        images.list_images(album / "empty", recursive=True)


@pytest.mark.parametrize("source", ["gone", "gone.jpg", "*.bmp"])
def test_nothing_there_is_one_sentence_with_the_path(album: Path, source: str) -> None:
    with pytest.raises(FileNotFoundError) as error:
        images.list_images(album / source)
    assert str(error.value).startswith(f"{album / source}: no such file or folder")


def test_an_empty_path_is_not_the_folder_one_is_in() -> None:
    with pytest.raises(FileNotFoundError, match="the path of the pictures is empty"):
        images.list_images("")


@pytest.mark.parametrize("ordered", [["9", "10"], ["a", "b9", "b9x2", "b9x10", "b10"]])
def test_numbers_in_names_sort_by_their_value(ordered: list[str]) -> None:
    assert sorted(set(ordered), key=lambda name: images.natural_order(Path(name))) == ordered


# looking


def test_an_overlay_mixes_the_colour_with_the_picture_and_leaves_the_background() -> None:
    picture = np.full((1, 2, 3), 100, np.uint8)
    shown = images.overlay(picture, np.array([[0, 255]], np.uint8), FACE, opacity=0.5)
    assert FACE.colours[1] == (0, 200, 120)
    assert shown.tolist() == [[[100, 100, 100], [50, 150, 110]]]


def test_an_overlay_of_ids_takes_the_colour_of_each_class() -> None:
    picture = np.zeros((1, 3, 3), np.uint8)
    shown = images.overlay(picture, np.array([[0, 1, 13]], np.uint8), CELEBAMASK, opacity=1)
    assert shown.tolist() == [[[0, 0, 0], list(CELEBAMASK.colours[1]), list(CELEBAMASK.colours[13])]]


def test_an_overlay_is_the_same_in_bands_and_little_memory_is_used_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    picture, ids = rng.integers(0, 256, (301, 200, 3), np.uint8), rng.integers(0, 19, (301, 200), np.uint8)
    whole = images.overlay(picture, ids, CELEBAMASK, opacity=0.3)
    monkeypatch.setattr(images, "_BAND_PIXELS", 1400)  # 7 rows
    tracemalloc.start()
    banded = images.overlay(picture, ids, CELEBAMASK, opacity=0.3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(banded, whole)
    assert peak < 1.2 * picture.nbytes


def test_the_size_of_a_photo_is_read_from_its_header_alone(tmp_path: Path) -> None:
    whole = encoded(noise(), "JPEG")
    path = tmp_path / "head.jpg"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert images.size_of(path) == (40, 40)
