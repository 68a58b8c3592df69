"""preprocess_data.py: part files and cut-outs -> masks, on pictures so small that every pixel is worked out by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceparse.commands import preprocess
from faceparse.data import celebamask
from faceparse.images import list_images, read_mask
from faceparse.labels import CELEBAMASK, FACE

ROOT = Path(__file__).resolve().parents[1]

# One row of six pixels; a part covers the pixels that are marked.
PARTS = {
    "skin": "xxxxx.",
    "nose": ".x....",
    "eye_g": "..xx..",
    "l_eye": "..x...",
    "hair": "....xx",
}
IDS = [1, 2, 4, 3, 13, 13]  # skin, nose, an eye seen through glasses, the glasses' rim, hair over skin, hair
FACE_PIXELS = [255, 255, 255, 0, 0, 0]
HAIR_PIXELS = [0, 0, 0, 0, 255, 255]


def row(marks: str) -> Image.Image:
    return Image.fromarray(np.array([[255 * (mark == "x") for mark in marks]], np.uint8))


def as_palette(image: Image.Image) -> Image.Image:
    """Index 1 is white."""
    picture = Image.fromarray((np.array(image) > 0).astype(np.uint8))
    picture.putpalette([0, 0, 0, 255, 255, 255])
    return picture


def write_parts(anno: Path, number: int, parts: dict[str, str] = PARTS, digits: int = 5) -> Path:
    folder = anno / str(number // 2000)
    folder.mkdir(parents=True, exist_ok=True)
    for name, marks in parts.items():
        row(marks).convert("RGB").save(folder / f"{number:0{digits}d}_{name}.png")
    return folder


@pytest.fixture
def anno(tmp_path: Path) -> Path:
    """Pictures 0, 7 and 4001 in the published layout."""
    folder = tmp_path / "raw" / "CelebAMask-HQ-mask-anno"
    for number in (0, 7, 4001):
        write_parts(folder, number)
    return folder


def run(parts: Path, masks: Path, *flags: str) -> int:
    return preprocess.main(["--masks_parts", str(parts), "--output_mask", str(masks), "--workers", "1", *flags])


def contents(folder: Path) -> dict[str, list[list[int]]]:
    return {path.name: read_mask(path).tolist() for path in list_images(folder)}


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


# what a mask holds


@pytest.mark.parametrize(
    ("flags", "mode", "expected"),
    [
        ([], "L", FACE_PIXELS),
        (["--labels", "face"], "L", FACE_PIXELS),
        (["--labels", "hair"], "L", HAIR_PIXELS),
        (["--labels", "celebamask"], "P", IDS),
    ],
)
def test_later_parts_cover_earlier_ones_in_every_label_set(
    tmp_path: Path, anno: Path, flags: list[str], mode: str, expected: list[int]
) -> None:
    assert run(anno, tmp_path / "out", *flags) == 0
    assert contents(tmp_path / "out") == {name: [expected] for name in ("0.png", "7.png", "4001.png")}
    assert Image.open(tmp_path / "out/7.png").mode == mode


def test_ids_come_with_readable_colours(tmp_path: Path, anno: Path) -> None:
    run(anno, tmp_path / "out", "--labels", "celebamask")
    seen = np.array(Image.open(tmp_path / "out/0.png").convert("RGB"))[0].tolist()
    assert seen == [list(CELEBAMASK.colours[i]) for i in IDS]


@pytest.mark.parametrize(
    "part", ["glasses eye_g", "earring ear_r", "neck neck", "necklace neck_l", "cloth cloth", "hat hat"]
)
def test_what_lies_over_the_face_is_cut_out(tmp_path: Path, part: str) -> None:
    write_parts(tmp_path / "raw", 1, {"skin": "xxx", part.split()[1]: ".x."})
    assert run(tmp_path / "raw", tmp_path / "out") == 0
    assert contents(tmp_path / "out") == {"1.png": [[255, 0, 255]]}


def test_every_part_of_the_face_is_face_and_no_other(tmp_path: Path) -> None:
    for number, name in enumerate(CELEBAMASK.classes[1:], 1):
        write_parts(tmp_path / "raw", number, {name: "x"})
    run(tmp_path / "raw", tmp_path / "out")
    found = {number for number in range(1, 19) if read_mask(tmp_path / f"out/{number}.png").tolist() == [[255]]}
    assert found == {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12}


@pytest.mark.parametrize("convert", [lambda image: image, lambda image: image.convert("RGB"), as_palette])
def test_parts_may_be_grey_rgb_or_palette_pictures(
    tmp_path: Path, convert: Callable[[Image.Image], Image.Image]
) -> None:
    folder = write_parts(tmp_path / "raw", 3)
    for name, marks in PARTS.items():
        convert(row(marks)).save(folder / f"00003_{name}.png")
    assert run(tmp_path / "raw", tmp_path / "out", "--labels", "celebamask") == 0
    assert contents(tmp_path / "out") == {"3.png": [IDS]}


def test_a_part_is_where_it_is_brighter_than_0_not_where_it_is_255(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    Image.fromarray(np.array([[0, 1, 128, 225, 255]], np.uint8)).save(tmp_path / "raw/1_skin.png")
    run(tmp_path / "raw", tmp_path / "out")
    assert contents(tmp_path / "out") == {"1.png": [[0, 255, 255, 255, 255]]}


def test_the_choices_are_the_label_sets_that_parts_can_make() -> None:
    assert {"face", "face_with_glasses", "hair", "celebamask"} <= set(preprocess.CHOICES)
    with pytest.raises(SystemExit):
        preprocess.parse_args(["--masks_parts", "a", "--output_mask", "b", "--labels", "person"])


def test_ids_are_relabelled_to_what_a_mask_holds_on_disk() -> None:
    ids = np.array([IDS], np.uint8)
    assert celebamask.relabel(ids, FACE).tolist() == [FACE_PIXELS]
    assert celebamask.relabel(ids, CELEBAMASK).tolist() == [IDS]


# what is read


def test_the_parent_folder_and_a_flat_folder_will_do(tmp_path: Path, anno: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in anno.rglob("*.png"):
        path.rename(flat / path.name)
    write_parts(anno, 5)
    assert sorted(celebamask.find_parts(anno.parent)) == [5]
    assert list(celebamask.find_parts(flat)) == [0, 7, 4001]


def test_numbers_may_have_any_count_of_digits(tmp_path: Path) -> None:
    write_parts(tmp_path / "raw", 1234567)
    write_parts(tmp_path / "raw", 8, digits=1)
    assert run(tmp_path / "raw", tmp_path / "out") == 0
    assert sorted(contents(tmp_path / "out")) == ["1234567.png", "8.png"]


def test_other_files_are_passed_over(tmp_path: Path, anno: Path) -> None:
    for name in ("Thumbs.db", "._00000_skin.png", "00000_skin.png.txt", "cover.png", "00009.png"):
        (anno / "0" / name).write_bytes(b"?")
    assert run(anno, tmp_path / "out") == 0
    assert len(contents(tmp_path / "out")) == 3


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_a_missing_or_empty_folder_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: bool
) -> None:
    if make:
        (tmp_path / "raw").mkdir()
    assert run(tmp_path / "raw", tmp_path / "out") == 1
    told = capsys.readouterr().err
    reason = "no part file such as 0/00000_skin.png" if make else "no such folder"
    assert told.startswith(f"error: {tmp_path / 'raw'}: {reason}")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


# what is wrong with a picture


def spoil(path: Path, how: str) -> str:
    """Spoil a part file; what the message says of it."""
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not a picture")
    elif how == "size":
        row("xx").save(path)
        return r"00007_hair\.png: this part is 2x1 but the picture's other parts are 6x1"
    elif how == "name":
        path.rename(path.with_name("00007_hiar.png"))
        return r"00007_hiar\.png: there is no part 'hiar'; choose from: skin, nose, "
    elif how == "double":
        row("x.....").save(path.with_name("7_hair.png"))
        return r"7_hair\.png: the same part is in .*00007_hair\.png already"
    return r"00007_hair\.png: cannot be read as a picture \(empty, cut short or not a picture\)"


# One kind is enough to show that a fault comes back from another process.
@pytest.mark.parametrize(
    ("how", "workers"), [(how, "1") for how in ("cut", "empty", "text", "size", "name", "double")] + [("cut", "2")]
)
def test_a_bad_part_is_named_its_picture_gets_no_mask_and_the_others_go_on(
    tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str], how: str, workers: str
) -> None:
    expected = spoil(anno / "0/00007_hair.png", how)
    assert run(anno, tmp_path / "out", "--workers", workers) == 1
    told = capsys.readouterr().err
    assert re.search(rf"no mask: .*{expected}", told)
    assert re.search(r"out: 2 masks written, 0 kept, 1 failed, in \d+\.\d s$", told.strip())
    assert sorted(contents(tmp_path / "out")) == ["0.png", "4001.png"]


def test_every_bad_part_of_a_picture_is_named(tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (anno / "0/00007_hair.png").write_bytes(b"")
    (anno / "0/00007_nose.png").write_bytes(b"")
    run(anno, tmp_path / "out")
    told = capsys.readouterr().err
    assert "00007_hair.png: cannot" in told
    assert "00007_nose.png: cannot" in told
    assert "1 failed" in told


def test_a_mended_picture_is_made_by_the_next_run(
    tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(anno / "0/00007_hair.png", "empty")
    run(anno, tmp_path / "out")
    write_parts(anno, 7)
    assert run(anno, tmp_path / "out") == 0
    assert "1 masks written, 2 kept, 0 failed" in last_line(capsys)


# a second run


def test_a_second_run_keeps_the_finished_masks_and_overwrite_makes_them_anew(
    tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(anno, tmp_path / "out")
    os.utime(tmp_path / "out/0.png", (1, 1))
    (tmp_path / "out/7.png").unlink()
    assert run(anno, tmp_path / "out") == 0
    assert (tmp_path / "out/0.png").stat().st_mtime == 1
    assert "1 masks written, 2 kept, 0 failed" in last_line(capsys)
    assert run(anno, tmp_path / "out", "--overwrite") == 0
    assert (tmp_path / "out/0.png").stat().st_mtime > 1
    assert "3 masks written, 0 kept, 0 failed" in last_line(capsys)


def test_masks_of_another_label_set_are_refused_until_overwrite(
    tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(anno, out) == 0
    capsys.readouterr()
    assert run(anno, out, "--labels", "celebamask") == 1
    sentence = f"error: {out} holds masks of 'face'; choose another folder for 'celebamask', or --overwrite\n"
    assert capsys.readouterr().err == sentence
    assert contents(out)["7.png"] == [FACE_PIXELS]
    assert run(anno, out, "--labels", "celebamask", "--overwrite") == 0
    assert contents(out)["7.png"] == [IDS]
    assert run(anno, out, "--labels", "celebamask") == 0
    assert run(anno, out) == 1


def test_an_interrupted_run_leaves_no_half_mask(
    tmp_path: Path, anno: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(image: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt)
    assert run(anno, tmp_path / "out") == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == [preprocess.MARKER]
    assert "interrupted; what was finished is kept" in last_line(capsys)


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    for number in range(40):
        write_parts(tmp_path / "raw", number, {"skin": "xxxx", "nose": f"{number % 16:04b}".replace("1", "x")})
    for workers in ("1", "2", "3"):
        assert run(tmp_path / "raw", tmp_path / workers, "--workers", workers, "--labels", "celebamask") == 0
    one, two, three = ({p.name: p.read_bytes() for p in list_images(tmp_path / n)} for n in "123")
    assert len(one) == 40
    assert one == two == three


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_workers_are_a_whole_number_from_1(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        preprocess.parse_args(["--masks_parts", "a", "--output_mask", "b", "--workers", workers])
    assert "expected a whole number of at least 1" in capsys.readouterr().err


# as a user runs it


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "preprocess_data.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_does_it_all_with_progress_on_stderr(tmp_path: Path, anno: Path) -> None:
    spoil(anno / "0/00007_hair.png", "cut")
    done = script("--masks_parts", anno, "--output_mask", tmp_path / "out", "--workers", 2)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "3/3" in done.stderr
    assert "2 masks written, 0 kept, 1 failed" in done.stderr.splitlines()[-1]
    assert contents(tmp_path / "out") == {name: [FACE_PIXELS] for name in ("0.png", "4001.png")}


@pytest.mark.real_data
def test_real_parts_give_the_masks_that_they_were_cut_from(tmp_path: Path, shared_data: Path) -> None:
    shard = shared_data / "celebamask/shard-0.tar"
    tool = shared_data.parent / "tools/make_raw_layout.py"
    subprocess.run([sys.executable, tool, shard, tmp_path / "raw", "6"], check=True)
    truth = masks_in(shard)
    for labels in ("celebamask", "face"):
        assert run(tmp_path / "raw", tmp_path / labels, "--labels", labels) == 0
        assert len(list_images(tmp_path / labels)) == 6
    for path in list_images(tmp_path / "celebamask"):
        ids = truth[path.name]
        assert np.array_equal(read_mask(path), ids)
        assert np.array_equal(read_mask(tmp_path / "face" / path.name), FACE.table[ids] * np.uint8(255))


def masks_in(shard: Path) -> dict[str, np.ndarray]:
    """The first masks of a tar file of pairs, uint8 (512, 512) ids, by name."""
    with tarfile.open(shard) as tar:
        names = sorted((name for name in tar.getnames() if name.startswith("masks/")), key=lambda n: int(Path(n).stem))
        files = {Path(name).name: tar.extractfile(name) for name in names[:6]}
        return {name: np.array(Image.open(file)) for name, file in files.items() if file}


# resized and split


def make(tmp_path: Path, anno: Path, *flags: str) -> int:
    return preprocess.main(
        ["--masks_parts", str(anno), "--output_mask", str(tmp_path / "masks"), "--workers", "1", *flags]
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo of twice the parts' size for each picture."""
    folder = tmp_path / "CelebA-HQ-img"
    folder.mkdir()
    for number in (0, 7, 4001):
        Image.fromarray(np.full((2, 12, 3), 80, np.uint8)).save(folder / f"{number}.jpg")
    return folder


