"""benchmarks/held_out.py --objects and --photos: what is composed, and the truth that belongs to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import held_out, objects, photos
from faceparse import images
from faceparse.labels import CELEBAMASK, face_of
from tests.conftest import draw_face

SKIN, GLASSES, HAIR = (CELEBAMASK.id(name) for name in ("skin", "eye_g", "hair"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn faces of 256 px, three of them held out, and two backgrounds, laid out twice: in one/ and two/."""
    folder = tmp_path_factory.mktemp("drawn")
    for i in range(4):
        rgb, ids = draw_face(i, 256)
        images.write_rgb(folder / "faces" / f"{i}.jpg", rgb)
        images.write_mask(folder / "masks" / f"{i}.png", ids, CELEBAMASK)
    for i in range(2):
        images.write_rgb(folder / "backgrounds" / f"{i}.jpg", np.full((64, 96, 3), 90 + 60 * i, np.uint8))
    (folder / "split.csv").write_text("0.jpg,True\n1.jpg,False\n2.jpg,False\n3.jpg,False\n")
    data = {"faces_dir": "faces", "masks_dir": "masks", "faces_split": "split.csv", "backgrounds_dir": "backgrounds"}
    flags = [word for name, place in data.items() for word in (f"--{name}", str(folder / place))]
    for out in ("one", "two"):
        assert held_out.main([*flags, "--spoiled", "--objects", "2", "--photos", "2", "--out", str(folder / out)]) == 0
    return folder


def test_the_same_seed_composes_the_same_files(drawn: Path) -> None:
    one, two = (
        {p.relative_to(drawn / out): p.read_bytes() for p in (drawn / out).rglob("*.*")} for out in ("one", "two")
    )
    assert one == two
    seen = {*photos.KINDS} - {"profile"}  # nobody drawn looks aside
    for kinds, place in (({*objects.KINDS}, "objects"), (seen, "photos")):
        assert {path.name for path in (drawn / "one" / place).iterdir()} == kinds
        for kind in kinds:
            for part in ("images", "masks", "person", "other"):
                assert len(list((drawn / "one" / place / kind / part).iterdir())) == 2, (kind, part)


@pytest.mark.parametrize("kind", held_out.SPOILED)
def test_spoiled_faces_keep_their_masks_and_turned_ones_have_them_turned(drawn: Path, kind: str) -> None:
    for path in images.list_images(drawn / "one" / "spoiled" / kind / "images"):
        picture, ids = images.read_pair(path, path.parents[1] / "masks" / f"{path.stem}.png")
        before, truth = images.read_pair(drawn / "faces" / f"{path.stem}.jpg", drawn / "masks" / f"{path.stem}.png")
        assert picture.shape == before.shape and np.abs(picture.astype(int) - before).mean() > 2
        if kind != "turned":
            assert (ids == truth).all()
            continue
        eyes, eyes_before = (
            np.diff([np.argwhere(m == CELEBAMASK.id(eye)).mean(axis=0) for eye in ("l_eye", "r_eye")], axis=0)[0]
            for m in (ids, truth)
        )
        angle = np.degrees(np.arctan2(*eyes) - np.arctan2(*eyes_before))
        assert 19 < abs((angle + 180) % 360 - 180) < 46


@pytest.mark.parametrize("kind", objects.KINDS)
def test_a_thing_clears_the_mask_beneath_it_and_leaves_the_rest(drawn: Path, kind: str) -> None:
    for path in images.list_images(drawn / "one" / "objects" / kind / "images"):
        before = images.read_mask(drawn / "masks" / f"{path.stem}.png")
        parts = ("masks", "other", "person")
        after, thing, person = (images.read_mask(path.parents[1] / p / f"{path.stem}.png") for p in parts)
        there = thing > 0
        assert (after[there] == CELEBAMASK.id(objects.KINDS[kind][1])).all() and (after[~there] == before[~there]).all()
        assert (face_of(before, ids=True) & there).any() and ((person > 0) == (before > 0) | there).all()
        picture, bare = images.read_rgb(path).astype(int), images.read_rgb(drawn / "faces" / f"{path.stem}.jpg")
        changed = np.abs(picture - bare).mean(axis=2)
        assert changed[there].mean() > 3 * changed[:20].mean()  # of the upper rows JPEG changes a little


