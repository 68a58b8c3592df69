"""What the README tells people to type can be typed, and the files it shows are there."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from faceparse.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "weights" / "README.md", ROOT / "CONTRIBUTING.md"]
MODULES = {"test.py": "segment", "train.py": "train", "preprocess_data.py": "preprocess", "hand_generator": "hands"}


def commands() -> list[str]:
    """Every command of ours that stands on a line of its own in the docs."""
    lines = [line.strip() for page in PAGES for line in page.read_text().replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"(\.venv/bin/)?faceparse |python (-m hand_generator|\w+\.py) ", line)]


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_docs_parses(line: str) -> None:
    words = shlex.split(line)
    name = words[1] if words[0].endswith("faceparse") else MODULES[words[2] if words[1] == "-m" else words[1]]
    rest = words[3:] if words[1] == "-m" else words[2:]
    import_module(COMMANDS[name][0]).parse_args(rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name + "/" + page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
