"""The weights that come with the package, by name: inside the installed package, or in `weights/` of a checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from faceparse.words import hint

BEST_FOR = {
    "face": "face",
    "face_with_glasses": "celebamask",
    "hair": "celebamask",
    "celebamask": "celebamask",
    "person": "person",
}
"""Label set -> the bundled weights that answer it best; measured, see weights/README.md."""

DEFAULT = "face"
"""What is answered where nobody says what."""


def best_for(labels: str | None = None, classes: Sequence[str] | None = None) -> Path:
    """The bundled weights for a label set, or for chosen classes of CelebAMask-HQ; FileNotFoundError as below."""
    return weights_file(BEST_FOR.get("celebamask" if classes else labels or DEFAULT, DEFAULT))


def weights_file(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of bundled weights by their name ("person"), and any other path as it is.

    Raises FileNotFoundError for a bare word that is neither.
    """
    path = Path(name_or_path)
    if path.is_file() or path.suffix or path.name != os.fspath(name_or_path):
        return path
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / f"{path}.safetensors").is_file():
            return folder / f"{path}.safetensors"
    if path.name in BEST_FOR.values():
        raise FileNotFoundError(f"{path}: the bundled weights are missing; install faceparse anew, or name a file")
    names = sorted(set(BEST_FOR.values()))
    raise FileNotFoundError(f"{path}: no such weights file, and none of the bundled weights; {hint(path.name, names)}")
