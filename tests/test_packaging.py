"""The package as a whole: which module may import which, what importing costs, and what is installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import faceparse
from faceparse import cli
from faceparse.bundled import BEST_FOR
from faceparse.commands import ALIASES, COMMANDS
from faceparse.images import read_mask

ROOT = Path(__file__).resolve().parents[1]

ROWS: list[tuple[str, ...]] = [
    ("faceparse.words",),
    ("faceparse.labels",),
    (
        "faceparse.bundled",
        "faceparse.claims",
        "faceparse.curves",
        "faceparse.images",
        "faceparse.legend",
        "faceparse.onnx_file",
        "faceparse.parallel",
    ),
    ("faceparse.cutout", "faceparse.zoom"),
    ("faceparse.distributed",),
    (
        "faceparse.transforms",
        "faceparse.occlusion",
        "faceparse.losses",
        "faceparse.metrics",
        "faceparse.devices",
        "faceparse.folding",
        "faceparse.models",
    ),
    ("faceparse.data", "faceparse.checkpoint"),
    ("faceparse.teacher",),
    ("faceparse.engine", "faceparse.runs", "faceparse.predictor"),
    ("faceparse.video", "faceparse.export", "faceparse.demo"),
    ("faceparse.commands", "faceparse.cli", "faceparse.__main__"),
]
"""The house, ground floor first: a module imports from the rows below its own, and from its own package."""

MODELS_MAY_KNOW = (
    "faceparse.models",
    "faceparse.claims",
    "faceparse.labels",
    "faceparse.transforms",
    "faceparse.words",
)
HANDS_MAY_KNOW = ("faceparse.labels", "faceparse.images", "faceparse.parallel", "faceparse.commands", "hand_generator")
GROUND_FLOOR_MAY_KNOW = {"numpy", "cv2", "PIL", "kornia_rs", "faceparse"} | set(sys.stdlib_module_names)

MODULES = sorted(path for package in ("faceparse", "hand_generator") for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; of `from package import module`, the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in whole)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def row_of(name: str) -> int:
    found = [number for number, row in enumerate(ROWS) if within(name, row)]
    assert found, f"{name} is in no row; give it its place in ROWS of this test and in CONTRIBUTING.md"
    return found[0]


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).startswith("faceparse.")], ids=name_of)
def test_imports_run_one_way_down_the_house(path: Path) -> None:
    name = name_of(path)
    home = next(part for part in ROWS[row_of(name)] if within(name, (part,)))
    for imported in imports_of(path):
        if within(imported, ("faceparse",)) and not within(imported, (home, "faceparse.__version__")):
            above = row_of(name) == len(ROWS) - 1
            assert imported == "faceparse" or above or row_of(imported) < row_of(name), f"{name} imports {imported}"


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), sum(ROWS[:4], ()))], ids=name_of)
def test_the_ground_floor_needs_only_numpy_opencv_and_pillow(path: Path) -> None:
    assert {imported.split(".")[0] for imported in imports_of(path)} <= GROUND_FLOOR_MAY_KNOW


@pytest.mark.parametrize(
    "path", [path for path in MODULES if within(name_of(path), ("faceparse.models",))], ids=name_of
)
def test_models_know_no_file_and_no_data_set(path: Path) -> None:
    ours = [imported for imported in imports_of(path) if within(imported, ("faceparse", "hand_generator"))]
    assert [imported for imported in ours if not within(imported, MODELS_MAY_KNOW)] == []


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), ("faceparse.data",))], ids=name_of)
def test_data_knows_no_model(path: Path) -> None:
    assert [imported for imported in imports_of(path) if within(imported, ("faceparse.models",))] == []


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), ("hand_generator",))], ids=name_of)
def test_the_hand_generator_stands_aside(path: Path) -> None:
    ours = [imported for imported in imports_of(path) if within(imported, ("faceparse",))]
    assert [imported for imported in ours if not within(imported, HANDS_MAY_KNOW)] == []
    assert "torch" not in {imported.split(".")[0] for imported in imports_of(path)}


# what importing costs


def run(*command: str, cwd: Path = ROOT, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


HELPED = [["-c", "import faceparse"], ["-m", "faceparse"], ["-m", "hand_generator", "--help"]]
HELPED += [["-m", "faceparse", name, "--help"] for name in COMMANDS]
HELPED += [[script, "--help"] for script in ("test.py", "train.py", "preprocess_data.py")]


def processor_seconds() -> float:
    """Seconds that finished child processes have computed; a busy machine does not change them, as it would a clock."""
    return os.times().children_user + os.times().children_system


@pytest.mark.parametrize("arguments", HELPED, ids=" ".join)
def test_importing_and_help_take_under_three_tenths_of_a_second(arguments: list[str]) -> None:
    times = []
    for _ in range(3):
        start = processor_seconds()
        done = run(sys.executable, *arguments)
        times.append(processor_seconds() - start)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.3, f"{min(times):.2f} s"


@pytest.mark.parametrize("arguments", HELPED, ids=" ".join)
def test_importing_and_help_do_not_import_torch_or_numpy(arguments: list[str]) -> None:
    done = run(sys.executable, "-X", "importtime", *arguments)
    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "faceparse" in imported
    assert imported & {"torch", "numpy", "cv2", "timm", "PIL"} == set()


def test_preparing_data_does_not_import_torch() -> None:
    modules = [name for name in map(name_of, MODULES) if within(name, ("hand_generator",))]
    modules += [
        "faceparse.images",
        "faceparse.commands.preprocess",
        "faceparse.data.celebamask",
        "faceparse.data.portrait",
    ]
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    done = run(sys.executable, "-c", code)
    assert done.stdout.strip() == "False", done.stderr


def test_every_public_name_is_there_when_asked_for() -> None:
    for name in faceparse.__all__:
        assert getattr(faceparse, name) is not None
        assert name in dir(faceparse)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        faceparse.lode  # noqa: B018


# the command


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_command_alone_prints_its_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: faceparse")
    for name in COMMANDS:
        assert f"\n  {name} " in printed


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"faceparse {faceparse.__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("segmnt", "did you mean 'segment'?"),
        ("preproces_data", "did you mean 'preprocess_data'?"),
        ("xyz", "choose from: segment"),
    ],
)
def test_an_unknown_command_is_told_the_nearest(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 2
    assert hint in capsys.readouterr().err


def test_the_sub_commands_are_the_same_code_as_the_scripts() -> None:
    scripts = {"test.py": "segment", "train.py": "train", "preprocess_data.py": "preprocess"}
    for script, name in scripts.items():
        module = COMMANDS[name][0]
        assert module in set(imports_of(ROOT / script)), script
        assert callable(import_module(module).main)


@pytest.mark.parametrize("name", ALIASES)
def test_the_scripts_names_are_sub_commands_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert name in capsys.readouterr().out
    helps = []
    for word in (name, ALIASES[name]):
        with pytest.raises(SystemExit, match="0"):
            cli.main([word, "--help"])
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1] != ""


# what is installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built offline from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("faceparse", "hand_generator", "weights"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "copy")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = run(*pip, "--wheel-dir", str(folder), ".", cwd=folder / "copy")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_packages_the_weights_and_the_command(wheel: Path) -> None:
    assert wheel.name == "faceparse-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        entries = file.read("faceparse-0.1.0.dist-info/entry_points.txt").decode()
    assert {path.relative_to(ROOT).as_posix() for path in MODULES} <= names
    assert {f"faceparse/weights/{name}.safetensors" for name in BEST_FOR.values()} | {
        "faceparse/weights/README.md"
    } <= names
    assert "faceparse = faceparse.cli:main" in entries
    assert not any(name.startswith(("tests", "benchmarks", "examples")) for name in names)


def test_the_installed_package_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    shutil.copy(ROOT / "examples/astronaut.jpg", elsewhere)
    flags = ["--images_path", "astronaut.jpg", "--save_path", "out", "--device", "cpu"]
    done = run(sys.executable, "-m", "faceparse", "segment", *flags, cwd=elsewhere, path=site)
    assert done.returncode == 0, done.stderr
    mask = read_mask(elsewhere / "out/astronaut.png")
    assert mask.shape == (256, 256)
    assert set(np.unique(mask)) == {0, 255}
    code = "import faceparse as f, faceparse.bundled as b; print(f.__file__, b.best_for(), f.__version__)"
    printed = run(sys.executable, "-c", code, cwd=elsewhere, path=site).stdout.split()
    assert printed == [str(site / "faceparse/__init__.py"), str(site / "faceparse/weights/face.safetensors"), "0.1.0"]


# versions


def test_the_lowest_versions_are_those_that_setup_py_admits() -> None:
    bounds = re.findall(r'"([a-z-]+)>=([0-9.]+)', (ROOT / "setup.py").read_text())
    untested = {"ruff", "mypy", "atheris", "gradio"}  # what only checks style, or a few tests need
    lowest = dict(line.split("==") for line in (ROOT / "tests/lowest.txt").read_text().splitlines())
    assert lowest.keys() == {name for name, _ in bounds} - untested
    for name, bound in bounds:
        assert name in untested or f"{lowest[name]}.".startswith(f"{bound}."), f"{name}: setup.py says {bound}"


# what make does, without installing anything


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A make of its own: one above these tests hands down what it was told itself, such as VENV=.venv313."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def fresh_copy(tmp_path: Path) -> Path:
    for name in ("Makefile", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


@needs_make
def test_make_tells_a_missing_or_an_old_python_in_one_sentence(fresh_copy: Path) -> None:
    missing = make("demo", "PYTHON=python0.0", cwd=fresh_copy)
    assert missing.returncode != 0
    assert "error: there is no python0.0" in missing.stdout + missing.stderr
    old = fresh_copy / "old"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 8, 1); $2"\n')
    old.chmod(0o755)
    refused = make("demo", f"PYTHON={old}", cwd=fresh_copy)
    assert refused.returncode != 0
    assert f"error: faceparse needs Python 3.10 or newer, but {old} is 3.8" in refused.stderr
    assert not (fresh_copy / ".venv").exists()


@needs_make
def test_a_second_run_reinstalls_nothing_until_setup_py_changes(fresh_copy: Path) -> None:
    for target in ("demo", "test", "lint"):
        assert "pip install" in make("--dry-run", target, cwd=fresh_copy).stdout
    (fresh_copy / ".venv").mkdir()
    for stamp in (".installed", ".installed-test"):
        (fresh_copy / ".venv" / stamp).touch()
    for target in ("demo", "test", "lint"):
        assert "pip install" not in make("--dry-run", target, cwd=fresh_copy).stdout
    later = time.time() + 10
    os.utime(fresh_copy / "setup.py", (later, later))
    assert "pip install" in make("--dry-run", "demo", cwd=fresh_copy).stdout


@needs_make
def test_continuous_integration_runs_the_same_targets() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert [line for line in script.read_text().splitlines() if line.startswith("make")] == ["make lint", "make test"]
