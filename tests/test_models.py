"""Every architecture: shapes, gradients, learning; our ResNets and DeepLabV3 against torchvision's."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from faceparse.losses import create_loss
from faceparse.metrics import Confusion
from faceparse.models import ARCHITECTURES, create_model
from faceparse.models.decoders.deeplabv3 import state_from_torchvision
from faceparse.models.encoders import create_encoder
from faceparse.models.resnet import RESNETS
from tests.conftest import draw_face

ENCODERS = ["resnet18", "test_resnet.r160_in1k"]
FAMILIES = [
    "mobilenetv2_100",
    "mobilenetv3_small_050",
    "tf_efficientnet_lite0",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("size", [(64, 64), (97, 65), (32, 300)])
def test_any_size_gives_finite_logits_of_that_size_and_gradients_reach_the_first_layer(
    arch: str, encoder: str, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = create_model(arch, encoder, 3)
    logits = model(torch.randn(2, 3, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()
    logits.square().mean().backward()
    first = next(p for p in model.encoder.parameters() if p.ndim == 4)
    assert first.grad is not None and first.grad.abs().sum() > 0


@pytest.mark.parametrize("name", RESNETS)
def test_our_resnets_compute_what_torchvisions_compute(name: str) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(weights=None).eval()
    shuffle_norms(reference)
    ours = create_encoder(name).eval()
    ours.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    image = torch.randn(1, 3, 97, 65)
    with torch.inference_mode():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(image))))
        for i, feature in enumerate(ours(image)[1:], 1):
            x = getattr(reference, f"layer{i}")(x)
            assert (feature - x).abs().max() < 1e-4


def shuffle_norms(model: nn.Module) -> None:
    """Give every batch norm statistics of its own, so that a misplaced one would show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.2)


@pytest.mark.parametrize("size", [(96, 96), (97, 65)])
def test_deeplabv3_with_torchvisions_state_gives_the_same_logits_and_gradients(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).eval()
    shuffle_norms(reference)
    ours = create_model("deeplabv3", "resnet50", 21).eval()
    ours.load_state_dict(state_from_torchvision(reference.state_dict()))
    theirs_in, ours_in = (
        torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab"
    )
    theirs, mine = reference(theirs_in)["out"], ours(ours_in)
    assert (theirs - mine).abs().max() < 1e-4
    theirs.sum().backward()
    mine.sum().backward()
    assert theirs_in.grad is not None and ours_in.grad is not None
    assert (theirs_in.grad - ours_in.grad).norm() < 1e-3 * theirs_in.grad.norm()


def test_output_stride_16_gives_features_of_a_sixteenth() -> None:
    model = create_model("deeplabv3", "resnet50", 2, output_stride=16)
    assert model.encoder.strides == (2, 4, 8, 16, 16)
    features = model.encoder(torch.randn(1, 3, 64, 64))
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4, 4]
    assert create_model("deeplabv3", "resnet50", 2).encoder.strides[-1] == 8  # the paper's finer choice is the default


def test_encdec_has_the_published_channels() -> None:
    model = create_model("encdec", "resnet50", 2)
    assert model.encoder.channels == (64, 256, 512, 1024, 2048)
    assert [(c.in_channels, c.out_channels) for c in model.decoder.convs] == [
        (2048 + 1024, 1028),
        (1028 + 512, 514),
        (514 + 256, 256),
        (256 + 64, 64),
    ]
    assert (model.head.in_channels, model.head.out_channels, model.head.kernel_size) == (64, 2, (3, 3))


@pytest.mark.parametrize("encoder", FAMILIES)
def test_timm_families_stand_behind_the_same_interface(encoder: str) -> None:
    network = create_encoder(encoder).eval()
    with torch.inference_mode():
        features = network(torch.randn(1, 3, 96, 64))
    assert [f.shape for f in features] == [
        (1, channels, 96 // stride, 64 // stride)
        for channels, stride in zip(network.channels, network.strides, strict=True)
    ]


def test_one_picture_a_batch_can_be_trained_on() -> None:
    for arch in ARCHITECTURES:
        assert create_model(arch, "resnet18", 2).train()(torch.randn(1, 3, 64, 64)).isfinite().all()


def test_every_decoder_file_names_its_paper_on_the_first_line() -> None:
    for entry in ARCHITECTURES.values():
        module = importlib.import_module(f"faceparse.models.decoders.{entry.module}")
        assert entry.paper in Path(str(module.__file__)).read_text().splitlines()[0]


def test_an_encoder_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="encdec needs features of 5 stages, convnext_atto has 4"):
        create_model("encdec", "convnext_atto", 2)
    with pytest.raises(ValueError, match="'pvt_v2_b0' can't give features at output stride 8"):
        create_model("deeplabv3", "pvt_v2_b0", 2)
    with pytest.raises(ValueError, match="'mobilenetv2_100.nope' can't give features"):
        create_model("fpn", "mobilenetv2_100.nope", 2)


def test_unknown_names_say_what_was_probably_meant() -> None:
    with pytest.raises(ValueError, match="did you mean 'deeplabv3'"):
        create_model("deeplab3", "resnet18", 2)
    with pytest.raises(ValueError, match="resnet18"):
        create_model("fpn", "resnet-18", 2)
    with pytest.raises(ValueError, match="8, 16 or 32"):
        create_model("fpn", "resnet18", 2, output_stride=12)
    with pytest.raises(ValueError, match="fpn can't be built with widths"):
        create_model("fpn", "resnet18", 2, widths=(64, 32, 16))


def test_encoder_weights_from_a_file_arrive_and_a_misfit_is_named(tmp_path) -> None:
    trained = create_encoder("resnet18")
    torch.save(trained.state_dict() | {"fc.weight": torch.zeros(10, 512)}, tmp_path / "r18.pth")
    loaded = create_encoder("resnet18", str(tmp_path / "r18.pth"))
    assert torch.equal(loaded.get_submodule("layer4")[0].conv1.weight, trained.get_submodule("layer4")[0].conv1.weight)
    with pytest.raises(ValueError, match=r"r18.pth: \d+ tensors do not fit"):
        create_encoder("resnet34", str(tmp_path / "r18.pth"))
    with pytest.raises(ValueError, match="no such file"):
        create_encoder("resnet34", "nowhere.pth")


def test_fpn_learns_drawn_faces() -> None:
    torch.manual_seed(0)
    seen, unseen = ([batch_of(range(a, a + 16))] for a in (0, 100))
    model = create_model("fpn", "resnet18", 2, widths=(64, 32)).to(memory_format=torch.channels_last)
    loss_fn, optimizer = create_loss("ce+dice"), torch.optim.AdamW(model.parameters(), 2e-3)
    model.train()
    for _ in range(60):
        image, target = seen[0]
        loss = loss_fn(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    confusion = Confusion(2)
    with torch.inference_mode():
        confusion.add(model.eval()(unseen[0][0]).argmax(1), unseen[0][1])
    assert confusion.iou()[1] > 0.9


def batch_of(seeds: range) -> tuple[Tensor, Tensor]:
    """float32 (B, 3, 64, 64) in -1..1 and int64 (B, 64, 64): 1 on the face."""
    from faceparse.labels import FACE

    drawn = [draw_face(seed, 64) for seed in seeds]
    image = torch.stack([torch.from_numpy(rgb).permute(2, 0, 1) / 127.5 - 1 for rgb, _ in drawn])
    return image, torch.stack([torch.from_numpy(FACE.table[ids]).long() for _, ids in drawn])
