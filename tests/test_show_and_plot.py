"""`faceparse show` and `faceparse plot`: what is drawn, and what is told of files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceparse import images
from faceparse.commands import plot, show
from faceparse.curves import draw_curves, read_curves
from faceparse.labels import CELEBAMASK, FACE, IGNORE, PERSON

HEAD = "epoch,train_loss,val_loss,val_iou,val_dice,lr\n"
ROWS = HEAD + "1,2.0,1.5,0.5,0.6,0.01\n2,1.0,1.0,0.75,0.85,0\n"

BLUE, ORANGE = (40, 110, 200), (200, 80, 40)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a grey picture of 64 by 48."""
    monkeypatch.chdir(tmp_path)
    images.write_rgb(Path("photo.png"), np.full((48, 64, 3), 100, np.uint8))
    return tmp_path


def mask_of(value: int) -> np.ndarray:
    """Background above, `value` below, and a row that is not counted where ids are."""
    mask = np.zeros((48, 64), np.uint8)
    mask[24:] = value
    return mask


def mixed(colour: tuple[int, ...]) -> np.ndarray:
    """A colour of the overlay: half of it, and half of the picture's 100."""
    return (np.array(colour) + 100) / 2


# show


def test_a_mask_of_0_and_255_is_shown_as_face(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write_mask(Path("mask.png"), mask_of(255))
    assert show.main(["photo.png", "mask.png"]) == 0
    assert capsys.readouterr() == ("", "photo_shown.png\n")
    view = images.read_rgb("photo_shown.png")
    assert view.shape[0] == 48 and view.shape[1] > 64  # the legend is at the right
    assert (view[:24, :64] == 100).all()
    assert np.abs(view[24:, :64] - mixed(FACE.colours[1])).max() <= 1
    assert images.is_ours("photo_shown.png")  # so that no later run takes it for a photo


def test_ids_are_shown_as_parts_of_a_face_and_what_is_not_counted_as_background(here: Path) -> None:
    mask = mask_of(13)
    mask[40:] = IGNORE
    images.write_mask(Path("mask.png"), mask, CELEBAMASK)
    assert show.main(["photo.png", "mask.png", "--out", "deep/out.png"]) == 0
    view = images.read_rgb("deep/out.png")
    assert np.abs(view[24:40, :64] - mixed(CELEBAMASK.colours[13])).max() <= 1
    assert (view[40:, :64] == 100).all()


def test_the_labels_may_be_named(here: Path) -> None:
    images.write_mask(Path("mask.png"), mask_of(13), CELEBAMASK)
    assert show.main(["photo.png", "mask.png", "--labels", "face"]) == 0
    assert images.read_rgb("photo_shown.png").shape == (48, 64, 3)  # hair is no face: nothing to name
    images.write_mask(Path("soft.png"), mask_of(200))
    assert show.main(["photo.png", "soft.png", "--labels", "person"]) == 0
    view = images.read_rgb("photo_shown.png")
    assert np.abs(view[24:, :64] - mixed(PERSON.colours[1])).max() <= 1


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["photo.png", "none.png"], "error: none.png: cannot be read as a picture (No such file or directory)\n"),
        (["photo.png", "mask.png", "--out", "./photo.png"], "error: photo.png is to be shown; name another file"),
        (["photo.png", "small.png"], "small.png is 60x40 but its picture photo.png is 64x48"),
        (["photo.png", "mask.png", "--labels", "hiar"], "there is no label set 'hiar'; did you mean 'hair'?"),
        (["photo.png", "mask.png", "--labels", "celebamask"], "a 0/255 mask (or a JPEG) can't hold the 19 classes"),
    ],
)
def test_files_that_do_not_fit_are_one_sentence(
    here: Path, argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images.write_mask(Path("mask.png"), mask_of(255))
    images.write_mask(Path("small.png"), mask_of(255)[:40, :60])
    before = Path("photo.png").read_bytes()
    assert show.main(argv) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert Path("photo.png").read_bytes() == before


def test_only_png_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in ((show, ["photo.png", "mask.png"]), (plot, ["run"])):
        with pytest.raises(SystemExit, match="2"):
            command.parse_args([*words, "--out", "a.jpg"])
        assert "expected a name that ends in .png, got 'a.jpg'" in capsys.readouterr().err


# plot


def run_folder(name: str, text: str = ROWS) -> Path:
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "curves.csv").write_text(text)
    return folder


