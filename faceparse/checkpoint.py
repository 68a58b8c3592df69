"""The one file format: weights that say what they are. Written and read nowhere else.

A `.safetensors` file whose metadata holds the format number, architecture, encoder, output stride, labels,
preprocessing, and whatever the training wants to say (data, command, scores, licence). Nothing in it can run code.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from faceparse.images import written_whole
from faceparse.labels import LABEL_SETS, LabelSet
from faceparse.models import create_model
from faceparse.models.segmenter import Segmenter
from faceparse.transforms import Preprocess

FORMAT = "1"


class WrongFormat(ValueError):
    """A safetensors file that is not ours, or of a format that this version does not know."""


@dataclass(frozen=True)
class Design:
    """What a model is built from, as `create_model` takes it; None is the architecture's own choice."""

    architecture: str
    encoder: str
    output_stride: int | None = None
    widths: tuple[int, ...] | None = None
    convention: str = "torchvision"

    def build(self, classes: int, encoder_weights: str = "none", partial_encoder_weights: bool = False) -> Segmenter:
        """A new model of this design; the encoder's weights as in `create_model`."""
        return create_model(
            self.architecture,
            self.encoder,
            classes,
            encoder_weights,
            self.output_stride,
            self.widths,
            self.convention,
            partial_encoder_weights,
        )


@dataclass(frozen=True)
class Checkpoint:
    """A model in float32 and evaluation mode on the CPU, with all that is needed to use it."""

    model: Segmenter
    design: Design
    labels: LabelSet
    preprocess: Preprocess
    about: dict[str, str]


def save(
    path: Path,
    model_state: dict[str, Tensor],
    design: Design,
    labels: LabelSet,
    preprocess: Preprocess,
    about: dict[str, str],
    half: bool = False,
) -> None:
    """Write the weights whole or not at all; `half` stores floating-point tensors of two or more axes in 16 bits."""
    state = {key: _stored(value, half) for key, value in model_state.items()}
    shape = {"name": labels.name, "classes": labels.classes, "colours": labels.colours, "mirrors": labels.mirrors}
    metadata = about | {
        "format": FORMAT,
        "design": json.dumps(asdict(design)),
        "labels": json.dumps(shape),
        "preprocess": json.dumps(asdict(preprocess)),
    }
    _write(path, to_bytes(state, metadata))


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Rebuild the model that a file holds. Raises FileNotFoundError and ValueError, each naming the file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            design, labels, preprocess = _described(metadata)
            model = design.build(len(labels))
            model.load_state_dict({key: _loaded(file.get_tensor(key)) for key in file.keys()})
    except WrongFormat:
        raise
    except (SafetensorError, RuntimeError, LookupError, AttributeError, TypeError, ValueError) as error:  # JSON's too
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not a weights file of faceparse, or a damaged one ({reason})") from error
    about = {key: value for key, value in metadata.items() if key not in ("format", "design", "labels", "preprocess")}
    return Checkpoint(model.eval(), design, labels, preprocess, about)


def model_for(start: Checkpoint, labels: LabelSet) -> tuple[Segmenter, list[str]]:
    """A model of the same design and weights that tells the classes of `labels`; and the classes new to it.

    Of the head, the part of every class that has the same name in both sets is kept; the other parts are drawn anew.
    """
    known = start.labels.classes
    if labels.classes == known:
        return start.model, []
    model = start.design.build(len(labels))
    fresh = {f"head.{name}": value.clone() for name, value in model.head.state_dict().items()}  # (classes, ...)
    old = start.model.state_dict()
    for name, value in fresh.items():
        for class_id, class_name in enumerate(labels.classes):
            if class_name in known:
                value[class_id] = old[name][known.index(class_name)]
    model.load_state_dict(old | fresh)
    return model, [name for name in labels.classes if name not in known]


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise WrongFormat(
            f"{path}: format {metadata.get('format', 'unknown')!r} is not one that this version reads; "
            "weights for use are the .safetensors files that train.py writes"
        )


def _described(metadata: dict[str, str]) -> tuple[Design, LabelSet, Preprocess]:
    shape, numbers = json.loads(metadata["labels"]), json.loads(metadata["preprocess"])
    design = json.loads(metadata["design"])
    widths = design.pop("widths", None)
    labels = LabelSet(
        shape["name"],
        tuple(shape["classes"]),
        tuple((r, g, b) for r, g, b in shape["colours"]),
        tuple((left, right) for left, right in shape["mirrors"]),
    )
    known = LABEL_SETS.get(labels.name)
    if known is not None and known.classes == labels.classes:
        labels = known  # ours also knows how it is made from a larger set
    preprocess = Preprocess(int(numbers["size"]), tuple(numbers["mean"]), tuple(numbers["std"]))
    return Design(**design, widths=tuple(widths) if widths else None), labels, preprocess


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what a training needs to go on: tensors, numbers, strings, lists and dicts, nothing else."""
    with written_whole(path) as beside:
        torch.save(state, beside)
        _flush(beside)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; ValueError names a file that is something else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{path}: not a training state of train.py, or a damaged one; start anew without it"
        ) from error


def _stored(value: Tensor, half: bool) -> Tensor:
    narrow = half and value.is_floating_point() and value.ndim >= 2
    return value.detach().cpu().to(torch.float16 if narrow else value.dtype).contiguous()


def _loaded(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _write(path: Path, data: bytes) -> None:
    with written_whole(path) as beside:
        beside.write_bytes(data)
        _flush(beside)


def _flush(path: Path) -> None:
    """Wait until the file is on the disk, so that a rename never outruns its contents."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