def test_photos_and_masks_are_written_at_a_size_into_the_parts_of_a_split(
    tmp_path: Path, anno: Path, photos: Path
) -> None:
    (tmp_path / "split.csv").write_text("0.jpg,True\n7.jpg,False\n12.jpg,True\n")
    faces = ["--faces_dir", str(photos), "--output_faces", str(tmp_path / "faces")]
    flags = ["--size", "3", "--split", str(tmp_path / "split.csv"), "--labels", "celebamask", *faces]
    assert make(tmp_path, anno, *flags) == 0
    for root, suffix in (("masks", "png"), ("faces", "jpg")):
        written = sorted(p.relative_to(tmp_path / root).as_posix() for p in (tmp_path / root).rglob(f"*.{suffix}"))
        assert written == [f"test/7.{suffix}", f"train/0.{suffix}"]  # 4001 is in no row
    ids = read_mask(tmp_path / "masks/train/0.png")
    assert ids.tolist() == [[IDS[1], IDS[3], IDS[5]]]  # nearest: the middle of every two pixels is their border
    assert Image.open(tmp_path / "faces/train/0.jpg").size == (3, 1)


def test_a_second_run_makes_only_the_photos_and_masks_that_are_missing(
    tmp_path: Path, anno: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--size", "3", "--faces_dir", str(photos), "--output_faces", str(tmp_path / "faces")]
    assert make(tmp_path, anno, *flags) == 0
    (tmp_path / "faces" / "7.jpg").unlink()
    assert make(tmp_path, anno, *flags) == 0
    assert "1 masks written, 2 kept" in capsys.readouterr().err
    assert (tmp_path / "faces" / "7.jpg").exists()
    assert make(tmp_path, anno, "--size", "4") == 1
    assert "holds masks of 'face 3'; choose another folder for 'face 4'" in capsys.readouterr().err


def test_a_missing_photo_is_named_and_the_others_go_on(
    tmp_path: Path, anno: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "7.jpg").unlink()
    flags = ["--size", "3", "--faces_dir", str(photos), "--output_faces", str(tmp_path / "faces")]
    assert make(tmp_path, anno, *flags) == 1
    assert "7.jpg: cannot be read" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "masks").glob("*.png")) == ["0.png", "4001.png"]


