"""The code behind the scripts and the `faceparse` command: parse, then do; heavy imports come after `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

COMMANDS: dict[str, tuple[str, str]] = {
    "segment": (
        "faceparse.commands.test",
        "photos -> masks at their size, and scores where the truth is given (test.py)",
    ),
    "train": ("faceparse.commands.train", "pictures and masks -> weights (train.py)"),
    "preprocess": (
        "faceparse.commands.preprocess",
        "raw CelebAMask-HQ, or cut-outs -> one mask per picture (preprocess_data.py)",
    ),
    "check-data": ("faceparse.commands.check_data", "faults of pictures and masks, classes, copies across a split"),
    "split": ("faceparse.commands.split", "which pictures are for training, validation and test"),
    "models": ("faceparse.commands.models", "every architecture: parameters, multiply-adds, strides, paper"),
    "convert": (
        "faceparse.commands.convert",
        "weights of segmentation_models_pytorch or torchvision -> weights for here",
    ),
    "export": ("faceparse.commands.export", "weights -> ONNX or TorchScript, kept only if it answers as they do"),
    "hands": ("hand_generator.__main__", "faces and hands -> faces with hands over them (python -m hand_generator)"),
}
"""Sub-command -> module whose `main(argv)` does it, and what it does."""

ALIASES = {"test": "segment", "preprocess_data": "preprocess", "hand_generator": "hands"}
"""The scripts' names, where they differ -> sub-command."""


class ShowDefaults(argparse.HelpFormatter):
    """Ends a flag's help with its default, where there is one and the help does not name it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, False, "", argparse.SUPPRESS) or "default" in (action.help or "")
        return action.help if silent else f"{action.help} (default: %(default)s)"


def whole_from(least: int) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least`."""

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return whole_number


def finish(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The exit status of `run(args)`; what a user can mend is one sentence on stderr and status 1."""
    try:
        return run(args)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
