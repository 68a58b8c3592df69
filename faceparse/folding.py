"""Batch norms folded into the convolutions before them: the same answers in two thirds of the time on a CPU.

norm(conv(x)) = s * (w * x + b - mean) + beta = (s * w) * x + (s * (b - mean) + beta),  s = gamma / sqrt(var + eps)
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PASSED = (1, 3, 64, 96)
"""Shape of the noise that is sent through a model, to see what follows what, and to compare."""

TOLERANCE = 1e-3
"""Largest difference of a logit of the folded model, as a share of the largest logit."""


@torch.no_grad()
def folded(model: nn.Module) -> nn.Module:
    """A copy of a model in evaluation mode, (B, 3, H, W) -> (B, K, H, W), without the norms that can be folded.

    Which norm follows which convolution is seen as noise passes. Where nothing can be folded, or the copy then answers
    otherwise, for instance because a convolution's result is used a second time, the model itself is returned; so is
    one that takes no picture of the noise's shape, as encoders with windows do.
    """
    noise = torch.randn(PASSED, generator=torch.Generator().manual_seed(0))
    try:
        pairs = _pairs(model, noise)
    except (AssertionError, RuntimeError):
        return model
    if not pairs:
        return model
    light = copy.deepcopy(model)
    for norm_name, conv_name in pairs.items():
        norm, conv = (
            cast(nn.BatchNorm2d, light.get_submodule(norm_name)),
            cast(nn.Conv2d, light.get_submodule(conv_name)),
        )
        parent, _, name = norm_name.rpartition(".")
        setattr(
            light.get_submodule(parent), name, getattr(norm, "act", nn.Identity())
        )  # timm's norms hold what follows
        fused = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = fused.weight, fused.bias
    expected = model(noise)
    return light if (light(noise) - expected).abs().max() <= TOLERANCE * expected.abs().max() else model


def _pairs(model: nn.Module, picture: Tensor) -> dict[str, str]:
    """Names of the batch norms that are asked once, for the result of a convolution that is asked once -> its name."""
    asked: Counter[nn.Module] = Counter()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the tensor, so that no other one gets its id
    pairs: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def look(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        asked[module] += 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, output
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and id(inputs[0]) in made:
            pairs[module] = made[id(inputs[0])][0]

    looked_at = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [module.register_forward_hook(look) for module in looked_at]
    try:
        model(picture)
    finally:
        for hook in hooks:
            hook.remove()
    names = {module: name for name, module in model.named_modules()}
    return {names[norm]: names[conv] for norm, conv in pairs.items() if asked[norm] == asked[conv] == 1}
