"""Weights that were made elsewhere: reading a state dict, and filling an encoder with one."""

from __future__ import annotations

import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from faceparse.claims import check_header, check_stored
from faceparse.words import listed

COUNTER = "num_batches_tracked"
"""A batch norm's counter, which files of before 2018 lack and inference does not read."""

# What safetensors and torch raise for files that are broken, cut short or something else.
_READ_ERRORS = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    OSError,
)

_STATES = ("state_dict", "model_state_dict", "model")
_WRAPPERS = re.compile(r"^((module|_orig_mod|model)\.)+")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth/.pt of a state dict or of a checkpoint that holds one.

    The names lose what wrappers put before them: `module.` (DataParallel), `_orig_mod.` (torch.compile), `model.`
    (Lightning). Nothing in a file is run. Raises ValueError, naming the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            check_header(path)
        elif zipfile.is_zipfile(path):  # older files of torch are none
            check_stored(path)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: not a .safetensors, .pth or .pt file of weights, or a damaged one ({error})"
        ) from error
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except _READ_ERRORS as error:
        if re.search("Unsupported global|TorchScript", str(error)):
            raise ValueError(
                f"{path} holds Python objects, which could run code, such as a whole pickled nn.Module; "
                "where it was made, save only its tensors: torch.save(model.state_dict(), FILE)"
            ) from error
        raise ValueError(f"{path}: not a .safetensors, .pth or .pt file of weights, or a damaged one") from error
    for name in _STATES:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise ValueError(
            f"{path}: expected a state dict of tensors, or a checkpoint with one as its {', '.join(_STATES)}"
        )
    bare = {_WRAPPERS.sub("", key): value for key, value in state.items()}
    if len(bare) < len(state):
        raise ValueError(f"{path} holds two networks, one of them inside the other; save the state dict of one alone")
    return bare


def fill_encoder(
    name: str, network: nn.Module, state: Mapping[str, Tensor], source: str, partial: bool = False
) -> None:
    """Copy `state`, which was read from `source`, into `network`, the encoder of that name; stderr tells what matched.

    What the whole classifier has and the encoder has not (a classifier, deeper layers) is passed over. What else does
    not fit is a ValueError, unless `partial`; that nothing fits always is.
    """
    theirs = {_spelled_alike(key): (key, value) for key, value in state.items()}
    wanted = network.state_dict()
    fitting, unfit = {}, []
    for key, value in wanted.items():
        given = theirs.pop(_spelled_alike(key), None)
        if given and given[1].shape == value.shape:
            fitting[key] = given[1]
        elif not key.endswith(COUNTER):
            unfit.append(key)
    known = _names_of_whole(name)
    passed_over = [key for alike, (key, _) in theirs.items() if alike in known]
    unknown = [key for alike, (key, _) in theirs.items() if alike not in known]
    if (unfit or unknown) and not (partial and fitting):
        raise ValueError(
            f"{source} does not fit encoder {name}: of its {len(wanted)} tensors, {len(unfit)} are missing or have "
            f"another shape ({listed(unfit) or 'none'}), and {len(unknown)} that it has not are there "
            f"({listed(unknown) or 'none'}); name the encoder that the file was made for"
            + (", or allow a partial match (--partial_encoder_weights)" if fitting else "")
        )
    network.load_state_dict(fitting, strict=False)
    report = f"encoder weights {source}: {len(wanted) - len(unfit)} of {len(wanted)} tensors loaded"
    report += f"; left as they were: {listed(unfit)}" if unfit else ""
    report += f"; passed over: {listed(passed_over + unknown)}" if passed_over or unknown else ""
    print(report, file=sys.stderr)


def _names_of_whole(name: str) -> set[str]:
    """The names in the network that the encoder was cut from, classifier included."""
    with torch.device("meta"):  # names only, no memory
        whole = timm.create_model(name) if timm.is_model(name) else torchvision.models.get_model(name)
    return {_spelled_alike(key) for key in whole.state_dict()}


def _spelled_alike(key: str) -> str:
    """A parameter's name as it is in timm's whole network and in its features alike.

    Cut to features, `stages.0.` becomes `stages_0.` and some networks come to lie inside a `model` or `body`.
    """
    return re.sub(r"^(model|body)\.", "", key).replace("_", ".")
