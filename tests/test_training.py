"""train.py as its users run it: faults before the first step, runs that resume, batches with their share of hands."""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import faceparse
from faceparse import checkpoint, engine, images, losses
from faceparse.commands.train import foreground_mean, main
from faceparse.commands.train_flags import AUGMENTATIONS
from faceparse.data.batches import BatchesWithHands, Draw, TrainingFaces, ValidationFaces, Wild
from faceparse.data.folder import Pair, TrainingData, find_pairs, repeat_factors, split_pairs, to_ids
from faceparse.data.splits import read_split
from faceparse.distributed import Ranks
from faceparse.engine import Pass, create_average, create_optimizer, create_schedule, train_one_epoch
from faceparse.labels import CELEBAMASK, FACE, HAIR, IGNORE, PERSON
from faceparse.losses import cross_entropy
from faceparse.metrics import Confusion
from faceparse.models import create_model
from faceparse.transforms import Augment, Preprocess
from hand_generator.paste import Hand
from tests.conftest import draw_face

SMALL = [
    "--encoder",
    "test_resnet.r160_in1k",
    "--widths",
    "64",
    "32",
    "--size",
    "64",
    "--batch_size",
    "4",
    "--workers",
    "0",
    "--device",
    "cpu",
]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Twelve drawn faces in faces/, their 0/255 masks in masks/, their 19-class masks in ids/."""
    for i in range(12):
        rgb, ids = draw_face(i, 64)
        images.write_rgb(tmp_path / "faces" / f"{i}.jpg", rgb)
        images.write_mask(tmp_path / "masks" / f"{i}.png", FACE.table[ids] * 255)
        images.write_mask(tmp_path / "ids" / f"{i}.png", ids, CELEBAMASK)
    return tmp_path


STILL = Augment(
    64,
    flip=0,
    rotation=0,
    scale=(1, 1),
    shift=0,
    brightness=0,
    contrast=0,
    saturation=0,
    tint=0,
    grey=0,
    blur=0,
    jpeg=0,
)
AS_IT_IS = Preprocess(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pictures of 64 px to the network as they are in their files."""


def train(folders: Path, *more: str, masks: str = "masks", run: str = "run") -> int:
    """Exit status of a small training."""
    data = [
        "--faces_dir",
        str(folders / "faces"),
        "--masks_dir",
        str(folders / masks),
        "--weights_dir",
        str(folders / run),
    ]
    return main([*data, *SMALL, *more])


