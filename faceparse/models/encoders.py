"""Encoders: our ResNets and any timm model that gives features, behind one interface."""

from __future__ import annotations

import difflib
import os
import pickle
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from faceparse.models.resnet import RESNETS, ResNet
from faceparse.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Encoder


class TimmEncoder(Encoder):
    """A timm `features_only` model."""

    def __init__(self, name: str, output_stride: int = 32, pretrained: bool = False):
        super().__init__()
        network = _timm_features(name, output_stride, pretrained)
        self.network: nn.Module = network
        self.channels = tuple(network.feature_info.channels())
        self.strides = tuple(network.feature_info.reduction())
        published: Any = timm.get_pretrained_cfg(name)
        self.mean = published.mean if published else IMAGENET_MEAN
        self.std = published.std if published else IMAGENET_STD

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.network(image)
        # Some families (Swin) keep their channels last.
        return [
            x if x.shape[1] == channels else x.permute(0, 3, 1, 2)
            for x, channels in zip(features, self.channels, strict=True)
        ]


def _timm_features(name: str, output_stride: int, pretrained: bool) -> Any:
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        try:  # families with windows of attention refuse sizes that they were not made for, unless told
            return timm.create_model(name, pretrained=pretrained, features_only=True, strict_img_size=False, **options)
        except TypeError:
            return timm.create_model(name, pretrained=pretrained, features_only=True, **options)
    except (TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"encoder {name!r} can't give features at output stride {output_stride} ({reason})") from error


def create_encoder(name: str, weights: str = "none", output_stride: int = 32) -> Encoder:
    """The encoder of that name; arguments as in `create_model`. Raises ValueError for what does not fit."""
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output stride {output_stride} is not possible; choose 8, 16 or 32")
    encoder: Encoder
    if name in RESNETS:
        encoder = ResNet(name, output_stride)
        if weights == "imagenet":
            import torchvision

            encoder.load_state_dict(
                _without_classifier(torchvision.models.get_weight(RESNETS[name].imagenet).get_state_dict())
            )
    elif timm.is_model(name):
        encoder = TimmEncoder(name, output_stride, pretrained=weights == "imagenet")
    else:
        near = difflib.get_close_matches(name, [*RESNETS, *timm.list_models()], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`timm.list_models()` names what there is"
        raise ValueError(f"unknown encoder {name!r}; {hint}")
    if weights not in ("none", "imagenet"):
        _load_file(encoder, Path(weights))
    return encoder


def _load_file(encoder: Encoder, path: Path) -> None:
    """Fill the encoder from a local state dict, every tensor of it; a classifier in the file is passed over."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file of encoder weights; give none, imagenet or a .safetensors/.pth file")
    target = encoder.network if isinstance(encoder, TimmEncoder) else encoder
    assert isinstance(target, nn.Module)
    state = _without_classifier(_read_state(path))
    wanted = target.state_dict()
    unfit = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    unfit += [key for key in state if key not in wanted]
    if unfit:
        raise ValueError(f"{path}: {len(unfit)} tensors do not fit this encoder, the first is {unfit[0]}")
    target.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError) as error:
        raise ValueError(f"{os.fspath(path)}: not a file of weights ({error})") from error


def _without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier.", "head.fc."))}
