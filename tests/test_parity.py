"""Every architecture computes what the implementation that the field trusts computes: same state, same logits."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from faceparse.models import ARCHITECTURES, create_model
from faceparse.models.encoders import create_encoder
from faceparse.models.resnet import RESNETS
from faceparse.models.states import state_from

smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="the reference, for tests only: pip install -e '.[test]'"
)

REFERENCES = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "linknet": smp.Linknet,
    "fpn": smp.FPN,
    "pan": smp.PAN,
    "pspnet": smp.PSPNet,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
}
"""One line an architecture: its class in segmentation_models_pytorch."""


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("arch", REFERENCES)
def test_with_smps_state_come_smps_logits_and_gradients(arch: str, encoder: str) -> None:
    torch.manual_seed(0)
    reference = REFERENCES[arch](encoder, encoder_weights=None, classes=3).eval()
    shuffle_norms(reference)
    ours = create_model(arch, encoder, 3, convention="smp").eval()
    ours.load_state_dict(state_from("smp", arch, reference.state_dict()))
    # Below 128 pixels PAN's reference pools to nothing; above 32 both sides differ, so that a swap would show.
    assert_same(reference, ours, torch.randn(1, 3, 128, 160))


@pytest.mark.parametrize("arch", ["fpn", "pspnet"])
def test_states_of_smps_timm_encoders_fit_ours_of_that_name(arch: str) -> None:
    torch.manual_seed(0)
    reference = REFERENCES[arch]("tu-mobilenetv2_100", encoder_weights=None, classes=3).eval()
    shuffle_norms(reference)
    ours = create_model(arch, "mobilenetv2_100", 3, convention="smp").eval()
    ours.load_state_dict(state_from("smp", arch, reference.state_dict()))
    assert_same(reference, ours, torch.randn(1, 3, 128, 160))


def assert_same(reference: nn.Module, ours: nn.Module, image: Tensor) -> None:
    theirs_in, ours_in = (image.clone().requires_grad_() for _ in "ab")
    theirs, mine = reference(theirs_in), ours(ours_in)
    if isinstance(theirs, dict):  # torchvision's
        theirs = theirs["out"]
    spread = theirs.std((2, 3)).min()  # over the picture: a dead model tells classes apart by their biases alone
    assert spread > 1e-3
    assert (theirs - mine).abs().max() < 1e-4 * min(1, 10 * spread)
    theirs.sum().backward()
    mine.sum().backward()
    assert theirs_in.grad is not None and ours_in.grad is not None
    assert (theirs_in.grad - ours_in.grad).norm() < 1e-3 * theirs_in.grad.norm()


def shuffle_norms(model: nn.Module) -> None:
    """Give every batch norm statistics and every bias values of their own, so that a misplaced one would show."""
    for module in model.modules():
        if isinstance(getattr(module, "bias", None), Tensor):
            nn.init.uniform_(module.bias, -0.1, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.2)


@pytest.mark.parametrize("name", RESNETS)
def test_our_resnets_compute_what_torchvisions_compute(name: str) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(weights=None).eval()
    shuffle_norms(reference)
    ours = create_encoder(name).eval()
    ours.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    image = torch.randn(1, 3, 97, 65)
    theirs_in, ours_in = (image.clone().requires_grad_() for _ in "ab")
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(theirs_in))))
    features = ours(ours_in)
    for i, feature in enumerate(features[1:], 1):
        x = getattr(reference, f"layer{i}")(x)
        assert feature.std() > 1e-2
        assert (feature - x).abs().max() < 1e-4
    reference.fc(x.mean((2, 3))).sum().backward()
    reference.fc(features[-1].mean((2, 3))).sum().backward()
    assert theirs_in.grad is not None and ours_in.grad is not None
    assert (theirs_in.grad - ours_in.grad).norm() < 1e-3 * theirs_in.grad.norm()


@pytest.mark.parametrize("size", [(96, 96), (97, 65)])
def test_with_torchvisions_state_come_its_deeplabv3s_logits_and_gradients(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).eval()
    shuffle_norms(reference)
    ours = create_model("deeplabv3", "resnet50", 21).eval()
    ours.load_state_dict(state_from("torchvision", "deeplabv3", reference.state_dict()))
    assert_same(reference, ours, torch.randn(1, 3, *size))


def test_every_architecture_has_a_reference_but_the_custom_one() -> None:
    assert set(ARCHITECTURES) - set(REFERENCES) == {"encdec"}
