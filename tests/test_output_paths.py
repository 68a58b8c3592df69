"""What is written stays in the folder that was named, follows no link out of it and replaces nothing that was read."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceparse import images, predictor
from faceparse.commands import preprocess
from faceparse.commands import test as command
from faceparse.commands.places import Place, find_places, find_video_places
from faceparse.labels import FACE
from faceparse.predictor import Predictor
from hand_generator.__main__ import main as generate
from tests.test_segment import PLAIN, Brightness


def picture(path: Path, grey: int = 200) -> Path:
    """A small grey picture that does not say that it was made here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 6), grey).save(path, format="PNG")  # whatever it is called
    return path


def linked(link: Path, target: Path, is_folder: bool = False) -> Path:
    """A symbolic link; its folder is made."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, is_folder)
    return link


def segment(source: Path, save_path: Path, recursive: bool = True) -> list[Place]:
    """Write something at every place of the pictures of `source`."""
    places = find_places([str(source)], recursive, save_path, None)
    for place in places:
        images.write_mask(place.mask, np.full((6, 8), 255, np.uint8))
        images.write_overlay(place.overlay, np.zeros((6, 8, 3), np.uint8))
        images.write_overlay(place.cutout, np.zeros((6, 8, 3), np.uint8))
    return places


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder that no test may write to: checked at its end."""
    folder = tmp_path / "elsewhere"
    picture(folder / "a.png")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


# links


def test_a_mirrored_folder_that_links_out_of_the_save_path_is_one_sentence(tmp_path: Path, elsewhere: Path) -> None:
    picture(tmp_path / "in/x/y/a.jpg")
    for link in ("out/x", "out2/x/y"):
        linked(tmp_path / link, elsewhere, is_folder=True)
        save_path = tmp_path / link.partition("/")[0]
        with pytest.raises(
            ValueError, match=rf"x/y: it lies outside of --save_path .*{save_path.name}; remove the link"
        ):
            segment(tmp_path / "in", save_path)


def test_a_link_to_a_folder_inside_and_a_save_path_that_is_a_link_are_taken(tmp_path: Path) -> None:
    picture(tmp_path / "in/x/a.jpg")
    (tmp_path / "real/z").mkdir(parents=True)
    linked(tmp_path / "real/x", tmp_path / "real/z", is_folder=True)
    linked(tmp_path / "out", tmp_path / "real", is_folder=True)
    segment(tmp_path / "in", tmp_path / "out")
    assert set(contents(tmp_path / "real/z")) == {"a.png", "a_overlay.jpg", "a_cutout.jpg"}


@pytest.mark.parametrize("name", ["a.png", "a_overlay.jpg", "a_cutout.jpg"])
@pytest.mark.parametrize("there", ["a.png", "nothing.png"])
def test_a_link_in_the_place_of_a_mask_gives_way_and_is_not_followed(
    tmp_path: Path, elsewhere: Path, name: str, there: str
) -> None:
    picture(tmp_path / "in/a.jpg")
    link = linked(tmp_path / "out" / name, elsewhere / there)
    segment(tmp_path / "in", tmp_path / "out")
    assert not link.is_symlink()
    assert images.is_ours(link)


