"""`test.py`: where masks go, what is in them, and what happens to files that can't be used."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from faceparse import checkpoint, images, predictor
from faceparse.commands import pictures
from faceparse.commands import test as command
from faceparse.commands.places import find_places
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS, LabelSet
from faceparse.models import create_model
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess

ROOT = Path(__file__).resolve().parents[1]
PLAIN = Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

DrawnFace = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


class Brightness(nn.Module):
    """Logits (B, K, H, W): class k is likeliest where the brightness, 0..1, is nearest to k / (K - 1)."""

    def __init__(self, classes: int):
        super().__init__()
        self.register_buffer("levels", torch.linspace(0, 1, classes).view(1, classes, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return -20 * (image.mean(dim=1, keepdim=True) - self.levels).abs()


@pytest.fixture(autouse=True)
def labels_in_use(monkeypatch: pytest.MonkeyPatch) -> list[LabelSet]:
    """`test.py` gets a network whose answer is known, bright = foreground, with the label set in this list."""
    chosen = [FACE]

    def load(
        path: Path | None, device: str | None, labels: str | None, classes: list[str] | None, zoom: str, flip: bool
    ) -> Predictor:
        own = chosen[0]
        answers = own.of_classes(classes) if classes else LABEL_SETS[labels] if labels else None
        return Predictor(Brightness(len(own)), own, PLAIN, "cpu", answers=answers, zoom=zoom, flip=flip)

    monkeypatch.setattr(predictor, "load", load)
    return chosen


def segment(images_path: Path | str, save_path: Path, *flags: str) -> int:
    return command.main(["--images_path", str(images_path), "--save_path", str(save_path), *flags])


def picture(path: Path, width: int = 40, height: int = 30, bright: bool = True) -> Path:
    """A picture whose right half is bright (or which is dark all over)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(half(height, width) if bright else np.zeros((height, width), np.uint8)).save(path)
    return path


