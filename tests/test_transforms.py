"""What the network reads, and what augmentation may and may not do to a pair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from faceparse.labels import CELEBAMASK, FACE, IGNORE, PERSON
from faceparse.transforms import MAX_SIZE, Augment, Preprocess, flip, letterbox, resize
from tests.conftest import draw_face

STILL = {
    "flip": 0.0, "rotation": 0.0, "scale": (1.0, 1.0), "shift": 0.0, "brightness": 0.0, "contrast": 0.0,
    "saturation": 0.0, "tint": 0.0, "grey": 0.0, "blur": 0.0, "jpeg": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("picture", "network"),
    [
        ((512, 512), (256, 256)),
        ((480, 640), (192, 256)),
        ((3000, 40), (256, 32)),
        ((1, 1), (256, 256)),
        ((100, 50), (256, 128)),
    ],
)
def test_the_longer_side_becomes_the_networks_and_none_is_under_32(
    picture: tuple[int, int], network: tuple[int, int]
) -> None:
    preprocess = Preprocess(256, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert preprocess.network_hw(*picture) == network
    assert preprocess(np.zeros((*picture, 3), np.uint8)).shape == (3, *network)


@pytest.mark.parametrize("size", [0, -1, MAX_SIZE + 1, 10**9])
def test_a_size_that_would_take_all_memory_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"size {size}: pictures are seen at 1 to 4096 pixels"):
        Preprocess(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_normalising_is_value_over_255_minus_mean_over_std_and_can_be_undone() -> None:
    preprocess = Preprocess(32, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    image = np.tile(np.array([255, 0, 51], np.uint8), (32, 32, 1))
    pixels = preprocess(image)
    assert pixels[:, 0, 0].tolist() == pytest.approx([1.0, -1.0, 0.2])
    assert np.array_equal(preprocess.undo(pixels), image)


def test_a_flip_swaps_left_and_right_eye() -> None:
    mask = np.array([[CELEBAMASK.id("l_eye"), 0, CELEBAMASK.id("r_eye"), CELEBAMASK.id("nose"), IGNORE]], np.uint8)
    image = np.arange(15, dtype=np.uint8).reshape(1, 5, 3)
    flipped_image, flipped = flip(image, mask, CELEBAMASK)
    assert flipped.tolist() == [[IGNORE, CELEBAMASK.id("nose"), CELEBAMASK.id("l_eye"), 0, CELEBAMASK.id("r_eye")]]
    assert np.array_equal(flipped_image, image[:, ::-1])
    twice = flip(flipped_image, flipped, CELEBAMASK)
    assert np.array_equal(twice[0], image) and np.array_equal(twice[1], mask)


def test_augmentation_invents_no_class_and_keeps_picture_and_mask_together() -> None:
    image, ids = draw_face(3, 128)
    image = np.where(ids[..., None] == CELEBAMASK.id("skin"), (255, 0, 0), (0, 0, 255)).astype(np.uint8)  # skin is red
    augment = Augment(96, **(STILL | {"flip": 0.5, "rotation": 25.0, "scale": (0.6, 1.6), "shift": 0.15}))
    for seed in range(20):
        moved, mask = augment(image, ids, CELEBAMASK, np.random.default_rng(seed))
        assert moved.shape == (96, 96, 3) and mask.shape == (96, 96)
        assert set(np.unique(mask)) <= set(np.unique(ids)) | {0, *CELEBAMASK.mirror_table[np.unique(ids)]}
        red = (moved[..., 0] > 128) & (moved[..., 2] < 128)
        skin = mask == CELEBAMASK.id("skin")
        inside = mask > 0
        if skin.sum() > 200:
            assert (red & skin).sum() > 0.9 * skin.sum()
            assert (red & inside).sum() < 1.15 * skin.sum()


def test_augmentation_at_rest_changes_nothing() -> None:
    image, ids = draw_face(3, 96)
    out, mask = Augment(96, **STILL)(image, ids, CELEBAMASK, np.random.default_rng(0))
    assert np.array_equal(mask, ids)
    assert np.abs(out.astype(int) - image).max() <= 1


def test_a_turn_is_that_of_picture_and_mask_by_up_to_the_angle_that_is_given() -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[58:70, 14:114] = CELEBAMASK.id("hair")  # a bar across the middle
    within = cv2.circle(np.zeros((128, 128), np.uint8), (64, 64), 60, 1, -1) > 0  # nothing comes in from beyond there
    angles = []
    for seed in range(20):
        augment = Augment(128, **STILL | {"rotation": 30.0})
        picture, turned = augment(mask[..., None].repeat(3, 2) * 10, mask, CELEBAMASK, np.random.default_rng(seed))
        assert ((picture[..., 0] > 65) == (turned > 0))[within].mean() > 0.99
        y, x = np.nonzero(turned)
        angles.append(np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))
    assert -30.5 < min(angles) < -20 and 20 < max(angles) < 30.5


COLOURS = {
    "brightness": 0.3, "contrast": 0.3, "saturation": 0.4, "tint": 0.1, "grey": 1.0, "blur": 1.0, "jpeg": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("change", COLOURS)
def test_each_change_of_colour_is_one_of_the_picture_alone(change: str) -> None:
    image, ids = draw_face(3, 96)
    for seed in range(5):
        augment = Augment(96, **STILL | {change: COLOURS[change]})
        changed, mask = augment(image, ids, CELEBAMASK, np.random.default_rng(seed))
        assert np.array_equal(mask, ids)
        assert changed.dtype == np.uint8 and (changed != image).any(axis=2).mean() > 0.4


def recoloured(pixels: list[list[int]], change: str, seed: int) -> np.ndarray:
    """int64 (pixels, 3): RGB after that change alone."""
    augment = Augment(32, **STILL | {change: COLOURS[change]})
    return augment.recolour(np.array([pixels], np.uint8), np.random.default_rng(seed))[0].astype(int)


def test_no_change_of_colour_is_none() -> None:
    image = draw_face(3, 96)[0]
    assert np.array_equal(Augment(96, **STILL).recolour(image, np.random.default_rng(0)), image)


def test_brightness_adds_the_same_to_all_up_to_its_share_of_128() -> None:
    pixels = [[128, 128, 128], [60, 100, 200], [90, 180, 150]]
    added = [recoloured(pixels, "brightness", seed) - pixels for seed in range(40)]
    assert all(np.ptp(difference) == 0 for difference in added)
    means = [difference.mean() for difference in added]
    assert -39 <= min(means) < -30 and 30 < max(means) <= 38  # 0.3 * 128 = 38.4, rounded down
    for seed in range(40):
        black, white = recoloured([[0, 0, 0], [255, 255, 255]], "brightness", seed)[:, 0]
        assert black == 0 or white == 255  # clipped there, not wrapped round


def test_contrast_moves_all_away_from_128_or_towards_it() -> None:
    gains = []
    for seed in range(40):
        middle, above, below = recoloured([[128] * 3, [178] * 3, [78] * 3], "contrast", seed)[:, 0]
        assert middle == 128 and abs((above - 128) - (128 - below)) <= 1
        gains.append((above - 128) / 50)
    assert 0.68 <= min(gains) < 0.8 and 1.2 < max(gains) <= 1.3


def test_tint_is_a_contrast_of_each_channel() -> None:
    tinted = np.array([recoloured([[128] * 3, [228] * 3], "tint", seed) for seed in range(40)])
    assert (tinted[:, 0] == 128).all()
    assert 217 <= tinted[:, 1].min() < 222 and 234 < tinted[:, 1].max() <= 238  # 128 + 100 * (0.9 to 1.1)
    assert (np.ptp(tinted[:, 1], axis=1) > 0).all()


def test_saturation_moves_a_colour_away_from_its_grey_or_towards_it() -> None:
    shares = []
    for seed in range(40):
        grey, colour = recoloured([[90] * 3, [200, 100, 100]], "saturation", seed)
        assert grey.tolist() == [90] * 3
        share = (colour[0] - 130) / 70  # 0.299 * 200 + 0.701 * 100 = 130
        assert colour[1] == colour[2] == pytest.approx(130 - 30 * share, abs=1)
        shares.append(share)
    assert 0.58 <= min(shares) < 0.75 and 1.25 < max(shares) <= 1.42


def test_grey_is_the_luma() -> None:
    greys = recoloured([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], "grey", 0)
    assert greys.tolist() == [[76] * 3, [150] * 3, [29] * 3, [255] * 3]  # 255 times 0.299, 0.587, 0.114


def test_blur_takes_detail_and_leaves_what_is_even() -> None:
    image = draw_face(3, 96)[0]
    augment = Augment(96, **STILL | {"blur": 1.0})
    for seed in range(5):
        blurred = augment.recolour(image, np.random.default_rng(seed))
        before, after = (cv2.Laplacian(picture, cv2.CV_64F).var() for picture in (image, blurred))
        assert after < 0.8 * before
        assert blurred.mean() == pytest.approx(image.mean(), abs=0.5)
    assert recoloured([[10, 200, 90]] * 9, "blur", 0).tolist() == [[10, 200, 90]] * 9


def test_a_poor_jpeg_is_near_its_picture_and_its_colours_are_in_the_same_order() -> None:
    image = draw_face(3, 96)[0]
    coded = Augment(96, **STILL | {"jpeg": 1.0}).recolour(image, np.random.default_rng(0))
    assert 1 < np.abs(coded.astype(int) - image).mean() < 10
    assert recoloured([[230, 20, 90]] * 16, "jpeg", 0).mean(axis=0) == pytest.approx([230, 20, 90], abs=8)


def test_a_soft_mask_keeps_its_greys_and_gets_new_ones_at_a_turned_edge() -> None:
    image, share = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    share[16:48, 16:48] = 100
    still = Augment(64, **STILL)(image, share, PERSON, np.random.default_rng(0), soft=True)[1]
    assert np.array_equal(still, share)
    turned = Augment(64, **STILL | {"rotation": 45.0})(image, share, PERSON, np.random.default_rng(0), soft=True)[1]
    assert set(np.unique(turned)) > {0, 100} and turned.max() == 100
    assert int(turned.sum()) == pytest.approx(int(share.sum()), rel=0.01)


def test_the_same_seed_gives_the_same_pair() -> None:
    image, ids = draw_face(3, 96)
    first, second, other = (
        Augment(64)(image, FACE.table[ids], FACE, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_letterbox_pads_below_and_to_the_right() -> None:
    image, mask = np.full((10, 20, 3), 9, np.uint8), np.ones((10, 20), np.uint8)
    boxed, ids = letterbox(image, mask, 40, IGNORE)
    assert boxed.shape == (40, 40, 3) and ids.shape == (40, 40)
    assert (ids[:20] == 1).all() and (ids[20:] == IGNORE).all() and (boxed[:20] == 9).all() and (boxed[20:] == 0).all()


def test_resize_averages_when_it_shrinks() -> None:
    board = np.zeros((64, 64, 3), np.uint8)
    board[::2] = 200
    assert np.unique(resize(board, (32, 32))).tolist() == [100]
    assert torch.from_numpy(resize(board, (64, 64))).equal(torch.from_numpy(board))
