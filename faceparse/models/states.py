"""States of other libraries' models under our names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from types import ModuleType

from torch import Tensor

from faceparse.models import ARCHITECTURES
from faceparse.models.encoders import MobileNetV2

REFERENCES = ("smp", "torchvision")
"""Whose states are known: segmentation_models_pytorch's and torchvision's."""


def state_from(reference: str, arch: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of another library's model of that architecture under our names, for `load_state_dict`.

    The model is `create_model(arch, encoder, classes, convention=reference)`. Keys that no rule knows stay as they are,
    so that they can be listed. Left out is what does not take part in the logits: torchvision's auxiliary classifier,
    smp's classification head and the stages of smp's encoders beyond the architecture's depth.
    Raises ValueError for a reference or an architecture that is not known there.
    """
    if reference not in REFERENCES:
        raise ValueError(f"unknown reference {reference!r}; choose one of: {', '.join(REFERENCES)}")
    entry = ARCHITECTURES[arch]
    module = importlib.import_module(f"faceparse.models.decoders.{entry.module}")
    names = _smp_names(module) if reference == "smp" else getattr(module, "TORCHVISION_NAMES", None)
    if names is None:
        raise ValueError(f"{arch} has no counterpart in {reference}")
    return {_renamed(key, names): value for key, value in state.items() if not _unused(key, reference, entry.depth)}


def _smp_names(module: ModuleType) -> dict[str, str] | None:
    decoder: dict[str, str] | None = getattr(module, "SMP_NAMES", None)
    if decoder is None:
        return None
    return {
        r"segmentation_head\.0\.": "head.",
        r"encoder\.model\.": "encoder.network.",  # its timm models
        **{rf"decoder\.{theirs}": f"decoder.{ours}" for theirs, ours in decoder.items()},
    }


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for theirs, ours in names.items():
        if re.match(theirs, key):
            return re.sub(theirs, ours, key, count=1)
    return key


def _unused(key: str, reference: str, depth: int) -> bool:
    if reference == "torchvision":
        return key.startswith("aux_classifier.")
    if stage := re.match(r"encoder\.layer(\d)\.", key):
        return int(stage[1]) >= depth
    if layer := re.match(r"encoder\.features\.(\d+)\.", key):
        return int(layer[1]) > MobileNetV2.ends[depth - 1]
    return key.startswith("classification_head.")
