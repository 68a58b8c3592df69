"""The `faceparse` command: the first word chooses a row of `COMMANDS`, the rest are that command's own arguments."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

from faceparse.commands import ALIASES, COMMANDS


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; 2 for a command that does not exist."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(overview())
        return 0
    if name == "--version":
        import faceparse

        print(f"faceparse {faceparse.__version__}")
        return 0
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        print(f"error: {unknown(name)}", file=sys.stderr)
        return 2
    module, _ = COMMANDS[name]
    return import_module(module).main(rest)


def overview() -> str:
    """What `faceparse --help` prints."""
    rows = "\n".join(f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: faceparse COMMAND [options]\n\n"
        f"commands:\n{rows}\n\n"
        f"The scripts' names work as well: {', '.join(ALIASES)}.\n"
        "faceparse COMMAND --help lists a command's options; faceparse --version prints the version."
    )


def unknown(name: str) -> str:
    """One sentence about a command that does not exist, with the one that was probably meant."""
    near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(COMMANDS)}"
    return f"unknown command {name!r}; {hint}"
