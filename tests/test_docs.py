"""What the pages tell people to type works, what they show is there, and what they say of the code is so.

Every command of ours on any page is parsed; every command and every Python snippet is run, in a folder with drawn
pictures under the names that they use, but for what `NOT_RUN` lists with its reason. Trainings get `CHEAPER` flags: the
documented ones take hours.
"""

from __future__ import annotations

import io
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import torchvision

from faceparse import checkpoint, cli, images, predictor
from faceparse.commands import ALIASES, COMMANDS, models
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS
from faceparse.models import ARCHITECTURES
from faceparse.predictor import load
from tests.conftest import draw_face, needs_letters

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
]

SCRIPTS = {"test.py": "segment", "train.py": "train", "preprocess_data.py": "preprocess"}
"""Script -> the sub-command that it is."""

CHEAPER = {
    "train": "--epochs 1 --size 32 --workers 0 --device cpu --encoder_weights none",
    "segment": "--device cpu",
    "preprocess": "--workers 1",
    "hands": "--workers 1 --repeats 1 --rotations 0 90",
}
"""Sub-command -> flags after the documented ones, of which the last counts."""

NOT_RUN = {
    r"faceparse (?!models)[a-z-]+$|python \w+\.py$|.*\.\.\.|.* \(": "the page only speaks of it",
    r".*\b(DIR|FILE|FILES|FOLDER|TEXT|HOST|THE_URL)\b": "only the reader has the files; what it does is run elsewhere",
    r"(faceparse segment|python test\.py --images_path) 0 ": "needs a camera; test_video.py has a film stand in for it",
    r"faceparse demo": "serves until Ctrl-C; test_demo.py opens it in a browser",
    r"eval ": "needs the reader's shell; test_cli.py asks bash",
    r"(OMP_NUM_THREADS=\d+ )?torchrun ": "several processes; test_distributed.py",
    r"python benchmarks/": "minutes to hours; test_benchmarks.py runs short forms",
    r".*(data/(images|held_out|kinds)|\.\./shared/)": "hours, on data sets that do not come along",
    r"faceparse export .*--int8 ": "is refused without a hundred photos of the right kind; test_export.py",
    r"python docs/draw_labels\.py": "writes into the checkout; what it draws is compared below",
    r"python examples/gallery\.py": "writes into the checkout; test_gallery.py",
    r"make |\.ci/run": "installs, or runs the suite; test_packaging.py holds what they do",
    r"(python -m )?pytest |python -m tests\.fuzz ": "tests themselves; the soaks and the fuzzing take minutes to hours",
    r"(\.venv/bin/)?(pip|apt-get) ": "installs, over the network",
    r"py |\.venv\\Scripts": "needs Windows",
}
"""The beginning of a command -> why no test of this file runs it."""

FENCED = r"^```(?P<language>\w*)\n(?P<block>.*?)^```$"
LINE = r"^ {4,}(?P<line>(?:\.venv/bin/faceparse|faceparse|python|torchrun|cat|make) [^\n]*)$"
INLINE = r"`(?P<inline>[^`]+)`"
COMMAND = (
    r"(\S+[/\\])?(faceparse|python|torchrun|make|pip|py|pytest|apt-get) [^#]|OMP_\S+ \w|eval |cat .*\| *faceparse "
)
OURS = r"(\.venv/bin/)?faceparse [a-z]|python (-m hand_generator|[\w/]+\.py)( |$)|torchrun |cat .*\| *faceparse "


class Typed(NamedTuple):
    """A command of ours: a sub-command or a script under benchmarks/, its arguments, and the line it stands in."""

    name: str
    argv: list[str]
    line: str


def code(page: Path) -> Iterator[tuple[str, str]]:
    """The code of a page in its order: ("python", a block), or ("sh", a command)."""
    for found in re.finditer(f"{FENCED}|{LINE}|{INLINE}", page.read_text(), re.MULTILINE | re.DOTALL):
        if found["block"] is not None:
            yield found["language"], found["block"]
        else:
            yield "sh", " ".join((found["line"] or found["inline"]).split())


