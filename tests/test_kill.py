"""Kill -9 at any moment, or a full disk: nothing half-written is seen, and the same command again finishes."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceparse import checkpoint, images, predictor
from faceparse.commands import preprocess
from faceparse.commands import test as command
from faceparse.commands.train import STATE
from faceparse.commands.train import main as train
from faceparse.labels import CELEBAMASK, FACE
from faceparse.predictor import Predictor
from hand_generator.__main__ import main as generate
from hand_generator.generate import JOURNAL
from tests.conftest import draw_face, draw_faces
from tests.killing import run, run_on_full_disk
from tests.test_segment import PLAIN, Brightness
from tests.test_training import SMALL

KILLS = [2, pytest.param(20, marks=pytest.mark.soak)]

Main = Callable[[list[str]], int]


def visible(folder: Path) -> dict[str, Path]:
    """Every file below a folder that a user sees, by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in files}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(folder).items()}


def nothing(argv: list[str]) -> int:
    return 0


def timed(main: Main, argv: list[str], said: Path) -> float:
    """Seconds of a run that is not killed, without those of what the first process of all has to import."""
    run(nothing, [], said)
    start = time.monotonic()
    assert run(main, argv, said) == 0, said.read_text()
    return time.monotonic() - start


def killed(main: Main, argv: list[str], said: Path, whole: float, kills: int) -> Iterator[bool]:
    """Run, and kill at random moments of a run that takes `whole` seconds, until all kills are done and it ended.

    True after every kill, False when the command has ended by itself, with status 0.
    """
    rng = random.Random(0)
    while kills > 0:
        status = run(main, argv, said, seconds=rng.uniform(0, whole))
        assert status in (None, 0), said.read_text()
        kills -= status is None
        yield status is None
    assert run(main, argv, said) == 0, said.read_text()
    yield False


# training


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn faces in faces/, their 0/255 masks in masks/, their 19-class masks in ids/."""
    folder = tmp_path_factory.mktemp("data")
    draw_faces(folder, 12)
    return folder


def train_flags(faces: Path, run_folder: Path, *more: str) -> list[str]:
    data = ["--faces_dir", faces / "faces", "--masks_dir", faces / "masks", "--weights_dir", run_folder]
    recipe = ["--epochs", "2", "--save_minutes", "0", "--shape_ratio", "0.5", "--hand_ratio", "0.25", "--resume"]
    hands = ["--fahand_dir", faces / "faces", "--mahand_dir", faces / "masks"]
    return [*map(str, [*data, *hands]), *SMALL, *recipe, *more]


def whole_run_folder(folder: Path) -> None:
    """Read everything that a training writes but its log; what is half-written would fail."""
    for name, path in visible(folder).items():
        if path.suffix == ".safetensors":
            checkpoint.load(path)
        elif path.suffix == ".pt":
            checkpoint.load_state(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            assert path.read_bytes().endswith(b"\n")
        else:
            assert (path.suffix in (".png", ".jpg") and images.read_rgb(path).size) or "tfevents" in name


def same(one: object, other: object) -> bool:
    """Whether two states of a training are equal, tensors bit by bit, but for the seconds that epochs took."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(key == "seconds" or same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("kills", KILLS)
def test_a_training_that_is_killed_ends_with_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, faces: Path, kills: int
) -> None:
    said = tmp_path / "said"
    seconds = timed(train, train_flags(faces, tmp_path / "whole"), said)
    expected = checkpoint.load_state(tmp_path / "whole" / STATE)
    assert len(expected["rows"]) == 2 and {"optimizer", "average", "scheduler", "best"} <= expected.keys()
    trainings = 0
    folder = tmp_path / "run0"
    within_epochs = 0
    moments = killed(train, train_flags(faces, folder), said, seconds, kills)
    while (was_killed := next(moments, None)) is not None:
        whole_run_folder(folder)
        if was_killed:
            within_epochs += (folder / STATE).exists() and checkpoint.load_state(folder / STATE)["along"]["steps"] > 0
        else:
            assert same(checkpoint.load_state(folder / STATE), expected)
            for name in ("last", "best"):
                found, wanted = (
                    checkpoint.load(tmp_path / training / f"{name}.safetensors").model.state_dict()
                    for training in (folder.name, "whole")
                )
                assert same(found, wanted)
            assert not list(folder.glob(".*"))  # what kills left has gone
            trainings += 1
            for path in visible(folder).values():  # the next kills are of a new training
                path.unlink()
    assert trainings >= 1
    assert within_epochs >= kills // 4
    print(f"{within_epochs} of {kills} kills within an epoch, in {trainings} trainings")


