"""The command line explains itself: help, examples, mistakes, summaries, pipes, completion."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from faceparse import checkpoint, cli, images, losses, predictor
from faceparse.commands import ALIASES, COMMANDS, OnlyErrors, completion, finish
from faceparse.commands import test as segment
from faceparse.commands.models import parse_args as parse_models
from faceparse.commands.train import main as train
from faceparse.labels import CELEBAMASK, FACE, LabelSet
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess
from faceparse.words import hint
from tests.conftest import draw_face

PLAIN = Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Brightness(nn.Module):
    """Logits (B, K, H, W): class k is likeliest where the brightness, 0..1, is nearest to k / (K - 1)."""

    def __init__(self, labels: LabelSet):
        super().__init__()
        self.register_buffer("levels", torch.linspace(0, 1, len(labels)).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return -20 * (image.mean(dim=1, keepdim=True) - self.levels).abs()


@pytest.fixture(params=[FACE, CELEBAMASK], ids=lambda labels: labels.name)
def answered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabelSet]:
    """`segment` gets a network whose answer is known: bright is the last class of this set, dark is background."""
    labels = request.param
    monkeypatch.setattr(predictor, "load", lambda *_: Predictor(Brightness(labels), labels, PLAIN, "cpu"))
    yield labels


def half(path: Path | io.BytesIO, width: int = 40, height: int = 30) -> None:
    """A picture whose right half is white, and its left black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    Image.fromarray(pixels).save(path, format="PNG")


def refused(command: str, *argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="2"):
        import_module(COMMANDS[command].module).parse_args(list(argv))
    return capsys.readouterr().err


# help


def test_the_help_fits_a_screen_of_80_by_24() -> None:
    lines = cli.overview().splitlines()
    assert len(lines) <= 23  # the prompt takes the last
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_its_help_with_an_example_that_parses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: faceparse {name} ")
    assert printed.endswith(f"\nexample: {COMMANDS[name].example}\n")
    words = shlex.split(COMMANDS[name].example.removeprefix('eval "$(').removesuffix(')"'))
    assert words[:2] == ["faceparse", name]
    import_module(COMMANDS[name].module).parse_args(words[2:])


# mistakes


@pytest.mark.parametrize(
    ("word", "choices", "expected"),
    [
        ("fpm", ["unet", "fpn"], "did you mean 'fpn'?"),
        ("FPN", ["unet", "fpn"], "did you mean 'fpn'?"),
        ("beard", ["skin", "ear_r"], "choose from: skin, ear_r"),
        ("", ["skin", "ear_r"], "choose from: skin, ear_r"),
    ],
)
def test_the_nearest_word_is_offered_or_all_of_them(word: str, choices: list[str], expected: str) -> None:
    assert hint(word, choices) == expected


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["segment", "a.jpg", "--overley"], "there is no flag --overley; did you mean '--overlay'?"),
        (["segment", "a.jpg", "--safe_path=b"], "there is no flag --safe_path; did you mean '--save_path'?"),
        (["train", "--faces", "a", "--mask_dir", "b"], "there is no flag --mask_dir; did you mean '--masks_dir'?"),
        (["train", "--arch", "fpm"], "argument --arch: there is no 'fpm'; did you mean 'fpn'?"),
        (["train", "--output_stride", "4"], "argument --output_stride: there is no 4; choose from: 8, 16, 32"),
        (["completion", "bsh"], "argument shell: there is no 'bsh'; did you mean 'bash'?"),
        (["hands", "--style", "plane"], "argument --style: there is no 'plane'; did you mean 'plain'?"),
    ],
)
def test_a_wrong_flag_or_choice_is_one_sentence_with_the_nearest(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(*argv, capsys=capsys)
    assert told == f"error: {sentence} (faceparse {argv[0]} --help explains)\n"


def test_beginnings_of_flags_and_texts_with_dashes_are_no_mistakes() -> None:
    assert parse_models(["--enc", "resnet18", "--siz=64"]).size == 64
    words = ["--faces_dir", "a", "--masks_dir", "b", "--weights_dir", "c", "--data_note", "--from me to you"]
    assert import_module("faceparse.commands.train").parse_args(words).data_note == "--from me to you"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: predictor.label_set("celebmask"), "no label set 'celebmask'; did you mean 'celebamask'?"),
        (lambda: CELEBAMASK.id("hiar"), "has no class 'hiar'; did you mean 'hair'?"),
        (lambda: losses.create_loss("ce+0.5*dise"), "loss 'ce\\+0.5\\*dise': there is no 'dise'; did you mean 'dice'?"),
        (lambda: checkpoint.load("persn"), "persn: no such weights file, .*; did you mean 'person'?"),
    ],
)
def test_names_of_the_library_are_told_the_nearest(call: object, sentence: str) -> None:
    assert callable(call)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        call()


