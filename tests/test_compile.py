"""`train.py --compile`: the same training through torch.compile, with the names of the parameters as they are."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from faceparse import checkpoint
from faceparse.devices import compiled
from faceparse.engine import Pass, create_average, create_optimizer, create_schedule, train_one_epoch
from faceparse.losses import create_loss
from tests.test_training import folders as folders
from tests.test_training import train


@pytest.fixture
def nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile takes the network apart and runs it as it is, without the minutes of a C++ compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(shutil, "which", lambda name: name)


def test_a_compiled_training_gives_the_weights_of_another_and_is_resumed_as_it_began(
    folders: Path, nothing_is_written: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folders, "--epochs", "1", run="eager") == 0
    assert train(folders, "--epochs", "1", "--compile", run="compiled") == 0
    eager, other = (
        checkpoint.load(folders / run / "last.safetensors").model.state_dict() for run in ("eager", "compiled")
    )
    assert all(torch.allclose(eager[name], other[name], atol=1e-4) for name in eager)
    state = checkpoint.load_state(folders / "compiled/last.state.pt")
    assert list(state["model"]) == list(eager)  # and no "_orig_mod." before them
    assert train(folders, "--epochs", "2", "--resume", run="compiled") == 1
    assert "was trained with compile True, not False; resume with the flags" in capsys.readouterr().err


def test_without_a_compiler_a_sentence_comes_before_the_first_step(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert train(folders, "--compile") == 1
    assert "there is no no-such-compiler" in capsys.readouterr().err


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ here")
def test_a_compiled_training_that_is_resumed_ends_with_the_same_bits() -> None:
    batches = [(torch.randn(2, 3, 16, 16), torch.randint(0, 3, (2, 16, 16))) for _ in range(4)]

    def steps(chosen: slice, before: list[Any] | None) -> list[Any]:
        torch.manual_seed(0)
        torch.compiler.reset()
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 3, 1)
        )
        average, optimizer = create_average(model, 0.9), create_optimizer(model, 1e-2, 1e-2, 0.01)
        scheduler, along = create_schedule(optimizer, 4, 0), Pass(seed=5, steps=chosen.start)
        parts: list[Any] = [model, average, optimizer, scheduler]
        for part, state in zip(parts, before or [], strict=False):
            part.load_state_dict(state)
        device, loss = torch.device("cpu"), create_loss("ce+dice")
        list(train_one_epoch(compiled(model), average, batches[chosen], loss, *parts[2:], device, "fp32", 1.0, along))
        return [part.state_dict() for part in parts]

    whole = steps(slice(0, 4), None)
    resumed = steps(slice(2, 4), steps(slice(0, 2), None))
    for one, other in zip(whole[:2], resumed[:2], strict=True):
        assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