def test_a_split_that_names_no_picture_and_flags_that_need_each_other_are_refused(
    tmp_path: Path, anno: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "split.csv").write_text("face_0.jpg,True\n")
    assert make(tmp_path, anno, "--split", str(tmp_path / "split.csv")) == 1
    assert "it names none of the 3 pictures" in capsys.readouterr().err
    for flags in (["--faces_dir", str(photos)], ["--faces_dir", str(photos), "--output_faces", "x"]):
        with pytest.raises(SystemExit):
            make(tmp_path, anno, *flags)


def test_photos_are_never_written_over_nor_into_the_masks(tmp_path: Path, anno: Path, photos: Path) -> None:
    before = (photos / "0.jpg").read_bytes()
    for folder in (photos, photos / ".." / photos.name, tmp_path / "masks"):
        with pytest.raises(SystemExit):
            make(tmp_path, anno, "--size", "3", "--faces_dir", str(photos), "--output_faces", str(folder))
    assert (photos / "0.jpg").read_bytes() == before


def test_a_photo_gets_the_name_of_its_mask_and_none_is_left_without(
    tmp_path: Path, anno: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(photos / "0.jpg").save(photos / "00000.png")
    (photos / "0.jpg").unlink()
    next(anno.rglob("*7_*.png")).write_bytes(b"broken")
    faces = ["--size", "3", "--faces_dir", str(photos), "--output_faces", str(tmp_path / "faces")]
    assert make(tmp_path, anno, *faces) == 1
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["0.png", "4001.jpg"]


def test_another_split_into_the_same_folder_is_refused(
    tmp_path: Path, anno: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a picture to test on would stay among those to train on."""
    split = tmp_path / "split.csv"
    split.write_text("0.jpg,True\n7.jpg,False\n")
    assert make(tmp_path, anno, "--split", str(split)) == 0
    split.write_text("0.jpg,False\n7.jpg,False\n")
    assert make(tmp_path, anno, "--split", str(split)) == 1
    assert "masks/train/0.png: by" in (told := capsys.readouterr().err) and "it belongs into test" in told
    assert not (tmp_path / "masks/test/0.png").exists()


# cut-outs


@pytest.fixture
def aisegment(tmp_path: Path) -> Path:
    """AISegment's layout with the pictures 18-0 to 18-3, of which 18-2 lacks its photo and 18-3 its alpha."""
    photos, cutouts = (tmp_path / "ai" / name for name in ("clip_img/18/clip_0", "matting/18/matting_0"))
    for folder in (photos, cutouts):
        folder.mkdir(parents=True)
    for number in range(4):
        picture = Image.new("RGB", (6, 8), (90, 90, number))
        picture.save(photos / f"18-{number}.jpg")
        picture.putalpha(100 + number)
        picture.save(cutouts / f"18-{number}.png")
    (photos / "18-2.jpg").unlink()
    Image.new("RGB", (6, 8)).save(cutouts / "18-3.png")
    return tmp_path / "ai"


def cut(tmp_path: Path, matting: Path, *flags: str) -> int:
    return preprocess.main(
        ["--matting", str(matting), "--output_mask", str(tmp_path / "masks"), "--workers", "1", *flags]
    )


def table(tmp_path: Path) -> list[str]:
    return (tmp_path / "masks/pairs.csv").read_text().splitlines()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_good_cut_outs_become_masks_listed_with_their_photos_and_the_others_are_named_and_counted(
    tmp_path: Path, aisegment: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    assert cut(tmp_path, aisegment, "--workers", workers) == 1
    told = capsys.readouterr().err
    assert re.search(r"no mask: .*matting_0/18-2\.png: no photo of its folder and name", told)
    assert re.search(r"no mask: .*matting_0/18-3\.png: there is no alpha channel", told)
    assert "masks: 2 masks written, 0 kept, 2 failed" in told
    assert contents(tmp_path / "masks") == {f"18-{n}.png": [[100 + n] * 6] * 8 for n in (0, 1)}
    photos = "../ai/clip_img/18/clip_0"
    assert table(tmp_path) == ["picture,mask", f"{photos}/18-0.jpg,18-0.png", f"{photos}/18-1.jpg,18-1.png"]


def test_a_second_run_keeps_finished_cut_outs_and_makes_mended_ones(
    tmp_path: Path, aisegment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut(tmp_path, aisegment) == 1
    os.utime(tmp_path / "masks/18-0.png", (1, 1))
    mended = aisegment / "matting/18/matting_0"
    (mended / "18-2.png").unlink()
    Image.new("RGBA", (6, 8), (1, 2, 3, 4)).save(mended / "18-3.png")
    assert cut(tmp_path, aisegment) == 0
    assert "1 masks written, 2 kept, 0 failed" in last_line(capsys)
    assert (tmp_path / "masks/18-0.png").stat().st_mtime == 1
    assert len(table(tmp_path)) == 4


def test_masks_that_an_earlier_run_left_are_told(
    tmp_path: Path, aisegment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut(tmp_path, aisegment) == 1
    for kind in ("clip_img/18/clip_0/18-0.jpg", "matting/18/matting_0/18-0.png"):
        (aisegment / kind).unlink()
    assert cut(tmp_path, aisegment) == 1
    told = capsys.readouterr().err
    assert "masks/18-0.png: a mask of an earlier run, the first of 1 that no picture here is for any more" in told
    assert len(table(tmp_path)) == 2


def test_pictures_and_masks_of_cut_outs_go_into_the_parts_of_a_split_under_equal_names(
    tmp_path: Path, aisegment: Path
) -> None:
    (tmp_path / "split.csv").write_text("18-0.jpg,True\n18-1.jpg,False\n")
    faces = ["--output_faces", str(tmp_path / "faces"), "--size", "4", "--split", str(tmp_path / "split.csv")]
    assert cut(tmp_path, aisegment, *faces) == 1  # 18-2 still has no photo
    for name in ("faces/train/18-0.jpg", "faces/test/18-1.jpg", "masks/train/18-0.png", "masks/test/18-1.png"):
        assert Image.open(tmp_path / name).size == (3, 4)
    assert table(tmp_path)[1:] == [
        "../faces/train/18-0.jpg,train/18-0.png",
        "../faces/test/18-1.jpg,test/18-1.png",
    ]


def test_cut_outs_without_photos_are_the_pictures_themselves(tmp_path: Path, aisegment: Path) -> None:
    (aisegment / "matting/18/matting_0/18-3.png").unlink()
    assert cut(tmp_path, aisegment / "matting") == 0
    assert table(tmp_path)[1] == "../ai/matting/18/matting_0/18-0.png,18-0.png"
    assert cut(tmp_path, aisegment / "matting", "--output_faces", str(tmp_path / "faces")) == 0
    assert table(tmp_path)[1] == "../faces/18-0.png,18-0.png"
    faces = {path.name: Image.open(path) for path in list_images(tmp_path / "faces")}
    assert {name: face.mode for name, face in faces.items()} == {f"18-{n}.png": "RGB" for n in range(3)}


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--matting", "a", "--masks_parts", "b"],
        ["--matting", "a", "--labels", "face"],
        ["--matting", "a", "--size", "3", "--faces_dir", "b", "--output_faces", "c"],
        ["--matting", "a", "--output_faces", "a/faces"],
        ["--matting", "out/.."],
        ["--matting", "a", "--output_faces", "out"],
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_with_cut_outs_are_refused(flags: list[str]) -> None:
    with pytest.raises(SystemExit):
        preprocess.parse_args([*flags, "--output_mask", "out"])


def test_masks_of_faces_and_of_cut_outs_do_not_share_a_folder(
    tmp_path: Path, anno: Path, aisegment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(tmp_path, anno) == 0
    assert cut(tmp_path, aisegment) == 1
    assert "holds masks of 'face'; choose another folder for 'alpha'" in last_line(capsys)
