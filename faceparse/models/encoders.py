"""Encoders: our ResNets, torchvision's MobileNetV2 and any timm model that gives features, behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from faceparse.models.blocks import BatchNorm
from faceparse.models.resnet import RESNETS, ResNet
from faceparse.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Encoder
from faceparse.models.weights import fill_encoder, read_state
from faceparse.words import hint


class MobileNetV2(Encoder):
    """torchvision's MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381) with its last 1x1 convolution.

    Parameter names are torchvision's, the features and the dilation are segmentation_models_pytorch's `mobilenet_v2`.
    """

    name = "mobilenet_v2"
    imagenet = "MobileNet_V2_Weights.IMAGENET1K_V1"
    ends = (1, 3, 6, 13, 18)  # the last layer of each stage

    def __init__(self, output_stride: int = 32, depth: int = 5, dilate_first_block: bool = False):
        super().__init__()
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        layers = torchvision.models.mobilenet_v2(weights=None, norm_layer=BatchNorm).features
        self.channels = (16, 24, 32, 96, 1280)[:depth]
        self.strides = tuple(min(2**stage, output_stride) for stage in range(1, depth + 1))
        for stage in range(4, depth + 1):
            dilation = 2**stage // self.strides[stage - 1]
            first, last = self.ends[stage - 2] + 1, self.ends[stage - 1]
            if dilation > 1:
                _dilate(layers[first], dilation if dilate_first_block else dilation // 2)
                for i in range(first + 1, last + 1):
                    _dilate(layers[i], dilation)
        self.features = layers[: self.ends[depth - 1] + 1]

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = image, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.ends:
                features.append(x)
        return features


def _dilate(block: nn.Module, dilation: int) -> None:
    for conv in block.modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            conv.stride = (1, 1)
            conv.padding = conv.dilation = (dilation, dilation)


class TimmEncoder(Encoder):
    """A timm `features_only` model, without the features at strides above 2**depth."""

    def __init__(self, name: str, output_stride: int = 32, depth: int = 5, pretrained: bool = False):
        super().__init__()
        network = _timm_features(name, output_stride, depth, pretrained)
        self.network: nn.Module = network
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                _train_on_one_value(module)
        self.channels = tuple(network.feature_info.channels())
        self.strides = tuple(network.feature_info.reduction())
        published: Any = timm.get_pretrained_cfg(name)
        self.mean = published.mean if published else IMAGENET_MEAN
        self.std = published.std if published else IMAGENET_STD

    def forward(self, image: Tensor) -> list[Tensor]:
        height, width = image.shape[-2:]
        patch = self.strides[0]
        if patch > 2:  # cuts the picture into patches; Swin only takes whole ones
            image = F.pad(image, (0, -width % patch, 0, -height % patch))
        try:
            features = self.network(image)
        except (RuntimeError, AssertionError) as error:
            if height % 32 == 0 and width % 32 == 0:
                raise
            reason = (str(error) or "it says no more").splitlines()[0]
            mend = "give pictures whose sides 32 divides, or choose another encoder"
            raise ValueError(f"this encoder can't take {width}x{height} pixels ({reason}); {mend}") from error
        # Some families (Swin) keep their channels last.
        return [
            x if x.shape[1] == channels else x.permute(0, 3, 1, 2)
            for x, channels in zip(features, self.channels, strict=True)
        ]


def _train_on_one_value(norm: Any) -> None:
    """Like `BatchNorm`: one value a channel, of a tiny picture or of a mean, is normalised with what was gathered."""
    norm.paused = False
    norm.register_forward_pre_hook(_pause_without_statistics)
    norm.register_forward_hook(_resume)


def _pause_without_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
    if norm.training and inputs[0].numel() == inputs[0].shape[1]:
        norm.eval()
        norm.paused = True


def _resume(norm: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    if norm.paused:
        norm.train()
        norm.paused = False


def _timm_features(name: str, output_stride: int, depth: int, pretrained: bool) -> Any:
    options: dict[str, Any] = {}
    if output_stride < 2**depth:
        options["output_stride"] = output_stride
    if depth < 5:
        info = _timm_features(name, 32, 5, pretrained=False).feature_info
        options["out_indices"] = tuple(
            i for i, stride in zip(info.out_indices, info.reduction(), strict=True) if stride <= 2**depth
        )
        if not options["out_indices"]:
            raise ValueError(f"encoder {name!r} has no feature up to stride {2**depth}; choose another encoder")
    failure = f"encoder {name!r} can't give features at output stride {output_stride}"
    mend = "choose another encoder" if output_stride == 32 else "give output stride 32 or another encoder"
    try:
        try:  # families with windows of attention refuse sizes that they were not made for, unless told
            network: Any = timm.create_model(
                name, pretrained=pretrained, features_only=True, strict_img_size=False, **options
            )
        except TypeError:
            network = timm.create_model(name, pretrained=pretrained, features_only=True, **options)
    except (TypeError, RuntimeError, AttributeError, AssertionError) as error:
        reason = (str(error) or "its family has none").splitlines()[0]
        raise ValueError(f"{failure} ({reason}); {mend}") from error
    stride = max(network.feature_info.reduction())
    if "output_stride" in options and stride > output_stride:  # some families pass over what they are told
        raise ValueError(f"{failure} (its last one has {stride}); {mend}")
    return network


def create_encoder(
    name: str,
    weights: str = "none",
    output_stride: int = 32,
    depth: int = 5,
    dilate_first_block: bool = False,
    partial_weights: bool = False,
) -> Encoder:
    """The encoder of that name, its first `depth` stages; arguments as in `create_model` and `Convention`.

    Raises ValueError for what does not fit.
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output stride {output_stride} is not possible; choose 8, 16 or 32")
    encoder: Encoder
    published = None
    try:
        if name in RESNETS:
            encoder, published = ResNet(name, output_stride, depth, dilate_first_block), RESNETS[name].imagenet
        elif name == MobileNetV2.name:
            encoder, published = MobileNetV2(output_stride, depth, dilate_first_block), MobileNetV2.imagenet
        elif timm.is_model(name) and not set(name) & set(":/\\"):  # with which timm reads folders and the network
            encoder = TimmEncoder(name, output_stride, depth, pretrained=weights == "imagenet")
        else:
            names = sorted({*RESNETS, MobileNetV2.name, *timm.list_models()})
            raise ValueError(
                f"unknown encoder {name!r}; {hint(name, names, '`timm.list_models()` names what there is')}"
            )
        if weights == "imagenet" and published:
            fill_encoder(name, encoder, torchvision.models.get_weight(published).get_state_dict(), published)
    except OSError as error:
        raise ValueError(
            f"the imagenet weights of {name} can't be downloaded ({str(error).splitlines()[0]}); "
            "give a local file of them instead"
        ) from error
    if weights not in ("none", "imagenet"):
        if not Path(weights).is_file():
            raise ValueError(
                f"{weights}: no such file of encoder weights; give none, imagenet or a .safetensors/.pth file"
            )
        network = encoder.network if isinstance(encoder, TimmEncoder) else encoder
        fill_encoder(name, network, read_state(Path(weights)), weights, partial_weights)
    return encoder