def half(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# what is in a mask


@pytest.mark.parametrize("size_wh", [(1, 1), (40, 3000), (3000, 40), (641, 479)])
def test_the_mask_is_0_and_255_at_the_pictures_size(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    picture(tmp_path / "in/a.png", *size_wh)
    assert segment(tmp_path / "in", tmp_path / "out") == 0
    with Image.open(tmp_path / "out/a.png") as mask:
        assert mask.size == size_wh
        assert mask.mode == "L"
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_a_picture_that_exif_turns_gets_a_mask_of_the_turned_size(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(half(40, 60)[..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise: right becomes bottom
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in/a.jpg", exif=exif, quality=95)
    assert segment(tmp_path / "in", tmp_path / "out") == 0
    mask = images.read_mask(tmp_path / "out/a.png")
    assert mask.shape == (60, 40)
    assert (mask[:25] == 0).all()
    assert (mask[35:] == 255).all()


def test_grey_16_bit_cmyk_palette_and_alpha_pictures_work(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    grey = Image.fromarray(half(48, 64))
    grey.save(folder / "grey.jpg", quality=95)
    Image.fromarray(half(48, 64).astype(np.uint16) * 257).save(folder / "deep.png")
    grey.convert("RGB").convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    grey.convert("P").save(folder / "palette.gif")
    Image.merge("RGBA", [grey] * 3 + [Image.new("L", grey.size, 255)]).save(folder / "alpha.webp", lossless=True)
    grey.convert("1").save(folder / "bit.tif")
    assert segment(folder, tmp_path / "out") == 0
    assert len(files(tmp_path / "out")) == 6
    for mask in sorted((tmp_path / "out").iterdir()):
        assert (images.read_mask(mask)[:, :30] == 0).all(), mask.name
        assert (images.read_mask(mask)[:, 34:] == 255).all(), mask.name


def test_class_ids_are_written_as_a_palette_png(tmp_path: Path, labels_in_use: list[LabelSet]) -> None:
    labels_in_use[0] = CELEBAMASK
    picture(tmp_path / "in/a.png", 64, 64)
    assert segment(tmp_path / "in", tmp_path / "out") == 0
    with Image.open(tmp_path / "out/a.png") as mask:
        assert mask.mode == "P"
        assert set(np.unique(np.asarray(mask))) == {0, 18}
        assert mask.convert("RGB").getpixel((63, 0)) == CELEBAMASK.colours[18]


class Meeting:
    """Answers a picture of so many pixels only when another thread asks, too."""

    def __init__(self) -> None:
        self.labels, self.device = FACE, torch.device("cpu")
        self.both = threading.Barrier(2, timeout=20)
        self.torch_threads: list[int] = []

    def seen(self, rgb: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.both.wait()
        self.torch_threads.append(torch.get_num_threads())
        return [picture[None, ..., 0] / np.float32(255) for picture in rgb]

    def decided(self, small: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        return ((small[0] > 0.5) * 255).astype(np.uint8)


def test_a_cpu_works_on_a_picture_in_each_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    try:
        meeting = Meeting()
        monkeypatch.setattr(predictor, "load", lambda *_: meeting)
        for number in range(4):
            picture(tmp_path / f"in/{number}.png")
        assert segment(tmp_path / "in", tmp_path / "out") == 0
        assert len(files(tmp_path / "out")) == 4 and meeting.torch_threads == [1] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_two_large_pictures_are_never_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    try:
        meeting = Meeting()
        meeting.both = threading.Barrier(2, timeout=0.2)
        monkeypatch.setattr(predictor, "load", lambda *_: meeting)
        monkeypatch.setattr(pictures, "PIXELS_AT_ONCE", 2 * 40 * 30 - 1)
        for number in range(2):
            picture(tmp_path / f"in/{number}.png")
        with pytest.raises(threading.BrokenBarrierError):  # they never meet
            segment(tmp_path / "in", tmp_path / "out")
    finally:
        torch.set_num_threads(1)


def test_masks_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    for number, size_wh in enumerate([(40, 30), (64, 64), (40, 30), (30, 40), (128, 96)]):
        picture(tmp_path / f"in/{number}.png", *size_wh)
    for batch_size in ("1", "2", "8"):
        assert segment(tmp_path / "in", tmp_path / batch_size, "--batch_size", batch_size) == 0
    for name in files(tmp_path / "1"):
        assert len({(tmp_path / batch / name).read_bytes() for batch in ("1", "2", "8")}) == 1


def test_a_large_photo_is_segmented_in_little_memory(tmp_path: Path) -> None:
    image = np.zeros((4000, 6000, 3), np.uint8)
    image[:, 3000:] = 255
    predict = Predictor(Brightness(19), CELEBAMASK, PLAIN, "cpu")
    tracemalloc.start()  # numpy reports its arrays to it
    mask = predict(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.shape == (4000, 6000)
    assert set(np.unique(mask)) == {0, 18}
    assert peak < 5 * mask.nbytes  # whole maps of 19 float32 would be 76 times the mask


def test_a_photo_that_pillow_would_warn_of_is_read_in_silence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "in/large.png"
    path.parent.mkdir()
    Image.new("1", (12000, 9000)).save(path)
    assert images.size_of(path) == (9000, 12000)
    assert pictures.pixels_of(path) == 108_000_000
    assert list(recwarn) == []


def test_an_overlay_shows_the_mask_on_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png", 64, 64)
    assert segment(tmp_path / "in", tmp_path / "out", "--overlay") == 0
    assert files(tmp_path / "out") == ["a.png", "a_overlay.jpg"]
    view = images.read_rgb(tmp_path / "out/a_overlay.jpg").astype(int)
    assert view.shape == (64, 64, 3)
    assert np.abs(view[:, :24]).max() < 12
    assert np.abs(view[:, 40:] - (np.array(FACE.colours[1]) + 255) / 2).max() < 12


# where masks go


def test_one_file_a_folder_and_a_pattern_are_taken(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.jpg", "notes.txt", "deeper/d.png"):
        picture(tmp_path / "in" / name) if name != "notes.txt" else (tmp_path / "in/notes.txt").write_text("no picture")
    made = {}
    for number, source in enumerate(["in/a.png", "in", "in/*.png", "in/**/*.png"]):
        assert segment(tmp_path / source, tmp_path / str(number)) == 0
        made[source] = files(tmp_path / str(number))
    assert made == {
        "in/a.png": ["a.png"],
        "in": ["a.png", "b.png", "c.png"],
        "in/*.png": ["a.png", "b.png"],
        "in/**/*.png": ["a.png", "b.png", "deeper/d.png"],
    }


def test_brackets_in_the_name_of_what_is_there_are_no_pattern(tmp_path: Path) -> None:
    for name in ("a[1].png", "b.jpg"):
        picture(tmp_path / "me [2024]" / name)
    for number, source in enumerate(["a[1].png", "*[1]*", "*.*"]):
        assert segment(tmp_path / "me [2024]" / source, tmp_path / str(number)) == 0
    assert [files(tmp_path / str(number)) for number in range(3)] == [["a[1].png"]] * 2 + [["a[1].png", "b.png"]]


def test_several_sources_may_be_named_as_a_shell_expands_them(tmp_path: Path) -> None:
    paths = [str(picture(tmp_path / "in" / name)) for name in ("a.png", "b.png")]
    assert command.main(["--images_path", *paths, paths[0], "--save_path", str(tmp_path / "out")]) == 0
    assert files(tmp_path / "out") == ["a.png", "b.png"]


def test_sub_folders_are_mirrored(tmp_path: Path) -> None:
    for name in ("a.jpg", "x/a.jpg", "x/y/b.jpg"):
        picture(tmp_path / "in" / name)
    assert segment(tmp_path / "in", tmp_path / "out", "--recursive") == 0
    assert files(tmp_path / "out") == ["a.png", "x/a.png", "x/y/b.png"]


def test_only_the_false_rows_of_a_split_are_segmented_or_those_of_another_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"in/{name}.png")
    (tmp_path / "split.csv").write_text("a.png,True\nb.png,False\n")
    assert segment(tmp_path / "in", tmp_path / "out", "--split", str(tmp_path / "split.csv")) == 0
    assert files(tmp_path / "out") == ["b.png"]
    (tmp_path / "split.csv").write_text("a.png,True\n")
    assert segment(tmp_path / "in", tmp_path / "none", "--split", str(tmp_path / "split.csv")) == 1
    assert "split.csv: no False or test row for any of the 3 pictures" in capsys.readouterr().err
    (tmp_path / "split.csv").write_text("a.png,train\nb.png,test\nc.png,val\n")
    assert segment(tmp_path / "in", tmp_path / "val", "--split", str(tmp_path / "split.csv"), "--part", "val") == 0
    assert files(tmp_path / "val") == ["c.png"]
    with pytest.raises(SystemExit):
        segment(tmp_path / "in", tmp_path / "all", "--part", "val")
    assert "--part is of a split; name it with --split" in capsys.readouterr().err


def test_two_pictures_with_one_stem_both_survive(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg")
    picture(tmp_path / "in/a.png", bright=False)
    picture(tmp_path / "in/A.png", width=50)  # one name with a.png on some disks
    assert segment(tmp_path / "in", tmp_path / "out", "--overlay") == 0
    masks = [name for name in files(tmp_path / "out") if name.endswith(".png")]
    assert len(masks) == len({name.lower() for name in masks}) == len(files(tmp_path / "out")) / 2 == 3
    places = find_places([str(tmp_path / "in")], False, tmp_path / "out", None)
    for place in places:
        expected = images.read_rgb(place.picture)
        assert images.size_of(place.mask) == expected.shape[:2]
        assert images.read_mask(place.mask).any() == expected.any()
    assert places[-2].mask.name in ("a.png", "a.jpg.png")


def test_the_first_of_two_keeps_the_stem_and_the_next_gets_its_full_name(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg")
    picture(tmp_path / "in/a.png")
    assert segment(tmp_path / "in", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a.png", "a.png.png"]


def test_inputs_are_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "a_mask.png", "b.jpg", "b.png", "b.png.png", "a_overlay.jpg", "c.jpg"):
        picture(folder / name, bright=False)
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    for _ in range(2):
        assert segment(folder, folder, "--overlay") == 0
        assert {name: (folder / name).read_bytes() for name in before} == before
        before = {name: (folder / name).read_bytes() for name in files(folder)}


def test_a_picture_segmented_in_its_own_place_gets_a_name_with_mask(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", tmp_path) == 0
    assert files(tmp_path) == ["a.png", "a_mask.png"]


def test_true_masks_are_never_overwritten(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg")
    truth = picture(tmp_path / "truth/a.png", bright=False)
    before = truth.read_bytes()
    assert segment(tmp_path / "in", tmp_path / "truth", "--masks_path", str(tmp_path / "truth")) == 0
    assert truth.read_bytes() == before


def test_masks_of_an_earlier_run_below_the_source_are_no_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    for _ in range(2):
        assert segment(tmp_path, tmp_path / "out", "--recursive") == 0
    assert files(tmp_path) == ["a.jpg", "out/a.png"]


def test_a_run_in_the_folder_of_the_pictures_takes_no_mask_or_overlay_for_a_picture(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "x/c.png"):
        picture(tmp_path / name)
    expected = ["a.jpg", "a.png", "a_overlay.jpg", "b.png", "b_mask.png", "b_mask_overlay.jpg"]
    expected += ["x/c.png", "x/c_mask.png", "x/c_mask_overlay.jpg"]
    for _ in range(3):
        assert segment(tmp_path, tmp_path, "--overlay", "--recursive") == 0
        assert files(tmp_path) == expected
    assert segment(tmp_path / "*", tmp_path, "--overlay") == 0
    everything = [str(tmp_path / name) for name in expected if "/" not in name]  # as a shell expands *
    assert command.main(["--images_path", *everything, "--save_path", str(tmp_path), "--overlay"]) == 0
    assert files(tmp_path) == expected


def test_a_folder_of_nothing_but_masks_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write_mask(tmp_path / "a.png", half(4, 4))
    assert segment(tmp_path, tmp_path) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: no picture here but masks and overlays of an earlier run\n"


def test_a_photo_below_the_folder_for_the_masks_is_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "out/b.jpg")
    assert segment(tmp_path, tmp_path / "out", "--recursive") == 0
    assert files(tmp_path) == ["a.jpg", "out/a.png", "out/b.jpg", "out/out/b.png"]


def test_a_relative_path_and_the_folder_it_is_in_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert segment("a.jpg", Path("out")) == 0
    assert segment("*.jpg", Path("out2")) == 0
    assert files(tmp_path) == ["a.jpg", "out/a.png", "out2/a.png"]


# what can't be used


def test_unreadable_files_are_listed_and_the_rest_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "c.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    cut = picture(tmp_path / "in/d.jpg", 200, 200)
    cut.write_bytes(cut.read_bytes()[:300])
    assert segment(tmp_path / "in", tmp_path / "out", "--batch_size", "2") == 1
    assert files(tmp_path / "out") == ["a.png", "c.png"]
    err = capsys.readouterr().err
    assert "b.png: cannot be read as a picture" in err
    assert "d.jpg: cannot be read as a picture" in err
    assert "2 problems in 2 masks" in err


def test_a_mask_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "in" / name)
    for taken in ("a_overlay.jpg", "b.png"):  # folders where files should go
        (tmp_path / "out" / taken / "x").mkdir(parents=True)
    assert segment(tmp_path / "in", tmp_path / "out", "--overlay") == 1
    assert files(tmp_path / "out") == ["a.png", "b_overlay.jpg", "c.png", "c_overlay.jpg"]
    err = capsys.readouterr().err
    assert f"error: {tmp_path / 'out/a_overlay.jpg'}: can't be written (Is a directory)" in err
    assert f"error: {tmp_path / 'out/b.png'}: can't be written (Is a directory)" in err
    assert "2 problems in 2 masks" in err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_mask(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(images, "write_mask", write_mask)
    picture(tmp_path / "in/a.png")
    assert segment(tmp_path / "in", tmp_path / "out") == 1
    assert capsys.readouterr().err.endswith(f"error: [Errno {number}] {os.strerror(number)}\n")


def test_an_empty_path_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment("", tmp_path / "out") == 1
    assert capsys.readouterr().err == "error: the path of the pictures is empty: name a file, a folder or a pattern\n"


def test_a_progress_bar_and_the_speed_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "in/a.png")
    assert segment(tmp_path / "in", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "1/1" in err
    assert f"1 mask in {tmp_path / 'out'}" in err
    assert "pictures/s on cpu" in err


@pytest.mark.parametrize("source", ["nowhere", "nothing/*.png", "empty"])
def test_nothing_to_segment_is_one_sentence(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert segment(tmp_path / source, tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert source in err


def test_a_save_path_that_is_a_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = picture(tmp_path / "a.png")
    assert segment(path, path) == 1
    assert "--save_path is a file" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "two"])
def test_a_batch_size_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.parse_args(["--images_path", "a", "--save_path", "b", f"--batch_size={text}"])
    assert caught.value.code == 2
    assert "expected a whole number of at least 1" in capsys.readouterr().err


def test_a_view_too_long_for_jpeg_is_a_problem_but_its_mask_is_written(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png", 66000, 4)
    assert segment(tmp_path / "in", tmp_path / "out", "--overlay") == 1
    assert files(tmp_path / "out") == ["a.png"]


# batches


def test_a_batch_holds_no_more_pixels_than_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcde":
        picture(tmp_path / f"in/{name}.png", 10, 10)
    picture(tmp_path / "in/c.png", 100, 10)
    monkeypatch.setattr(pictures, "BATCH_PIXELS", 200)
    places = find_places([str(tmp_path / "in")], False, tmp_path / "out", None)
    assert [[place.picture.stem for place in batch] for batch in pictures.batches(places, 8)] == [
        ["a", "b"],
        ["c"],
        ["d", "e"],
    ]
    assert [len(batch) for batch in pictures.batches(places[:2], 1)] == [1, 1]


def test_chosen_classes_are_written_as_one_mask_of_0_and_255(tmp_path: Path, labels_in_use: list[LabelSet]) -> None:
    labels_in_use[0] = CELEBAMASK
    picture(tmp_path / "in/a.png", 64, 64)  # answered 0 on the left and 18, cloth, on the right
    assert segment(tmp_path / "in", tmp_path / "one", "--classes", "hair,cloth") == 0
    assert (images.read_mask(tmp_path / "one/a.png") == half(64, 64)).mean() > 0.9
    assert segment(tmp_path / "in", tmp_path / "two", "--labels", "hair") == 0
    assert not images.read_mask(tmp_path / "two/a.png").any()


def test_an_overlay_of_several_classes_has_a_legend(tmp_path: Path, labels_in_use: list[LabelSet]) -> None:
    labels_in_use[0] = CELEBAMASK
    picture(tmp_path / "in/a.png", 64, 64)
    assert segment(tmp_path / "in", tmp_path / "out", "--overlay") == 0
    assert images.size_of(tmp_path / "out/a.png") == (64, 64)
    assert images.size_of(tmp_path / "out/a_overlay.jpg")[1] > 64


def test_a_class_that_does_not_exist_is_one_sentence_with_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "in/a.png")
    assert segment(tmp_path / "in", tmp_path / "out", "--classes", "beard") == 1
    assert "has no class 'beard'; choose from: background, face" in capsys.readouterr().err


# as a user runs it


def test_the_script_segments_with_a_weights_file_from_any_folder(tmp_path: Path, drawn_face: DrawnFace) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "tiny.safetensors"
    state = create_model("fpn", "mobilenetv2_100", 2).state_dict()
    checkpoint.save(weights, state, checkpoint.Design("fpn", "mobilenetv2_100"), FACE, PLAIN, {})
    images.write_rgb(tmp_path / "a.jpg", drawn_face(0, 90)[0])
    flags = ["--weights_path", "tiny.safetensors", "--images_path", "a.jpg", "--save_path", "out", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "test.py"), *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert images.size_of(tmp_path / "out/a.png") == (90, 90)
    failing = [*flags[:2], "--images_path", "b.jpg", *flags[4:]]
    done = subprocess.run(
        [sys.executable, "-m", "faceparse", "segment", *failing],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: b.jpg: no such file or folder")