def typed(line: str) -> Typed | None:
    """None for what is no command of ours, or only speaks of one."""
    if not re.match(OURS, line) or "..." in line or " (" in line:
        return None
    words = shlex.split(line, comments=True)
    words = words[words.index("|") + 1 :] if "|" in words else words
    words = words[: words.index(">")] if ">" in words else words
    if words[0] == "torchrun":
        words = ["python", *dropwhile(lambda word: not word.endswith(".py"), words)]
    if words[0].endswith("faceparse"):
        return Typed(ALIASES.get(words[1], words[1]), words[2:], line)
    if words[1] == "-m":
        return Typed("hands", words[3:], line)
    return Typed(SCRIPTS.get(words[1], words[1]), words[2:], line)


def commands(page: Path) -> list[Typed]:
    return [command for kind, text in code(page) if kind == "sh" and (command := typed(text))]


@cache
def benchmark(script: str) -> Callable[[list[str]], object]:
    """The parser of a script of benchmarks/."""
    parse: Callable[[list[str]], object] = runpy.run_path(str(ROOT / script), run_name="benchmark")["parse_args"]
    return parse


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def test_there_are_commands_to_check() -> None:
    assert len(commands(ROOT / "README.md")) >= 7
    assert {"segment", "train", "preprocess", "hands", "split", "check-data"} <= {
        command.name for command in commands(ROOT / "docs" / "training.md")
    }


@each_page
def test_every_command_on_a_page_parses(page: Path) -> None:
    for name, argv, line in commands(page):
        if name in COMMANDS:
            if argv:  # else the page speaks of it
                import_module(COMMANDS[name].module).parse_args(argv)
        else:
            assert (ROOT / name).is_file(), line
            if name.startswith("benchmarks/"):
                benchmark(name)(argv)


