"""Losses and scores against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from faceparse import losses
from faceparse.losses import LOSSES, SOFT_LOSSES, create_loss, cross_entropy, dice, lovasz
from faceparse.metrics import Confusion


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """(1, K, 1, N) logits whose softmax gives, pixel by pixel, these probabilities; their logarithms, in fact."""
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


def test_bce_takes_every_class_for_itself() -> None:
    log_p = logits_of([[0.5, 0.25, 0.25]])
    expected = -(math.log(1 - 0.5) + math.log(0.25) + math.log(1 - 0.25)) / 3
    assert LOSSES["bce"](log_p, target_of(1)).item() == pytest.approx(expected)


def test_bce_of_two_classes_is_the_cross_entropy() -> None:
    log_p, target = logits_of([[0.5, 0.5], [0.25, 0.75]]), target_of(0, 1)
    assert LOSSES["bce"](log_p, target).item() == pytest.approx(cross_entropy(log_p, target).item())


def test_soft_bce_takes_a_tenth_of_the_target_for_all_classes() -> None:
    # two classes, the first is true: targets .95 and .05
    first = -(0.95 * math.log(0.8) + 0.05 * math.log(0.2))
    second = -(0.05 * math.log(0.2) + 0.95 * math.log(0.8))
    value = LOSSES["soft_bce"](logits_of([[0.8, 0.2]]), target_of(0)).item()
    assert value == pytest.approx((first + second) / 2)


def test_focal_weighs_a_pixel_by_the_square_of_what_is_missing() -> None:
    log_p = logits_of([[0.5, 0.5], [0.1, 0.9]])
    expected = -(0.25 * math.log(0.5) + 0.01 * math.log(0.9)) / 2
    assert LOSSES["focal"](log_p, target_of(0, 1)).item() == pytest.approx(expected)


def test_ohem_takes_the_pixels_under_seven_tenths() -> None:
    log_p = logits_of([[0.5, 0.5], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    expected = -(math.log(0.5) + math.log(0.6)) / 2
    assert LOSSES["ohem"](log_p, target_of(0, 1, 0, 1)).item() == pytest.approx(expected)


def test_ohem_takes_the_hardest_sixteenth_when_nothing_is_hard() -> None:
    log_p = logits_of([[0.9, 0.1]] * 30 + [[0.8, 0.2]] * 2)
    assert LOSSES["ohem"](log_p, target_of(*[0] * 32)).item() == pytest.approx(-math.log(0.8))


def test_lovasz_of_four_pixels_worked_out_by_hand() -> None:
    # class 1: errors .6 (true), .3 (not), .2 (true), .1 (not); 1 - IoU of the first n wrong: 1/2, 2/3, 1, 1
    one = 0.6 * 1 / 2 + 0.3 * (2 / 3 - 1 / 2) + 0.2 * (1 - 2 / 3) + 0.1 * 0
    # class 0: errors .6 (not), .3 (true), .2 (not), .1 (true); 1/3, 2/3, 3/4, 1
    zero = 0.6 * 1 / 3 + 0.3 * (2 / 3 - 1 / 3) + 0.2 * (3 / 4 - 2 / 3) + 0.1 * (1 - 3 / 4)
    log_p = logits_of([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    assert lovasz(log_p, target_of(1, 0, 1, 0)).item() == pytest.approx((one + zero) / 2)


def test_lovasz_of_certain_masks_is_one_minus_the_mean_iou() -> None:
    sure = logits_of([[1 - 1e-9, 1e-9]] * 3 + [[1e-9, 1 - 1e-9]])
    # class 0: 2 of 3, class 1: 1 of 2
    assert lovasz(sure, target_of(0, 0, 1, 1)).item() == pytest.approx(1 - (2 / 3 + 1 / 2) / 2, abs=1e-5)


def test_lovasz_looks_at_a_grid_of_a_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    log_p, target = torch.randn(1, 2, 4, 4).log_softmax(1), torch.randint(0, 2, (1, 4, 4))
    monkeypatch.setattr(losses, "LOVASZ_PIXELS", 4)
    thinned = lovasz(log_p, target)
    monkeypatch.setattr(losses, "LOVASZ_PIXELS", 16)
    assert thinned.item() == pytest.approx(lovasz(log_p[..., ::2, ::2], target[..., ::2, ::2]).item())


@pytest.mark.parametrize(
    ("pictures", "side", "every"),
    [
        (16, 64, 5),  # 65,536 pixels, of which a 32nd is 2048: every 32nd, or each way every 5.66th
        (8, 512, 11),  # 262,144 a picture, of which 2048 is a 128th: each way every 11.3th
        (1, 32, 1),  # 1024 pixels are few
    ],
)
def test_lovasz_looks_at_a_share_of_a_batch_so_that_its_cost_does_not_grow_as_pictures_shrink(
    pictures: int, side: int, every: int
) -> None:
    assert losses._lovasz_step(pictures, side * side) == every


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_as_the_truth_becomes_likelier_and_has_a_gradient(name: str) -> None:
    target, loss = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0)), create_loss(name)
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    values = []
    for _ in range(3):
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
        logits = (logits - 0.5 * gradient / gradient.abs().max()).detach().requires_grad_()
        values.append(value.item())
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("name", [*LOSSES, "ce+0.5*dice"])
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


@pytest.mark.parametrize("spec", ["mse", "ce+", "x*ce", "ce+2*", "nan*ce", "inf*ce", "-1*dice"])
def test_a_loss_that_does_not_exist_is_named_with_the_choices(spec: str) -> None:
    with pytest.raises(ValueError, match="ce, bce, soft_bce, dice"):
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


@pytest.mark.parametrize("name", SOFT_LOSSES)
def test_soft_targets_of_0_and_1_cost_what_the_ids_cost(name: str) -> None:
    logits = logits_of([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    ids = target_of(0, 1, 0)
    soft = create_loss(name, soft_targets=True)
    assert soft(logits, ids.float()).item() == pytest.approx(create_loss(name)(logits, ids).item())
    assert soft(logits, torch.zeros_like(ids).float()).item() == pytest.approx(
        create_loss(name)(logits, torch.zeros_like(ids)).item()
    )


def test_a_half_covered_pixel_costs_least_where_its_probability_is_a_half() -> None:
    soft = create_loss("bce", soft_targets=True)
    half = torch.full((1, 1, 1), 0.5)
    assert soft(logits_of([[0.5, 0.5]]), half).item() == pytest.approx(math.log(2))
    # -(log .2 + log .8) / 2
    assert soft(logits_of([[0.2, 0.8]]), half).item() == pytest.approx(-(math.log(0.2) + math.log(0.8)) / 2)
    # 1 - 2 (.8 * .5) / (.8 + .5)
    dice_of_half = create_loss("dice", soft_targets=True)(logits_of([[0.2, 0.8]]), half).item()
    assert dice_of_half == pytest.approx(1 - 0.8 / 1.3)


def test_a_loss_without_a_soft_version_is_refused_for_soft_targets() -> None:
    with pytest.raises(ValueError, match="'lovasz'.*ce, bce, soft_bce, dice"):
        create_loss("ce+lovasz", soft_targets=True)
