"""The label tables, spelled out once more: the one place where a second copy is the point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceparse.labels import (
    CELEBAMASK,
    FACE,
    FACE_WITH_GLASSES,
    HAIR,
    IGNORE,
    LABEL_SETS,
    PAINT_ORDER,
    PERSON,
    LabelSet,
    face_of,
    holds_ids,
    label_set,
)

NAMES = (
    "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip "
    "hair hat ear_r neck_l neck cloth"
)


def test_the_nineteen_ids_are_in_the_order_of_the_data_sets_authors() -> None:
    assert CELEBAMASK.classes == tuple(NAMES.split())
    assert [CELEBAMASK.id(name) for name in ("background", "skin", "hair", "cloth")] == [0, 1, 13, 18]
    assert len(CELEBAMASK) == 19


def test_parts_are_painted_in_the_order_of_their_ids() -> None:
    assert CELEBAMASK.classes[1:] == PAINT_ORDER


def test_a_flip_swaps_eyes_brows_and_ears_and_nothing_else() -> None:
    swapped = np.arange(256)
    swapped[[4, 5, 6, 7, 8, 9]] = [5, 4, 7, 6, 9, 8]
    assert CELEBAMASK.mirror_table.tolist() == swapped.tolist()
    assert FACE.mirror_table.tolist() == list(range(256))


def test_flipping_twice_changes_nothing() -> None:
    table = CELEBAMASK.mirror_table
    assert table[table].tolist() == list(range(256))


def test_face_is_skin_nose_eyes_brows_ears_mouth_and_lips() -> None:
    assert np.flatnonzero(FACE.table == 1).tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_face_with_glasses_is_the_face_and_its_glasses() -> None:
    assert np.flatnonzero(FACE_WITH_GLASSES.table == 1).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_hair_is_hair_alone() -> None:
    assert np.flatnonzero(HAIR.table == 1).tolist() == [13]


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=lambda labels: labels.name)
def test_ignored_pixels_stay_ignored_and_ids_stay_in_range(labels: LabelSet) -> None:
    assert labels.table.dtype == labels.mirror_table.dtype == np.uint8
    assert labels.table[IGNORE] == labels.mirror_table[IGNORE] == IGNORE == 255
    assert labels.table[:IGNORE].max() == len(labels) - 1


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=lambda labels: labels.name)
def test_every_class_has_a_colour_of_its_own_and_background_is_black(labels: LabelSet) -> None:
    assert len(set(labels.colours)) == len(labels.colours) == len(labels)
    assert labels.colours[0] == (0, 0, 0)


def test_a_set_of_its_own_keeps_its_ids_and_turns_unknown_ones_into_background() -> None:
    assert CELEBAMASK.table[:20].tolist() == [*range(19), 0]


def test_only_two_classes_are_written_as_0_and_255() -> None:
    assert [labels.is_binary for labels in (FACE, HAIR, PERSON, CELEBAMASK)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("values", "name", "ids"),
    [
        ([0, 255], "0.png", False),
        ([255, 255], "0.png", False),
        ([0, 0], "0.png", True),
        ([0, 1], "0.png", True),
        ([0, 1, 13, 255], "0.png", True),  # 255 is ignored
        ([0, 3, 120, 250], "0.png", True),  # out of range, which is for the reader to tell
        ([0, 1, 13], "0.JPG", False),
        ([0, 3, 250, 255], "0.jpeg", False),
    ],
)
def test_a_mask_is_0_255_when_it_is_a_jpeg_or_holds_255_and_at_most_0_beside(
    values: list[int], name: str, ids: bool
) -> None:
    assert holds_ids(np.array([values], np.uint8), Path(name)) is ids


def test_the_face_is_some_of_the_ids_or_what_is_brighter_than_127() -> None:
    ids = np.array([[0, 1, 2, 3, 13, 255]], np.uint8)
    assert face_of(ids, ids=True).tolist() == [[False, True, True, False, False, False]]
    assert face_of(np.array([[0, 3, 127, 128, 255]], np.uint8), ids=False).tolist() == [[False] * 3 + [True] * 2]


def test_label_sets_are_found_by_their_own_names() -> None:
    assert all(labels.name == name for name, labels in LABEL_SETS.items())
    assert set(LABEL_SETS) == {"face", "face_with_glasses", "hair", "celebamask", "person"}


def test_a_group_makes_its_members_class_1() -> None:
    eyes = CELEBAMASK.group("eyes", (1, 2, 3), ("l_eye", "r_eye"))
    assert eyes.classes == ("background", "eyes")
    assert eyes.table[[0, 1, 4, 5, 6, 255]].tolist() == [0, 0, 1, 1, 0, 255]


@pytest.mark.parametrize("names", [[], ["background"], ["hair", "background"]])
def test_the_background_is_no_class_to_ask_for(names: list[str]) -> None:
    with pytest.raises(ValueError, match="name one or more classes but the background out of: skin, nose"):
        CELEBAMASK.of_classes(names)


def test_an_unknown_class_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"label set 'hair' has no class 'beard'; choose from: background, hair"):
        HAIR.id("beard")
    with pytest.raises(ValueError, match="no class 'beard'"):
        CELEBAMASK.group("men", (1, 2, 3), ("beard",)).table  # noqa: B018


def test_a_set_of_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pets.json"
    path.write_text('{"classes": ["background", "cat", "left", "right"], "mirrors": [["left", "right"]]}')
    pets = label_set(str(path))
    assert (pets.name, pets.classes, len(set(pets.colours))) == ("pets", ("background", "cat", "left", "right"), 4)
    assert pets.mirror_table[:4].tolist() == [0, 1, 3, 2] and pets.table[:5].tolist() == [0, 1, 2, 3, 0]
    assert label_set("hair") == HAIR


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no json", "not a label set; it holds"),
        ("[1, 2]", "not a label set; it holds"),
        ('{"name": "x"}', "not a label set; it holds"),
        ('{"classes": ["background"]}', "2 to 255 different names"),
        ('{"classes": ["a", "b", "a"]}', "2 to 255 different names"),
        ('{"classes": ["a", "b"], "colours": [[0, 0, 0]]}', "one for every class"),
        ('{"classes": ["a", "b"], "colours": [[0, 0, 0], [0, 0, 300]]}', "each 0 to 255"),
        ('{"classes": "ab"}', "2 to 255 different names"),
        ('{"classes": ["a", "b"], "colours": [[[0], 0, 0], [0, 0, 1]]}', "each 0 to 255"),
        ('{"classes": ["a", "b"], "mirrors": [["a", "c"]]}', "mirrors are pairs of its classes"),
        ('{"classes": ["a", "b"], "mirrors": [[["a"], "b"]]}', "mirrors are pairs of its classes"),
        ('{"classes": ["a", "b", "c"], "mirrors": [["a", "b"], ["b", "c"]]}', "each class in one pair"),
        ('{"classes": ["a", "\\udcff"]}', "characters of Unicode"),
        ('{"name": "hair", "classes": ["background", "hair"]}', 'is a set of the package; give "name" another'),
    ],
)
def test_a_file_that_is_no_label_set_is_named_with_the_mend(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine.json") as error:
        label_set(str(path))
    assert fault in str(error.value)


def test_a_label_set_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json: can't be read \(No such file"):
        label_set("nowhere.json")
    with pytest.raises(ValueError, match="no label set 'nose'; choose from: face, face_with_glasses"):
        label_set("nose")
