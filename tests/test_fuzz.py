"""The readers of files from outside under coverage-guided fuzzing, a minute each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.soak
@pytest.mark.parametrize("reader", ["pictures", "weights"])
def test_a_minute_of_fuzzing_finds_nothing(tmp_path: Path, reader: str) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: pip install -e '.[fuzz]'")
    command = [sys.executable, "-m", "tests.fuzz", reader, "-max_total_time=60"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert not [path.name for path in (tmp_path / "out" / "fuzz").iterdir() if path.is_file()]
