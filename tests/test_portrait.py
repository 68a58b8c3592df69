"""Cut-outs -> masks: which files belong together, what they are called, and what is in them, pixel by pixel."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceparse.data.portrait import Portrait, find_portraits, read_cutout, write_pairs, write_portrait
from faceparse.images import UnreadableImage, read_mask, read_rgb

ALPHA = [[0, 1, 127], [128, 254, 255]]
COLOUR = (200, 100, 50)


def cutout(path: Path) -> Path:
    """Two rows of three pixels in one colour, also where alpha is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.full((2, 3, 3), COLOUR, np.uint8)
    Image.fromarray(np.dstack([rgb, np.array(ALPHA, np.uint8)])).save(path)
    return path


def photo(path: Path, size: tuple[int, int] = (3, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)
    return path


def of_aisegment(root: Path, group: str, clip: str, name: str) -> Portrait:
    return Portrait(
        cutout(root / f"matting/{group}/matting_{clip}/{name}.png"),
        photo(root / f"clip_img/{group}/clip_{clip}/{name}.jpg"),
    )


# what belongs together


@pytest.mark.parametrize("inner", ["", "matting_human_half"])
def test_aisegments_photos_and_cut_outs_are_paired_under_their_stems(tmp_path: Path, inner: str) -> None:
    first = of_aisegment(tmp_path / inner, "18", "00000000", "18-3")
    second = of_aisegment(tmp_path / inner, "19", "00000002", "19-3")
    assert find_portraits(tmp_path) == ({"18-3": first, "19-3": second}, [])


def test_equal_stems_get_their_folders_names_too(tmp_path: Path) -> None:
    one, two = of_aisegment(tmp_path, "18", "0", "a"), of_aisegment(tmp_path, "18", "1", "A")
    alone = of_aisegment(tmp_path, "18", "1", "b")
    assert find_portraits(tmp_path) == ({"18_0_a": one, "18_1_A": two, "b": alone}, [])


def test_files_without_a_partner_are_named_and_a_typing_error_in_a_folder_makes_such(tmp_path: Path) -> None:
    kept = of_aisegment(tmp_path, "18", "0", "a")
    lone_cutout = cutout(tmp_path / "matting/18/mating_0/b.png")
    lone_photo = photo(tmp_path / "clip_img/18/clip_0/b.jpg")
    found, faults = find_portraits(tmp_path)
    assert found == {"a": kept}
    assert faults == [
        f"{lone_cutout}: no photo of its folder and name in {tmp_path / 'clip_img'}",
        f"{lone_photo}: no cut-out of its folder and name in {tmp_path / 'matting'}",
    ]


def test_what_macos_hides_is_passed_over(tmp_path: Path) -> None:
    kept = of_aisegment(tmp_path, "18", "00000000", "a")
    (tmp_path / "matting/18/._matting_00000000").write_bytes(b"?")
    (tmp_path / "clip_img/18/clip_00000000/._a.jpg").write_bytes(b"?")
    cutout(tmp_path / "matting/18/.trash/b.png")
    assert find_portraits(tmp_path) == ({"a": kept}, [])


def test_any_folder_of_cut_outs_at_any_depth_will_do(tmp_path: Path) -> None:
    paths = [cutout(tmp_path / name) for name in ("a.png", "b/c.png", "b/clip_1/d.png", "b/clip_1/e.webp", "b/1/d.png")]
    found, faults = find_portraits(tmp_path)
    names = {name: portrait.cutout for name, portrait in found.items()}
    assert names == dict(zip(["a", "c", "b_clip_1_d", "e", "b_1_d"], paths, strict=True))
    assert not faults
    assert {portrait.photo for portrait in found.values()} == {None}


def test_no_two_portraits_get_one_name(tmp_path: Path) -> None:
    for name in ("a_b.png", "a/b.png", "c/b.png"):
        cutout(tmp_path / name)
    photo(tmp_path / "c/b.jpg")
    found, faults = find_portraits(tmp_path)
    assert sorted(found) == ["a_b", "c_b"]
    assert faults == [
        f"{tmp_path}/c/b.jpg: {tmp_path}/c/b.png has the same folder and name; keep one of them",
        f"{tmp_path}/a/b.png: its mask would be a_b.png, as that of {tmp_path}/a_b.png; rename one",
    ]


@pytest.mark.parametrize(
    ("make", "reason"), [("", "no such folder"), ("empty", "no picture"), ("clip_img", "matting: no")]
)
def test_a_folder_with_nothing_to_read_is_one_sentence(tmp_path: Path, make: str, reason: str) -> None:
    if make:
        (tmp_path / "raw" / make).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=reason):
        find_portraits(tmp_path / "raw")