def test_glasses_sit_on_the_eyes_and_a_mask_on_the_mouth() -> None:
    image, ids = draw_face(1, 256)
    frame = objects.frame_of(image, ids)
    assert frame is not None
    eyes = np.isin(ids, [CELEBAMASK.id("l_eye"), CELEBAMASK.id("r_eye")])
    assert frame.u[ids == CELEBAMASK.id("l_eye")].mean() == pytest.approx(1, abs=0.01)  # to the picture's right
    assert frame.v[ids == CELEBAMASK.id("mouth")].mean() == pytest.approx(2, abs=0.01)
    worn = objects.cover(frame, "glasses", np.random.default_rng(0))[2]
    assert (worn & eyes).sum() > 0.9 * eyes.sum()
    masked = objects.cover(frame, "mask", np.random.default_rng(0))[2]
    assert masked[ids == CELEBAMASK.id("mouth")].all() and not (masked & eyes).any()


def test_eyes_and_brows_behind_clear_lenses_stay_what_they_are_and_behind_dark_ones_are_glasses() -> None:
    image, ids = draw_face(1, 256)
    frame = objects.frame_of(image, ids)
    assert frame is not None
    eyes = np.isin(ids, [CELEBAMASK.id(name) for name in ("l_eye", "r_eye")])
    kept = [objects.cover(frame, "glasses", np.random.default_rng(seed))[1][eyes] == ids[eyes] for seed in range(12)]
    assert {round(part.mean()) for part in kept} == {0, 1}  # nearly all of them, or none


def test_who_wears_glasses_gets_no_second_ones_and_who_has_no_hair_no_locks() -> None:
    _, ids = draw_face(1, 256)
    assert objects.suits("glasses", ids) and objects.suits("hair", ids)
    ids[:4, :4] = GLASSES
    assert not objects.suits("glasses", ids) and objects.suits("cup", ids)
    assert not objects.suits("hair", np.where(ids == HAIR, SKIN, ids))


def test_a_head_that_is_turned_away_has_no_frame() -> None:
    image, ids = draw_face(1, 256)
    assert objects.frame_of(image, np.where(ids == CELEBAMASK.id("l_eye"), SKIN, ids)) is None


def heights_of(folder: Path, kind: str) -> list[float]:
    """Of the faces, as a share of the picture's height."""
    masks = [images.read_mask(path) > 0 for path in images.list_images(folder / "one" / "photos" / kind / "masks")]
    return [np.ptp(np.argwhere(mask)[:, 0]) / len(mask) if mask.any() else 0.0 for mask in masks]


def test_photos_have_faces_of_their_kinds_size_or_none(drawn: Path) -> None:
    assert all(0.04 < height < 0.22 for height in heights_of(drawn, "small"))
    assert all(0.18 < height < 0.85 for height in heights_of(drawn, "large"))
    assert heights_of(drawn, "none") == heights_of(drawn, "headless") == [0.0, 0.0]
    for kind, share in (("none", 1.0), ("headless", 1.0), ("small", 0.0)):
        others = images.list_images(drawn / "one" / "photos" / kind / "other")
        assert all((images.read_mask(path) > 0).mean() == share for path in others)
    people = [images.read_mask(p) > 0 for p in images.list_images(drawn / "one" / "photos" / "headless" / "person")]
    assert all(person.mean() > 0.1 for person in people)


def test_a_head_in_profile_has_its_nose_beside_the_eyes() -> None:
    _, ids = draw_face(1, 256)
    nose = ids == CELEBAMASK.id("nose")
    eyes = [np.argwhere(ids == CELEBAMASK.id(eye))[:, 1].mean() for eye in ("r_eye", "l_eye")]
    aside = np.where(nose, SKIN, ids)
    aside[np.roll(nose, round(0.2 * (eyes[1] - eyes[0])), axis=1)] = CELEBAMASK.id("nose")
    assert photos.suits(photos.KINDS["large"], ids) and photos.suits(photos.KINDS["large"], aside)
    assert not photos.suits(photos.KINDS["profile"], ids) and photos.suits(photos.KINDS["profile"], aside)


