from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceparse import images
from faceparse.labels import CELEBAMASK, FACE
from hand_generator.__main__ import main, parse_args
from hand_generator.hands import read_hands

DrawnFace = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
INPUTS = {"--faces_dir": "faces", "--masks_dir": "masks", "--hands_dir": "hands"}
OUTPUTS = {"--fahand_dir": "fahand", "--mahand_dir": "mahand"}


def outline(size: int, x: int) -> np.ndarray:
    """A disc with a stroke, bool (size, size), which stands for a hand."""
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (x, size // 2), size // 5, 1, -1)
    cv2.line(mask, (x, size // 2), (x, size // 8), 1, size // 12)
    return mask > 0


def write_hand(root: Path, name: str, mask: np.ndarray) -> None:
    picture = np.where(mask[..., None], (200, 150, 120), (0, 250, 0)).astype(np.uint8)
    images.write_rgb(root / "hands" / "images" / f"{name}.png", picture)
    (root / "hands" / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "hands" / "masks" / f"{name}.png")  # 1 bit


@pytest.fixture
def folders(tmp_path: Path, drawn_face: DrawnFace) -> Path:
    """Three faces with id masks, and two hands."""
    for seed in range(3):
        image, ids = drawn_face(seed, 96)
        images.write_rgb(tmp_path / "faces" / f"{seed}.jpg", image)
        images.write_mask(tmp_path / "masks" / f"{seed}.png", ids, CELEBAMASK)
    for number in (1, 2):
        write_hand(tmp_path, f"hand{number}", outline(60 + 10 * number, 30))
    return tmp_path


def generate(root: Path, *extra: str, out: str = "") -> int:
    """Run over the folders of `root`; outputs go to `out` in it."""
    argv = [text for flag, name in INPUTS.items() for text in (flag, str(root / name))]
    argv += [text for flag, name in OUTPUTS.items() for text in (flag, str(root / out / name))]
    return main([*argv, "--workers", "1", *extra])


def manifest(root: Path) -> list[dict[str, str]]:
    with open(root / "fahand" / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def contents(root: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for d in OUTPUTS.values() for p in (root / d).iterdir()}


def test_help_imports_neither_numpy_nor_opencv() -> None:
    code = "import sys, hand_generator.__main__ as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numpy', 'cv2', 'torch'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert "--fahand_dir" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_defaults_are_four_rotations_five_repeats_natural_style_and_seed_0() -> None:
    args = parse_args([text for flag in (*INPUTS, *OUTPUTS) for text in (flag, "x")])
    assert (args.rotations, args.repeats, args.style, args.seed) == ([0, 90, 180, 270], 5, "natural", 0)


@pytest.mark.parametrize("flags", [("--repeats", "0"), ("--workers", "-1"), ("--seed", "-1"), ("--style", "odd")])
def test_flags_out_of_range_are_refused(flags: tuple[str, str], folders: Path) -> None:
    with pytest.raises(SystemExit):
        generate(folders, *flags)


def test_two_hands_in_four_rotations_and_five_repeats_make_forty_pictures(
    folders: Path, capfd: pytest.CaptureFixture
) -> None:
    assert generate(folders) == 0
    assert sorted(contents(folders)) == sorted(
        [f"fahand/{n}.jpg" for n in range(40)] + [f"mahand/{n}.png" for n in range(40)] + ["fahand/manifest.csv"]
    )
    assert "made 40 and kept 0" in capfd.readouterr().err.splitlines()[-1]


def test_the_manifest_lists_every_output_in_order_with_face_hand_angle_scale_and_place(folders: Path) -> None:
    generate(folders, "--style", "plain", "--rotations", "0", "90", "--repeats", "2")
    rows = manifest(folders)
    assert [row["number"] for row in rows] == [str(n) for n in range(8)]
    assert [row["hand"] for row in rows] == ["hand1"] * 4 + ["hand2"] * 4
    assert [float(row["angle"]) for row in rows] == [0, 0, 90, 90] * 2
    assert {row["face"] for row in rows} <= {"0.jpg", "1.jpg", "2.jpg"}
    for row in rows:
        before, after = (
            images.read_mask(p) for p in (folders / "masks" / row["face"].replace("jpg", "png"), mask_of(folders, row))
        )
        ys, xs = np.nonzero(before != after)
        assert xs.min() >= int(row["x"]) and ys.min() >= int(row["y"])
        assert max(xs.max() - int(row["x"]), ys.max() - int(row["y"])) < 48  # half of 96
        assert float(row["scale"]) > 0


def mask_of(root: Path, row: dict[str, str]) -> Path:
    return root / "mahand" / f"{row['number']}.png"


@pytest.mark.parametrize("style", ["natural", "plain"])
def test_pixels_under_the_hand_become_0_in_id_masks_which_stay_palette_pictures(style: str, folders: Path) -> None:
    generate(folders, "--style", style, "--repeats", "1")
    hidden = 0
    for row in manifest(folders):
        ids = images.read_mask(folders / "masks" / row["face"].replace("jpg", "png"))
        with Image.open(mask_of(folders, row)) as written:
            assert written.mode == "P"
            assert tuple(written.getpalette()[3:6]) == CELEBAMASK.colours[1]
            after = np.array(written)
        assert (after[after != ids] == 0).all()
        hidden += np.count_nonzero(after != ids)
    assert hidden > 0


def test_0_255_masks_stay_0_255(folders: Path) -> None:
    for path in (folders / "masks").iterdir():
        images.write_mask(path, FACE.table[images.read_mask(path)] * 255)
    generate(folders, "--repeats", "1")
    for row in manifest(folders):
        before = images.read_mask(folders / "masks" / row["face"].replace("jpg", "png"))
        with Image.open(mask_of(folders, row)) as written:
            assert written.mode == "L"
            after = np.array(written)
        assert set(np.unique(after)) == {0, 255}
        cover = np.count_nonzero(before != after) / np.count_nonzero(before)
        assert 0.05 <= cover <= 0.7


def test_jpeg_masks_become_pngs_of_exactly_0_and_255(folders: Path) -> None:
    for path in list((folders / "masks").iterdir()):
        mask = FACE.table[images.read_mask(path)] * np.uint8(255)
        path.unlink()
        Image.fromarray(mask).save(path.with_suffix(".jpg"), quality=60)
        assert len(np.unique(images.read_mask(path.with_suffix(".jpg")))) > 2
    assert generate(folders, "--repeats", "1") == 0
    for row in manifest(folders):
        before = images.read_mask(folders / "masks" / row["face"]) > 127
        with Image.open(mask_of(folders, row)) as written:
            assert written.mode == "L"
            after = np.array(written)
        assert set(np.unique(after)) == {0, 255}
        assert before[after == 255].all()
        assert 0.05 <= 1 - np.count_nonzero(after) / np.count_nonzero(before) <= 0.7


def test_the_same_seed_gives_the_same_bytes_with_one_worker_and_with_two(folders: Path) -> None:
    assert generate(folders, "--repeats", "3", "--seed", "5", out="one") == 0
    assert generate(folders, "--repeats", "3", "--seed", "5", "--workers", "2", out="two") == 0
    assert generate(folders, "--repeats", "3", "--seed", "6", out="other") == 0
    assert contents(folders / "one") == contents(folders / "two") != contents(folders / "other")


def test_a_second_run_keeps_what_is_finished_and_makes_what_is_missing(
    folders: Path, capfd: pytest.CaptureFixture
) -> None:
    generate(folders, "--repeats", "1")
    first = contents(folders)
    (folders / "mahand" / "3.png").unlink()
    (folders / "fahand" / "0.jpg").write_bytes(b"mine")
    assert generate(folders, "--repeats", "1") == 0
    assert "made 1 and kept 7" in capfd.readouterr().err
    assert contents(folders) == first | {"fahand/0.jpg": b"mine"}
    assert generate(folders, "--repeats", "1", "--overwrite") == 0
    assert contents(folders) == first


@pytest.mark.parametrize("extra", [(), ("--overwrite",), ("--seed", "7")], ids=["same", "overwrite", "other seed"])
def test_a_run_with_fewer_outputs_leaves_none_of_the_larger_run(
    extra: tuple[str, ...], folders: Path, capfd: pytest.CaptureFixture
) -> None:
    assert generate(folders, "--rotations", "0", "--repeats", "1", *extra, out="fresh") == 0
    assert generate(folders) == 0
    (folders / "fahand" / "99.jpg").write_bytes(b"mine")  # in no manifest
    assert generate(folders, "--rotations", "0", "--repeats", "1", *extra) == 0
    # Hand 1 on the face of number 0 is in both runs; number 1 was hand 1 as well and is hand 2 now.
    removed, kept = (39, 1) if extra == () else (40, 0)
    err = capfd.readouterr().err
    assert f"removed {removed} outputs of an earlier run from {folders / 'fahand'}\n" in err
    assert f"made {2 - kept} and kept {kept}" in err
    assert contents(folders) == contents(folders / "fresh") | {"fahand/99.jpg": b"mine"}


def test_an_output_that_fails_leaves_no_files_of_an_earlier_run(folders: Path) -> None:
    generate(folders)
    photo = folders / "faces" / "1.jpg"
    photo.write_bytes(photo.read_bytes()[:-800])
    assert generate(folders, "--seed", "1") == 1
    numbers = {row["number"] for row in manifest(folders)}
    assert {path.stem for path in (folders / "mahand").iterdir()} == numbers
    assert {path.stem for path in (folders / "fahand").glob("*.jpg")} == numbers


def test_file_names_that_are_not_utf_8_go_through_the_manifest(folders: Path, capfd: pytest.CaptureFixture) -> None:
    name = os.fsdecode(b"b\xe9b\xe9")  # Latin-1
    try:
        for number in range(3):
            (folders / "faces" / f"{number}.jpg").rename(folders / "faces" / f"{number}{name}.jpg")
            (folders / "masks" / f"{number}.png").rename(folders / "masks" / f"{number}{name}.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert generate(folders, "--repeats", "1") == 0
    assert b"b\xe9b\xe9.jpg,hand1," in (folders / "fahand" / "manifest.csv").read_bytes()
    assert generate(folders, "--repeats", "1") == 0
    assert "made 0 and kept 8" in capfd.readouterr().err


@pytest.mark.parametrize("turn", ["nan", "inf", "1e999"])
def test_a_rotation_is_a_finite_number(turn: str, folders: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        generate(folders, "--rotations", "0", turn)
    assert f"expected a finite number of degrees, got '{turn}'" in capsys.readouterr().err


def test_outputs_of_other_settings_are_not_taken_for_finished(folders: Path, capfd: pytest.CaptureFixture) -> None:
    generate(folders, "--repeats", "1", "--style", "plain")
    generate(folders, "--repeats", "1", "--style", "natural")
    assert "made 8 and kept 0" in capfd.readouterr().err
    assert {row["style"] for row in manifest(folders)} == {"natural"}


def test_from_frames_cuts_the_separate_hands_out_of_a_frame(folders: Path) -> None:
    both = outline(120, 30) | outline(120, 90)
    both[2, 60] = True  # a speck is no hand
    write_hand(folders, "frame", both)
    hands = read_hands(*(folders / "hands" / kind / "frame.png" for kind in ("images", "masks")), from_frames=True)
    assert [hand.name for hand in hands] == ["frame_1", "frame_2"]
    assert sum(np.count_nonzero(hand.mask) for hand in hands) == np.count_nonzero(both) - 1
    assert all(hand.mask.shape[1] < 70 and hand.image.shape[:2] == hand.mask.shape for hand in hands)
    assert generate(folders, "--from_frames", "--repeats", "1", "--rotations", "0") == 0
    assert [row["hand"] for row in manifest(folders)] == ["frame_1", "frame_2", "hand1_1", "hand2_1"]


def test_a_mask_leaves_out_another_hand_that_reaches_into_the_crop(tmp_path: Path) -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:90, 10:20] = mask[80:90, 10:90] = True  # an L
    mask[40:60, 50:70] = True  # a block in its elbow
    (tmp_path / "hands").mkdir()
    write_hand(tmp_path, "frame", mask)
    hands = read_hands(*(tmp_path / "hands" / kind / "frame.png" for kind in ("images", "masks")), from_frames=True)
    assert [np.count_nonzero(hand.mask) for hand in hands] == [800 + 700, 400]


def break_missing_face_mask(root: Path) -> str:
    (root / "masks" / "1.png").unlink()
    return "1.jpg: no mask 1.*"


def break_missing_face(root: Path) -> str:
    (root / "faces" / "1.jpg").unlink()
    return "1.png: no picture 1.*"


def break_missing_hand_mask(root: Path) -> str:
    (root / "hands" / "masks" / "hand1.png").unlink()
    return "hand1.png: no mask hand1.*"


def break_missing_hand(root: Path) -> str:
    (root / "hands" / "images" / "hand1.png").unlink()
    return "hand1.png: no picture hand1.*"


def break_empty_hand(root: Path) -> str:
    write_hand(root, "hand1", np.zeros((50, 50), bool))
    return "hand1.png: the mask is empty"


def break_full_hand(root: Path) -> str:
    write_hand(root, "hand1", np.ones((50, 50), bool))
    return "hand1.png: the hand is as large as the picture"


def break_faceless(root: Path) -> str:
    images.write_mask(root / "masks" / "1.png", np.full((96, 96), CELEBAMASK.id("hair"), np.uint8), CELEBAMASK)
    return "1.png: no face pixel"


def break_values(root: Path) -> str:
    images.write_mask(root / "masks" / "1.png", np.resize(np.array([0, 3, 120, 250], np.uint8), (96, 96)))
    return "1.png: holds neither 0 and 255 alone nor class ids, 0 to 18"


def break_size(root: Path) -> str:
    images.write_mask(root / "masks" / "1.png", np.ones((50, 96), np.uint8), CELEBAMASK)
    return "1.png is 96x50 but its picture"


def break_header(root: Path) -> str:
    (root / "hands" / "images" / "hand1.png").write_bytes(b"no picture")
    return "hand1.png: cannot be read as a picture"


FAULTS = [value for name, value in sorted(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_faulty_input_is_named_skipped_and_counted(
    fault: Callable[[Path], str], folders: Path, capfd: pytest.CaptureFixture
) -> None:
    said = fault(folders)
    assert generate(folders, "--repeats", "1", "--rotations", "0", "90") == 1
    err = capfd.readouterr().err
    assert err.count(said) == 1
    assert ", skipped 1, in" in err.splitlines()[-1]
    hands = 1 if "hand" in fault.__name__ or "header" in fault.__name__ else 2
    assert [row["number"] for row in manifest(folders)] == [str(n) for n in range(2 * hands)]
    assert hands == 1 or {row["face"] for row in manifest(folders)} <= {"0.jpg", "2.jpg"}


def test_a_photo_cut_short_is_named_and_the_others_are_made(folders: Path, capfd: pytest.CaptureFixture) -> None:
    photo = folders / "faces" / "1.jpg"
    photo.write_bytes(photo.read_bytes()[:-800])
    assert generate(folders) == 1
    err = capfd.readouterr().err
    rows = manifest(folders)
    assert 0 < len(rows) < 40 and "1.jpg" not in {row["face"] for row in rows}
    assert f"made {len(rows)} and kept 0" in err and f"skipped {40 - len(rows)}, in" in err
    assert "1.jpg: cannot be read as a picture" in err


def test_an_empty_or_missing_folder_is_one_sentence(folders: Path, capfd: pytest.CaptureFixture) -> None:
    for path in (folders / "hands" / "masks").iterdir():
        path.unlink()
    assert generate(folders) == 1
    said = f"error: {folders / 'hands' / 'masks'}: no picture in this folder"
    assert capfd.readouterr().err.startswith(said)
    assert generate(folders / "nowhere") == 1
    assert "no such file or folder" in capfd.readouterr().err


def test_no_usable_face_ends_the_run_with_the_reason(folders: Path, capfd: pytest.CaptureFixture) -> None:
    for path in (folders / "masks").iterdir():
        images.write_mask(path, np.zeros((96, 96), np.uint8))
    assert generate(folders) == 1
    err = capfd.readouterr().err
    assert "0.png: no face pixel" in err and "no usable face is left" in err


def test_inputs_are_never_overwritten(folders: Path, capfd: pytest.CaptureFixture) -> None:
    before = (folders / "faces" / "0.jpg").read_bytes()
    assert generate(folders, "--fahand_dir", str(folders / "faces")) == 1
    assert "choose another folder" in capfd.readouterr().err
    assert (folders / "faces" / "0.jpg").read_bytes() == before


def test_a_larger_photo_is_reduced_to_its_mask(folders: Path, drawn_face: DrawnFace) -> None:
    for seed in range(3):
        images.write_rgb(folders / "faces" / f"{seed}.jpg", drawn_face(seed, 192)[0])
    assert generate(folders, "--repeats", "1", "--rotations", "0") == 0
    assert images.size_of(folders / "fahand" / "0.jpg") == images.size_of(folders / "mahand" / "0.png") == (96, 96)


@pytest.mark.real_data
def test_real_hands_go_on_real_faces(shared_data: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(shared_data / "celebamask" / "shard-0.tar") as shard:
        stems = [name.rsplit("/", 1)[1][:-4] for name in shard.getnames() if name.endswith(".png")][:5]
        for folder, where, suffix in (("faces", "images", "jpg"), ("masks", "masks", "png")):
            (tmp_path / folder).mkdir()
            for stem in stems:
                member = next(name for name in shard.getnames() if name.endswith(f"{where}/{stem}.{suffix}"))
                (tmp_path / folder / f"{stem}.{suffix}").write_bytes(shard.extractfile(member).read())
    (tmp_path / "hands").mkdir()
    for kind in ("images", "masks"):
        (tmp_path / "hands" / kind).mkdir()
        for path in images.list_images(shared_data / "hands" / kind)[::90]:
            (tmp_path / "hands" / kind / path.name).write_bytes(path.read_bytes())
    assert generate(tmp_path, "--repeats", "1") == 0
    rows = manifest(tmp_path)
    assert len(rows) == 5 * 4
    for row in rows:
        before = FACE.table[images.read_mask(tmp_path / "masks" / row["face"].replace("jpg", "png"))]
        after = FACE.table[images.read_mask(mask_of(tmp_path, row))]
        assert 0.05 <= 1 - after.sum() / before.sum() <= 0.7


@pytest.mark.real_data
def test_real_frames_are_cut_into_hands(shared_data: Path) -> None:
    frames = shared_data / "hands" / "egohands_frames"
    for number in ("01", "10"):
        hands = read_hands(frames / "images" / f"{number}.jpg", frames / "masks" / f"{number}.png", from_frames=True)
        assert 1 <= len(hands) <= 4
        assert all(np.count_nonzero(hand.mask) >= 0.001 * 1280 * 720 for hand in hands)
