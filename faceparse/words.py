"""What to say about a word that is none of those expected, about many names, and about a package that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ALIKE = 0.65  # "fpm" is taken for "fpn"; "beard" is not for "ear_r"


def hint(word: str, choices: Iterable[str], otherwise: str | None = None) -> str:
    """The end of a sentence about a wrong word: the nearest right one; where none is near, `otherwise`, or all."""
    names = list(choices)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=_ALIKE)
    return f"did you mean {near[0]!r}?" if near else otherwise or f"choose from: {', '.join(names)}"


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first names in order, and how many more there are: "a, b and 3 more"."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more


def not_installed(extra: str, package: str) -> str:
    """The end of a sentence about a missing package; no index has faceparse, so an extra needs the folder of it."""
    return f"which is not installed: pip install '.[{extra}]' in the folder of faceparse, or pip install {package}"
