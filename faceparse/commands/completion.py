"""A script that lets a shell complete the `faceparse` command, made from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib import import_module

from faceparse.bundled import BEST_FOR
from faceparse.commands import ALIASES, COMMANDS, Parser, finish
from faceparse.labels import LABEL_SETS

NAMES = {"--labels": list(LABEL_SETS), "--weights_path": sorted(set(BEST_FOR.values()))}
"""Flags that take a file or one of these names."""

START = {"bash": "", "zsh": "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"}
"""Shell -> what comes before the script; zsh runs that of bash."""

SCRIPT = """\
_faceparse() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    case $COMP_CWORD:${{COMP_WORDS[1]}}:$before:$word in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _faceparse faceparse
"""
"""Where nothing of ours fits, the shell completes file names."""


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "completion",
        "Print a script that completes commands, flags and names. With the line below in ~/.bashrc (or, with zsh for "
        "bash, in ~/.zshrc) every new shell has it.",
    )
    parser.add_argument("shell", choices=tuple(START), help="the shell that is to read it")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the script."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Ask every command for what it takes."""
    cases = [case("1:*", [*COMMANDS, *ALIASES, "--help", "--version"])]
    for name, command in COMMANDS.items():
        parser = import_module(command.module).create_parser()
        for word in (name, *(alias for alias, meant in ALIASES.items() if meant == name)):
            cases.append(case(f"*:{word}:*:-*", parser.flags()))
            for action in parser.actions:
                flags = action.option_strings or ["*"]
                names = action.choices or [one for flag in flags for one in NAMES.get(flag, [])]
                cases += [case(f"*:{word}:{flag}:*", names) for flag in flags if names]
    print(START[args.shell] + SCRIPT.format(cases="\n".join(cases)), end="")
    return 0


def case(pattern: str, words: Iterable[object]) -> str:
    """What may follow: a line of the script's `case`, for the word's number, the command, the word before, the word."""
    return f"        {pattern}) words='{' '.join(map(str, words))}' ;;"
