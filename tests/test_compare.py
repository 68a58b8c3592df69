"""benchmarks/compare.py: rows are trained and scored alike, kept when finished, and come into one table."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, held_out
from faceparse import images
from faceparse.commands import train_flags
from faceparse.data.splits import read_split
from faceparse.labels import CELEBAMASK, FACE
from tests.conftest import draw_face

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {"train.py": "faceparse.commands.train", "test.py": "faceparse.commands.test"}
TINY = "--encoder test_resnet.r160_in1k --widths 64 32 --device cpu"
ran: list[str] = []


def run_here(script: str, flags: list[str]) -> None:
    """As `run_script`, but in this process, where torch is imported already."""
    ran.append(script)
    module = import_module(SCRIPTS[script]) if script in SCRIPTS else held_out
    if module.main(flags):
        raise ValueError(f"{script} failed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for twelve drawn faces, of which the last four are held out and two of these wear glasses."""
    for i in range(12):
        rgb, ids = draw_face(i, 64)
        if i in (8, 9):
            ids[24:30, 20:44][ids[24:30, 20:44] == CELEBAMASK.id("skin")] = CELEBAMASK.id("eye_g")
        images.write_rgb(tmp_path / "faces" / f"{i}.jpg", rgb)
        images.write_mask(tmp_path / "masks" / f"{i}.png", ids, CELEBAMASK)
    for i in range(5):
        images.write_rgb(tmp_path / "backgrounds" / f"{i}.jpg", np.full((64, 64, 3), 40 * i, np.uint8))
    hand = np.zeros((30, 30), np.uint8)
    hand[5:25, 5:25] = 255
    for name in ("left", "right"):
        images.write_rgb(tmp_path / "hands" / "images" / f"{name}.png", np.full((30, 30, 3), 180, np.uint8))
        images.write_mask(tmp_path / "hands" / "masks" / f"{name}.png", hand)
    (tmp_path / "hands" / "split.csv").write_text("left.png,True\nright.png,False\n")
    (tmp_path / "split.csv").write_text("".join(f"{i}.jpg,{i < 8}\n" for i in range(12)))
    ran.clear()
    monkeypatch.setattr(compare, "run_script", run_here)
    folders = {"faces_dir": "faces", "masks_dir": "masks", "split": "split.csv", "out": "out"}
    words = [word for name, place in folders.items() for word in (f"--{name}", str(tmp_path / place))]
    return [*words, "--size", "64", "--epochs", "1", "--batch_size", "4", "--workers", "0"]


def shrink(monkeypatch: pytest.MonkeyPatch, name: str, labels: str, rows: dict[str, str]) -> None:
    """Put other, smaller rows into a comparison."""
    whole = compare.COMPARISONS[name]
    monkeypatch.setitem(compare.COMPARISONS, name, replace(whole, shared=f"{TINY} {labels}", rows=rows))


