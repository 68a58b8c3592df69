"""Masks of faces, hair and portraits out of photos.

    import faceparse

    predictor = faceparse.load()        # the bundled weights
    mask = predictor("photo.jpg")       # uint8 (H, W): 255 where the face is

Importing this package imports nothing else: each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceparse.labels import LABEL_SETS, LabelSet
    from faceparse.models import ARCHITECTURES, create_model
    from faceparse.predictor import Predictor, load

    __version__: str

__all__ = ["ARCHITECTURES", "LABEL_SETS", "LabelSet", "Predictor", "__version__", "create_model", "load"]

_HOMES = {
    "ARCHITECTURES": "faceparse.models",
    "LABEL_SETS": "faceparse.labels",
    "LabelSet": "faceparse.labels",
    "Predictor": "faceparse.predictor",
    "create_model": "faceparse.models",
    "load": "faceparse.predictor",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _installed_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'faceparse' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    """The version that setup.py gave the installed package; it is written nowhere else."""
    from importlib import metadata

    try:
        return metadata.version("faceparse")
    except metadata.PackageNotFoundError:
        return "0 (a checkout that is not installed)"