def test_a_bare_chest_is_of_the_person_and_not_of_the_face(drawn: Path) -> None:
    for path in images.list_images(drawn / "one" / "photos" / "chest" / "masks"):
        face = images.read_mask(path) > 0
        chest, person = (images.read_mask(path.parents[1] / part / path.name) > 0 for part in ("other", "person"))
        assert chest.sum() > face.sum() > 0 and not (chest & face).any() and (person | ~chest).all()
        assert np.argwhere(chest)[:, 0].mean() > np.argwhere(face)[:, 0].mean()  # below


def test_the_share_called_face_is_of_one_kinds_pixels(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = np.zeros((10, 10), np.uint8)
    other[:4] = 255
    called = np.zeros((10, 10), np.uint8)
    called[3:] = 255
    images.write_mask(tmp_path / "other" / "0.png", other)
    images.write_mask(tmp_path / "called" / "0.png", called)
    flags = ["--out", "nowhere", "--other", str(tmp_path / "other"), "--called_face", str(tmp_path / "called")]
    assert held_out.main(flags) == 0
    assert capsys.readouterr().out == "share of its pixels called face: 0.2500 [0.2500, 0.2500]\n"


def test_the_surroundings_of_a_portrait_are_what_is_no_person(tmp_path: Path) -> None:
    images.write_mask(tmp_path / "people" / "masks" / "7.png", np.uint8([[0, 127, 128, 255]]))
    held_out.write_surroundings(tmp_path, tmp_path / "people")
    assert images.read_mask(tmp_path / "surroundings" / "7.png").tolist() == [[255, 255, 0, 0]]


def test_masks_of_class_ids_are_no_answer_to_what_is_called_face(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.write_mask(tmp_path / "other" / "0.png", np.full((4, 4), 255, np.uint8))
    images.write_mask(tmp_path / "called" / "0.png", np.full((4, 4), SKIN, np.uint8))
    flags = ["--out", "nowhere", "--other", str(tmp_path / "other"), "--called_face", str(tmp_path / "called")]
    assert held_out.main(flags) == 1
    assert "0.png: class ids; ask for the face: test.py --labels face" in capsys.readouterr().err
    assert held_out.main([*flags[:4], "--called_face", str(tmp_path / "nowhere")]) == 1
    with pytest.raises(SystemExit):
        held_out.main(["--out", str(tmp_path / "out")])
    assert "name the faces: --faces_dir" in capsys.readouterr().err


def test_the_share_called_face_has_an_interval_over_the_pictures(tmp_path: Path) -> None:
    """Of two pictures, one called wholly and one not at all: half of the pixels, and any draw may have but one kind."""
    for name, value in (("0", 255), ("1", 0)):
        images.write_mask(tmp_path / "other" / f"{name}.png", np.full((4, 4), 255, np.uint8))
        images.write_mask(tmp_path / "called" / f"{name}.png", np.full((4, 4), value, np.uint8))
    assert held_out.share_called_face(tmp_path / "other", tmp_path / "called") == (0.5, 0.0, 1.0)


def test_what_covers_a_face_in_the_data_itself_is_laid_out_where_it_is(drawn: Path) -> None:
    for path in images.list_images(drawn / "one" / "coverings" / "hair"):
        truth = images.read_mask(drawn / "masks" / path.name)
        assert ((images.read_mask(path) > 0) == (truth == HAIR)).all()
    assert not (drawn / "one" / "coverings" / "eye_g").exists()  # nobody drawn wears glasses


def test_photos_need_backgrounds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        held_out.main([*["--faces_dir", "a", "--masks_dir", "b", "--faces_split", "c", "--photos", "1", "--out", "x"]])
    assert "--photos needs --backgrounds_dir" in capsys.readouterr().err
