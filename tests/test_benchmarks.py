"""The benchmarks run in a plain checkout, without installing anything; what they measure is not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_cutout
from benchmarks.bench_zoom import wilson
from faceparse import images
from faceparse.labels import FACE
from faceparse.predictor import Predictor
from tests.test_segment import PLAIN, Brightness

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

TINY = {
    "bench_preprocess.py": "--pictures 4 --loops 2 --rounds 1 --workers 1",
    "bench_hands.py": "--faces 2 --hands 1 --size 64 --loops 1 --workers 1",
}


def run(script: str, flags: str, cwd: Path) -> str:
    """What the script prints, started from another folder and with nothing of this checkout on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(BENCHMARKS / script), *flags.split()]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", TINY)
def test_a_benchmark_prints_the_machine_and_how_many_times_as_fast(script: str, tmp_path: Path) -> None:
    printed = run(script, TINY[script], tmp_path)
    assert re.match(r".+ bf16, \d+ cores, \d+ torch threads; Python [\d.]+, torch [\d.]+", printed)
    assert re.search(r"\d times as fast", printed)


BENCH = re.findall(r"python benchmarks/(bench_\w+)\.py (.+)", (BENCHMARKS.parent / "Makefile").read_text())


@pytest.mark.parametrize(("script", "flags"), BENCH, ids=[name for name, _ in BENCH])
def test_make_bench_runs_what_needs_no_data(script: str, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it parses; what each does was seen above, or takes too long."""
    for library in ("av", "segmentation_models_pytorch"):
        pytest.importorskip(library)
    monkeypatch.setattr(sys, "argv", [script, *flags.split()])
    args = import_module(f"benchmarks.{script}").parse_args()
    files = [path for value in vars(args).values() if isinstance(value, list) for path in value if "/" in str(path)]
    assert all((BENCHMARKS.parent / path).is_file() for path in files)


def test_the_layout_of_the_held_out_data_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    assert "--called_face" in run("held_out.py", "--help", tmp_path)


def test_the_composer_of_whole_photos_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    assert "--scenes" in run("bench_zoom.py", "--help", tmp_path)


def test_wilsons_interval_is_that_worked_out_by_hand() -> None:
    # 11 of 11: the lower end is 11 / (11 + 1.96²) = 11 / 14.8416; 5 of 10: .5 -+ 1.96 √(2.5 + .9604) / 13.8416
    assert wilson(11, 11) == pytest.approx((0.7412, 1), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_the_measure_of_calm_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert "--sheet" in run("bench_video.py", "--help", tmp_path)


def test_the_measure_of_edges_tells_a_halo_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the picture is a person of grey 150, whose edge is mixed with a ground of grey g.

    Opacities of .06, .30, .70 and .94, of which a (1 - a) is .133 on average; left as it is, the edge is off by
    .133 (g - 150).
    """
    monkeypatch.setattr("faceparse.predictor.load", lambda *_: Predictor(Brightness(2), FACE, PLAIN, "cpu"))
    images.write_rgb(tmp_path / "images/a.png", np.full((96, 96, 3), 150, np.uint8))
    images.write_mask(tmp_path / "masks/a.png", np.repeat([[0, 255]], 48, axis=1).repeat(96, axis=0).astype(np.uint8))
    (tmp_path / "split.csv").write_text("a.png,False\n")
    folders = ["--images_dir", str(tmp_path / "images"), "--masks_dir", str(tmp_path / "masks")]
    bench_cutout.main([*folders, "--split", str(tmp_path / "split.csv")])
    lines = capsys.readouterr().out.splitlines()[2:]
    halo = {tuple(re.findall(r"\w+", line)[::2][:3]): float(line.split()[-1]) for line in lines}
    assert len(halo) == 12
    for ground, left in (("black", -19.9), ("grey", -2.9), ("white", 13.9)):
        assert halo["true", ground, "plain"] == pytest.approx(left, abs=0.5)
        assert halo["true", ground, "cut_out"] == pytest.approx(0, abs=1.1)
