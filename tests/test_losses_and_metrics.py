"""Losses and scores against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from faceparse.losses import create_loss, cross_entropy, dice
from faceparse.metrics import Confusion


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """(1, K, 1, N) logits whose softmax gives, pixel by pixel, these probabilities."""
    return torch.tensor(probabilities).log().T[None, :, None]


def target_of(*ids: int) -> torch.Tensor:
    """int64 (1, 1, N)."""
    return torch.tensor(ids)[None, None]


def test_cross_entropy_is_the_mean_negative_log_of_the_true_class() -> None:
    logits = logits_of([[0.5, 0.5], [0.25, 0.75]])
    assert cross_entropy(logits, target_of(0, 1)).item() == pytest.approx((math.log(2) - math.log(0.75)) / 2)


def test_dice_pools_probabilities_of_the_foreground() -> None:
    logits = logits_of([[0.5, 0.5], [0.25, 0.75]])
    # class 1: overlap .75, predicted .5 + .75, true 1 -> 1 - 1.5 / 2.25
    assert dice(logits, target_of(0, 1)).item() == pytest.approx(1 - 1.5 / 2.25)


def test_dice_leaves_out_classes_that_the_truth_lacks() -> None:
    logits = logits_of([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]])
    # class 1 alone: overlap .6, predicted .85, true 1
    assert dice(logits, target_of(0, 1)).item() == pytest.approx(1 - 1.2 / 1.85)
    assert dice(logits, target_of(0, 0)).item() == 0


@pytest.mark.parametrize("name", ["ce", "dice", "ce+0.5*dice"])
def test_ignored_pixels_change_no_loss(name: str) -> None:
    with_ignored = logits_of([[0.5, 0.5], [0.25, 0.75], [0.01, 0.99]])
    without = logits_of([[0.5, 0.5], [0.25, 0.75]])
    loss = create_loss(name)
    assert loss(with_ignored, target_of(0, 1, 255)).item() == pytest.approx(loss(without, target_of(0, 1)).item())
    assert loss(without, target_of(255, 255)).item() == 0


def test_a_sum_weighs_its_terms() -> None:
    logits, target = logits_of([[0.5, 0.5], [0.25, 0.75]]), target_of(0, 1)
    expected = cross_entropy(logits, target) + 0.5 * dice(logits, target)
    assert create_loss("ce + 0.5*dice")(logits, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("spec", ["bce", "ce+", "x*ce", "ce+2*"])
def test_a_loss_that_does_not_exist_is_named_with_the_choices(spec: str) -> None:
    with pytest.raises(ValueError, match="ce, dice"):
        create_loss(spec)


def test_scores_of_a_mask_that_can_be_counted() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [255, 255, 255, 255]])
    prediction = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]])
    scores = Confusion(3)
    scores.add(prediction, truth)
    # face: 3 hit, 1 too many, 1 missed; background: 3 hit, 1 too many, 1 missed; class 2 is nowhere
    assert scores.iou()[:2] == pytest.approx([3 / 5, 3 / 5])
    assert scores.dice()[1] == pytest.approx(6 / 8)
    assert scores.precision()[1] == pytest.approx(3 / 4)
    assert scores.recall()[1] == pytest.approx(3 / 4)
    assert all(np.isnan(score[2]) for score in (scores.iou(), scores.dice(), scores.precision(), scores.recall()))


def test_counts_are_pooled_over_pictures_and_divided_once() -> None:
    scores = Confusion(2)
    scores.add(np.array([1, 1, 1, 0]), np.array([1, 1, 1, 0]))  # IoU 1
    scores.add(torch.tensor([0, 0, 0, 0]), torch.tensor([1, 0, 0, 0]))  # IoU 0
    assert scores.iou()[1] == pytest.approx(3 / 4)  # not the mean, 1 / 2
