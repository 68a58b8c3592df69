"""CONTRIBUTING.md is true: functions are called in the order it tells, and what it adds to the code works there."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest

from faceparse import images
from faceparse.cli import main
from faceparse.labels import FACE
from tests.conftest import draw_face

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
STEP = r"((?:\w+/)*\w+\.py): ([A-Za-z_][\w.]*)"
TINY = "--encoder test_resnet.r160_in1k --size 64 --epochs 1 --batch_size 2 --workers 0 --device cpu"


def section(title: str) -> str:
    """What stands under a heading, up to the next of its kind."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# a picture's way


def definitions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, int]]:
    """Every function and class by its qualified name, and its first line, that of a decorator if it has one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield inside + node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield from definitions(node, f"{inside}{node.name}.")
        else:
            yield from definitions(node, inside)


def home(file: str) -> Path:
    return ROOT / "faceparse" / file if (ROOT / "faceparse" / file).exists() else ROOT / file


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(STEP, section("A picture's way")))))
def test_every_function_of_the_map_is_there(file: str, name: str) -> None:
    assert name in dict(definitions(ast.parse(home(file).read_text())))


def first_calls(work: Callable[[], object]) -> list[str]:
    """The functions of the package that run during `work`, in any thread, in the order of their first calls."""
    called: dict[tuple[str, int], None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called[frame.f_code.co_filename, frame.f_code.co_firstlineno] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # which typeshed does not know to be allowed
    package = ROOT / "faceparse"
    names = {
        (str(path), line): f"{path.relative_to(package).as_posix()}: {name}"
        for path in package.rglob("*.py")
        for name, line in definitions(ast.parse(path.read_text()))
    }
    return [names[call] for call in called if call in names]


def assert_told_in_order(command: str, work: Callable[[], object]) -> None:
    """That the list below `command` has steps, which are the first calls in their order."""
    listed = section("A picture's way").partition(command)[2].split("\n\n")[1]
    steps = [": ".join(step) for step in re.findall(rf"^    {STEP}", listed, re.MULTILINE)]
    assert len(steps) > 5
    calls = first_calls(work)
    assert [step for step in steps if step not in calls] == []
    assert sorted(steps, key=calls.index) == steps


def test_a_photo_goes_the_way_of_the_map(tmp_path: Path) -> None:
    photo = str(ROOT / "examples" / "astronaut.jpg")
    argv = ["segment", photo, "--save_path", str(tmp_path), "--device", "cpu"]
    assert_told_in_order("faceparse segment photo.jpg", lambda: main(argv))


def test_a_training_goes_the_way_of_the_map(tmp_path: Path) -> None:
    for seed in range(4):
        rgb, ids = draw_face(seed, 64)
        images.write_rgb(tmp_path / "faces" / f"{seed}.jpg", rgb)
        images.write_mask(tmp_path / "masks" / f"{seed}.png", FACE.table[ids] * 255)
    argv = ["train", "--faces_dir", str(tmp_path / "faces"), "--masks_dir", str(tmp_path / "masks")]
    argv += ["--weights_dir", str(tmp_path / "run"), *TINY.split()]
    assert_told_in_order("faceparse train", lambda: main(argv))


def test_a_video_goes_the_way_of_the_map(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(tmp_path / "clip.mp4", "w") as file:
        stream = file.add_stream("libx264", 10)
        stream.width = stream.height = 64
        for seed in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(draw_face(seed, 64)[0], "rgb24")))
        file.mux(stream.encode(None))
    argv = ["segment", str(tmp_path / "clip.mp4"), "--save_path", str(tmp_path / "out"), "--device", "cpu"]
    assert_told_in_order("faceparse segment clip.mp4", lambda: main(argv))


# what is added to a copy of the code


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with all of the text's snippets in it."""
    copy = tmp_path_factory.mktemp("extended")
    for name in ("faceparse", "hand_generator", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "train.py", "test.py", "preprocess_data.py", "weights"):
        (copy / name).symlink_to(ROOT / name)
    snippets = re.findall(
        r"^ +```(?:python)?\n( +# .*?)^ +```$", section("How to add things"), re.DOTALL | re.MULTILINE
    )
    assert len(snippets) >= 10
    for snippet in map(textwrap.dedent, snippets):
        place, _, code = snippet.partition("\n")
        put(copy, place.removeprefix("# "), code)
    return copy


