"""The code behind the scripts and the `faceparse` command: parse, then do; heavy imports come after `--help`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from faceparse.distributed import rank
from faceparse.words import hint


class Command(NamedTuple):
    """A sub-command: the module whose `main(argv)` does it, what it does, and a line to type."""

    module: str
    what: str
    example: str


COMMANDS: dict[str, Command] = {
    "segment": Command(
        "faceparse.commands.test",
        "photos, videos -> masks; scores against true masks (test.py)",
        "faceparse segment photos --save_path masks --overlay",
    ),
    "train": Command(
        "faceparse.commands.train",
        "pictures and masks -> weights (train.py)",
        "faceparse train --faces_dir faces --masks_dir masks --weights_dir runs/mine",
    ),
    "preprocess": Command(
        "faceparse.commands.preprocess",
        "CelebAMask-HQ or cut-outs -> masks (preprocess_data.py)",
        "faceparse preprocess --masks_parts CelebAMask-HQ/CelebAMask-HQ-mask-anno --output_mask masks",
    ),
    "check-data": Command(
        "faceparse.commands.check_data",
        "faults of pictures and masks, copies across a split",
        "faceparse check-data --faces_dir faces --masks_dir masks --split split.csv",
    ),
    "split": Command(
        "faceparse.commands.split",
        "which pictures are for training, validation and test",
        "faceparse split split.csv --faces_dir faces --sizes 3375/375/250",
    ),
    "demo": Command(
        "faceparse.commands.demo",
        "a page in the browser: drop a photo, save what is cut out",
        "faceparse demo --open",
    ),
    "show": Command(
        "faceparse.commands.show",
        "a mask over its picture, with the names of the classes",
        "faceparse show photo.jpg masks/photo.png --out shown.png",
    ),
    "plot": Command(
        "faceparse.commands.plot",
        "the curves of one or several trainings in one picture",
        "faceparse plot runs/exp1 runs/exp2 --out curves.png",
    ),
    "models": Command(
        "faceparse.commands.models",
        "every architecture: parameters, cost, strides, paper",
        "faceparse models --encoder resnet18 convnext_atto --size 512",
    ),
    "convert": Command(
        "faceparse.commands.convert",
        "weights of smp or torchvision -> weights for here",
        "faceparse convert unet.pth unet.safetensors --from smp --arch unet --encoder resnet34 --labels face",
    ),
    "export": Command(
        "faceparse.commands.export",
        "weights -> ONNX or TorchScript that answers as they do",
        "faceparse export runs/mine/best.safetensors --format onnx",
    ),
    "hands": Command(
        "hand_generator.__main__",
        "hands pasted over faces (python -m hand_generator)",
        "faceparse hands --faces_dir faces --masks_dir masks --hands_dir hands --fahand_dir fahand --mahand_dir mahand",
    ),
    "completion": Command(
        "faceparse.commands.completion",
        "a script that completes all this in bash or zsh",
        'eval "$(faceparse completion bash)"',
    ),
}
"""Sub-command -> what is to be known of it."""

ALIASES = {"test": "segment", "preprocess_data": "preprocess", "hand_generator": "hands"}
"""The scripts' names, where they differ -> sub-command."""


class ShowDefaults(argparse.HelpFormatter):
    """Ends a flag's help with its default, where there is one and the help does not name it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, False, "", [], argparse.SUPPRESS) or "default" in (action.help or "")
        if silent:
            return action.help
        many = isinstance(action.default, list | tuple)
        return f"{action.help} (default: {' '.join(map(str, action.default)) if many else '%(default)s'})"


class Parser(argparse.ArgumentParser):
    """The arguments of a sub-command; its help ends with an example, and a wrong word is told the nearest right one."""

    def __init__(self, command: str, description: str):
        super().__init__(prog=f"faceparse {command}", description=description, formatter_class=ShowDefaults)
        self.command = command

    @property
    def actions(self) -> list[argparse.Action]:
        """All that may be given, in the order of the help."""
        return self._actions

    def flags(self) -> list[str]:
        """Every flag by its long name."""
        return [name for action in self.actions for name in action.option_strings if name.startswith("--")]

    def format_help(self) -> str:
        """As argparse has it, and the example, in one line however long: it is to be copied."""
        return f"{super().format_help()}\nexample: {COMMANDS[self.command].example}\n"

    def error(self, message: str) -> NoReturn:
        """One sentence, not a screen of flags before it; status 2."""
        self.exit(2, f"error: {message} ({self.prog} --help explains)\n")

    def read(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The arguments as a namespace; what can't be understood ends the program with status 2."""
        flags = self.flags()
        for word in takewhile(lambda word: word != "--", sys.argv[1:] if argv is None else argv):
            name = word.partition("=")[0]
            unknown = not any(flag.startswith(name) for flag in flags)  # their beginnings do as well
            if name.startswith("--") and " " not in name and unknown:
                self.error(f"there is no flag {name}; {hint(name, flags)}")
        return self.parse_args(argv)

    def add_summary_flags(self) -> None:
        """`--quiet`, which `finish` sees to, and `--json`, for what is said on the way and in the end."""
        self.add_argument("--quiet", action="store_true", help="no progress: only errors on stderr (default: off)")
        summary = "what was made, as one JSON object on stdout (default: off)"
        self.add_argument("--json", action="store_true", help=summary)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"there is no {value!r}; {hint(str(value), map(str, action.choices))}")


def whole_from(least: int) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least`."""

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return whole_number


def png_file(text: str) -> Path:
    """An argparse type: the path of a PNG."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png, got {text!r}")
    return Path(text)


class OnlyErrors(io.TextIOBase):
    """A stream that hands on the lines beginning with "error: " and drops all else, bars that redraw themselves too."""

    def __init__(self, stream: TextIO):
        self.stream, self.line = stream, ""

    def write(self, text: str) -> int:
        """Take any text; a line is judged when it ends."""
        *lines, last = (line.rpartition("\r")[2] for line in (self.line + text).split("\n"))
        self.line = last
        self.stream.writelines(f"{line}\n" for line in lines if line.startswith("error: "))
        return len(text)


def finish(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The exit status of `run(args)`; what a user can mend is one sentence on stderr and status 1.

    Of several processes that torchrun started only the first is heard, and the others where they fail or are `verbose`.
    """
    told = vars(args)
    quiet = told.get("quiet", False) or (rank() > 0 and not told.get("verbose", False))
    try:
        with redirect_stderr(OnlyErrors(sys.stderr)) if quiet else nullcontext():
            return run(args)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
