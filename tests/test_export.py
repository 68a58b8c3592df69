"""Exported models: they answer as the weights do at every size, say the same of themselves, or are not kept."""

from __future__ import annotations

import json
import sys
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import faceparse
from faceparse import checkpoint, cli, export, images
from faceparse.bundled import weights_file
from faceparse.commands import test, train
from faceparse.devices import one_thread_each
from faceparse.labels import FACE, LabelSet
from faceparse.models import ARCHITECTURES
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess
from tests.conftest import draw_face
from tests.test_models import narrow_widths

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

THREE = LabelSet("three", ("background", "cat", "dog"), ((0, 0, 0), (0, 255, 0), (255, 0, 0)), (("cat", "dog"),))
PLAIN = Preprocess(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
ABOUT = {"data": "drawn", "licence": "none", "command": "train.py"}
SUFFIXES = {"onnx": ".onnx", "torchscript": ".ts"}


def saved(path: Path, arch: str = "fpn") -> nn.Module:
    """A new small model of three classes, kept at `path`; no batch norm is neutral."""
    torch.manual_seed(0)
    design = checkpoint.Design(arch, "test_resnet.r160_in1k", widths=tuple(narrow_widths(arch)))
    model = design.build(len(THREE)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
    checkpoint.save(path, model.state_dict(), design, THREE, PLAIN, ABOUT)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights w.safetensors, exported beside as w.onnx and w.ts."""
    folder = tmp_path_factory.mktemp("exported")
    saved(folder / "w.safetensors")
    for name in export.FORMATS:
        export.export(folder / "w.safetensors", name, command="faceparse export w.safetensors")
    return folder


@pytest.mark.parametrize("name", export.FORMATS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_gives_the_same_logits_at_other_sizes_and_numbers(
    tmp_path: Path, arch: str, name: str
) -> None:
    model = saved(tmp_path / "w.safetensors", arch)
    out, measured = export.export(tmp_path / "w.safetensors", name)
    assert out == tmp_path / f"w{SUFFIXES[name]}"
    assert measured.agreement >= 0.999
    exported = checkpoint.load_for_use(out).model
    for shape in [(1, 3, 64, 64), (3, 3, 97, 65), (1, 3, 32, 150)]:
        image = torch.randn(shape)
        with torch.inference_mode():
            assert (exported(image) - model(image)).abs().max() < 1e-4


def test_the_bundled_weights_give_the_same_masks_as_an_onnx_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "face.onnx"
    assert cli.main(["export", "face", "--format", "onnx", "--half", "--out", str(out)]) == 0
    assert "the original's class on 100.000% of the pixels of 6 pictures" in capsys.readouterr().err
    assert out.stat().st_size < 1.1 * weights_file("face").stat().st_size  # which are in 16 bits
    images.write_rgb(tmp_path / "photos" / "a.png", draw_face(0, 300)[0][:200])
    photos, masks = ["--images_path", str(tmp_path / "photos"), "--save_path"], []
    for weights in (out, weights_file("face")):
        saved_to = tmp_path / weights.suffix[1:]
        assert test.main(["--weights_path", str(weights), *photos, str(saved_to), "--device", "cpu"]) == 0
        masks.append(images.read_mask(saved_to / "a.png"))
    assert masks[0].shape == (200, 300)
    assert (masks[0] == masks[1]).mean() > 0.999


@pytest.mark.parametrize("name", export.FORMATS)
def test_an_exported_model_says_of_itself_what_the_weights_say(folder: Path, name: str) -> None:
    weights = checkpoint.load(folder / "w.safetensors")
    exported = checkpoint.load_for_use(folder / f"w{SUFFIXES[name]}")
    assert exported.design == weights.design
    assert exported.labels == weights.labels == THREE
    assert exported.preprocess == weights.preprocess
    made = {"command": "faceparse export w.safetensors", "format": name, "precision": "float32"}
    assert exported.about == {**ABOUT, "export": json.dumps(made)}


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_predictor_takes_an_exported_model_by_its_path(folder: Path, suffix: str) -> None:
    pictures = [draw_face(1, 90)[0], draw_face(2, 90)[0][:50], draw_face(3, 90)[0]]
    original, exported = (faceparse.load(folder / f"w{end}", "cpu") for end in (".safetensors", suffix))
    for expected, mask in zip(original.predict_batch(pictures), exported.predict_batch(pictures), strict=True):
        assert mask.shape == expected.shape
        assert (mask == expected).mean() > 0.999
    assert exported.about["licence"] == "none"


@pytest.mark.parametrize("name", export.FORMATS)
def test_half_is_half_the_file_and_nearly_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(export.AGREEMENT, "half", 0.98)  # untrained classes are nearly alike
    out, _ = export.export(folder / "w.safetensors", name, tmp_path / f"h{SUFFIXES[name]}", "half")
    assert out.stat().st_size < 0.65 * (folder / f"w{SUFFIXES[name]}").stat().st_size
    image = torch.randn(1, 3, 64, 64)
    models = [checkpoint.load_for_use(path).model for path in (out, folder / "w.safetensors")]
    with torch.inference_mode():
        half, full = (model(image) for model in models)
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.02 * full.abs().max()


def test_int8_computes_in_integers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export.AGREEMENT, "int8", 0.5)  # untrained classes are nearly alike
    monkeypatch.setattr(export, "OVERLAP", 0.5)
    for number in range(3):
        images.write_rgb(tmp_path / "faces" / f"{number}.png", draw_face(number, 64)[0])
    out, measured = export.export(folder / "w.safetensors", "onnx", tmp_path / "i.onnx", "int8", tmp_path / "faces")
    assert measured.agreement < 1
    assert out.stat().st_size < 0.5 * (folder / "w.onnx").stat().st_size
    nodes = onnx.load(out).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 10
    integers = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    in_integers = [node.input[1] in integers for node in nodes if node.op_type == "Conv"]
    assert not any(in_integers[:3]) and all(in_integers[3:-1]) and not in_integers[-1]
    assert checkpoint.load_for_use(out).model(torch.zeros(3, 3, 40, 70)).shape == (3, 3, 40, 70)
    with pytest.raises(ValueError, match="int8 learns its ranges from pictures: name some .*--images_path"):
        export.export(folder / "w.safetensors", "onnx", tmp_path / "i.onnx", "int8")
    with pytest.raises(ValueError, match="torchscript can't be written in int8; it has float32, half"):
        export.export(folder / "w.safetensors", "torchscript", None, "int8")


# what is not near enough is not kept


class Left(nn.Module):
    """Foreground in the columns left of `share` of the width."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, image: Tensor) -> Tensor:
        foreground = torch.zeros_like(image[:, 0])
        foreground[..., : round(self.share * image.shape[-1])] = 1
        return torch.stack([0.5 - foreground, foreground - 0.5], dim=1) * 20


def test_agreement_and_iou_are_those_counted_by_hand() -> None:
    truth = np.zeros((64, 64), np.uint8)
    truth[:, :32] = 1  # 32 of 64 columns; the original has these, the other one 48
    examples = [lambda: (np.zeros((64, 64, 3), np.uint8), truth)] * 4
    half, more = (Predictor(Left(share), FACE, PLAIN, "cpu") for share in (0.5, 0.75))
    measured = export.compare(half, more, examples)
    assert (measured.pictures, measured.agreement) == (4, 0.75)
    assert (measured.original_iou, measured.iou) == (1.0, pytest.approx(32 / 48))
    assert measured.overlap == pytest.approx(32 / 48)
    assert str(measured) == (
        "the original's class on 75.000% of the pixels of 4 pictures (IoU of the foregrounds 0.6667), "
        "and IoU 0.6667 against its 1.0000"
    )


def test_a_constant_model_is_not_near_enough_for_int8_where_the_foreground_is_small_or_none() -> None:
    pictures = [lambda: (np.zeros((128, 128, 3), np.uint8), None)]
    small, nobody = (Predictor(Left(share), FACE, replace(PLAIN, size=128), "cpu") for share in (1 / 128, 0))
    missed = export.compare(small, nobody, pictures)
    assert (missed.agreement, missed.overlap) == (127 / 128, 0)
    assert not missed.is_enough("int8")
    unknown = export.compare(nobody, nobody, pictures)
    assert str(unknown) == "the original's class on 100.000% of the pixels of 1 pictures (background alone)"
    assert not unknown.is_enough("int8")
    assert export.compare(small, small, pictures).is_enough("int8")


def test_limits_of_agreement_and_iou() -> None:
    assert export.Measured(9, 0.9990).is_enough("half")
    assert not export.Measured(9, 0.9989).is_enough("float32")
    assert export.Measured(9, 0.99, 0.946, 0.95, 0.9).is_enough("int8")
    assert not export.Measured(9, 0.99, 0.946, 0.95, 0.89).is_enough("int8")
    assert not export.Measured(9, 1.0, 0.944, 0.95, 1.0).is_enough("int8")
    assert not export.Measured(9, 0.9899, overlap=1.0).is_enough("int8")
    assert export.Measured(9, 1.0, 0.97, 0.95).is_enough("float32")


def test_an_export_that_answers_otherwise_leaves_the_old_file_and_says_what_was_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "w.ts"
    out.write_text("old")
    monkeypatch.setitem(export.AGREEMENT, "float32", 1.1)
    words = ["export", str(folder / "w.safetensors"), "--format", "torchscript", "--out", str(out)]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert f"error: {out} is not kept: it has the original's class on 100.000% of the pixels of 6 pictures" in said
    assert [path.name for path in tmp_path.iterdir()] == ["w.ts"]
    assert out.read_text() == "old"


def test_an_export_of_other_logits_is_not_kept_though_all_pixels_may_agree(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubled(nn.Module):
        def __init__(self, model: nn.Module):
            super().__init__()
            self.model = model

        def forward(self, image: Tensor) -> Tensor:
            return 2 * self.model(image)

    monkeypatch.setattr(export, "_half_stored", Doubled)
    with pytest.raises(ValueError, match="w.ts is not kept: on noise its logits are off by 100.0%; in half .* by 5.0%"):
        export.export(folder / "w.safetensors", "torchscript", tmp_path / "w.ts", "half")
    assert list(tmp_path.iterdir()) == []


def test_real_pictures_and_masks_are_compared_where_they_are_given(folder: Path, tmp_path: Path) -> None:
    for number in range(2):
        rgb, ids = draw_face(number, 64)
        images.write_rgb(tmp_path / "faces" / f"{number}.png", rgb)
        images.write_mask(tmp_path / "masks" / f"{number}.png", (ids > 0).astype(np.uint8) * 2, THREE)
    out = tmp_path / "w.ts"
    arguments = folder / "w.safetensors", "torchscript", out, "float32"
    measured = export.export(*arguments, tmp_path / "faces")[1]
    assert measured.pictures == 2
    assert np.isnan(measured.iou)
    measured = export.export(*arguments, tmp_path / "faces", tmp_path / "masks")[1]
    assert measured.iou == measured.original_iou
    with pytest.raises(ValueError, match="masks: true masks need their pictures"):
        export.export(*arguments, None, tmp_path / "masks")


# what is no exported model of ours


def described_as(source: Path, path: Path, changes: dict[str, str]) -> Path:
    """A copy of an exported model with other metadata."""
    if source.suffix == ".onnx":
        model = onnx.load(source)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        onnx.helper.set_model_props(model, metadata | changes)
        onnx.save(model, path)
        return path
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, json.dumps(json.loads(data) | changes) if "/extra/" in name else data)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES.values())
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "99"),
        ("design", "not json"),
        ("design", json.dumps({"architecture": "fpn", "encoder": "resnet18", "colour": "blue"})),
        ("labels", json.dumps({"name": "face"})),
        ("preprocess", json.dumps({"size": "x", "mean": [], "std": []})),
    ],
)
def test_a_hostile_description_is_one_sentence_before_the_program_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, key: str, value: str
) -> None:
    path = described_as(folder / f"w{suffix}", tmp_path / f"bad{suffix}", {key: value})
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=f"bad{suffix}: (format '99' is not|not a weights file)") as caught:
        faceparse.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_model_of_another_number_of_classes_than_it_says_is_refused(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    four = {"name": "four", "classes": list("abcd"), "colours": [[0, 0, 0]] * 4, "mirrors": []}
    path = described_as(folder / f"w{suffix}", tmp_path / f"four{suffix}", {"labels": json.dumps(four)})
    with pytest.raises(ValueError, match=r"four.*it answers \(1, 3, 32, 32\) for 4 classes"):
        faceparse.load(path)


@pytest.mark.parametrize("suffix", [".onnx", ".ts", ".pt"])
def test_other_files_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    with pytest.raises(FileNotFoundError, match=f"other{suffix}: no such weights file"):
        faceparse.load(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match=f"other{suffix}: not a weights file of faceparse") as caught:
        faceparse.load(path)
    assert "\n" not in str(caught.value)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ValueError, match=f"other{suffix}: "):
        faceparse.load(path)