def has(picture: np.ndarray, colour: tuple[int, ...]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_one_run_has_a_panel_each_for_loss_score_and_rate(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder("runs/exp1")
    assert plot.main(["runs/exp1"]) == 0
    assert capsys.readouterr() == ("", "curves.png\n")
    drawn = images.read_rgb("curves.png")
    assert drawn.shape == (320, 3 * 480, 3)
    loss, score, rate = np.hsplit(drawn, 3)
    assert has(loss, ORANGE) and has(loss, BLUE) and has(score, BLUE)
    assert has(rate, ORANGE) and not has(rate, BLUE)


def test_several_runs_are_drawn_over_each_other_and_named_below(here: Path) -> None:
    run_folder("a")
    run_folder("b", HEAD + "1,4,4,0.1,0.1,0.01\n2,3,3,0.2,0.2,0.005\n3,2.5,2.5,0.3,0.3,0\n")
    assert plot.main(["a", "b", "--out", "both.png"]) == 0
    drawn = images.read_rgb("both.png")
    assert drawn.shape == (320 + 2 * 22 + 11, 3 * 480, 3)
    below = drawn[320:]
    assert has(below[:22], ORANGE) and not has(below[:22], BLUE)
    assert has(below[22:44], BLUE) and not has(below[22:44], ORANGE)
    rate = drawn[34:290, 2 * 480 :]
    assert has(rate, ORANGE) and has(rate, BLUE)


def test_epochs_of_different_number_share_an_axis() -> None:
    rows = [dict(zip(HEAD.strip().split(","), [epoch, 1, 1, 1, 1, 1], strict=True)) for epoch in (1.0, 2.0, 3.0)]
    rate = draw_curves({"short": rows[:2], "long": rows})[:, 2 * 480 :]
    # the frame is 64 to 464 wide: epoch 2 of 3 is at its middle, 264; the longer run, drawn last, covers the shorter
    columns = (rate[34:294] == BLUE).all(axis=-1).any(axis=0).nonzero()[0]
    assert columns.min() <= 66 and columns.max() >= 462
    alone = draw_curves({"long": rows, "short": rows[:2]})[:, 2 * 480 :]
    columns = (alone[34:294] == BLUE).all(axis=-1).any(axis=0).nonzero()[0]
    assert abs(columns.max() - 264) <= 2


def test_a_run_of_one_epoch_is_a_dot() -> None:
    row = dict.fromkeys(HEAD.strip().split(","), 1.0)
    rate = draw_curves({"a": [row]})[:, 2 * 480 :]
    assert (rate[290, 64] == ORANGE).all()  # the frame's lower left


def test_a_number_that_is_none_is_left_out_of_a_curve(here: Path) -> None:
    run = run_folder("a", HEAD + "1,nan,nan,0.5,0.6,0.01\n2,1.0,inf,0.7,0.8,0\n")
    assert draw_curves({"a": read_curves(run)}).shape == (320, 3 * 480, 3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "error: run: there is no curves.csv in it; name the run folder of a training\n"),
        ("", "no row in it with all of epoch, lr, train_loss"),
        (HEAD, "no row in it with all of epoch, lr, train_loss"),
        ("epoch,lr\n1,2\n", "no row in it with all of epoch, lr, train_loss"),
        (HEAD + "1,2\n", "not a table of numbers"),
        (HEAD + "1,2,3,4,5,6,7\n", "not a table of numbers"),
        (HEAD + "1,2,3,4,5,much\n", "not a table of numbers"),
    ],
)
def test_a_folder_without_curves_is_one_sentence(
    here: Path, text: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        run_folder("run", text)
    assert plot.main(["run"]) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not Path("curves.png").exists()
