"""`faceparse models`: what it counts, what it prints, what it says where an encoder does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from faceparse.commands import models
from faceparse.models import ARCHITECTURES, create_model


def test_multiply_adds_of_a_convolution_are_those_counted_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1)
    assert models.multiply_adds(conv, (16, 20)) == 3 * 3 * 3 * 8 * 16 * 20
    strided = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    assert models.multiply_adds(strided, (16, 16)) == (3 * 3 * 3 * 8 + 3 * 3 * 8) * 8 * 8


def test_counting_needs_no_memory_for_weights() -> None:
    with torch.device("meta"):
        model = create_model("fpn", "resnet18", 2)
    assert models.multiply_adds(model, (64, 64)) == models.multiply_adds(create_model("fpn", "resnet18", 2), (64, 64))


def test_every_architecture_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["--encoder", "resnet18", "--size", "64", "--classes", "3"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["architecture", "encoder", "params/M", "madds/G", "strides", "paper"]
    assert [row.split()[:2] for row in rows] == [[arch, "resnet18"] for arch in ARCHITECTURES]
    for row, entry in zip(rows, ARCHITECTURES.values(), strict=True):
        assert row.endswith(entry.paper)
    row = next(row for row in rows if row.startswith("fpn "))
    parameters = sum(p.numel() for p in create_model("fpn", "resnet18", 3).parameters())
    assert f" {parameters / 1e6:.2f} " in row
    assert "  2 4 8 16 32  " in row


def test_an_encoder_that_does_not_fit_has_its_reason_in_the_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["--encoder", "convnext_atto", "--size", "64"]) == 0
    (row,) = (row for row in capsys.readouterr().out.splitlines() if row.startswith("encdec"))
    assert row.split(maxsplit=2) == [
        "encdec",
        "convnext_atto",
        "encdec needs features of 5 stages, convnext_atto has 4",
    ]


def test_an_unknown_encoder_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["--encoder", "resnet-18"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "unknown encoder 'resnet-18'; did you mean 'resnet18'" in printed.err
