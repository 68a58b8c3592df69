"""The benchmarks run in a plain checkout, without installing anything; what they measure is not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

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


def test_the_measure_of_calm_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert "--sheet" in run("bench_video.py", "--help", tmp_path)
