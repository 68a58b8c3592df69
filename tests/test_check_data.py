"""faceparse check-data: every fault is named, classes are counted, copies across a split are found; checks are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from faceparse import images
from faceparse.commands.check_data import main
from faceparse.data.copies import find_copies
from faceparse.data.folder import CHECKED, examine, find_pairs
from faceparse.labels import CELEBAMASK, FACE
from tests.conftest import draw_face


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Six drawn faces before grains that differ, in faces/, and their 19-class masks in masks/."""
    rng = np.random.default_rng(0)
    for i in range(6):
        rgb, ids = draw_face(i, 64)
        cells = rng.integers(0, 255, (16, 17, 3), dtype=np.uint8)
        rgb = images.resize(cells, (64, 64)) // 2 + rgb // 2
        images.write_rgb(tmp_path / "faces" / f"{i}.jpg", rgb)
        images.write_mask(tmp_path / "masks" / f"{i}.png", ids, CELEBAMASK)
    return tmp_path


def check(folders: Path, *more: str) -> int:
    return main(["--faces_dir", str(folders / "faces"), "--masks_dir", str(folders / "masks"), *more])


def test_sound_folders_are_counted(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write_mask(folders / "masks" / "5.png", np.zeros((64, 64), np.uint8), CELEBAMASK)
    assert check(folders) == 0
    told = capsys.readouterr().out.splitlines()
    assert (told[0], told[-1]) == ("6 sound pairs", "0 faults")
    assert told[1].split() == ["face", "in", "5", "pictures"]
    assert told[2] == f"1 mask is all background: {folders / 'masks' / '5.png'}"
    for i in range(5):
        images.write_mask(folders / "masks" / f"{i}.png", np.zeros((64, 64), np.uint8), CELEBAMASK)
    check(folders)
    first = ", ".join(str(folders / "masks" / f"{i}.png") for i in range(3))
    assert f"\n6 masks are all background: {first} and 3 more\n" in capsys.readouterr().out


def test_every_fault_is_named_and_a_training_names_the_first(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = folders / "masks"
    (masks / "0.png").unlink()
    images.write_mask(masks / "1.png", np.full((64, 64), 37, np.uint8))
    images.write_mask(masks / "2.png", np.zeros((60, 64), np.uint8))
    images.write_mask(masks / "3.png", np.ones((32, 32), np.uint8))
    (masks / "4.png").write_bytes(b"")
    assert check(folders, "--labels", "celebamask") == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 sound pairs\n") and out.endswith("\n5 faults\n")
    for fault in (
        "0.jpg: no mask",
        "37 is out of range",
        "2.png is 64x60",
        "2 times as large",
        "4.png: cannot be read",
    ):
        assert fault in err
    with pytest.raises(ValueError, match=r"0\.jpg: no mask.*the first of 5 faults"):
        find_pairs(folders / "faces", masks, FACE)


def test_a_mask_of_0_and_255_among_class_ids_is_a_fault(folders: Path) -> None:
    masks = folders / "masks"
    images.write_mask(masks / "1.png", np.tile(np.uint8([[0, 255]]), (64, 32)))
    images.write_mask(masks / "2.png", np.full((64, 64), 255, np.uint8))
    told = [fault for fault in examine(folders / "faces", masks, FACE)[1] if "is ignored beside class ids" in fault]
    assert [fault.split(":")[0] for fault in told] == [str(masks / "1.png"), str(masks / "2.png")]


def test_a_copy_in_another_part_is_found_though_it_is_smaller_and_coded_anew(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = images.resize(images.read_rgb(folders / "faces" / "1.jpg"), (40, 40))
    images.write_rgb(folders / "faces" / "copy.jpg", small, quality=60)
    images.write_mask(folders / "masks" / "copy.png", np.ones((40, 40), np.uint8), CELEBAMASK)
    (folders / "split.csv").write_text("0.jpg,train\n1.jpg,train\n2.jpg,val\ncopy.jpg,test\n7.jpg,test\n")
    assert check(folders, "--split", str(folders / "split.csv")) == 1
    out, err = capsys.readouterr()
    assert "train 2, val 1, test 1, in none 3" in out
    assert err.count("shows the same as") == 1 and "copy.jpg (test) shows the same as" in err and "1.jpg (train)" in err
    assert "7 is no sound pair of these folders" in err


def test_different_pictures_are_no_copies_and_nothing_has_none(folders: Path) -> None:
    paths = images.list_images(folders / "faces")
    assert find_copies(paths[:3], paths[3:]) == [] == find_copies(paths, []) == find_copies([], paths)
    assert find_copies(paths, paths) == [(path, path) for path in paths]


def test_different_things_before_the_same_wall_are_no_copies(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        picture = np.full((80, 80, 3), 250, np.uint8)
        picture[30:60, 30:60] = np.random.default_rng(int(path.stem)).integers(0, 256, (30, 30, 3))
        picture[30:60, 30:60] //= 1 + int(path.stem)
        images.write_rgb(path, picture)
    assert find_copies(paths[:2], paths[2:]) == []


def test_masks_are_read_once_and_again_when_they_change(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces, masks = folders / "faces", folders / "masks"
    first = examine(faces, masks, FACE)
    read: list[str] = []
    read_mask = images.read_mask

    def listed(path: Path) -> np.ndarray:
        read.append(path.name)
        return read_mask(path)

    monkeypatch.setattr(images, "read_mask", listed)
    assert examine(faces, masks, FACE) == first and read == []
    images.write_mask(masks / "2.png", np.full((64, 64), 1, np.uint8), CELEBAMASK)
    os.utime(faces / "4.jpg", ns=(0, 0))
    assert [len(part) for part in examine(faces, masks, FACE)] == [6, 0] and sorted(read) == ["2.png", "4.png"]
    read.clear()
    examine(faces, masks, CELEBAMASK)  # other classes are another check
    assert len(read) == 6
    (masks / CHECKED).write_text("[]")
    assert len(examine(faces, masks, FACE)[0]) == 6


def test_a_folder_that_can_not_be_written_to_is_checked_all_the_same(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: object) -> None:
        raise PermissionError(f"{path}: read only")

    monkeypatch.setattr(images, "write_json", refuse)
    assert len(examine(folders / "faces", folders / "masks", FACE)[0]) == 6