def test_a_link_that_leads_to_an_input_is_left_alone(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.jpg")
    before = source.read_bytes()
    link = linked(tmp_path / "out/a.png", source)
    (place,) = segment(tmp_path / "in", tmp_path / "out")
    assert place.mask.name == "a_mask.png"
    assert source.read_bytes() == before
    assert link.is_symlink()


def test_a_link_that_leads_to_itself_is_no_picture_and_gives_way_to_a_mask(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg")
    linked(tmp_path / "out/a.png", tmp_path / "out/a.png")
    (place,) = segment(tmp_path / "in", tmp_path / "out")
    assert place.mask == tmp_path / "out/a.png"
    assert images.is_ours(place.mask)


def test_a_link_with_the_name_of_a_half_written_file_is_not_followed(tmp_path: Path, elsewhere: Path) -> None:
    with images.written_whole(tmp_path / "a.png") as beside:
        beside.write_bytes(b"")
    linked(beside, elsewhere / "a.png")
    images.write_mask(tmp_path / "a.png", np.zeros((6, 8), np.uint8))
    assert images.is_ours(tmp_path / "a.png")
    assert not beside.is_symlink()


# names


def test_a_pattern_that_climbs_out_of_its_folder_does_not_climb_out_of_the_save_path(tmp_path: Path) -> None:
    (tmp_path / "in/x").mkdir(parents=True)
    picture(tmp_path / "b/a.jpg")
    before = contents(tmp_path)
    for pattern in ("in/*/../../b/*.jpg", "in/*/../../*/a.jpg"):
        with pytest.raises(ValueError, match=r"it lies outside of --save_path .*out; remove the link, or '..'"):
            segment(tmp_path / pattern, tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_pattern_that_stays_in_its_folder_may_climb(tmp_path: Path) -> None:
    (tmp_path / "in/x").mkdir(parents=True)
    picture(tmp_path / "in/y/a.jpg")
    (place,) = segment(tmp_path / "in/x*/../y/*.jpg", tmp_path / "out")
    assert place.mask.resolve() == tmp_path.resolve() / "out/y/a.png"


@pytest.mark.parametrize("name", ["..jpg", "...jpg", "-a.jpg", "a\nb.jpg", "~.jpg", "$HOME.jpg", "面😀.jpg", "a b.jpg"])
def test_odd_names_are_names_inside_the_save_path(tmp_path: Path, name: str) -> None:
    source = picture(tmp_path / "in" / name)
    (place,) = segment(source, tmp_path / "out")
    assert {path.parent for path in (place.mask, place.overlay, place.cutout)} == {tmp_path / "out"}
    assert len(contents(tmp_path / "out")) == 3


def test_a_name_too_long_for_an_overlay_is_no_fault_of_the_other_pictures(tmp_path: Path) -> None:
    sources = [str(picture(tmp_path / "in" / name)) for name in (f"{'x' * 250}.jpg", "a.jpg")]
    long, short = find_places(sources, False, tmp_path / "out", None)
    assert (long.mask.name, short.mask.name) == (f"{'x' * 250}.png", "a.png")


@pytest.mark.parametrize("name", ["..mp4", "...mp4", "....mp4"])
@pytest.mark.parametrize("suffix", ["", ".mp4"])
def test_videos_named_in_dots_have_folders_inside_the_save_path(tmp_path: Path, name: str, suffix: str) -> None:
    (place,) = find_video_places([tmp_path / name], tmp_path / "out", suffix, suffix)
    for path in (place.mask, place.overlay, place.cutout):
        assert Path(os.path.normpath(path)).parent == tmp_path / "out"


def test_one_name_in_two_spellings_is_one_file(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    source = picture(tmp_path / f"{composed}.png")
    (place,) = find_places([str(source)], False, tmp_path, None)
    assert place.mask.name == f"{composed}_mask.png"
    picture(tmp_path / "in" / f"{decomposed}.jpg")
    both = find_places([str(source), str(tmp_path / "in")], False, tmp_path, None)
    assert len({unicodedata.normalize("NFC", place.mask.name) for place in both} | {source.name}) == 3


# frames of videos


def test_frames_do_not_go_through_a_link_or_over_pictures_of_someone_else(tmp_path: Path, elsewhere: Path) -> None:
    linked(tmp_path / "out/a", elsewhere, is_folder=True)
    picture(tmp_path / "out/b/000001.png")
    images.write_mask(tmp_path / "out/c/000001.png", np.zeros((6, 8), np.uint8))
    videos = [tmp_path / f"{name}.mp4" for name in "abcd"]
    places = find_video_places(videos, tmp_path / "out", "", "")
    assert [place.mask.name for place in places] == ["a.mp4", "b.mp4", "c", "d"]


def test_frames_and_pictures_of_one_name_go_to_different_folders(tmp_path: Path) -> None:
    picture(tmp_path / "in/a/000001.jpg")
    pictures = find_places([str(tmp_path / "in")], True, tmp_path / "out", None)
    (video,) = find_video_places([tmp_path / "a.mp4"], tmp_path / "out", "", "", pictures)
    assert (pictures[0].mask.relative_to(tmp_path), video.mask.name) == (Path("out/a/000001.png"), "a.mp4")


def test_a_folder_of_frames_is_not_called_like_a_mask(tmp_path: Path) -> None:
    picture(tmp_path / "in/x.jpg")
    pictures = find_places([str(tmp_path / "in")], True, tmp_path / "out", None)
    (video,) = find_video_places([tmp_path / "x.png.mp4"], tmp_path / "out", "", "", pictures)
    assert (pictures[0].mask.name, video.mask.name) == ("x.png", "x.png.mp4")


def test_a_frame_that_was_half_written_when_the_power_went_does_not_take_the_folder(tmp_path: Path) -> None:
    images.write_mask(tmp_path / "out/a/000001.png", np.zeros((6, 8), np.uint8))
    (tmp_path / "out/a/.0123456789abcdef.1.part.png").write_bytes(b"")
    (place,) = find_video_places([tmp_path / "a.mp4"], tmp_path / "out", "", "")
    assert place.mask.name == "a"


# other files that are read


def test_no_file_that_is_read_is_replaced_by_a_mask_or_by_frames(tmp_path: Path) -> None:
    wall = picture(tmp_path / "out/a.png")
    images.write_mask(tmp_path / "out/b/wall.png", np.zeros((6, 8), np.uint8))  # made here, and read now
    picture(tmp_path / "in/a.jpg")
    (place,) = find_places([str(tmp_path / "in")], False, tmp_path / "out", None, others=[wall])
    assert place.mask.name == "a.jpg.png"
    (video,) = find_video_places([tmp_path / "b.mp4"], tmp_path / "out", "", "", others=[tmp_path / "out/b/wall.png"])
    assert video.mask.name == "b.mp4"


def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test.py` gets a network without weights: bright = face."""
    monkeypatch.setattr(predictor, "load", lambda *_: Predictor(Brightness(2), FACE, PLAIN, "cpu"))


@pytest.mark.parametrize(("flag", "name"), [("--background", "a_cutout.jpg"), ("--split", "a.png")])
def test_a_background_and_a_split_in_the_save_path_stay_as_they_are(
    tmp_path: Path, flag: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    picture(tmp_path / "in/a.jpg")
    given = picture(tmp_path / "out" / name, 30)
    if flag == "--split":
        given.write_text("a.jpg,False\n")
    before = given.read_bytes()
    flags = ["--images_path", str(tmp_path / "in"), "--save_path", str(tmp_path / "out"), flag, str(given)]
    assert command.main(flags) == 0
    assert given.read_bytes() == before
    written = {"--background": {"a.png", "a_cutout2.jpg"}, "--split": {"a.jpg.png"}}[flag]
    assert set(contents(tmp_path / "out")) == {name, *written}


@pytest.mark.parametrize(
    ("flag", "name"), [("--labels", "scores.json"), ("--split", "scores.csv"), ("--split", "scores/summary.csv")]
)
def test_scores_are_not_written_over_a_split_or_labels(
    tmp_path: Path, flag: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch)
    for folder in ("in", "truth"):
        picture(tmp_path / folder / "a.png", 255)
    given = tmp_path / "out" / name
    given.parent.mkdir(parents=True)
    given.write_text("a.png,False\n")
    flags = ["--images_path", str(tmp_path / "in"), "--save_path", str(tmp_path / "out"), flag, str(given)]
    status = command.main([*flags, "--masks_path", str(tmp_path / "truth")])
    assert given.read_text() == "a.png,False\n"
    if "/" in name:
        assert status == 0 and (tmp_path / "out/scores2/summary.csv").is_file()
    else:
        assert f"{given} is read and would be replaced by {given}; choose another folder" in capsys.readouterr().err
        assert set(contents(tmp_path / "out")) == {name}  # told before any work is done


# preprocessing


def preprocess_face(folder: Path, *flags: str) -> int:
    """One part of one face becomes a mask in `folder`/masks."""
    part = folder / "anno/0/00000_skin.png"
    if not part.exists():
        picture(part, 255)
    raw = ["--masks_parts", str(folder / "anno"), "--output_mask", str(folder / "masks"), "--workers", "1"]
    return preprocess.main([*raw, *flags])


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_preprocessing_replaces_no_photo_though_its_folder_is_called_otherwise(
    tmp_path: Path, overwrite: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(tmp_path / "masks/train/0.png")
    before = photo.read_bytes()
    (tmp_path / "split.csv").write_text("0.jpg,True\n")
    sized = ["--size", "6", "--faces_dir", str(photo.parent), "--output_faces", str(tmp_path / "faces")]
    assert preprocess_face(tmp_path, "--split", str(tmp_path / "split.csv"), *sized, *overwrite) == 1
    assert f"{photo} is read and would be replaced by {photo}; choose another folder" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_preprocessing_replaces_no_part_by_way_of_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = picture(tmp_path / "masks/0.png", 255)
    linked(tmp_path / "anno/0/00000_skin.png", real)
    before = real.read_bytes()
    assert preprocess_face(tmp_path, "--overwrite") == 1
    assert "00000_skin.png is read and would be replaced by" in capsys.readouterr().err
    assert real.read_bytes() == before


def test_preprocessing_does_not_write_its_note_through_a_link(tmp_path: Path, elsewhere: Path) -> None:
    note = linked(tmp_path / "masks/.labels", elsewhere / "a.png")
    assert preprocess_face(tmp_path, "--overwrite") == 1  # what the note holds is no text
    note.unlink()
    linked(note, elsewhere / "nothing")
    assert preprocess_face(tmp_path) == 0
    assert (note.is_symlink(), note.read_text()) == (False, "face\n")


# hand generator


def test_the_hand_generator_refuses_to_write_to_what_it_reads_under_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("faces/a.png", "masks/a.png", "hands/images/h.png", "hands/masks/h.png"):
        picture(tmp_path / name)
    before = contents(tmp_path)
    read = {"--faces_dir": "faces", "--masks_dir": "masks", "--hands_dir": "hands"}
    link = linked(tmp_path / "link", tmp_path / "faces", is_folder=True)
    for folder in (link, tmp_path / "masks/../faces", tmp_path / "hands/images"):
        flags = [text for flag, name in read.items() for text in (flag, str(tmp_path / name))]
        assert (
            generate([*flags, "--fahand_dir", str(folder), "--mahand_dir", str(tmp_path / "out"), "--workers", "1"])
            == 1
        )
        assert "is read from and would be written to" in capsys.readouterr().err
    link.unlink()
    assert contents(tmp_path) == before


def test_the_hand_generator_follows_no_link_and_replaces_no_face_by_way_of_one(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = tmp_path / "fahand/0.jpg"
    images.write_rgb(real, np.full((32, 32, 3), 90, np.uint8))
    linked(tmp_path / "faces/a.jpg", real)
    ring = np.zeros((32, 32), np.uint8)
    ring[8:24, 8:24] = 255
    for name in ("masks/a.png", "hands/masks/h.png", "hands/images/h.png"):
        images.write_mask(tmp_path / name, ring)
    before = real.read_bytes()
    flags = ("--faces_dir", "faces", "--masks_dir", "masks", "--hands_dir", "hands", "--fahand_dir", "fahand")
    flags = (*flags, "--mahand_dir", "mahand", "--workers", "1")
    argv = [text if text.startswith("--") or text.isdecimal() else str(tmp_path / text) for text in flags]
    assert generate(argv) == 1
    assert "a.jpg is read and would be replaced by" in capsys.readouterr().err
    assert real.read_bytes() == before
    real.rename(tmp_path / "faces/a.jpg")
    for name in ("fahand/0.jpg", "fahand/manifest.csv", "fahand/.manifest.csv", "mahand/0.png"):
        linked(tmp_path / name, elsewhere / "a.png")
    assert generate(argv) == 0
    assert not any(path.is_symlink() for path in (tmp_path / "fahand").iterdir())
