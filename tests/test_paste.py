from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from faceparse.labels import CELEBAMASK, FACE
from hand_generator import STYLE_NAMES
from hand_generator import paste as paste_module
from hand_generator.paste import COVER_RANGE, STYLES, Hand, paste_natural, paste_plain

Drawn = tuple[np.ndarray, np.ndarray]
DrawnFace = Callable[[int, int], Drawn]
GREEN = (0, 255, 0)


def draw_hand(colour: tuple[int, int, int] = (200, 150, 120), size: int = 120) -> Hand:
    """A fist with two fingers and a forearm that the lower border cuts, before a green wall."""
    outline = np.zeros((size, size), np.uint8)
    cv2.circle(outline, (size // 2, size // 2), size // 4, 1, -1)
    cv2.line(outline, (size // 2, size // 2), (size // 2, size - 1), 1, size // 4)
    for x in (size * 3 // 8, size * 5 // 8):
        cv2.line(outline, (x, size // 2), (x, size // 8), 1, size // 12)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = GREEN
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    hand = outline > 0
    image[hand] = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)[hand]
    return Hand(image, hand, "drawn")


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(a: paste_module.Pasted, b: paste_module.Pasted) -> bool:
    arrays = ((a.image, b.image), (a.mask, b.mask), (a.hand, b.hand))
    return all(np.array_equal(*pair) for pair in arrays) and (a.angle, a.scale, a.x, a.y) == (
        b.angle,
        b.scale,
        b.x,
        b.y,
    )


def test_style_names_are_the_styles() -> None:
    assert tuple(STYLES) == STYLE_NAMES


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(style: str, drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(0, 128)
    first, second, other = (STYLES[style](image, ids, draw_hand(), rng(seed), 90.0) for seed in (7, 7, 8))
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_pasting_leaves_its_arguments_alone(style: str, drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(0, 128)
    hand = draw_hand()
    before = [array.copy() for array in (image, ids, hand.image, hand.mask)]
    STYLES[style](image, ids, hand, rng(0), 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, (image, ids, hand.image, hand.mask), strict=True))


@pytest.mark.parametrize("style", STYLE_NAMES)
@pytest.mark.parametrize("binary", [True, False])
def test_the_mask_is_zero_under_the_hand_and_as_before_elsewhere(
    style: str, binary: bool, drawn_face: DrawnFace
) -> None:
    image, ids = drawn_face(1, 160)
    mask = np.where(FACE.table[ids] == 1, 255, 0).astype(np.uint8) if binary else ids
    for seed in range(10):
        pasted = STYLES[style](image, mask, draw_hand(), rng(seed), 0.0)
        assert pasted.mask.dtype == np.uint8 and pasted.hand.dtype == bool and pasted.hand.any()
        assert (pasted.mask[pasted.hand] == 0).all()
        assert np.array_equal(pasted.mask[~pasted.hand], mask[~pasted.hand])


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_the_picture_changes_only_at_the_hand_and_its_feather(style: str, drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(2, 160)
    reach = 7 if style == "natural" else 1  # turned by half a pixel, blurred by two, perhaps from outside the picture
    for seed in range(10):
        pasted = STYLES[style](image, ids, draw_hand(), rng(seed), 0.0)
        near = cv2.dilate(pasted.hand.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        assert np.array_equal(pasted.image[~near], image[~near])
        assert (pasted.image[pasted.hand] != image[pasted.hand]).any()


def test_a_natural_hand_has_a_soft_edge_in_the_picture_and_a_plain_one_a_hard_edge() -> None:
    black, face = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8)
    cv2.circle(face, (100, 100), 60, 255, -1)
    white = draw_hand()
    white.image[:] = 255
    plain = paste_plain(black, face, white, rng(0))
    assert set(np.unique(plain.image)) == {0, 255}
    assert np.array_equal(plain.image[..., 0] == 255, plain.hand)
    natural = paste_natural(black, face, white, rng(0))
    assert len(np.unique(natural.image)) > 10
    assert set(np.unique(natural.mask)) == {0, 255}


@pytest.mark.parametrize("seed", range(6))
def test_a_natural_hand_covers_a_part_of_the_face_but_not_all(seed: int, drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(seed, 160)
    face = FACE.table[ids] == 1
    for turn in range(20):
        pasted = paste_natural(image, ids, draw_hand(), rng(100 * seed + turn), face=face)
        cover = np.count_nonzero(face & pasted.hand) / np.count_nonzero(face)
        assert COVER_RANGE[0] <= cover <= COVER_RANGE[1]


def test_a_natural_hand_is_sized_by_the_area_of_the_face(drawn_face: DrawnFace) -> None:
    hand = draw_hand(size=400)
    for seed in range(10):
        image, ids = drawn_face(seed, 160)
        face = FACE.table[ids] == 1
        pasted = paste_natural(image, ids, hand, rng(seed), face=face)
        share = np.count_nonzero(hand.mask) * pasted.scale**2 / np.count_nonzero(face)
        assert 0.35 <= share <= 1.0


def test_face_says_which_ids_are_the_face(drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(0, 160)
    only_eye = ids == CELEBAMASK.id("l_eye")
    for seed in range(5):
        pasted = paste_natural(image, ids, draw_hand(), rng(seed), face=only_eye)
        assert (pasted.hand & only_eye).any()
        assert np.count_nonzero(pasted.hand) <= 1.5 * np.count_nonzero(only_eye)


def test_natural_turns_by_any_angle_and_around_a_given_one(drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(0, 64)
    free = [paste_natural(image, ids, draw_hand(), rng(seed)).angle for seed in range(80)]
    assert {int(angle // 45) for angle in free} == set(range(8))
    given = [paste_natural(image, ids, draw_hand(), rng(seed), 90.0).angle for seed in range(80)]
    assert 45 <= min(given) < 55 and 125 < max(given) <= 135


def test_plain_turns_by_exactly_the_given_angle_and_counter_clockwise() -> None:
    face = np.full((100, 100), 255, np.uint8)
    crop = np.ones((20, 40), bool)
    crop[:10, :20] = False  # the left upper quarter is missing, so after a quarter turn the left lower one is
    pasted = paste_plain(
        np.zeros((100, 100, 3), np.uint8), face, Hand(np.full((20, 40, 3), 9, np.uint8), crop), rng(0), 90.0
    )
    rows, columns = np.nonzero(pasted.hand)
    turned = pasted.hand[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert pasted.angle == 90 and turned.shape == (50, 25)  # the longer side is half of the picture's
    assert not turned[27:, :11].any() and turned[:23].all() and turned[:, 14:].all()


def test_plain_stays_inside_the_picture_at_one_size_wherever_it_falls(drawn_face: DrawnFace) -> None:
    image, ids = drawn_face(0, 128)
    pasted = [paste_plain(image, ids, draw_hand(), rng(seed)) for seed in range(40)]
    assert {p.scale for p in pasted} == {pasted[0].scale}
    assert len({np.count_nonzero(p.hand) for p in pasted}) == 1
    assert len({(p.x, p.y) for p in pasted}) > 30
    assert all(p.x >= 0 and p.y >= 0 for p in pasted)


@pytest.mark.parametrize(
    ("chance", "least", "most"), [({}, 35, 65), ({"recolour": 0.0}, 0, 0), ({"recolour": 1.0}, 100, 100)]
)
def test_the_colour_moves_toward_the_skin_in_half_of_the_cases_or_as_asked(
    chance: dict[str, float], least: int, most: int
) -> None:
    image, face = np.full((160, 160, 3), (60, 90, 120), np.uint8), np.zeros((160, 160), np.uint8)
    image[:] = (230, 170, 140)
    cv2.circle(face, (80, 80), 50, 255, -1)
    dark = draw_hand((90, 60, 45))
    skin, moved = np.array((230, 170, 140)), 0
    for seed in range(100):
        pasted = paste_natural(image, face, dark, rng(seed), **chance)
        core = cv2.erode(pasted.hand.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        distance = np.linalg.norm(pasted.image[core].mean(axis=0) - skin) / np.linalg.norm(
            np.array((90, 60, 45)) - skin
        )
        moved += distance < 0.7
    assert least <= moved <= most


def test_nothing_of_the_old_background_shines_through_at_the_edge() -> None:
    face = np.full((160, 160), 255, np.uint8)
    grey = np.full((160, 160, 3), 128, np.uint8)
    for seed in range(20):
        changed = paste_natural(grey, face, draw_hand((128, 128, 128)), rng(seed)).image.astype(int)
        greenness = changed[..., 1] - (changed[..., 0] + changed[..., 2]) // 2
        assert greenness.max() < 25  # the wall's is 255


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_no_face_and_no_hand_are_said_in_one_sentence(style: str) -> None:
    image, nothing = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    with pytest.raises(ValueError, match="no face"):
        STYLES[style](image, nothing, draw_hand(), rng(0), 0.0)
    empty = Hand(image, nothing > 0, "left_7")
    with pytest.raises(ValueError, match="'left_7' has an empty mask"):
        STYLES[style](image, nothing + 255, empty, rng(0), 0.0)


@pytest.mark.parametrize("style", STYLE_NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3, 90), (90, 3), (40, 64)])
def test_faces_and_hands_of_any_shape_and_size_work(style: str, size: tuple[int, int]) -> None:
    for hand in (Hand(np.full((1, 1, 3), 9, np.uint8), np.ones((1, 1), bool)), draw_hand(), draw_hand(size=700)):
        mask = np.full(size, 255, np.uint8)
        pasted = STYLES[style](np.zeros((*size, 3), np.uint8), mask, hand, rng(1), 30.0)
        assert pasted.image.shape == (*size, 3) and pasted.mask.shape == pasted.hand.shape == size and pasted.hand.any()