@each_page
def test_every_target_of_make_and_every_extra_on_a_page_exists(page: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = re.findall(r'^        "(\w+)": ', (ROOT / "setup.py").read_text(), re.MULTILINE)
    for kind, text in code(page):
        if kind == "sh" and (target := re.match(r"make ([\w-]+)", text)):
            assert target[1] in targets, text
        if kind == "sh" and (asked := re.search(r"pip install .*(?:faceparse|\.)\[([\w,]+)\]", text)):
            assert set(asked[1].split(",")) <= set(extras), text


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return {f"{name}-{times}" if times else name for name, times in zip(names, before, strict=True)}


@each_page
def test_every_file_and_heading_that_a_page_links_to_is_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@each_page
def test_every_file_of_the_code_that_a_page_names_is_there(page: Path) -> None:
    named = r"\b(?:tests|benchmarks|faceparse|docs|weights|examples)/[\w/]+\.(?:py|md|png|jpg|safetensors)\b"
    own = re.sub(r"\[[^]]*\]\(http[^)]*\)", "", page.read_text())  # without the links to others' code
    told = set(re.findall(r"^ *# (\S+)$", own, re.MULTILINE))  # files that the reader is to make
    assert [name for name in re.findall(named, own) if not (ROOT / name).is_file() and name not in told] == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    assert {name_of(page) for page in ROOT.glob("docs/*.md")} <= set(re.findall(r"\]\(([^)#]+)", text))


def test_the_table_of_labels_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|.*\| `#(\w+)` \| (.*)\|$", (ROOT / "docs/labels.md").read_text(), re.M)
    groups = {name: labels.members[1] for name, labels in LABEL_SETS.items() if labels.source is CELEBAMASK}
    assert rows == [
        (str(id_), name, bytes(colour).hex(), "".join(f"{', '.join(g for g in groups if name in groups[g])} ").lstrip())
        for id_, (name, colour) in enumerate(zip(CELEBAMASK.classes, CELEBAMASK.colours, strict=True))
    ]


@needs_letters
def test_the_picture_of_labels_is_that_of_the_code() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_labels.py"))["chart"]()
    kept = images.read_rgb(ROOT / "docs" / "labels.png")
    colours, counts = np.unique(kept.reshape(-1, 3), axis=0, return_counts=True)
    large = {tuple(colour) for colour in colours[counts > 300].tolist()}  # swatches and paper; letters are thin
    assert set(CELEBAMASK.colours[1:]) <= large
    height, width = (min(a, b) for a, b in zip(kept.shape[:2], drawn.shape[:2], strict=True))
    apart = np.abs(kept[:height, :width].astype(int) - drawn[:height, :width]).max(axis=2) > 60
    assert apart.mean() < 0.1  # another OpenCV 5 may have other letters


# commands and snippets, run


def lay_out(folder: Path) -> None:
    """The files that the pages name: `photo.jpg` shows a face, all other pictures are drawn, and small."""
    photo = images.read_rgb(ROOT / "examples" / "astronaut.jpg")
    images.write_rgb(folder / "photo.jpg", photo)
    images.write_mask(folder / "masks" / "photo.png", draw_face(0, 256)[1])
    party = np.full((320, 320, 3), 120, np.uint8)
    party[20:148, 40:168] = photo[::2, ::2]
    images.write_rgb(folder / "party.jpg", party)
    images.write_rgb(folder / "beach.jpg", np.full((40, 60, 3), (90, 160, 220), np.uint8))
    raw, people = folder / "CelebAMask-HQ", folder / "AISegment"
    for number in range(18):
        picture, ids = draw_face(number, 64)
        face = FACE.table[ids] * np.uint8(255)
        for faces, masks in (("faces", "truth"), ("held_out/faces", "held_out/masks"))[: 2 if number < 2 else 1]:
            images.write_rgb(folder / faces / f"{number}.jpg", picture)
            images.write_mask(folder / masks / f"{number}.png", face)
        images.write_rgb(raw / "CelebA-HQ-img" / f"{number}.jpg", picture)
        for class_id, name in enumerate(CELEBAMASK.classes):
            if class_id and (part := ids == class_id).any():
                grey = part[..., None].repeat(3, axis=2) * np.uint8(255)
                images.write_rgb(raw / "CelebAMask-HQ-mask-anno" / "0" / f"{number:05d}_{name}.png", grey)
        images.write_rgb(people / "clip_img" / "1" / "clip_0" / f"{number}.jpg", picture)
        cut = people / "matting" / "1" / "matting_0" / f"{number}.png"
        cut.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(cut), np.dstack([picture[..., ::-1], (ids > 0) * np.uint8(255)]))
    for number, place in enumerate(("photos", "photos/more")):
        images.write_rgb(folder / place / f"{number}.jpg", draw_face(number, 96)[0])
        images.write_rgb(folder / "data/hands/images" / f"{number}.png", np.full((30, 24, 3), 150, np.uint8))
        hand = cv2.ellipse(np.zeros((30, 24), np.uint8), (12, 15), (8, 12), 0, 0, 360, 255, -1)
        images.write_mask(folder / "data/hands/masks" / f"{number}.png", hand)
    clip = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for number in range(3):
        clip.write(np.full((48, 64, 3), 60 * number, np.uint8))
    clip.release()
    shutil.copy(folder / "clip.mp4", folder / "clip.mov")
    pets = re.search(r"^```json\n(.*?)^```$", (ROOT / "docs" / "labels.md").read_text(), re.MULTILINE | re.DOTALL)
    assert pets
    (folder / "pets.json").write_text(pets[1])
    for number in range(18):
        images.write_rgb(folder / "pets/pictures" / f"{number}.jpg", np.full((64, 64, 3), 10 * number, np.uint8))
        images.write_mask(folder / "pets/masks" / f"{number}.png", np.eye(64, dtype=np.uint8) * np.uint8(number % 5))
    curves = "epoch,train_loss,val_loss,val_iou,val_dice,lr,seconds\n1,1.5,1.4,0.3,0.4,0.001,9\n"
    (folder / "runs" / "other").mkdir(parents=True)
    (folder / "runs" / "other" / "curves.csv").write_text(curves)
    (folder / "weights").symlink_to(ROOT / "weights")


