"""Every architecture: shapes, gradients, learning, export. What they compute is compared in test_parity.py."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faceparse.labels import FACE
from faceparse.losses import create_loss
from faceparse.metrics import Confusion
from faceparse.models import ARCHITECTURES, CONVENTIONS, create_model
from faceparse.models.encoders import create_encoder
from tests.conftest import draw_face

SMALL = "test_resnet.r160_in1k"
ENCODERS = ["resnet18", "mobilenet_v2", SMALL]
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


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_one_picture_a_batch_can_be_trained_on_down_to_32_pixels(arch: str, encoder: str) -> None:
    model = create_model(arch, encoder, 2).train()
    for size in (64, 32):
        assert model(torch.randn(1, 3, size, size)).isfinite().all()


@pytest.mark.parametrize("classes", [1, 150])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_from_1_to_150_classes(arch: str, classes: int) -> None:
    assert create_model(arch, SMALL, classes)(torch.randn(2, 3, 64, 64)).shape == (2, classes, 64, 64)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "mobilenet_v2", "mobilenetv2_100", "convnext_atto"])
@pytest.mark.parametrize("stride", [8, 16])
def test_dilation_gives_features_of_that_output_stride(encoder: str, stride: int, convention: str) -> None:
    network = create_model("deeplabv3", encoder, 2, output_stride=stride, convention=convention).encoder.eval()
    assert network.strides == tuple(min(s, stride) for s in (2, 4, 8, 16, 32))[-len(network.strides) :]
    with torch.inference_mode():
        assert [64 // f.shape[-1] for f in network(torch.randn(1, 3, 64, 64))] == list(network.strides)


def test_the_papers_output_strides_are_the_defaults() -> None:
    strides = {arch: create_model(arch, SMALL, 2).encoder.strides[-1] for arch in ARCHITECTURES}
    assert {arch: s for arch, s in strides.items() if s != 32} == {
        "pan": 16,
        "pspnet": 8,
        "deeplabv3": 8,
        "deeplabv3plus": 16,
    }


def test_an_output_stride_that_can_not_be_is_one_sentence() -> None:
    for encoder in ("pvt_v2_b0", "swin_tiny_patch4_window7_224", "vgg11"):
        with pytest.raises(ValueError, match=f"'{encoder}' can't give .* stride 8 .*give output stride 32"):
            create_model("deeplabv3", encoder, 2)
    with pytest.raises(ValueError, match="pspnet uses its encoder up to stride 8; output stride 16 is not possible"):
        create_model("pspnet", "resnet18", 2, output_stride=16)
    with pytest.raises(ValueError, match="8, 16 or 32"):
        create_model("fpn", "resnet18", 2, output_stride=12)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_encoder_without_a_feature_at_a_half_serves_or_is_refused_in_one_sentence(arch: str) -> None:
    if arch == "encdec":
        with pytest.raises(ValueError, match="encdec needs features of 5 stages, convnext_atto has 4"):
            create_model(arch, "convnext_atto", 2)
    else:
        model = create_model(arch, "convnext_atto", 2).eval()
        with torch.inference_mode():
            assert model(torch.randn(1, 3, 97, 65)).shape == (1, 2, 97, 65)


def test_an_encoder_that_gives_no_features_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="'mobilenetv2_100.nope' can't give features"):
        create_model("fpn", "mobilenetv2_100.nope", 2)
    with pytest.raises(ValueError, match="'vit_tiny_patch16_224' has no feature up to stride 8; choose another"):
        create_model("pspnet", "vit_tiny_patch16_224", 2)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_exported_program_gives_the_same_logits(arch: str) -> None:
    torch.manual_seed(0)
    model, image = create_model(arch, SMALL, 2).eval(), torch.randn(1, 3, 64, 96)
    exported = torch.export.export(model, (image,)).module()
    with torch.inference_mode():
        assert (exported(image) - model(image)).abs().max() < 1e-5


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


@pytest.mark.parametrize("encoder", FAMILIES)
@pytest.mark.parametrize("size", [(97, 65), (32, 32)])
def test_timm_families_train_on_one_picture_of_any_size(encoder: str, size: tuple[int, int]) -> None:
    model = create_model("fpn", encoder, 2, widths=(32, 64)).train()
    logits = model(torch.randn(1, 3, *size))
    assert logits.shape == (1, 2, *size) and logits.isfinite().all()
    logits.sum().backward()
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("arch", "encoder", "size"),
    [
        ("pspnet", "mobilenetv2_100", (32, 32)),  # runs its last blocks too
        ("fpn", "skresnet18", (64, 64)),  # normalises means
        ("fpn", "densenet121", (33, 47)),  # rounds sizes down
    ],
)
def test_a_batch_of_one_trains_where_a_timm_encoder_has_one_value_a_channel(
    arch: str, encoder: str, size: tuple[int, int]
) -> None:
    model = create_model(arch, encoder, 2).train()
    model(torch.randn(1, 3, *size)).sum().backward()
    assert all(module.training for module in model.modules())


def test_an_encoder_that_can_not_take_a_size_says_so_in_one_sentence() -> None:
    model = create_model("fpn", "hrnet_w18_small", 2, widths=(32, 32)).eval()
    with pytest.raises(ValueError, match=r"can't take 65x129 pixels .*; give pictures whose sides 32 divides"):
        model(torch.randn(1, 3, 129, 65))


def test_every_decoder_file_names_its_paper_on_the_first_line() -> None:
    for entry in ARCHITECTURES.values():
        module = importlib.import_module(f"faceparse.models.decoders.{entry.module}")
        assert entry.paper in Path(str(module.__file__)).read_text().splitlines()[0]


def test_unknown_names_say_what_was_probably_meant() -> None:
    with pytest.raises(ValueError, match="did you mean 'deeplabv3'"):
        create_model("deeplab3", "resnet18", 2)
    with pytest.raises(ValueError, match="resnet18"):
        create_model("fpn", "resnet-18", 2)
    with pytest.raises(ValueError, match="choose one of: torchvision, smp"):
        create_model("fpn", "resnet18", 2, convention="keras")
    with pytest.raises(ValueError, match="fpn can't be built with widths"):
        create_model("fpn", "resnet18", 2, widths=(64, 32, 16))
    with pytest.raises(ValueError, match=r"fpn can't be built with widths \[-4, 32\]: each has to be at least 1"):
        create_model("fpn", "resnet18", 2, widths=(-4, 32))


@pytest.mark.parametrize(
    "arch",  # but for the one that is our own, each is compared with its reference in test_parity.py, at every run
    [arch if arch == "encdec" else pytest.param(arch, marks=pytest.mark.soak) for arch in ARCHITECTURES],
)
def test_each_learns_faces_it_has_not_seen_from_16_drawn_ones(arch: str) -> None:
    torch.manual_seed(0)
    # At 64 pixels the maps of 8x8 and 4x4 over which DeepLabV3 and PAN attend are smaller than their kernels' reach.
    size = 64 if ARCHITECTURES[arch].output_stride == 32 else 96
    (image, target), (unseen, truth) = drawn_faces(range(16), size), drawn_faces(range(100, 116), size)
    model = create_model(arch, SMALL, 2, widths=narrow_widths(arch)).to(memory_format=torch.channels_last)
    optimizer, steps = torch.optim.AdamW(model.parameters()), 240
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    loss_fn, iou = create_loss("ce+dice"), 0.0
    for step in range(1, steps + 1):
        some = torch.randperm(16)[:4]
        x, y = (image[some], target[some]) if step % 2 else (image[some].flip(-1), target[some].flip(-1))
        optimizer.zero_grad()
        loss_fn(model.train()(x), y).backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            confusion = Confusion(2)
            with torch.inference_mode():
                confusion.add(model.eval()(unseen).argmax(1), truth)
            iou = confusion.iou()[1]
            if iou > 0.95:
                break
    assert iou > 0.95


def narrow_widths(arch: str) -> list[int]:
    """A quarter of the decoder's own, for speed; PAN's are few already."""
    entry = ARCHITECTURES[arch]
    decoder = getattr(importlib.import_module(f"faceparse.models.decoders.{entry.module}"), entry.decoder)
    widths = inspect.signature(decoder).parameters["widths"].default
    return list(widths) if arch == "pan" else [width // 4 for width in widths]


def drawn_faces(seeds: range, size: int) -> tuple[Tensor, Tensor]:
    """float32 (B, 3, size, size) in -1..1 and int64 (B, size, size): 1 on the face."""
    drawn = [draw_face(seed, size) for seed in seeds]
    image = torch.stack([torch.from_numpy(rgb).permute(2, 0, 1) / 127.5 - 1 for rgb, _ in drawn])
    return image, torch.stack([torch.from_numpy(FACE.table[ids]).long() for _, ids in drawn])
