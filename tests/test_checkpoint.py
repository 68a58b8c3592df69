"""The weights file: it says what it is, comes back as it was, and refuses what it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from faceparse import checkpoint
from faceparse.labels import CELEBAMASK, FACE, LabelSet
from faceparse.transforms import Preprocess

DESIGN = checkpoint.Design("fpn", "test_resnet.r160_in1k", widths=(64, 32))
PREPROCESS = Preprocess(64, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def saved(path: Path, labels: LabelSet = FACE, half: bool = False) -> torch.nn.Module:
    """A new model, in evaluation mode, kept at `path`."""
    torch.manual_seed(0)
    model = DESIGN.build(len(labels)).eval()
    checkpoint.save(path, model.state_dict(), DESIGN, labels, PREPROCESS, {"licence": "none", "scores": "{}"}, half)
    return model


@pytest.mark.parametrize("labels", [FACE, CELEBAMASK])
def test_a_file_alone_rebuilds_the_model(tmp_path: Path, labels: LabelSet) -> None:
    model = saved(tmp_path / "w.safetensors", labels)
    loaded = checkpoint.load(tmp_path / "w.safetensors")
    assert (loaded.design, loaded.labels, loaded.preprocess) == (DESIGN, labels, PREPROCESS)
    assert loaded.about == {"licence": "none", "scores": "{}"}
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.model(image), model(image))


def test_half_precision_is_half_the_size_and_nearly_the_same(tmp_path: Path) -> None:
    model = saved(tmp_path / "half.safetensors", half=True)
    saved(tmp_path / "full.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "full.safetensors").stat().st_size
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert (checkpoint.load(tmp_path / "half.safetensors").model(image) - model(image)).abs().max() < 0.02


def test_own_label_sets_travel_inside_the_file(tmp_path: Path) -> None:
    own = LabelSet("teeth", ("background", "teeth", "gums"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)))
    saved(tmp_path / "w.safetensors", own)
    assert checkpoint.load(tmp_path / "w.safetensors").labels == own


def test_what_is_no_weights_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.safetensors: no such weights file"):
        checkpoint.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is not a weights file at all")
    with pytest.raises(ValueError, match="text.safetensors"):
        checkpoint.load(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors: format 'unknown'"):
        checkpoint.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("design", json.dumps({"architecture": "fpm", "encoder": "resnet18"})),
        ("design", json.dumps({"architecture": "fpn", "encoder": "resnet18"})),
        ("design", "not json"),
        ("labels", json.dumps({"name": "face"})),
        ("preprocess", json.dumps({"size": "x", "mean": [], "std": []})),
        ("preprocess", json.dumps({"size": 0, "mean": [0, 0, 0], "std": [1, 1, 1]})),
        ("preprocess", json.dumps({"size": 64, "mean": [0, 0], "std": [1, 1, 1]})),
        ("preprocess", json.dumps({"size": 64, "mean": [0, 0, 0], "std": [1, 1, 0]})),
    ],
)
def test_a_damaged_description_ends_in_one_sentence_with_the_path(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "w.safetensors"
    saved(path)
    with safe_open(path, "pt") as file:
        state, metadata = {k: file.get_tensor(k) for k in file.keys()}, file.metadata()
    save_file(state, path, metadata | {key: value})
    with pytest.raises(ValueError, match="w.safetensors") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_refused_and_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="w.safetensors"):
        checkpoint.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_training_state_with_code_in_it_is_refused(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path / "good.pt", {"epoch": 3, "model": {"w": torch.ones(2)}})
    assert checkpoint.load_state(tmp_path / "good.pt")["epoch"] == 3
    torch.save({"code": Path}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="evil.pt: not a training state"):
        checkpoint.load_state(tmp_path / "evil.pt")
