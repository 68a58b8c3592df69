"""The `faceparse` command: the first word chooses a row of `COMMANDS`, the rest are that command's own arguments."""

from __future__ import annotations

import sys
from importlib import import_module

from faceparse.commands import ALIASES, COMMANDS
from faceparse.words import hint


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
        print(f"error: unknown command {name!r}; {hint(name, [*COMMANDS, *ALIASES])}", file=sys.stderr)
        return 2
    return import_module(COMMANDS[name].module).main(rest)


def overview() -> str:
    """What `faceparse --help` prints; it fits a screen of 80 by 24."""
    rows = "\n".join(f"  {name:<12}{command.what}" for name, command in COMMANDS.items())
    return (
        "usage: faceparse COMMAND [options]\n\n"
        f"commands:\n{rows}\n\n"
        f"example: {COMMANDS['segment'].example}\n\n"
        "faceparse COMMAND --help explains one; faceparse --version tells the version.\n"
        f"The scripts' names work as well: {', '.join(ALIASES)}."
    )