# preprocessing, hands, pictures and videos


def segment(argv: list[str]) -> int:
    """`test.py` with a network without weights: bright = face."""
    predictor.load = lambda *_: Predictor(Brightness(2), FACE, PLAIN, "cpu")
    return command.main(argv)


@dataclass(frozen=True)
class Work:
    """A command with its flags, but for those of the output; and what of a file that it finished stays untouched."""

    main: Main
    flags: Sequence[object]
    outputs: dict[str, str]
    kept: Callable[[Path], set[str]] = lambda _: set()

    def argv(self, out: Path) -> list[str]:
        return [
            *map(str, self.flags),
            *(text for flag, name in self.outputs.items() for text in (flag, str(out / name))),
        ]


def preprocessing(folder: Path, workers: int) -> Work:
    """Thirty faces of two parts, with photos."""
    for i in range(30):
        ids = draw_face(i, 128)[1]
        for part in ("skin", "hair"):
            drawn = (ids == CELEBAMASK.id(part)).astype(np.uint8) * 255
            path = folder / f"anno/0/{i:05}_{part}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).convert("RGB").save(path)
        images.write_rgb(folder / f"photos/{i}.jpg", draw_face(i, 256)[0])
    flags = ["--masks_parts", folder / "anno", "--faces_dir", folder / "photos", "--size", 64, "--workers", workers]
    outputs = {"--output_mask": "masks", "--output_faces": "faces"}
    return Work(preprocess.main, flags, outputs, lambda out: {name for name in visible(out) if name[:5] == "masks"})


def hands(folder: Path, workers: int) -> Work:
    """Two hands on three faces, eighty times."""
    for i in range(3):
        rgb, ids = draw_face(i, 96)
        images.write_rgb(folder / f"f/{i}.jpg", rgb)
        images.write_mask(folder / f"m/{i}.png", ids, CELEBAMASK)
    for i in range(2):
        palm = np.zeros((60, 50 + i), np.uint8)
        palm[10:50, 10:40] = 255
        images.write_rgb(folder / f"h/images/{i}.png", np.full((*palm.shape, 3), 190, np.uint8))
        images.write_mask(folder / f"h/masks/{i}.png", palm)
    flags = ["--faces_dir", folder / "f", "--masks_dir", folder / "m", "--hands_dir", folder / "h"]
    return Work(
        generate,
        [*flags, "--repeats", 10, "--workers", workers],
        {"--fahand_dir": "fahand", "--mahand_dir": "mahand"},
        lambda out: {f"fahand/{row['number']}.jpg" for row in rows_of(out / "fahand" / JOURNAL) if row["angle"]},
    )


def rows_of(table: Path) -> list[dict[str, str]]:
    """The whole rows of a table that may end in the middle of one."""
    if not table.is_file():
        return []
    return list(csv.DictReader(table.read_text().rpartition("\n")[0].splitlines()))


def pictures(folder: Path, _: int) -> Work:
    """Forty faces, overlays too."""
    for i in range(40):
        images.write_rgb(folder / f"in/{i}.jpg", draw_face(i, 160)[0])
    return Work(segment, ["--images_path", folder / "in", "--overlay"], {"--save_path": "out"})


def a_video(folder: Path, *more: str) -> Work:
    pytest.importorskip("av")
    from tests.test_video import record

    folder.mkdir(parents=True)
    return Work(segment, ["--images_path", record(folder / "a.mp4", 60), "--overlay", *more], {"--save_path": "out"})


def video(folder: Path, _: int) -> Work:
    """Two seconds, as videos."""
    return a_video(folder)


def frames(folder: Path, _: int) -> Work:
    """Two seconds, as folders of PNGs."""
    return a_video(folder, "--frames")