def table_of(folder: Path) -> list[list[str]]:
    """The cells of table.md."""
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_rows_are_trained_scored_kept_and_put_beside_the_published_one(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(
        monkeypatch, "models", "--labels celebamask --loss dice", {"one": "", "two": "--arch unet --widths 8 8 8 8 8"}
    )
    assert compare.main(["models", *data, "--only", "one"]) == 0
    folder = tmp_path / "out" / "models"
    head, _, one, two, published = table_of(folder)
    assert head[1:] == [*CELEBAMASK.classes[1:], "mean", "parameters", "seconds", "pre-trained"]
    assert [row[0] for row in (one, two)] == ["one", "two"] and two[1] == "not yet run" and len(two) == len(one)
    assert one[-1] == "nothing" and published[16:20] == [".151", ".828", ".744", ".753"]
    scores = json.loads((folder / "one" / "clean" / "scores.json").read_text())
    dices = [[scores["classes"][name][f"dice{end}"] for end in ("", "_low", "_high")] for name in head[1:20]]
    assert scores["scored"] == 4 and one[1:20] == [compare.bounded(dice, ends) for dice, *ends in dices]
    assert "| one |" in capsys.readouterr().out

    assert ran == ["train.py", "test.py"]
    (folder / "one" / "result.json").unlink()  # as if interrupted while scoring: goes on, does not train again
    curves = folder / "one" / "curves.csv"
    before = re.sub(r"[^,]+$", "12.34\n", curves.read_text().rstrip("\n"))  # the last column is that of the seconds
    curves.write_text(before)
    assert compare.main(["models", *data]) == 0
    assert ran == ["train.py", "test.py"] * 3 and curves.read_text() == before
    assert compare.main(["models", *data]) == 0 and len(ran) == 6  # all rows are kept
    table = json.loads((folder / "table.json").read_text())
    assert list(table["rows"]) == ["one", "two"] and table["budget"] == {"size": 64, "epochs": 1, "batch_size": 4}
    assert table["rows"]["one"]["trained_on"] == 7 and table["rows"]["one"]["seconds"] == 12.3

    assert compare.main(["models", *data, "--epochs", "2"]) == 1
    assert "was made with other flags" in capsys.readouterr().err


def test_glasses_and_coverings_are_scored_against_carved_masks(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, "occlusion", "", {"plain": "--labels face_with_glasses", "carving": "--labels face"})
    assert compare.main(["occlusion", *data, "--only", "plain"]) == 0
    folder = tmp_path / "out" / "occlusion"
    assert table_of(folder)[0][1:4] == ["clean", "glasses", "covered"]
    result = json.loads((folder / "plain" / "result.json").read_text())
    assert result["scored_on"] == {"clean": 4, "glasses": 2, "covered": 4}
    ids = images.read_mask(tmp_path / "masks" / "8.png")
    carved, covered = (images.read_mask(folder / "held_out" / name / "8.png") for name in ("maglasses", "macovered"))
    assert (carved == 255 * FACE.table[ids]).all() and (carved[ids == CELEBAMASK.id("eye_g")] == 0).all()
    assert 0 < np.count_nonzero(covered) < np.count_nonzero(carved)


def test_people_are_scored_by_their_cross_entropy_too(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        grey = np.zeros((64, 64), np.uint8)
        grey[16:48] = 204  # 0.8 of every pixel in half of the picture
        images.write_mask(tmp_path / "masks" / f"{i}.png", grey)
    shrink(monkeypatch, "person", "--labels person --soft_targets", {"one": "--loss bce"})
    assert compare.main(["person", *data]) == 0
    head, _, one, published = table_of(tmp_path / "out" / "person")
    assert head[1:3] == ["person", "cross entropy"] and published[1:3] == [".972", ".055"]
    lowest = 0.5 * -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))  # 0.250, of a model that answers every share
    assert lowest < float(one[2]) < 1

    monkeypatch.setattr(compare.faceparse, "load", lambda path: Even())
    places = {"faces_dir": tmp_path / "faces", "masks_dir": tmp_path / "masks", "split": tmp_path / "split.csv"}
    assert compare.soft_loss(tmp_path / "any", places) == pytest.approx(math.log(2))


class Even:
    """Gives every pixel a probability of one half, whose cross entropy is log 2 toward any mask."""

    def probabilities(self, picture: Path) -> np.ndarray:
        return np.full((64, 64), 0.5, np.float32)