def not_run(line: str) -> list[str]:
    """The entries of `NOT_RUN` that a command falls under."""
    return [beginning for beginning in NOT_RUN if re.match(beginning, line)]


def can_run(command: Typed) -> bool:
    return command.name in COMMANDS and not not_run(command.line)


def run(command: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As documented, in the current folder, with `CHEAPER` flags; a pipe reads and writes the files that it names."""
    argv = [*command.argv, *CHEAPER.get(command.name, "").split()]
    if command.name == "split" and "shapes/split.csv" not in argv:
        argv += ["--sizes", "3/1/2"]
    main = import_module(COMMANDS[command.name].module).main
    if piped := re.fullmatch(r"cat (\S+) \| .* > (\S+)", command.line):
        with monkeypatch.context() as patch, open(piped[1], "rb") as given, open(piped[2], "wb") as taken:
            patch.setattr(sys, "stdin", io.TextIOWrapper(given))
            patch.setattr(sys, "stdout", io.TextIOWrapper(taken))
            status = main(argv)
            sys.stdout.flush()
    else:
        status = main(argv)
    assert status == 0, command.line


LOADED: dict[str, predictor.Predictor] = {}
"""Predictors of bundled weights, by what they were asked for with: loaded once for all commands of all pages."""


def load_once(weights: str | None = None, *args: object, **options: object) -> predictor.Predictor:
    """As `faceparse.load`."""
    asked = repr((weights, args, options))
    if weights is not None and Path(weights).suffix:  # a file, which a command may write anew
        return load(weights, *args, **options)  # type: ignore[arg-type]
    if asked not in LOADED:
        LOADED[asked] = load(weights, *args, **options)  # type: ignore[arg-type]
    return LOADED[asked]


def follow(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do all that a page says, in its order."""
    lay_out(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(predictor, "load", load_once)
    monkeypatch.setattr(models, "ARCHITECTURES", {"fpn": ARCHITECTURES["fpn"]})  # all: test_models_command.py
    for kind, text in code(page):
        if kind == "python":
            exec(compile(text, name_of(page), "exec"), {"__name__": "__main__"})
        elif kind == "sh" and (command := typed(text)) and can_run(command):
            run(command, monkeypatch)
        elif kind == "sh" and (snippet := re.fullmatch(r'python -c "(.*)"', text)):
            exec(snippet[1], {"__name__": "__main__"})
        elif text == "faceparse --version":
            assert cli.main(["--version"]) == 0


def mask_of(name: str) -> np.ndarray:
    return images.read_mask(name)


def test_the_readme_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ROOT / "README.md", tmp_path, monkeypatch)
    mask = mask_of("masks/photo.png")
    assert mask.shape == (256, 256) and set(np.unique(mask)) == {0, 255}
    made = "masks/photo_overlay.jpg masks/clip.mp4 masks/party.png cut/photo_cutout.jpg runs/mine/best.safetensors"
    assert [name for name in made.split() if not Path(name).is_file()] == []


def test_the_recipes_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ROOT / "docs" / "recipes.md", tmp_path, monkeypatch)
    face = mask_of("masks/photo.png")
    assert (mask_of("mask_onnx.png") == face).mean() > 0.999
    assert (mask_of("parts/photo.png") == CELEBAMASK.id("hair")).any()
    assert mask_of("masks/more/1.png").shape == (96, 96)
    photo, violet = images.read_rgb("photo.jpg").astype(int), images.read_rgb("violet.jpg").astype(int)
    assert np.abs(photo - violet)[mask_of("hair/photo.png") > 0].mean() > 20
    assert np.abs(photo - violet)[230:, 100:].mean() < 5
    rows = [row.split(",") for row in Path("pixels.csv").read_text().splitlines()]
    assert rows[0] == ["picture", *CELEBAMASK.classes] and sum(map(int, rows[1][1:])) == 96 * 96
    party, hidden = images.read_rgb("party.jpg").astype(int), images.read_rgb("party_blurred.jpg").astype(int)
    assert np.abs(party - hidden)[60:110, 80:130].mean() > 10 > np.abs(party - hidden)[200:].mean()


