"""ResNet-18/34/50 as feature extractors (He et al. 2016, https://arxiv.org/abs/1512.03385).

Parameter names are torchvision's, so its weights load as they are. Like there, the stride of a bottleneck sits in its
3x3 convolution ("v1.5"), and strides beyond `output_stride` become dilation: torchvision's first block of such a stage
keeps the dilation of the stage before, segmentation_models_pytorch's has the stage's own (`dilate_first_block`).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from faceparse.models.blocks import BatchNorm
from faceparse.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Encoder


def conv3x3(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, shortcut: nn.Module | None):
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride, dilation)
        self.bn1 = BatchNorm(width)
        self.conv2 = conv3x3(width, width, 1, dilation)
        self.bn2 = BatchNorm(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1 down to `width` channels, 3x3, 1x1 up to four times as many, beside a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, shortcut: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = conv3x3(width, width, stride, dilation)
        self.bn2 = BatchNorm(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = BatchNorm(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


@dataclass(frozen=True)
class Variant:
    """What makes one ResNet: its block, how many per stage, and torchvision's weights for "imagenet"."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    imagenet: str


RESNETS: dict[str, Variant] = {
    "resnet18": Variant(BasicBlock, (2, 2, 2, 2), "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet34": Variant(BasicBlock, (3, 4, 6, 3), "ResNet34_Weights.IMAGENET1K_V1"),
    "resnet50": Variant(Bottleneck, (3, 4, 6, 3), "ResNet50_Weights.IMAGENET1K_V2"),
}


class ResNet(Encoder):
    """Features after the first convolution (1/2) and each stage (1/4 ... 1/32 or `output_stride`), `depth` in all."""

    def __init__(self, name: str, output_stride: int = 32, depth: int = 5, dilate_first_block: bool = False):
        super().__init__()
        variant = RESNETS[name]
        self.block = variant.block
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        channels, strides, dilation = [64], [2], 1
        stage_in, stride_so_far = 64, 4
        for i, (width, blocks) in enumerate(zip((64, 128, 256, 512)[: depth - 1], variant.depths, strict=False)):
            stride = 1 if i == 0 else 2
            dilation_before = dilation
            if stride_so_far * stride > output_stride:
                stride, dilation = 1, dilation * stride
            stride_so_far *= stride
            first_dilation = dilation if dilate_first_block else dilation_before
            self.add_module(f"layer{i + 1}", self._stage(stage_in, width, blocks, stride, first_dilation, dilation))
            stage_in = width * self.block.expansion
            channels.append(stage_in)
            strides.append(stride_so_far)
        self.channels, self.strides = tuple(channels), tuple(strides)
        self._initialise()

    def _stage(
        self, in_channels: int, width: int, depth: int, stride: int, first_dilation: int, dilation: int
    ) -> nn.Sequential:
        out_channels = width * self.block.expansion
        shortcut = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm(out_channels)
            )
        blocks = [self.block(in_channels, width, stride, first_dilation, shortcut)]
        blocks += [self.block(out_channels, width, 1, dilation, None) for _ in range(depth - 1)]
        return nn.Sequential(*blocks)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1(image)))
        features = [x]
        x = self.maxpool(x)
        for i in range(1, len(self.channels)):
            x = self.get_submodule(f"layer{i}")(x)
            features.append(x)
        return features
