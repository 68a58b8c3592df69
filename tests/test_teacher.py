"""train.py --teacher: what other weights say of a batch is learnt as well."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faceparse import checkpoint
from faceparse.commands.train import LATER, STATE, main
from faceparse.engine import Pass, create_average, create_optimizer, create_schedule, train_one_epoch
from faceparse.labels import CELEBAMASK, FACE, HAIR, IGNORE, LabelSet
from faceparse.losses import create_loss
from faceparse.teacher import TEMPERATURE, Teacher, distance, fingerprints
from faceparse.transforms import Preprocess
from tests.conftest import draw_faces
from tests.test_distributed import training

CPU = torch.device("cpu")
DESIGN = checkpoint.Design("fpn", "test_resnet.r160_in1k", widths=(64, 32))
PLAIN = Preprocess(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def write(path: Path, bias: list[float] | None, labels: LabelSet = FACE, preprocess: Preprocess = PLAIN) -> Path:
    """Weights that answer the same logits at every pixel of any picture; with None, whatever they were drawn to."""
    torch.manual_seed(3)
    model = DESIGN.build(len(labels))
    with torch.no_grad():
        if bias is not None:
            model.head.weight.zero_()
            model.head.bias.copy_(torch.tensor(bias))
    checkpoint.save(path, model.state_dict(), DESIGN, labels, preprocess, {})
    return path


def ask(files: list[Path], image: Tensor, labels: LabelSet = FACE, flip: bool = False) -> Tensor:
    return Teacher(files, labels, PLAIN, CPU, 1.0, flip).probabilities(image, "fp32")


def test_the_distance_is_that_of_the_softened_answers_worked_out_by_hand() -> None:
    """T = 2: logits (0, 2 log 3) soften to (1/4, 3/4). KL((1/2, 1/2) || that) = log(2 / sqrt 3); T² = 4 times it."""
    assert TEMPERATURE == 2
    logits = torch.tensor([0.0, 2 * math.log(3)]).view(1, 2, 1, 1).expand(3, 2, 4, 4).clone().requires_grad_()
    even = torch.full((3, 2, 4, 4), 0.5)
    loss = distance(logits, even)
    assert loss.item() == pytest.approx(4 * math.log(2 / math.sqrt(3)), rel=1e-5)
    loss.backward()  # T (q - p) / pixels
    assert logits.grad[0, :, 0, 0].tolist() == pytest.approx([2 * -0.25 / 48, 2 * 0.25 / 48], rel=1e-4)
    assert distance(logits, (logits / 2).softmax(dim=1)).item() == pytest.approx(0, abs=1e-6)
    sure = torch.stack([torch.ones(3, 4, 4), torch.zeros(3, 4, 4)], dim=1)  # 0 log 0 is 0
    assert distance(logits, sure).item() == pytest.approx(4 * math.log(4), rel=1e-5)


def test_teachers_are_softened_averaged_and_summed_to_the_students_classes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.safetensors", [0, 2 * math.log(3)]), write(tmp_path / "2.safetensors", [0.0, 0.0])
    picture = torch.rand(1, 3, 64, 64)
    assert ask([one], picture)[0, 1].mean().item() == pytest.approx(3 / 4)
    assert ask([one, two], picture)[0, 1].mean().item() == pytest.approx((3 / 4 + 1 / 2) / 2)
    parts = write(tmp_path / "parts.safetensors", [0.0] * 19, CELEBAMASK)
    assert ask([parts], picture)[0].shape[0] == 2
    face = len(FACE.members[1])  # of 19 classes, all alike
    assert ask([parts], picture)[0, 1].mean().item() == pytest.approx(face / 19)
    with pytest.raises(ValueError, match=r"1.safetensors can't teach these labels: 'hair' can't be made"):
        ask([one], picture, HAIR)


def test_a_teacher_sees_the_students_batch_in_its_own_preprocessing(tmp_path: Path) -> None:
    own = Preprocess(64, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    path = write(tmp_path / "w.safetensors", None, preprocess=own)
    picture = torch.rand(2, 3, 64, 64)  # in 0..1, which is what PLAIN makes of it
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (own.mean, own.std))
    with torch.no_grad():
        expected = (checkpoint.load(path).model((picture - mean) / std) / TEMPERATURE).softmax(dim=1)
    torch.testing.assert_close(ask([path], picture), expected, rtol=1e-3, atol=1e-4)


def test_with_the_mirror_left_and_right_change_names(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", None, CELEBAMASK)
    picture = torch.rand(1, 3, 64, 64)
    straight = ask([path], picture, CELEBAMASK)
    both, of_mirror = (ask([path], each, CELEBAMASK, flip=True) for each in (picture, picture.flip(3)))
    left, right = CELEBAMASK.id("l_eye"), CELEBAMASK.id("r_eye")
    torch.testing.assert_close(both[:, left], of_mirror.flip(3)[:, right], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(both, straight, atol=1e-4)
    torch.testing.assert_close(both.sum(dim=1), torch.ones(1, 64, 64))


def test_a_student_learns_the_teachers_answer_where_the_label_is_ignored(tmp_path: Path) -> None:
    teacher = Teacher([write(tmp_path / "w.safetensors", [0.0, math.log(9)])], FACE, PLAIN, CPU, 0.5)  # 9 of 10
    torch.manual_seed(0)
    model = DESIGN.build(2)
    optimizer = create_optimizer(model, 0.05, 0.0, 0.0)
    batches = [(torch.rand(2, 3, 64, 64), torch.full((2, 64, 64), IGNORE))] * 30
    schedule, average = create_schedule(optimizer, 30, 1), create_average(model, 0.0)
    steps = train_one_epoch(
        *(model, average, batches, create_loss("ce+dice"), optimizer, schedule, CPU, "fp32", 1.0, Pass()),
        teacher=teacher,
    )
    losses = [step.loss for step in steps]
    assert losses[-1] < losses[0] / 10
    with torch.no_grad():
        p = model.eval()(batches[0][0]).softmax(dim=1)[:, 1]
    assert p.mean().item() == pytest.approx(0.9, abs=0.05)


def test_a_taught_training_says_by_whom_and_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_faces(tmp_path)
    path = write(tmp_path / "w.safetensors", None, CELEBAMASK)
    taught = ["--teacher", str(path), str(path), "--distill", "0.7"]
    assert main([*training(tmp_path, "whole"), *taught]) == 0
    save_state, saved = checkpoint.save_state, []

    def stop_at_the_second(to: Path, state: dict[str, object]) -> None:
        save_state(to, state)
        saved.append(to)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_state", stop_at_the_second)
    assert main([*training(tmp_path, "parts"), *taught]) == 130
    monkeypatch.setattr(checkpoint, "save_state", save_state)
    assert main([*training(tmp_path, "parts"), "--resume"]) == 1
    assert "resume with the flags in its run.json" in capsys.readouterr().err
    assert main([*training(tmp_path, "parts"), "--resume", *taught]) == 0
    whole, parts = (checkpoint.load(tmp_path / run / "last.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(value, parts.model.state_dict()[name]) for name, value in whole.model.state_dict().items())
    assert json.loads(whole.about["teachers"]) == fingerprints([path] * 2) and "--distill 0.7" in whole.about["command"]
    settings = json.loads((tmp_path / "whole" / "run.json").read_text())[0]["settings"]
    assert settings["teacher"] == [str(path)] * 2 and settings["distill"] == 0.7

    assert main([*training(tmp_path, "alone")]) == 0
    assert main([*training(tmp_path, "unheard"), "--teacher", str(path), "--distill", "0"]) == 0
    alone, unheard = (checkpoint.load(tmp_path / run / "last.safetensors").model for run in ("alone", "unheard"))
    assert torch.equal(alone.head.weight, unheard.head.weight) and not torch.equal(
        alone.head.weight, whole.model.head.weight
    )
    assert "teachers" not in checkpoint.load(tmp_path / "alone" / "last.safetensors").about


def test_a_training_from_before_there_were_teachers_goes_on_without_and_gets_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_faces(tmp_path)
    assert main([*training(tmp_path, "old"), "--epochs", "1"]) == 0
    path = tmp_path / "old" / STATE
    state = checkpoint.load_state(path)
    for name in (*LATER, "distill"):
        del state["recipe"][name]
    checkpoint.save_state(path, state)
    assert main([*training(tmp_path, "old"), "--epochs", "2", "--resume", "--teacher", "celebamask"]) == 1
    assert "was trained with teachers [], not ['" in capsys.readouterr().err
    assert main([*training(tmp_path, "old"), "--epochs", "2", "--resume"]) == 0


def test_what_needs_a_teacher_is_refused_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*training(tmp_path, "run"), "--distill", "1"])
    assert "--distill and --teacher_flip need --teacher" in capsys.readouterr().err
    assert main([*training(tmp_path, "run"), "--teacher", str(tmp_path / "none.safetensors")]) == 1
    assert "none.safetensors: no such weights file" in capsys.readouterr().err