def test_a_training_leaves_weights_curves_and_a_record_of_itself(folders: Path) -> None:
    assert train(folders, "--epochs", "2", "--licence", "mine") == 0
    run = folders / "run"
    best = checkpoint.load(run / "best.safetensors")
    assert best.labels == FACE and best.design.architecture == "fpn" and best.about["licence"] == "mine"
    assert "--epochs 2" in best.about["command"] and json.loads(best.about["scores"])["val_iou"] >= 0
    rows = list(csv.DictReader((run / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) == {"epoch", "train_loss", "val_loss", "val_iou", "val_dice", "lr", "seconds"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert images.read_rgb(run / "curves.png").shape[2] == 3
    start = json.loads((run / "run.json").read_text())[0]
    assert {"command", "settings", "pictures", "versions", "git"} <= set(start) and start["versions"][
        "torch"
    ] == torch.__version__
    assert start["pictures"] == {"training": 11, "validation": 1, "with_hands": 0, "hands": 0, "backgrounds": 0}
    assert (run / "last.safetensors").exists()
    board = EventAccumulator(str(run))
    board.Reload()
    assert {"step_loss", "train_loss", "val_loss", "val_iou", "val_dice", "lr"} <= set(board.Tags()["scalars"])
    assert board.Tags()["images"] == ["validation"] and len(board.Scalars("step_loss")) == 2 * 2


@pytest.mark.parametrize(("save", "hands"), [(1, True), (2, False), (4, True), (5, False)])
def test_a_training_stopped_anywhere_ends_with_the_weights_of_an_uninterrupted_one(
    folders: Path, save: int, hands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--epochs", "2", "--save_minutes", "0", "--shape_ratio", "0.5"]  # 2 steps an epoch or more
    flags += ["--fahand_dir", str(folders / "faces"), "--mahand_dir", str(folders / "masks")] if hands else []
    assert train(folders, *flags, run="whole") == 0
    save_state, saved = checkpoint.save_state, []

    def stop_after_some(path: Path, state: dict[str, object]) -> None:
        save_state(path, state)
        saved.append(path)
        if len(saved) == save:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_state", stop_after_some)
    assert train(folders, *flags, run="parts") == 130
    monkeypatch.setattr(checkpoint, "save_state", save_state)
    assert train(folders, *flags, "--resume", run="parts") == 0
    for name in ("last", "best"):
        whole, parts = (
            checkpoint.load(folders / run / f"{name}.safetensors").model.state_dict() for run in ("whole", "parts")
        )
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    first, second = (list(csv.DictReader((folders / run / "curves.csv").open())) for run in ("whole", "parts"))
    assert [row | {"seconds": ""} for row in first] == [row | {"seconds": ""} for row in second]


def test_another_trainings_folder_is_not_written_over(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folders, "--epochs", "1") == 0
    before = (folders / "run" / "best.safetensors").read_bytes()
    assert train(folders, "--epochs", "1") == 1
    assert "add --resume" in capsys.readouterr().err
    assert (folders / "run" / "best.safetensors").read_bytes() == before


def test_init_goes_on_from_weights_and_needs_no_other_flag_of_the_model(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folders, "--epochs", "1", run="first") == 0
    first = str(folders / "first" / "best.safetensors")
    data = ["--faces_dir", str(folders / "faces"), "--masks_dir", str(folders / "masks")]
    flags = [*data, "--weights_dir", str(folders / "second"), "--size", "64", "--batch_size", "4", "--workers", "0"]
    flags += ["--init", first, "--epochs", "1", "--device", "cpu"]
    assert main([*flags, "--lr", "0", "--encoder_lr", "0"]) == 0
    assert "loaded whole" in capsys.readouterr().err
    old, new = (checkpoint.load(folders / run / "last.safetensors") for run in ("first", "second"))
    assert old.design == new.design
    assert torch.allclose(old.model.head.weight, new.model.head.weight)
    assert main([*flags, "--arch", "deeplabv3", "--resume"]) == 1
    assert "has architecture fpn, not deeplabv3; leave the flag out" in capsys.readouterr().err


def test_init_with_other_classes_keeps_everything_but_the_head_of_those(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folders, "--epochs", "1", "--labels", "celebamask", run="first", masks="ids") == 0
    first = folders / "first" / "best.safetensors"
    flags = ["--epochs", "1", "--labels", "hair", "--lr", "0", "--encoder_lr", "0"]
    assert train(folders, *flags, "--init", str(first), run="second", masks="ids") == 0
    old, new = (checkpoint.load(folders / run / "last.safetensors") for run in ("first", "second"))
    hair = CELEBAMASK.id("hair")
    assert torch.allclose(new.model.head.weight[1], old.model.head.weight[hair])
    assert torch.allclose(new.model.decoder.laterals[0].weight, old.model.decoder.laterals[0].weight)
    assert "best.safetensors: loaded; left out: the head of skin, nose, " in capsys.readouterr().err
    assert train(folders, *flags[:2], "--init", str(first), run="third", masks="ids") == 0
    assert "loaded, but for the head of face, which is new; left out: the head of skin" in capsys.readouterr().err


def test_resuming_with_another_recipe_or_other_pictures_is_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [path.name for path in images.list_images(folders / "faces")]
    splits = folders / "a.csv", folders / "b.csv"
    for split, kept in zip(splits, (names[0], names[1]), strict=True):  # as many pictures, but others
        split.write_text("".join(f"{name},{'val' if name == kept else 'train'}\n" for name in names))
    begun = ["--epochs", "1", "--split", str(splits[0])]
    assert train(folders, *begun, masks="ids") == 0
    for change in (
        "--labels hair",
        "--size 96",
        "--seed 1",
        f"--split {splits[1]}",
        "--loss focal",
        "--lr 0.5",
        "--augment rotation=90",
        "--ema 0.5",
    ):
        assert train(folders, *begun, "--epochs", "2", "--resume", *change.split(), masks="ids") == 1
        assert "resume with the flags in its run.json" in capsys.readouterr().err
    assert train(folders, "--epochs", "1", masks="ids", run="drawn") == 0
    assert train(folders, "--epochs", "2", "--resume", "--val_share", "0.5", masks="ids", run="drawn") == 1
    assert "resume with the flags in its run.json" in capsys.readouterr().err
    same = ["--scale", "0.6", "1.6"]  # the default, said aloud
    assert train(folders, *begun, "--epochs", "2", "--resume", *same, masks="ids") == 0


def test_the_output_stride_is_kept_in_the_weights_file(folders: Path) -> None:
    assert train(folders, "--epochs", "1", "--output_stride", "16") == 0
    assert checkpoint.load(folders / "run" / "best.safetensors").model.encoder.strides[-1] == 16


@pytest.mark.parametrize("labels", ["celebamask", "hair", "face"])
def test_id_masks_train_every_label_set_made_from_them(folders: Path, labels: str) -> None:
    assert train(folders, "--epochs", "1", "--labels", labels, masks="ids") == 0
    assert checkpoint.load(folders / "run" / "best.safetensors").labels.name == labels


def test_hands_come_from_a_folder_or_are_pasted_on_the_fly(folders: Path) -> None:
    for i in range(3):
        images.write_rgb(folders / "hands" / "images" / f"h{i}.png", np.full((40, 30, 3), 180, np.uint8))
        mask = np.zeros((40, 30), np.uint8)
        mask[5:35, 5:25] = 255
        images.write_mask(folders / "hands" / "masks" / f"h{i}.png", mask)
    (folders / "hands" / "split.csv").write_text("h0.png,True\nh1.png,False\nh2.png,True\n")
    assert train(folders, "--epochs", "1", "--hands_dir", str(folders / "hands"), "--hand_ratio", "0.5", run="fly") == 0
    assert json.loads((folders / "fly" / "run.json").read_text())[0]["pictures"]["hands"] == 2
    made = ["--fahand_dir", str(folders / "faces"), "--mahand_dir", str(folders / "masks")]
    assert train(folders, "--epochs", "1", *made, run="made") == 0
    assert json.loads((folders / "made" / "run.json").read_text())[0]["pictures"]["with_hands"] == 12


def test_faces_held_back_are_not_trained_on_behind_a_hand(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "split.csv").write_text("".join(f"{i}.jpg,{i < 8}\n" for i in range(12)))
    rows = "".join(f"{i},{i}.jpg\n" for i in range(12))  # picture i shows face i behind a hand
    (folders / "faces" / "manifest.csv").write_text(f"number,face\n{rows}")
    made = ["--fahand_dir", str(folders / "faces"), "--mahand_dir", str(folders / "masks")]
    assert train(folders, "--epochs", "1", "--split", str(folders / "split.csv"), *made) == 0
    pictures = json.loads((folders / "run" / "run.json").read_text())[0]["pictures"]
    assert pictures == {"training": 7, "validation": 1, "with_hands": 7, "hands": 0, "backgrounds": 0}
    (folders / "faces" / "manifest.csv").write_text("number,face\n0,11.jpg\n")
    assert train(folders, "--epochs", "1", "--split", str(folders / "split.csv"), *made, run="none") == 1
    assert "run hand_generator on those" in capsys.readouterr().err


@pytest.mark.parametrize(("with_hands", "hands", "expected_steps"), [(0, 4, 5), (7, 4, 10), (7, 1, 5), (0, 0, 5)])
def test_every_batch_holds_its_share_of_hands(with_hands: int, hands: int, expected_steps: int) -> None:
    batches = BatchesWithHands(faces=40, with_hands=with_hands, batch_size=8, hands=hands, seed=0)
    drawn = list(batches)
    assert len(drawn) == len(batches) == expected_steps
    assert all(len(batch) == 8 and sum(draw.hand for draw in batch) == hands for batch in drawn)
    clean = [draw.index for batch in drawn for draw in batch if not draw.hand]
    assert len(clean) == len(set(clean))  # no face twice in an epoch
    assert len({draw.seed for batch in drawn for draw in batch}) == 8 * expected_steps
    assert list(batches) == drawn
    batches.epoch = 1
    assert list(batches) != drawn


def test_pictures_of_rare_classes_are_drawn_more_often_in_an_epoch_of_the_same_length(folders: Path) -> None:
    """Class 1 is in 16 pictures of 16, class 2 in one: sqrt(.25 / (1 / 16)) = 2; a class of 4, 1/4, is not rare."""

    def pair(i: int) -> Pair:
        shown = {1} | ({2} if i == 0 else set()) | ({3} if i < 4 else set())
        return Pair(Path(f"{i}.jpg"), Path(f"{i}.png"), False, frozenset(shown))

    pairs = [pair(i) for i in range(16)]
    assert repeat_factors(pairs, 0.25).tolist() == [2.0] + [1.0] * 15
    assert repeat_factors(pairs, 0.0).tolist() == [1.0] * 16
    batches = BatchesWithHands(16, 0, batch_size=4, hands=0, seed=0, repeats=np.array([2.5] + [1.0] * 15))
    drawn: list[int] = []
    for batches.epoch in range(200):
        epoch = [draw.index for batch in batches for draw in batch]
        assert len(epoch) == 16 and max(map(epoch.count, range(1, 16))) == 1
        drawn += epoch
    assert drawn.count(0) / 200 == pytest.approx(16 * 2.5 / 17.5, abs=0.15)


def test_rare_classes_are_counted_in_the_masks(folders: Path) -> None:
    ids = images.read_mask(folders / "ids" / "3.png")
    ids[:2, :2] = CELEBAMASK.id("neck_l")
    images.write_mask(folders / "ids" / "3.png", ids, CELEBAMASK)
    pairs = {pair.image.stem: pair for pair in find_pairs(folders / "faces", folders / "ids", CELEBAMASK)}
    assert [stem for stem, pair in pairs.items() if CELEBAMASK.id("neck_l") in pair.classes] == ["3"]
    assert pairs["0"].classes == set(np.unique(images.read_mask(folders / "ids" / "0.png"))) - {0}
    assert train(folders, "--epochs", "1", "--labels", "celebamask", "--rare", "0.5", masks="ids") == 0


def break_mask(folders: Path, fault: str) -> str:
    """Break mask 3 in one way; what the message must say."""
    path = folders / "masks" / "3.png"
    if fault == "missing":
        path.unlink()
        return "3.jpg: no mask with this stem"
    if fault == "size":
        images.write_mask(path, np.zeros((60, 64), np.uint8))
        return "3.png is 64x60 but its picture"
    if fault == "half size":
        images.write_mask(path, np.zeros((32, 32), np.uint8))
        return "3.png: its picture"
    if fault == "no face":
        for i in range(12):
            images.write_mask(folders / "masks" / f"{i}.png", np.zeros((64, 64), np.uint8))
        return "masks: no mask shows any of face"
    if fault == "id":
        images.write_mask(path, np.full((64, 64), 37, np.uint8))
        return "3.png: class id 37 is out of range"
    path.write_bytes(b"")
    return "3.png: cannot be read as a picture"


@pytest.mark.parametrize("fault", ["missing", "size", "half size", "id", "no face", "empty file"])
def test_a_data_fault_is_one_sentence_with_the_path_before_the_first_step(
    folders: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = break_mask(folders, fault)
    assert train(folders, "--epochs", "1") == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and expected in sentence
    assert not list((folders / "run").glob("*.safetensors"))


def test_a_size_that_no_weights_file_may_have_is_told_before_the_first_step(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folders, "--size", "4097") == 1
    assert capsys.readouterr().err == "error: size 4097: pictures are seen at 1 to 4096 pixels; choose one of these\n"


def test_an_empty_or_missing_folder_is_one_sentence_with_the_path(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "nothing").mkdir()
    assert train(folders, masks="nothing") == 1
    assert "nothing: no picture in this folder" in capsys.readouterr().err
    assert train(folders, masks="nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


def test_masks_twice_smaller_than_all_their_pictures_are_taken_as_published(folders: Path) -> None:
    for i in range(12):
        images.write_mask(folders / "half" / f"{i}.png", images.read_mask(folders / "masks" / f"{i}.png")[::2, ::2])
    pairs = find_pairs(folders / "faces", folders / "half", FACE)
    image, ids = pairs[0].read(FACE)
    assert image.shape == (32, 32, 3) and ids.shape == (32, 32)


def test_jpeg_masks_are_cut_at_127_and_can_not_hold_ids(folders: Path) -> None:
    for i in range(12):
        mask = images.read_mask(folders / "masks" / f"{i}.png")
        images.write_rgb(folders / "jpegs" / f"{i}.jpg", np.repeat(mask[..., None], 3, axis=2), quality=60)
    pairs = find_pairs(folders / "faces", folders / "jpegs", FACE)
    ids = pairs[0].read(FACE)[1]
    assert set(np.unique(ids)) == {0, 1}
    assert (ids != images.read_mask(folders / "masks" / "0.png") // 255).mean() < 0.02
    with pytest.raises(ValueError, match="0.jpg: a 0/255 mask"):
        find_pairs(folders / "faces", folders / "jpegs", CELEBAMASK)


def test_stored_values_become_ids_of_the_label_set() -> None:
    ids = np.array([[CELEBAMASK.id("skin"), CELEBAMASK.id("hair"), CELEBAMASK.id("eye_g"), IGNORE]], np.uint8)
    assert to_ids(ids, FACE, binary=False).tolist() == [[1, 0, 0, IGNORE]]
    assert to_ids(ids, HAIR, binary=False).tolist() == [[0, 1, 0, IGNORE]]
    assert to_ids(np.array([[0, 127, 128, 255]], np.uint8), FACE, binary=True).tolist() == [[0, 0, 1, 1]]


def test_the_split_is_reproducible_and_reads_a_file(folders: Path) -> None:
    pairs = find_pairs(folders / "faces", folders / "masks", FACE)
    first, again = (split_pairs(pairs, None, 0.25, seed=5) for _ in "ab")
    assert first == again and (len(first[0]), len(first[1])) == (9, 3)
    assert not set(first[0]) & set(first[1])
    table = folders / "split.csv"
    table.write_text("name,part\n0.jpg,True\n1.jpg,True\n2.jpg,False\n")
    training, validation = split_pairs(pairs, table, 0.05, seed=0)
    assert {pair.image.stem for pair in [*training, *validation]} == {
        "0",
        "1",
    }  # 2 is held out, the others are not named
    table.write_text("0.jpg,train\n1.jpg,val\n")
    training, validation = split_pairs(pairs, table, 0.05, seed=0)
    assert [p.image.stem for p in training] == ["0"] and [p.image.stem for p in validation] == ["1"]
    table.write_text("0.jpg,True\n1.jpg,maybe\n")
    with pytest.raises(ValueError, match="split.csv, line 2"):
        read_split(table)


def test_a_runs_own_split_file_gives_the_same_split_again(folders: Path) -> None:
    assert train(folders, "--epochs", "1", run="one") == 0
    assert train(folders, "--epochs", "1", "--split", str(folders / "one" / "split.csv"), "--seed", "9", run="two") == 0
    assert (folders / "one" / "split.csv").read_text() == (folders / "two" / "split.csv").read_text()


def test_the_rate_warms_up_in_a_line_and_falls_to_a_hundredth_at_the_last_step() -> None:
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = create_schedule(optimizer, steps=14, warmup=4)
    rates = []
    for _ in range(15):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[9] == pytest.approx(0.01 + 0.99 * 0.5)  # half way down the cosine
    assert rates[14] == pytest.approx(0.01)


def test_norms_and_biases_do_not_decay_and_the_encoder_has_its_own_rate() -> None:
    model = create_model("fpn", "test_resnet.r160_in1k", 2, widths=(64, 32))
    groups = create_optimizer(model, lr=2.0, encoder_lr=1.0, weight_decay=0.1).param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(1.0, 0.1), (1.0, 0.0), (2.0, 0.1), (2.0, 0.0)]
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_the_average_follows_the_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    average = create_average(model, decay=0.5)
    average.update_parameters(model)  # the first call copies
    torch.nn.init.constant_(model.weight, 1.0)
    average.update_parameters(model)  # memory 2 / 11 after one step
    assert average.module.weight.item() == pytest.approx(9 / 11)


def test_a_loss_that_is_not_finite_stops_and_names_its_pictures(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = ["--lr", "1e30", "--encoder_lr", "1e30", "--warmup", "0", "--clip_norm", "1e30"]
    assert train(folders, "--epochs", "1", *wild) == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert "lower --lr" in sentence and sentence.count(".jpg") == 4
    state = checkpoint.load_state(folders / "run" / "non_finite.state.pt")
    assert state["epoch"] == 0 and state["along"]["steps"] == 2 and state["along"]["pictures"] == 4


@pytest.fixture
def nan_at_the_second_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss `ce`, but for its second call, which is not finite."""
    calls: list[int] = []

    def sometimes_nan(log_p: torch.Tensor, target: torch.Tensor, ranks: Ranks) -> torch.Tensor:
        calls.append(0)
        return cross_entropy(log_p, target, ranks) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setitem(losses.LOSSES, "ce", sometimes_nan)


@pytest.mark.usefixtures("nan_at_the_second_step")
def test_an_epoch_that_was_interrupted_has_the_seconds_before_as_well(folders: Path) -> None:
    flags = ["--epochs", "1", "--loss", "ce", "--save_minutes", "0"]
    assert train(folders, *flags) == 1
    path = folders / "run" / "last.state.pt"
    state = checkpoint.load_state(path)
    assert state["along"]["steps"] == 1 and state["along"]["seconds"] > 0
    state["along"]["seconds"] += 1000
    checkpoint.save_state(path, state)
    assert train(folders, *flags, "--resume") == 0
    (row,) = csv.DictReader((folders / "run" / "curves.csv").read_text().splitlines())
    assert float(row["seconds"]) > 1000


def test_epochs_are_compared_by_the_classes_that_the_validation_pictures_have() -> None:
    """Of 8 pixels 4 are of class 1, half of which are found: IoU .5; class 2 is seen in one, and is in none."""
    confusion = Confusion(3)
    confusion.add(np.array([1, 1, 0, 0, 0, 0, 0, 2]), np.array([1, 1, 1, 1, 0, 0, 0, 0]))
    assert confusion.iou()[1:].tolist() == [0.5, 0.0]
    assert foreground_mean(confusion.iou(), confusion) == 0.5
    nobody = Confusion(3)
    nobody.add(np.array([0, 2]), np.array([0, 0]))
    assert foreground_mean(nobody.iou(), nobody) == 0.0


@pytest.mark.usefixtures("nan_at_the_second_step")
def test_a_step_that_is_not_finite_can_be_left_out(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folders, "--epochs", "1", "--loss", "ce", "--non_finite", "skip") == 0
    assert "left out" in capsys.readouterr().err
    weights = checkpoint.load(folders / "run" / "last.safetensors").model.state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())
    row = next(csv.DictReader((folders / "run" / "curves.csv").open()))
    assert float(row["train_loss"]) > 0


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the only step is left out
def test_a_batch_that_is_not_finite_leaves_no_trace_in_the_statistics() -> None:
    model = create_model("fpn", "test_resnet.r160_in1k", classes=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = create_optimizer(model, 1e-3, 1e-3, 0)
    batches = [(torch.full((2, 3, 64, 64), float("inf")), torch.zeros((2, 64, 64), dtype=torch.int64))]
    parts = model, create_average(model, 0.9), batches, losses.create_loss("ce"), optimizer
    (step,) = train_one_epoch(*parts, create_schedule(optimizer, 9, 1), torch.device("cpu"), "fp32", 1.0, Pass())
    assert not step.finite
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_validations_workers_are_there_before_the_first_step(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process forked from one that has grown would keep a copy of its memory for as long as the training lasts."""
    step, found = engine.train_one_epoch, []

    def counted(*args: Any) -> Iterator[Any]:
        found.append(len(multiprocessing.active_children()))
        return step(*args)

    monkeypatch.setattr(engine, "train_one_epoch", counted)
    before = len(multiprocessing.active_children())
    assert train(folders, "--epochs", "1", "--workers", "1") == 0
    assert found == [before + 1]  # those of the training come with its first batch


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_picture_that_is_cut_short_is_named(folders: Path, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    picture = folders / "faces" / "5.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    assert train(folders, "--epochs", "1", "--workers", workers) == 1
    assert "5.jpg: cannot be read as a picture" in capsys.readouterr().err


def test_flags_that_contradict_each_other_are_refused(folders: Path) -> None:
    for flags in (
        ["--fahand_dir", "x"],
        ["--hand_ratio", "0.5"],
        ["--hands_dir", "x", "--hand_ratio", "1.5"],
        ["--fahand_dir", "x", "--mahand_dir", "x", "--hand_recolour", "0.5"],
        ["--size", "8"],
        ["--scale", "0", "0"],
        ["--lr", "-1"],
        ["--background_ratio", "0.5"],
        ["--nobody_ratio", "0.5"],
    ):
        with pytest.raises(SystemExit):
            train(folders, *flags)


def test_hands_take_on_the_colours_of_the_face_as_often_as_told(folders: Path) -> None:
    """A blue hand: with its own colours some pixel stays blue, with the face's none is."""
    pairs = find_pairs(folders / "faces", folders / "masks", FACE)
    blue = np.zeros((40, 30, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
    data = TrainingData(pairs, pairs, hands=[Hand(blue, np.ones((40, 30), bool))])

    def mean_blueness(recolour: float) -> float:
        faces = TrainingFaces(data, FACE, STILL, AS_IT_IS, Wild(recolour=recolour))
        pictures = [faces[Draw(i % len(pairs), True, (i,))][0] for i in range(12)]
        return float(torch.stack([picture[2] - picture[0] for picture in pictures]).clamp(min=0).mean())

    assert mean_blueness(0.0) > 1.5 * mean_blueness(1.0)


def test_shapes_and_backgrounds_are_switched_on_by_their_shares(folders: Path) -> None:
    pairs = find_pairs(folders / "faces", folders / "masks", FACE)
    green = np.zeros((64, 64, 3), np.uint8) + np.array([0, 255, 0], np.uint8)
    data = TrainingData(pairs, pairs, backgrounds=[green])
    still = Augment(64, flip=0, rotation=0, scale=(1, 1), shift=0, grey=0, blur=0, jpeg=0)

    def face_pixels(wild: Wild) -> list[int]:
        faces = TrainingFaces(data, FACE, still, AS_IT_IS, wild)
        return [int(faces[Draw(i % len(pairs), False, (i,))][1].sum()) for i in range(12)]

    plain = face_pixels(Wild())
    assert all(few <= all_of_it for few, all_of_it in zip(face_pixels(Wild(shapes=1.0)), plain, strict=True))
    assert face_pixels(Wild(shapes=1.0)) != plain
    assert all(few < all_of_it for few, all_of_it in zip(face_pixels(Wild(rectangles=1.0)), plain, strict=True))
    assert all(few < all_of_it for few, all_of_it in zip(face_pixels(Wild(things=1.0)), plain, strict=True))
    assert face_pixels(Wild(nobody=1.0)) == [0] * 12
    green_alone = TrainingFaces(data, FACE, still, AS_IT_IS, Wild(nobody=1.0))[Draw(0, False, (0,))][0]
    assert green_alone[1].min() > 2 * green_alone[0].max()  # one of the backgrounds, its colour changed a little
    assert sum(face_pixels(Wild(backgrounds=1.0))) < 0.6 * sum(plain)  # at most .7 of the size, .49 of the pixels


def test_what_is_laid_over_a_face_stays_when_the_person_is_cut_out_onto_a_background(folders: Path) -> None:
    """A blue hand over drawn faces, each person cut out or the whole picture, onto green: blue is left in all."""
    pairs = find_pairs(folders / "faces", folders / "ids", CELEBAMASK)
    green, blue = (np.zeros((64, 64, 3), np.uint8) + np.uint8(colour) for colour in ((0, 255, 0), (0, 0, 255)))
    data = TrainingData(pairs, pairs, hands=[Hand(blue, np.ones((64, 64), bool))], backgrounds=[green])
    faces = TrainingFaces(data, CELEBAMASK, STILL, AS_IT_IS, Wild(backgrounds=1.0, recolour=0.0))
    seen = [faces[Draw(i % len(pairs), True, (i,))] for i in range(20)]
    with_people = [image for image, ids in seen if ids.any()]
    assert len(with_people) > 10
    assert all(((image[2] > 1.5 * image[1]) & (image[2] > 1.5 * image[0])).any() for image in with_people)


def test_faces_can_be_shrunk_onto_backgrounds_in_training(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write_rgb(folders / "scenes" / "park.jpg", np.full((40, 90, 3), 90, np.uint8))
    assert train(folders, "--backgrounds_dir", str(folders / "scenes"), "--shape_ratio", "0.5") == 0
    assert json.loads((folders / "run" / "run.json").read_text())[0]["pictures"]["backgrounds"] == 1
    (folders / "empty").mkdir()
    assert train(folders, "--backgrounds_dir", str(folders / "empty"), run="other") == 1
    assert "empty" in capsys.readouterr().err


def test_classes_of_ones_own_are_trained_with_hands_over_them(folders: Path, tmp_path: Path) -> None:
    for path in (folders / "ids").iterdir():
        ids = np.minimum(images.read_mask(path), 2)
        images.write_mask(path, ids, CELEBAMASK)
    own = tmp_path / "own.json"
    own.write_text('{"classes": ["background", "skin", "rest"]}')
    hand = np.zeros((20, 20), np.uint8)
    hand[4:16, 4:16] = 255
    images.write_mask(tmp_path / "hands" / "masks" / "a.png", hand)
    images.write_rgb(tmp_path / "hands" / "images" / "a.jpg", np.full((20, 20, 3), 200, np.uint8))
    flags = ["--labels", str(own), "--hands_dir", str(tmp_path / "hands"), "--hand_ratio", "0.5", "--epochs", "1"]
    assert train(folders, *flags, masks="ids") == 0
    labels = checkpoint.load(folders / "run" / "best.safetensors").labels
    assert (labels.name, labels.classes) == ("own", ("background", "skin", "rest"))


def test_augmentation_is_set_by_name(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {field.name for field in dataclasses.fields(Augment)} == {"size", "scale", *AUGMENTATIONS}
    assert train(folders, "--epochs", "1", "--augment", "rotation=0", "jpeg=1") == 0
    assert json.loads((folders / "run" / "run.json").read_text())[0]["settings"]["augment"] == [
        ["rotation", 0.0],
        ["jpeg", 1.0],
    ]
    with pytest.raises(SystemExit):
        train(folders, "--augment", "shear=3")
    assert "a name out of flip, rotation" in capsys.readouterr().err


def test_soft_targets_are_shares_of_the_foreground_and_validation_cuts_them_at_127(folders: Path) -> None:
    for i in range(12):
        share = np.zeros((64, 64), np.uint8)
        share[16:48, 16:48], share[20:44, 20:44] = 102, 255
        images.write_mask(folders / "alpha" / f"{i}.png", share)
    pairs = find_pairs(folders / "faces", folders / "alpha", PERSON)  # greys can't be ids of two classes
    assert all(pair.binary for pair in pairs)
    still = dict.fromkeys(AUGMENTATIONS, 0.0)
    faces = TrainingFaces(
        TrainingData(pairs, pairs),
        PERSON,
        Augment(64, scale=(1, 1), **still),
        Preprocess(64, (0.5,) * 3, (0.5,) * 3),
        soft_targets=True,
    )
    target = faces[Draw(0, False, (0,))][1]
    assert target.dtype == torch.float32 and target.unique().tolist() == pytest.approx([0, 0.4, 1])
    assert ValidationFaces(pairs, PERSON, faces.preprocess)[0][1].sum() == 24 * 24  # .4 is less than a half
    soft = ["--labels", "person", "--soft_targets", "--loss", "soft_bce+dice", "--epochs", "1"]
    assert train(folders, *soft, masks="alpha") == 0


def test_soft_targets_of_many_classes_and_losses_without_them_are_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folders, "--labels", "celebamask", "--soft_targets", masks="ids") == 1
    assert "--soft_targets are of two classes" in capsys.readouterr().err
    assert train(folders, "--labels", "person", "--soft_targets", "--loss", "lovasz") == 1
    assert "ce, bce, soft_bce, dice" in capsys.readouterr().err


def test_the_best_weights_are_exported_too(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folders, "--epochs", "1", "--export", "torchscript") == 0
    assert "best.ts: the original's class on" in capsys.readouterr().err
    original, exported = (faceparse.load(folders / "run" / f"best{end}", "cpu") for end in (".safetensors", ".ts"))
    picture = draw_face(3, 80)[0]
    assert (original(picture) == exported(picture)).mean() > 0.999


def test_an_unknown_export_is_told_before_the_training(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folders, "--export", "coreml") == 1
    assert "unknown format 'coreml'; choose from: onnx, torchscript" in capsys.readouterr().err
    assert not (folders / "run").exists()


def test_run_folders_are_numbered_and_resume_goes_on_in_the_last(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--faces_dir", str(folders / "faces"), "--masks_dir", str(folders / "masks"), *SMALL]
    runs = folders / "runs"
    assert main([*data, "--runs_dir", str(runs), "--resume"]) == 1
    assert "leave --resume out" in capsys.readouterr().err
    for _ in range(2):
        assert main([*data, "--runs_dir", str(runs), "--epochs", "1"]) == 0
    (runs / "exp7").mkdir()  # of a training that did not begin
    assert main([*data, "--runs_dir", str(runs), "--epochs", "2", "--resume"]) == 0
    (runs / "exp7").rmdir()
    assert sorted(path.name for path in runs.iterdir()) == ["exp1", "exp2"]
    lengths = [len(list(csv.DictReader((runs / name / "curves.csv").open()))) for name in ("exp1", "exp2")]
    assert lengths == [1, 2]
    assert [path.name for path in sorted((runs / "exp2" / "pictures").iterdir())] == ["001.jpg", "002.jpg"]