def put(folder: Path, place: str, code: str) -> None:
    """Write a new file, append to an old one, or insert above a table or as its last rows, as `place` says."""
    name, _, where = place.partition(", ")
    path = folder / name
    if not where:
        before = f"{path.read_text()}\n\n" if path.exists() else ""
        path.write_text(before + code)
        return
    how, _, table = where.partition(" ")
    lines = path.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(table))
    if how == "in":
        at = next(number for number in range(at, len(lines)) if lines[number].strip() in (")", "}"))
        row = lines[at - 1]
        code = textwrap.indent(code, row[: len(row) - len(row.lstrip())])
    else:
        assert how == "above"
        code += "\n\n"
    lines.insert(at, code)
    path.write_text("".join(lines))


def run(folder: Path, *words: str) -> str:
    """What a Python in the copy prints; it has to succeed."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_was_added_prepares_trains_and_answers_together(extended: Path) -> None:
    """In one process: importing torch takes longer than all of it."""
    for number in range(4):
        rgb, ids = draw_face(number, 64)
        people = np.where(ids > 0, 15, 3).astype(np.uint8)
        border = cv2.morphologyEx(people, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        images.write_rgb(extended / "voc" / "JPEGImages" / f"{number}.jpg", rgb)
        images.write_mask(extended / "voc" / "SegmentationClass" / f"{number}.png", np.where(border, 255, people))
    images.write_rgb(extended / "voc" / "JPEGImages" / "without_a_mask.jpg", rgb)
    made = "preprocess --voc voc --output_mask masks --output_faces faces --size 32 --workers 1"
    trained = "train --faces_dir faces --masks_dir masks --labels person --weights_dir run"
    trained += f" --arch fcn --widths 16 --loss ce+0.5*poly {TINY}"
    shutil.copy(ROOT / "examples" / "astronaut.jpg", extended)
    answered = "segment astronaut.jpg --device cpu --save_path out"
    commands = (made, trained, f"{answered} --labels eyes", f"{answered}/both --classes l_eye,r_eye")
    lines = [f"assert main({line.split()}) == 0" for line in commands]
    run(extended, "-c", "\n".join(["from faceparse.cli import main", *lines]))
    for folder, suffix in (("masks", "png"), ("faces", "jpg")):
        assert {path.name for path in images.list_images(extended / folder)} == {f"{n}.{suffix}" for n in range(4)}
    mask = images.read_mask(extended / "masks" / "0.png")
    assert mask.shape == (32, 32) and set(np.unique(mask)) == {0, 255}
    rows = (extended / "masks" / "pairs.csv").read_text().splitlines()
    assert rows[:2] == ["picture,mask", "../faces/0.jpg,0.png"]
    assert (extended / "run" / "best.safetensors").exists()
    eyes, both = (images.read_mask(extended / "out" / folder / "astronaut.png") for folder in ("", "both"))
    assert np.array_equal(eyes, both) and eyes.any()


@pytest.mark.soak
def test_the_tests_that_the_text_names_pass_on_what_was_added(extended: Path) -> None:
    """After what it says of two tests in words."""
    for name, old, new in (
        ("test_parity.py", '== {"encdec"}', '== {"encdec", "fcn"}'),
        ("test_labels.py", '"celebamask", "person"}', '"celebamask", "person", "eyes"}'),
    ):
        text = (extended / "tests" / name).read_text()
        assert text.count(old) == 1
        (extended / "tests" / name).write_text(text.replace(old, new))
    commands = re.findall(r"^ +python (-m pytest .*)$", section("How to add things"), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert " passed" in run(extended, *shlex.split(command))
    run(extended, "-m", "ruff", "format", "--check", ".")
    run(extended, "-m", "ruff", "check", ".")
    run(extended, "-m", "mypy")
