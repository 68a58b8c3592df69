"""Batch norms folded away: fewer steps, the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from faceparse.folding import folded
from faceparse.models import ARCHITECTURES, create_model


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def with_statistics(model: nn.Module) -> nn.Module:
    for norm in norms_of(model):
        for values, low, high in ((norm.running_mean, -0.2, 0.2), (norm.running_var, 0.6, 1.4), (norm.bias, -0.1, 0.1)):
            nn.init.uniform_(values, low, high)
    return model.eval()


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "test_resnet.r160_in1k", "test_efficientnet.r160_in1k"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_answers_the_same_without_its_norms(arch: str, encoder: str) -> None:
    torch.manual_seed(0)
    try:
        model = with_statistics(create_model(arch, encoder, classes=3))
    except ValueError as error:
        pytest.skip(str(error))
    light = folded(model)
    left = 5 if arch == "linknet" else 0  # after its transposed convolutions
    assert len(norms_of(light)) == left < len(norms_of(model))
    image = torch.randn(2, 3, 97, 65)
    with torch.inference_mode():
        expected = model(image)
        assert (light(image) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_one_convolution_worked_by_hand() -> None:
    conv, norm = nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        for tensor, value in [(conv.weight, 2.0), (conv.bias, 5.0), (norm.weight, 3.0), (norm.bias, 7.0)]:
            tensor.fill_(value)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    only, nothing = folded(nn.Sequential(conv, norm).eval()).children()
    assert isinstance(nothing, nn.Identity)
    assert only.weight.flatten().tolist() == [3.0] * 3  # 2 * 3 / sqrt(4)
    assert only.bias.tolist() == [13.0]  # (5 - 1) * 3 / 2 + 7


class Twice(nn.Module):
    """The convolution's result is normalised, and added to that."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image)
        return x + self.norm(x)


class Shared(nn.Module):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norms = nn.Conv2d(3, 2, 3), nn.ModuleList([nn.BatchNorm2d(2), nn.BatchNorm2d(2)])

    def forward(self, image: Tensor) -> Tensor:
        return self.norms[0](self.conv(image)) - self.norms[1](self.conv(image))


class Windowed(nn.Module):
    """Takes only what 80 divides."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[-1] % 80 == 0
        return self.net(image)


@pytest.mark.parametrize("kind", [Twice, Shared, Windowed, nn.Identity])
def test_what_can_not_be_folded_is_left_as_it_is(kind: type[nn.Module]) -> None:
    model = with_statistics(kind())
    assert folded(model) is model


def test_the_model_that_was_given_keeps_its_norms_and_its_weights() -> None:
    model = with_statistics(create_model("fpn", "test_resnet.r160_in1k", classes=2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    assert folded(model) is not model
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