# what is in them


def test_the_mask_is_the_alpha_with_all_its_greys_and_the_picture_the_colours_as_stored(tmp_path: Path) -> None:
    write_portrait(Portrait(cutout(tmp_path / "a.png"), None), tmp_path / "mask.png", tmp_path / "face.png")
    assert Image.open(tmp_path / "mask.png").mode == "L"
    assert read_mask(tmp_path / "mask.png").tolist() == ALPHA
    assert read_rgb(tmp_path / "face.png").tolist() == [[list(COLOUR)] * 3] * 2


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_a_photo_is_copied_byte_by_byte(tmp_path: Path, name: str) -> None:
    portrait = Portrait(cutout(tmp_path / "a.png"), photo(tmp_path / name))
    write_portrait(portrait, tmp_path / "mask.png", tmp_path / "face.jpg")
    assert (tmp_path / "face.jpg").read_bytes() == (tmp_path / name).read_bytes()


def test_at_a_size_the_alpha_is_averaged_and_both_are_of_that_size(tmp_path: Path) -> None:
    alpha = np.array([[0, 255, 255, 255], [0, 1, 255, 255]], np.uint8)
    Image.fromarray(np.dstack([np.zeros((2, 4, 3), np.uint8), alpha])).save(tmp_path / "a.png")
    portrait = Portrait(tmp_path / "a.png", photo(tmp_path / "a.jpg", (4, 2)))
    write_portrait(portrait, tmp_path / "mask.png", tmp_path / "face.jpg", size=2)
    assert read_mask(tmp_path / "mask.png").tolist() == [[64, 255]]  # (0 + 255 + 0 + 1) / 4
    assert Image.open(tmp_path / "face.jpg").size == (2, 1)


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_grey_and_palette_cut_outs_have_alpha_too(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.array([[[9, 0], [9, 255]]], np.uint8))
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1]], np.uint8))
        image.putpalette([9, 9, 9, 9, 9, 9])
        image.info["transparency"] = 0
    image.save(tmp_path / "a.png")
    assert read_cutout(tmp_path / "a.png").tolist() == [[[9, 9, 9, 0], [9, 9, 9, 255]]]


def test_unfit_files_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    good, opaque = cutout(tmp_path / "good.png"), photo(tmp_path / "opaque.png")
    (broken := tmp_path / "broken.png").write_bytes(good.read_bytes()[:-20])
    (cut_short := photo(tmp_path / "cut.jpg")).write_bytes(cut_short.read_bytes()[:-20])
    cases = [
        (Portrait(opaque, None), ValueError, "opaque.png: there is no alpha channel"),
        (Portrait(broken, None), UnreadableImage, "broken.png: cannot be read"),
        (Portrait(good, cut_short), UnreadableImage, "cut.jpg: cannot be read"),
        (Portrait(good, photo(tmp_path / "w.jpg", (6, 4))), ValueError, "good.png is 3x2 but its photo .*w.jpg is 6x4"),
    ]
    for portrait, error, sentence in cases:
        with pytest.raises(error, match=sentence):
            write_portrait(portrait, tmp_path / "out/mask.png", tmp_path / "out/face.png")
    assert not (tmp_path / "out").exists()


def test_the_table_of_pairs_is_relative_to_its_folder(tmp_path: Path) -> None:
    write_pairs(tmp_path / "masks/pairs.csv", [(tmp_path / "in/ä, b.jpg", tmp_path / "masks/train/b.png")])
    with (tmp_path / "masks/pairs.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["picture", "mask"], ["../in/ä, b.jpg", "train/b.png"]]