# pictures by position, stdin and stdout


def test_pictures_may_be_named_without_a_flag(tmp_path: Path, answered: LabelSet) -> None:
    for name in "abc":
        half(tmp_path / f"{name}.png")
    words = [str(tmp_path / "a.png"), "--save_path", str(tmp_path / "out"), "--images_path", str(tmp_path / "b.png")]
    assert segment.main(words) == 0
    assert segment.main(["--save_path", str(tmp_path / "out"), str(tmp_path / "c.png")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_picture_on_stdin_becomes_its_mask_on_stdout(
    tmp_path: Path, answered: LabelSet, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    half(tmp_path / "a.png")
    assert segment.main([str(tmp_path / "a.png"), "--save_path", str(tmp_path / "out"), "--quiet"]) == 0
    assert capfdbinary.readouterr() == (b"", b"")
    piped(monkeypatch, (tmp_path / "a.png").read_bytes())
    assert segment.main(["-"]) == 0
    assert capfdbinary.readouterr() == ((tmp_path / "out/a.png").read_bytes(), b"")
    mask = images.read_mask(tmp_path / "out/a.png")
    assert mask.shape == (30, 40)
    assert set(np.unique(mask[:, 24:])) == {255 if answered is FACE else 18}


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_a_broken_picture_on_stdin_is_one_sentence(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, data)
    assert segment.main(["-"]) == 1
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "error: stdin: cannot be read as a picture (not a picture of a known format)\n"


@pytest.mark.parametrize(
    ("argv", "mend"),
    [
        (["-", "--save_path", "out"], "leave out --save_path"),
        (["-", "--overlay", "--json"], "leave out --overlay, --json"),
        (["-", "a.jpg"], "leave out the other pictures"),
        (["a.jpg"], "--save_path is missing"),
        ([], "name the pictures"),
        (["a.jpg", "--save_path", "out", "--quiet", "--verbose"], "either --quiet or --verbose"),
    ],
)
def test_what_does_not_go_together_is_told(argv: list[str], mend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mend in refused("segment", *argv, capsys=capsys)


# quiet, verbose, JSON


def test_quiet_leaves_errors_alone(tmp_path: Path, answered: LabelSet, capsys: pytest.CaptureFixture[str]) -> None:
    half(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert segment.main([str(tmp_path), "--save_path", str(tmp_path / "out"), "--quiet"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (
        printed.err == f"error: {tmp_path / 'b.png'}: cannot be read as a picture (not a picture of a known format)\n"
    )


def test_only_whole_lines_that_begin_with_error_pass() -> None:
    stream = io.StringIO()
    quiet = OnlyErrors(stream)
    for text in ("\r 10%", "\r 90%", "\r     \r", "error: a", " is bad", "\n", "told\nno error: b\n", "error: c"):
        quiet.write(text)
    assert stream.getvalue() == "error: a is bad\n"


def test_verbose_names_every_mask_and_draws_no_bar(
    tmp_path: Path, answered: LabelSet, capsys: pytest.CaptureFixture[str]
) -> None:
    half(tmp_path / "a.png")
    assert segment.main([str(tmp_path), "--save_path", str(tmp_path / "out"), "--verbose"]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{tmp_path / 'a.png'} -> {tmp_path / 'out/a.png'}"
    assert second.startswith("1 mask in")


def test_a_summary_is_one_json_object_on_stdout(
    tmp_path: Path, answered: LabelSet, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    half(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 255 if answered is FACE else 18
    images.write_mask(tmp_path / "truth/a.png", truth)
    words = [str(tmp_path / "in"), "--save_path", str(tmp_path / "out"), "--masks_path", str(tmp_path / "truth")]
    assert segment.main([*words, "--json", "--quiet"]) == 1
    made = json.loads(capsys.readouterr().out)
    assert made.pop("seconds") > 0
    assert made.pop("scores") == json.loads((tmp_path / "out/scores.json").read_text())
    assert made == {
        "masks": {str(tmp_path / "in/a.png"): str(tmp_path / "out/a.png")},
        "videos": {},
        "problems": [f"{tmp_path / 'in/b.png'}: cannot be read as a picture (not a picture of a known format)"],
        "labels": answered.name,
        "device": "cpu",
    }


def test_a_training_is_summed_up_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        rgb, ids = draw_face(i, 64)
        images.write_rgb(tmp_path / f"faces/{i}.jpg", rgb)
        images.write_mask(tmp_path / f"masks/{i}.png", FACE.table[ids] * 255)
    words = f"--faces_dir {tmp_path}/faces --masks_dir {tmp_path}/masks --weights_dir {tmp_path}/run --epochs 2 "
    words += "--encoder test_resnet.r160_in1k --widths 64 32 --size 64 --batch_size 2 --workers 0 --device cpu"
    assert train([*shlex.split(words), "--val_share", "0.5", "--json", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    made = json.loads(printed.out)
    assert made["weights"] == str(tmp_path / "run/best.safetensors")
    assert (made["last"]["epoch"], made["exported"], made["device"]) == (2, [], "cpu")
    assert 0 <= made["best_val_iou"] <= 1
    assert cli.main(["plot", str(tmp_path / "run"), "--out", str(tmp_path / "plot.png")]) == 0
    drawn = images.read_rgb(tmp_path / "plot.png")
    assert np.array_equal(drawn, images.read_rgb(tmp_path / "run/curves.png"))


def test_what_is_wrong_is_one_sentence_in_quiet_too(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(args: object) -> int:
        raise ValueError("a.png is bad")

    assert finish(fail, import_module(COMMANDS["segment"].module).parse_args(["-", "--quiet"])) == 1
    assert capsys.readouterr().err == "error: a.png is bad\n"


# completion


def completed(line: str) -> list[str]:
    """What bash offers for the last word of a line, the empty one after a blank."""
    words = line.split(" ")
    ask = 'eval "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _faceparse; echo "${COMPREPLY[@]}"'
    script = subprocess.run(
        [sys.executable, "-m", "faceparse", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    return subprocess.run(
        ["bash", "-c", ask, script, *words], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("faceparse s", ["segment", "split", "show"]),
        ("faceparse test --sa", ["--save_path"]),
        ("faceparse train --weights_dir a --arch deep", ["deeplabv3", "deeplabv3plus"]),
        ("faceparse segment --labels ha", ["hair"]),
        ("faceparse completion ", ["bash", "zsh"]),
        ("faceparse completion -", ["--help"]),
        ("faceparse segment ph", []),  # file names, which the shell adds
    ],
)
def test_bash_completes_commands_flags_and_names(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


@pytest.mark.parametrize("shell", completion.START)
def test_a_completion_knows_every_command_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main([shell]) == 0
    script = capsys.readouterr().out
    for name in [*COMMANDS, *ALIASES]:
        assert f"*:{name}:*:-*) words='--help" in script
