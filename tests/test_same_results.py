"""The same seed gives the same result, whatever the batch size, the number of workers and the order of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from faceparse import checkpoint, images
from faceparse.commands import test as command
from faceparse.commands.places import Place
from faceparse.commands.scoring import Scores
from faceparse.commands.train import main as train
from faceparse.labels import FACE
from faceparse.models import create_model
from faceparse.transforms import Preprocess
from tests.conftest import draw_face
from tests.test_training import SMALL

SMOOTH = 0.001
"""Share of a mask's pixels that rounding may decide the other way: those in the middle between two classes."""


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # a machine of few cores is told so
def test_a_training_does_not_depend_on_its_workers_nor_on_the_order_in_which_files_were_made(tmp_path: Path) -> None:
    trained = []
    for order, workers in (([*range(12)], "0"), ([*reversed(range(12))], "2")):
        folder = tmp_path / workers
        for i in order:
            rgb, ids = draw_face(i, 64)
            images.write_rgb(folder / "faces" / f"{i}.jpg", rgb)
            images.write_mask(folder / "masks" / f"{i}.png", FACE.table[ids] * 255)
        data = ["--faces_dir", str(folder / "faces"), "--masks_dir", str(folder / "masks")]
        more = ["--epochs", "1", "--shape_ratio", "0.5", "--workers", workers, "--weights_dir", str(folder / "run")]
        assert train([*data, *SMALL, *more]) == 0
        trained.append(checkpoint.load(folder / "run/last.safetensors").model.state_dict())
    first, second = trained
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with drawn weights, and seven pictures of three shapes."""
    folder = tmp_path_factory.mktemp("album")
    torch.manual_seed(0)
    model = create_model("fpn", "test_resnet.r160_in1k", 2, widths=(64, 32))
    design = checkpoint.Design("fpn", "test_resnet.r160_in1k", widths=(64, 32))
    plain = Preprocess(64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    checkpoint.save(folder / "w.safetensors", model.state_dict(), design, FACE, plain, {})
    for i in range(7):
        rgb = draw_face(i, 96)[0]
        images.write_rgb(folder / "in" / f"{i}.png", (rgb, rgb[:70], rgb[:, :60])[i % 3])
    return folder


@pytest.mark.parametrize("batch_size", ["1", "2", "8"])
def test_masks_do_not_depend_on_the_batch_nor_on_the_order_of_the_pictures(
    album: Path, tmp_path: Path, batch_size: str
) -> None:
    weights = ["--weights_path", str(album / "w.safetensors"), "--device", "cpu"]
    paths = [str(path) for path in sorted((album / "in").iterdir())]
    orders = {"sorted": (paths, "3"), "turned": (paths[::-1], batch_size)}
    for name, (order, size) in orders.items():
        flags = ["--images_path", *order, "--save_path", str(tmp_path / name), "--batch_size", size]
        assert command.main([*weights, *flags]) == 0
    masks = [[images.read_mask(tmp_path / name / f"{i}.png") for i in range(7)] for name in orders]
    assert any(0 < (mask > 0).mean() < 1 for mask in masks[0])
    for one, other in zip(*masks, strict=True):
        assert (one != other).mean() <= SMOOTH


def test_scores_do_not_depend_on_the_order_of_the_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = [(rng.random((20, 30)) > share).astype(np.uint8) * 255 for share in (0.2, 0.5, 0.8)]
    for i, mask in enumerate(answers):
        images.write_mask(tmp_path / f"{i}.png", np.roll(mask, i, axis=1))
    places = [Place(*[tmp_path / f"{i}.jpg"] * 4, tmp_path / f"{i}.png") for i in range(3)]
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        scores = Scores(FACE)
        for i in order:
            assert not scores.add(scores.measure(places[i], np.zeros((20, 30, 3), np.uint8), answers[i]))
        tables.append({measure: values[0] for measure, values in scores.report().classes.items()})
    assert all(tables[0][measure] == pytest.approx(tables[1][measure], nan_ok=True) for measure in tables[0])
