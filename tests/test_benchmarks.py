"""The benchmarks run in a plain checkout, without installing anything; what they measure is not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
def test_a_benchmark_prints_how_many_times_as_fast(script: str, tmp_path: Path) -> None:
    assert re.search(r"\d times as fast", run(script, TINY[script], tmp_path))


def test_the_layout_of_the_held_out_data_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    assert "--called_face" in run("held_out.py", "--help", tmp_path)


def test_the_composer_of_whole_photos_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    assert "--scenes" in run("bench_zoom.py", "--help", tmp_path)


def test_the_measure_of_calm_starts_in_a_plain_checkout(tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert "--sheet" in run("bench_video.py", "--help", tmp_path)