def test_a_foreign_onnx_model_is_refused_by_name(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
    opset = [onnx.helper.make_opsetid("", export.OPSET)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="foreign.onnx: format 'unknown' is not one"):
        faceparse.load(tmp_path / "foreign.onnx")


def test_training_does_not_start_from_an_exported_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--faces_dir", str(tmp_path), "--masks_dir", str(tmp_path), "--weights_dir", str(tmp_path / "run")]
    assert train.main([*folders, "--init", str(folder / "w.onnx")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == (
        f"error: {folder / 'w.onnx'}: .onnx files are exported models, for use only; "
        "give the .safetensors file that it was made from"
    )


def test_onnx_models_run_on_the_cpu_with_as_many_threads_as_torch(folder: Path) -> None:
    model = faceparse.load(folder / "w.onnx").model
    assert isinstance(model, checkpoint.OnnxModel)
    before = torch.get_num_threads()
    image = torch.zeros(1, 3, 64, 64)
    logits, threads = [], []
    torch.set_num_threads(2)
    for block in (nullcontext(), one_thread_each(), nullcontext()):
        with block:
            logits.append(model(image))
            threads.append(model.session().get_session_options().intra_op_num_threads)
    torch.set_num_threads(before)
    assert threads == [2, 1, 2]
    assert all(torch.allclose(other, logits[0], atol=1e-5) for other in logits)
    with pytest.raises(ValueError, match="w.onnx: ONNX models run on the CPU, not on 'cuda'; leave the device out"):
        faceparse.load(folder / "w.onnx", "cuda")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_sentence_with_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    mend = rf"pip install '\.\[export\]' in the folder of faceparse, or pip install {package}$"
    with pytest.raises(OSError, match=f"onnx models need {package}, which is not installed: {mend}"):
        export.export(folder / "w.safetensors", "onnx", tmp_path / "w.onnx")
    assert list(tmp_path.iterdir()) == []


def test_unknown_formats_and_endings_are_told_the_choices(folder: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'coreml'; choose from: onnx, torchscript"):
        export.export(folder / "w.safetensors", "coreml")
    with pytest.raises(ValueError, match=r"w.pth: a file of torchscript ends in .ts or .pt"):
        export.export(folder / "w.safetensors", "torchscript", folder / "w.pth")
