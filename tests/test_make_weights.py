"""benchmarks/make_weights.py: the card's own commands, one after the other, in other places."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from benchmarks import make_weights
from faceparse import checkpoint
from faceparse.bundled import BEST_FOR
from faceparse.commands import train_flags
from faceparse.commands.train import main as train
from tests.conftest import draw_faces

OUT, DATA = Path("out"), Path("given")


def test_the_card_has_the_training_of_every_bundled_file_and_each_stage_parses() -> None:
    stages = make_weights.stages_of(make_weights.CARD.read_text(), DATA, OUT)
    assert {stage.weights for stage in stages if stage.last} == set(BEST_FOR.values())
    made: set[Path] = set()
    for stage in stages:
        args = train_flags.parse_args(stage.flags)
        assert args.resume and args.weights_dir == stage.run and not args.runs_dir
        assert stage.run.is_relative_to(OUT / "runs")
        assert args.faces_dir.is_relative_to(OUT / "data") or args.faces_dir.is_relative_to(DATA)
        assert not stage.last or (args.licence == "non-commercial research" and args.data_note)
        assert args.init is None or args.init in made  # of a stage before it, never the file that is shipped
        made |= {stage.run / "best.safetensors"} | ({OUT / f"{stage.weights}.safetensors"} if stage.last else set())


def test_places_are_exchanged_and_nothing_else_of_a_command() -> None:
    card = """# Card
## one.safetensors
    python train.py --faces_dir data/images --split ../shared/data/a.csv --weights_dir runs/x --lr 1e-3

and then

    python train.py --init runs/x/best.safetensors --runs_dir runs/one
## two.safetensors
    python test.py --images_path data/images
    python train.py --init weights/one.safetensors --weights_dir runs/two
"""
    first, second, third = make_weights.stages_of(card, DATA, OUT)
    assert " ".join(first.flags) == (
        "--faces_dir out/data/images --split given/a.csv --weights_dir out/runs/x --lr 1e-3 --resume"
    )
    assert " ".join(second.flags) == "--init out/runs/x/best.safetensors --weights_dir out/runs/one --resume"
    assert " ".join(third.flags) == "--init out/one.safetensors --weights_dir out/runs/two --resume"
    assert [stage.last for stage in (first, second, third)] == [False, True, True]


def test_stages_are_trained_kept_and_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_faces(tmp_path / "drawn")
    (tmp_path / "celebamask").mkdir()
    draw_faces(tmp_path / "scenes", 6)
    (tmp_path / "scenes" / "faces").rename(tmp_path / "backgrounds")
    with tarfile.open(tmp_path / "celebamask" / "shard-0.tar", "w") as archive:
        archive.add(tmp_path / "drawn" / "faces", "images")
        archive.add(tmp_path / "drawn" / "ids", "masks")
    small, tiny = (
        "--encoder test_resnet.r160_in1k --widths 64 32",
        "--size 64 --batch_size 4 --epochs 1 --workers 0 --device cpu",
    )
    folders = "python train.py --faces_dir data/images --masks_dir data/masks"
    card = tmp_path / "README.md"
    card.write_text(
        f"## face.safetensors\n    {folders} {tiny} {small} --weights_dir runs/a\n"
        f"## hair.safetensors\n    {folders} {tiny} --labels hair --init weights/face.safetensors --runs_dir runs/b\n"
    )
    monkeypatch.setattr(make_weights, "CARD", card)
    started = []

    def train_here(flags: list[str]) -> None:
        started.append(flags)
        assert train(flags) == 0

    monkeypatch.setattr(make_weights, "train", train_here)
    flags = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert make_weights.main([*flags, "--stages"]) == 0 and not started
    assert capsys.readouterr().out.count("python train.py ") == 2
    assert make_weights.main(flags) == 0 and len(started) == 2
    assert checkpoint.load(tmp_path / "out" / "hair.safetensors").labels.name == "hair"
    seen, kept = (sorted((tmp_path / f"out/data/backgrounds_{part}").iterdir()) for part in ("train", "test"))
    assert [path.name for path in kept] == ["0.jpg", "5.jpg"] and len(seen) == 4
    out = capsys.readouterr().out
    assert out.count("| face |") == out.count("| hair |") == 1 and "cores, " in out

    curves = (tmp_path / "out" / "runs" / "a" / "curves.csv").read_text()
    assert make_weights.main([*flags, "--weights", "face"]) == 0  # finished: nothing is trained again
    assert (tmp_path / "out" / "runs" / "a" / "curves.csv").read_text() == curves
    assert make_weights.main([*flags, "--weights", "hat"]) == 1
    assert "the card has no weights 'hat'; choose from: face, hair" in capsys.readouterr().err


def test_data_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_weights.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "celebamask holds no shard-*.tar; name the shared data: --data DIR" in capsys.readouterr().err


def test_weights_that_begin_with_others_need_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_weights.main(["--weights", "person", "--out", str(tmp_path)]) == 1
    told = "celebamask.safetensors: not made yet; name its weights in --weights as well, or none for all"
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())