@pytest.mark.parametrize(
    ("kills", "workers"),
    [
        pytest.param(2, 1, id="2 kills"),
        pytest.param(20, 1, id="20 kills", marks=pytest.mark.soak),
        pytest.param(4, 2, id="4 kills of two workers", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("make", [preprocessing, hands, pictures, video, frames])
def test_what_is_killed_leaves_whole_files_and_is_finished_by_the_same_command(
    tmp_path: Path, make: Callable[[Path, int], Work], kills: int, workers: int
) -> None:
    work, said = make(tmp_path / "data", workers), tmp_path / "said"
    seconds = timed(work.main, work.argv(tmp_path / "whole"), said)
    expected = contents(tmp_path / "whole")
    out = tmp_path / "parts"
    before: dict[str, int] = {}
    for was_killed in killed(work.main, work.argv(out), said, seconds, kills):
        for name, data in contents(out).items():
            assert data == expected[name] or name.endswith("manifest.csv"), f"{name} is half-written"
        assert {name: (out / name).stat().st_mtime_ns for name in before} == before  # finished work is kept
        if was_killed:
            before = {name: (out / name).stat().st_mtime_ns for name in work.kept(out)}
        else:
            assert contents(out) == expected
            before = {}
            for path in out.rglob("*"):  # the next kills are of new work
                if path.is_file():
                    path.unlink()


WORKERS = """
import time
from faceparse.parallel import worker_map

if __name__ == "__main__":
    with worker_map(2) as map_in_workers:
        print(*map_in_workers(abs, [1, 2]), flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are listed as Linux does")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(WORKERS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    script = [sys.executable, str(tmp_path / "script.py")]
    with subprocess.Popen(script, stdout=subprocess.PIPE, env=environment, start_new_session=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline()  # the workers are at work
        parent.kill()
    for _ in range(300):
        left = [path for path in Path("/proc").glob("[0-9]*/stat") if in_session(path, parent.pid)]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"{left} are left")


def in_session(stat: Path, session: int) -> bool:
    """Whether a process, by its file in /proc, belongs to a session and has not ended."""
    try:
        state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return False
    return int(number) == session and state != "Z"


# full disks


def test_a_full_disk_ends_a_training_in_one_sentence_and_leaves_the_last_good_state(
    tmp_path: Path, faces: Path
) -> None:
    said, folder = tmp_path / "said", tmp_path / "run"
    assert run(train, train_flags(faces, folder, "--epochs", "1"), said) == 0
    names = (STATE, "last.safetensors", "best.safetensors")
    before = {name: (folder / name).read_bytes() for name in names}
    flags = train_flags(faces, folder)
    status, told = run_on_full_disk(train, flags, largest=len(before[STATE]) // 2)
    assert status == 1 and "Traceback" not in told
    assert told.splitlines()[-1] == f"error: [Errno 27] File too large: '{folder / STATE}'"
    assert {name: (folder / name).read_bytes() for name in names} == before
    assert run(train, flags, said) == 0
    assert len(checkpoint.load_state(folder / STATE)["rows"]) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB of its own."""
    if os.name != "posix" or os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root on Linux may mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.soak
def test_a_file_system_that_is_full_ends_a_training_in_one_sentence_and_leaves_the_last_good_state(
    tmp_path: Path, faces: Path, small_disk: Path
) -> None:
    said, folder = tmp_path / "said", small_disk / "run"
    assert run(train, train_flags(faces, folder, "--epochs", "1"), said) == 0, said.read_text()
    names = (STATE, "last.safetensors", "best.safetensors")
    before = {name: (folder / name).read_bytes() for name in names}
    free = shutil.disk_usage(small_disk).free
    (small_disk / "other").write_bytes(bytes(free - len(before[STATE]) // 2))
    said.unlink()
    assert run(train, train_flags(faces, folder), said) == 1
    assert "Traceback" not in said.read_text()
    assert said.read_text().splitlines()[-1] == f"error: [Errno 28] No space left on device: '{folder / STATE}'"
    assert {name: (folder / name).read_bytes() for name in names} == before
    (small_disk / "other").unlink()
    assert run(train, train_flags(faces, folder), said) == 0
    assert len(checkpoint.load_state(folder / STATE)["rows"]) == 2


@pytest.mark.parametrize("make", [preprocessing, hands, pictures, video])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, make: Callable[[Path, int], Work]) -> None:
    work = make(tmp_path / "data", 1)
    status, told = run_on_full_disk(work.main, work.argv(tmp_path / "out"), largest=80)
    assert status == 1 and "Traceback" not in told
    assert any(line.startswith("error: ") and "File too large" in line for line in told.splitlines())
    assert set(contents(tmp_path / "out")) <= {"fahand/manifest.csv"}
