"""The photos that come with the code, and the sheet of them in the docs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from faceparse import images
from tests.conftest import needs_letters

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = images.list_images(ROOT / "examples")


def test_every_photo_has_its_row_of_source_and_terms_and_is_small() -> None:
    table = (ROOT / "examples" / "README.md").read_text()
    assert re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE) == [path.name for path in PHOTOS]
    assert all(path.stat().st_size < 100_000 for path in PHOTOS)


@needs_letters
@pytest.mark.parametrize("sheet", ["gallery", "things"])
def test_a_sheet_in_the_docs_is_what_the_bundled_weights_make_of_the_photos(sheet: str, tmp_path: Path) -> None:
    """Where weights or photos are replaced: make gallery, and look at what examples/README.md says of it."""
    kept = ROOT / "docs" / f"{sheet}.jpg"
    assert kept.stat().st_size < 300_000
    runpy.run_path(str(ROOT / "examples" / f"{sheet}.py"))["main"]([str(tmp_path / "made.jpg")])
    made, shown = (images.read_rgb(path).astype(int) for path in (tmp_path / "made.jpg", kept))
    assert made.shape == shown.shape
    assert (np.abs(made - shown).max(axis=2) < 40).mean() > 0.995