def test_the_wild_is_scored_behind_hands_and_on_backgrounds_that_training_has_not_seen(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(["wild", *data]) == 1
    assert "wild needs --hands_dir and --backgrounds_dir" in capsys.readouterr().err
    shrink(monkeypatch, "wild", "--labels face", {"all": compare.COMPARISONS["wild"].rows["all"]})
    folders = ["--hands_dir", str(tmp_path / "hands"), "--backgrounds_dir", str(tmp_path / "backgrounds")]
    assert compare.main(["wild", *data, *folders]) == 0
    folder = tmp_path / "out" / "wild"
    assert [path.name for path in sorted((folder / "backgrounds_test").iterdir())] == ["0.jpg"]
    assert json.loads((folder / "all" / "run.json").read_text())[0]["pictures"]["backgrounds"] == 4
    scored = json.loads((folder / "all" / "result.json").read_text())["scored_on"]
    assert list(scored) == ["clean", "hands", "scenes"] and scored["clean"] == scored["scenes"] == 4


def test_an_encoder_starts_from_its_file_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.a1_in1k.safetensors"
    path.touch()
    assert compare.encoder_file("resnet34", tmp_path) == path
    assert compare.encoder_file("resnet3", tmp_path) is None and compare.encoder_file("resnet34", None) is None


@pytest.mark.parametrize("name", compare.COMPARISONS)
def test_every_row_is_a_command_that_train_py_knows(name: str, tmp_path: Path) -> None:
    comparison = compare.COMPARISONS[name]
    names = "faces_dir masks_dir split hands_dir backgrounds_train rows"
    places = {place: tmp_path / place for place in names.split()}
    budget = {"size": 64, "epochs": 16, "batch_size": 4}
    for row in comparison.rows:
        for flags, run in compare.stages_of(row, comparison, budget, places, tmp_path):
            args = train_flags.parse_args([*flags, "--weights_dir", str(run)])
            assert args.encoder and len(comparison.heads) in (0, 1, 19)


def test_an_ablation_row_in_stages_has_the_multiply_adds_of_the_others(tmp_path: Path) -> None:
    comparison = compare.COMPARISONS["ablation"]
    whole = {name: sum(factor**2 / divisor for divisor, factor in it) for name, it in comparison.stages.items()}
    assert whole == {"double-size": 1, "progressive-size": 1, "three-sizes": 1 / 4 + 9 / 32 + 1 / 2}  # 3 % more
    places = {place: tmp_path / place for place in ("faces_dir", "masks_dir", "split")}
    budget = {"size": 128, "epochs": 8, "batch_size": 16}
    (small, begun), (large, ended) = compare.stages_of("progressive-size", comparison, budget, places, tmp_path / "row")
    assert small[-6:] == ["--size", "128", "--epochs", "4", "--batch_size", "16"]
    assert large[-8:] == [
        *["--size", "256", "--epochs", "1", "--batch_size", "16", "--init"],
        str(begun / "best.safetensors"),
    ]
    assert begun == tmp_path / "row" / "stage1" and ended == tmp_path / "row"


def test_epochs_that_the_stages_of_a_row_cannot_share_are_refused(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--hands_dir", str(tmp_path / "hands"), "--backgrounds_dir", str(tmp_path / "backgrounds")]
    assert compare.main(["ablation", *data, *folders]) == 1
    assert "--epochs 1 can't be shared alike; give a multiple of 8" in capsys.readouterr().err


SOME = ("base", "efficientnet-lite2", "progressive-size", "larger-teacher", "flip")


@pytest.mark.soak
@pytest.mark.parametrize("only", [SOME, ()], ids=["some", "all"])
def test_the_ablation_trains_in_stages_learns_from_other_rows_and_flips_without_training(
    only: tuple[str, ...],
    data: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = compare.COMPARISONS["ablation"]
    rows = {name: re.sub(r"--encoder \S+", "", flags) for name, flags in whole.rows.items()}
    stages = {"double-size": ((1, 2),), "progressive-size": ((1, 1), (1, 2))}  # an epoch each
    tiny = replace(whole, shared=f"{TINY} --labels celebamask", rows=rows)
    monkeypatch.setitem(compare.COMPARISONS, "ablation", replace(tiny, stages=stages))
    folders = ["--hands_dir", str(tmp_path / "hands"), "--backgrounds_dir", str(tmp_path / "backgrounds")]
    chosen = ["--only", *only] if only else []
    assert compare.main(["ablation", *data, *folders, *chosen]) == 0
    folder = tmp_path / "out" / "ablation"
    head, _, *lines = table_of(folder)
    assert head[1:-3] == [*whole.columns, "hand called face"]
    done = {line[0]: line for line in lines if line[1] != "not yet run"}
    assert list(done) == (list(only) or [*rows, *whole.asked])
    results = {row: json.loads((folder / row / "result.json").read_text()) for row in done}
    assert results["flip"]["seconds"] == results["base"]["seconds"] and not (folder / "flip" / "run.json").exists()
    begun, ended = (
        json.loads((folder / "progressive-size" / part / "run.json").read_text())[0]["settings"]
        for part in ("stage1", "")
    )
    assert (begun["size"], ended["size"]) == (64, 128) and ended["init"].endswith("stage1/best.safetensors")
    taught = json.loads((folder / "larger-teacher" / "run.json").read_text())[0]["settings"]
    assert taught["teacher"] == [str(folder / "efficientnet-lite2" / "best.safetensors")]
    called = held_out.share_called_face(folder / "held_out" / "hand", folder / "base" / "hands")
    assert (results["base"]["scores"][-1], *results["base"]["intervals"][-1]) == called


def test_a_share_of_the_pictures_is_taken_evenly_and_none_of_those_that_are_scored_on(tmp_path: Path) -> None:
    whole, some = tmp_path / "split.csv", tmp_path / "some.csv"
    whole.write_text("".join(f"a.{i}.jpg,{i % 5 > 0}\n" for i in range(20)))  # 16 to train on, 4 to score on
    parts = read_split(compare.write_share(whole, 0.25, some))
    assert [name for name, part in parts.items() if part == "train"] == ["a.4", "a.9", "a.14", "a.19"]
    assert [name for name, part in parts.items() if part == "test"] == ["a.0", "a.5", "a.10", "a.15"]


def test_a_row_that_does_not_exist_is_named_with_the_choices(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(["hair", *data, "--only", "fpn"]) == 1
    assert "hair has no row 'fpn'; choose from: unet, linknet" in capsys.readouterr().err


def test_a_script_that_fails_ends_the_comparison_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="preprocess_data.py ended with status 2"):
        compare.run_script("preprocess_data.py", ["--nonsense"])


def test_every_comparison_has_its_command_on_the_page() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text()
    lines = [line.split() for line in page.splitlines() if "python benchmarks/compare.py " in line]
    for name, args in zip(compare.COMPARISONS, (compare.parse_args(line[2:]) for line in lines), strict=True):
        assert args.comparison == name
        assert all(getattr(args, need) for need in compare.COMPARISONS[name].needs)