def test_the_way_to_own_weights_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ROOT / "docs" / "training.md", tmp_path, monkeypatch)
    made = "runs/scratch runs/init runs/mine runs/hands runs/exp1"
    assert [name for name in made.split() if not (Path(name) / "best.safetensors").is_file()] == []
    assert len(list(Path("runs/exp1").glob("*.onnx"))) == 1
    assert len(list(Path("scored").glob("*_overlay.jpg"))) == 20 and Path("shown.png").is_file()


def test_the_page_of_videos_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ROOT / "docs" / "video.md", tmp_path, monkeypatch)
    made = "out/clip.mp4 out/clip_overlay.mp4 out/0_cutout.jpg out/photo_cutout.png mask.mp4 blurred.mp4"
    assert [name for name in made.split() if not Path(name).is_file()] == []


def test_the_page_of_labels_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ROOT / "docs" / "labels.md", tmp_path, monkeypatch)
    assert checkpoint.load("runs/pets/best.safetensors").labels.classes[1:] == ("cat", "dog", "left_ear", "right_ear")
    assert mask_of("hair/photo.png").any() and mask_of("lips/photo.png").any()


def empty_state(model: Callable[..., torch.nn.Module], *args: object, **options: object) -> dict[str, torch.Tensor]:
    """A state dict of zeros, each tensor of the right shape and of four bytes."""
    with torch.device("meta"):
        state = model(*args, **options).state_dict()
    return {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}


def test_the_page_of_models_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch", reason="the reference, for tests only")
    deeplabv3 = torchvision.models.segmentation.deeplabv3_resnet50
    plain = {"weights": None, "weights_backbone": None, "aux_loss": True}
    torch.save(empty_state(smp.Unet, "mobilenet_v2", encoder_weights=None), tmp_path / "unet.pth")
    torch.save(empty_state(deeplabv3, num_classes=19, **plain), tmp_path / "deeplabv3.pth")
    torch.save(empty_state(deeplabv3, num_classes=21, **plain), tmp_path / "deeplabv3_resnet50_coco.pth")
    follow(ROOT / "docs" / "models.md", tmp_path, monkeypatch)
    assert "mobilenetv2_100" in capsys.readouterr().out
    assert checkpoint.load("unet.safetensors").labels.classes == FACE.classes
    assert checkpoint.load("deeplabv3.safetensors").labels.classes == CELEBAMASK.classes
    assert checkpoint.load("coco.safetensors").labels.classes[15] == "person"
    assert np.array_equal(mask_of("masks/0.png"), load("face")("photos/0.jpg"))


FOLLOWED = {
    ROOT / "README.md",
    *(ROOT / f"docs/{name}.md" for name in ("labels", "models", "recipes", "training", "video")),
}
"""By the tests above, which look at what was made."""


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FOLLOWED], ids=name_of)
def test_another_page_can_be_followed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(page, tmp_path, monkeypatch)


def test_what_is_not_run_has_a_reason_and_every_reason_is_needed() -> None:
    typed_there = [text for page in PAGES for kind, text in code(page) if kind == "sh" and re.match(COMMAND, text)]
    reasons = {text: not_run(text) for text in typed_there}
    ran = [text for text in typed_there if not reasons[text]]
    assert [text for text in ran if not (typed(text) or re.match(r'python -c "|faceparse --version$', text))] == []
    assert set(NOT_RUN) == {reason for found in reasons.values() for reason in found}
