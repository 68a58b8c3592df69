"""What the network reads, and what augmentation may and may not do to a pair."""

from __future__ import annotations

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
