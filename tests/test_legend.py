"""The legend beside an overlay names what is in the mask and leaves the picture as it is."""

from __future__ import annotations

import numpy as np
import pytest

from faceparse.labels import CELEBAMASK
from faceparse.legend import add_legend


@pytest.mark.parametrize("hw", [(300, 200), (20, 500), (1, 1)])
def test_a_legend_stands_beside_the_untouched_picture_in_the_colours_of_its_classes(hw: tuple[int, int]) -> None:
    view, mask = np.full((*hw, 3), 90, np.uint8), np.zeros(hw, np.uint8)
    mask[0, 0] = CELEBAMASK.id("hair")
    both = add_legend(view, mask, CELEBAMASK)
    assert (both[: hw[0], : hw[1]] == 90).all()
    column = both[:, hw[1] :].reshape(-1, 3)
    hair, skin = (np.array(CELEBAMASK.colours[CELEBAMASK.id(name)]) for name in ("hair", "skin"))
    assert (column == hair).all(axis=1).any() and not (column == skin).all(axis=1).any()


def test_all_classes_have_room_beside_a_low_picture() -> None:
    mask = np.arange(19, dtype=np.uint8)[None]
    both = add_legend(np.zeros((1, 19, 3), np.uint8), mask, CELEBAMASK)
    colours = {tuple(c) for c in both.reshape(-1, 3).tolist()}
    assert set(CELEBAMASK.colours[1:]) <= colours


def test_a_mask_without_any_class_needs_no_legend() -> None:
    view = np.zeros((10, 10, 3), np.uint8)
    assert add_legend(view, np.zeros((10, 10), np.uint8), CELEBAMASK) is view
