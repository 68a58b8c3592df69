"""Filling an encoder from a local file: what matches, what is passed over, what is refused; its mean and std."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from faceparse.commands import train, train_flags
from faceparse.labels import FACE
from faceparse.models import create_model
from faceparse.models.encoders import create_encoder
from faceparse.models.segmenter import Encoder
from faceparse.models.weights import read_state

FAMILIES = [
    "mobilenetv2_100",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "test_resnet.r160_in1k",
]


def features(encoder: Encoder) -> list[Tensor]:
    with torch.inference_mode():
        return encoder.eval()(torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64))


def same(a: Encoder, b: Encoder) -> bool:
    return all(torch.equal(x, y) for x, y in zip(features(a), features(b), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_whole_timm_classifier_fills_its_encoder(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    trained = timm.create_model(name)
    for value in trained.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 0.3)  # ones and zeros would not show what was loaded
    save_file(trained.state_dict(), tmp_path / "whole.safetensors")
    filled = create_encoder(name, str(tmp_path / "whole.safetensors"))
    reported = re.search(
        r"whole.safetensors: (\d+) of (\d+) tensors loaded; passed over: (.+)", capsys.readouterr().err
    )
    assert reported and reported[1] == reported[2] == str(len(filled.state_dict()))
    by_value = {float(value.double().sum()) for value in trained.state_dict().values()}
    assert all(float(value.double().sum()) in by_value for value in filled.state_dict().values())


@pytest.mark.parametrize("name", FAMILIES)
def test_what_one_encoder_saved_another_loads(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = create_encoder(name)
    torch.save(trained.get_submodule("network").state_dict(), tmp_path / "features.pth")
    assert same(create_encoder(name, str(tmp_path / "features.pth")), trained)
    assert "passed over" not in capsys.readouterr().err


def test_torchvisions_file_fills_our_resnet_and_the_classifier_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = create_encoder("resnet18")
    torch.save(
        trained.state_dict() | {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}, tmp_path / "r.pth"
    )
    assert same(create_encoder("resnet18", str(tmp_path / "r.pth")), trained)
    # 20 convolutions, 20 batch norms of 5 tensors each
    assert capsys.readouterr().err == (
        f"encoder weights {tmp_path / 'r.pth'}: 120 of 120 tensors loaded; passed over: fc.bias, fc.weight\n"
    )


def test_layers_that_the_architecture_does_not_use_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(create_encoder("resnet18").state_dict(), tmp_path / "r.pth")
    create_encoder("resnet18", str(tmp_path / "r.pth"), output_stride=8, depth=3)
    # up to layer2: 1 + 4 + 5 convolutions; of layer3 and layer4 5 each: 30 tensors a layer, 6 named
    assert "60 of 60 tensors loaded; passed over: layer3.0.bn1.bias, " in (told := capsys.readouterr().err)
    assert told.endswith(" and 54 more\n")


def test_files_without_batch_counters_and_with_wrappers_load(tmp_path: Path) -> None:
    trained = create_encoder("resnet18")
    old = {f"module.{key}": value for key, value in trained.state_dict().items() if "num_batches" not in key}
    torch.save({"epoch": 3, "state_dict": old}, tmp_path / "r.pt")
    assert same(create_encoder("resnet18", str(tmp_path / "r.pt")), trained)


def test_another_encoders_file_is_refused_and_named(tmp_path: Path) -> None:
    torch.save(create_encoder("resnet18").state_dict(), tmp_path / "r18.pth")
    # ResNet-34 has 16 convolutions more, and 5 tensors of batch norm with each: 96
    with pytest.raises(ValueError, match=r"r18.pth does not fit encoder resnet34: of its 216 tensors, 80 are missing"):
        create_encoder("resnet34", str(tmp_path / "r18.pth"))
    with pytest.raises(ValueError, match="nowhere.pth: no such file of encoder weights; give none, imagenet or"):
        create_encoder("resnet34", "nowhere.pth")


def test_a_partial_match_is_taken_when_told_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = create_encoder("resnet18")
    state = trained.state_dict()
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    del state["bn1.bias"]
    torch.save(state | {"mystery": torch.zeros(1)}, tmp_path / "r.pth")
    path = str(tmp_path / "r.pth")
    expected = "of its 120 tensors, 2 are missing or have another shape (bn1.bias, conv1.weight), and 1 that it has not"
    with pytest.raises(ValueError, match=re.escape(expected)):
        create_model("fpn", "resnet18", 2, path)
    model = create_model("fpn", "resnet18", 2, path, partial_encoder_weights=True)
    assert torch.equal(model.encoder.get_submodule("layer4")[0].conv1.weight, state["layer4.0.conv1.weight"])
    assert capsys.readouterr().err.endswith(
        "118 of 120 tensors loaded; left as they were: bn1.bias, conv1.weight; passed over: mystery\n"
    )


def test_a_file_of_which_nothing_fits_is_always_refused(tmp_path: Path) -> None:
    torch.save({"mystery": torch.zeros(1)}, tmp_path / "r.pth")
    with pytest.raises(ValueError, match="name the encoder that the file was made for$"):
        create_model("fpn", "resnet18", 2, str(tmp_path / "r.pth"), partial_encoder_weights=True)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole.pth holds Python objects.* torch.save\(model.state_dict\(\), FILE\)"):
        read_state(tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02X"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_something_else_is_one_sentence(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = (tmp_path / "odd").with_suffix(suffix)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"odd{suffix}: not a .safetensors, .pth or .pt file of weights"):
        read_state(path)


def test_states_that_are_none_are_told_apart(tmp_path: Path) -> None:
    for state in ({"epoch": 3}, {5: torch.zeros(1)}):
        torch.save(state, tmp_path / "no_state.pt")
        with pytest.raises(
            ValueError, match="expected a state dict of tensors, or a checkpoint with one as its state_dict"
        ):
            read_state(tmp_path / "no_state.pt")
    torch.save({"fc.weight": torch.zeros(1), "model.fc.weight": torch.ones(1)}, tmp_path / "two.pt")
    with pytest.raises(ValueError, match="two.pt holds two networks"):
        read_state(tmp_path / "two.pt")


def test_training_takes_the_encoders_mean_and_std_and_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = create_encoder("tf_efficientnet_lite0")
    save_file(trained.get_submodule("network").state_dict(), tmp_path / "lite0.safetensors")
    flags = ["--faces_dir", "f", "--masks_dir", "m", "--weights_dir", "w", "--encoder", "tf_efficientnet_lite0"]
    args = train_flags.parse_args(
        [*flags, "--encoder_weights", str(tmp_path / "lite0.safetensors"), "--widths", "32", "32"]
    )
    model, _, preprocess = train.build_model(args, FACE)
    assert same(model.encoder, trained)
    assert preprocess.mean == preprocess.std == (0.5, 0.5, 0.5)
    assert "288 of 288 tensors loaded" in capsys.readouterr().err


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "tensors", "mean"), [("mobilenetv2_100", 306, 0.485), ("tf_efficientnet_lite2", 378, 0.5)]
)
def test_real_encoder_weights_load_whole(
    name: str, tensors: int, mean: float, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "encoders" / f"{name}.in1k.features.safetensors"
    encoder = create_encoder(name, str(path))
    assert encoder.mean[0] == mean
    assert capsys.readouterr().err == f"encoder weights {path}: {tensors} of {tensors} tensors loaded\n"
    assert all(feature.isfinite().all() for feature in features(encoder))


@pytest.mark.parametrize("encoder", ["resnet18", "test_resnet.r160_in1k"])
def test_a_download_that_fails_is_one_sentence_with_another_way(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(ValueError, match=f"the imagenet weights of {encoder} can't be downloaded .*give a local file"):
        create_encoder(encoder, "imagenet")
