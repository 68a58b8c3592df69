"""Invariants that must not be lost unseen: each is broken on purpose in a copy, and a test that is named must fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutation:
    """What is broken: in which file, which text, by which other text; and the test that must see it."""

    what: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        "a flip leaves left and right as they are",
        "faceparse/transforms.py",
        "labels.mirror_table[mask[:, ::-1]]",
        "np.ascontiguousarray(mask[:, ::-1])",
        "tests/test_transforms.py::test_a_flip_swaps_left_and_right_eye",
    ),
    Mutation(
        "colours stay as they are",
        "faceparse/transforms.py",
        "return self.recolour(image, rng), mask",
        "return image, mask",
        "tests/test_transforms.py::test_each_change_of_colour_is_one_of_the_picture_alone",
    ),
    Mutation(
        "a turned picture leaves its mask behind",
        "faceparse/transforms.py",
        "cv2.warpAffine(mask, matrix, hw",
        "cv2.warpAffine(mask, np.eye(2, 3), hw",
        "tests/test_transforms.py::test_a_turn_is_that_of_picture_and_mask_by_up_to_the_angle_that_is_given",
    ),
    Mutation(
        "a flip swaps no brows",
        "faceparse/labels.py",
        '("l_brow", "r_brow"), ("l_ear"',
        '("l_ear"',
        "tests/test_labels.py::test_a_flip_swaps_eyes_brows_and_ears_and_nothing_else",
    ),
    Mutation(
        "left and right keep their names in the mirror",
        "faceparse/labels.py",
        "= self.id(right), self.id(left)",
        "= self.id(left), self.id(right)",
        "tests/test_weights.py::test_a_flipped_photos_eyes_brows_and_ears_have_changed_their_names",
    ),
    Mutation(
        "two class ids change places",
        "faceparse/labels.py",
        '    "l_eye": (51, 51, 255),\n    "r_eye": ',
        '    "r_eye": (51, 51, 255),\n    "l_eye": ',
        "tests/test_labels.py::test_the_nineteen_ids_are_in_the_order_of_the_data_sets_authors",
    ),
    Mutation(
        "earlier parts are painted over later ones",
        "faceparse/data/celebamask.py",
        "for name in PAINT_ORDER:",
        "for name in reversed(PAINT_ORDER):",
        "tests/test_preprocess.py::test_later_parts_cover_earlier_ones_in_every_label_set",
    ),
    Mutation(
        "ids are mixed where a mask is made smaller",
        "faceparse/data/celebamask.py",
        "cv2.INTER_NEAREST_EXACT",
        "cv2.INTER_LINEAR",
        "tests/test_preprocess.py::test_photos_and_masks_are_written_at_a_size_into_the_parts_of_a_split",
    ),
    Mutation(
        "a photo is not turned as its EXIF entry says",
        "faceparse/images.py",
        "if _orientation(image) != 1:",
        "if False:",
        "tests/test_images.py::test_a_picture_is_turned_as_its_exif_entry_says",
    ),
    Mutation(
        "red and blue change places in what is written",
        "faceparse/images.py",
        "cv2.cvtColor(image, cv2.COLOR_RGB2BGR)",
        "image",
        "tests/test_images.py::test_a_picture_is_written_in_the_format_of_its_suffix",
    ),
    Mutation(
        "a file is written under its own name",
        "faceparse/images.py",
        "        yield beside\n        os.replace(beside, path)",
        "        yield path",
        "tests/test_images.py::test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it",
    ),
    Mutation(
        "ignored pixels count",
        "faceparse/metrics.py",
        "counts = true != IGNORE",
        "counts, true = true >= 0, np.where(true == IGNORE, 0, true)",
        "tests/test_scoring.py::test_ignored_pixels_do_not_count",
    ),
    Mutation(
        "a mask takes the name of an input",
        "faceparse/commands/places.py",
        "if path_key(path) not in kept and not _is_of_others(path)",
        "if not _is_of_others(path)",
        "tests/test_segment.py::test_inputs_are_never_overwritten",
    ),
    Mutation(
        "a training state may run code",
        "faceparse/checkpoint.py",
        "weights_only=True",
        "weights_only=False",
        "tests/test_checkpoint.py::test_a_training_state_with_code_in_it_is_refused",
    ),
    Mutation(
        "a header of any length is read",
        "faceparse/checkpoint.py",
        "        check_header(path)\n",
        "",
        "tests/test_hostile_weights.py::test_a_header_longer_than_any_is_not_read",
    ),
    Mutation(
        "a resumed training has forgotten its optimiser",
        "faceparse/commands/train.py",
        "            part.load_state_dict(state[name])",
        '            part.load_state_dict(state[name]) if name != "optimizer" else None',
        "tests/test_training.py::test_a_training_stopped_anywhere_ends_with_the_weights_of_an_uninterrupted_one",
    ),
)

by_name = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what.replace(" ", "_"))


@by_name
def test_what_would_be_broken_is_there_once_and_so_is_the_test(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    file, _, name = mutation.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.soak
@by_name
def test_a_broken_invariant_is_seen(mutation: Mutation, tmp_path: Path) -> None:
    for name in ("examples", "faceparse", "hand_generator", "tests", "weights", "pyproject.toml", "setup.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    file = tmp_path / mutation.file
    file.write_text(file.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", mutation.test]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr  # 1: tests ran and failed; anything else is no test
    assert "1 failed" in done.stdout
