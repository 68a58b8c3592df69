"""Other libraries' weights: the converted file answers as the original does; what does not fit is listed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

import faceparse
from faceparse import checkpoint
from faceparse.commands import convert, train, train_flags
from faceparse.labels import FACE, FOREGROUND, LabelSet
from faceparse.models.encoders import create_encoder
from tests.conftest import draw_face

smp = pytest.importorskip("segmentation_models_pytorch")

SIZE = 64  # divisible by 32, as smp wants it


def trained(model: nn.Module) -> nn.Module:
    """The model as if it had been trained: no batch norm is neutral, and all classes occur in its masks."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.2)
    return model.eval()


def by_hand(model: nn.Module, image: np.ndarray, decide: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask of a picture: resize, normalise, ask, resize the probabilities (C, h, w) to the picture, decide."""
    small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    pixels = (small - np.float32([0.485, 0.456, 0.406]) * 255) / (np.float32([0.229, 0.224, 0.225]) * 255)
    with torch.inference_mode():
        answer = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    logits: Tensor = answer["out"] if isinstance(answer, dict) else answer
    probabilities = logits.sigmoid()[0] if logits.shape[1] == 1 else logits.softmax(1)[0]
    return decide(np.stack([cv2.resize(p.numpy(), image.shape[1::-1]) for p in probabilities]))


def foreground(probabilities: np.ndarray) -> np.ndarray:
    return ((probabilities[-1] > 0.5) * FOREGROUND).astype(np.uint8)


def likeliest(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(0).astype(np.uint8)


def centred(model: nn.Module, head: nn.Module, image: np.ndarray) -> nn.Module:
    """Shift and stretch what the head answers, so that each class has about as many pixels of this picture."""
    logits: list[np.ndarray] = []
    handle = head.register_forward_hook(lambda module, inputs, output: logits.append(output[0].numpy()))
    by_hand(model, image, likeliest)
    handle.remove()
    with torch.no_grad():
        spread = torch.from_numpy(logits[0].std(axis=(1, 2))) / 4
        head.bias -= torch.from_numpy(np.median(logits[0], axis=(1, 2)))
        head.bias /= spread
        head.weight /= spread.view(-1, 1, 1, 1)
    return model


def flags(arch: str, encoder: str, labels: str = "face") -> list[str]:
    return ["--arch", arch, "--encoder", encoder, "--labels", labels, "--size", str(SIZE)]


def run(source: str, file: Path, options: Sequence[str], out: Path) -> int:
    return convert.main([str(file), "--from", source, *options, str(out)])


SMP = [
    ("fpn", "FPN", "resnet18", "resnet18"),
    ("unet", "Unet", "mobilenet_v2", "mobilenet_v2"),
    ("deeplabv3plus", "DeepLabV3Plus", "tu-mobilenetv3_small_050", "mobilenetv3_small_050"),
    ("pspnet", "PSPNet", "tu-resnet18", "resnet18.a1_in1k"),
]


@pytest.mark.parametrize(("arch", "theirs", "encoder", "ours"), SMP)
def test_smps_model_and_its_converted_file_give_the_same_mask(
    arch: str, theirs: str, encoder: str, ours: str, tmp_path: Path
) -> None:
    image = draw_face(3, 2 * SIZE)[0]
    model = trained(getattr(smp, theirs)(encoder, encoder_weights=None, classes=2))
    centred(model, model.segmentation_head[0], image)
    torch.save(model.state_dict(), tmp_path / "theirs.pth")
    out = tmp_path / "ours.safetensors"
    assert run("smp", tmp_path / "theirs.pth", flags(arch, encoder), out) == 0
    expected = by_hand(model, image, foreground)
    assert 0.2 < (expected > 0).mean() < 0.8
    assert np.array_equal(faceparse.load(out, "cpu")(image), expected)
    written = checkpoint.load(out)
    assert (written.design.architecture, written.design.encoder, written.design.convention) == (arch, ours, "smp")
    assert written.about["command"].startswith("faceparse convert ")


COCO = torchvision.models.segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]


@pytest.fixture(scope="module")
def deeplabv3() -> nn.Module:
    """torchvision's as its COCO file fills it: 21 classes, and the auxiliary head of its training."""
    make = torchvision.models.segmentation.deeplabv3_resnet50
    model = trained(make(weights=None, weights_backbone=None, num_classes=len(COCO), aux_loss=True))
    return centred(model, model.classifier[4], draw_face(3, 2 * SIZE)[0])


@pytest.fixture
def coco_labels(tmp_path: Path) -> str:
    """The label file of its classes."""
    (tmp_path / "coco.json").write_text(json.dumps({"classes": ["background", *COCO[1:]]}))
    return str(tmp_path / "coco.json")


@pytest.mark.parametrize("auxiliary", [True, False])
def test_torchvisions_deeplabv3_and_its_converted_file_give_the_same_mask(
    auxiliary: bool, deeplabv3: nn.Module, coco_labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = draw_face(3, 2 * SIZE)[0]
    state = nn.DataParallel(deeplabv3).state_dict()
    state = {key: value for key, value in state.items() if auxiliary or "aux_classifier" not in key}
    torch.save({"epoch": 7, "model_state_dict": state}, tmp_path / "theirs.pt")
    out = tmp_path / "ours.safetensors"
    assert run("torchvision", tmp_path / "theirs.pt", flags("deeplabv3", "resnet50", coco_labels), out) == 0
    assert ("passed over, not in use: aux_classifier." in capsys.readouterr().err) == auxiliary
    expected = by_hand(deeplabv3, image, likeliest)
    assert len(np.unique(expected)) > 5
    assert np.array_equal(faceparse.load(out, "cpu")(image), expected)


def test_training_with_other_classes_goes_on_from_torchvisions_21(
    deeplabv3: nn.Module, coco_labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(deeplabv3.state_dict(), tmp_path / "theirs.pth")
    out = tmp_path / "ours.safetensors"
    assert run("torchvision", tmp_path / "theirs.pth", flags("deeplabv3", "resnet50", coco_labels), out) == 0
    told = "passed over, not in use: aux_classifier.0.weight, aux_classifier.1.bias, "
    assert told in capsys.readouterr().err
    wanted = LabelSet("mine", ("background", "hat", "person"), ((0, 0, 0), (9, 9, 9), (99, 99, 99)))
    options = ["--faces_dir", "f", "--masks_dir", "m", "--weights_dir", "w", "--labels", "mine.json", "--size", "64"]
    model, design, preprocess = train.build_model(train_flags.parse_args([*options, "--init", str(out)]), wanted)
    left_out = ", ".join(name for name in COCO[1:] if name != "person")
    told = f"{out}: loaded, but for the head of hat, which is new; left out: the head of {left_out}\n"
    assert capsys.readouterr().err == told
    assert (design.architecture, design.encoder, design.convention) == ("deeplabv3", "resnet50", "torchvision")
    assert preprocess.size == 64
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32))
    with torch.inference_mode():
        theirs, ours = deeplabv3(pixels)["out"], model.eval()(pixels)
    assert ours.shape == (2, 3, 64, 64)
    torch.testing.assert_close(ours[:, [0, 2]], theirs[:, [0, COCO.index("person")]], rtol=1e-4, atol=1e-4)
    assert not (model.head.weight[1] == deeplabv3.classifier[4].weight).flatten(1).all(dim=1).any()  # drawn anew


def test_one_class_and_a_sigmoid_become_two_classes_exactly(tmp_path: Path) -> None:
    image = draw_face(5, 2 * SIZE)[0]
    model = trained(smp.FPN("resnet18", encoder_weights=None, classes=1))
    centred(model, model.segmentation_head[0], image)
    save_file({f"model.{key}": value for key, value in model.state_dict().items()}, tmp_path / "one.safetensors")
    out = tmp_path / "two.safetensors"
    assert run("smp", tmp_path / "one.safetensors", flags("fpn", "resnet18"), out) == 0
    expected = by_hand(model, image, foreground)
    assert 0.2 < (expected > 0).mean() < 0.8
    assert np.array_equal(faceparse.load(out, "cpu")(image), expected)
    head = checkpoint.load(out).model.head
    assert head.weight[0].abs().sum() == head.bias[0] == 0


@pytest.fixture
def fpn() -> dict[str, Tensor]:
    return smp.FPN("resnet18", encoder_weights=None, classes=2).state_dict()


def refused(state: dict[str, Tensor], options: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr says when the conversion ends with status 1 and without a file."""
    torch.save(state, folder / "theirs.pth")
    assert run("smp", folder / "theirs.pth", options, folder / "out" / "ours.safetensors") == 1
    assert not list(folder.glob("out/*"))
    return capsys.readouterr().err


def test_all_that_does_not_fit_is_listed_and_nothing_is_written(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del fpn["encoder.layer1.0.conv1.weight"], fpn["encoder.bn1.bias"]
    fpn |= {"std": torch.zeros(3), "mean": torch.zeros(3), "encoder.conv1.weight": torch.zeros(64, 1, 7, 7)}
    assert refused(fpn, flags("fpn", "resnet18"), tmp_path, capsys) == (
        f"error: {tmp_path / 'theirs.pth'} does not fit fpn on resnet18 with the 2 classes of face, "
        "so nothing is written\n"
        "  2 missing, by our names: encoder.bn1.bias, encoder.layer1.0.conv1.weight\n"
        "  2 unknown: mean, std\n"
        "  1 of another shape: encoder.conv1.weight (64, 1, 7, 7), not (64, 3, 7, 7)\n"
    )


def test_the_wrong_encoder_is_listed_up_to_twenty_names_of_a_kind(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(fpn, flags("fpn", "resnet34"), tmp_path, capsys)
    # 16 convolutions more than ResNet-18, each with a batch norm of 4 tensors and a counter
    assert "  80 missing, by our names: encoder.layer1.2.bn1.bias, " in told
    assert told.endswith(" and 60 more\n")


def test_a_head_of_other_classes_is_told_which_labels_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = smp.FPN("resnet18", encoder_weights=None, classes=19).state_dict()
    told = refused(state, flags("fpn", "resnet18"), tmp_path, capsys)
    assert "segmentation_head.0.weight (19, 128, 1, 1), not (2, 128, 1, 1)" in told
    assert told.endswith("  the file has 19 classes; --labels with as many: celebamask\n")
    state = smp.FPN("resnet18", encoder_weights=None, classes=21).state_dict()
    assert refused(state, flags("fpn", "resnet18"), tmp_path, capsys).endswith(
        "21 classes; --labels with as many: none\n"
    )


def test_a_head_without_classes_is_listed_as_any_other_shape(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(fpn | {"segmentation_head.0.weight": torch.tensor(1.0)}, flags("fpn", "resnet18"), tmp_path, capsys)
    assert told.endswith("  1 of another shape: segmentation_head.0.weight (), not (2, 128, 1, 1)\n")


@pytest.mark.parametrize(
    ("flag", "numbers", "told"),
    [
        ("--mean", ["123.7", "116.3", "103.5"], "expected a number from 0 to 1 (divide what counts to 255)"),
        ("--mean", ["nan", "0", "0"], "expected a number from 0 to 1"),
        ("--std", ["0", "0.2", "0.2"], "--std divides, so it has to be above 0"),
    ],
)
def test_a_mean_and_a_std_that_fit_no_picture_are_refused(
    flag: str, numbers: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("smp", Path("theirs.pth"), [*flags("fpn", "resnet18"), flag, *numbers], Path("ours.safetensors"))
    assert told in capsys.readouterr().err


def test_what_is_named_is_dropped_and_settings_are_kept(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(fpn | {"std": torch.zeros(3), "mean": torch.zeros(3)}, tmp_path / "theirs.pth")
    options = [*flags("fpn", "resnet18"), "--drop", "mean", "--drop", "std", "--half", "--licence", "MIT"]
    options += ["--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25"]
    assert run("smp", tmp_path / "theirs.pth", options, tmp_path / "ours.safetensors") == 0
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'ours.safetensors'}: {len(fpn)} tensors of")
    written = checkpoint.load(tmp_path / "ours.safetensors")
    assert (written.preprocess.mean, written.preprocess.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert written.about["licence"] == "MIT"
    assert (tmp_path / "ours.safetensors").stat().st_size < 0.6 * (tmp_path / "theirs.pth").stat().st_size


def test_training_goes_on_from_a_converted_file(fpn: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(fpn, tmp_path / "theirs.pth")
    out = tmp_path / "ours.safetensors"
    assert run("smp", tmp_path / "theirs.pth", flags("fpn", "resnet18"), out) == 0
    options = ["--faces_dir", "f", "--masks_dir", "m", "--weights_dir", "w", "--encoder", "resnet18"]
    model, design, _ = train.build_model(train_flags.parse_args([*options, "--init", str(out)]), FACE)
    assert design.convention == "smp" and model.align_corners
    assert torch.equal(model.head.weight, fpn["segmentation_head.0.weight"])


def test_the_input_is_never_overwritten(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.safetensors"
    save_file(fpn, file)
    before = file.read_bytes()
    assert run("smp", file, flags("fpn", "resnet18"), tmp_path / "." / "w.safetensors") == 1
    assert "is the file to convert; name another one" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert run("smp", file, flags("fpn", "resnet18"), tmp_path / "w.pth") == 1
    assert "w.pth: a weights file is called something.safetensors" in capsys.readouterr().err


def test_a_pickled_model_and_our_own_file_are_refused(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    assert run("smp", tmp_path / "whole.pth", flags("fpn", "resnet18"), tmp_path / "o.safetensors") == 1
    assert "save only its tensors: torch.save(model.state_dict(), FILE)" in capsys.readouterr().err
    save_file(fpn, tmp_path / "theirs.safetensors")
    assert run("smp", tmp_path / "theirs.safetensors", flags("fpn", "resnet18"), tmp_path / "o.safetensors") == 0
    assert run("smp", tmp_path / "o.safetensors", flags("fpn", "resnet18"), tmp_path / "p.safetensors") == 1
    assert "o.safetensors has faceparse's own names already" in capsys.readouterr().err


def test_an_architecture_that_the_reference_has_not_is_one_sentence(
    fpn: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(fpn, flags("encdec", "resnet18"), tmp_path, capsys) == "error: encdec has no counterpart in smp\n"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("resnet34", "resnet34"),
        ("mobilenet_v2", "mobilenet_v2"),
        ("tu-convnext_atto", "convnext_atto"),
        ("tu-resnet50", "resnet50.a1_in1k"),
        ("tu-resnet50.tv_in1k", "resnet50.tv_in1k"),
        ("timm-mobilenetv3_small_100", "tf_mobilenetv3_small_100"),
        ("timm-gernet_s", "gernet_s"),
    ],
)
def test_smps_names_of_encoders_are_understood(theirs: str, ours: str) -> None:
    assert convert.our_name(theirs) == ours
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # smp's of the names that it has given up
        names = {key.replace("model.", "network.", 1) for key in smp.encoders.get_encoder(theirs).state_dict()}
        assert names == set(create_encoder(ours).state_dict())
